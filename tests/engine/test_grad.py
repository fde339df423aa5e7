"""Functions of functions: mg.grad to any order, value_and_grad, checkpoint, hooks, no_grad."""

import operator
import re
from typing import NamedTuple

import numpy as np
import pytest
import torch
import torch.nn.functional as F

import minigrad as mg
from minigrad import Tensor, debug
from minigrad.inplace import saved_arrays
from minigrad.tree import leaves


def f64(*shape, seed=0):
    return mg.tensor(np.random.default_rng(seed).standard_normal(shape))


def to_torch(*tensors):
    return [torch.tensor(t.data, requires_grad=t.dtype.kind == "f") for t in tensors]


def close(ours, theirs, rtol=1e-12):
    """Double precision with some hundred roundings: 100 × 2e-16, with room for cancellation."""
    np.testing.assert_allclose(ours.data, theirs.detach().numpy(), rtol=rtol, atol=rtol)


# --- grad -----------------------------------------------------------------------------------------
def test_grad_of_one_and_of_several_arguments():
    x, y = f64(3), f64(3, seed=1)

    def f(x, y):
        return (mg.sin(x) * mg.exp(y)).sum()

    close(mg.grad(f)(x, y), torch.tensor(np.cos(x.data) * np.exp(y.data)))
    gx, gy = mg.grad(f, (0, 1))(x, y)
    close(gx, torch.tensor(np.cos(x.data) * np.exp(y.data)))
    close(gy, torch.tensor(np.sin(x.data) * np.exp(y.data)))
    close(mg.grad(f, 1)(x, y), torch.tensor(gy.data))


def test_grad_of_python_numbers_and_keyword_arguments():
    assert mg.grad(lambda x: x**2)(3).item() == 6.0
    assert mg.grad(lambda x, *, scale: x * scale)(3.0, scale=4.0).item() == 4.0


def test_value_and_grad_gives_both_without_history():
    value, g = mg.value_and_grad(lambda x: (x * x).sum())(f64(3))
    assert value.shape == ()
    assert not value.requires_grad
    assert not g.requires_grad


def test_grad_leaves_its_arguments_alone():
    x = f64(3).requires_grad_()
    mg.grad(lambda x: (x * x).sum())(x)
    assert x.grad is None
    assert mg.is_grad_enabled()


def test_grad_works_inside_no_grad():
    with mg.no_grad():
        assert mg.grad(lambda x: x * x)(3.0).item() == 6.0


def test_an_argument_without_influence_has_gradient_zero():
    gx, gy = mg.grad(lambda x, y: (x * 1.0).sum(), (0, 1))(f64(3), f64(2))
    assert gx.tolist() == [1.0] * 3
    assert gy.tolist() == [0.0] * 2


@pytest.mark.parametrize("create_graph", [False, True])
def test_gradients_of_several_arguments_share_no_memory(create_graph):
    """x + y hands one array to both; so does everything above it."""
    for f in (lambda x, y: mg.sin(x + y).sum(), lambda x, y: (x + y).sum(), lambda x, y: y * x):
        args = (f64(1), f64(1, seed=1)) if f(f64(1), f64(1)).shape else (f64(3), f64(3, seed=1))
        gx, gy = mg.grad(f, (0, 1), create_graph=create_graph)(*args)
        before = gy.tolist()
        gx.data[...] = 99.0
        assert gy.tolist() == before
        assert 99.0 not in [*args[0].tolist(), *args[1].tolist()]


class Pair(NamedTuple):
    scale: object
    shift: object


def test_gradients_of_nested_structures_have_their_structure(rng):
    """Σ (a x + b)² for a, b wherever they are: the gradients are 2 Σ r x and 2 Σ r, r = a x + b."""
    x = rng.standard_normal(5)
    a, b = rng.standard_normal(5), np.asarray(rng.standard_normal())
    r = a * x + b
    expected = 2 * r * x, 2 * r.sum()
    loss = lambda a, b: mg.square(mg.tensor(x) * a + b).sum()
    trees = [
        ({"a": mg.tensor(a), "b": b}, lambda t: (t["a"], t["b"])),
        ([mg.tensor(a), mg.tensor(b)], lambda t: (t[0], t[1])),
        ((a, b), lambda t: (t[0], t[1])),
        ({"layers": [{"w": a}, (b, None)]}, lambda t: (t["layers"][0]["w"], t["layers"][1][0])),
        (Pair(a, [b]), lambda t: (t.scale, t.shift[0])),
    ]
    for tree, parts in trees:
        f = lambda t, parts=parts: loss(*parts(t))
        for g in (mg.grad(f)(tree), mg.value_and_grad(f, (0,))(tree)[1][0]):
            assert [path for path, _ in leaves(g)] == [path for path, _ in leaves(tree)]
            assert type(g) is type(tree)
            for ours, theirs in zip(parts(g), expected, strict=True):
                np.testing.assert_allclose(ours.data, theirs, rtol=1e-13)  # sums of five
                assert not ours.requires_grad
    assert leaves(mg.grad(f)(tree))  # a second call: nothing was left behind


def test_a_list_of_numbers_is_one_tensor_and_second_derivatives_go_through_structures():
    assert mg.grad(lambda x: (x * x).sum())([1.0, 2.0]).tolist() == [2.0, 4.0]
    cube = lambda t: t["x"] * t["x"] * t["x"]
    second = mg.grad(lambda t: mg.grad(cube)(t)["x"])({"x": 2.0})
    assert second["x"].item() == 12.0
    nested = mg.grad(lambda t: t["x"] * mg.grad(lambda u: u["x"] * t["x"])({"x": 5.0})["x"])
    assert nested({"x": 3.0})["x"].item() == 6.0  # d/dx x²
    with pytest.raises(TypeError, match="only floating"):
        mg.grad(lambda t: t["x"].sum())({"x": np.array([1, 2])})


def test_what_a_function_returns_beside_its_value():
    def f(x, y):
        h = x * x
        return (h * y).sum(), {"h": h, "note": "text", "numbers": [1, 2]}

    x = f64(3)
    two = np.array(2.0)
    g, aux = mg.grad(f, has_aux=True)(x, two)
    np.testing.assert_allclose(g.data, 4 * x.data)
    (value, again), gradients = mg.value_and_grad(f, (0, 1), has_aux=True)(x, two)
    assert not value.requires_grad
    for found in (aux, again):
        assert found["h"].tolist() == (x.data * x.data).tolist()
        assert not found["h"].requires_grad
        assert (found["note"], found["numbers"]) == ("text", [1, 2])
    np.testing.assert_allclose(gradients[1].item(), (x.data**2).sum(), rtol=1e-13)
    for wrong in (lambda x: x.sum(), lambda x: (x.sum(), 1, 2), lambda x: [x.sum(), 1]):
        with pytest.raises(ValueError, match=r"must return \(value, aux\), got"):
            mg.grad(wrong, has_aux=True)(x)


def test_an_argument_named_twice_is_refused():
    with pytest.raises(ValueError, match=r"grad: argnums \(0, -2\) names argument 0 twice"):
        mg.grad(lambda x, y: x * y, (0, -2))(2.0, 3.0)


def test_grad_of_what_is_not_one_value_is_an_error():
    with pytest.raises(ValueError, match=r"one value, got shape \(3,\)"):
        mg.grad(lambda x: x * 2)(f64(3))
    with pytest.raises(ValueError, match="got float"):
        mg.grad(lambda x: 1.0)(f64(3))
    with pytest.raises(TypeError, match=r"argument 2 .* got 1"):
        mg.grad(lambda x: x.sum(), 2)(f64(3))
    with pytest.raises(TypeError, match="floating"):
        mg.grad(lambda x: x.sum())(mg.tensor([1, 2]))


# --- higher orders --------------------------------------------------------------------------------
def test_derivatives_of_every_order_of_a_polynomial():
    f, found = (lambda x: x**4), []
    for _ in range(5):
        f = mg.grad(f)
        found.append(f(mg.tensor(2.0)).item())
    assert found == [32.0, 48.0, 48.0, 24.0, 0.0]


def test_nested_gradients_are_not_confused():
    """d/dx x (d/dy (x + y)) = 1: the inner gradient must not see the outer variable's."""
    assert mg.grad(lambda x: x * mg.grad(lambda y: x + y)(2.0))(1.0).item() == 1.0
    assert mg.grad(lambda x: x * mg.grad(lambda y: x * y)(2.0))(3.0).item() == 6.0


def test_third_derivative_matches_torch():
    x = f64(4)

    def f(m, x):
        return (m.tanh(x) * m.exp(x * x * 0.3)).sum()

    def ours(order):
        g = lambda x: f(mg, x)
        for _ in range(order):
            g = (lambda inner: lambda x: (mg.grad(inner)(x) * 1.0).sum())(g)
        return g(x)

    (t,) = to_torch(x)
    y = f(torch, t)
    for order in (1, 2, 3):
        y = torch.autograd.grad(y, t, create_graph=True)[0].sum()
        close(ours(order), y)


def network(m, linear, layer_norm, attention, cross_entropy, x, w, v, ids):
    """Fused ops, so that their composites are what gets differentiated twice."""
    h = layer_norm(linear(x, w), v)
    h = attention(h, h, h)
    return cross_entropy(linear(h, w), ids)


def ours_and_theirs():
    x, w, v, ids = f64(5, 4), f64(4, 4, seed=1), f64(4, seed=2), np.array([0, 3, 1, 1, 2])

    def ours(x, w, v):
        return network(
            mg, mg.linear, mg.layer_norm, mg.scaled_dot_product_attention, mg.cross_entropy,
            x, w, v, mg.tensor(ids),
        )  # fmt: skip

    def theirs(x, w, v):
        def attention(q, k, v):  # spelled out: PyTorch's own has no second derivative
            return (q @ k.mT / 2.0).softmax(-1) @ v

        norm = lambda h, v: F.layer_norm(h, (4,), v)
        return network(
            torch, F.linear, norm, attention, F.cross_entropy, x, w, v, torch.tensor(ids)
        )

    return ours, theirs, (x, w, v)


def test_hessian_vector_product_of_fused_ops_matches_torch():
    ours, theirs, args = ours_and_theirs()
    u = f64(4, 4, seed=3)
    product = mg.grad(lambda w: (mg.grad(lambda w: ours(args[0], w, args[2]))(w) * u).sum())
    x, w, v = to_torch(*args)
    (g,) = torch.autograd.grad(theirs(x, w, v), w, create_graph=True)
    (expected,) = torch.autograd.grad((g * torch.tensor(u.data)).sum(), w)
    close(product(args[1]), expected, rtol=1e-10)


def test_hessian_is_symmetric():
    _, w = f64(3, 3), f64(4, seed=1)
    f = lambda w: mg.softmax(w * w).sum() + mg.logsumexp(w * mg.sin(w))
    rows = [mg.grad(lambda w, i=i: mg.grad(f)(w)[i])(w).data for i in range(4)]
    np.testing.assert_allclose(rows, np.transpose(rows), rtol=1e-12, atol=1e-14)


def test_gradient_penalty_reaches_the_parameters():
    """create_graph records the gradient, so that backward() goes through it."""
    ours, theirs, args = ours_and_theirs()
    leaves = [Tensor(a.data).requires_grad_() for a in args]
    x, w, v = leaves
    g = mg.grad(lambda x: ours(x, w, v), create_graph=True)(x)
    ((g * g).sum() + ours(x, w, v)).backward()
    tx, tw, tv = to_torch(*args)
    (tg,) = torch.autograd.grad(theirs(tx, tw, tv), tx, create_graph=True)
    ((tg * tg).sum() + theirs(tx, tw, tv)).backward()
    close(w.grad, tw.grad, rtol=1e-10)
    close(v.grad, tv.grad, rtol=1e-10)


def test_backward_with_create_graph_says_how_to_do_it():
    x = f64(3).requires_grad_()
    with pytest.raises(RuntimeError, match=r"mg\.grad\(mg\.grad\(f\)\)"):
        (x * x).sum().backward(create_graph=True)


# --- backward -------------------------------------------------------------------------------------
def test_a_gradient_may_be_given_as_an_array_or_tensor():
    for c in (np.array([1.0, 2.0]), mg.tensor(np.array([1.0, 2.0])), [1.0, 2.0]):
        x = mg.tensor(np.ones(2), requires_grad=True)
        (x * 3.0).backward(c)
        assert x.grad.tolist() == [3.0, 6.0]


def test_retain_graph_allows_a_second_walk():
    x = mg.tensor(2.0, requires_grad=True)
    y = x * x
    y.backward(retain_graph=True)
    y.backward()
    assert x.grad.item() == 8.0


def test_only_some_outputs_of_an_op_are_used():
    x = f64(4).requires_grad_()
    _, b = mg.split(x, 2)
    (b * b).sum().backward()
    assert x.grad.tolist() == [0.0, 0.0, *(2 * x.data[2:])]
    h, c = mg.lstm_cell(f64(2, 3), f64(2, 4), f64(2, 4).requires_grad_(), f64(16, 3), f64(16, 4))
    del h
    c.sum().backward()


def test_no_graph_behind_a_result_that_needs_none():
    y = mg.exp(mg.tensor([1.0])) * 2.0
    assert y.node is None
    assert y.is_leaf


def test_leaf_backward_is_its_own_gradient():
    x = mg.tensor(2.0, requires_grad=True)
    x.backward()
    assert x.grad.item() == 1.0


def test_retain_grad_keeps_the_gradient_of_an_intermediate_result():
    x = mg.tensor(2.0, requires_grad=True)
    h = (x * x).retain_grad()
    (h * 3.0).backward()
    assert h.grad.item() == 3.0
    assert x.grad.item() == 12.0


# --- hooks ----------------------------------------------------------------------------------------
def test_a_hook_sees_the_complete_gradient_once():
    x = mg.tensor(2.0, requires_grad=True)
    h = x * 1.0
    seen = []
    h.register_hook(lambda g: seen.append(g.item()))
    (h * 3.0 + h * h).backward()
    assert seen == [7.0]


def test_hooks_replace_the_gradient_in_order_and_can_be_removed():
    x = mg.tensor(1.0, requires_grad=True)
    x.register_hook(lambda g: g * 2.0)
    remove = x.register_hook(lambda g: g + 1.0)
    (x * 1.0).backward()
    assert x.grad.item() == 3.0
    x.grad = None
    remove()
    (x * 1.0).backward()
    assert x.grad.item() == 2.0


def test_a_hook_that_returns_another_shape_is_refused():
    x = f64(3).requires_grad_()
    for change, got in (
        (lambda g: g.sum(), r"shape \(\), float64"),
        (lambda g: g.astype(np.float32), r"shape \(3,\), float32"),
    ):
        remove = x.register_hook(change)
        with pytest.raises(
            RuntimeError, match=rf"^register_hook: .*{got}, expected \(3,\), float64"
        ):
            (x * x).sum().backward()
        remove()
    assert x.grad is None


def test_a_hook_that_writes_to_its_gradient_changes_no_other():
    x, y, seed = f64(3).requires_grad_(), f64(3).requires_grad_(), mg.tensor(np.ones(3))

    def overwrite(g):
        g.assign_(99.0)

    x.register_hook(overwrite)
    (x + y).backward(seed)
    assert y.grad.tolist() == seed.tolist() == [1.0, 1.0, 1.0]


def test_a_hook_or_a_grad_that_is_no_tensor_is_refused():
    x = f64(3).requires_grad_()
    x.register_hook(lambda g: g.numpy())
    with pytest.raises(TypeError, match="the hook returned ndarray"):
        (x * x).sum().backward()
    with pytest.raises(TypeError, match="expected a Tensor or None, got ndarray"):
        x.grad = np.ones(3)


def test_a_pullback_that_leaves_out_an_argument_is_refused():
    one, two = (mg.tensor([v], requires_grad=True) for v in (2.0, 3.0))
    for pull in (lambda b: lambda g: g * b, lambda b: (lambda g: g * b,)):
        product = mg.op(lambda a, b, pull=pull: (a * b, pull(b)))
        product(one, 5.0).backward()
        with pytest.raises(RuntimeError, match="an argument after those needs one too"):
            product(one, two).backward()
    assert one.grad.item() == 10.0
    assert two.grad is None


def test_hooks_need_a_gradient():
    with pytest.raises(RuntimeError, match="register_hook"):
        mg.tensor(1.0).register_hook(print)


# --- no_grad --------------------------------------------------------------------------------------
def test_no_grad_records_nothing_and_enable_grad_does_again():
    x = mg.tensor(1.0, requires_grad=True)
    with mg.no_grad():
        assert not mg.is_grad_enabled()
        assert not (x * 2.0).requires_grad
        with mg.enable_grad():
            assert (x * 2.0).requires_grad
        assert not mg.is_grad_enabled()
    assert (x * 2.0).requires_grad


def test_detach_shares_memory_and_cuts_the_graph():
    x = mg.tensor([1.0, 2.0], requires_grad=True)
    y = x.detach()
    assert y.data is x.data
    (x * y).sum().backward()
    assert x.grad.tolist() == [1.0, 2.0]


# --- checkpoint -----------------------------------------------------------------------------------
def block(x, w):
    return mg.dropout(mg.tanh(mg.tanh(x @ w) @ w), 0.4, training=True)


def run(wrap):
    """Value and gradients of two blocks; the second weight is used without being an argument."""
    mg.random.seed(3)
    x, w1, w2 = (f64(4, 4, seed=i).requires_grad_() for i in range(3))
    h = wrap(lambda x, w: block(x, w), x, w1)
    y = wrap(lambda x: block(x, w2), h)
    (y * y).sum().backward()
    return [y.data, x.grad.data, w1.grad.data, w2.grad.data, mg.random.uniform((3,)).data]


def test_checkpoint_changes_no_number_not_even_random_ones():
    for a, b in zip(run(lambda f, *args: f(*args)), run(mg.checkpoint), strict=True):
        assert np.array_equal(a, b)


def test_checkpoint_keeps_only_its_arguments_and_result():
    x = f64(100).requires_grad_()
    before = debug.live_nodes()
    y = mg.checkpoint(lambda x: mg.exp(mg.tanh(mg.sin(x))), x)
    assert debug.live_nodes() == before + 1
    assert {id(a) for a in saved_arrays(y.node.pull)} == {id(x.data), id(y.data)}


def switched(layer):
    layer.eval()


def another_rate(layer):
    layer.p = 0.3


def emptied(layer):
    layer.forward = lambda x: x.detach()


@pytest.mark.parametrize("change", [switched, another_rate, emptied])
def test_a_checkpointed_function_that_changes_before_the_backward_pass_is_refused(change):
    """Another mask, or none, would give a gradient of another function."""
    layer, x = mg.nn.Dropout(0.5), f64(100).requires_grad_()
    y = mg.checkpoint(lambda x: layer(mg.sin(x)), x)
    change(layer)
    with pytest.raises(RuntimeError, match="checkpoint, backward: f gave another result"):
        y.sum().backward()
    assert x.grad is None


def test_a_checkpointed_function_that_does_other_ops_with_equal_results_is_refused():
    x, cut = f64(3).requires_grad_(), []
    y = mg.checkpoint(lambda x: mg.sin(x) * (x.detach() if cut else x), x)
    cut.append(True)
    with pytest.raises(RuntimeError, match="f gave another result"):
        y.sum().backward()
    y = mg.checkpoint(lambda x: x.detach() if len(cut) > 1 else x, x)
    cut.append(True)
    with pytest.raises(RuntimeError, match="f gave another result"):
        y.sum().backward()


def test_a_checkpointed_function_that_draws_elsewhere_is_refused(rng):
    x = f64(100).requires_grad_()
    y = mg.checkpoint(lambda x: x * (rng.random(100) > 0.5), x)
    with pytest.raises(RuntimeError, match=r"Random numbers must come from minigrad\.random"):
        y.sum().backward()


def test_checkpoints_that_repeat_themselves_are_accepted_nan_and_infinities_too():
    norm = mg.nn.BatchNorm1d(3)  # the running statistics move, the result does not
    x = mg.tensor([[1.0, 2.0, 3.0], [2.0, 0.0, 1.0]], requires_grad=True)
    mg.checkpoint(norm, x).sum().backward()
    x = mg.tensor([0.0, -1.0, np.inf, 2.0], requires_grad=True)
    mg.checkpoint(lambda x: mg.log(x) + x, x).sum().backward()  # -inf, nan, inf, a number
    assert x.grad.tolist() == [np.inf, 0.0, 1.0, 1.5]  # 1/x + 1
    x = mg.tensor(np.ones((0, 3)), requires_grad=True)
    mg.checkpoint(mg.sin, x).sum().backward()


def test_checkpoint_copies_arrays_that_the_user_may_write_to():
    x, a = f64(3).requires_grad_(), np.array([1.0, 2.0, 3.0])
    y = mg.checkpoint(lambda x, a: x * a, x, a)
    a[:] = 100.0
    y.sum().backward()
    assert x.grad.tolist() == [1.0, 2.0, 3.0]


def test_a_checkpointed_function_returns_one_tensor():
    for f in (lambda x: (x, x), lambda x: x.detach().numpy()):
        with pytest.raises(TypeError, match="checkpoint: expected f to return one tensor, got"):
            mg.checkpoint(f, f64(3).requires_grad_())


def test_checkpoint_computes_the_inside_twice_and_nests():
    calls = []

    def f(x):
        calls.append(1)
        return mg.sin(x)

    x = f64(3).requires_grad_()
    mg.checkpoint(lambda x: mg.checkpoint(f, x) * 2.0, x).sum().backward()
    np.testing.assert_allclose(x.grad.data, 2 * np.cos(x.data))
    assert len(calls) == 3  # forward; again for the outer; again for the inner


def test_checkpoint_of_a_function_that_returns_its_argument():
    x = f64(3).requires_grad_()
    mg.checkpoint(lambda x: mg.dropout(x, 0.5, training=False), x).sum().backward()
    assert x.grad.tolist() == [1.0, 1.0, 1.0]


def test_checkpoint_without_recording_is_a_plain_call():
    with mg.no_grad():
        assert not mg.checkpoint(mg.sin, f64(3).requires_grad_()).requires_grad
    assert not mg.checkpoint(mg.sin, f64(3)).requires_grad


def test_checkpoint_has_no_second_derivative_and_says_so():
    with pytest.raises(RuntimeError, match="checkpoint: it has no second derivative"):
        mg.grad(mg.grad(lambda x: mg.checkpoint(mg.sin, x)))(1.0)


@pytest.mark.usefixtures("registry")
@pytest.mark.parametrize("name", ["checkpoint", "to_device", "add", "leaf"])
def test_an_op_may_be_called_as_one_of_minigrad_is(name):
    """Nothing is decided by the name of an op."""

    def body(x):
        return x * x * x, lambda g: 3.0 * g * x * x

    body.__name__ = name
    for _ in range(2):  # as in a notebook whose cell runs again
        cube = mg.op(numpy=np.cbrt)(body)
    assert mg.grad(mg.grad(cube))(2.0).item() == 12.0
    assert np.cbrt(mg.tensor(2.0)).item() == 8.0
    with pytest.raises(ValueError, match="exp already calls an op of minigrad"):
        mg.op(numpy=np.exp)(body)
    with pytest.raises(ValueError, match="sort already calls an op of minigrad"):
        mg.op(numpy=np.sort)(body)


# --- writes that a gradient must not miss ---------------------------------------------------------
IN_PLACE = {  # by the operator: the function, an operand for [1, 2, 3, 4], and for a mask
    "+=": (operator.iadd, operator.add, 2.0),
    "-=": (operator.isub, operator.sub, 2.0),
    "*=": (operator.imul, operator.mul, 2.0),
    "/=": (operator.itruediv, operator.truediv, 2.0),
    "//=": (operator.ifloordiv, operator.floordiv, 2.0),
    "%=": (operator.imod, operator.mod, 3.0),
    "**=": (operator.ipow, operator.pow, 2.0),
    "@=": (operator.imatmul, operator.matmul, np.array([[0.0, 1.0], [1.0, 0.0]])),
    "&=": (operator.iand, operator.and_, np.array([[True, False], [True, False]])),
    "|=": (operator.ior, operator.or_, np.array([[True, False], [True, False]])),
    "^=": (operator.ixor, operator.xor, np.array([[True, False], [True, False]])),
}


def of_kind(name):
    """The values to start with."""
    numbers = np.array([[1.0, 2.0], [3.0, 4.0]])
    return numbers > 2 if name in ("&=", "|=", "^=") else numbers


@pytest.mark.parametrize("name", IN_PLACE)
def test_in_place_operators_change_the_tensor_in_place(name):
    """What NumPy does with the same numbers, seen through another name and through a view."""
    update, compute, operand = IN_PLACE[name]
    t = mg.tensor(of_kind(name))
    alias, memory, view = t, t.data, t.reshape(-1)
    t = update(t, operand)
    expected = compute(of_kind(name), operand)
    assert t is alias
    assert t.data is memory
    assert np.array_equal(alias.data, expected)
    assert np.array_equal(view.data, expected.reshape(-1))
    box = [alias]
    box[0] = update(box[0], mg.tensor(np.asarray(operand)))
    assert np.array_equal(alias.data, compute(expected, operand))


@pytest.mark.parametrize("name", [name for name in IN_PLACE if name not in ("&=", "|=", "^=")])
def test_in_place_operators_write_to_a_leaf_under_no_grad_alone(name):
    update, compute, operand = IN_PLACE[name]
    w = mg.tensor(of_kind(name), requires_grad=True)
    memory, h = w.data, w * 1.0
    for t, x in ((w, operand), (h, operand), (mg.tensor(of_kind(name)), w)):
        before = t.tolist()
        with pytest.raises(RuntimeError, match=rf"{re.escape(name)}: .*no_grad"):
            update(t, x)
        assert t.tolist() == before
    with mg.no_grad():
        assert update(w, operand) is w
    assert w.data is memory
    assert w.requires_grad
    assert np.array_equal(memory, compute(of_kind(name), operand))


def test_in_place_operators_refuse_what_does_not_fit():
    whole, row = mg.tensor([1, 2]), mg.tensor([1.0, 2.0])
    with pytest.raises(TypeError, match="/=: a result of float32 does not fit into int64"):
        whole /= 2
    with pytest.raises(ValueError, match=r"\+=: a result of shape \(3, 2\) does not fit into"):
        row += np.ones((3, 2))
    assert (whole.tolist(), row.tolist()) == ([1, 2], [1.0, 2.0])


def test_a_gradient_is_scaled_in_place():
    p = mg.tensor([1.0, 2.0], requires_grad=True)
    (p * p).sum().backward()
    g = p.grad
    g *= 0.5
    assert p.grad.tolist() == [1.0, 2.0]
    p.grad /= 2.0
    p.grad[0] = 7.0
    assert p.grad.tolist() == g.tolist() == [7.0, 1.0]


def test_an_array_that_was_saved_is_not_changed_by_an_operator_unseen():
    x, h = mg.tensor([1.0, 2.0], requires_grad=True), mg.tensor([3.0, 4.0])
    y = (x * h).sum()
    h += 1.0
    with pytest.raises(RuntimeError, match="changed in place"):
        y.backward()


def test_a_gradient_is_not_lost_in_a_list_that_is_written():
    t, w = mg.tensor(np.zeros(2)), mg.tensor(1.0, np.float64, requires_grad=True)
    for write in (lambda: t.assign_([w, w]), lambda: t.__setitem__(slice(None), [w, 2.0])):
        with pytest.raises(RuntimeError, match="in place"):
            write()
        with mg.no_grad():
            write()
    assert t.tolist() == [1.0, 2.0]


def test_a_checkpoint_sees_that_its_weights_were_written():
    linear = mg.nn.Linear(2, 2)
    x = mg.tensor([[1.0, 2.0]], requires_grad=True)
    y = mg.checkpoint(linear, x)
    with mg.no_grad():
        linear.weight.assign_(5.0)
    with pytest.raises(RuntimeError, match="changed in place"):
        y.sum().backward()


def test_an_array_that_the_user_writes_later_does_not_change_the_gradient():
    x = mg.tensor([1.0, 2.0], requires_grad=True)
    a = np.array([3.0, 4.0], np.float32)
    y = (x * a).sum()
    a[0] = 100.0
    y.backward()
    assert x.grad.tolist() == [3.0, 4.0]

    x.grad, index = None, np.array([1, 1])
    y = x[(index,)].sum()
    index[:] = 0
    y.backward()
    assert x.grad.tolist() == [0.0, 2.0]


def test_arguments_by_keyword_only_reach_a_body_as_arrays_of_its_own():
    """And one that carries a gradient is refused, for the pullback has no place for it."""

    @mg.op
    def scaled(x, *, table):
        assert isinstance(table, np.ndarray)
        return x * table, lambda g: g * table

    table = np.array([3.0, 4.0], np.float32)
    for given in (table, mg.Tensor(table)):
        x = mg.tensor([1.0, 2.0], requires_grad=True)
        y = scaled(x, table=given).sum()
        table += 1.0
        y.backward()
        assert x.grad.tolist() == (table - 1.0).tolist()
    weight = mg.tensor([3.0, 4.0], requires_grad=True)
    with pytest.raises(TypeError, match=r"scaled: table carries a gradient, which would be lost"):
        scaled(x, table=weight)
    with mg.no_grad():
        assert scaled(x, table=weight).tolist() == [3.0, 8.0]


def test_an_array_that_the_user_writes_later_does_not_change_the_second_derivative():
    a = np.array([3.0, 4.0])
    w = mg.tensor(np.array([1.0, 2.0]), requires_grad=True)
    g = mg.grad(lambda x: (w * x * x * a).sum(), create_graph=True)(np.ones(2))
    a[:] = 100.0
    g.sum().backward()  # d/dw Σ 2 w x a = 2 x a
    assert w.grad.tolist() == [6.0, 8.0]


def test_a_gradient_is_not_lost_in_a_list():
    t = mg.tensor(1.0, requires_grad=True)
    for data in (t, [t, 2.0], [[1.0, -t], [t, 1.0]], ([[t]],), [[[1.0], (t,)]]):
        with pytest.raises(TypeError, match=r"carry a gradient.*mg\.stack"):
            mg.tensor(data)
    plain = t.detach()
    assert mg.tensor([[1.0, plain], [plain, 2.0]]).tolist() == [[1.0, 1.0], [1.0, 2.0]]
    rotation = mg.stack([mg.stack([mg.cos(t), -mg.sin(t)]), mg.stack([mg.sin(t), mg.cos(t)])])
    (rotation * mg.tensor([[1.0, 0.0], [0.0, 0.0]])).sum().backward()
    np.testing.assert_allclose(t.grad.item(), -np.sin(1.0), rtol=1e-6)


def test_tensors_in_a_list_do_not_lose_their_gradient_in_an_op():
    t, x = mg.tensor(1.0, requires_grad=True), mg.tensor([1.0, 2.0])
    first = mg.op(lambda parts: (parts[0] * 2.0, lambda g: g))
    with pytest.raises(TypeError, match=r"given tensors in a list; give them one by one"):
        first([x, x])
    for f in (
        lambda: x * [t, t],
        lambda: mg.where(x > 1, [t, t], x),
        lambda: mg.maximum([t, t], x),
    ):
        with pytest.raises(RuntimeError, match=r"needs a gradient, which an array would lose"):
            f()
