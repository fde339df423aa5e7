"""Activations that the backward pass computes again, instead of keeping them.

    y = mg.checkpoint(block, x)

Source: Chen et al., Training Deep Nets with Sublinear Memory Cost (2016).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from minigrad import random
from minigrad.graph import NUMBER, Array, Node, walk
from minigrad.inplace import check_unchanged, clock
from minigrad.modes import enable_grad
from minigrad.op import Op
from minigrad.rules import owned
from minigrad.tensor import Tensor


def checkpoint(f: Callable[..., Tensor], *args: Any) -> Tensor:
    """f(*args), keeping only arguments and result: the backward pass runs `f` again.

    `f` returns one tensor. Gradients reach the tensor arguments and everything else that `f` uses;
    the second run repeats the random draws. All other effects of `f` happen twice: a batch norm in
    training updates its running statistics again. A checkpoint has no second derivative.

    TypeError if `f` does not return a tensor. RuntimeError in the backward pass if the second run
    has other ops, for example because a module was switched to evaluation, or another result. On a
    GPU, where the host would have to wait, results are not compared.
    """
    args = tuple(a if isinstance(a, Tensor) else owned(a) for a in args)
    state, start = random.get_state(), clock()
    y = f(*args)
    if not isinstance(y, Tensor):
        raise TypeError(f"checkpoint: expected f to return one tensor, got {type(y).__name__}")
    if y.node is None:
        return y
    inside, outside = partition(y.node, start)
    end, value, ops = clock(), y.data, outline(inside)

    def pull(g: Any) -> tuple[Any, ...]:
        later_state, restart = random.get_state(), clock()
        random.set_state(state)
        try:
            with enable_grad():
                again = f(*args)
        finally:
            random.set_state(later_state)
        inside, _ = partition(again.node, restart)
        for node in inside:
            check_unchanged(node, since=end, until=restart)
        compared = isinstance(value, np.ndarray)
        same = outline(inside) == ops and (not compared or nearly_equal(value, again.data))
        if again.node is None or not same:
            raise RuntimeError(
                "f gave another result than in the forward pass, so its gradient would be wrong. "
                "Is a module in another mode, or has something changed that f reads? Random "
                "numbers must come from minigrad.random"
            )
        gradients = walk([(again.node, g)], targets=frozenset(outside))
        return tuple(gradients.get(node) for node in outside)

    return Tensor(value, Node(CHECKPOINT, outside, pull, y.shape, y.dtype))


def partition(root: Node | None, start: int) -> tuple[list[Node], tuple[Node, ...]]:
    """The nodes of a graph that were made since `start`, and the older ones that they use."""
    seen = set() if root is None else {root}
    todo, inside, outside = list(seen), list[Node](), list[Node]()
    while todo:
        node = todo.pop()
        if node.number < start:
            outside.append(node)
            continue
        inside.append(node)
        for parent in node.parents:
            if parent is not None and parent not in seen:
                seen.add(parent)
                todo.append(parent)
    return inside, tuple(outside)


def outline(nodes: list[Node]) -> list[tuple[Any, ...]]:
    """The ops of a run in order, and which parents need gradients: equal for equal runs."""
    return [
        (n.op, n.index, n.shape, n.dtype, [p is not None for p in n.parents])
        for n in sorted(nodes, key=NUMBER)
    ]


def nearly_equal(before: Array, after: Array) -> bool:
    """Whether two results agree up to rounding, which is far below √eps of the largest value."""
    if before.shape != after.shape or before.dtype != after.dtype:
        return False
    if not before.size:
        return True
    largest = float(np.max(np.where(np.isfinite(before), np.absolute(before), 0.0)))
    room = math.sqrt(float(np.finfo(before.dtype).eps)) * largest
    return bool(np.allclose(after, before, rtol=0.0, atol=room, equal_nan=True))


class Checkpoint(Op):
    """The op of a checkpoint's node."""

    def differentiate(self, node: Node, g: Any) -> Any:
        raise RuntimeError("checkpoint: it has no second derivative; call the function itself")


CHECKPOINT = Checkpoint(checkpoint)  # type: ignore[reportArgumentType]
