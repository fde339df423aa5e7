"""Ways to fill a parameter before training, in place.

Numbers come from the stream "init" of `minigrad.random`. A weight has shape (out, in, ...): its
fan in is in × the rest, its fan out is out × the rest.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from minigrad import device as devices
from minigrad import random
from minigrad.inplace import stamp_write
from minigrad.tensor import Tensor

STREAM = "init"


def _fill(t: Tensor, values: Any) -> Tensor:
    t.data[...] = values
    stamp_write(t.data)
    return t


def constant_(t: Tensor, value: float) -> Tensor:
    """Every element `value`."""
    return _fill(t, value)


def zeros_(t: Tensor) -> Tensor:
    return _fill(t, 0.0)


def ones_(t: Tensor) -> Tensor:
    return _fill(t, 1.0)


def uniform_(t: Tensor, low: float = 0.0, high: float = 1.0) -> Tensor:
    """Uniform in [low, high)."""
    draw = random.uniform(t.shape, low, high, dtype=t.dtype, device=t.device, stream=STREAM)
    return _fill(t, draw.data)


def normal_(t: Tensor, mean: float = 0.0, std: float = 1.0) -> Tensor:
    """Normal with this mean and standard deviation."""
    draw = random.normal(t.shape, mean, std, dtype=t.dtype, device=t.device, stream=STREAM)
    return _fill(t, draw.data)


def trunc_normal_(
    t: Tensor, mean: float = 0.0, std: float = 1.0, low: float = -2.0, high: float = 2.0
) -> Tensor:
    """Normal with this mean and standard deviation, drawn again until it is in [low, high].

    ValueError if the mean is more than 2 standard deviations outside of [low, high].
    """
    if not low < high or mean < low - 2 * std or mean > high + 2 * std:
        raise ValueError(
            f"trunc_normal_: mean {mean} is more than 2 std ({std}) outside of [{low}, {high}]"
        )
    generator = random.generator(STREAM)
    values = generator.normal(mean, std, t.shape)
    while (outside := (values < low) | (values > high)).any():
        values[outside] = generator.normal(mean, std, int(outside.sum()))
    return _fill(t, devices.move(values.astype(t.dtype), t.device))


def fans(t: Tensor) -> tuple[int, int]:
    """(fan in, fan out) of a weight of shape (out, in, ...). ValueError below two axes."""
    if t.ndim < 2:
        raise ValueError(f"init: fans need a weight of at least 2 axes, got shape {t.shape}")
    rest = math.prod(t.shape[2:])
    return t.shape[1] * rest, t.shape[0] * rest


def xavier_uniform_(t: Tensor, gain: float = 1.0) -> Tensor:
    """Uniform in ± gain √(6 / (fan in + fan out)).

    Keeps the variance of activations and of gradients across a linear layer. Source: Glorot and
    Bengio, Understanding the Difficulty of Training Deep Feedforward Neural Networks (2010), (16).
    """
    bound = gain * math.sqrt(6.0 / sum(fans(t)))
    return uniform_(t, -bound, bound)


def xavier_normal_(t: Tensor, gain: float = 1.0) -> Tensor:
    """Normal with standard deviation gain √(2 / (fan in + fan out)); see `xavier_uniform_`."""
    return normal_(t, 0.0, gain * math.sqrt(2.0 / sum(fans(t))))


def _kaiming_std(t: Tensor, a: float, mode: str) -> float:
    if mode not in ("fan_in", "fan_out"):
        raise ValueError(f'kaiming: mode is "fan_in" or "fan_out", got {mode!r}')
    fan = fans(t)[mode == "fan_out"]
    return math.sqrt(2.0 / ((1.0 + a * a) * fan))


def kaiming_uniform_(t: Tensor, a: float = 0.0, mode: str = "fan_in") -> Tensor:
    """Uniform with variance 2 / ((1 + a²) fan), for layers followed by a leaky ReLU.

    a: slope of the ReLU on the negative side: 0 for ReLU, 1 for no nonlinearity at all.
    Source: He et al., Delving Deep into Rectifiers (2015), (10) and (15).
    """
    bound = math.sqrt(3.0) * _kaiming_std(t, a, mode)
    return uniform_(t, -bound, bound)


def kaiming_normal_(t: Tensor, a: float = 0.0, mode: str = "fan_in") -> Tensor:
    """Normal with variance 2 / ((1 + a²) fan); see `kaiming_uniform_`."""
    return normal_(t, 0.0, _kaiming_std(t, a, mode))


def orthogonal_(t: Tensor, gain: float = 1.0) -> Tensor:
    """`gain` times a random matrix with orthonormal rows or columns, whichever are fewer.

    Axes after the first count as columns. Source: Saxe et al., Exact Solutions to the Nonlinear
    Dynamics of Learning in Deep Linear Neural Networks (2013).
    """
    fans(t)
    rows, columns = t.shape[0], t.size // t.shape[0]
    draw = random.generator(STREAM).standard_normal((max(rows, columns), min(rows, columns)))
    q, r = np.linalg.qr(draw)
    q *= np.sign(np.diag(r))  # without it QR's own sign rule would show in the distribution
    values = gain * (q if rows >= columns else q.T).reshape(t.shape)
    return _fill(t, devices.move(values.astype(t.dtype), t.device))
