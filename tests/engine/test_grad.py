"""Functions of functions: mg.grad and mg.value_and_grad, of nested structures and to any order."""

from typing import NamedTuple

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from small import f64, leaf

import minigrad as mg
from minigrad import Tensor
from minigrad.tree import leaves


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


def test_derivatives_of_derivatives_are_right_or_an_error():
    """The whole of it: test_ops.py, second order of every op; test_grad.py, against PyTorch."""
    assert mg.grad(mg.grad(lambda x: mg.sin(x) * x))(0.0).item() == 2.0
    with pytest.raises(RuntimeError, match=r"mg\.grad"):
        mg.exp(leaf(1.0)).backward(create_graph=True)
