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
from minigrad.tree import leaves, mapped

LEAVES = threading.Lock()  # between reading a leaf's gradient and writing the sum


def seed_for(y: Tensor, gradient: Tensor | None) -> Tensor:
    """The gradient that a walk starts with: 1 for a single value, else the user's `gradient`."""
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
    """Add the gradient of this tensor with respect to each leaf to the leaf's `.grad`.

    gradient:     the gradient of the final result with respect to this tensor, in its shape;
                  needed unless this tensor has one element.
    retain_graph: keep the saved arrays, so that backward() can run again.
    create_graph: record the walk itself. This needs ops that kept their inputs, as they do inside
                  `mg.grad`. `mg.grad(mg.grad(f))` is the simpler way to a second derivative.
    Raises RuntimeError without a graph, for a graph that was used, and on another GPU than the
    current one; ValueError for a wrong `gradient`. No `.grad` has changed then.
    Several threads may call it at a time, each with its own graph over the same leaves: no addition
    to a shared `.grad` is lost.
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
        grads = walk([(y.node, start)], retain_graph=retain_graph, create_graph=create_graph)
        with LEAVES:
            totals: list[tuple[Node, Tensor]] = []
            while grads:
                node, g = grads.popitem()
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
    f: Callable[..., Any],
    argnums: int | tuple[int, ...] = 0,
    *,
    has_aux: bool = False,
    create_graph: bool = False,
) -> Callable[..., Any]:
    """The function that computes the gradient of `f` with respect to its argument `argnums`.

    `f` returns one value (shape () or a single element). The result composes:
    `mg.grad(mg.grad(f))` is the second derivative. A tuple of `argnums` gives a tuple.

    An argument is a tensor, an array, a number or nested lists of numbers; or a dict, list or tuple
    of these at any depth, and the gradient then has the same structure. A list is such a structure
    only if it contains tensors or arrays.

    has_aux:      `f` returns (value, aux), and the result is (gradient, aux). Tensors in aux have
                  no history, nor has the value.
    create_graph: record the result, so that backward() can go through it to whatever else `f`
                  uses (a gradient penalty, say). Inside another `mg.grad` that happens by itself.
    """
    both = value_and_grad(f, argnums, has_aux=has_aux, create_graph=create_graph)

    @functools.wraps(f)
    def gradient(*args: Any, **kwargs: Any) -> Any:
        value, gradients = both(*args, **kwargs)
        return (gradients, value[1]) if has_aux else gradients

    return gradient


def value_and_grad(
    f: Callable[..., Any],
    argnums: int | tuple[int, ...] = 0,
    *,
    has_aux: bool = False,
    create_graph: bool = False,
) -> Callable[..., tuple[Any, Any]]:
    """Like `grad`, but returns (value, gradient), or ((value, aux), gradient)."""
    numbers = (argnums,) if isinstance(argnums, int) else tuple(argnums)

    @functools.wraps(f)
    def both(*args: Any, **kwargs: Any) -> tuple[Any, Any]:
        recorded = create_graph or MODE.get() == KEEP_INPUTS
        inputs = list(args)
        places = places_of(numbers, f, args)
        with set_mode(KEEP_INPUTS):
            for i in places:
                inputs[i] = mapped(variable, args[i]) if is_tree(args[i]) else variable(args[i])
            result = f(*inputs, **kwargs)
            y = value_of(result, f, has_aux)
            variables = [v for _, v in leaves([inputs[i] for i in places]) if v is not None]
            grads: dict[Node, Any] = {}
            if y.node is not None:
                one = Tensor(np.ones_like(y.data))
                start = one if recorded else one.data
                with set_mode(KEEP_INPUTS if recorded else OFF):
                    targets = frozenset(v.node for v in variables)
                    grads = walk([(y.node, start)], targets=targets, create_graph=recorded)
            gradients = tuple(mapped(partial(gradient_of, grads), inputs[i]) for i in places)
        value = result if recorded else mapped(without_history, result)
        return value, gradients[0] if isinstance(argnums, int) else gradients

    return both


def places_of(argnums: tuple[int, ...], f: Any, args: tuple[Any, ...]) -> list[int]:
    """`argnums` counted from the front. TypeError for one too large, ValueError for one twice."""
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


def is_tree(x: Any) -> bool:
    """Whether an argument is a structure of variables, and not a list of numbers."""
    arrays = (isinstance(a, Tensor) or devices.is_array(a) for _, a in leaves(x))
    return isinstance(x, dict) or (isinstance(x, (list, tuple)) and any(arrays))


def variable(x: Any) -> Tensor | None:
    """An argument as a new tensor, so that nested gradients are not confused."""
    if x is None:
        return None
    if not isinstance(x, Tensor):
        x = tensor(float(x) if isinstance(x, int) else x)
    return x.clone() if x.node is not None else Tensor(x.data).requires_grad_()


def value_of(result: Any, f: Any, has_aux: bool) -> Tensor:
    """The value in the result of `f`. ValueError unless it is one number."""
    if has_aux and not (isinstance(result, tuple) and len(result) == 2):
        got = f"{len(result)} results" if isinstance(result, tuple) else type(result).__name__
        raise ValueError(f"grad: with has_aux {name_of(f)} must return (value, aux), got {got}")
    y = result[0] if has_aux else result
    if not isinstance(y, Tensor) or y.size != 1:
        got = f"shape {y.shape}" if isinstance(y, Tensor) else type(y).__name__
        raise ValueError(f"grad: expected {name_of(f)} to return one value, got {got}")
    return y


def gradient_of(grads: dict[Node, Any], x: Tensor | None) -> Tensor | None:
    """The gradient of a variable after a walk, unshared; zeros if no gradient arrived."""
    if x is None or x.node is None:
        return None
    g = grads.get(x.node)
    if g is None:
        return Tensor(np.zeros_like(x.data))
    return g.clone() if isinstance(g, Tensor) else Tensor(g)


def without_history(x: Any) -> Any:
    return x.detach() if isinstance(x, Tensor) else x


def name_of(f: Any) -> str:
    return getattr(f, "__name__", type(f).__name__)
