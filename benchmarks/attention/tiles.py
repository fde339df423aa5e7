"""Heads of causal attention in Triton, in tiles of B queries and B keys, after FlashAttention-2.

q, k, v, g, y: (H, T, D) float32 in C order, lse: (H, T); B divides T.
`TRITON_INTERPRET=1 python -m benchmarks.attention.tiles` compares them with the loops and with
minigrad on NumPy arrays; without the variable, on a GPU.
"""

import numpy as np
import triton
import triton.language as tl

from benchmarks.attention import loops
from benchmarks.attention.agreement import same
from experiments.sweep import cli
from kernels.cuda.launch import INTERPRETED, launch
from minigrad import device as devices

PROG = "python -m benchmarks.attention.tiles"
NAMES = "y", "gq", "gk", "gv"
B = 32  # queries, and keys, of a tile


@triton.jit
def at(rows, D: tl.constexpr):
    """Where these rows of D numbers are in memory."""
    return rows[:, None] * D + tl.arange(0, D)[None, :]


@triton.jit
def product(a, b):
    """With all digits of float32, and not with the three of TF32."""
    return tl.dot(a, b, input_precision="ieee")


@triton.jit
def forward_kernel(q, k, v, y, lse, T, D: tl.constexpr, B: tl.constexpr):
    head = tl.program_id(1) * T
    i = tl.program_id(0) * B + tl.arange(0, B)
    query = tl.load(q + at(head + i, D))
    o = tl.zeros((B, D), tl.float32)
    z = tl.zeros((B,), tl.float32)
    top = tl.full((B,), float("-inf"), tl.float32)
    for first in range(0, (tl.program_id(0) + 1) * B, B):
        j = first + tl.arange(0, B)
        s = product(query, tl.trans(tl.load(k + at(head + j, D)))) * D**-0.5
        s = tl.where(j[None, :] <= i[:, None], s, float("-inf"))
        new = tl.maximum(top, tl.max(s, 1))
        e = tl.exp(s - new[:, None])
        old = tl.exp(top - new)  # what the sums so far shrink by
        z = z * old + tl.sum(e, 1)
        o = o * old[:, None] + product(e, tl.load(v + at(head + j, D)))
        top = new
    tl.store(y + at(head + i, D), o / z[:, None])
    tl.store(lse + head + i, top + tl.log(z))


def forward(q, k, v):
    H, T, D = q.shape
    y, lse = np.empty_like(v), np.empty_like(q, shape=(H, T))
    launch(forward_kernel, (T // B, H), (q, k, v, y, lse, T), {"D": D, "B": B})
    return y, lse


@triton.jit
def weights(a, b, c, d, seen, lse, delta, scale: tl.constexpr):
    """p and gs of a tile: from the scores a bᵀ, and gp = c dᵀ."""
    p = tl.where(seen, tl.exp(product(a, tl.trans(b)) * scale - lse), 0.0)
    return p, p * (product(c, tl.trans(d)) - delta) * scale


@triton.jit
def queries_kernel(q, k, v, g, lse, delta, gq, T, D: tl.constexpr, B: tl.constexpr):
    """gq of a tile of queries, from all keys that they see."""
    head = tl.program_id(1) * T
    i = tl.program_id(0) * B + tl.arange(0, B)
    query, cotangent = tl.load(q + at(head + i, D)), tl.load(g + at(head + i, D))
    lse_i = tl.load(lse + head + i)[:, None]
    delta_i = tl.load(delta + head + i)[:, None]
    query_sum = tl.zeros((B, D), tl.float32)
    for first in range(0, (tl.program_id(0) + 1) * B, B):
        j = first + tl.arange(0, B)
        key, value = tl.load(k + at(head + j, D)), tl.load(v + at(head + j, D))
        seen = j[None, :] <= i[:, None]
        _, gs = weights(query, key, cotangent, value, seen, lse_i, delta_i, D**-0.5)
        query_sum += product(gs, key)
    tl.store(gq + at(head + i, D), query_sum)


@triton.jit
def keys_kernel(q, k, v, g, lse, delta, gk, gv, T, D: tl.constexpr, B: tl.constexpr):
    """gk and gv of a tile of keys, from all queries that see them."""
    head = tl.program_id(1) * T
    j = tl.program_id(0) * B + tl.arange(0, B)
    key, value = tl.load(k + at(head + j, D)), tl.load(v + at(head + j, D))
    key_sum = tl.zeros((B, D), tl.float32)
    value_sum = tl.zeros((B, D), tl.float32)
    for first in range(tl.program_id(0) * B, T, B):
        i = first + tl.arange(0, B)
        query, cotangent = tl.load(q + at(head + i, D)), tl.load(g + at(head + i, D))
        lse_i = tl.load(lse + head + i)[None, :]
        delta_i = tl.load(delta + head + i)[None, :]
        seen = j[:, None] <= i[None, :]  # a tile is keys × queries, as its sums need it
        p, gs = weights(key, query, value, cotangent, seen, lse_i, delta_i, D**-0.5)
        key_sum += product(gs, query)
        value_sum += product(p, cotangent)
    tl.store(gk + at(head + j, D), key_sum)
    tl.store(gv + at(head + j, D), value_sum)


def backward(q, k, v, g, y, lse):
    H, T, D = q.shape
    delta = (g * y).sum(axis=2)
    gq, gk, gv = np.empty_like(q), np.empty_like(k), np.empty_like(v)
    grid, sizes = (T // B, H), {"D": D, "B": B}
    launch(queries_kernel, grid, (q, k, v, g, lse, delta, gq, T), sizes)
    launch(keys_kernel, grid, (q, k, v, g, lse, delta, gk, gv, T), sizes)
    return gq, gk, gv


def main() -> None:
    """Compare two heads with the loops and with minigrad."""
    heads = np.random.default_rng(0).standard_normal((4, 2, 3 * B, 16), np.float32)
    device = "cpu" if INTERPRETED else devices.parse("cuda")
    q, k, v, g = (devices.move(x, device) for x in heads)
    y, lse = forward(q, k, v)
    found = [devices.to_numpy(x) for x in (y, *backward(q, k, v, g, y, lse))]
    lists = heads.swapaxes(0, 1).tolist()
    by_loops = [*zip(*([loops.forward(*x[:3]), *loops.backward(*x)] for x in lists), strict=True)]
    print("in Triton's interpreter:" if INTERPRETED else "on the GPU:")
    both = zip(NAMES, same(found, heads, by_loops), same(found, heads), strict=True)
    for name, of_loops, of_minigrad in both:
        print(f"{name:2} is that of the loops: {of_loops}, of minigrad: {of_minigrad}")


if __name__ == "__main__":
    with cli.one_line(PROG):
        main()
