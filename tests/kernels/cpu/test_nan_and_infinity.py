"""NaN and infinity go through the CPU kernels as through the plain ops."""

import numpy as np
import pytest
from kernel_cases import TAKEN
from kernel_checks import computed, drawn, flat, ran, with_flat
from op_checks import each, is_float

import minigrad as mg
from experiments.grokking.paths import path_attention


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@each([c for c in TAKEN if c.number != 100])
def test_nan_and_infinity_go_where_the_plain_op_lets_them(case, bad, rng):
    """With one bad number in the first, a middle or the last place of each argument in turn.

    NaN gives NaN in the same places. So does infinity, but for gradients in which a kernel
    multiplies in another order: there the places that are not finite are the same.

    One difference is meant: the plain ops multiply NaN by 0 and pass it on, in attention through
    hidden scores to later keys. Kernels leave out what is hidden.
    """
    arrays, cs = drawn(case, rng)
    given = flat(arrays)
    hides = case.kwargs.get("causal", False) or any(a.dtype == bool for a in given)
    places = [
        (n, i)
        for n, a in enumerate(given)
        if is_float(a) and a.size
        for i in sorted({0, a.size // 2, a.size - 1})
    ]
    for n, i in places:
        changed = given[n].copy()
        changed.reshape(-1)[i] = bad
        args = with_flat(arrays, [*given[:n], changed, *given[n + 1 :]])
        with np.errstate(all="ignore"):
            (ys, gs), (zs, hs) = (computed(case, args, cs, on) for on in (True, False))
        where = np.isnan if np.isnan(bad) else lambda a: ~np.isfinite(a)
        for m, (y, z) in enumerate(zip(ys, zs, strict=True)):
            left_out = (hides and m > 0) & ~np.isnan(y)  # hidden weights
            same = np.isnan(y) == np.isnan(z)
            assert (same | left_out).all(), f"value {m}, argument {n}, place {i}"
        for m, (g, h) in enumerate(zip(gs, hs, strict=True)):
            left_out = (hides and m > 0) & ~where(g)
            same = where(g) == where(h)
            assert (same | left_out).all(), f"gradient {m}, argument {n}, place {i}"


def test_a_query_of_nan_is_not_taken_for_one_that_sees_nothing():
    """Its scores have no maximum, as those of no keys have none."""
    q = np.ones((1, 1, 3, 2), np.float32)
    q[0, 0, 1:] = np.nan
    k = mg.Tensor(np.ones((1, 1, 2, 2), np.float32))
    with ran("scaled_dot_product_attention"):
        y = mg.scaled_dot_product_attention(mg.Tensor(q), k, k, causal=True)
    assert np.isnan(y.data[0, 0]).tolist() == [[False, False], [True, True], [True, True]]
    q, k = q[0].swapaxes(0, 1), mg.Tensor(np.ones((2, 1, 2), np.float32))
    with ran("path_attention"):
        y = path_attention(mg.Tensor(q), k, k, np.array([[-1, -1], [0, -1], [1, 0]]))
    assert np.isnan(y.data[:, 0]).tolist() == [[False, False], [True, True], [True, True]]


@pytest.mark.parametrize("on", [False, True], ids=["plain", "kernel"])
@pytest.mark.parametrize("keys", [0, 1])
def test_a_query_that_lists_no_key_reads_none(keys, on):
    """Whether there is none, or one that is NaN; its gradient is 0."""
    q = mg.tensor(np.ones((2, 1, 3), np.float32), requires_grad=True)
    k = mg.tensor(np.full((keys, 1, 3), np.nan, np.float32), requires_grad=True)
    with mg.use_kernels(on):
        y = path_attention(q, k, k, np.full((2, 2), -1))
        y.sum().backward()
    assert y.tolist() == q.grad.tolist() == [[[0.0] * 3]] * 2
    assert k.grad.tolist() == [[[0.0] * 3]] * keys
