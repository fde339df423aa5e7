"""The fused kernels against the plain ops in float64: values, gradients, random numbers, updates.

`test_triton.py` runs this file in a process of its own: with TRITON_INTERPRET=1 on NumPy arrays,
which needs no GPU, and where there is a GPU also without it on CuPy arrays.

The cases, their tolerances and the comparison are in `fused_cases.py`.
"""

import contextlib

import fake_gpu
import numpy as np
import pytest
import triton
import triton.language as tl
from digits import EXACT, closed_gates
from fused_cases import (
    CASES,
    DEVICE,
    EPS,
    FIRST,
    SMALL,
    Case,
    all_close,
    check,
    close,
    cotangents,
    doubled,
    each,
    entropy,
    fused,
    mapped,
    normalized,
    plain,
    pulled,
    to_device,
    to_host,
    tuple_of,
)

import minigrad as mg
from kernels import tables
from kernels.cuda import adamw, cross_entropy, dropout, gelu, layer_norm, lstm, stacked
from kernels.cuda.launch import INTERPRETED, launch
from minigrad import device as devices
from minigrad import inplace, ops, optim
from minigrad.kernel import Declined
from minigrad.ops.nn import _dropout
from minigrad.optim.clip import clip_arrays
from minigrad.optim.optimizers import adam_update_all

if not INTERPRETED and not devices.available():
    pytest.skip("needs a GPU, or TRITON_INTERPRET=1", allow_module_level=True)


# --- what holds for every kernel ------------------------------------------------------------------
@each(CASES)
def test_values_and_gradients_are_those_of_the_plain_op(case, rng):
    check(case, rng)


@each(SMALL)
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_nan_and_infinity_go_where_the_plain_op_lets_them(case, bad, rng):
    """From the first and last place of each argument in turn.

    Where the plain op has NaN, the kernel has it; in gradients from an infinity, in which factors
    are multiplied in another order, the places that are not finite are the same.
    """
    given = case.arrays(rng)
    where = np.isnan if np.isnan(bad) else lambda a: ~np.isfinite(a)
    for n, a in enumerate(given):
        if not isinstance(a, np.ndarray) or a.dtype.kind != "f":
            continue
        for place in {0, a.size - 1}:
            changed = a.copy()
            changed.reshape(-1)[place] = bad
            arrays = [*given[:n], changed, *given[n + 1 :]]
            with np.errstate(all="ignore"):
                y, pull = fused(case, arrays)
                z, exact = plain(case, arrays, np.float32)
                g = cotangents(y, rng)
                found, wanted = pulled(pull, to_device(g)), pulled(exact, g)
            for b, c in zip(to_host(y), to_host(z), strict=True):
                assert np.array_equal(np.isnan(b), np.isnan(c)), f"value, argument {n}"
            for m, (b, c) in enumerate(zip(found, wanted, strict=True)):
                told = f"gradient {m}, argument {n}, place {place}"
                assert b is None or np.array_equal(where(b), where(c)), told


@each(FIRST)
def test_layout_in_memory_does_not_matter(case, rng):
    """Fortran order of arguments and cotangents."""
    arrays = case.arrays(rng)
    y, pull = fused(case, arrays)
    g = cotangents(y, rng)
    wanted = *to_host(y), *pulled(pull, to_device(g))
    y, pull = fused(case, mapped(np.asfortranarray, arrays))
    found = *to_host(y), *pulled(pull, to_device(mapped(np.asfortranarray, g)))
    for a, b in zip(found, wanted, strict=True):
        assert a is None or np.array_equal(a, b)


@each([c for c in CASES if c.plain not in (ops.linear, ops.embedding)])  # they launch nothing here
def test_nothing_is_read_or_written_beyond_the_arrays(case, rng, monkeypatch):
    """What is read there is NaN, or no row and no class; what is written there is no longer 7."""
    arrays = case.arrays(rng)
    y, pull = fused(case, arrays)
    g = cotangents(y, rng)
    wanted = *to_host(y), *pulled(pull, to_device(g))
    made, empty, empty_like = [], devices.empty, np.empty_like

    def within(a, around):
        """A copy within a larger array, aligned, and that array."""
        wide = np.full_like(a, around, shape=a.size + 128)
        wide[64 : 64 + a.size] = a.reshape(-1)
        return wide[64 : 64 + a.size].reshape(a.shape), wide

    def padded(a):
        a = devices.move(a, DEVICE)
        return within(a, np.nan if a.dtype.kind == "f" else np.iinfo(a.dtype).max)[0]

    def noted(array):
        view, wide = within(array, 7)
        made.append((wide, array.size))
        return view

    surrounded = mapped(padded, arrays)
    passed = mapped(padded, g)
    kwargs = mapped(padded, case.kwargs)
    monkeypatch.setattr(np, "empty_like", lambda a: noted(empty_like(a, order="C")))
    monkeypatch.setattr(devices, "empty", lambda *args: noted(empty(*args)))
    y, pull = case.fused(*surrounded, **kwargs)
    pulls = pull if isinstance(pull, tuple) else (pull,)
    found = [p(passed) for p in pulls if p is not None]
    monkeypatch.undo()
    gradients = found[0] if isinstance(found[0], tuple) else found
    given = [a for a in (*to_host(y), *to_host(tuple(gradients))) if a is not None]
    for a, b in zip(given, (b for b in wanted if b is not None), strict=True):
        assert np.array_equal(a, b, equal_nan=True)
    assert made
    for wide, size in made:
        ends = devices.to_numpy(wide)[np.r_[:64, 64 + size : len(wide)]]
        assert (ends == 7).all()


@each(FIRST)
def test_the_engine_finds_the_arrays_that_are_kept(case, rng):
    """So that writing to one before the walk back is an error; dropout keeps none."""
    given = to_device(case.arrays(rng))
    _, pull = case.fused(*given, **case.kwargs)
    kept = {id(inplace.owner(a)) for a in inplace.saved_arrays(pull)}
    assert kept or case.fused is dropout.dropout
    if case.fused in (layer_norm.layer_norm, cross_entropy.cross_entropy, lstm.lstm):
        assert id(inplace.owner(given[0])) in kept


# --- single kernels -------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("call", "body", "rest"),
    [
        (gelu.gelu, ops.gelu, ()),
        (layer_norm.layer_norm, ops.layer_norm, ("weight", "bias")),
        (dropout.dropout, _dropout, (0.3, (1, 2, 3))),
    ],
)
def test_float16_is_computed_in_float32(call, body, rest, rng):
    """Each number is rounded once, gelu's slope and the scale of dropout once before: two eps."""
    v = rng.standard_normal((33, 17)).astype(np.float16)
    rest = [rng.standard_normal(17).astype(np.float16) if isinstance(a, str) else a for a in rest]
    case = Case(call, body, (v, *rest), 0)
    y, pull = fused(case, case.args)
    z, exact = plain(case, case.args)
    g = rng.standard_normal(v.shape).astype(np.float16)
    found = *to_host(y), *pulled(pull, to_device(g))
    for a, b in zip(found, (z, *pulled(exact, g.astype(np.float64))), strict=True):
        assert a.dtype == np.float16
        error = np.abs(a.astype(np.float64) - b).max()
        assert error <= 2 * float(np.finfo(np.float16).eps) * np.abs(b).max()


@pytest.mark.parametrize("scale", [1e20, 1e38, 3e18])
def test_layer_norm_of_great_numbers(scale, rng):
    """(s, -s, 0) has the variance 2 s² / 3, which float32 does not hold; x̂ = (√1.5, -√1.5, 0).

    The rows around it are what they are alone, and gradients, times s, those of float64.
    """
    rows = np.float32([[1.0, 2.0, 3.0], [scale, -scale, 0.0], [-1.0, 0.5, 0.25]])
    g = rng.standard_normal(rows.shape).astype(np.float32)
    y, pull = layer_norm.layer_norm(to_device(rows))
    gx = pulled(pull, to_device(g))[0]
    alone, _ = layer_norm.layer_norm(to_device(rows[::2].copy()))
    (y,), (alone,) = to_host(y), to_host(alone)
    np.testing.assert_allclose(y[1], np.array([1.5**0.5, -(1.5**0.5), 0.0]), rtol=4 * EPS)
    assert np.array_equal(y[::2], alone)
    exact = ops.layer_norm.op.body(rows.astype(np.float64))[1](g.astype(np.float64))[0]
    size = np.float64([[1.0], [scale], [1.0]])
    assert (np.abs(gx - exact) * size <= 16 * EPS * np.abs(exact * size).max()).all()


def test_gelu_without_gradients_is_the_same(rng):
    v = to_device(rng.standard_normal(1030).astype(np.float32))
    with mg.no_grad():
        (y,) = to_host(gelu.gelu(v)[0])
    assert np.array_equal(y, to_host(gelu.gelu(v)[0])[0])


@pytest.mark.parametrize("how", ["none", "tanh"])
def test_gelu_keeps_its_digits_where_it_is_small(how):
    """To the tolerance of `test_digits`, which has the right values."""
    name = "gelu" if how == "none" else "gelu tanh"
    _, value, derivative, points, amplified = EXACT[name]
    v = np.float32(points)
    y, pull = gelu.gelu(to_device(v), how)
    found = *to_host(y), *pulled(pull, to_device(np.ones_like(v)))
    for ours, exact in zip(found, (value, derivative), strict=True):
        wanted = np.array([exact(float(a)) for a in v])
        limit = (8.0 + 4.0 * np.array([amplified(float(a)) for a in v])) * EPS
        assert (np.abs(ours - wanted) <= limit * np.abs(wanted)).all()


def test_the_tanh_form_of_gelu_has_a_slope_where_x_cubed_overflows():
    y, pull = gelu.gelu(to_device(np.float32([-1e38, -1e3, 1e3, 1e38])), "tanh")
    (slope,) = pulled(pull, to_device(np.ones(4, np.float32)))
    assert to_host(y)[0].tolist() == np.float32([0.0, 0.0, 1e3, 1e38]).tolist()
    assert slope.tolist() == [0.0, 0.0, 1.0, 1.0]


def test_gates_that_are_nearly_closed():
    """Fourteen roundings a number, see `test_digits`."""
    arrays, values, gradients = closed_gates()
    (h, c), pull = lstm.lstm_cell(*to_device([*arrays, None]))
    (*_, bias, _) = pulled(pull, to_device((np.ones((1, 1), np.float32), np.zeros_like(arrays[2]))))
    found = [*to_host(h)[0].ravel(), *to_host(c)[0].ravel(), *bias]
    np.testing.assert_allclose(found, [*values, *gradients], rtol=14 * EPS, atol=1e-25)


@pytest.mark.parametrize("bad", [np.inf, -np.inf, np.nan])
@pytest.mark.parametrize("how", ["mean", "sum", "none"])
def test_logits_of_an_ignored_place_are_not_looked_at(how, bad):
    """By hand: of the logits (-inf, 0, 1), class 1 has the probability p = 1 / (1 + e)."""
    v = np.float32([[bad, 1.0, 2.0], [-np.inf, 0.0, 1.0]])
    y, (pull, _) = fused(entropy(v, np.array([-100, 1]), reduction=how), [v, np.array([-100, 1])])
    p = 1.0 / (1.0 + np.e)
    wanted = np.array([0.0, -np.log(p)]) if how == "none" else -np.log(p)
    np.testing.assert_allclose(to_host(y)[0], wanted, rtol=10 * EPS)
    g = np.full(y.shape, 2.0, np.float32)
    gradient = [[0.0, 0.0, 0.0], [0.0, 2.0 * (p - 1.0), 2.0 * (1.0 - p)]]
    np.testing.assert_allclose(to_host(pull(to_device(g)))[0], gradient, rtol=10 * EPS)


@pytest.mark.parametrize("how", ["mean", "sum", "none"])
def test_where_all_places_are_ignored_the_gradient_is_0(how):
    v, target = np.float32([[1.0, np.inf], [np.nan, 2.0]]), np.array([-100, -100])
    y, (pull, _) = fused(entropy(v, target, reduction=how), [v, target])
    g = np.full(y.shape, np.nan if how == "none" else 1.0, np.float32)
    assert to_host(pull(to_device(g)))[0].tolist() == [[0.0, 0.0], [0.0, 0.0]]


def test_a_first_tile_of_nothing_but_minus_infinity(rng):
    """Masked classes: the maximum so far is then -inf, and -inf - -inf would be NaN."""
    v = rng.standard_normal((2, 4100)).astype(np.float32)
    v[0, :2100], v[1, 2050:] = -np.inf, -np.inf
    case = entropy(v, np.array([4000, 3]))
    (y, (pull, _)), (z, (exact, _)) = fused(case, case.args), plain(case, case.args)
    all_close(to_host(y), to_host(z), 64, "value")
    all_close(to_host(pull(to_device(np.array(2.0, np.float32)))), (exact(2.0),), 64, "gradient")


def test_more_rows_than_the_programs_take_at_once(rng, monkeypatch):
    """32 tiles for three programs, whose sums are added in tiles of two.

    The same every time, for no two programs add to one place.
    """
    monkeypatch.setattr(layer_norm, "PROGRAMS", 3)
    monkeypatch.setattr(layer_norm, "SUM_ROWS", 2)
    case = normalized(1000, 5)
    check(case, rng)
    arrays = case.arrays(rng)
    y, pull = fused(case, arrays)
    g = to_device(cotangents(y, rng))
    first, second = pulled(pull, g), pulled(fused(case, arrays)[1], g)
    assert all(map(np.array_equal, first, second))


ENTROPY = cross_entropy.cross_entropy
F4, IDS = np.ones((3, 4), np.float32), np.array([0, 1, 2])
WEIGHTS = [np.ones(s, np.float32) for s in ((8, 3), (8, 2), (8,), (8,))]
DECLINED = {
    "gelu of float64": (gelu.gelu, (F4.astype(np.float64),), "float64"),
    "gelu of a word": (gelu.gelu, (F4, "yes"), "approximation"),
    "norm of nothing": (layer_norm.layer_norm, (F4[:0],), "shapes"),
    "norm with a weight": (layer_norm.layer_norm, (F4, F4[0, :3]), "shapes"),
    "norm of long rows": (layer_norm.layer_norm, (np.ones((1, 4097), np.float32),), "long rows"),
    "entropy of nothing": (ENTROPY, (F4[:0], IDS[:0]), "nothing to do"),
    "entropy, smoothed": (ENTROPY, (F4, IDS), "label smoothing", {"label_smoothing": 0.1}),
    "entropy, a word": (ENTROPY, (F4, IDS), "reduction", {"reduction": "all"}),
    "entropy, float target": (ENTROPY, (F4, IDS * 1.0), "target"),
    "entropy, short target": (ENTROPY, (F4, IDS[:2]), "target"),
    "entropy, great index": (ENTROPY, (F4, IDS), "target", {"ignore_index": 2**40}),
    "entropy, short weight": (ENTROPY, (F4, IDS), "weight", {"weight": F4[0, :3]}),
    "entropy of float16": (ENTROPY, (F4.astype(np.float16), IDS), "float16"),
    "lstm of nothing": (lstm.lstm, (F4[None, :0, :3], None, None, *WEIGHTS), "shapes"),
    "lstm, three weights": (lstm.lstm, (F4[None, :, :3], None, None, *WEIGHTS[:3]), "shapes"),
    "clip, float64": (adamw.clip, ([F4.astype(np.float64)], 1.0, None), "float64"),
}


@pytest.mark.parametrize("name", DECLINED)
def test_what_is_not_served_is_declined(name):
    call, args, reason, *kwargs = DECLINED[name]
    answer = call(*to_device(args), **to_device(kwargs[0] if kwargs else {}))
    assert isinstance(answer, Declined)
    assert answer.reason == reason


def test_unchecked_classes_out_of_range_give_nan(monkeypatch):
    """As while a graph is captured, when nothing can be read back; and no other memory is read."""
    monkeypatch.setattr(cross_entropy, "check_ids", lambda *args, **kwargs: None)
    for bad in (-1, 5, 2**40):
        ids, logits = np.array([1, bad]), np.ones((2, 5), np.float32)
        y, _ = cross_entropy.cross_entropy(*to_device([logits, ids]), reduction="none")
        assert np.isnan(devices.to_numpy(y)).tolist() == [False, True]


@pytest.mark.parametrize("call", [gelu.gelu, lambda x: dropout.dropout(x, 0.5, (1, 2, 3))])
def test_arrays_without_elements(call):
    none = to_device(np.zeros((2, 0, 3), np.float32))
    y, pull = call(none)
    assert y.shape == pull(none).shape == none.shape


# --- random numbers -------------------------------------------------------------------------------
@triton.jit
def uniform_kernel(y, key, size, BLOCKS: tl.constexpr):
    block = tl.program_id(0) * BLOCKS
    i = 8 * block + tl.arange(0, 8 * BLOCKS)
    tl.store(y + i, dropout.uniform(key, block, BLOCKS), mask=i < size)


KEYS = (0, 0, 0), (1, 2, 3), (2**64 - 1, 2**64 - 1, 2**63), (12345, 2**32 - 1, 987654321)


@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize("size", [1, 7, 8, 9, 255, 256, 2049])
def test_random_numbers_are_those_of_numpy(key, size):
    """To the last bit, for keys and numbers of draws up to the largest."""
    wanted = mg.random.philox(*key).random(size, np.float32)
    found = to_device(np.empty(size, np.float32))
    words = to_device(np.array(key, np.uint64))
    launch(uniform_kernel, (triton.cdiv(size, 1024),), (found, words, size), {"BLOCKS": 128})
    assert np.array_equal(devices.to_numpy(found), wanted)


def test_dropout_drops_what_the_cpu_drops(rng, monkeypatch):
    """Through the op and the state of `minigrad.random`, forward and back, to the last bit."""
    values = rng.standard_normal((50, 41)).astype(np.float32)
    found = []
    for device, run in (("cpu", _dropout.op.body), (DEVICE, _dropout.op.choose)):
        monkeypatch.setattr(_dropout.op, "run", run)
        v = mg.tensor(values, requires_grad=True, device=device)
        mg.random.seed(5)
        mg.dropout(v, 0.9)
        y = mg.dropout(v, 0.3)
        (y * y).sum().backward()
        found.append((*to_host((y.data, v.grad.data)), mg.random.get_state()))
    (y, g, state), (z, h, other) = found
    assert np.array_equal(y, z)
    assert np.array_equal(g, h)
    assert state == other
    assert 0.25 < (y == 0.0).mean() < 0.35
    assert _dropout.op.kernels[0].used == 2


def test_a_number_equal_to_p_is_kept(rng):
    """As by the plain op: p is compared in float32, with >=."""
    draw, ones = (3, 1, 4), np.ones(1000, np.float32)
    for p in mg.random.philox(*draw).random(1000, np.float32)[[0, 13, 999]]:
        y, _ = dropout.dropout(to_device(ones), float(p), draw)
        z, _ = _dropout.op.body(ones, float(p), draw)
        assert np.array_equal(devices.to_numpy(y), z)


def test_a_live_draw_is_read_when_the_kernel_runs():
    v, key = to_device(np.ones((9, 9), np.float32)), to_device(np.zeros(3, np.uint64))
    for draw in ((987, 7, 2), (987, 7, 6)):
        key[...] = to_device(np.array(draw, np.uint64))
        y, _ = dropout.dropout(v, 0.5, key)
        z, _ = _dropout.op.body(np.ones((9, 9), np.float32), 0.5, draw)
        assert np.array_equal(devices.to_numpy(y), z)


# --- optimizers -----------------------------------------------------------------------------------
SHAPES = (1,), (17,), (2048,), (2049,), (0,), (50, 100), (3, 5, 7)
NUMBERS = 0.9, 0.999, 1e-8, 0.01, 0.0, 1.0
PIECES = optim.AdamW([mg.tensor([1.0], requires_grad=True)]).pieces


def rates(*numbers):
    """What `Adam.rates` gives for one parameter."""
    return lambda: ([[numbers]], [0])


@pytest.mark.parametrize("kind", [optim.AdamW, optim.Adam])
def test_adam_takes_the_steps_of_the_plain_one(kind, rng, monkeypatch):
    """In one launch a step: two groups, and each time another parameter without a gradient.

    An element passes through ten roundings a step, and four steps.
    """
    monkeypatch.setattr(adam_update_all, "run", adam_update_all.choose)
    first = [rng.standard_normal(s).astype(np.float32) for s in SHAPES]
    made = []
    for dtype, device in ((np.float32, DEVICE), (np.float64, "cpu")):
        params = [mg.tensor(a.astype(dtype), requires_grad=True, device=device) for a in first]
        special = {"params": params[3:], "lr": 0.05, "weight_decay": 0.3, "betas": (0.5, 0.9)}
        groups = [{"params": params[:3]}, special]
        made.append((params, kind(groups, lr=0.1, weight_decay=0.1)))
    (ours, fast), (exact, slow) = made
    used = adam_update_all.kernels[0].used
    for step in range(4):
        for n, (p, q) in enumerate(zip(ours, exact, strict=True)):
            g = rng.standard_normal(p.shape).astype(np.float32)
            p.grad = None if n == step else mg.Tensor(to_device(g))
            q.grad = None if n == step else mg.Tensor(g.astype(np.float64))
        fast.step()
        slow.step()
    assert adam_update_all.kernels[0].used == used + 4
    for n, (p, q) in enumerate(zip(ours, exact, strict=True)):
        all_close(to_host(p.data), (q.data,), 40, f"parameter {n}")
        for name in ("exp_avg", "exp_avg_sq"):
            all_close(to_host(fast.slots[p][name]), (slow.slots[q][name],), 40, f"{name} {n}")


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 1e20])
@pytest.mark.parametrize("place", range(4))
@pytest.mark.parametrize(("decay", "keep"), [(0.0, 0.9), (0.1, 1.0)])
def test_adam_passes_on_nan_and_infinity(decay, keep, place, bad, rng):
    """In each array in turn, as the plain routine does; without decay no infinity meets a zero."""
    arrays = [np.abs(rng.standard_normal(5)).astype(np.float32) for _ in range(4)]
    arrays[place][2] = bad
    given = to_device([a.copy() for a in arrays])
    numbers = rates(0.9, 0.999, 1e-8, 0.01, decay, keep)
    assert adamw.adam(PIECES, [tuple(given)], numbers) is None
    with np.errstate(all="ignore"):
        adam_update_all.body(PIECES, [tuple(arrays)], numbers)
    for a, b in zip(to_host(tuple(given)), arrays, strict=True):
        assert np.array_equal(np.isnan(a), np.isnan(b))
        assert np.array_equal(np.isinf(a), np.isinf(b))


def test_adam_takes_gradients_of_any_layout(rng):
    g = rng.standard_normal((6, 5)).astype(np.float32)
    found = []
    for given in (to_device(g), to_device(g.T.copy()).T):
        arrays = to_device([np.ones((6, 5), np.float32) for _ in range(3)])
        four = arrays[0], given, *arrays[1:]
        assert adamw.adam(PIECES, [four], rates(*NUMBERS)) is None
        found.append(to_host(tuple(arrays)))
    assert all(map(np.array_equal, *found))


def test_clipping_declines_what_it_cannot_write_to():
    answer = adamw.clip([to_device(F4.copy()).T], 1.0, None)
    assert isinstance(answer, Declined)
    assert answer.reason == "layout"


def test_adam_declines_parameters_that_it_cannot_write_to():
    turned, fine = to_device([np.ones((2, 3), np.float32) for _ in range(2)])
    answer = adamw.adam(PIECES, [(turned.T, fine.T, fine.T, fine.T)], rates(*NUMBERS))
    assert isinstance(answer, Declined)
    assert answer.reason == "layout"


def test_adam_leaves_amsgrad_to_the_plain_routine():
    arrays = to_device([np.ones(3, np.float32) for _ in range(5)])
    answer = adamw.adam(PIECES, [tuple(arrays[:4]), tuple(arrays)], rates(*NUMBERS))
    assert isinstance(answer, Declined)
    assert answer.reason == "amsgrad"


def test_each_replica_has_its_rates_and_its_norm(rng):
    """Three replicas of two parameters, by the plain routines one by one."""
    shapes = (3, 5, 7), (3, 4000)
    arrays = [[rng.random(s).astype(np.float32) for s in shapes] for _ in range(4)]
    each = (0.1, 0.2, 0.3), (0.0, 0.1, 0.2), (0.9, 0.8, 0.7)  # rate, decay, keep
    betas = (0.9, 0.999), (0.5, 0.9)
    given = to_device([[a.copy() for a in kind] for kind in arrays])
    norms = adamw.clip(given[1], 0.5, 3)
    rows = [[(*first, 1e-8, *own) for own in zip(*each, strict=True)] for first in betas]
    fours = list(zip(*given, strict=True))
    assert adamw.adam(PIECES, fours, lambda: (rows, [0, 1])) is None
    for r in range(3):
        exact = doubled([[a[r].copy() for a in kind] for kind in arrays])
        close(to_host(norms)[0][r], clip_arrays.body(exact[1], 0.5, None), 16, "norm")
        numbers = [[row[r]] for row in rows]
        adam_update_all.body(PIECES, list(zip(*exact, strict=True)), lambda n=numbers: (n, [0, 1]))
        for kind, wanted in zip(given, exact, strict=True):
            for a, b in zip(kind, wanted, strict=True):
                close(to_host(a)[0][r], b, 40, f"replica {r}")


@pytest.mark.parametrize("limit", [1e9, 1.0, 1, 0.0, np.inf])
def test_clipping_is_that_of_the_plain_routine(limit, rng):
    grads = [3.0 * rng.standard_normal(s).astype(np.float32) for s in SHAPES]
    exact, given = doubled(grads), to_device(grads)
    (norm,) = to_host(adamw.clip(given, limit, None))
    close(
        norm, clip_arrays.body(exact, limit, None), 16, "norm"
    )  # a tree of sums: log₂ of 9000 terms
    all_close(to_host(tuple(given)), tuple(exact), 20, "gradient")


@pytest.mark.parametrize("bad", [np.nan, np.inf, 1e30])
def test_clipping_passes_on_nan_and_infinity(bad):
    grads = [np.ones(s, np.float32) for s in SHAPES]
    grads[2][4] = bad
    given = to_device([g.copy() for g in grads])
    (norm,) = to_host(adamw.clip(given, 1.0, None))
    with np.errstate(all="ignore"):
        wanted = clip_arrays.body(grads, 1.0, None)
    assert np.array_equal(norm, wanted, equal_nan=True)
    for g, h in zip(to_host(tuple(given)), grads, strict=True):
        assert np.array_equal(g, h, equal_nan=True)


# --- arrays that are not NumPy's ------------------------------------------------------------------
@pytest.fixture
def fake(monkeypatch):
    """Arrays that refuse to meet NumPy's outside of a launch, as CuPy's do; see `fake_gpu`."""
    fake_gpu.install(monkeypatch)

    def on_host(fn, grid, args, constants, **how):
        assert not any(isinstance(a, np.ndarray) for a in args)
        args = [a.values if isinstance(a, fake_gpu.FakeArray) else a for a in args]
        fake_gpu.soon(lambda: launch(fn, grid, args, constants, **how))

    for module in (adamw, cross_entropy, dropout, gelu, layer_norm, lstm, stacked):
        monkeypatch.setattr(module, "launch", on_host, raising=False)
        monkeypatch.setattr(module, "unfit", lambda *arrays, **how: None)
    monkeypatch.setattr(tables, "address_of", lambda a: a.values.ctypes.data)
    adamw.blocks_on.cache_clear()
    yield lambda a: mapped(fake_gpu.FakeArray, a)
    adamw.blocks_on.cache_clear()


@pytest.mark.skipif(not INTERPRETED, reason="stands for a GPU")
@each(FIRST)
def test_nothing_goes_through_the_host(case, rng, fake):
    arrays = case.arrays(rng)
    y, pull = case.fused(*fake(arrays), **fake(case.kwargs))
    assert all(isinstance(a, fake_gpu.FakeArray) for a in tuple_of(y))
    values = [a.values for a in tuple_of(y)]
    g = cotangents(tuple(values) if isinstance(y, tuple) else values[0], rng)
    pulls = pull if isinstance(pull, tuple) else (pull,)
    found = [p(fake(g)) for p in pulls if p is not None]
    found = found[0] if isinstance(found[0], tuple) else found
    z, exact = plain(case, arrays)
    all_close(tuple(values), to_host(z), case.terms, "value")
    wanted = pulled(exact, doubled(g))[: len(found)]
    found = tuple(None if a is None else a.values for a in found)
    all_close(found, wanted, 2 * case.terms, "gradient")


@pytest.mark.skipif(not INTERPRETED, reason="stands for a GPU")
def test_a_recorded_training_step_is_the_plain_one(rng, fake):
    """Dropout, clipping and AdamW: recorded, replayed, and with another learning rate in between.

    Five steps, each of some fifty roundings.
    """
    values = rng.standard_normal((6, 5)).astype(np.float32)
    inputs = rng.standard_normal((7, 4, 5)).astype(np.float32)

    def trained(device):
        mg.random.seed(3)
        weight = mg.tensor(values, device=device).requires_grad_()
        optimizer = optim.AdamW([weight], lr=0.1)

        @mg.capture
        def step(x):
            optimizer.zero_grad()
            y = mg.dropout(x * weight[:4], 0.5)
            loss = (y * y).sum()
            loss.backward()
            optim.clip_grad_norm([weight], 1.0)
            optimizer.step()
            return loss

        losses = []
        for n, x in enumerate(inputs):
            optimizer.lr = 0.1 / (n + 1)
            losses.append(step(mg.tensor(x, device=device)).item())
        return losses, weight.detach().cpu().numpy(), optimizer.state_dict()["slots"]["0.step"]

    with switched_on(_dropout.op, adam_update_all, clip_arrays):
        found = trained("cuda:0")
    wanted = trained("cpu")
    for a, b in zip(found, wanted, strict=True):
        np.testing.assert_allclose(a, b, rtol=250 * 2.0**-24)


@contextlib.contextmanager
def switched_on(*routines):
    for routine in routines:
        routine.run = routine.choose
    try:
        yield
    finally:
        for routine in routines:
            routine.run = routine.body
