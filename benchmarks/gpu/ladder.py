"""Plain ops and kernels: bytes, operations, the lower bound of the time, and the measured time.

    python -m benchmarks.gpu.ladder      the bounds for an H200, which need no GPU

A kernel takes at least the time that its bytes need at the memory's bandwidth, and the time of its
operations at peak speed. Only bytes that must move are counted: every array read or written, once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache, partial
from typing import Any, NamedTuple

import numpy as np

import minigrad as mg
from benchmarks.gpu.clock import by_the_gpu
from benchmarks.gpu.rows import Row, left_out
from minigrad import Tensor, optim
from minigrad import device as devices

GPU = "cuda:0"
# NVIDIA H200 (SXM), data sheet, without sparsity
BYTES_A_SECOND = 4.8e12
OPERATIONS_A_SECOND = {"float32": 67e12, "TF32": 494e12, "16 bits": 989e12}


class Rung(NamedTuple):
    """One way to compute something.

    kind: the kind of numbers in its products, a key of OPERATIONS_A_SECOND.
    make: returns a call to be timed, on the GPU.
    """

    name: str
    bytes: float
    operations: float
    kind: str
    make: Callable[[], Callable[[], Any]]

    def bound(self) -> tuple[float, str]:
        """The least milliseconds on an H200, and what limits: "memory" or "products"."""
        memory = 1e3 * self.bytes / BYTES_A_SECOND
        products = 1e3 * self.operations / OPERATIONS_A_SECOND[self.kind]
        return max((memory, "memory"), (products, "products"))


# --- attention ------------------------------------------------------------------------------------
SHAPE = B, H, T, D = 4, 32, 4096, 64


def attention() -> Iterator[Rung]:
    """Forward, causal, 16k tokens of 2,048 numbers."""
    numbers, scores = B * H * T * D, B * H * T * T
    products = 4.0 * scores * D
    # passes of the plain op over all scores: product 1, scale 2, mask 2, maximum 1, difference 2,
    # exponential 2, sum 1, quotient 2, product 1
    plain = 4.0 * (4 * numbers + 14 * scores)
    yield Rung("attention, plain op", plain, products, "float32", partial(attend, "plain"))
    for kind, size in (("float32", 4), ("TF32", 4), ("16 bits", 2)):
        moved = 4.0 * size * numbers + 4 * B * H * T  # q, k, v, y, and one number per query
        name = f"attention, kernel, {kind}"
        yield Rung(name, moved, products / 2, kind, partial(attend, kind))


def attend(kind: str) -> Callable[[], Any]:
    from benchmarks.gpu.attention import ours
    from benchmarks.gpu.parity import dtypes
    from kernels.cuda import attention as module
    from minigrad import ops

    if kind == "plain":
        x = random(*SHAPE)
        body = ops.scaled_dot_product_attention.op.body
        return lambda: body(x, x, x, causal=True)
    call = ours(SHAPE, dtypes()[-1 if kind == "16 bits" else 0], backward=False)

    def step() -> Any:
        before, module.TF32 = module.TF32, kind == "TF32"
        try:
            return call()
        finally:
            module.TF32 = before

    return step


# --- the fused kernels ----------------------------------------------------------------------------
ROWS, COLUMNS = 16_384, 4096
N = ROWS * COLUMNS
# by name: arrays of N numbers read or written, forward and backward, and the op
PASSES: dict[str, tuple[int, Callable[[Any], Any]]] = {
    "gelu": (6, mg.gelu),  # x y y'   g y' gx
    "layer_norm": (5, lambda x: mg.layer_norm(x, None, None)),  # x y   x g gx
    "cross_entropy": (3, lambda x: mg.cross_entropy(x, classes())),  # x   x gx
    "dropout": (4, mg.dropout),  # x y   g gx
}


def fused() -> Iterator[Rung]:
    """Forward and backward on 16,384 × 4,096 float32 numbers; a step of AdamW on as many."""
    for kernels in (False, True):
        for name, (arrays, op) in PASSES.items():
            kind = "kernel" if kernels else "plain op, in the bytes of the kernel"
            make = partial(forward_and_backward, op, kernels)
            yield Rung(f"{name}, {kind}", 4.0 * arrays * N, 0, "float32", make)
        kind = "kernel" if kernels else "plain, in the bytes of the kernel"
        # p m v, read and written, and g
        yield Rung(f"AdamW, {kind}", 4.0 * 7 * N, 0, "float32", partial(adam_step, kernels))


def random(*shape: int) -> Any:
    """Uniform numbers on the GPU."""
    one = np.random.default_rng(0).random(shape[1:], dtype=np.float32)
    return np.broadcast_to(devices.move(one, GPU), shape).copy()


@cache
def classes() -> Tensor:
    return Tensor(devices.move(np.arange(ROWS) % COLUMNS, GPU))


def forward_and_backward(op: Callable[[Any], Any], kernels: bool) -> Callable[[], Any]:
    x = Tensor(random(ROWS, COLUMNS)).requires_grad_()
    g = Tensor(random(ROWS, COLUMNS))

    def step() -> None:
        x.grad = None
        y = op(x)
        y.backward(g if y.ndim else None)

    return switched(step, kernels)


def adam_step(kernels: bool) -> Callable[[], Any]:
    p = Tensor(random(ROWS, COLUMNS)).requires_grad_()
    p.grad = Tensor(random(ROWS, COLUMNS))
    return switched(optim.AdamW([p], lr=1e-3).step, kernels)


def switched(step: Callable[[], Any], kernels: bool) -> Callable[[], Any]:
    def call() -> None:
        with mg.use_kernels(kernels):
            step()

    return call


# --- measurements ---------------------------------------------------------------------------------
def rungs() -> Iterator[Rung]:
    yield from attention()
    yield from fused()


def climb() -> Iterator[Row]:
    """Every rung, measured on this GPU, with the bound for an H200."""
    for rung in rungs():
        bound, why = rung.bound()
        try:
            call = rung.make()
            ms = by_the_gpu({"": call}, turns=3, each=3)[""]
        except MemoryError as error:  # on a smaller GPU
            yield left_out(rung.name, error)
            continue
        text = f"{ms:.3g} ms; H200: {bound:.3g} ms at least, {why}; {100 * bound / ms:.0f} %"
        yield Row(rung.name, text, numbers={"ms": ms, "bound": bound})


def table() -> str:
    """The bounds as a Markdown table."""
    lines = ["| | GB | GFLOP | at least, on an H200 | measured |", "|---|---|---|---|---|"]
    for rung in rungs():
        ms, why = rung.bound()
        gflop = f"{rung.operations / 1e9:,.0f}" if rung.operations else ""
        cells = rung.name, f"{rung.bytes / 1e9:.2f}", gflop, f"{ms:.3g} ms, {why}", "not yet"
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    print(table())
