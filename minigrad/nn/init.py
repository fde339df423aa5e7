"""Initial values of parameters, written in place.

Numbers come from the stream "init" of `minigrad.random`. For a weight of shape (out, in, ...) the
fan in is `in` times the product of the remaining axes, the fan out `out` times that product.
"""

from __future__ import annotations

import math
from collections.abc import Callable
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
    """Set every element to `value`."""
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
    """Normal with this mean and standard deviation, truncated to [low, high].

    By rejection sampling, which accepts at least .49 of all proposals, however improbable the
    interval is: see `proposals`. ValueError unless low < high and std > 0.
    """
    if not (low < high and std > 0.0 and math.isfinite(mean)):
        raise ValueError(
            f"trunc_normal_: expected low < high, std > 0 and a finite mean, got low {low}, "
            f"high {high}, std {std}, mean {mean}"
        )
    propose = proposals(random.generator(STREAM), mean, std, low, high)
    values, accepted = propose(t.size)
    while not accepted.all():
        values[~accepted], accepted[~accepted] = propose(int((~accepted).sum()))
    values = random.within(values.reshape(t.shape), low, high, t.dtype, closed=True)
    return _fill(t, devices.move(values, t.device))


def proposals(
    generator: np.random.Generator, mean: float, std: float, low: float, high: float
) -> Callable[[int], tuple[Any, Any]]:
    """A function of n: n proposals for a truncated normal distribution, and which to accept.

    With the bounds a and b in standard deviations from the mean, w = b - a, and u uniform:
        a <= 0 <= b, w > √(2π)   z normal, accepted between the bounds
        a <= 0 <= b              z = a + u w, accepted with probability e^(-z²/2)
        0 < a                    z = a + d, d from the density e^(-λd) on [0, w], accepted with
                                 probability e^(((c - δ)² - (d - δ)²) / 2), c = min(w, δ)
        b < 0                    the same, mirrored
    where λ = (a + √(a² + 4)) / 2 and δ = λ - a. At least .49, .49 and .76 of them are accepted.
    Source: Robert, Simulation of Truncated Normal Variables (1995), sections 2.1 and 2.2.
    """
    a, b, width = (low - mean) / std, (high - mean) / std, (high - low) / std
    if a <= 0.0 <= b and width > math.sqrt(2.0 * math.pi):

        def normal(n: int) -> tuple[Any, Any]:
            values = generator.normal(mean, std, n)
            return values, (values >= low) & (values <= high)

        return normal
    if a <= 0.0 <= b:

        def uniform(n: int) -> tuple[Any, Any]:
            part = generator.random(n)
            probability = np.exp(-0.5 * (a + part * width) ** 2)
            return low + part * (high - low), generator.random(n) <= probability

        return uniform
    near, bound, scale = (a, low, std) if a > 0.0 else (-b, high, -std)
    delta = 2.0 / (math.hypot(near, 2.0) + near)
    rate, best = near + delta, min(width, delta) - delta

    def exponential(n: int) -> tuple[Any, Any]:
        d = -np.log1p(generator.random(n) * np.expm1(-rate * width)) / rate
        probability = np.exp(0.5 * (best * best - (d - delta) ** 2))
        return bound + scale * d, generator.random(n) <= probability

    return exponential


def fans(t: Tensor) -> tuple[int, int]:
    """(fan in, fan out) of a weight (out, in, ...). ValueError for fewer than two axes."""
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

    a: slope of the leaky ReLU for x < 0: 0 for ReLU, 1 for a linear layer.
    Source: He et al., Delving Deep into Rectifiers (2015), (10) and (15).
    """
    bound = math.sqrt(3.0) * _kaiming_std(t, a, mode)
    return uniform_(t, -bound, bound)


def kaiming_normal_(t: Tensor, a: float = 0.0, mode: str = "fan_in") -> Tensor:
    """Normal with variance 2 / ((1 + a²) fan); see `kaiming_uniform_`."""
    return normal_(t, 0.0, _kaiming_std(t, a, mode))


def orthogonal_(t: Tensor, gain: float = 1.0) -> Tensor:
    """`gain` times a random matrix with orthonormal rows or columns, whichever are fewer.

    Axes after the first are flattened to columns. Source: Saxe et al., Exact Solutions to the
    Nonlinear Dynamics of Learning in Deep Linear Neural Networks (2013).
    """
    fans(t)
    rows, columns = t.shape[0], t.size // t.shape[0]
    draw = random.generator(STREAM).standard_normal((max(rows, columns), min(rows, columns)))
    q, r = np.linalg.qr(draw)
    q *= np.sign(np.diag(r))  # otherwise QR's choice of signs would make it not uniform
    values = gain * (q if rows >= columns else q.T).reshape(t.shape)
    return _fill(t, devices.move(values.astype(t.dtype), t.device))
