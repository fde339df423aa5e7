"""The LSTM: matrix products by cuBLAS, and one kernel per step, forward and backward.

The equations are those of `minigrad.ops.lstm`. Products that do not depend on the step before are
computed for all steps at once: x W_ihᵀ before the first step; dx = dz W_ih, dW_ih = Σ dzᵀ x,
dW_hh = Σ dzᵀ h' and db = Σ dz after the last. What remains of a step is one product with W_hh, and
one launch for everything elementwise:

    forward     z = from x + h' W_hhᵀ + b;  i, f, g, o;  c;  h
    backward    dh + dy, dc  ->  dz, dc'

With replicas (`minigrad.stacked`) all arrays have a leading axis R, and a step of all replicas is
also one call of cuBLAS and one launch. The batch is the axis before the last, as in
`kernels.cpu.lstm`. Kept: the gates and c of every step; tanh(c) is computed again, which costs less
than to read it from memory.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
import triton
import triton.language as tl

from kernels.cuda.arrays import rows_of, tile
from kernels.cuda.functions import tanh
from kernels.cuda.launch import launch, unfit
from minigrad import device as devices
from minigrad import ops
from minigrad.joining import stacked
from minigrad.kernel import Declined, kernel
from minigrad.ops.lstm import _lstm, buffer, check_cell, check_layer
from minigrad.ops.products import column_sum, mT, product
from minigrad.stacked import part, stack_of

WIDEST = 128  # columns of a tile: a step is little work, to be divided among many SMs


# --- one step ---------------------------------------------------------------------------------
@triton.jit
def forward_kernel(
    from_h, bias, c_prev, gates, c, h, steps, batch, size,
    ROWS: tl.constexpr, COLS: tl.constexpr,
):  # fmt: skip
    """Computes gates (batch, 4 size), c and h (batch, size) from the products with h and x.

    from_h: the products with h. gates contains the products with x, and is overwritten. The
    pointers are at one step: gates is from an array of `steps` steps, c_prev, c and h are from
    arrays of steps + 1; from_h and bias have no axis of steps.
    """
    replica = tl.program_id(2).to(tl.int64)
    bias, from_h = bias + replica * 4 * size, from_h + replica * batch * 4 * size
    gates += replica * steps * batch * 4 * size
    before = replica * (steps + 1) * batch * size
    c_prev, c, h = c_prev + before, c + before, h + before
    b = (tl.program_id(0) * ROWS + tl.arange(0, ROWS))[:, None]
    j = (tl.program_id(1) * COLS + tl.arange(0, COLS))[None, :]
    here = (b < batch) & (j < size)
    at = b * (4 * size) + j
    z_i = tl.load(gates + at, mask=here)
    z_f = tl.load(gates + at + size, mask=here)
    z_g = tl.load(gates + at + 2 * size, mask=here)
    z_o = tl.load(gates + at + 3 * size, mask=here)
    z_i += tl.load(from_h + at, mask=here) + tl.load(bias + j, mask=j < size)
    z_f += tl.load(from_h + at + size, mask=here) + tl.load(bias + j + size, mask=j < size)
    z_g += tl.load(from_h + at + 2 * size, mask=here) + tl.load(bias + j + 2 * size, mask=j < size)
    z_o += tl.load(from_h + at + 3 * size, mask=here) + tl.load(bias + j + 3 * size, mask=j < size)
    i, f, g, o = tl.sigmoid(z_i), tl.sigmoid(z_f), tanh(z_g), tl.sigmoid(z_o)
    tl.store(gates + at, i, mask=here)
    tl.store(gates + at + size, f, mask=here)
    tl.store(gates + at + 2 * size, g, mask=here)
    tl.store(gates + at + 3 * size, o, mask=here)
    state = b * size + j
    new = f * tl.load(c_prev + state, mask=here) + i * g
    tl.store(c + state, new, mask=here)
    tl.store(h + state, o * tanh(new), mask=here)


@triton.jit
def backward_kernel(
    gates, c_prev, c, dy, dh, dc, dz, steps, batch, size, ROWS: tl.constexpr, COLS: tl.constexpr
):
    """Fills dz (batch, 4 size); dc (batch, size) becomes dc'. The gradient of h is dy + dh.

    dh and dc have no axis of steps.
    """
    replica = tl.program_id(2).to(tl.int64)
    gates, dz = (
        gates + replica * steps * batch * 4 * size,
        dz + replica * steps * batch * 4 * size,
    )
    before = replica * (steps + 1) * batch * size
    c_prev, c, dy = c_prev + before, c + before, dy + replica * steps * batch * size
    dh, dc = dh + replica * batch * size, dc + replica * batch * size
    b = (tl.program_id(0) * ROWS + tl.arange(0, ROWS))[:, None]
    j = (tl.program_id(1) * COLS + tl.arange(0, COLS))[None, :]
    here = (b < batch) & (j < size)
    at, state = b * (4 * size) + j, b * size + j
    i = tl.load(gates + at, mask=here)
    f = tl.load(gates + at + size, mask=here)
    g = tl.load(gates + at + 2 * size, mask=here)
    o = tl.load(gates + at + 3 * size, mask=here)
    t = tanh(tl.load(c + state, mask=here))
    d_h = tl.load(dy + state, mask=here) + tl.load(dh + state, mask=here)
    d_c = tl.load(dc + state, mask=here) + d_h * o * (1.0 - t * t)
    tl.store(dz + at, d_c * g * (i - i * i), mask=here)
    d_f = d_c * tl.load(c_prev + state, mask=here) * (f - f * f)
    tl.store(dz + at + size, d_f, mask=here)
    tl.store(dz + at + 2 * size, d_c * i * (1.0 - g * g), mask=here)
    tl.store(dz + at + 3 * size, d_h * t * (o - o * o), mask=here)
    tl.store(dc + state, d_c * f, mask=here)


# --- one layer --------------------------------------------------------------------------------
class Layer(NamedTuple):
    """The arrays that one layer saves for its backward pass. Without replicas, no axis R."""

    x: Any  # (R, T B, D)
    w_ih: Any  # None where x is (R, T B, 4H)
    w_hh: Any
    from_zero: bool  # h0 = 0, so that the first step has no product with w_hh
    gates: Any  # (R, T, B, 4H)
    cells: Any  # (R, T + 1, B, H), c0 first
    hidden: Any  # (R, T + 1, B, H), h0 first


def grid_of(
    lead: tuple[int, ...], batch: int, size: int
) -> tuple[tuple[int, int, int], dict[str, int]]:
    """The grid and the tile of a step."""
    sides = tile(size, WIDEST)
    rows, columns = triton.cdiv(batch, sides["ROWS"]), triton.cdiv(size, sides["COLS"])
    return (rows, columns, math.prod(lead)), sides


def forward(x: Any, h0: Any, c0: Any, w_ih: Any, w_hh: Any, b_ih: Any, b_hh: Any) -> Layer:
    """x (R, T, B, D), h0 and c0 (R, B, H); weights and biases as in `ops.lstm`."""
    lead, size = w_hh.shape[:-2], w_hh.shape[-1]
    steps, batch = x.shape[len(lead) : len(lead) + 2]
    layer = Layer(
        flat(x), None if w_ih is None else rows_of(w_ih), rows_of(w_hh), h0 is None,
        *(buffer(w_hh, *lead, *shape) for shape in (
            (steps, batch, 4 * size), (steps + 1, batch, size), (steps + 1, batch, size),
        )),
    )  # fmt: skip
    gates, cells, hidden = layer.gates, layer.cells, layer.hidden
    at(hidden, 0)[...] = 0.0 if h0 is None else h0
    at(cells, 0)[...] = 0.0 if c0 is None else c0
    bias = devices.zeros((*lead, 4 * size), w_hh)
    for b in (b_ih, b_hh):
        if b is not None:
            bias += b
    if w_ih is None:
        gates[...] = x
    else:
        product(layer.x, mT(layer.w_ih), flat(gates))
    from_h = devices.zeros((*lead, batch, 4 * size), w_hh)
    grid, sides = grid_of(lead, batch, size)
    for t in range(steps):
        if t or not layer.from_zero:
            product(at(hidden, t), mT(layer.w_hh), from_h)
        args = from_h, bias, at(cells, t), at(gates, t), at(cells, t + 1), at(hidden, t + 1)
        launch(forward_kernel, grid, (*args, steps, batch, size), sides)
    return layer


def backward(layer: Layer, dy: Any, dh: Any, dc: Any) -> tuple[Any, Any, Any, Any]:
    """dx, dw_ih, dw_hh, db. dh, dc (R, B, H): of the last state, become those of the initial."""
    *lead, steps, batch, size = dy.shape
    dy, dz = rows_of(dy), buffer(dy, *lead, steps, batch, 4 * size)
    grid, sides = grid_of(tuple(lead), batch, size)
    for t in reversed(range(steps)):
        c_prev, c = at(layer.cells, t), at(layer.cells, t + 1)
        args = at(layer.gates, t), c_prev, c, at(dy, t), dh, dc, at(dz, t)
        launch(backward_kernel, grid, (*args, steps, batch, size), sides)
        if t or not layer.from_zero:
            product(at(dz, t), layer.w_hh, dh)
    first = int(layer.from_zero)  # step 0 is skipped if its h' is 0
    dw_hh = np.zeros_like(layer.w_hh)
    if steps > first:
        later, before = dz[..., first:, :, :], layer.hidden[..., first:steps, :, :]
        product(mT(flat(later)), flat(before), dw_hh)
    if layer.w_ih is None:
        return dz, None, dw_hh, column_sum(flat(dz))
    dx = buffer(dy, *lead, steps, batch, layer.x.shape[-1])
    dw_ih = buffer(dy, *layer.w_ih.shape)
    product(flat(dz), layer.w_ih, flat(dx))
    product(mT(flat(dz)), layer.x, dw_ih)
    return dx, dw_ih, dw_hh, column_sum(flat(dz))


def at(a: Any, t: int) -> Any:
    """Step t, or layer t, of an array (..., B, n), a view."""
    return a[..., t, :, :]


def flat(a: Any) -> Any:
    """(..., T, B, n) as (..., T B, n), a view if possible."""
    return a.reshape(*a.shape[:-3], -1, a.shape[-1])


def first(args: tuple[Any, ...], replicas: bool) -> Any:
    """The arrays of the first replica, whose shapes all replicas have; without replicas, args."""
    return part(args, 0) if replicas else args


# --- the ops ----------------------------------------------------------------------------------
@kernel(_lstm, device="cuda")
@kernel(stack_of(_lstm), device="cuda")
def lstm(x: Any, h0: Any, c0: Any, *weights: Any) -> Any:
    if why := unfit(x, h0, c0, *weights, dtypes=("float32",)):
        return why
    count = len(weights) // 4
    if len(weights) != 4 * count or not count or any(w is not None and not w.size for w in weights):
        return Declined("shapes")
    lead = x.shape[:-3]
    if x.ndim not in (3, 4) or not x.size:
        return Declined("shapes")
    if any(a is not None and a.shape[: len(lead) + 1] != (*lead, count) for a in (h0, c0)):
        return Declined("shapes")
    layers: list[Layer] = []
    y = x
    for n in range(count):
        w_ih, w_hh, *biases = weights[4 * n : 4 * n + 4]
        state = [None if a is None else at(a, n) for a in (h0, c0)]
        batch = x.shape[len(lead) + 1]
        zeros = np.broadcast_to(np.float32(0.0), (*lead, batch, w_hh.shape[-1]))
        h, c = (zeros if s is None else s for s in state)
        check_layer(*first((at(y, 0), h, c, w_ih, w_hh, *biases), bool(lead)))
        layers.append(forward(y, *state, w_ih, w_hh, *biases))
        y = layers[-1].hidden[..., 1:, :, :]
    last_h = stacked([at(layer.hidden, -1) for layer in layers], axis=-3)
    last_c = stacked([at(layer.cells, -1) for layer in layers], axis=-3)

    def pull(g: Any) -> tuple[Any, ...]:
        dy = g[0]
        dh, dc = (a.swapaxes(0, -3).copy(order="C") for a in g[1:])  # layers first
        grads: list[Any] = []
        for n in reversed(range(count)):
            dy, dw_ih, dw_hh, db = backward(layers[n], dy, dh[n], dc[n])
            bias = [None if b is None else db for b in weights[4 * n + 2 : 4 * n + 4]]
            grads[:0] = [dw_ih, dw_hh, *bias]
        dh0 = None if h0 is None else dh.swapaxes(0, -3)
        dc0 = None if c0 is None else dc.swapaxes(0, -3)
        return dy, dh0, dc0, *grads

    return (y, last_h, last_c), pull


@kernel(ops.lstm_cell, device="cuda")
@kernel(stack_of(ops.lstm_cell), device="cuda")
def lstm_cell(
    x: Any, h: Any, c: Any, weight_ih: Any, weight_hh: Any, bias_ih: Any = None, bias_hh: Any = None
) -> Any:
    weights = weight_ih, weight_hh, bias_ih, bias_hh
    if why := unfit(x, h, c, *weights, dtypes=("float32",)):
        return why
    if not (x.size and h.size):
        return Declined("nothing to do")
    check_cell(*first((x, h, c, *weights), x.ndim == 3))
    layer = forward(x[..., None, :, :], h, c, *weights)

    def pull(g: Any) -> tuple[Any, ...]:
        dh, dc = (a.copy(order="C") for a in g)
        zeros = devices.zeros((*dh.shape[:-2], 1, *dh.shape[-2:]), dh)
        dx, dw_ih, dw_hh, db = backward(layer, zeros, dh, dc)
        return at(dx, 0), dh, dc, dw_ih, dw_hh, db, db

    return (at(layer.hidden, 1), at(layer.cells, 1)), pull
