"""The LSTM: matrix products by cuBLAS, and between them one kernel a step each way.

The equations are those of `minigrad.ops.lstm`. What the steps do not owe to each other is one
product for all of them: x W_ihᵀ before the first step; dx = dz W_ih, dW_ih = Σ dzᵀ x,
dW_hh = Σ dzᵀ h' and db = Σ dz after the last. What is left for a step is a product with W_hh and
everything elementwise, which is one launch:

    forward     z = from x + h' W_hhᵀ + b;  i, f, g, o;  c;  h
    backward    dh + dy, dc  ->  dz, dc'

The batch is the first axis, as in `kernels.cpu.lstm`. Kept: the gates and c of every step; tanh(c)
is made again, since a read from memory costs more.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import triton
import triton.language as tl

from kernels.cuda.arrays import rows_of, tile
from kernels.cuda.functions import tanh
from kernels.cuda.launch import launch, unfit
from minigrad import device as devices
from minigrad import ops
from minigrad.indices import add_at, check_ids
from minigrad.kernel import Declined, kernel
from minigrad.ops.lstm import _lstm, buffer, check_cell
from minigrad.ops.products import column_sum, product
from minigrad.ops.shape import stacked

WIDEST = 128  # columns of a tile: a step has little work, and many SMs to share it


# --- one step ---------------------------------------------------------------------------------
@triton.jit
def forward_kernel(
    from_x, ids, from_h, bias, c_prev, gates, c, h, batch, size, table_rows,
    TABLE: tl.constexpr, ROWS: tl.constexpr, COLS: tl.constexpr,
):  # fmt: skip
    """From the products from_x and from_h (batch, 4 size) to the gates, c and h (batch, size).

    TABLE: from_x is (table_rows, 4 size), and ids (batch,) say the row.
    """
    b = (tl.program_id(0) * ROWS + tl.arange(0, ROWS))[:, None]
    j = (tl.program_id(1) * COLS + tl.arange(0, COLS))[None, :]
    here = (b < batch) & (j < size)
    at = b * (4 * size) + j
    x_at, x_here = at, here
    if TABLE:
        row = tl.load(ids + b, mask=b < batch, other=0)
        x_at = row * (4 * size) + j
        x_here = here & (row >= 0) & (row < table_rows)
    nan = float("nan")  # for a row that is not in the table
    z_i = tl.load(from_x + x_at, mask=x_here, other=nan)
    z_f = tl.load(from_x + x_at + size, mask=x_here, other=nan)
    z_g = tl.load(from_x + x_at + 2 * size, mask=x_here, other=nan)
    z_o = tl.load(from_x + x_at + 3 * size, mask=x_here, other=nan)
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
    gates, c_prev, c, dy, dh, dc, dz, batch, size, ROWS: tl.constexpr, COLS: tl.constexpr
):
    """Fills dz (batch, 4 size); dc (batch, size) becomes dc'. The gradient of h is dy + dh."""
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
    """What one layer keeps for the way back."""

    x: Any  # (T, B, D), or integers (T, B): rows of a table w_ih (V, 4H)
    w_ih: Any
    w_hh: Any
    from_zero: bool  # h0 = 0, so that the first step has no product with w_hh
    gates: Any  # (T, B, 4H)
    cells: Any  # (T + 1, B, H), c0 first
    hidden: Any  # (T + 1, B, H), h0 first


def grid_of(batch: int, size: int) -> tuple[tuple[int, int], dict[str, int]]:
    """The programs and the tile of a step."""
    sides = tile(size, WIDEST)
    return (triton.cdiv(batch, sides["ROWS"]), triton.cdiv(size, sides["COLS"])), sides


def forward(x: Any, h0: Any, c0: Any, w_ih: Any, w_hh: Any, b_ih: Any, b_hh: Any) -> Layer:
    (steps, batch), size = x.shape[:2], w_hh.shape[1]
    layer = Layer(
        rows_of(x), rows_of(w_ih), rows_of(w_hh), h0 is None,
        *(buffer(w_hh, *shape) for shape in (
            (steps, batch, 4 * size), (steps + 1, batch, size), (steps + 1, batch, size),
        )),
    )  # fmt: skip
    layer.hidden[0] = 0.0 if h0 is None else h0
    layer.cells[0] = 0.0 if c0 is None else c0
    bias = devices.zeros((4 * size,), w_hh)
    for b in (b_ih, b_hh):
        if b is not None:
            bias += b
    table = x.dtype.kind != "f"
    if not table:
        product(layer.x.reshape(steps * batch, -1), layer.w_ih.T, flat(layer.gates))
    from_h = devices.zeros((batch, 4 * size), w_hh)
    grid, sides = grid_of(batch, size)
    constants = {"TABLE": table, **sides}
    for t in range(steps):
        if t or not layer.from_zero:
            product(layer.hidden[t], layer.w_hh.T, from_h)
        gates, cells, hidden = layer.gates[t], layer.cells, layer.hidden
        source = (layer.w_ih, layer.x[t]) if table else (gates, bias)  # the ids may be anything
        args = *source, from_h, bias, cells[t], gates, cells[t + 1], hidden[t + 1]
        launch(forward_kernel, grid, (*args, batch, size, len(layer.w_ih)), constants)
    return layer


def backward(layer: Layer, dy: Any, dh: Any, dc: Any) -> tuple[Any, Any, Any, Any]:
    """dx, dw_ih, dw_hh, db; dh and dc (B, H), gradients of the last state, become the first's."""
    steps, batch, size = dy.shape
    dy, dz = rows_of(dy), buffer(dy, steps, batch, 4 * size)
    grid, sides = grid_of(batch, size)
    for t in reversed(range(steps)):
        args = layer.gates[t], layer.cells[t], layer.cells[t + 1], dy[t], dh, dc, dz[t]
        launch(backward_kernel, grid, (*args, batch, size), sides)
        if t or not layer.from_zero:
            product(dz[t], layer.w_hh, dh)
    first = int(layer.from_zero)  # its hidden state is 0
    dw_hh = np.zeros_like(layer.w_hh)
    if steps > first:
        product(flat(dz[first:]).T, flat(layer.hidden[first:steps]), dw_hh)
    if layer.x.dtype.kind != "f":
        d_table = np.zeros_like(layer.w_ih)
        add_at(d_table, layer.x, dz)
        return None, d_table, dw_hh, column_sum(flat(dz))
    dx, dw_ih = buffer(dy, *layer.x.shape), buffer(dy, *layer.w_ih.shape)
    product(flat(dz), layer.w_ih, flat(dx))
    product(flat(dz).T, flat(layer.x), dw_ih)
    return dx, dw_ih, dw_hh, column_sum(flat(dz))


def flat(a: Any) -> Any:
    """(T, B, n) as (T B, n), a view."""
    return a.reshape(-1, a.shape[-1])


# --- the ops ----------------------------------------------------------------------------------
@kernel(_lstm, device="cuda")
def lstm(x: Any, h0: Any, c0: Any, *weights: Any) -> Any:
    from_rows = x.dtype.kind in "iu"
    if why := unfit(None if from_rows else x, h0, c0, *weights, dtypes=("float32",)):
        return why
    count = len(weights) // 4
    if x.ndim != (2 if from_rows else 3) or not x.size or len(weights) != 4 * count or not count:
        return Declined("shapes")
    if any(a is not None and len(a) != count for a in (h0, c0)):
        return Declined("shapes")
    if any(w is not None and not w.size for w in weights):
        return Declined("shapes")
    if from_rows:
        if weights[0].shape[1:] != weights[1].shape[:1] or type(x) is not type(weights[0]):
            return Declined("shapes")
        check_ids(x, len(weights[0]), "row")  # unchecked, the states become NaN
        x = x.astype(np.int64, copy=False)
    layers: list[Layer] = []
    y = x
    for n in range(count):
        w_ih, w_hh, *biases = weights[4 * n : 4 * n + 4]
        state = [None if a is None else a[n] for a in (h0, c0)]
        zeros = np.broadcast_to(np.float32(0.0), (x.shape[1], w_hh.shape[-1]))
        first, w_first = (y[0], w_ih) if n or not from_rows else (zeros[:, :0], w_hh[:, :0])
        h, c = (zeros if s is None else s for s in state)
        check_cell(first, h, c, w_first, w_hh, *biases)
        layers.append(forward(y, *state, w_ih, w_hh, *biases))
        y = layers[-1].hidden[1:]
    last_h = stacked([layer.hidden[-1] for layer in layers])
    last_c = stacked([layer.cells[-1] for layer in layers])

    def pull(g: Any) -> tuple[Any, ...]:
        dy, dh, dc = g[0], g[1].copy(order="C"), g[2].copy(order="C")
        grads: list[Any] = []
        for n in reversed(range(count)):
            dy, dw_ih, dw_hh, db = backward(layers[n], dy, dh[n], dc[n])
            bias = [None if b is None else db for b in weights[4 * n + 2 : 4 * n + 4]]
            grads[:0] = [dw_ih, dw_hh, *bias]
        return dy, None if h0 is None else dh, None if c0 is None else dc, *grads

    return (y, last_h, last_c), pull


@kernel(ops.lstm_cell, device="cuda")
def lstm_cell(
    x: Any, h: Any, c: Any, weight_ih: Any, weight_hh: Any, bias_ih: Any = None, bias_hh: Any = None
) -> Any:
    weights = weight_ih, weight_hh, bias_ih, bias_hh
    if why := unfit(x, h, c, *weights, dtypes=("float32",)):
        return why
    if x.ndim != 2:  # replicas
        return Declined("shapes")
    if not (x.size and h.size):
        return Declined("nothing to do")
    check_cell(x, h, c, *weights)
    layer = forward(x[None], h, c, *weights)

    def pull(g: Any) -> tuple[Any, ...]:
        dh, dc = (a.copy(order="C") for a in g)
        nothing = devices.zeros((1, *dh.shape), dh)
        dx, dw_ih, dw_hh, db = backward(layer, nothing, dh, dc)
        return dx[0], dh, dc, dw_ih, dw_hh, db, db

    return (layer.hidden[1], layer.cells[1]), pull
