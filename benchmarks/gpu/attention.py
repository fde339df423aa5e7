"""Times of attention in long and short sequences, compared with PyTorch's."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from benchmarks.gpu.clock import by_the_gpu, by_the_wall, replayed
from benchmarks.gpu.parity import GPU, dtypes
from benchmarks.gpu.rows import Row, at_least, at_most, left_out
from benchmarks.sides import Unavailable
from minigrad import device as devices

TOKENS, HIDDEN = 16 << 10, 2048  # as in the published measurements of FlashAttention
LONG, HEADS = (4096, 16_384), (64, 128)
GOALS = {(64, False): 360, (128, False): 380, (64, True): 250, (128, True): 280}  # TFLOP/s
SHORT = ((480, 4, 6, 32), (64, 8, 16, 64), (32, 6, 64, 64), (32, 6, 256, 64))  # (B, H, T, d)


def flops(shape: tuple[int, ...], backward: bool) -> float:
    """Operations of causal attention, counted as for FlashAttention: half of 4 T² d per head; the
    backward pass, with five products instead of two, adds 2.5 times that."""
    batch, heads, T, d = shape
    return 2.0 * batch * heads * T * T * d * (3.5 if backward else 1.0)


def ours(shape: tuple[int, ...], dtype: Any, backward: bool) -> Callable[[], Any]:
    """The kernels on random q, k, v, (B, T, heads, d) in memory, as projections return them."""
    from kernels.cuda.attention import scaled_dot_product_attention as kernel

    batch, heads, T, d = shape
    rng = np.random.default_rng(0)

    def draw() -> Any:
        one = rng.standard_normal((1, T, heads, d)).astype(np.float16).astype(dtype)
        return devices.move(np.tile(one, (batch, 1, 1, 1)), GPU).swapaxes(1, 2)

    q, k, v, g = (draw() for _ in range(4))

    def call() -> Any:
        result = kernel(q, k, v, causal=True)
        if not isinstance(result, tuple):
            raise RuntimeError(f"left to the plain op: {result.reason}")
        y, pull = result
        return (y, pull(g)) if backward else y

    return call


def theirs(shape: Any, dtype: Any, backward: bool) -> tuple[dict[str, Any], list[Row]]:
    """PyTorch's attention by each backend that supports this, and a row for each other."""
    from benchmarks.gpu import peers

    calls: dict[str, Any] = {}
    rows: list[Row] = []
    for backend in (*peers.BACKENDS, None):
        name = f"SDPA {backend or 'default'}"
        try:
            calls[name] = peers.attention(shape, dtype.name, backend, backward)
        except Unavailable as reason:
            rows.append(left_out(name, reason))
    return calls, rows


def pytorch() -> Iterator[Row]:
    """A row that says why PyTorch is not compared, if it cannot be."""
    try:
        importlib.import_module("benchmarks.gpu.peers")
    except ImportError as error:
        yield left_out("PyTorch's attention", error)


def long() -> Iterator[Row]:
    """16k tokens of 2,048 numbers, causal, 16 bits: TFLOP/s."""
    dtype = dtypes()[-1]
    yield from (missing := list(pytorch()))
    for T in LONG:
        for d in HEADS:
            shape = (TOKENS // T, HIDDEN // d, T, d)
            for backward in (False, True):
                way = "forward + backward" if backward else "forward"
                what = f"{dtype} {way}, T {T:,}, heads of {d}"
                peers, unserved = ({}, []) if missing else theirs(shape, dtype, backward)
                yield from unserved
                times = by_the_gpu({"ours": ours(shape, dtype, backward), **peers}, turns=5)
                speed = {n: flops(shape, backward) / ms / 1e9 for n, ms in times.items()}
                for name in peers:
                    yield Row(f"{what}: {name}", f"{speed[name]:.0f} TFLOP/s", numbers=speed)
                yield at_least(what, speed["ours"], GOALS[d, backward], " TFLOP/s", **speed)


def short() -> Iterator[Row]:
    """Short sequences, as in the experiments: launches, and microseconds in a CUDA graph."""
    yield from (missing := list(pytorch()))
    for dtype in (dtypes()[0], dtypes()[-1]):
        for shape in SHORT:
            for backward in (False, True):
                yield from short_one(shape, dtype, backward, with_pytorch=not missing)


def short_one(
    shape: tuple[int, int, int, int], dtype: Any, backward: bool, *, with_pytorch: bool
) -> Iterator[Row]:
    """The rows of one shape. with_pytorch: also time PyTorch."""
    way = "forward + backward" if backward else "forward"
    what = f"{dtype} {way}, (B, H, T, d) = {shape}"
    call = ours(shape, dtype, backward)
    call()  # compiles
    yield at_most(f"{what}: launches", launches(call), 3 if backward else 1, "")
    graphs = {"ours": replayed(call)}
    if with_pytorch:
        from benchmarks.gpu import peers

        try:
            step = peers.attention(shape, dtype.name, None, backward)
            graphs["PyTorch"] = peers.replayed(step)
        except (Unavailable, RuntimeError) as reason:
            yield left_out(f"{what}: PyTorch", reason)
    times = {
        name: 50 * ms for name, ms in by_the_wall(graphs, each=10).items()
    }  # µs, 20 calls per graph
    yield Row(what, f"{times['ours']:.1f} µs", numbers=times)
    if "PyTorch" in times:
        yield at_least(f"{what}: PyTorch / ours", times["PyTorch"] / times["ours"], 1, "×", **times)


def launches(call: Callable[[], Any]) -> int:
    """The number of minigrad's kernels that a call launches."""
    from kernels.cuda import attention

    count, start = 0, attention.launch

    def counted(*args: Any, **kwargs: Any) -> None:
        nonlocal count
        count += 1
        start(*args, **kwargs)

    attention.launch = counted
    try:
        call()
    finally:
        attention.launch = start
    return count
