"""The graph and the walk back: what adds up, what is refused, what is freed, and hooks."""

import sys

import numpy as np
import pytest
from small import f64, leaf

import minigrad as mg
from minigrad import debug


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
        (lambda g: g.sum(), r"\(\) float64"),
        (lambda g: g.astype(np.float32), r"\(3,\) float32"),
    ):
        remove = x.register_hook(change)
        with pytest.raises(ValueError, match=rf"hook.*: expected \(3,\) float64, got {got}"):
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
    with pytest.raises(TypeError, match="the hook returned: expected a Tensor or None"):
        (x * x).sum().backward()
    with pytest.raises(TypeError, match="expected a Tensor or None, got ndarray"):
        x.grad = np.ones(3)


def test_hooks_need_a_gradient():
    with pytest.raises(RuntimeError, match="register_hook"):
        mg.tensor(1.0).register_hook(print)


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
