"""The LSTM, one whole layer at a time: each core computes all steps of its part of the batch.

The equations are those of `minigrad.ops.lstm`. The sequences of a batch are independent, so the
cores synchronize only at the end, to add up the gradients of the weights. Here the batch is the
first axis: a row (i, f, g, o) of 4H numbers stays in the L1 cache through all passes over it.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numba import prange

from kernels.cpu.blas import AS_IS, ROW_MAJOR, TRANSPOSED, sgemm
from kernels.cpu.compiled import compiled, inner, parts_for, rows_of, share, unfit
from kernels.cpu.functions import sigmoid, tanh
from kernels.cpu.rows import add_to, multiply
from minigrad import ops
from minigrad.kernel import Declined, kernel
from minigrad.ops.lstm import _lstm, check_cell, check_layer

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
def sum_of(a, b, y):
    for j in range(y.size):
        y[j] = a[j] + b[j]


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


# --- one layer --------------------------------------------------------------------------------
@compiled(
    "void(f4[:, :, ::1], f4[:, ::1], f4[:, ::1], f4[::1], b1,"
    "f4[:, :, ::1], f4[:, :, ::1], f4[:, :, ::1], f4[:, :, ::1], i8)"
)
def layer_forward(x, w_ih, w_hh, bias, from_zero, gates, cells, tanh_c, hidden, parts):
    """x (T, B, D); or x (T, B, 4H), the products with w_ih, if w_ih has no columns.

    Fills gates (T, B, 4H), tanh_c (T, B, H), cells and hidden (T + 1, B, H).
    """
    steps, batch, size = tanh_c.shape
    width = w_ih.shape[1]
    for part in prange(parts):
        low, high = share(batch, parts, part)
        for t in range(steps):
            for b in range(low, high):
                if width:
                    gates[t, b, :] = bias
                else:
                    sum_of(bias, x[t, b], gates[t, b])
            if width:
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


@inner
def sum_of_part(first, others, part):
    """The array in which a core adds up its part: the result itself for part 0."""
    return first if part == 0 else others[part - 1]


@inner
def add_rows(first, others, low, high):
    for part in range(len(others)):
        for i in range(low, high):
            add_to(first[i], others[part, i])


@compiled(
    "void(f4[:, :, ::1], f4[:, ::1], f4[:, ::1], b1,"
    "f4[:, :, ::1], f4[:, :, ::1], f4[:, :, ::1], f4[:, :, ::1],"
    "f4[:, :, ::1], f4[:, ::1], f4[:, ::1], f4[:, ::1], f4[:, :, ::1],"
    "f4[:, ::1], f4[:, ::1], f4[:, ::1], f4[:, :, ::1], f4[:, :, ::1], f4[:, :, ::1], i8)"
)
def layer_backward(
    x, w_ih, w_hh, from_zero, gates, cells, tanh_c, hidden, dy, dh, dc, space, dx,
    dw_ih, dw_hh, db, others_ih, others_hh, others_b, parts,
):  # fmt: skip
    """From dy (T, B, H), dh and dc (B, H) to dx, dw_ih, dw_hh, and db (1, 4H).

    dh and dc become the gradients of the initial state; space is a buffer (B, 4H). The sums of the
    other cores, others_* (parts - 1, ...), are added at the end.
    """
    steps, batch, size = tanh_c.shape
    width, last = w_ih.shape[1], steps - 1
    for part in prange(parts):
        low, high = share(batch, parts, part)
        n = high - low
        part_ih = sum_of_part(dw_ih, others_ih, part)
        part_hh = sum_of_part(dw_hh, others_hh, part)
        part_b = sum_of_part(db, others_b, part)
        part_b[:] = ZERO
        if from_zero and not last:  # the products below, which would set it, do not run
            part_hh[:] = ZERO
        for t in range(last, -1, -1):
            beta = ZERO if t == last else ONE  # add to the sum of the steps after
            dz = space if width else dx[t]
            for b in range(low, high):
                add_to(dh[b], dy[t, b])
                row_backward(gates[t, b], cells[t, b], tanh_c[t, b], dh[b], dc[b], dz[b])
                add_to(part_b[0], dz[b])
            if width:
                sgemm(
                    ROW_MAJOR, AS_IS, AS_IS, n, width, 4 * size,
                    ONE, dz[low:high].ctypes, 4 * size, w_ih.ctypes, width,
                    ZERO, dx[t, low:high].ctypes, width,
                )  # fmt: skip
                sgemm(
                    ROW_MAJOR, TRANSPOSED, AS_IS, 4 * size, width, n,
                    ONE, dz[low:high].ctypes, 4 * size, x[t, low:high].ctypes, width,
                    beta, part_ih.ctypes, width,
                )  # fmt: skip
            if t or not from_zero:
                sgemm(
                    ROW_MAJOR, AS_IS, AS_IS, n, size, 4 * size,
                    ONE, dz[low:high].ctypes, 4 * size, w_hh.ctypes, size,
                    ZERO, dh[low:high].ctypes, size,
                )  # fmt: skip
                sgemm(
                    ROW_MAJOR, TRANSPOSED, AS_IS, 4 * size, size, n,
                    ONE, dz[low:high].ctypes, 4 * size, hidden[t, low:high].ctypes, size,
                    beta, part_hh.ctypes, size,
                )  # fmt: skip
    for part in prange(parts):
        low, high = share(len(dw_ih), parts, part)
        add_rows(dw_ih, others_ih, low, high)
        low, high = share(len(dw_hh), parts, part)
        add_rows(dw_hh, others_hh, low, high)
    add_rows(db, others_b, 0, 1)


# --- the ops ----------------------------------------------------------------------------------
class Layer(NamedTuple):
    """The arrays that one layer saves for its backward pass."""

    x: Any  # (T, B, D), or (T, B, 4H)
    w_ih: Any  # (4H, D), or without columns
    w_hh: Any
    from_zero: bool  # h0 = 0, so that the first step has no product with w_hh
    gates: Any  # (T, B, 4H)
    cells: Any  # (T + 1, B, H), c0 first
    tanh_c: Any  # (T, B, H)
    hidden: Any  # (T + 1, B, H), h0 first


def forward(x: Any, h0: Any, c0: Any, w_ih: Any, w_hh: Any, b_ih: Any, b_hh: Any) -> Layer:
    (steps, batch), size = x.shape[:2], w_hh.shape[1]
    w_ih = w_hh[:, :0] if w_ih is None else w_ih
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
    """dx, dh0, dc0, dw_ih, dw_hh, db. dh and dc, gradients of the last state, are overwritten."""
    batch, size = layer.tanh_c.shape[1:]
    parts = parts_for(layer.gates.size)
    space, dx = np.empty((batch, 4 * size), np.float32), np.empty_like(layer.x)
    shapes = layer.w_ih.shape, layer.w_hh.shape, (1, 4 * size)
    sums = [np.empty(shape, np.float32) for shape in shapes]
    others = [np.empty((parts - 1, *shape), np.float32) for shape in shapes]
    layer_backward(*layer, rows_of(dy), dh, dc, space, dx, *sums, *others, parts)
    dw_ih, dw_hh, db = sums
    return dx, dh, dc, dw_ih, dw_hh, db[0]


@kernel(_lstm, device="cpu")
def lstm(x: Any, h0: Any, c0: Any, *weights: Any) -> Any:
    if why := unfit(x, h0, c0, *weights):
        return why
    count = len(weights) // 4
    if x.ndim != 3 or not x.size or len(weights) != 4 * count or not count:
        return Declined("shapes")
    if any(a is not None and len(a) != count for a in (h0, c0)):
        return Declined("shapes")
    layers: list[Layer] = []
    y = x
    for n in range(count):
        w_ih, w_hh, *biases = weights[4 * n : 4 * n + 4]
        state = [None if a is None else a[n] for a in (h0, c0)]
        zeros = np.broadcast_to(np.float32(0.0), (x.shape[1], w_hh.shape[-1]))
        h, c = (zeros if s is None else s for s in state)
        check_layer(y[0], h, c, w_ih, w_hh, *biases)
        layers.append(forward(y, *state, w_ih, w_hh, *biases))
        y = layers[-1].hidden[1:]
    last_h = np.stack([layer.hidden[-1] for layer in layers])
    last_c = np.stack([layer.cells[-1] for layer in layers])

    def pull(g: Any) -> tuple[Any, ...]:
        dy, dh, dc = g[0], np.array(g[1], order="C"), np.array(g[2], order="C")
        grads: list[Any] = []
        for n in reversed(range(count)):
            dy, dh[n], dc[n], dw_ih, dw_hh, db = backward(layers[n], dy, dh[n], dc[n])
            bias = [None if b is None else db for b in weights[4 * n + 2 : 4 * n + 4]]
            grads[:0] = [None if weights[4 * n] is None else dw_ih, dw_hh, *bias]
        return dy, None if h0 is None else dh, None if c0 is None else dc, *grads

    return (y, last_h, last_c), pull


@kernel(ops.lstm_cell, device="cpu")
def lstm_cell(
    x: Any, h: Any, c: Any, weight_ih: Any, weight_hh: Any, bias_ih: Any = None, bias_hh: Any = None
) -> Any:
    if why := unfit(x, h, c, weight_ih, weight_hh, bias_ih, bias_hh):
        return why
    if not x.size:
        return Declined("nothing to do")
    check_cell(x, h, c, weight_ih, weight_hh, bias_ih, bias_hh)
    layer = forward(x[None], h, c, weight_ih, weight_hh, bias_ih, bias_hh)

    def pull(g: Any) -> tuple[Any, ...]:
        zeros = np.zeros((1, *h.shape), np.float32)
        dh, dc = (np.array(a, order="C") for a in g)
        dx, dh, dc, *rest, db = backward(layer, zeros, dh, dc)
        return dx[0], dh, dc, *rest, db, db

    return (layer.hidden[1], layer.cells[1]), pull
