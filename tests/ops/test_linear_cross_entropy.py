"""linear_cross_entropy beside cross_entropy(linear(...)): options, chunks, and what it costs."""

import importlib
import importlib.util
import math
import tracemalloc

import numpy as np
import pytest

import minigrad as mg

MODULE = importlib.import_module("minigrad.ops.linear_cross_entropy")  # the op has its name
NUMBA = importlib.util.find_spec("numba") and importlib.util.find_spec("threadpoolctl")
BODIES = [
    pytest.param(False, id="plain"),
    pytest.param(True, id="kernel", marks=pytest.mark.skipif(not NUMBA, reason="needs Numba")),
]
HOW = ["mean", "sum", "none"]
INF, NAN = math.inf, math.nan
N, D, C = 13, 5, 11


def two_ops(x, weight, target, bias=None, *, class_weight=None, **options):
    return mg.cross_entropy(mg.linear(x, weight, bias), target, weight=class_weight, **options)


def drawn(rng, dtype=np.float64):
    """x, weight, target, bias; some targets are ignored."""
    x, weight, bias = (rng.standard_normal(s).astype(dtype) for s in ((N, D), (C, D), (C,)))
    target = rng.integers(0, C, N)
    target[[0, 4, 5]] = -100
    return x, weight, target, bias


def run(loss, arrays, c, needed=(0, 1, 3), **options):
    """The value for (x, weight, target, bias), and the gradients of Σ c y for those needed.

    Of 1.5 y if it is one number.
    """
    tensors = [None if a is None else mg.Tensor(a) for a in arrays]
    for i in needed:
        tensors[i].requires_grad_()
    y = loss(*tensors, **options)
    y.backward(np.asarray(c if y.ndim else 1.5, y.dtype))
    return [y.detach().numpy(), *(tensors[i].grad.numpy() for i in needed)]


@pytest.fixture(params=[None, 3, 1], ids=["one chunk", "chunks of 3", "rows one by one"])
def chunks(request, monkeypatch):
    if request.param is not None:
        for name, size in (("ROWS", request.param), ("BYTES", 1), ("PIECE", 2 * C), ("TILE", 3)):
            monkeypatch.setattr(MODULE, name, size)


@pytest.mark.parametrize("smoothing", [0.0, 0.3])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("how", HOW)
def test_values_and_gradients_are_those_of_the_two_ops(how, weighted, smoothing, chunks, rng):
    """In float64, for random cotangents. Of each number as many roundings as its longest sum has
    terms, N, C or D, and 32 of softmax and loss.
    """
    arrays = drawn(rng)
    options = {
        "class_weight": rng.uniform(0.5, 2.0, C) if weighted else None,
        "label_smoothing": smoothing,
        "reduction": how,
    }
    c = rng.standard_normal(N)
    for given in (arrays, (*arrays[:3], None)):
        needed = (0, 1) if given[3] is None else (0, 1, 3)
        ours, theirs = (
            run(f, given, c, needed, **options) for f in (mg.linear_cross_entropy, two_ops)
        )
        for a, b in zip(ours, theirs, strict=True):
            np.testing.assert_allclose(a, b, rtol=0.0, atol=61 * 2.0**-52 * np.abs(b).max())


@pytest.fixture(params=[1, 3, 50], ids=lambda tile: f"tiles of {tile}")
def tiles(request, monkeypatch):
    """Kernels on, on two cores, with chunks of 4 rows and tiles of a few classes."""
    pytest.importorskip("numba")
    pytest.importorskip("threadpoolctl")
    with mg.use_kernels():
        kernel = importlib.import_module("kernels.cpu.linear_cross_entropy")
        monkeypatch.setattr(importlib.import_module("kernels.cpu.compiled"), "PARTS", 2)
        monkeypatch.setattr(importlib.import_module("kernels.cpu.compiled"), "SMALL", 1)
        for name, size in (("ROWS", 4), ("BYTES", 1), ("TILE", request.param)):
            monkeypatch.setattr(kernel, name, size)
        yield


@pytest.mark.usefixtures("tiles")
@pytest.mark.parametrize("scale", [1.0, 30.0])
@pytest.mark.parametrize("smoothing", [0.0, 0.3])
@pytest.mark.parametrize("how", HOW)
def test_the_kernel_gives_the_same_by_tiles(how, smoothing, scale, rng):
    """Beside the two ops in float64. Logits of 30 rise from tile to tile by more than e^20 holds.

    Each logit has D roundings of its own magnitude, up to 100 for those of 30, and they are the
    roundings of losses and, as p e^(error), of gradients.
    """
    arrays = drawn(rng, np.float32)
    arrays = (scale * arrays[0], *arrays[1:])
    options = {
        "class_weight": rng.uniform(0.5, 2.0, C).astype(np.float32),
        "label_smoothing": smoothing,
        "reduction": how,
    }
    c = rng.standard_normal(N).astype(np.float32)
    exact = [a.astype(np.float64) if a.dtype == np.float32 else a for a in arrays]
    if scale > 1.0:
        logits = exact[0] @ exact[1].T + exact[3]
        assert (np.maximum.accumulate(logits, axis=1)[:, 3:] - logits[:, :1]).max() > 20.0
    found = run(mg.linear_cross_entropy, arrays, c, **options)
    with mg.use_kernels(False):
        wanted = run(two_ops, exact, c, **options)
    for a, b in zip(found, wanted, strict=True):
        limit = (61 + D * max(1.0, scale)) * 2.0**-23 * np.abs(b).max()
        np.testing.assert_allclose(a, b, rtol=0.0, atol=limit)


@pytest.mark.usefixtures("tiles")
@pytest.mark.parametrize("hidden", [slice(0, 5), slice(4, None), slice(3, 9)], ids=str)
def test_tiles_of_words_that_are_ruled_out(hidden, rng):
    """All logits of a tile are -inf: the first, which a core starts with, a middle or the last."""
    x, weight, _, bias = drawn(rng, np.float32)
    kept = np.setdiff1d(np.arange(C), np.arange(C)[hidden])
    target = np.arange(N) % len(kept)
    bias[hidden] = -INF
    y, gx, gw, gb = run(mg.linear_cross_entropy, (x, weight, kept[target], bias), None)
    some = run(mg.linear_cross_entropy, (x, weight[kept], target, bias[kept]), None)
    assert not gw[hidden].any()
    for a, b in zip((y, gx, gw[kept], gb[kept]), some, strict=True):
        np.testing.assert_allclose(a, b, rtol=0.0, atol=64 * 2.0**-23 * np.abs(b).max())


@pytest.mark.parametrize("needed", [(0,), (1,), (3,), (0, 3), (1, 3)], ids=str)
@pytest.mark.parametrize("how", HOW)
def test_each_gradient_is_the_same_whatever_else_is_frozen(how, needed, chunks, rng):
    arrays, c = drawn(rng), rng.standard_normal(N)
    every = dict(
        zip((0, 1, 3), run(mg.linear_cross_entropy, arrays, c, reduction=how)[1:], strict=True)
    )
    _, *found = run(mg.linear_cross_entropy, arrays, c, needed, reduction=how)
    for i, g in zip(needed, found, strict=True):
        assert np.array_equal(g, every[i])


@pytest.mark.parametrize("on", BODIES)
@pytest.mark.parametrize("how", HOW)
def test_second_derivatives_are_those_of_the_two_ops(how, on, rng):
    """With kernels in float32, which then only make the first value: 256 roundings."""
    arrays, c = drawn(rng, np.float32 if on else np.float64), rng.standard_normal(N)
    rs = [rng.standard_normal(arrays[i].shape).astype(arrays[0].dtype) for i in (0, 1, 3)]

    def second(loss):
        def f(x, weight, bias):
            y = loss(x, weight, mg.Tensor(arrays[2]), bias, reduction=how)
            return (y * y * c.astype(y.dtype)[: y.size].reshape(y.shape)).sum()

        first = mg.grad(f, (0, 1, 2))

        def along(*tensors):
            return sum((g * r).sum() for g, r in zip(first(*tensors), rs, strict=True))

        return mg.grad(along, (0, 1, 2))(*(mg.Tensor(arrays[i]) for i in (0, 1, 3)))

    wanted = second(two_ops)
    with mg.use_kernels(on):
        found = second(mg.linear_cross_entropy)
    for g, h in zip(found, wanted, strict=True):
        g, h = g.numpy(), h.numpy()
        np.testing.assert_allclose(
            g, h, rtol=0.0, atol=256 * np.finfo(g.dtype).eps * np.abs(h).max()
        )


# --- what is ignored ------------------------------------------------------------------------------
@pytest.mark.parametrize("on", BODIES)
@pytest.mark.parametrize("bad", [INF, NAN])
@pytest.mark.parametrize("how", HOW)
def test_ignored_rows_are_not_looked_at(how, bad, on, rng):
    """Their loss and gradient are 0, all else is as if they were not there: bit for bit, but for
    sums of the losses, which may take another order.
    """
    arrays, c = drawn(rng, np.float32), rng.standard_normal(N)
    there = arrays[2] != -100
    options = {"reduction": how, "label_smoothing": 0.1}
    with mg.use_kernels(on):
        c_there = c[there] if how == "none" else c
        alone = arrays[0][there], arrays[1], arrays[2][there], arrays[3]
        y, gx, *others = run(mg.linear_cross_entropy, alone, c_there, **options)
        arrays[0][~there] = bad
        z, hx, *same = run(mg.linear_cross_entropy, arrays, c, **options)
    if how == "none":
        assert np.array_equal(z[there], y)
        assert not z[~there].any()
    else:
        np.testing.assert_allclose(z, y, rtol=N * 2.0**-23)
    assert not hx[~there].any()
    assert np.array_equal(hx[there], gx)
    assert all(map(np.array_equal, same, others))


@pytest.mark.parametrize("on", BODIES)
@pytest.mark.parametrize("how", HOW)
def test_where_all_rows_are_ignored_gradients_are_0(how, on, rng):
    """And the mean, of nothing, is NaN, as that of `cross_entropy`. So it is without rows."""
    x, weight, target, bias = drawn(rng, np.float32)
    for rows in (slice(None), slice(0)):
        given = x[rows] * NAN, weight, np.full_like(target, -100)[rows], bias
        with mg.use_kernels(on):
            y, *gradients = run(mg.linear_cross_entropy, given, np.ones(N)[rows], reduction=how)
        assert np.isnan(y) if how == "mean" else not y.any()
        assert not any(g.any() for g in gradients)


# --- numbers --------------------------------------------------------------------------------------
@pytest.mark.parametrize("on", BODIES)
def test_great_logits_overflow_nothing(on):
    """x = 1000, W = (1, 2): logits 1000 and 2000, losses 1000 and 0; p is (0, 1) in float32."""
    arrays = np.full((2, 1), 1e3, np.float32), np.float32([[1], [2]]), np.array([0, 1]), None
    with mg.use_kernels(on):
        y, gx, gw = run(mg.linear_cross_entropy, arrays, np.ones(2), (0, 1), reduction="none")
    assert y.tolist() == [1000.0, 0.0]
    assert gx.tolist() == [[1.0], [0.0]]  # 2 p_1 - 1
    assert gw.tolist() == [[-1000.0], [1000.0]]


@pytest.mark.parametrize("on", BODIES)
@pytest.mark.parametrize("how", HOW)
def test_a_bias_of_minus_infinity_rules_words_out(how, on, rng):
    """As if they were not in the table; sums over fewer words, 64 roundings."""
    x, weight, target, bias = drawn(rng, np.float32)
    target, c = target % 4, rng.standard_normal(N)  # none is ignored
    bias[4:9] = -INF
    kept = np.r_[:4, 9:C]
    with mg.use_kernels(on):
        y, gx, gw, gb = run(mg.linear_cross_entropy, (x, weight, target, bias), c, reduction=how)
        some = run(mg.linear_cross_entropy, (x, weight[kept], target, bias[kept]), c, reduction=how)
    assert not gw[4:9].any()
    assert not gb[4:9].any()
    for a, b in zip((y, gx, gw[kept], gb[kept]), some, strict=True):
        np.testing.assert_allclose(a, b, rtol=0.0, atol=64 * 2.0**-23 * np.abs(b).max())


# --- what it costs --------------------------------------------------------------------------------
COSTS = [
    ("sum", (), 1),
    ("none", (), 1),
    ("mean", (0,), 2),
    ("none", (0,), 2),
    ("mean", (1,), 2),
    ("mean", (3,), 1),
    ("mean", (0, 1, 3), 3),
    ("none", (0, 1, 3), 4),
]


@pytest.mark.parametrize(("how", "needed", "count"), COSTS)
def test_products_are_those_that_are_needed(how, needed, count, rng, monkeypatch):
    """In products of N × C × D, forward and backward together."""
    x, weight, _, bias = drawn(rng)
    done = []

    def product(a, b, out=None):
        done.append(a.shape[0] * a.shape[1] * b.shape[1])
        return np.matmul(a, b) if out is None else np.matmul(a, b, out=out)

    monkeypatch.setattr(MODULE, "product", product)
    arrays = x, weight, np.arange(N) % C, bias
    if needed:
        run(mg.linear_cross_entropy, arrays, np.ones(N), needed, reduction=how)
    else:
        with mg.no_grad():
            tensors = [mg.Tensor(a).requires_grad_(a.dtype.kind == "f") for a in arrays]
            assert mg.linear_cross_entropy(*tensors, reduction=how).node is None
        mg.linear_cross_entropy(*map(mg.Tensor, arrays), reduction=how)
        done = done[: len(done) // 2]
    assert sum(done) == count * N * C * D


def peak(f):
    """The most bytes that f has in arrays at a time, beside what was there before."""
    tracemalloc.start()
    try:
        f()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("on", BODIES)
@pytest.mark.parametrize("how", ["mean", "none"])
def test_all_logits_are_never_in_memory(how, on):
    """128 MiB of logits; allowed are those of a chunk and 8 MiB for pieces and results."""
    n, classes = 1 << 14, 1 << 11
    x = mg.tensor(np.ones((n, 4), np.float32), requires_grad=True)
    weight = mg.tensor(np.ones((classes, 4), np.float32), requires_grad=True)
    target = mg.tensor(np.arange(n) % classes)

    def step(loss):
        y = loss(x, weight, target, reduction=how)
        y.backward(np.ones(y.shape, np.float32))

    with mg.use_kernels(on):
        step(mg.linear_cross_entropy)  # what is made once
        most = peak(lambda: step(mg.linear_cross_entropy))
        assert most <= MODULE.BYTES + (8 << 20)
    assert peak(lambda: step(two_ops)) > 2 * n * classes * 4  # logits and their gradient


# --- with the engine ------------------------------------------------------------------------------
@pytest.mark.parametrize("on", BODIES)
def test_a_write_between_forward_and_backward_is_seen_or_does_no_harm(on, rng):
    arrays = drawn(rng, np.float32)
    for how in HOW:
        tensors = [mg.Tensor(a.copy()) for a in arrays]
        x, weight = (t.requires_grad_() for t in tensors[:2])
        with mg.use_kernels(on):
            y = mg.linear_cross_entropy(*tensors, reduction=how)
            with mg.no_grad():
                weight[...] = 7.0
            if how == "none":  # whose gradient of the weight is still to come
                with pytest.raises(RuntimeError, match="changed in place"):
                    y.sum().backward()
                continue
            y.backward()
        _, gx, _ = run(mg.linear_cross_entropy, arrays, np.ones(N), (0, 1), reduction=how)
        np.testing.assert_allclose(1.5 * x.grad.numpy(), gx, rtol=0.0, atol=61 * 2.0**-23)


def test_in_a_checkpoint_it_gives_the_same(rng):
    arrays, c = drawn(rng), rng.standard_normal(N)

    def checked(*args, **options):
        return mg.checkpoint(lambda *a: mg.linear_cross_entropy(*a, **options), *args)

    for how in HOW:
        ours, wanted = (
            run(f, arrays, c, reduction=how) for f in (checked, mg.linear_cross_entropy)
        )
        assert all(map(np.array_equal, ours, wanted))


def bad(*shapes, target=(0, 1), **options):
    """The op of ones of these shapes: x, weight, bias."""
    x, weight, *bias = (mg.Tensor(np.ones(s, np.float32)).requires_grad_() for s in shapes)
    mg.linear_cross_entropy(x, weight, np.array(target), *bias, **options)


NAME = "linear_cross_entropy: "
MISTAKES = {
    "probabilities": (
        lambda: bad((2, 3), (4, 3), target=np.ones((2, 4))),
        (
            TypeError,
            r"expected target \(2,\) of class ids; the loss of probabilities is "
            r"cross_entropy\(linear\(x, weight, bias\), target\)",
        ),
    ),
    "width": (lambda: bad((2, 3), (4, 5)), (ValueError, r"expected x \(\.\.\., D\) and weight")),
    "no axis": (lambda: bad((), (4, 5)), (ValueError, r"expected x \(\.\.\., D\) and weight")),
    "vector": (lambda: bad((2, 3), (3,)), (ValueError, r"expected x \(\.\.\., D\) and weight")),
    "no class": (lambda: bad((2, 3), (0, 3)), (ValueError, r"expected x .* one class or more")),
    "bias": (lambda: bad((2, 3), (4, 3), (3,)), (ValueError, r"expected bias \(4,\), got \(3,\)")),
    "weights": (
        lambda: bad((2, 3), (4, 3), class_weight=np.ones(3)),
        (ValueError, r"expected class_weight \(4,\), got \(3,\)"),
    ),
    "weights with a gradient": (
        lambda: bad((2, 3), (4, 3), class_weight=mg.ones(4).requires_grad_()),
        (TypeError, "class_weight carries a gradient"),
    ),
    "shape": (
        lambda: bad((2, 3, 3), (4, 3)),
        (ValueError, r"expected target \(2, 3\): x without its last axis"),
    ),
    "id": (lambda: bad((2, 3), (4, 3), target=[0, 4]), (IndexError, r"target 4 not in \[0, 3\]")),
    "-1": (lambda: bad((2, 3), (4, 3), target=[0, -1]), (IndexError, r"target -1 not in \[0, 3\]")),
    "booleans": (
        lambda: bad((2, 3), (4, 3), target=[True, False]),
        (TypeError, "target must be integers, got bool"),
    ),
    "word": (
        lambda: bad((2, 3), (4, 3), reduction="all"),
        (ValueError, 'reduction: expected "none", "mean" or "sum", got \'all\''),
    ),
    "smoothing": (
        lambda: bad((2, 3), (4, 3), label_smoothing=1.5),
        (ValueError, "expected 0 <= label_smoothing <= 1, got 1.5"),
    ),
    "list": (
        lambda: mg.linear_cross_entropy(mg.ones((2, 3)), mg.ones((4, 3)), [0, 1]),
        (TypeError, "expected tensors or arrays, got list"),
    ),
    "dtypes": (
        lambda: mg.linear_cross_entropy(mg.ones((2, 3)), np.ones((4, 3)), np.array([0, 1])),
        (TypeError, "float32 and float64 do not mix"),
    ),
}


@pytest.mark.parametrize("on", BODIES)
@pytest.mark.parametrize("name", MISTAKES)
def test_mistakes_are_told_by_name(name, on):
    call, (kind, text) = MISTAKES[name]
    with mg.use_kernels(on), pytest.raises(kind, match=NAME + text):
        call()
