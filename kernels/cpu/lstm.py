"""The LSTM, whole layers at a time: each core takes its share of the batch through all steps.

The equations are those of `minigrad.ops.lstm`. Sequences of a batch do not meet before the loss,
so the cores meet only at the end, where their parts of the gradients of the weights are added.
Here the batch is the first axis: a row (i, f, g, o) of 4H numbers stays in the innermost cache
through all passes over it.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numba import prange

from kernels.cpu.blas import AS_IS, ROW_MAJOR, TRANSPOSED, sgemm
from kernels.cpu.compiled import compiled, inner, parts_for, rows_of, share, unfit
from kernels.cpu.functions import sigmoid, tanh
from minigrad import ops
from minigrad.kernel import Declined, kernel
from minigrad.ops.lstm import _lstm, check_cell

ZERO, ONE = np.float32(0.0), np.float32(1.0)


# --- one row ----------------------------------------------------------------------------------
@inner
def sigmoids(z):
    for j in range(z.size):
        z[j] = sigmoid(z[j])


@inner
def tanhs(x, y):
    for j in range(x.size):
        y[j] = tanh(x[j])


@inner
def new_cell(i, f, g, c_prev, c):
    for j in range(c.size):
        c[j] = f[j] * c_prev[j] + i[j] * g[j]


@inner
def multiply(a, b, y):
    for j in range(y.size):
        y[j] = a[j] * b[j]


@inner
def row_forward(z, c_prev, c, t, h):
    """z (4H,) becomes the gates; fills c, t = tanh(c) and h."""
    n = c.size
    sigmoids(z[: 2 * n])
    tanhs(z[2 * n : 3 * n], z[2 * n : 3 * n])
    sigmoids(z[3 * n :])
    new_cell(z[:n], z[n : 2 * n], z[2 * n : 3 * n], c_prev, c)
    tanhs(c, t)
    multiply(z[3 * n :], t, h)


@inner
def through_output(o, t, dh, dc):
    """dc += dh o (1 - t²)"""
    for j in range(dc.size):
        dc[j] += dh[j] * o[j] * (ONE - t[j] * t[j])


@inner
def through_sigmoid(a, x, d, dz):
    """dz = d x a (1 - a)"""
    for j in range(a.size):
        dz[j] = d[j] * x[j] * (a[j] - a[j] * a[j])


@inner
def through_tanh(g, i, dc, dz):
    """dz = dc i (1 - g²)"""
    for j in range(g.size):
        dz[j] = dc[j] * i[j] * (ONE - g[j] * g[j])


@inner
def row_backward(gates, c_prev, t, dh, dc, dz):
    """Fills dz (4H,); dc becomes dc'."""
    n = dc.size
    i, f, g, o = gates[:n], gates[n : 2 * n], gates[2 * n : 3 * n], gates[3 * n :]
    through_output(o, t, dh, dc)
    through_sigmoid(i, g, dc, dz[:n])
    through_sigmoid(f, c_prev, dc, dz[n : 2 * n])
    through_tanh(g, i, dc, dz[2 * n : 3 * n])
    through_sigmoid(o, t, dh, dz[3 * n :])
    multiply(dc, f, dc)


@inner
def add_to(y, x):
    for j in range(y.size):
        y[j] += x[j]


# --- one layer --------------------------------------------------------------------------------
@compiled(
    "void(f4[:, :, ::1], f4[:, ::1], f4[:, ::1], f4[::1], b1,"
    "f4[:, :, ::1], f4[:, :, ::1], f4[:, :, ::1], f4[:, :, ::1], i8)"
)
def layer_forward(x, w_ih, w_hh, bias, from_zero, gates, cells, tanh_c, hidden, parts):
    """x (T, B, D); fills gates (T, B, 4H), tanh_c (T, B, H), cells and hidden (T + 1, B, H)."""
    steps, batch, width = x.shape
    size = tanh_c.shape[2]
    for part in prange(parts):
        low, high = share(batch, parts, part)
        for t in range(steps):
            for b in range(low, high):
                gates[t, b, :] = bias
            sgemm(
                ROW_MAJOR, AS_IS, TRANSPOSED, high - low, 4 * size, width,
                ONE, x[t, low:high].ctypes, width, w_ih.ctypes, width,
                ONE, gates[t, low:high].ctypes, 4 * size,
            )  # fmt: skip
            if t or not from_zero:
                sgemm(
                    ROW_MAJOR, AS_IS, TRANSPOSED, high - low, 4 * size, size,
                    ONE, hidden[t, low:high].ctypes, size, w_hh.ctypes, size,
                    ONE, gates[t, low:high].ctypes, 4 * size,
                )  # fmt: skip
            for b in range(low, high):
                row_forward(
                    gates[t, b], cells[t, b], cells[t + 1, b], tanh_c[t, b], hidden[t + 1, b]
                )


@compiled(
    "void(f4[:, :, ::1], f4[:, ::1], f4[:, ::1], b1,"
    "f4[:, :, ::1], f4[:, :, ::1], f4[:, :, ::1], f4[:, :, ::1],"
    "f4[:, :, ::1], f4[:, ::1], f4[:, ::1], f4[:, ::1],"
    "f4[:, :, ::1], f4[:, :, ::1], f4[:, :, ::1], f4[:, ::1], i8)"
)
def layer_backward(
    x, w_ih, w_hh, from_zero, gates, cells, tanh_c, hidden,
    dy, dh, dc, dz, dx, dw_ih, dw_hh, db, parts,
):  # fmt: skip
    """From dy (T, B, H), dh and dc (B, H) to dx, dw_ih, dw_hh, db, the last three a part each.

    dh and dc become the gradients of the first state; dz (B, 4H) is space to work in.
    """
    steps, batch, width = x.shape
    size = tanh_c.shape[2]
    for part in prange(parts):
        low, high = share(batch, parts, part)
        rows = high - low
        for t in range(steps - 1, -1, -1):
            for b in range(low, high):
                add_to(dh[b], dy[t, b])
                row_backward(gates[t, b], cells[t, b], tanh_c[t, b], dh[b], dc[b], dz[b])
                add_to(db[part], dz[b])
            sgemm(
                ROW_MAJOR, AS_IS, AS_IS, rows, width, 4 * size,
                ONE, dz[low:high].ctypes, 4 * size, w_ih.ctypes, width,
                ZERO, dx[t, low:high].ctypes, width,
            )  # fmt: skip
            sgemm(
                ROW_MAJOR, TRANSPOSED, AS_IS, 4 * size, width, rows,
                ONE, dz[low:high].ctypes, 4 * size, x[t, low:high].ctypes, width,
                ONE, dw_ih[part].ctypes, width,
            )  # fmt: skip
            if t or not from_zero:
                sgemm(
                    ROW_MAJOR, AS_IS, AS_IS, rows, size, 4 * size,
                    ONE, dz[low:high].ctypes, 4 * size, w_hh.ctypes, size,
                    ZERO, dh[low:high].ctypes, size,
                )  # fmt: skip
                sgemm(
                    ROW_MAJOR, TRANSPOSED, AS_IS, 4 * size, size, rows,
                    ONE, dz[low:high].ctypes, 4 * size, hidden[t, low:high].ctypes, size,
                    ONE, dw_hh[part].ctypes, size,
                )  # fmt: skip


# --- the ops ----------------------------------------------------------------------------------
class Layer(NamedTuple):
    """What one layer keeps for the way back."""

    x: Any  # (T, B, D)
    w_ih: Any
    w_hh: Any
    from_zero: bool  # h0 = 0, so that the first step has no product with w_hh
    gates: Any  # (T, B, 4H)
    cells: Any  # (T + 1, B, H), c0 first
    tanh_c: Any  # (T, B, H)
    hidden: Any  # (T + 1, B, H), h0 first


def forward(x: Any, h0: Any, c0: Any, w_ih: Any, w_hh: Any, b_ih: Any, b_hh: Any) -> Layer:
    steps, batch, _ = x.shape
    size = w_hh.shape[1]
    layer = Layer(
        rows_of(x), rows_of(w_ih), rows_of(w_hh), h0 is None,
        *(np.empty((n, batch, m), np.float32) for n, m in (
            (steps, 4 * size), (steps + 1, size), (steps, size), (steps + 1, size),
        )),
    )  # fmt: skip
    layer.hidden[0] = 0.0 if h0 is None else h0
    layer.cells[0] = 0.0 if c0 is None else c0
    bias = np.zeros(4 * size, np.float32)
    for b in (b_ih, b_hh):
        if b is not None:
            bias += b
    layer_forward(*layer[:3], bias, *layer[3:], parts_for(layer.gates.size))
    return layer


def backward(layer: Layer, dy: Any, dh: Any, dc: Any) -> tuple[Any, ...]:
    """dx, dh0, dc0, dw_ih, dw_hh, db; dh and dc, the gradients of the last state, are reused."""
    steps, batch, width = layer.x.shape
    size = layer.tanh_c.shape[2]
    parts = parts_for(layer.gates.size)
    dz, dx = np.empty((batch, 4 * size), np.float32), np.empty((steps, batch, width), np.float32)
    sums = [
        np.zeros((parts, *s), np.float32)
        for s in ((4 * size, width), (4 * size, size), (4 * size,))
    ]
    layer_backward(*layer, rows_of(dy), dh, dc, dz, dx, *sums, parts)
    return dx, dh, dc, *(s[0] if parts == 1 else s.sum(axis=0) for s in sums)


@kernel(_lstm, device="cpu")
def lstm(x: Any, h0: Any, c0: Any, *weights: Any) -> Any:
    if why := unfit(x, h0, c0, *weights):
        return why
    count = len(weights) // 4
    if x.ndim != 3 or 0 in x.shape or len(weights) != 4 * count or not count:
        return Declined("shapes")
    if any(a is not None and len(a) != count for a in (h0, c0)):
        return Declined("shapes")
    layers: list[Layer] = []
    y = x
    for n in range(count):
        w_hh = weights[4 * n + 1]
        state = [None if a is None else a[n] for a in (h0, c0)]
        filler = np.broadcast_to(np.float32(0.0), (x.shape[1], w_hh.shape[1]))
        check_cell(y[0], *(filler if s is None else s for s in state), *weights[4 * n : 4 * n + 4])
        layers.append(forward(y, *state, *weights[4 * n : 4 * n + 4]))
        y = layers[-1].hidden[1:]
    last_h = np.stack([layer.hidden[-1] for layer in layers])
    last_c = np.stack([layer.cells[-1] for layer in layers])

    def pull(g: Any) -> tuple[Any, ...]:
        dy, dh, dc = g[0], np.array(g[1]), np.array(g[2])
        grads: list[Any] = []
        for n in reversed(range(count)):
            dy, dh[n], dc[n], dw_ih, dw_hh, db = backward(layers[n], dy, dh[n], dc[n])
            bias = [None if b is None else db for b in weights[4 * n + 2 : 4 * n + 4]]
            grads[:0] = [dw_ih, dw_hh, *bias]
        return dy, None if h0 is None else dh, None if c0 is None else dc, *grads

    return (y, last_h, last_c), pull


@kernel(ops.lstm_cell, device="cpu")
def lstm_cell(
    x: Any, h: Any, c: Any, weight_ih: Any, weight_hh: Any, bias_ih: Any = None, bias_hh: Any = None
) -> Any:
    if why := unfit(x, h, c, weight_ih, weight_hh, bias_ih, bias_hh):
        return why
    check_cell(x, h, c, weight_ih, weight_hh, bias_ih, bias_hh)
    layer = forward(x[None], h, c, weight_ih, weight_hh, bias_ih, bias_hh)

    def pull(g: Any) -> tuple[Any, ...]:
        nothing = np.zeros((1, *h.shape), np.float32)
        dx, dh, dc, *rest, db = backward(layer, nothing, np.array(g[0]), np.array(g[1]))
        return dx[0], dh, dc, *rest, db, db

    return (layer.hidden[1], layer.cells[1]), pull
