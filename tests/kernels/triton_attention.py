"""The attention kernels against the plain op in float64: values and gradients.

`test_triton.py` runs this file in a process of its own: with TRITON_INTERPRET=1 on NumPy arrays,
which needs no GPU, and where there is a GPU also without it on CuPy arrays.

The tolerance of every number is a bound of its own rounding errors, computed beside it (`bounds`).
"""

import itertools
from importlib.util import find_spec

import numpy as np
import pytest
from attention_checks import LAYOUTS, check, drawn, fused, to_device

from kernels.cuda import attention, tune
from kernels.cuda.launch import INTERPRETED
from kernels.tables import address_of
from minigrad import device as devices
from minigrad import inplace
from minigrad.kernel import Declined
from reference.attention import to_float64

if not INTERPRETED and not devices.available():
    pytest.skip("needs a GPU, or TRITON_INTERPRET=1", allow_module_level=True)

FLOAT32, FLOAT16 = np.dtype(np.float32), np.dtype(np.float16)
DTYPES = [FLOAT32, FLOAT16]
if not INTERPRETED and find_spec("ml_dtypes"):  # tl.dot interpreted multiplies bits of bfloat16
    import ml_dtypes

    DTYPES.append(np.dtype(ml_dtypes.bfloat16))


@pytest.fixture
def tile(monkeypatch):
    """Sets the tile of all kernels, and with it that the backward pass takes two of them."""

    def set_to(*sizes):
        only = [attention.Tile(*sizes)]
        monkeypatch.setattr(
            attention.Call, "tiles", lambda self, name: [] if name == "one tile" else only
        )

    return set_to


def each_dtype(f):
    return pytest.mark.parametrize("dtype", DTYPES, ids=str)(f)


# --- sizes ----------------------------------------------------------------------------------------
@each_dtype
@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("length", [1, 6, 16, 17, 64, 65, 150])
def test_sequences_of_one_tile_of_several_and_ragged_ones(length, causal, dtype, rng):
    """One tile, exactly one, one and a row; ragged ones, in the default tiles."""
    check(*drawn(rng, (1, 2, length, 16), length, dtype), causal=causal)


@each_dtype
@pytest.mark.parametrize("d", [1, 8, 16, 24, 32, 64, 80, 128])
def test_heads_of_any_size(d, dtype, rng, tile):
    """Others than powers of two are padded. By one kernel or by two."""
    arrays = drawn(rng, (1, 2, 19, d), 19, dtype)
    check(*arrays, causal=True)
    tile(16, 16, 1)
    check(*arrays, causal=True)


@each_dtype
@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize(
    ("queries", "keys"), [(1, 40), (5, 37), (37, 5), (32, 33), (40, 90), (90, 40)]
)
def test_more_keys_than_queries_and_fewer(queries, keys, causal, dtype, rng):
    """With fewer keys, causal, the first queries see nothing. 33 keys are a tile, and one that
    the last query alone sees."""
    arrays = drawn(rng, (2, 1, queries, 16), keys, dtype)
    y, gq, _, _ = check(*arrays, causal=causal)
    blind = max(0, queries - keys) if causal else 0
    assert not to_float64(y)[..., :blind, :].any()
    assert not to_float64(gq)[..., :blind, :].any()


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize(("queries", "keys"), [(50, 70), (70, 50), (64, 64), (50, 64)])
@pytest.mark.parametrize("sizes", [(16, 32), (32, 16), (16, 64), (64, 16)], ids=str)
def test_tiles_that_are_not_square(sizes, queries, keys, causal, rng, tile):
    """Where full tiles end and the diagonal begins depends on both sizes. With 14 keys more than
    queries, one pair of a tile is masked."""
    tile(*sizes, 4)
    mask = rng.random((1, 1, 1, keys)) < 0.8
    check(*drawn(rng, (1, 1, queries, 16), keys, FLOAT32), causal=causal)
    check(*drawn(rng, (1, 1, queries, 16), keys, FLOAT32), mask, causal=causal)


# --- options --------------------------------------------------------------------------------------
@each_dtype
@pytest.mark.parametrize("small", [False, True])
@pytest.mark.parametrize("causal", [False, True])
def test_keys_that_are_masked_are_not_attended_to(causal, small, dtype, rng, tile):
    """One sequence may attend to nothing, one not to its first keys, one to all."""
    if small:
        tile(16, 16, 1)
    mask = rng.random((4, 1, 1, 40)) < 0.6
    mask[0], mask[1, ..., :18], mask[2] = False, False, True
    arrays = drawn(rng, (4, 2, 40, 16), 40, dtype)
    found = check(*arrays, mask, causal=causal)
    for x in found:
        assert not to_float64(x)[0].any()
    for x in found[2:]:  # no gradient for what nobody attends to
        assert not to_float64(x)[1, :, :18].any()
    if causal:
        assert not to_float64(found[0])[1, :, :18].any()


@pytest.mark.parametrize("shape", [(23,), (1, 23), (1, 1, 23), (1, 1, 1, 1), (2, 1, 1, 1)])
def test_masks_broadcast(shape, rng):
    check(*drawn(rng, (2, 2, 9, 16), 23, FLOAT32), rng.random(shape) < 0.5)


@each_dtype
@pytest.mark.parametrize("heads", [1, 2, 3, 8])
@pytest.mark.parametrize("causal", [False, True])
def test_alibi_for_any_number_of_heads(causal, heads, dtype, rng, tile):
    arrays = drawn(rng, (1, heads, 21, 16), 27, dtype)
    check(*arrays, causal=causal, alibi=True)
    tile(16, 16, 1)
    check(*arrays, rng.random((1, 1, 1, 27)) < 0.7, causal=causal, alibi=True, scale=0.7)


@pytest.mark.parametrize("scale", [1e-3, 0.3, 2.0])
def test_scores_are_scaled(scale, rng):
    check(*drawn(rng, (1, 2, 20, 16), 20, FLOAT32), scale=scale, causal=True)


@pytest.mark.parametrize("size", [1e-20, 30.0])
def test_scores_that_are_tiny_or_would_overflow(size, rng):
    """2^s would overflow were the maximum not taken away; p is then 0 or 1 nearly everywhere."""
    q, k, v, g = drawn(rng, (1, 1, 50, 16), 50, FLOAT32)
    check(q * FLOAT32.type(size), k, v, g, causal=True)


# --- memory ---------------------------------------------------------------------------------------
@pytest.mark.parametrize("lead", [(), (3,), (2, 1, 3)])
@pytest.mark.parametrize("masked", [False, True])
def test_any_number_of_leading_axes(lead, masked, rng):
    mask = rng.random((*lead[:-1], *(1,) * (2 if lead else 1), 21)) < 0.7 if masked else None
    check(*drawn(rng, (*lead, 18, 16), 21, FLOAT32), mask)


def test_views_into_one_product_are_not_copied(rng, monkeypatch):
    """(B, T, 3, H, d), rows beside those of the other heads; and values lie that way, too."""
    made = to_device(rng.standard_normal((2, 20, 3, 4, 16)).astype(np.float32))
    q, k, v = (made[:, :, n].swapaxes(1, 2) for n in range(3))
    g = to_device(rng.standard_normal((2, 20, 64)).astype(np.float32))
    g = g.reshape(2, 20, 4, 16).swapaxes(1, 2)
    batched = attention.batched

    def in_place(x):
        assert address_of(batched(x)) == address_of(x)
        return batched(x)

    monkeypatch.setattr(attention, "batched", in_place)
    for x in check(q, k, v, g, causal=True):
        assert x.swapaxes(1, 2).flags.c_contiguous


@pytest.mark.skipif(not INTERPRETED, reason="layouts of NumPy arrays")
@pytest.mark.parametrize("layout", LAYOUTS)
def test_layout_in_memory_does_not_matter(layout, rng):
    check(*(LAYOUTS[layout](x) for x in drawn(rng, (1, 2, 20, 16), 20, FLOAT32)))


def test_a_cotangent_that_is_one_number_repeated(rng):
    q, k, v, _ = drawn(rng, (1, 2, 20, 16), 20, FLOAT32)
    one = to_device(np.ones((), np.float32))
    check(q, k, v, np.broadcast_to(one, q.shape))


def surrounded(x, rows=70):
    """The same numbers as a view, with NaN before and behind each row and each sequence."""
    *lead, n, d = x.shape
    wide = np.full_like(x, np.nan, shape=(*lead, n + 2 * rows, d + 16), order="C")
    view = wide[..., rows:-rows, 8:-8]
    view[...] = x
    return view


@pytest.mark.parametrize("small", [False, True])
@pytest.mark.parametrize("d", [16, 24])
def test_nothing_is_read_or_written_beyond_the_arrays(d, small, rng, tile, monkeypatch):
    """What is read there is NaN, and what is written there would no longer be 7."""
    if small:
        tile(16, 16, 1)
    mask = rng.random((1, 1, 1, 27)) < 0.7
    arrays = drawn(rng, (1, 1, 21, d), 27, FLOAT32)
    clean = check(*arrays, mask, causal=True)
    made = []

    def empty(x):
        made.append(np.full_like(x, 7.0, shape=x.size + 2048))
        return made[-1][1024:-1024].reshape(x.shape)

    monkeypatch.setattr(attention, "empty", empty)
    arrays = [surrounded(x) for x in arrays]
    for a, b in zip(check(*arrays, mask, causal=True), clean, strict=True):
        assert np.array_equal(to_float64(a), to_float64(b))
    assert len(made) == 4  # y, gq, gk and gv, all of one sequence and head
    for wide in made:
        assert (to_float64(wide)[np.r_[:1024, -1024:0]] == 7.0).all()


@each_dtype
def test_masked_keys_may_hold_nan(dtype, rng, tile):
    q, k, v, g = drawn(rng, (2, 1, 40, 16), 40, dtype)
    mask = rng.random((2, 1, 1, 40)) < 0.6
    for sizes in (None, (16, 16, 1)):
        if sizes:
            tile(*sizes)
        clean = check(q, k, v, g, mask)
        hidden = to_device(np.broadcast_to(~mask[:, :, 0, :, None], k.shape))
        nan = to_device(np.array(np.nan, dtype))
        dirty = [np.where(hidden, nan, x) for x in (k, v)]
        y, pull = fused(q, *dirty, to_device(mask))
        for a, b in zip((y, *pull(g)[:3]), clean, strict=True):
            assert np.array_equal(to_float64(a), to_float64(b))


def test_nan_stays_in_its_row_and_in_its_head(rng):
    q, k, v, g = drawn(rng, (2, 2, 40, 16), 40, FLOAT32)
    clean, _ = fused(q, k, v, causal=True)
    q[0, 1, 7, 3] = np.nan
    y, pull = fused(q, k, v, causal=True)
    bad = np.isnan(to_float64(y))
    assert bad[0, 1, 7].all()
    assert bad.sum() == 16
    assert np.array_equal(to_float64(y)[~bad], to_float64(clean)[~bad])
    for x in pull(g)[:3]:
        bad = np.isnan(to_float64(x))
        assert bad[0, 1].any()
        bad[0, 1] = False
        assert not bad.any()


@pytest.mark.parametrize("length", [20, 90])
def test_two_walks_give_the_same_bits_and_write_to_nothing_that_is_kept(length, rng):
    q, k, v, g = drawn(rng, (1, 2, length, 16), length, FLOAT32)
    kept = [x.copy() for x in (q, k, v, g)]
    y, pull = fused(q, k, v, causal=True)
    value = y.copy()
    first, second = pull(g), pull(g)
    for a, b in zip(first[:3], second[:3], strict=True):
        assert a is not b
        assert np.array_equal(to_float64(a), to_float64(b))
    for a, b in zip((q, k, v, g, y), (*kept, value), strict=True):
        assert np.array_equal(to_float64(a), to_float64(b))


def test_the_engine_finds_the_arrays_that_are_kept(rng):
    """So that writing to one before the walk back is an error."""
    q, k, v, _ = drawn(rng, (1, 2, 20, 16), 20, FLOAT32)
    y, pull = fused(q, k, v)
    kept = [id(inplace.owner(x)) for x in inplace.saved_arrays(pull)]
    for x in (q, k, v, y):
        assert id(inplace.owner(x)) in kept


def test_memory_grows_with_the_length_and_not_with_its_square(rng, monkeypatch):
    """Numbers allocated: y, L, gq, gk, gv and D, that is T (4 d + 2) for each head."""
    made = []
    real = devices.empty

    def counting(*args):
        made.append(real(*args))
        return made[-1]

    monkeypatch.setattr(devices, "empty", counting)
    for length in (100, 200):
        q, k, v, g = drawn(rng, (1, 1, length, 16), length, FLOAT32)
        made.clear()
        _, pull = fused(q, k, v, causal=True)
        pull(g)
        assert sum(x.size for x in made) == length * (4 * 16 + 2)


@pytest.mark.skipif(INTERPRETED, reason="needs a GPU")
def test_memory_on_the_gpu_is_a_thirtieth_of_the_scores():
    """16,384 queries and keys of one head: the scores alone would be 1 GiB. Allowed is 32 MiB."""
    cupy = devices.cupy()
    pool = cupy.get_default_memory_pool()
    q = cupy.ones((1, 1, 1 << 14, 64), np.float16)
    before = pool.used_bytes()
    limit, seen = 32 << 20, []
    y, pull = fused(q, q, q, causal=True)
    seen.append(pool.used_bytes() - before)
    grads = pull(y)
    seen.append(pool.used_bytes() - before)
    assert max(seen) < limit
    del grads


def test_one_launch_forward_and_one_or_two_back(rng, monkeypatch):
    """One forward; one backward where all fits a tile, else two."""
    names = []
    real = attention.Call.start

    def counting(self, name, *rest):
        names.append(name)
        real(self, name, *rest)

    monkeypatch.setattr(attention.Call, "start", counting)
    for length, backward in ((6, ["one tile"]), (150, ["queries", "keys"])):
        q, k, v, g = drawn(rng, (1, 1, length, 16), length, FLOAT32)
        names.clear()
        fused(q, k, v)[1](g)
        assert names == ["forward", *backward]


# --- what is left to the plain op -----------------------------------------------------------------
def reason(*args, **how):
    answer = fused(*args, **how)
    return answer.reason if isinstance(answer, Declined) else None


def test_what_is_not_served_is_declined_with_a_reason(rng):
    q, k, v, _ = drawn(rng, (2, 2, 5, 16), 7, FLOAT32)
    key_mask = to_device(np.ones((2, 1, 1, 7), bool))
    assert reason(q, k, v, key_mask) is None
    assert reason(q, k, v, return_weights=True) == "weights asked for"
    assert reason(q, k, v, scale=0.0) == "a scale that is not positive"
    double = [x.astype(np.float64) for x in (q, k, v)]
    assert reason(*double) == "float64"
    assert reason(q, k, v.astype(np.float16)) == "dtypes"
    assert reason(q[0], k, v) == "leading axes that broadcast"
    assert reason(q, k[:, :1], v[:, :1]) == "leading axes that broadcast"
    assert reason(q[..., :8], k, v) == "shapes"
    assert reason(q, k, v[..., :8]) == "shapes"
    assert reason(q, k[:, :, :3], v) == "shapes"
    assert reason(q[:, :, :0], k, v) == "empty"
    assert reason(q, k[:, :, :0], v[:, :, :0]) == "empty"
    assert reason(q[0, 0], k[0, 0], v[0, 0], alibi=True) == "no axis of heads"
    wide = [np.concatenate([x] * 9, axis=-1) for x in (q, k, v)]
    assert reason(*wide) == "head size 144"
    masks = [(5, 7), (2, 2, 1, 7), (2, 1, 5, 1), (3, 1, 1, 7), (2, 1, 1, 5), (1, 2, 1, 1, 7), ()]
    for shape in masks:
        mask = to_device(np.ones(shape, bool))
        assert reason(q, k, v, mask) == "a mask that differs between queries or heads", shape
    floating = key_mask.astype(np.float32)
    assert reason(q, k, v, floating) == "a floating point mask"


@pytest.mark.skipif(not INTERPRETED, reason="an array that takes no memory")
def test_too_large_to_count_in_32_bits():
    one = np.zeros(1, np.float32)
    long = np.lib.stride_tricks.as_strided(one, (1, 1, 1 << 27, 16), (0, 0, 64, 4))
    assert reason(long[:, :, :4], long, long) == "too large"


# --- tiles ----------------------------------------------------------------------------------------
def test_there_is_a_tile_for_everything():
    kinds = "half", "wgmma", "tf32", "ieee"
    for name, kind, d in itertools.product(attention.KERNELS, kinds, range(1, 129)):
        known = attention.tiles(name, kind, d)
        assert len({*known}) == len(known)
        assert known[-1][:2] == (16, 16)
        assert len(known) == 1 or d % 16 == 0


def test_the_default_tile_is_not_larger_than_the_data(rng):
    for length, largest in ((1, 16), (16, 16), (17, 32), (33, 64), (1000, 64)):
        q, k, v, _ = drawn(rng, (1, 1, length, 16), length, FLOAT16)
        call = attention.Call(q, k, v, None, False, False, 1.0)
        for name in ("forward", "queries", "keys"):
            tile = call.tiles(name)[0]
            assert max(tile.queries, tile.keys) <= max(largest, 16)
            assert call.tiles(name) != []


def test_the_interpreter_takes_the_default(monkeypatch):
    monkeypatch.setattr(tune, "INTERPRETED", True)
    assert tune.choose(("x",), [(1,), (2,)], None) == (1,)
