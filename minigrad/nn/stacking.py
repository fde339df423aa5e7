"""R models of equal structure as one model: every parameter gets a leading axis of replicas.

    model = nn.stack([make(seed) for seed in seeds])      # a weight (out, in) is now (R, out, in)
    optimizer = optim.AdamW(model.parameters(), lr=[1e-3, 3e-4], weight_decay=0.1)
    logits = model(ids)                                   # ids (R, B, T) -> logits (R, B, T, V)
    losses = mg.cross_entropy(logits, targets, reduction="none").mean(axis=(1, 2))  # (R,)
    losses.sum().backward()                               # each loss has the gradient 1
    optim.clip_grad_norm(model.parameters(), 1.0, replicas=len(seeds))
    optimizer.step()
    first = nn.unstack(model)[0]                          # an ordinary model again

Replicas do not interact, so each is trained as it would be by itself, up to rounding. On a GPU the
time of a step of a small model is that of its launches, whatever their size. With kernels, R
replicas need as many launches as one model, so they take little longer. Ops with parameters are
mapped over replicas (`minigrad.stacked`). A module can be stacked if its `forward` counts axes from
the end.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import numpy as np

from minigrad.graph import Array
from minigrad.nn.layers import BatchNorm1d
from minigrad.nn.module import Module, Parameter
from minigrad.tensor import Tensor, raw

M = TypeVar("M", bound=Module)


def stack(models: Sequence[M]) -> M:
    """A copy of R models as one: parameters and persistent buffers (...) become (R, ...).

    Other buffers, which __init__ computes, are those of the first model. Gradients are not copied.
    ValueError for models that differ in anything but the values of parameters and buffers, that
    are stacked already, or that contain a BatchNorm1d, whose axes count from the front.
    """
    if not models:
        raise ValueError("stack: expected at least one model")
    outlines = [outline(model) for model in models]
    for i, other in enumerate(outlines):
        for name in {**outlines[0], **other}:
            pair = outlines[0].get(name), other.get(name)
            if pair[0] != pair[1]:
                raise ValueError(
                    f"stack: {name} is {pair[0]} in model 0 and {pair[1]} in model {i}"
                )
    if models[0].replicas is not None:
        raise ValueError("stack: the models are stacked already")
    if any(isinstance(module, BatchNorm1d) for module in models[0].modules()):
        raise ValueError("stack: BatchNorm1d cannot be stacked")
    states = [model.state_tensors() for model in models]
    return rebuilt(models[0], lambda name: np.stack([s[name].data for s in states]), len(models))


def unstack(model: M) -> list[M]:
    """The R models in a stacked one, as copies. ValueError if it is not stacked."""
    if model.replicas is None:
        raise ValueError("unstack: the model is not stacked")
    state = model.state_tensors()

    def array(name: str, i: int) -> Array:
        return state[name].data[i, ...].copy()

    return [rebuilt(model, lambda name, i=i: array(name, i), None) for i in range(model.replicas)]


def for_replicas(x: Any, replicas: int | None) -> Any:
    """x repeated for each replica, (R, *x.shape), as a view without gradient.

    x itself if replicas is None. For inputs that all replicas share, such as ids.
    """
    return x if replicas is None else Tensor(np.broadcast_to(raw(x), (replicas, *x.shape)))


def outline(model: Module) -> dict[str, Any]:
    """Everything that stacked models must have in common, by name: all but values."""
    common: dict[str, Any] = {}
    for path, module in model.named_modules():
        prefix = f"{path}." if path else ""
        common[path or "the model"] = type(module)
        common |= {f"{prefix}{k}": v for k, v in vars(module).items() if is_setting(v)}
        common |= {f"{prefix}training": module.training, f"{prefix}replicas": module.replicas}
    first: dict[int, str] = {}
    for name, t in model.state_tensors().items():
        tied = first.setdefault(id(t), name)
        common[name] = t.shape, str(t.dtype), t.device, t.requires_grad, tied
    return common


def is_setting(value: Any) -> bool:
    return not isinstance(value, (Tensor, Module))


def rebuilt(model: M, array: Callable[[str], Array], replicas: int | None) -> M:
    """A copy of a model whose state is array(name) for each name; tied parameters stay tied."""
    memo: dict[int, Any] = {}
    for name, t in model.state_tensors().items():
        if id(t) not in memo:
            new = Tensor(array(name))
            memo[id(t)] = Parameter(new, t.requires_grad) if isinstance(t, Parameter) else new
    rebuilt_model = copy.deepcopy(model, memo)
    for module in rebuilt_model.modules():
        module.replicas = replicas
    return rebuilt_model
