"""Where the heads of attention lie: BLAS reads and writes them in place."""

import numpy as np
import pytest
from kernel_checks import ran

import minigrad as mg
from minigrad.joining import neighbours
from minigrad.ops import scaled_dot_product_attention

SHAPE = B, T, H, D = 16, 5, 4, 32


def heads_of(product, parts):
    """(B, T, parts H D) as so many views (B, H, T, D)."""
    return [a.reshape(SHAPE).swapaxes(1, 2) for a in np.split(product, parts, axis=-1)]


@pytest.mark.parametrize("together", ["q k v", "k v", ""])
def test_gradients_lie_side_by_side_where_the_arguments_do(together, rng):
    drawn = rng.standard_normal((B, T, 3 * H * D)).astype(np.float32)
    q, k, v = heads_of(drawn, 3)
    if together != "q k v":
        q = q.copy()
    if not together:
        k = k.copy()
    with ran("scaled_dot_product_attention"):
        _, pull = scaled_dot_product_attention.op.run(q, k, v)
        grads = pull(np.ones_like(q))[:3]
    assert (neighbours(grads, 1) is not None) == (together == "q k v")
    assert (neighbours(grads[1:], 1) is not None) == bool(together)
    _, pull = scaled_dot_product_attention.op.body(q.copy(), k.copy(), v.copy())
    for g, h in zip(grads, pull(np.ones_like(q))[:3], strict=True):
        assert np.allclose(g, h, atol=1e-5)


@pytest.mark.parametrize("change", ["every other", "reversed", "one for all"])
def test_rows_that_blas_cannot_read_are_copied(change, rng):
    """Every other number, rows from the last to the first, and one row for all places."""
    x = rng.standard_normal((B, H, 2 * T, 2 * D)).astype(np.float32)
    views = {
        "every other": x[:, :, :T, ::2],
        "reversed": x[:, :, T - 1 :: -1, :D],
        "one for all": np.broadcast_to(x[:, :, :1, :D], (B, H, T, D)),
    }
    q = views[change]
    with ran("scaled_dot_product_attention"):
        y = mg.scaled_dot_product_attention(mg.Tensor(q), mg.Tensor(q), mg.Tensor(q), causal=True)
    wanted = mg.scaled_dot_product_attention(*[mg.Tensor(q.astype(np.float64))] * 3, causal=True)
    assert np.allclose(y.data, wanted.data, atol=1e-4)
