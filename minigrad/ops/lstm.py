"""The LSTM: one cell, and a whole sequence through stacked layers as a single recorded op.

    i = σ(z_i)   f = σ(z_f)   g = tanh(z_g)   o = σ(z_o)       z = x W_ihᵀ + h' W_hhᵀ + b
    c = f c' + i g            h = o tanh(c)                    h', c' from the step before

Backward through time, from the last step to the first. `dh` and `dc` are the gradients of h and c;
`c` reaches the loss through h and through the next step, so both are added before they are used:

    dc  += dh o (1 - tanh²c)
    dz_i = dc g  i (1 - i)      dz_g = dc i (1 - g²)
    dz_f = dc c' f (1 - f)      dz_o = dh tanh(c) o (1 - o)
    dc'  = dc f                 dh'  = dz W_hh

With the weights side by side, W = [W_ih W_hh], and x and h' stacked in one column, u = [x; h'], a
step is one matrix product forward, z = W u + b, and one backward, du = Wᵀ dz; dW = Σ_t dz_t u_tᵀ.

Inside, the batch is the last axis: a gate is then a block of whole rows of z (4H, B), contiguous
in memory, where elementwise work is twice as fast as on a quarter of each row.

Gates stand in PyTorch's order i, f, g, o. Source: Hochreiter and Schmidhuber, Long Short-Term
Memory (1997), with the forget gate of Gers et al. (2000).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from minigrad import device as devices
from minigrad.graph import Array
from minigrad.joining import stacked
from minigrad.op import Result, op
from minigrad.ops.elementwise import sigmoid, tanh
from minigrad.ops.linalg import linear
from minigrad.ops.products import mT, product
from minigrad.ops.shape import split, stack, unbind
from minigrad.tensor import Tensor
from minigrad.wide import sums


def buffer(like: Array, *shape: int) -> Array:
    return devices.empty(shape, like)


def gates_of(z: Array) -> tuple[Array, ...]:
    """The four gates (H, B) of z (4H, B), as views."""
    n = len(z) // 4
    return z[:n], z[n : 2 * n], z[2 * n : 3 * n], z[3 * n :]


def activate(z: Array) -> None:
    """Pre-activations z (4H, B) become the gates, in place: σ(z) = 1 / (1 + e⁻ᶻ), and tanh.

    σ is made of all four, for on a GPU a launch costs more than what it computes.
    """
    candidate = gates_of(z)[2]
    g = np.tanh(candidate)
    np.negative(z, out=z)
    with np.errstate(over="ignore"):  # σ is then 0
        np.exp(z, out=z)
    z += 1.0
    np.reciprocal(z, out=z)
    candidate[...] = g


def step_forward(z: Array, c_prev: Array, c: Array, t: Array, h: Array) -> None:
    """One step: z (4H, B) becomes the gates; fills c, t = tanh(c) and h, all (H, B)."""
    activate(z)
    i, f, g, o = gates_of(z)
    np.multiply(i, g, out=t)
    np.multiply(f, c_prev, out=c)
    c += t
    np.tanh(c, out=t)
    np.multiply(o, t, out=h)


def step_backward(
    gates: Array, c_prev: Array, t: Array, dh: Array, dc: Array, dz: Array, tmp: Array
) -> None:
    """The table above: fills dz (4H, B); dc becomes dc'. The rest is (H, B); dh stays."""
    i, f, g, o = gates_of(gates)
    dz_i, dz_f, dz_g, dz_o = gates_of(dz)
    np.multiply(dh, t, out=dz_o)
    np.multiply(dz_o, t, out=tmp)  # dc += o (dh - dh t²)
    np.subtract(dh, tmp, out=tmp)
    tmp *= o
    dc += tmp
    np.multiply(dc, g, out=dz_i)
    np.multiply(dc, c_prev, out=dz_f)
    for d, a in ((dz_i, i), (dz_f, f), (dz_o, o)):  # times σ' = a (1 - a) = a - a²
        d *= a
        np.multiply(d, a, out=tmp)
        d -= tmp
    np.multiply(dc, i, out=dz_g)  # times tanh' = 1 - g²
    np.multiply(dz_g, g, out=tmp)
    tmp *= g
    dz_g -= tmp
    dc *= f


# --- one cell ---------------------------------------------------------------------------------
def lstm_cell_composite(
    x: Any, h: Any, c: Any, weight_ih: Any, weight_hh: Any, bias_ih: Any = None, bias_hh: Any = None
) -> tuple[Any, Any]:
    """`lstm_cell` in smaller ops."""
    from_x = linear(x, weight_ih) if weight_ih is not None else x
    z = from_x + linear(h, weight_hh, bias_hh)
    z = z if bias_ih is None else z + bias_ih
    i, f, g, o = split(z, 4, axis=-1)
    c = sigmoid(f) * c + sigmoid(i) * tanh(g)
    return sigmoid(o) * tanh(c), c


@op(composite=lstm_cell_composite, stacked=("weight_ih", 2))
@sums
def lstm_cell(
    x: Array,
    h: Array,
    c: Array,
    weight_ih: Array,
    weight_hh: Array,
    bias_ih: Array = None,
    bias_hh: Array = None,
) -> Result:
    """One step: x (B, D), h, c (B, H), weight_ih (4H, D), weight_hh (4H, H) -> h, c (B, H)."""
    check_cell(x, h, c, weight_ih, weight_hh, bias_ih, bias_hh)
    batch, size = h.shape
    z, c_prev, c_new, t, h_new = (buffer(x, n * size, batch) for n in (4, 1, 1, 1, 1))
    product(weight_ih, mT(x), out=z)
    z += product(weight_hh, mT(h))
    for bias in (bias_ih, bias_hh):
        if bias is not None:
            z += bias[:, None]
    c_prev[...] = mT(c)
    step_forward(z, c_prev, c_new, t, h_new)

    def pull(g: Any) -> tuple[Any, ...]:
        dh, dc, dz, tmp = (buffer(x, n * size, batch) for n in (1, 1, 4, 1))
        dh[...], dc[...] = mT(g[0]), mT(g[1])
        step_backward(z, c_prev, t, dh, dc, dz, tmp)
        db, by_row = dz.sum(axis=-1), mT(dz)
        dx, dh = product(by_row, weight_ih), product(by_row, weight_hh)
        return dx, dh, mT(dc), product(dz, x), product(dz, h), db, db

    return (mT(h_new), mT(c_new)), pull


def check_cell(
    x: Array, h: Array, c: Array, weight_ih: Array, weight_hh: Array, *biases: Array
) -> None:
    """ValueError unless the shapes of one layer fit together, TypeError for integers."""
    integers = [a.dtype for a in (x, h, c, weight_ih, weight_hh) if a.dtype.kind != "f"]
    if integers:
        raise TypeError(f"expected floating point inputs, states and weights, got {integers[0]}")
    if x.ndim != 2 or weight_ih.ndim != 2 or weight_hh.ndim != 2:
        raise ValueError("expected x (B, D), weight_ih (4H, D) and weight_hh (4H, H)")
    batch, width, size = len(x), weight_ih.shape[1], weight_hh.shape[1]
    found = [
        ("weight_ih", weight_ih, (4 * size, width)),
        ("weight_hh", weight_hh, (4 * size, size)),
    ]
    found += [("x", x, (batch, width)), ("h", h, (batch, size)), ("c", c, (batch, size))]
    found += [("biases", b, (4 * size,)) for b in biases if b is not None]
    for name, a, shape in found:
        if a.shape != shape:
            raise ValueError(f"expected {name} {shape}, got {a.shape}")


def check_layer(x: Array, h: Array, c: Array, w_ih: Array, w_hh: Array, *biases: Array) -> None:
    """`check_cell`, where without w_ih x (B, 4H) is what it would have made."""
    if w_ih is None:
        if x.shape[1:] != w_hh.shape[:1]:
            raise ValueError(f"expected x (T, B, {len(w_hh)}) where there is no weight_ih")
        x, w_ih = x[:, :0], w_hh[:, :0]
    check_cell(x, h, c, w_ih, w_hh, *biases)


# --- a sequence through stacked layers --------------------------------------------------------
def lstm(x: Any, h0: Any, c0: Any, weights: Sequence[Any]) -> tuple[Any, Any, Any]:
    """A sequence through L stacked layers, as one recorded op.

    x:       (T, B, D), time first
    h0, c0:  (L, B, H), the state before the first step; None for zeros
    weights: for each layer weight_ih (4H, D or H), weight_hh (4H, H), bias_ih, bias_hh (4H,);
             a bias may be None, and so may the first weight_ih: x is then x W_ihᵀ, (T, B, 4H)
    Returns the hidden states of the last layer (T, B, H) and the last h and c, (L, B, H) each.
    ValueError if the shapes do not fit together.
    """
    return _lstm(x, h0, c0, *weights)


def lstm_composite(x: Any, h0: Any, c0: Any, *weights: Any) -> tuple[Any, Any, Any]:
    """`lstm` spelled in cells."""
    last_h: list[Any] = []
    last_c: list[Any] = []
    for layer in range(len(weights) // 4):
        w = weights[4 * layer : 4 * layer + 4]
        zeros = Tensor(devices.zeros((x.shape[1], w[1].shape[1]), w[1].data))
        h = zeros if h0 is None else h0[layer]
        c = zeros if c0 is None else c0[layer]
        outputs: list[Any] = []
        for x_t in unbind(x):
            h, c = lstm_cell_composite(x_t, h, c, *w)
            outputs.append(h)
        x = stack(outputs)
        last_h.append(h)
        last_c.append(c)
    return x, stack(last_h), stack(last_c)


@op(composite=lstm_composite, stacked=("x", 3))
@sums
def _lstm(x: Array, h0: Array, c0: Array, *weights: Array) -> Result:
    """See `lstm`. Kept per layer: its input, the gates, c and tanh(c) of every step."""
    if x.ndim != 3 or not len(x) or not weights or len(weights) % 4:
        raise ValueError("expected x (T, B, D), T >= 1, and four weights (or None) a layer")
    if any(a is not None and len(a) != len(weights) // 4 for a in (h0, c0)):
        raise ValueError(f"expected h0, c0 (L, B, H) with L = {len(weights) // 4} layers")
    layers: list[Layer] = []
    y = x
    for n in range(len(weights) // 4):
        state = [None if a is None else a[n] for a in (h0, c0)]
        layers.append(layer_forward(y, *state, *weights[4 * n : 4 * n + 4]))
        y = layers[-1].hidden()
    last_h = stacked([layer.hidden()[-1] for layer in layers])
    last_c = stacked([mT(layer.cells[-1]) for layer in layers])

    def pull(g: Any) -> tuple[Any, ...]:
        dy, dh_last, dc_last = g
        grads: list[Any] = []
        dh0, dc0 = np.empty_like(dh_last), np.empty_like(dc_last)
        for n in reversed(range(len(layers))):
            dy, dh0[n], dc0[n], *dw, db = layer_backward(layers[n], dy, dh_last[n], dc_last[n])
            bias = [None if b is None else db for b in weights[4 * n + 2 : 4 * n + 4]]
            grads[:0] = [*dw, *bias]
        return dy, None if h0 is None else dh0, None if c0 is None else dc0, *grads

    return (y, last_h, last_c), pull


class Layer(NamedTuple):
    """What one layer keeps for the way back; the batch is the last axis."""

    weight: Array  # (4H, D + H), W_ih beside W_hh; without W_ih D is 0
    inputs: Array  # (T + 1, D + H, B), x_t above h_(t-1); so h_t stands in place t + 1
    gates: Array  # (T, 4H, B)
    cells: Array  # (T + 1, H, B), c0 first
    tanh_c: Array  # (T, H, B)
    from_zero: bool  # h0 = 0: the first step has no product with W_hh, nor has its gradient
    multiplied: bool  # there is no W_ih, x is what it would have made

    def columns(self, t: int) -> slice:
        """The part of [x_t; h_(t-1)] that is not 0."""
        return slice(-self.tanh_c.shape[1] if t == 0 and self.from_zero else None)

    def hidden(self) -> Array:
        """h of every step, (T, B, H), a view."""
        return mT(self.inputs[1:, -self.tanh_c.shape[1] :])


def layer_forward(
    x: Array, h0: Array, c0: Array, w_ih: Array, w_hh: Array, b_ih: Array, b_hh: Array
) -> Layer:
    """One layer over x (T, B, D), or (T, B, 4H) without w_ih."""
    steps, batch, size = len(x), x.shape[1], w_hh.shape[-1]
    zeros, from_zero = devices.zeros((batch, size), w_hh), h0 is None
    h0, c0 = zeros if h0 is None else h0, zeros if c0 is None else c0
    check_layer(x[0], h0, c0, w_ih, w_hh, b_ih, b_hh)
    width = 0 if w_ih is None else x.shape[2]
    layer = Layer(
        w_hh if w_ih is None else np.concatenate([w_ih, w_hh], axis=1),
        buffer(x, steps + 1, width + size, batch),
        buffer(x, steps, 4 * size, batch),
        buffer(x, steps + 1, size, batch),
        buffer(x, steps, size, batch),
        from_zero,
        w_ih is None,
    )
    if not layer.multiplied:
        layer.inputs[:-1, :width] = mT(x)
    layer.inputs[0, width:] = mT(h0)
    layer.cells[0] = mT(c0)
    for t in range(steps):
        used = layer.columns(t)
        z, u = layer.gates[t], layer.inputs[t, used]
        product(layer.weight[:, used], u, out=z)
        if layer.multiplied:
            z += mT(x[t])
        for bias in (b_ih, b_hh):
            if bias is not None:
                z += bias[:, None]
        h = layer.inputs[t + 1, width:]
        step_forward(z, layer.cells[t], layer.cells[t + 1], layer.tanh_c[t], h)
    return layer


def layer_backward(layer: Layer, dy: Array, dh_last: Array, dc_last: Array) -> tuple[Array, ...]:
    """One layer backward through time: gradients of x, h0, c0, W_ih, W_hh and the bias."""
    steps, size, batch = layer.tanh_c.shape
    width = layer.weight.shape[1] - size
    weight_t = layer.weight.T.copy()
    dz, tmp = buffer(dy, 4 * size, batch), buffer(dy, size, batch)
    du = buffer(dy, width + size, batch)
    of_x = dz if layer.multiplied else du[:width]
    dx = buffer(dy, steps, *of_x.shape)
    dw = np.zeros_like(layer.weight)
    db = devices.zeros((4 * size,), dz)
    dh, dc = buffer(dy, size, batch), buffer(dy, size, batch)
    dh[...], dc[...] = dh_last.T, dc_last.T
    for t in reversed(range(steps)):
        dh += dy[t].T
        step_backward(layer.gates[t], layer.cells[t], layer.tanh_c[t], dh, dc, dz, tmp)
        used = layer.columns(t)
        product(weight_t[used], dz, out=du[used])
        dx[t], dh[...] = of_x, du[width:]
        dw[:, used] += product(dz, layer.inputs[t, used].T)
        db += dz.sum(axis=1)
    dw_ih = None if layer.multiplied else dw[:, :width]
    return mT(dx), dh.T, dc.T, dw_ih, dw[:, width:], db
