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


@pytest.mark.parametrize("on", BODIES)
def test_without_classes_there_is_no_loss(on):
    with mg.use_kernels(on):
        for logits, target in (((2, 0), [-100, -100]), ((0, 0), []), ((), 0)):
            for loss in (mg.cross_entropy, mg.nll_loss):
                with pytest.raises(
                    ValueError, match=r"(entropy|loss): expected logits \(\.\.\., C\)"
                ):
                    loss(mg.zeros(logits), np.array(target, np.int64))


# --- probabilities of classes ---------------------------------------------------------------------
PLACES = np.array([2, 0, 3])


@pytest.mark.parametrize("options", OPTIONS, ids=lambda o: f"{o['weight'] is None}-{o}"[:30])
@pytest.mark.parametrize("how", ["sum", "none"])
def test_a_class_is_a_probability_of_one(how, options, rng):
    """Loss, gradient and second derivative are those of class ids; the means differ in what they
    divide by. A rounding for each class more.
    """
    logits, c = (rng.standard_normal((3, 4)) for _ in range(2))

    def run(target):
        def loss(x):
            y = mg.cross_entropy(x, target, reduction=how, **options)
            return (y * y).sum()

        first = mg.grad(loss)
        second = mg.grad(lambda x: (first(x) * c).sum())
        return [f(mg.tensor(logits)).numpy() for f in (loss, first, second)]

    for y, z in zip(run(np.eye(4)[PLACES]), run(PLACES), strict=True):
        np.testing.assert_allclose(y, z, rtol=0.0, atol=16 * 2.0**-52 * np.abs(z).max())


def test_the_loss_of_probabilities_by_hand():
    """Of the logits (0, log 3), p = (1/4, 3/4): for t = (1/2, 1/2), ½ log 4 + ½ log 4/3.

    gx = p Σ t - t, and gt = -log p. Eight roundings.
    """
    x = mg.tensor([[0.0, math.log(3.0)]], requires_grad=True)
    t = mg.tensor([[0.5, 0.5]], requires_grad=True)
    y = mg.cross_entropy(x, t)
    y.backward()
    assert math.isclose(y.item(), math.log(4.0) - 0.5 * math.log(3.0), rel_tol=8 * EPS)
    np.testing.assert_allclose(x.grad.numpy(), [[-0.25, 0.25]], rtol=8 * EPS)
    np.testing.assert_allclose(t.grad.numpy(), [[math.log(4), math.log(4 / 3)]], rtol=8 * EPS)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_a_class_that_is_impossible_costs_nothing_if_its_probability_is_0(smoothing):
    """With smoothing its probability is not. By hand, as above: p = (0, 1/2, 1/2)."""
    x = mg.tensor([[-INF, 1.0, 1.0]], requires_grad=True)
    y = mg.cross_entropy(x, mg.tensor([[0.0, 0.25, 0.75]]), label_smoothing=smoothing)
    y.backward()
    if smoothing:
        assert y.item() == INF
        return
    assert math.isclose(y.item(), math.log(2.0), rel_tol=8 * EPS)
    np.testing.assert_allclose(x.grad.numpy(), [[0.0, 0.25, -0.25]], rtol=8 * EPS)


def test_probabilities_with_logits_of_whole_numbers_and_in_float16():
    t = np.array([[0.25, 0.75]])
    wanted = 0.25 * LOSS + 0.75 * (LOSS - 1.0)  # of the logits (0, 1)
    whole = mg.cross_entropy(mg.tensor([[0, 1]]), mg.tensor(t))
    half = mg.cross_entropy(mg.tensor([[0.0, 1.0]], np.float16), mg.tensor(t, np.float16))
    assert whole.dtype == np.float64
    assert math.isclose(whole.item(), wanted, rel_tol=1e-15)
    assert half.dtype == np.float16
    assert half.item() == np.float16(wanted)


@pytest.mark.parametrize("on", BODIES)
def test_mistakes_with_probabilities(on):
    x = mg.tensor([[1.0, 2.0, 3.0], [0.0, 0.0, 1.0]])
    with mg.use_kernels(on):
        for shape in ((2,), (2, 2), (3,)):
            with pytest.raises(
                ValueError,
                match=r"cross_entropy: expected target \(2,\) of class ids, or \(2, 3\) of "
                r"probabilities  \[logits \(2, 3\) float32, target ",
            ):
                mg.cross_entropy(x, mg.ones(shape))
        with pytest.raises(TypeError, match="cross_entropy: float32 and float64 do not mix"):
            mg.cross_entropy(x, np.ones((2, 3)))
        with pytest.raises(ValueError, match="cross_entropy: ignore_index is for class ids"):
            mg.cross_entropy(x, mg.ones((2, 3)), ignore_index=0)
        for reduction in ("all", None):
            with pytest.raises(ValueError, match="cross_entropy: reduction: expected"):
                mg.cross_entropy(x, mg.ones((2, 3)), reduction=reduction)


# --- arguments by keyword -------------------------------------------------------------------------
ENTROPY = {"cross_entropy": mg.cross_entropy, "nll_loss": mg.nll_loss}


@pytest.mark.parametrize("name", ENTROPY)
def test_weights_that_carry_a_gradient_are_refused_where_it_would_be_lost(name):
    x, ids = mg.tensor([[0.0, -1.0]], requires_grad=True), np.array([1])
    weight = mg.tensor([1.0, 2.0], requires_grad=True)
    for target in (ids, mg.tensor([[0.5, 0.5]])) if name == "cross_entropy" else (ids,):
        with pytest.raises(TypeError, match=rf"{name}: weight carries a gradient, .*\.detach"):
            ENTROPY[name](x, target, weight=weight)
        y = ENTROPY[name](x, target, weight=weight.detach(), reduction="sum")
        with mg.no_grad():
            assert ENTROPY[name](x, target, weight=weight, reduction="sum").item() == y.item()


@pytest.mark.parametrize("name", ENTROPY)
def test_weights_that_the_user_writes_to_later_change_no_gradient(name):
    slopes = []
    for later in (1.0, 5.0):
        x = mg.tensor(np.array([[0.0, -1.0], [2.0, 1.0]]), requires_grad=True)
        weight = np.array([1.0, 2.0])
        y = ENTROPY[name](x, np.array([1, 0]), weight=weight)
        weight *= later
        y.backward()
        slopes.append(x.grad.tolist())
    assert slopes[0] == slopes[1]


@pytest.mark.parametrize("name", ENTROPY)
def test_lists_are_refused_by_name(name):
    x = mg.tensor([[0.0, -1.0]])
    with pytest.raises(TypeError, match=rf"{name}: expected .*tensors? or arrays?, got .*\[1\]"):
        ENTROPY[name](x, [1])
    with pytest.raises(TypeError, match=rf"{name}: expected .*tensors? or arrays?, got .*2\.0\]"):
        ENTROPY[name](x, np.array([1]), weight=[1.0, 2.0])


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
