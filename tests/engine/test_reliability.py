"""What may be relied on, and what bad input does: graph, shapes and dtypes, numerics, state.

Where a promise is tested in full elsewhere, the test here shows the one thing that matters most.
"""

import asyncio
import contextlib
import copy
import gc
import io
import pickle
import re
import subprocess
import sys
import threading
import tokenize
from pathlib import Path

import numpy as np
import psutil
import pytest
import torch

import minigrad as mg
from minigrad import Tensor, debug, nn, optim

ROOT = Path(__file__).parents[2]


@contextlib.contextmanager
def without_cycle_collector():
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def leaf(values, dtype=np.float64):
    return mg.tensor(np.asarray(values, dtype), requires_grad=True)


# --- graph ----------------------------------------------------------------------------------------
def test_long_chains_run_back_and_are_freed_at_the_default_recursion_limit():
    length = 50_000
    assert sys.getrecursionlimit() < length
    x = leaf(1.0)
    y = x
    for _ in range(length):
        y = y + 1.0
    y.backward()
    assert x.grad.item() == 1.0
    del y
    y = x  # and a chain that no backward pass has taken apart
    for _ in range(length):
        y = y + 1.0
    del y
    assert debug.live_nodes() < length


def test_diamonds_and_repeated_use_add_up_and_are_walked_once():
    x = leaf(1.0)
    a = x + x
    b = a + a
    b.backward()
    assert x.grad.item() == 4.0
    q = leaf([1.0, 2.0])
    (q * q * q).sum().backward()  # one tensor as query, key and value
    assert q.grad.tolist() == [3.0, 12.0]
    x = leaf(1.0)
    y = x
    for _ in range(100):  # 2^100 paths
        y = y + y
    y.backward()
    assert x.grad.item() == 2.0**100


def test_gradients_of_two_graphs_add_up_until_they_are_reset():
    x = leaf([1.0, 2.0])
    for _ in range(2):
        (x * 3.0).sum().backward()
    assert x.grad.tolist() == [6.0, 6.0]
    x.grad = None
    (x * 3.0).sum().backward()
    assert x.grad.tolist() == [3.0, 3.0]


def together(work, count=4):
    """Run `work` in several threads that take turns as often as Python lets them."""
    threads = [threading.Thread(target=work) for _ in range(count)]
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
    finally:
        sys.setswitchinterval(interval)


def test_backward_passes_of_several_threads_add_up_exactly_on_a_leaf():
    x = leaf([1.0, 2.0])

    def work():
        for _ in range(400):
            (x * 3.0).sum().backward()

    together(work)
    assert x.grad.tolist() == [4 * 400 * 3.0] * 2


def test_threads_draw_no_number_twice():
    numbers = []

    def work():
        numbers.extend([mg.random.draw("a stream")[2] for _ in range(20_000)])

    together(work, count=8)
    assert sorted(numbers) == list(range(160_000))


def test_a_second_walk_over_one_graph_is_an_error_that_names_retain_graph():
    x = leaf(2.0)
    y = x * x
    y.backward()
    with pytest.raises(RuntimeError, match=r"mul: .*freed.*retain_graph=True"):
        y.backward()
    h = x * x
    (h * 2.0).backward()
    with pytest.raises(RuntimeError, match="retain_graph=True"):
        (h * 3.0).backward()  # shares the part that was used
    assert x.grad.item() == 4.0 + 8.0


def test_backward_of_an_array_needs_a_gradient_of_its_shape_and_dtype():
    x = leaf([1.0, 2.0, 3.0])
    with pytest.raises(RuntimeError, match=r"shape \(3,\).*pass a gradient"):
        (x * 2.0).backward()
    with pytest.raises(ValueError, match=r"\(2,\), not \(3,\)"):
        (x * 2.0).backward(np.ones(2))
    with pytest.raises(ValueError, match="float32, not float64"):
        (x * 2.0).backward(mg.tensor([1.0, 1.0, 1.0]))
    assert x.grad is None


def test_backward_of_what_needs_no_gradient_is_an_error():
    with pytest.raises(RuntimeError, match="does not require a gradient"):
        mg.tensor(1.0).backward()
    with mg.no_grad():
        y = leaf(1.0) * 2.0
    with pytest.raises(RuntimeError, match="no_grad"):
        y.backward()


def test_gradients_share_memory_with_nothing():
    a, b, c = leaf([1.0, 2.0]), leaf([3.0, 4.0]), leaf([5.0, 6.0])
    seed = np.ones(2)
    y = (a + b + c.reshape(2)).retain_grad()
    y.backward(seed)
    grads = [t.grad.data for t in (a, b, c, y)]
    for i, g in enumerate(grads):
        others = [*grads[:i], *grads[i + 1 :], seed, a.data, b.data, c.data, y.data]
        assert not any(np.shares_memory(g, other) for other in others)
        assert g.flags.writeable
    a.grad.data[:] = 99.0
    assert b.grad.tolist() == [1.0, 1.0]
    given = mg.tensor(np.ones(2))
    x = leaf([1.0, 2.0])
    x.backward(given)
    x.backward(given)
    assert given.tolist() == [1.0, 1.0]


def write(t):
    with mg.no_grad():
        t[0] = 99.0


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("the saved argument", lambda x, h, y: write(h)),
        ("the saved result", lambda x, h, y: write(y)),
        ("a view of the argument", lambda x, h, y: write(h.detach()[:1])),
        ("a view of the result", lambda x, h, y: write(y.detach().reshape(2, 1))),
        ("a detached tensor", lambda x, h, y: h.detach().assign_(0.0)),
    ],
)
def test_an_array_changed_in_place_after_it_was_saved_is_an_error(name, change):
    x = leaf([1.0, 2.0])
    h = x * 1.0
    y = mg.exp(h) * h
    z = mg.exp(y)
    change(x, h, z)
    with pytest.raises(RuntimeError, match="changed in place after the forward pass"):
        z.sum().backward()
    assert x.grad is None


def views_of_one_buffer():
    """Pairs of tensors on one memory, of which the first is written and the second was saved."""
    array, foreign = np.ones(4), torch.ones(4, dtype=torch.float64)
    tensor = mg.tensor(np.ones(4))
    again = mg.from_dlpack(torch.from_dlpack(tensor))
    strided = np.lib.stride_tricks.as_strided(tensor.data, (2,), (16,))
    return {
        "two imports of an array": (mg.from_dlpack(array), mg.from_dlpack(array)),
        "two imports of another library": (mg.from_dlpack(foreign), mg.from_dlpack(foreign)),
        "a part": (mg.from_dlpack(foreign[2:]), mg.from_dlpack(foreign)),
        "backwards": (mg.from_dlpack(array[::-1]), mg.from_dlpack(array[1:2])),
        "a view of an import": (mg.from_dlpack(array).reshape(2, 2), mg.from_dlpack(array)),
        "exported and imported again": (tensor, again),
        "the import of an export": (again, tensor),
        "strides made by hand": (Tensor(strided), tensor),
    }


@pytest.mark.parametrize("name", views_of_one_buffer())
def test_a_write_is_seen_by_all_that_share_the_memory(name):
    written, saved = views_of_one_buffer()[name]
    x = leaf(np.ones(saved.shape))
    y = (x * saved).sum()
    written[0] = 5.0
    del written  # what it wrote stays
    with pytest.raises(RuntimeError, match="changed in place"):
        y.backward()


def test_a_write_to_what_only_the_second_derivative_needs_is_seen():
    def f(x):
        h = x * 1.0
        y = mg.softmax(h)  # its pullback needs y, and its second derivative h
        write(h)
        return mg.square(y).sum()

    mg.grad(f)(np.ones(2))
    with pytest.raises(RuntimeError, match=r"softmax: .*changed in place"):
        mg.grad(lambda x: mg.grad(f)(x)[0])(np.ones(2))


def test_a_write_beside_the_saved_memory_is_none():
    foreign = torch.ones(4, dtype=torch.float64)
    left, right = mg.from_dlpack(foreign[:2]), mg.from_dlpack(foreign[2:])
    empty = mg.from_dlpack(torch.ones(0))
    x = leaf([1.0, 2.0])
    y = (x * right).sum()
    left[0] = 5.0
    empty[...] = 1.0
    y.backward()
    assert x.grad.tolist() == [1.0, 1.0]
    written = mg.from_dlpack(foreign)
    written[0] = 7.0  # before the forward pass
    (x * right).sum().backward()
    assert x.grad.tolist() == [2.0, 2.0]


def test_a_leaf_is_changed_in_place_only_without_recording():
    x = leaf([1.0, 2.0])
    with pytest.raises(RuntimeError, match=r"cannot be changed in place.*no_grad"):
        x[0] = 5.0
    with pytest.raises(RuntimeError, match="in place"):
        mg.tensor([1.0, 2.0])[0] = x[0]
    with mg.no_grad():
        x[0] = 5.0  # before the forward pass: as an optimizer does
    (x * x).sum().backward()
    assert x.grad.tolist() == [10.0, 4.0]


def test_a_write_is_seen_through_checkpoint_and_split():
    x = leaf([1.0, 2.0])
    y = mg.checkpoint(lambda t: mg.exp(t) * t, x)
    write(x)
    with pytest.raises(RuntimeError, match="changed in place"):
        y.sum().backward()
    x = leaf([1.0, 2.0])
    first, _ = mg.split(x * 1.0, 2)
    z = first * first
    write(first)
    with pytest.raises(RuntimeError, match="changed in place"):
        z.sum().backward()


def test_tensor_copies_so_the_users_array_may_change():
    array = np.array([1.0, 2.0])
    x = mg.tensor(array, requires_grad=True)
    y = (x * x).sum()
    array[:] = 99.0
    y.backward()
    assert x.grad.tolist() == [2.0, 4.0]


def test_no_grad_nests_and_ends_after_an_exception():
    with mg.no_grad():
        with mg.no_grad():
            pass
        assert not mg.is_grad_enabled()
    assert mg.is_grad_enabled()
    with pytest.raises(KeyError), mg.no_grad():
        raise KeyError
    assert mg.is_grad_enabled()
    again = mg.no_grad()
    with again, again:  # one object, twice
        assert not mg.is_grad_enabled()
    assert mg.is_grad_enabled()


def test_no_grad_holds_in_its_own_thread_only():
    inside, done, seen = threading.Event(), threading.Event(), []

    def other():
        inside.wait(5)
        seen.append(mg.is_grad_enabled())
        with mg.no_grad():
            seen.append(mg.is_grad_enabled())
        done.set()

    thread = threading.Thread(target=other)
    thread.start()
    with mg.no_grad():
        inside.set()
        done.wait(5)
        assert not mg.is_grad_enabled()
    thread.join(5)
    assert seen == [True, False]


def test_no_grad_holds_in_its_own_task_only():
    seen = []

    async def quiet():
        with mg.no_grad():
            await asyncio.sleep(0.01)
            seen.append(("quiet", mg.is_grad_enabled()))

    async def loud():
        await asyncio.sleep(0.005)
        seen.append(("loud", mg.is_grad_enabled()))

    async def both():
        await asyncio.gather(quiet(), loud())

    asyncio.run(both())
    assert dict(seen) == {"quiet": False, "loud": True}


def test_no_grad_decorates_functions_and_generators():
    @mg.no_grad()
    def quiet(depth):
        """Documented."""
        return mg.is_grad_enabled() or (depth > 0 and quiet(depth - 1))

    assert quiet(3) is False
    assert mg.is_grad_enabled()
    assert quiet.__doc__ == "Documented."

    @mg.no_grad()
    def steps():
        received = []
        try:
            received.append((yield mg.is_grad_enabled()))
            received.append((yield mg.is_grad_enabled()))
        except KeyError:
            received.append(mg.is_grad_enabled())
            yield received
        return "end"

    generator = steps()
    assert next(generator) is False
    assert mg.is_grad_enabled()  # while it is suspended
    assert generator.send("a") is False
    assert generator.throw(KeyError()) == ["a", False]
    assert mg.is_grad_enabled()
    with pytest.raises(StopIteration, match="end"):
        next(generator)
    abandoned = steps()
    next(abandoned)
    abandoned.close()
    assert mg.is_grad_enabled()


def training():
    """A small model and the function of one step, in plain tensors."""
    rng = np.random.default_rng(0)
    w1 = mg.tensor(rng.standard_normal((32, 32)), np.float32, requires_grad=True)
    w2 = mg.tensor(rng.standard_normal((32, 4)), np.float32, requires_grad=True)
    x = mg.tensor(rng.standard_normal((64, 32)), np.float32)
    target = mg.tensor(rng.integers(0, 4, 64))

    def step():
        loss = mg.cross_entropy(mg.softmax(mg.layer_norm(x @ w1)) @ w2, target)
        loss.backward()
        with mg.no_grad():
            for w in (w1, w2):
                w.assign_(w - 0.1 * w.grad)
                w.grad = None
        return loss

    return step


def test_nothing_stays_alive_after_a_step_even_without_the_cycle_collector():
    step = training()
    step()
    with without_cycle_collector():
        tensors, nodes = debug.live_tensors(), debug.live_nodes()
        loss = step()
        del loss
        x = leaf([1.0, 2.0])
        for graph_never_walked in (mg.exp(x) * x, mg.checkpoint(mg.exp, x), mg.split(x, 2)):
            del graph_never_walked
        x.register_hook(lambda g: g)
        mg.grad(mg.grad(lambda t: t * t * t))(2.0)
        with contextlib.suppress(RuntimeError):
            (x * x).backward()  # not one value: refused
        del x
        assert debug.live_tensors() == tensors
        assert debug.live_nodes() == nodes


def test_a_log_of_losses_keeps_no_graphs():
    step = training()
    step()
    with without_cycle_collector():
        nodes = debug.live_nodes()
        log = [step() for _ in range(20)]
        assert debug.live_nodes() == nodes + len(log)  # each loss has its own node, used and empty


def test_memory_does_not_grow_over_200_steps():
    step, process = training(), psutil.Process()
    with without_cycle_collector():
        for _ in range(50):
            step()
        before = process.memory_info().rss
        for _ in range(200):
            step()
        assert process.memory_info().rss - before < 5e6


ANOTHER_PROCESS = """
import pickle, sys
import numpy as np
import minigrad as mg
model, x = pickle.load(sys.stdin.buffer)
for _ in range(50):  # the clock of this process goes on
    mg.exp(mg.tensor([1.0], requires_grad=True))
losses = []
for _ in range(2):
    loss = mg.square(model(x)).sum()
    model.zero_grad()
    loss.backward()
    mg.optim.SGD(model.parameters(), lr=0.1).step()
    losses.append(loss.item())
sys.stdout.buffer.write(pickle.dumps((losses, [p.grad for p in model.parameters()], model)))
"""


def test_a_model_is_trained_in_another_process_as_in_this_one():
    """Node numbers come from a clock of each process, so leaves are made anew where they arrive."""
    here = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2))
    x = mg.tensor(np.random.default_rng(0).standard_normal((5, 3)), np.float32)
    for _ in range(1000):  # and this clock is far ahead
        mg.exp(leaf(1.0))
    run = [sys.executable, "-c", ANOTHER_PROCESS]
    answer = subprocess.run(run, input=pickle.dumps((here, x)), capture_output=True, check=True)
    losses, grads, there = pickle.loads(answer.stdout)
    expected = []
    for _ in range(2):
        loss = mg.square(here(x)).sum()
        here.zero_grad()
        loss.backward()
        optim.SGD(here.parameters(), lr=0.1).step()
        expected.append(loss.item())
    assert losses == expected
    for g, p, q in zip(grads, here.parameters(), there.parameters(), strict=True):
        assert np.array_equal(g.data, p.grad.data)
        assert np.array_equal(q.data, p.data)
        assert np.array_equal(q.grad.data, p.grad.data)
    mg.square(there(x)).sum().backward()  # and back here it goes on
    mg.square(here(x)).sum().backward()
    for p, q in zip(here.parameters(), there.parameters(), strict=True):
        assert np.array_equal(q.grad.data, p.grad.data)


COPIES = {
    "pickle": lambda t: pickle.loads(pickle.dumps(t)),
    "deepcopy": copy.deepcopy,
    "out of band": lambda t: out_of_band(t),
}


def out_of_band(t):
    """As Ray does it: the arrays arrive apart from the pickle, and read-only."""
    buffers = []
    data = pickle.dumps(t, protocol=5, buffer_callback=buffers.append)
    return pickle.loads(data, buffers=[bytes(b.raw()) for b in buffers])


@pytest.mark.parametrize("way", COPIES)
def test_a_copied_leaf_is_a_leaf_of_its_own(way):
    x = leaf([1.0, 2.0])
    x.register_hook(lambda g: g * 100.0)
    (x * x).sum().backward()
    y = COPIES[way](x)
    assert y.requires_grad
    assert y.is_leaf
    assert y.grad.tolist() == [200.0, 400.0]
    y.grad = None
    newer = leaf([1.0, 1.0])
    mg.grad(lambda z: (z * y).sum())(newer)
    (y * newer).sum().backward()
    assert y.grad.tolist() == [1.0, 1.0]  # its hooks stayed behind
    with mg.no_grad():
        y += 1.0
    assert (x.tolist(), y.tolist()) == ([1.0, 2.0], [2.0, 3.0])
    x.requires_grad_(False)
    frozen = COPIES[way](x)
    assert not frozen.requires_grad
    assert frozen.grad.tolist() == [200.0, 400.0]
    plain = COPIES[way](mg.tensor([1, 2]))
    assert (plain.tolist(), plain.dtype, plain.requires_grad) == ([1, 2], np.int64, False)


@pytest.mark.parametrize("way", COPIES)
def test_copies_keep_what_is_tied_and_what_an_optimizer_knows(way):
    model = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
    model[1].weight = model[0].weight
    optimizer = optim.Adam(model.parameters(), lr=0.1)
    copied, its = COPIES[way]((model, optimizer))
    assert copied[1].weight is copied[0].weight
    for m, o in ((model, optimizer), (copied, its)):
        for _ in range(3):
            o.zero_grad()
            mg.square(m(mg.tensor(np.ones((2, 3), np.float32)))).sum().backward()
            o.step()
    for p, q in zip(model.parameters(), copied.parameters(), strict=True):
        assert p is not q
        assert np.array_equal(p.data, q.data)


@pytest.mark.parametrize("way", [*COPIES, "copy"])
def test_what_an_op_computed_is_not_copied_without_its_graph(way):
    y = leaf([1.0, 2.0]) * 2.0
    with pytest.raises(RuntimeError, match=r"a tensor from mul that needs a gradient cannot be"):
        {**COPIES, "copy": copy.copy}[way](y)
    assert COPIES["pickle"](y.detach()).tolist() == [2.0, 4.0]


def test_derivatives_of_derivatives_are_right_or_an_error():
    """The whole of it: test_ops.py, second order of every op; test_grad.py, against PyTorch."""
    assert mg.grad(mg.grad(lambda x: mg.sin(x) * x))(0.0).item() == 2.0
    with pytest.raises(RuntimeError, match=r"mg\.grad"):
        mg.exp(leaf(1.0)).backward(create_graph=True)


# --- shapes and dtypes ----------------------------------------------------------------------------
def test_gradients_of_broadcast_arguments_have_their_shapes():
    """All pairs of shapes for every op: test_ops.py, test_gradient_of_a_broadcast_..."""
    for f in (mg.add, lambda a, b: mg.where(a > b, a, b), lambda a, b: mg.lerp(a, b, a)):
        for a_shape, b_shape in (((), (5, 1)), ((1, 5), (5, 1)), ((0, 1, 3), (1, 3)), ((1,), ())):
            a, b = leaf(np.ones(a_shape)), leaf(np.ones(b_shape))
            f(a, b).sum().backward()
            assert (a.grad.shape, b.grad.shape) == (a_shape, b_shape)


def test_a_0d_tensor_stays_a_tensor_of_shape_and_dtype():
    """Reductions and their gradients; every elementwise op has a 0-d case in `reference.cases`."""
    for dtype in (np.float32, np.float64):
        for f in (mg.sum, mg.mean, mg.max, mg.min, mg.prod, mg.logsumexp, mg.norm, mg.var, mg.std):
            for x in (leaf(2.0, dtype), leaf([[1.0, 2.0]], dtype)):
                y = f(x)
                assert isinstance(y.data, np.ndarray)
                assert (y.shape, y.dtype) == ((), dtype)
                y.backward()
                assert isinstance(x.grad.data, np.ndarray)
                assert (x.grad.shape, x.grad.dtype) == (x.shape, dtype)
    x = leaf(2.0)
    assert x[()].shape == x.reshape(()).shape == x.T.shape == x.clone().shape == ()


def test_arrays_without_elements():
    x = leaf(np.ones((0, 3)))
    assert x.sum().item() == 0.0
    assert x.prod().item() == 1.0
    assert np.isnan(x.mean().item())
    assert x.sum(axis=0).tolist() == [0.0] * 3
    assert mg.logsumexp(x).item() == -np.inf
    for f in (mg.max, mg.min, mg.argmax, mg.argmin):
        with pytest.raises(ValueError, match="empty axis"):
            f(x)
    assert mg.max(x, axis=1).shape == (0,)
    y = mg.concatenate([x, mg.softmax(x) * 2.0, mg.layer_norm(x), leaf(np.ones((2, 3)))])
    y.sum().backward()
    assert x.grad.shape == (0, 3)
    logits = leaf(np.ones((0, 3)))
    loss = mg.cross_entropy(logits, mg.tensor(np.zeros(0, int)))
    assert np.isnan(loss.item())  # the mean of nothing, as in PyTorch
    loss.backward()
    assert logits.grad.shape == (0, 3)


def test_float32_stays_float32():
    """Every op and every kind of number, on both sides: test_ops.py, test_a_number_takes_..."""
    x = leaf([1.0, 2.0], np.float32)
    numbers = [2.0, 2, True, np.float64(2), np.sqrt(2), np.asarray(2.0), np.int64(2), [1.0, 2.0]]
    for number in numbers:
        for y in (x * number, number * x, x / number, number / x, x**number, mg.maximum(number, x)):
            assert y.dtype == np.float32
            y.sum().backward()
    assert x.grad.dtype == np.float32


def test_only_floating_point_tensors_carry_gradients():
    for data in ([1, 2], [True]):
        with pytest.raises(TypeError, match="only floating point"):
            mg.tensor(data, requires_grad=True)
        with pytest.raises(TypeError, match="only floating point"):
            mg.tensor(data).requires_grad_()


def test_integers_made_of_a_tensor_that_needs_a_gradient_need_none():
    x = leaf([1.5, -2.5])
    whole = mg.op(lambda x: (np.rint(x).astype(int), lambda g: g))
    parts = mg.op(lambda x: ((x > 0, np.sign(x).astype(np.int8)), lambda gs: gs[0]))
    for n in (x.astype(int), x.astype(np.uint8), x.astype(bool), whole(x), *parts(x)):
        assert not n.requires_grad
        assert not (n * 2).requires_grad
    y = x * x.astype(int)  # [1, -2]: constants
    y.sum().backward()
    assert x.grad.tolist() == [1.0, -2.0]
    assert mg.grad(lambda x: (x * x.astype(int)).sum())(np.array([1.5])).tolist() == [1.0]


def test_axes_negative_several_twice_and_out_of_range():
    x = leaf(np.arange(24.0).reshape(2, 3, 4))
    assert x.sum(axis=(-1, 0)).shape == (3,)
    for axis in ((0, 0), (0, -3)):
        with pytest.raises(ValueError, match="twice"):
            x.sum(axis=axis)
    for f in (mg.sum, mg.max, mg.cumsum, mg.flip):
        with pytest.raises(IndexError, match=r"-3, 2|out of bounds"):
            f(x, 3)
    c = np.random.default_rng(0).standard_normal((4, 2, 3))
    x.transpose(-1, -3, -2).backward(c)
    assert np.array_equal(x.grad.data, np.transpose(c, (1, 2, 0)))


@pytest.mark.parametrize(
    ("call", "first", "second"),
    [
        (lambda a, b: a @ b, (2, 3), (4, 5)),
        (lambda a, b: a + b, (2, 3), (2, 4)),
        (lambda a, b: mg.concatenate([a, b]), (2, 3), (2, 4)),
        (lambda a, b: mg.stack([a, b]), (2, 3), (2, 4)),
        (lambda a, b: mg.linear(a, b), (2, 3), (4, 5)),
        (lambda a, b: mg.mse_loss(a, b), (2, 3), (3,)),
        (lambda a, b: mg.where(a > 0, a, b), (2, 3), (2, 4)),
        (lambda a, b: mg.layer_norm(a, b), (2, 3), (4,)),
        (lambda a, b: a.reshape(b.shape), (2, 3), (5,)),
    ],
)
def test_shapes_that_do_not_fit_are_an_error_with_both(call, first, second):
    with pytest.raises(ValueError) as error:
        call(leaf(np.ones(first)), leaf(np.ones(second)))
    for shape in (first, second):
        assert str(shape) in str(error.value) or str(shape).strip("(),") in str(error.value)


def test_gradients_of_indexing_add_up_duplicates():
    """Random indices of every kind: test_ops.py, test_property_indexing_..."""
    x = leaf([1.0, 2.0, 3.0])
    x[[0, 0, 2]].backward(np.array([1.0, 10.0, 100.0]))
    assert x.grad.tolist() == [11.0, 0.0, 100.0]
    x.grad = None
    (x[np.array([True, False, True])].sum() + x[::-1][0] + x[..., None].sum()).backward()
    assert x.grad.tolist() == [2.0, 1.0, 3.0]
    with pytest.raises(IndexError, match="getitem"):
        x[3]


def test_memory_layout_does_not_matter():
    """Every op with transposed, reversed and stride 0 arguments: test_ops.py, test_layout_..."""
    a = np.arange(12.0).reshape(3, 4)
    for strided in (a.T, a[::-1], a[:, ::2], np.broadcast_to(a[:1], (3, 4))):
        x, y = Tensor(strided).requires_grad_(), leaf(strided.copy())
        for t in (x, y):
            (mg.tanh(t) @ t.T).sum().backward()
        assert np.array_equal(x.grad.data, y.grad.data)


# --- numerics -------------------------------------------------------------------------------------
def test_softmax_and_its_relatives_at_the_ends():
    """Finite for finite scores. Nothing but -inf: softmax NaN, logsumexp -inf, attention 0."""
    for dtype in (np.float32, np.float64):
        x = leaf([[1e4, -1e4, 0.0]], dtype)
        assert mg.softmax(x).tolist() == [[1.0, 0.0, 0.0]]
        assert mg.log_softmax(x).tolist() == [[0.0, -2e4, -1e4]]
        assert mg.logsumexp(x, axis=1).tolist() == [1e4]
        loss = mg.cross_entropy(x, mg.tensor([1]))
        loss.backward()
        assert loss.item() == 2e4
        assert x.grad.tolist() == [[1.0, -1.0, 0.0]]
    masked = leaf([[0.0, -np.inf]])
    mg.softmax(masked).sum().backward()
    assert mg.softmax(masked).tolist() == [[1.0, 0.0]]
    assert masked.grad.tolist() == [[0.0, 0.0]]
    none = leaf([[-np.inf, -np.inf]])
    assert np.isnan(mg.softmax(none).data).all()
    y = mg.logsumexp(none)
    y.backward()
    assert y.item() == -np.inf
    assert none.grad.tolist() == [[0.0, 0.0]]
    assert np.isnan(mg.softmax(leaf([np.inf, 0.0])).data).any()
    q = leaf(np.ones((2, 3)))
    y = mg.scaled_dot_product_attention(q, q, q, np.array([[True, False], [False, False]]))
    y.sum().backward()
    assert y.tolist() == [[1.0] * 3, [0.0] * 3]
    assert np.isfinite(q.grad.data).all()


def test_where_with_an_infinite_derivative_on_the_side_not_taken():
    """NaN as in PyTorch: 0 times infinity. The docstring of `where` has the remedy, tried here."""
    x = leaf([0.0, 4.0])
    mg.where(x > 0, mg.sqrt(x), 0.0).sum().backward()
    assert np.isnan(x.grad.data[0])
    x.grad = None
    mg.where(x > 0, mg.sqrt(mg.where(x > 0, x, 1.0)), 0.0).sum().backward()
    assert x.grad.tolist() == [0.0, 0.25]
    assert "where(x > 0, sqrt(where(x > 0, x, 1)), 0)" in mg.where.__doc__


def test_ties_and_kinks_follow_pytorch():
    """One table for all: test_ops.py, KINKS. Here, PyTorch is asked."""
    data = np.array([0.0, 1.0, 1.0, -1.0])
    for ours, theirs in (
        (lambda x: mg.relu(x).sum(), lambda t: torch.relu(t).sum()),
        (lambda x: mg.abs(x).sum(), lambda t: torch.abs(t).sum()),
        (lambda x: x.max(), lambda t: t.amax()),
        (lambda x: mg.clip(x, -1.0, 1.0).sum(), lambda t: t.clamp(-1.0, 1.0).sum()),
        (lambda x: mg.maximum(x, 1.0).sum(), lambda t: torch.maximum(t, torch.ones_like(t)).sum()),
        (lambda x: mg.sqrt(mg.abs(x)).sum(), lambda t: torch.sqrt(torch.abs(t)).sum()),
        (lambda x: mg.norm(x * 0.0), lambda t: torch.linalg.vector_norm(t * 0.0)),
    ):
        x, t = leaf(data), torch.tensor(data, requires_grad=True)
        ours(x).backward()
        theirs(t).backward()
        np.testing.assert_allclose(x.grad.data, t.grad.numpy(), rtol=1e-15)


def test_singular_points_are_finite_where_mathematics_is_and_never_warn():
    """Warnings are errors in this suite. More of them in test_ops.py, KINKS."""
    x = leaf([2.0, 0.0, 3.0])
    x.prod().backward()
    assert x.grad.tolist() == [0.0, 6.0, 0.0]
    zero = leaf(0.0)
    assert (zero**0).item() == 1.0
    (zero**0).backward()
    assert zero.grad.item() == 0.0
    assert (1.0 / zero).item() == np.inf
    assert mg.log(zero).item() == -np.inf
    assert np.isnan(mg.log(leaf(-1.0)).item())
    assert mg.exp(leaf(1e4, np.float32)).item() == np.inf


def test_a_class_out_of_range_is_named():
    logits = leaf(np.zeros((2, 10)))
    for bad in (10, -1):
        with pytest.raises(IndexError, match=rf"target {bad} not in \[0, 9\]"):
            mg.cross_entropy(logits, mg.tensor([3, bad]))
    assert mg.cross_entropy(logits, mg.tensor([3, -100])).item() == pytest.approx(np.log(10))
    ignored = mg.cross_entropy(logits, mg.tensor([-100, -100]))
    ignored.backward()
    assert np.isnan(ignored.item())  # the mean of nothing
    total = mg.cross_entropy(logits, mg.tensor([-100, -100]), reduction="sum")
    assert total.item() == 0.0
    for options in ({"weight": mg.tensor(np.ones(9))}, {"label_smoothing": 2.0}):
        with pytest.raises(ValueError, match="cross_entropy: expected"):
            mg.cross_entropy(logits, mg.tensor([3, 4]), **options)


def test_an_id_outside_the_table_is_refused():
    table = leaf(np.zeros((5, 2)))
    for bad in (-1, 5):
        with pytest.raises(IndexError, match=rf"{bad} not in \[0, 4\]"):
            mg.embedding(table, mg.tensor([0, bad]))
    with pytest.raises(TypeError, match="integers"):
        mg.embedding(table, mg.tensor([0.0]))


def test_the_first_op_that_makes_nan_is_named_with_its_line():
    """More of it in test_debug.py."""
    x = leaf([0.0])
    with debug.find_nan():
        y = mg.sqrt(x)
        with pytest.raises(FloatingPointError, match=r"sqrt: .*inf.*test_reliability\.py:\d+"):
            y.backward()


def test_gradcheck_refuses_planted_mistakes(monkeypatch):
    """Of every op: test_ops.py, test_planted_wrong_gradients_are_refused."""
    x = np.random.default_rng(0).standard_normal((2, 3))
    mg.gradcheck(mg.softmax, [x])
    original = mg.graph.contributions_of
    for mistake in (lambda c: -c, lambda c: 0.0 * c, lambda c: 1.0001 * c):
        with monkeypatch.context() as patch:
            patch.setattr(
                mg.graph, "contributions_of", lambda *a, m=mistake: [m(c) for c in original(*a)]
            )
            with pytest.raises(mg.GradcheckError):
                mg.gradcheck(mg.softmax, [x])


# --- state, files, processes ----------------------------------------------------------------------
def test_a_seed_gives_the_same_bytes():
    def run():
        mg.random.seed(7)
        step = training()
        losses = [step().item() for _ in range(5)]
        x = leaf(np.ones((4, 4)))
        mg.dropout(x, 0.5, training=True).sum().backward()
        return losses, x.grad.data.tobytes(), mg.random.normal((3,)).data.tobytes()

    assert run() == run()


def test_the_random_state_is_plain_numbers_that_continue_a_run():
    mg.random.seed(1)
    mg.random.normal((3,))
    state = mg.random.get_state()
    expected = [mg.random.normal((3,)).tolist(), mg.random.permutation(5).tolist()]
    mg.random.seed(99)
    mg.random.set_state(state)
    assert [mg.random.normal((3,)).tolist(), mg.random.permutation(5).tolist()] == expected


def test_no_code_is_ever_read_from_data():
    """No pickle, eval, exec or shell in any module; strings and comments may name them."""
    for folder in ("minigrad", "experiments", "models", "kernels"):
        for path in (ROOT / folder).rglob("*.py"):
            source = path.read_text(encoding="utf-8")
            tokens = tokenize.generate_tokens(io.StringIO(source).readline)
            code = " ".join(t.string for t in tokens if t.type in (tokenize.NAME, tokenize.OP))
            found = re.search(r"\bpickle\b|(?<!\. )(?<!def )\b(eval|exec) \(|shell = True", code)
            assert not found, f"{path.name}: {found}"


def test_tensors_of_every_layout_and_dtype_come_back_equal(tmp_path):
    a = np.arange(6.0).reshape(2, 3)
    arrays = {"t": a.T, "r": a[::-1], "b": np.broadcast_to(a[:1], (4, 3)), "s": np.array(2.5)}
    mg.save({name: Tensor(array) for name, array in arrays.items()}, tmp_path / "x.safetensors")
    for name, t in mg.load(tmp_path / "x.safetensors").items():
        assert np.array_equal(t.data, arrays[name])
        assert t.shape == arrays[name].shape


def test_a_device_that_does_not_exist_is_one_clear_error():
    with pytest.raises(ValueError, match=r'"cpu", "cuda" or "cuda:N", got'):
        mg.tensor(1.0, device="gpu")
    if not mg.device.available():
        with pytest.raises(mg.device.DeviceError, match="cuda"):
            mg.tensor(1.0, device="cuda:7")
