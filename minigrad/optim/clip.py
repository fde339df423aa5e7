"""Clipping of gradients."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from minigrad import device as devices
from minigrad.graph import Array
from minigrad.inplace import stamp_write
from minigrad.joining import stacked
from minigrad.kernel import Routine
from minigrad.stacked import part
from minigrad.tensor import Tensor
from minigrad.wide import widen


def clip_grad_norm(
    parameters: Iterable[Tensor], max_norm: float, *, replicas: int | None = None
) -> Tensor:
    """Scale all gradients in place by one factor, so that their global norm is at most max_norm.

        norm = √(Σ g²) over all parameters        g = g * min(1, max_norm / (norm + 1e-6))

    replicas: the number of models in a stacked model (`nn.stack`). The first axis of every gradient
              is then the replica, and each replica is scaled by its own norm.

    Returns the norm before scaling, a tensor () or (replicas,); a GPU is not waited for until its
    value is read. Parameters without a gradient and frozen parameters are skipped; without any
    gradient the norm is 0. A norm of NaN makes every gradient NaN. The formula is PyTorch's.
    ValueError unless max_norm >= 0, and for a gradient without the axis of replicas.
    Source: Pascanu et al., On the Difficulty of Training Recurrent Neural Networks (2013).
    """
    if not max_norm >= 0.0:  # a negative max_norm would reverse the gradients
        raise ValueError(f"clip_grad_norm: expected max_norm >= 0, got {max_norm}")
    if isinstance(parameters, Tensor):
        parameters = [parameters]
    trained = [p for p in dict.fromkeys(parameters) if p.requires_grad]
    grads = [p.grad.data for p in trained if p.grad is not None]
    if not grads:
        return Tensor(np.zeros(() if replicas is None else (replicas,), np.float32))
    if replicas is not None and any(g.shape[:1] != (replicas,) for g in grads):
        raise ValueError(
            f"clip_grad_norm: expected gradients ({replicas}, ...), one part for each replica, got "
            f"{', '.join(str(g.shape) for g in grads)}"
        )
    with np.errstate(over="ignore", invalid="ignore"):
        norm = clip_arrays(grads, max_norm, replicas)
    for g in grads:
        stamp_write(g)
    return Tensor(norm if devices.is_array(norm) else np.asarray(norm))


@Routine
def clip_arrays(grads: Sequence[Array], max_norm: float, replicas: int | None) -> Array:
    """`clip_grad_norm` for arrays. Returns the norm before scaling, () or (replicas,)."""
    if replicas is not None:
        parts = (part(tuple(grads), r) for r in range(replicas))
        return stacked([clip_arrays.body(each, max_norm, None) for each in parts])
    norm = np.sqrt(sum(np.square(np.linalg.norm(widen(g))) for g in grads))
    coefficient = np.minimum(max_norm / (norm + 1e-6), 1.0)
    for g in grads:
        np.multiply(g, coefficient, out=g)
    return norm
