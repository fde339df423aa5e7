"""Clipping of gradients."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from minigrad import device as devices
from minigrad.inplace import stamp_write
from minigrad.tensor import Tensor


def clip_grad_norm(parameters: Iterable[Tensor], max_norm: float) -> Tensor:
    """Scale all gradients in place, together, so that their common 2-norm is at most max_norm.

        norm = √(Σ g²) over all parameters        g = g * min(1, max_norm / (norm + 1e-6))

    Returns the norm before, as a 0-d tensor: nothing is read from a GPU unless its value is asked
    for. Parameters without a gradient are passed over; with none at all the norm is 0. A norm of
    NaN makes every gradient NaN. The formula is PyTorch's. ValueError unless max_norm >= 0.
    Source: Pascanu et al., On the Difficulty of Training Recurrent Neural Networks (2013).
    """
    if not max_norm >= 0.0:  # a negative one would turn the gradients around
        raise ValueError(f"clip_grad_norm: expected max_norm >= 0, got {max_norm}")
    if isinstance(parameters, Tensor):
        parameters = [parameters]
    grads = [p.grad.data for p in dict.fromkeys(parameters) if p.grad is not None]
    if not grads:
        return Tensor(np.zeros((), np.float32))
    with np.errstate(over="ignore", invalid="ignore"):
        norm = np.sqrt(sum(np.square(np.linalg.norm(g)) for g in grads))
        coefficient = np.minimum(max_norm / (norm + 1e-6), 1.0)
        for g in grads:
            np.multiply(g, coefficient, out=g)
            stamp_write(g)
    return Tensor(norm if devices.is_array(norm) else np.asarray(norm))
