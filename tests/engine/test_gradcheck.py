"""The checker itself: it accepts right gradients, and each kind of wrong one is refused.

The faults are those found in other libraries' checkers, which accepted them.
"""

import numpy as np
import pytest

import minigrad as mg
from minigrad import GradcheckError, Tensor, gradcheck
from minigrad.graph import Node
from minigrad.op import Op


def with_pullback(value, *pulls):
    """A function of tensors with a value and any pullbacks, right or wrong; not registered."""
    this = Op(value, broadcast=True, composite=None)

    def f(*args):
        arrays = [a.data for a in args]
        y = np.asarray(value(*arrays))
        parents = [a.node for a in args]
        pull = tuple((lambda g, p=p: p(g, *arrays)) for p in pulls)
        recorded = any(p is not None for p in parents) and mg.is_grad_enabled()
        return Tensor(y, Node(this, parents, pull, y.shape, y.dtype) if recorded else None)

    return f


def test_accepts_right_gradients_of_several_arguments_and_outputs(rng):
    a, b = rng.standard_normal((3, 4)), rng.standard_normal(4)
    gradcheck(lambda a, b: (mg.tanh(a * b), mg.exp(b) * 2.0), [a, b])
    gradcheck(lambda a, b: (mg.tanh(a * b), mg.exp(b) * 2.0), [a, b], order=2)


def test_accepts_third_order(rng):
    gradcheck(lambda x: x * x * x, [rng.standard_normal(3)], order=3)


def test_a_right_handmade_pullback_is_accepted(rng):
    exp = with_pullback(np.exp, lambda g, x: g * np.exp(x))
    gradcheck(exp, [rng.standard_normal(5)])


@pytest.mark.parametrize(
    "wrong",
    [
        lambda g, x: 123.0 * g,
        lambda g, x: -g * np.exp(x),
        lambda g, x: 0.0 * g,
        lambda g, x: g * np.exp(x) * (1 + 1e-4),
        lambda g, x: np.roll(g * np.exp(x), 1),
        lambda g, x: np.exp(x) / g,  # with a cotangent of ones this would pass
        lambda g, x: g * np.nan,
    ],
)
def test_wrong_gradients_of_exp_are_refused(wrong, rng):
    with pytest.raises(GradcheckError, match=r"argument 0 .* gradient says .* quotient"):
        gradcheck(with_pullback(np.exp, wrong), [rng.standard_normal(5)])


def test_softmax_with_gradient_zero_is_refused(rng):
    """Under a cotangent of ones the true gradient of softmax is 0, and this would pass."""

    def softmax(x):
        e = np.exp(x - x.max())
        return e / e.sum()

    with pytest.raises(GradcheckError):
        gradcheck(with_pullback(softmax, lambda g, x: 0.0 * g), [rng.standard_normal(5)])


def test_transpose_with_a_wrong_permutation_is_refused(rng):
    wrong = with_pullback(lambda x: x.transpose(1, 2, 0), lambda g, x: g.transpose(1, 2, 0))
    with pytest.raises(GradcheckError):
        gradcheck(wrong, [rng.standard_normal((3, 3, 3))])


def test_a_small_gradient_beside_a_large_one_is_seen(rng):
    """d(ab)/da = b ~ 1e-4 would drown in a direction common to both arguments."""
    a, b = 1e4 * rng.standard_normal(4), 1e-4 * rng.standard_normal(4)
    right = with_pullback(np.multiply, lambda g, a, b: g * b, lambda g, a, b: g * a)
    gradcheck(right, [a, b])
    wrong = with_pullback(np.multiply, lambda g, a, b: -g * b, lambda g, a, b: g * a)
    with pytest.raises(GradcheckError, match="argument 0"):
        gradcheck(wrong, [a, b])


def test_the_argument_is_named_with_both_numbers(rng):
    wrong = with_pullback(np.multiply, lambda g, a, b: g * b, lambda g, a, b: g * a * 0.5)
    with pytest.raises(GradcheckError, match=r"argument 1 of f: .* says -?\d.*, the .* -?\d"):
        gradcheck(wrong, [rng.standard_normal(3), rng.standard_normal(3)])


def test_a_wrong_second_derivative_is_refused(rng):
    """g * x is right as a first derivative of x²/2, but this one hides x from the graph."""

    def half_square(x):
        this = Op(half_square, broadcast=False, composite=None)
        this.differentiate = lambda node, g: [g * Tensor(x.data)]
        y = 0.5 * x.data * x.data
        if x.node is None or not mg.is_grad_enabled():
            return Tensor(y)
        return Tensor(y, Node(this, (x.node,), (lambda g: g * x.data,), y.shape, y.dtype))

    x = rng.standard_normal(3)
    gradcheck(half_square, [x])
    with pytest.raises(GradcheckError, match=r"argument 0 .* differentiated once more"):
        gradcheck(half_square, [x], order=2)


def test_gradient_of_wrong_shape_or_dtype_is_refused(rng):
    shape = with_pullback(np.exp, lambda g, x: (g * np.exp(x))[:2])
    dtype = with_pullback(np.exp, lambda g, x: (g * np.exp(x)).astype(np.float32))
    for f in (shape, dtype):
        with pytest.raises((GradcheckError, RuntimeError, ValueError)):
            gradcheck(f, [rng.standard_normal(3)])


def test_a_function_that_is_not_deterministic_is_refused(rng):
    def noisy(x):
        return x * float(rng.random())

    with pytest.raises(GradcheckError, match="different values"):
        gradcheck(noisy, [np.ones(3)])


def test_float32_is_refused_with_the_remedy():
    with pytest.raises(TypeError, match=r"argument 1 .* is float32.*expected float64"):
        gradcheck(mg.mul, [np.ones(2), np.ones(2, np.float32)])


def test_nothing_to_check_is_an_error():
    with pytest.raises(ValueError, match="no float64 tensor"):
        gradcheck(lambda n: mg.exp(n), [mg.tensor([1, 2])])


STRUCTURES = {
    "a list": lambda *ys: list(ys),
    "a tuple in a tuple": lambda y, *rest: (y, rest),
    "a dict of lists": lambda *ys: {"ys": list(ys)},
    "with integers": lambda *ys: (*ys, mg.tensor([3])),
}


@pytest.mark.parametrize("structure", STRUCTURES)
@pytest.mark.parametrize("order", [1, 2])
def test_every_tensor_of_a_nested_result_is_checked(structure, order, rng):
    """The last is wrong by one in 10,000; the others are right."""
    wrong = with_pullback(np.exp, lambda g, x: g * np.exp(x) * (1 + 1e-4))
    structure = STRUCTURES[structure]
    x = rng.standard_normal(4)
    gradcheck(lambda x: structure(mg.tanh(x), mg.exp(x)), [x], order=order)
    with pytest.raises(GradcheckError, match="argument 0"):
        gradcheck(lambda x: structure(mg.tanh(x), wrong(x)), [x], order=order)


def test_every_tensor_of_a_nested_argument_is_checked(rng):
    a, b = rng.standard_normal(3), rng.standard_normal(3)
    right = with_pullback(np.multiply, lambda g, a, b: g * b, lambda g, a, b: g * a)
    wrong = with_pullback(np.multiply, lambda g, a, b: g * b, lambda g, a, b: -g * a)
    for make in (lambda f: lambda pair: f(*pair), lambda f: lambda pair: f(*pair) * pair[0]):
        gradcheck(make(right), [(a, b)])
        with pytest.raises(GradcheckError, match=r"argument 0\[1\] of"):
            gradcheck(make(wrong), [(a, b)])
    gradcheck(lambda d: mg.tanh(d["a"]) * d["b"], [{"a": a, "b": b}], order=2)


def test_an_lstm_with_its_state_is_checked_to_the_last_output(rng):
    lstm = mg.nn.LSTM(2, 3).astype("float64").requires_grad_(False)
    state = rng.standard_normal((1, 2, 3)), rng.standard_normal((1, 2, 3))
    x = rng.standard_normal((4, 2, 2))
    gradcheck(lstm, [x, state])
    right = mg.graph.with_zeros

    def without_the_last_cell(given, node):
        """The gradient that arrives at c_n is lost, y and h_n keep theirs."""
        return right({i: g for i, g in given.items() if i != 2}, node)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(mg.graph, "with_zeros", without_the_last_cell)
        with pytest.raises(GradcheckError, match="argument 0 of LSTM"):
            gradcheck(lstm, [x, state])


@pytest.mark.parametrize(
    ("f", "error", "words"),
    [
        (lambda x: x.data, TypeError, "result of <lambda>: expected a tensor, got ndarray"),
        (lambda x: float(x.sum()), TypeError, "expected a tensor, got float"),
        (lambda x: None, TypeError, "expected a tensor, got NoneType"),
        (lambda x: (x, {"n": [x, 3]}), TypeError, r"result\[1\]\['n'\]\[1\] of .* got int"),
        (lambda x: (y for y in [x]), TypeError, "expected a tensor, got generator"),
        (lambda x: x.astype(np.float32), TypeError, "result of <lambda> is float32"),
        (lambda x: mg.argmax(x), ValueError, "returned no float64 tensor"),
        (lambda x: (x > 0, []), ValueError, "returned no float64 tensor"),
        (lambda x: (), ValueError, "returned no float64 tensor"),
    ],
)
def test_a_result_that_cannot_be_checked_is_refused(f, error, words, rng):
    with pytest.raises(error, match=words):
        gradcheck(f, [rng.standard_normal(3)])


def test_arguments_that_are_not_floating_are_passed_through(rng):
    gradcheck(lambda x, keep, p: mg.where(keep, x**p, x), [rng.random(4), np.arange(4) > 1, 2])


def test_arguments_and_their_grad_stay_as_they_were(rng):
    x = mg.tensor(rng.standard_normal(3), requires_grad=True)
    before = x.data.copy()
    gradcheck(mg.tanh, [x], order=2)
    assert x.grad is None
    assert np.array_equal(x.data, before)


def test_an_argument_without_influence_has_gradient_zero(rng):
    gradcheck(lambda a, b: a * 2.0, [rng.standard_normal(3), rng.standard_normal(2)], order=2)


def test_runs_under_no_grad_too(rng):
    with mg.no_grad():
        gradcheck(mg.exp, [rng.standard_normal(3)])


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
