"""Learning rate schedules: functions of the step, which is the number of updates made so far.

    optimizer.lr = cosine(step, 1e-3, 10_000, warmup=100)

The first step is 0. Every function takes the step first and returns a float. With `warmup` = n the
rate rises linearly to the peak: peak/n at step 0, peak at step n - 1.
"""

from __future__ import annotations

import math


def _warming(step: int, peak: float, warmup: int) -> float | None:
    """The rate during warm-up, None after it."""
    if step < 0 or warmup < 0:
        raise ValueError(f"schedule: expected step, warmup >= 0, got {step}, {warmup}")
    return peak * (step + 1) / warmup if step < warmup else None


def constant(step: int, peak: float, *, warmup: int = 0) -> float:
    """`peak`, after an optional linear warm-up."""
    rate = _warming(step, peak, warmup)
    return peak if rate is None else rate


def linear(step: int, peak: float, total: int, *, warmup: int = 0, end: float = 0.0) -> float:
    """A straight line from `peak` after the warm-up to `end` at step `total`, then `end`."""
    rate, done = _warming(step, peak, warmup), _progress(step, total, warmup)
    return peak + (end - peak) * done if rate is None else rate


def cosine(step: int, peak: float, total: int, *, warmup: int = 0, end: float = 0.0) -> float:
    """Half a cosine wave from `peak` after the warm-up to `end` at step `total`, then `end`.

    Source: Loshchilov and Hutter, SGDR (2017), eq. 5, without restarts.
    """
    rate, done = _warming(step, peak, warmup), _progress(step, total, warmup)
    return end + (peak - end) * 0.5 * (1.0 + math.cos(math.pi * done)) if rate is None else rate


def _progress(step: int, total: int, warmup: int) -> float:
    """The fraction of the steps from the end of warm-up to `total` that is done, at most 1."""
    if total <= warmup:
        raise ValueError(f"schedule: expected total > warmup, got {total} and {warmup}")
    return min(1.0, (step - warmup) / (total - warmup))


def step_decay(
    step: int, peak: float, every: int, *, factor: float = 0.1, warmup: int = 0
) -> float:
    """`peak`, multiplied by `factor` after every `every` steps."""
    if every < 1:
        raise ValueError(f"step_decay: expected every >= 1, got {every}")
    rate = _warming(step, peak, warmup)
    return peak * factor ** (step // every) if rate is None else rate


def inverse_sqrt(step: int, peak: float, *, warmup: int) -> float:
    """A linear warm-up to `peak`, then peak √(warmup / (step + 1)).

    Source: Vaswani et al., Attention Is All You Need (2017), eq. 3, which is this with
    peak = 1/√(d_model · warmup) and step + 1 for its step number.
    """
    if warmup < 1:
        raise ValueError(f"inverse_sqrt: expected warmup >= 1, got {warmup}")
    rate = _warming(step, peak, warmup)
    return peak * math.sqrt(warmup / (step + 1)) if rate is None else rate
