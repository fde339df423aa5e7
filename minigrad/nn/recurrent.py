"""LSTM layers. Along the first axis of weights and biases the gates are in the order i, f, g, o."""

from __future__ import annotations

import math
from typing import Any

from minigrad import device as devices
from minigrad import ops
from minigrad.nn import init
from minigrad.nn.layers import drops, empty
from minigrad.nn.module import Module, Parameter
from minigrad.tensor import Tensor

State = tuple[Tensor, Tensor]


class LSTMCell(Module):
    """One step of an LSTM.    x (B, input), state (h, c) of (B, hidden) each -> (h, c)

        i, f, g, o = the four parts of x W_ihᵀ + b_ih + h W_hhᵀ + b_hh
        c = σ(f) c + σ(i) tanh(g)        h = σ(o) tanh(c)

    recurrent_bias: whether there is a b_hh. Only b_ih + b_hh matters; the papers have one bias,
                    PyTorch has two.
    Parameters are initialized uniform in ± 1/√hidden. A state of None is zero.
    Source: Hochreiter and Schmidhuber, Long Short-Term Memory (1997), with the forget gate of Gers
    et al., Learning to Forget (2000).
    """

    def __init__(
        self, input_size: int, hidden_size: int, bias: bool = True, recurrent_bias: bool = True
    ) -> None:
        self.hidden_size = hidden_size
        self.weight_ih = empty(4 * hidden_size, input_size)
        self.weight_hh = empty(4 * hidden_size, hidden_size)
        self.bias_ih = empty(4 * hidden_size) if bias else None
        self.bias_hh = empty(4 * hidden_size) if bias and recurrent_bias else None
        reset(self, hidden_size)

    def forward(self, x: Tensor, state: State | None = None) -> State:
        if state is None:
            zero = Tensor(devices.zeros((*x.shape[:-1], self.hidden_size), x.data))
            state = zero, zero
        h, c = pair("LSTMCell", state)
        return ops.lstm_cell(x, h, c, self.weight_ih, self.weight_hh, self.bias_ih, self.bias_hh)


class LSTM(Module):
    """Stacked LSTM layers over whole sequences.

    x (T, B, input), or (B, T, input) with batch_first -> y (T, B, hidden) or (B, T, hidden), the
    hidden states of the last layer, and (h_n, c_n), the state of every layer after the last step,
    (num_layers, B, hidden) each. The initial state has the same shape; None means zero.

    dropout:        probability of dropping an element between layers, in training.
    recurrent_bias: whether there are biases `bias_hh_l*` (as in PyTorch) beside `bias_ih_l*`.

    In a stacked model (`nn.stack`) all of them have a leading axis R of replicas.

    Parameters are weight_ih_l0 (4 hidden, input), weight_hh_l0 (4 hidden, hidden), bias_ih_l0,
    bias_hh_l0 (4 hidden,), and so on; see `LSTMCell` for equations and initial values.
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        *,
        batch_first: bool = False,
        dropout: float = 0.0,
        recurrent_bias: bool = True,
    ) -> None:
        if num_layers < 1:
            raise ValueError(f"LSTM: expected num_layers >= 1, got {num_layers}")
        if not 0.0 <= dropout <= 1.0:
            raise ValueError(f"LSTM: expected 0 <= dropout <= 1, got {dropout}")
        self.input_size = input_size
        self.hidden_size = hidden_size
        self.num_layers = num_layers
        self.batch_first = batch_first
        self.dropout = dropout
        rows = 4 * hidden_size
        for layer in range(num_layers):
            columns = hidden_size if layer else input_size
            setattr(self, f"weight_ih_l{layer}", empty(rows, columns))
            setattr(self, f"weight_hh_l{layer}", empty(rows, hidden_size))
            if bias:
                setattr(self, f"bias_ih_l{layer}", empty(rows))
            if bias and recurrent_bias:
                setattr(self, f"bias_hh_l{layer}", empty(rows))
        reset(self, hidden_size)

    def layer_weights(self, layer: int) -> list[Parameter | None]:
        """[weight_ih, weight_hh, bias_ih, bias_hh] of one layer; None for a missing bias."""
        kinds = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
        return [getattr(self, f"{kind}_l{layer}", None) for kind in kinds]

    def forward(self, x: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        """y and the last state (h_n, c_n); see the class."""
        lead = 0 if self.replicas is None else 1
        axes = "R, " * lead + ("B, T" if self.batch_first else "T, B")
        if x.ndim != lead + 3 or x.shape[-1] != self.input_size:
            raise ValueError(f"LSTM: expected x ({axes}, {self.input_size}), got {x.shape}")
        dropping = self.num_layers > 1 and drops(self, self.dropout)
        weights: list[Tensor | None] = []
        for i in range(self.num_layers):
            weights += self.layer_weights(i)
        y = x.swapaxes(lead, lead + 1) if self.batch_first else x
        h0, c0 = (None, None) if state is None else pair("LSTM", state)
        if dropping:
            last_h: list[Tensor] = []
            last_c: list[Tensor] = []
            for i in range(self.num_layers):
                y = ops.dropout(y, self.dropout, True) if i else y
                h, c = (None if s is None else s[i : i + 1] for s in (h0, c0))
                y, h, c = ops.lstm(y, h, c, weights[4 * i : 4 * i + 4])
                last_h.append(h)
                last_c.append(c)
            h_n, c_n = ops.concatenate(last_h), ops.concatenate(last_c)
        else:
            y, h_n, c_n = ops.lstm(y, h0, c0, weights)
        return (y.swapaxes(lead, lead + 1) if self.batch_first else y), (h_n, c_n)

    def extra_repr(self) -> str:
        settings = ["batch_first"] if self.batch_first else []
        return ", ".join(settings + ([f"dropout={self.dropout}"] if self.dropout else []))


def pair(name: str, state: Any) -> State:
    """The state (h, c). TypeError if it is no pair: a tensor h would be unpacked along an axis."""
    if not isinstance(state, (tuple, list)) or len(state) != 2:
        got = f"a tensor {state.shape}" if isinstance(state, Tensor) else f"{state!r:.60}"
        raise TypeError(f"{name}: expected the state as a pair (h, c), got {got}")
    return state[0], state[1]


def reset(module: Any, hidden_size: int) -> None:
    bound = 1.0 / math.sqrt(hidden_size)
    for p in module.parameters():
        init.uniform_(p, -bound, bound)
