"""The ends of functions: infinities, ties, kinks, poles, and classes and ids out of range."""

import numpy as np
import pytest
import torch
from small import leaf

import minigrad as mg


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
