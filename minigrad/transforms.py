"""Functions of functions: backward, grad (composable), value_and_grad."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from minigrad import device as devices
from minigrad.capture import on_failure
from minigrad.create import tensor
from minigrad.graph import Node, walk
from minigrad.modes import KEEP_INPUTS, MODE, OFF, set_mode
from minigrad.tensor import Tensor

LEAVES = threading.Lock()  # between reading a leaf's gradient and writing the sum


def seed_for(y: Tensor, gradient: Tensor | None) -> Tensor:
    """The gradient that a walk starts with: one for a single value, else what the user gives."""
    if gradient is None:
        if y.size != 1:
            raise RuntimeError(
                f"backward: the tensor has shape {y.shape}, not one value; pass a gradient of "
                f"that shape, or reduce it first (y.sum().backward())"
            )
        return Tensor(np.ones_like(y.data))
    if not isinstance(gradient, Tensor):
        gradient = Tensor(np.asarray(gradient, dtype=y.dtype))
    if gradient.shape != y.shape:
        raise ValueError(f"backward: the gradient has shape {gradient.shape}, not {y.shape}")
    if gradient.dtype != y.dtype:
        raise ValueError(f"backward: the gradient is {gradient.dtype}, not {y.dtype}")
    return gradient


def backward(
    y: Tensor,
    gradient: Tensor | None = None,
    *,
    retain_graph: bool = False,
    create_graph: bool = False,
) -> None:
    """Add to `.grad` of every leaf the gradient of this tensor with respect to it.

    gradient:     the gradient of the final result with respect to this tensor, in its shape;
                  needed unless this tensor has one element.
    retain_graph: keep the saved arrays, so that backward() can run again.
    create_graph: record the walk itself. Possible only where the ops kept their inputs, which
                  `mg.grad` asks for; with it, `mg.grad(mg.grad(f))` needs none of this.
    Raises RuntimeError without a graph, with a used one, and on another GPU than the current one;
    ValueError for a wrong `gradient`.
    If it raises, no `.grad` has changed. Several threads may run it at a time, each on a graph of
    its own, onto leaves that they share: what they add up is exact.
    """
    if y.node is None:
        raise RuntimeError(
            "backward: the tensor does not require a gradient: none of its inputs does, or it was "
            "computed under no_grad()"
        )
    if problem := devices.elsewhere([y.data]):
        raise RuntimeError(f"backward: {problem}")
    seed = seed_for(y, gradient)
    with set_mode(KEEP_INPUTS if create_graph else OFF):
        start = seed if create_graph else seed.data
        found = walk([(y.node, start)], retain_graph=retain_graph, create_graph=create_graph)
        with LEAVES:
            totals: list[tuple[Node, Tensor]] = []
            while found:
                node, g = found.popitem()
                if node.grad is not None:
                    total = (node.grad if create_graph else node.grad.detach()) + g
                else:
                    total = g.clone() if create_graph else Tensor(g)
                totals.append((node, total))
            for node, total in totals:
                on_failure(partial(setattr, node, "grad", node.grad))
                node.grad = total


Tensor.backward = backward  # type: ignore[reportAttributeAccessIssue]


def grad(
    f: Callable[..., Tensor], argnums: int | tuple[int, ...] = 0, *, create_graph: bool = False
) -> Callable[..., Any]:
    """The function that computes the gradient of `f` with respect to its argument `argnums`.

    `f` returns one value (shape () or a single element). The result composes:
    `mg.grad(mg.grad(f))` is the second derivative. A tuple of `argnums` gives a tuple.
    create_graph: record the result, so that backward() can go through it to whatever else `f`
    uses (a gradient penalty, say). Inside another `mg.grad` that happens by itself.
    """
    both = value_and_grad(f, argnums, create_graph=create_graph)

    @functools.wraps(f)
    def gradient(*args: Any, **kwargs: Any) -> Any:
        return both(*args, **kwargs)[1]

    return gradient


def value_and_grad(
    f: Callable[..., Tensor], argnums: int | tuple[int, ...] = 0, *, create_graph: bool = False
) -> Callable[..., tuple[Tensor, Any]]:
    """Like `grad`, but returns the pair of the value and the gradient."""
    numbers = (argnums,) if isinstance(argnums, int) else tuple(argnums)

    @functools.wraps(f)
    def both(*args: Any, **kwargs: Any) -> tuple[Tensor, Any]:
        recorded = create_graph or MODE.get() == KEEP_INPUTS
        inputs = list(args)
        variables: list[Tensor] = []
        with set_mode(KEEP_INPUTS):
            for i in places_of(numbers, f, args):
                inputs[i] = variable(args[i])
                variables.append(inputs[i])
            y = f(*inputs, **kwargs)
            if not isinstance(y, Tensor) or y.size != 1:
                got = f"shape {y.shape}" if isinstance(y, Tensor) else type(y).__name__
                raise ValueError(f"grad: expected {name_of(f)} to return one value, got {got}")
            nodes = [v.node for v in variables]
            found: dict[Node, Any] = {}
            if y.node is not None:
                one = Tensor(np.ones_like(y.data))
                start = one if recorded else one.data
                targets = frozenset(n for n in nodes if n is not None)
                with set_mode(KEEP_INPUTS if recorded else OFF):
                    found = walk([(y.node, start)], targets=targets, create_graph=recorded)
            grads = tuple(gradient_of(v, found) for v in variables)
        value = y if recorded else y.detach()
        return value, grads[0] if isinstance(argnums, int) else grads

    return both


def places_of(argnums: tuple[int, ...], f: Any, args: tuple[Any, ...]) -> list[int]:
    """The arguments meant, counted from the front. TypeError for one too many, ValueError twice."""
    places: list[int] = []
    for i in argnums:
        if not -len(args) <= i < len(args):
            raise TypeError(
                f"grad: argnums names argument {i} of {name_of(f)}, which got {len(args)}"
            )
        if i % len(args) in places:
            raise ValueError(f"grad: argnums {argnums} names argument {i % len(args)} twice")
        places.append(i % len(args))
    return places


def variable(x: Any) -> Tensor:
    """An argument as a tensor of its own, so that nested gradients are not confused."""
    if not isinstance(x, Tensor):
        x = tensor(float(x) if isinstance(x, int) else x)
    return x.clone() if x.node is not None else Tensor(x.data).requires_grad_()


def gradient_of(x: Tensor, found: dict[Node, Any]) -> Tensor:
    """What a walk found for a variable, in memory of its own; zeros if nothing arrived there."""
    assert x.node is not None
    g = found.get(x.node)
    if g is None:
        return Tensor(np.zeros_like(x.data))
    return g.clone() if isinstance(g, Tensor) else Tensor(g)


def name_of(f: Any) -> str:
    return getattr(f, "__name__", repr(f))
