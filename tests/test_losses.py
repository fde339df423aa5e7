"""Losses where an element does not count: a target that is ignored, a probability of 0."""

import importlib.util
import math

import numpy as np
import pytest

import minigrad as mg

INF, NAN = math.inf, math.nan
NUMBA = importlib.util.find_spec("numba") and importlib.util.find_spec("threadpoolctl")
BODIES = [
    pytest.param(False, id="plain"),
    pytest.param(True, id="kernel", marks=pytest.mark.skipif(not NUMBA, reason="needs Numba")),
]
LOSS = math.log(1.0 + math.e)  # of the logits (-inf, 0, 1) for class 1: -log(1 / (1 + e))
P = 1.0 / (1.0 + math.e)
EPS = float(np.finfo(np.float32).eps)


# --- what is ignored ------------------------------------------------------------------------------
@pytest.mark.parametrize("on", BODIES)
@pytest.mark.parametrize("bad", [INF, -INF, NAN])
@pytest.mark.parametrize("how", ["mean", "sum", "none"])
def test_logits_of_an_ignored_place_are_not_looked_at(how, bad, on):
    """By hand: the other place has p = (0, 1, e) / (1 + e), and gradient p minus one for class 1.

    Ten roundings a number.
    """
    logits = np.float32([[bad, 1.0, 2.0], [-INF, 0.0, 1.0]])
    x = mg.tensor(logits, requires_grad=True)
    with mg.use_kernels(on):
        y = mg.cross_entropy(x, np.array([-100, 1]), reduction=how)
        y.sum().backward()
    wanted = np.array([0.0, LOSS]) if how == "none" else np.array(LOSS)
    np.testing.assert_allclose(y.detach().numpy(), wanted, rtol=10 * EPS)
    gradient = [[0.0, 0.0, 0.0], [0.0, P - 1.0, 1.0 - P]]
    np.testing.assert_allclose(x.grad.numpy(), gradient, rtol=10 * EPS)


WEIGHT = np.float32([0.5, 2.0, 1.0, 0.25])
OPTIONS = [
    {"weight": weight, "label_smoothing": smoothing}
    for weight in (None, WEIGHT)
    for smoothing in (0.0, 0.1)
]


@pytest.mark.parametrize("on", BODIES)
@pytest.mark.parametrize("options", OPTIONS, ids=lambda o: f"{o['weight'] is None}-{o}"[:30])
@pytest.mark.parametrize("how", ["mean", "sum", "none"])
def test_ignored_places_are_as_if_they_were_not_there(how, options, on, rng):
    """Against the same loss of the other places; and so is the second derivative.

    Numbers of a row are not mixed with those of another, but for the sums of three losses and of
    three weights: two roundings more.
    """
    there = np.array([True, False, True, False, True])
    logits = rng.standard_normal((5, 4)).astype(np.float32)
    logits[1], logits[3, 2] = [INF, -INF, NAN, 0.0], NAN
    target, c = np.array([0, 7, 3, 7, 1]), rng.standard_normal((5, 4)).astype(np.float32)

    def run(logits, target, c):
        def loss(x):
            y = mg.cross_entropy(x, target, ignore_index=7, reduction=how, **options)
            return (y * y).sum()

        with mg.use_kernels(on):
            x = mg.tensor(logits)
            first = mg.grad(loss)
            second = mg.grad(lambda x: (first(x) * c).sum())
            return loss(x).numpy(), first(x).numpy(), second(x).numpy()

    value, *slopes = run(logits, target, c)
    wanted, *expected = run(logits[there], target[there], c[there])
    np.testing.assert_allclose(value, wanted, rtol=4 * EPS)
    for slope, exact in zip(slopes, expected, strict=True):
        assert (slope[~there] == 0.0).all()
        np.testing.assert_allclose(slope[there], exact, atol=8 * EPS * np.abs(exact).max())


@pytest.mark.parametrize("on", BODIES)
@pytest.mark.parametrize("how", ["mean", "sum", "none"])
def test_where_all_places_are_ignored_the_gradient_is_0(how, on):
    """And the mean, of nothing, is NaN: both as in PyTorch."""
    x = mg.tensor(np.float32([[1.0, INF], [NAN, 2.0]]), requires_grad=True)
    with mg.use_kernels(on):
        y = mg.cross_entropy(x, np.array([-100, -100]), reduction=how)
        y.backward(np.full(y.shape, NAN if how == "none" else 1.0, np.float32))
    assert np.isnan(y.detach().numpy()).all() if how == "mean" else not y.detach().numpy().any()
    assert x.grad.tolist() == [[0.0, 0.0], [0.0, 0.0]]


@pytest.mark.parametrize("weight", [None, WEIGHT[:3]])
def test_nll_loss_does_not_look_at_ignored_places_either(weight):
    logp = mg.tensor([[-INF, NAN, INF], [-1.0, -2.0, -3.0]], requires_grad=True)
    y = mg.nll_loss(logp, np.array([-100, 1]), weight=weight, reduction="sum")
    y.backward()
    share = 1.0 if weight is None else 2.0
    assert y.item() == 2.0 * share
    assert logp.grad.tolist() == [[0.0, 0.0, 0.0], [0.0, -share, 0.0]]


# --- probabilities of 0 ---------------------------------------------------------------------------
def test_kl_divergence_is_0_where_the_target_is():
    """0 log 0 is 0, by its limit, whatever the prediction is; the rest is ½ log(½ / ¼)."""
    logp = mg.tensor([-INF, math.log(0.25), NAN], requires_grad=True)
    y = mg.kl_div(logp, mg.tensor([0.0, 0.5, 0.0]), reduction="none")
    y.sum().backward()
    np.testing.assert_allclose(y.detach().numpy(), [0.0, 0.5 * math.log(2.0), 0.0], rtol=8 * EPS)
    assert logp.grad.tolist() == [0.0, -0.5, 0.0]


def test_kl_divergence_from_log_probabilities_is_0_where_the_target_is():
    logp = mg.tensor([-INF, math.log(0.25), NAN], requires_grad=True)
    target = mg.tensor([-INF, math.log(0.5), -INF], requires_grad=True)
    y = mg.kl_div(logp, target, reduction="none", log_target=True)
    y.sum().backward()
    np.testing.assert_allclose(y.detach().numpy(), [0.0, 0.5 * math.log(2.0), 0.0], rtol=8 * EPS)
    np.testing.assert_allclose(logp.grad.numpy(), [0.0, -0.5, 0.0], rtol=8 * EPS)
    slope = 0.5 * (math.log(2.0) + 1.0)  # of eᵗ (t - log p)
    np.testing.assert_allclose(target.grad.numpy(), [0.0, slope, 0.0], rtol=8 * EPS)
