"""Shapes and dtypes: broadcasting, axes, indices, arrays with no axis and with no element."""

import numpy as np
import pytest
from small import leaf

import minigrad as mg
from minigrad import Tensor


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
