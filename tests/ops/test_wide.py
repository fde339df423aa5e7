"""float16 and integers where their own arithmetic has no right answer.

A float16 result is held to that of float64 on the same numbers, rounded: 2^-11 of it for every
rounding, and 2^-24 below 2^-14, where float16 has no more digits.
"""

import numpy as np
import pytest
from op_checks import convert, is_float

import minigrad as mg
from minigrad import optim
from reference.cases import CASES

HALF = np.float16
ONES = np.ones((5000, 2))
RNG = np.random.default_rng(0)


def normal(*shape):
    return RNG.standard_normal(shape).astype(HALF).astype(np.float64)


# --- float16 --------------------------------------------------------------------------------------
IDS = np.zeros(5000, np.int64)
LONG = {  # a sum of 5,000, which in float16 comes to a stop at 2,048
    "sum": (lambda x: x.sum(axis=0), ONES),
    "mean": (lambda x: x.mean(axis=0), ONES),
    "var": (lambda x: x.var(axis=0), normal(5000, 2)),
    "std": (lambda x: x.std(axis=0), normal(5000, 2)),
    "norm": (lambda x: x.norm(axis=0), ONES),
    "norm of order 1": (lambda x: x.norm(1.0, axis=0), ONES),
    "cumsum": (lambda x: x.cumsum(0)[-1], ONES),
    "gradient of cumsum": (lambda x: x.cumsum(0), ONES * 0.0),
    "logsumexp": (lambda x: mg.logsumexp(x, axis=0), ONES),
    "softmax": (lambda x: mg.softmax(x, axis=0), ONES),
    "log_softmax": (lambda x: mg.log_softmax(x, axis=0), ONES),
    "einsum": (lambda x: mg.einsum("ij->j", x), ONES),
    "einsum of two": (lambda x, w: mg.einsum("ij,j->j", x, w), ONES, ONES[0]),
    "matmul": (lambda x, w: x.mT @ w, ONES, ONES),
    "broadcast": (lambda x, b: x + b, ONES, ONES[0]),
    "linear": (mg.linear, ONES, np.eye(2), ONES[0]),
    "layer_norm": (mg.layer_norm, normal(5000, 8), np.ones(8), np.zeros(8)),
    "rms_norm": (mg.rms_norm, normal(5000, 8), np.ones(8)),
    "batch_norm": (lambda x, w: mg.batch_norm(x, w, training=True), normal(5000, 2), ONES[0]),
    "embedding": (lambda w: mg.embedding(w, IDS), ONES[:3]),
    "rows": (lambda x: x[IDS], ONES[:3]),
    "take": (lambda x: mg.take(x, IDS, axis=1), ONES[:3]),
    "scatter_add": (lambda x, v: mg.scatter_add(x, IDS[None], v, axis=1), ONES[:1], ONES.T[:1]),
    "cross_entropy": (lambda x: mg.cross_entropy(x, IDS, reduction="sum"), ONES),
    "mean entropy": (lambda x: mg.cross_entropy(x, IDS), ONES),
    "linear_cross_entropy": (
        lambda x, w: mg.linear_cross_entropy(x, w, IDS, reduction="sum"),
        ONES,
        np.eye(2),
    ),
    "nll_loss": (lambda x: mg.nll_loss(x, IDS), -ONES),
    "probabilities": (lambda x, t: mg.cross_entropy(x, t, reduction="sum"), ONES, ONES / 2),
    "mse_loss": (mg.mse_loss, ONES, 0.0 * ONES),
    "lstm": (
        lambda x, w, u: mg.lstm(x, None, None, [w, u, None, None])[0].sum(),
        normal(3, 3000, 1),
        normal(4, 1),
        normal(4, 1),
    ),
}
GREAT = {  # what is within float16, made of what is not
    "norm": (mg.norm, np.array([3e4, 4e4])),
    "normalize": (mg.normalize, np.array([3e4, 4e4])),
    "mean": (mg.mean, np.full(1000, 100.0)),
    "var": (mg.var, np.array([0.0, 400.0])),
    "std": (mg.std, np.array([0.0, 6e4])),
    "prod": (mg.prod, np.array([300.0, 300.0, 2.0**-8, 0.5])),
    "mse_loss": (mg.mse_loss, np.array([300.0, 0.0]), np.zeros(2)),
    "layer_norm": (mg.layer_norm, np.array([[1e3, -1e3, 5e2]])),
    "rms_norm": (mg.rms_norm, np.array([[1e3, -1e3, 5e2]])),
    "attention": (mg.scaled_dot_product_attention, *(60.0 * normal(3, 2, 64).round(2)[:, :, :])),
    "gelu": (lambda x: mg.gelu(x, approximate="tanh"), np.array([-3e4, 3e4])),
}
SMOOTH = mg.gelu, mg.silu, mg.softplus, mg.logsigmoid, mg.elu, mg.sigmoid, mg.erf, mg.erfc
ONCE = {  # several steps, one rounding
    f.__name__: (f, normal(50)) for f in (*SMOOTH, mg.logsumexp, mg.log_softmax)
}
CALLS = [
    pytest.param(call, id=f"{table}: {name}")
    for table, calls in (("long", LONG), ("great", GREAT), ("once", ONCE))
    for name, call in calls.items()
]


@pytest.mark.parametrize("call", CALLS)
def test_float16_is_that_of_float64_rounded(call):
    """The cotangent is 1, 1, 0 in turn; three roundings, where gradients are made of values."""
    function, *arrays = call
    results = []
    for dtype in (HALF, np.float64):
        tensors = [mg.tensor(a.astype(HALF).astype(dtype), requires_grad=True) for a in arrays]
        y = function(*tensors)
        y.backward(np.resize([1.0, 1.0, 0.0], y.shape).astype(dtype))
        results.append([y.detach(), *(t.grad for t in tensors)])
    for ours, exact in zip(*results, strict=True):
        assert ours.dtype == HALF
        found, wanted = ours.numpy().astype(np.float64), exact.numpy()
        assert np.isfinite(wanted).all()
        limit = 3.0 * 2.0**-11 * np.abs(wanted) + 2.0**-24
        assert (np.abs(found - wanted) <= limit).all(), np.abs(found - wanted).max()


def test_running_statistics_in_float16():
    x = mg.tensor(normal(5000, 2).astype(HALF))
    running = [mg.tensor(np.full(2, v, HALF)) for v in (0.0, 1.0)]
    mg.batch_norm(x, None, None, *running, training=True, momentum=0.5)
    exact = x.numpy().astype(np.float64)
    wanted = 0.5 * exact.mean(axis=0), 0.5 + 0.5 * exact.var(axis=0, ddof=1)
    for ours, truth in zip(running, wanted, strict=True):
        np.testing.assert_allclose(ours.numpy(), truth, rtol=3 * 2.0**-11, atol=2.0**-14)


def test_gradients_in_float16_are_clipped_by_their_norm():
    """200 √10,000 = 20,000, of which the squares are beyond float16."""
    p = mg.tensor(np.zeros((5000, 2), HALF), requires_grad=True)
    p.grad = mg.tensor(np.full((5000, 2), 200.0, HALF))
    assert optim.clip_grad_norm([p], 100.0).item() == 20_000.0
    assert p.grad.dtype == HALF
    assert (p.grad.numpy() == 1.0).all()


def test_what_is_beyond_float16_is_infinite():
    """As is every result of an op that its type does not hold; and no warning says so again."""
    x = mg.tensor(np.full(2, 6e4, HALF), requires_grad=True)
    assert x.sum().item() == np.inf
    assert mg.mse_loss(x, -x).item() == np.inf
    (x * 0.0).sum().backward()
    assert x.grad.tolist() == [0.0, 0.0]


# --- integers -------------------------------------------------------------------------------------
# fmt: off
FLOATING = [
    "sqrt", "rsqrt", "reciprocal", "exp", "log", "log1p", "expm1", "sin", "cos", "tanh", "sigmoid",
    "erf", "erfc", "logaddexp", "lerp", "leaky_relu", "gelu", "silu", "softplus", "elu",
    "logsigmoid", "glu", "mean", "var", "std", "logsumexp", "norm", "softmax", "log_softmax",
    "layer_norm", "rms_norm", "normalize", "cross_entropy", "nll_loss", "mse_loss",
    "binary_cross_entropy_with_logits", "kl_div", "linear_cross_entropy",
    "scaled_dot_product_attention",
]
# fmt: on
# a floating mask, and probabilities
SKIP = {"scaled_dot_product_attention-5", *(f"cross_entropy-{i}" for i in range(9, 22))}
INTEGERS = [c for name in FLOATING for c in CASES[name] if c.id not in SKIP]


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int64, np.bool_])
@pytest.mark.parametrize("case", INTEGERS, ids=lambda c: c.id)
def test_functions_of_integers_are_those_of_the_same_numbers(case, dtype):
    """In float32: of numbers up to 80 (so that e^x is in float32), eight roundings."""

    def whole(a):
        return np.asarray(np.round(np.clip(30.0 * a, 0 if dtype is np.uint8 else -80, 80)))

    values = convert(case.arrays(), lambda a: whole(a) if is_float(a) else a)
    if dtype is np.bool_:
        values = convert(
            values, lambda a: np.asarray(a > 0).astype(np.float64) if is_float(a) else a
        )
    given = convert(values, lambda a: a.astype(dtype) if is_float(a) else a)
    with np.errstate(all="ignore"):
        ours = case.ours(*convert(given, mg.Tensor))
        exact = case.ours(*convert(values, mg.Tensor))
    for y, z in zip(ours, exact, strict=True):
        assert y.dtype == np.float32
        wanted = z.numpy()
        largest = np.abs(wanted[np.isfinite(wanted)]).max(initial=1.0)
        tolerance = 8 * np.finfo(np.float32).eps * largest
        np.testing.assert_allclose(y.numpy(), wanted, rtol=0.0, atol=tolerance)


def test_the_norm_of_small_integers_does_not_overflow():
    assert mg.norm(mg.tensor(np.array([100, 100], np.int8))).item() == np.float32(100 * 2**0.5)


def test_sums_of_integers_stay_integers():
    x = mg.tensor(np.full((2, 100), 100, np.int8))
    for y in (x.sum(), x.cumsum(1), x.max(), mg.prod(x[:, :2])):
        assert y.dtype.kind == "i"
    assert x.sum().item() == 20_000


def test_integers_beside_a_floating_type_take_it():
    x, w = mg.tensor(np.array([[100, -100, 50]], np.int8)), np.full(3, 2.0)
    for dtype in (np.float32, np.float64):
        weight = mg.tensor(w.astype(dtype), requires_grad=True)
        y = mg.layer_norm(x, weight)
        y.sum().backward()
        assert y.dtype == weight.grad.dtype == dtype
        exact = mg.layer_norm(x.astype(dtype), weight)
        assert np.array_equal(y.detach().numpy(), exact.detach().numpy())


def test_an_lstm_refuses_integers():
    x = mg.tensor(np.ones((1, 2), np.int8))
    with pytest.raises(TypeError, match=r"lstm_cell: expected floating point .* got int8"):
        mg.lstm_cell(x, x, x, mg.tensor(np.ones((8, 2), np.int8)), mg.tensor(np.ones((8, 2))))
