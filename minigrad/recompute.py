"""Activations that are computed again on the way back, and not kept.

    y = mg.checkpoint(block, x)

Source: Chen et al., Training Deep Nets with Sublinear Memory Cost (2016).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from minigrad import random
from minigrad.graph import Array, Node, reachable, walk
from minigrad.inplace import check_unchanged, clock
from minigrad.modes import enable_grad
from minigrad.op import Op, own
from minigrad.tensor import Tensor


def checkpoint(f: Callable[..., Tensor], *args: Any) -> Tensor:
    """f(*args), keeping only arguments and result: the backward pass computes the inside again.

    `f` returns one tensor. Gradients reach the tensor arguments and everything else that `f`
    uses; random draws are repeated. All else that `f` does, it does twice: inside, a batch norm in
    training moves its running statistics again. There is no second derivative through it.

    TypeError if `f` returns anything else. RuntimeError in the backward pass if `f` then gives
    another result, because a module was switched to evaluation, say; on a GPU, where the host would
    have to wait, results are not compared.
    """
    args = tuple(a if isinstance(a, Tensor) else own(a) for a in args)
    state, start = random.get_state(), clock()
    y = f(*args)
    if not isinstance(y, Tensor):
        raise TypeError(f"checkpoint: expected f to return one tensor, got {type(y).__name__}")
    if y.node is None:
        return y
    outside = tuple(nodes_before(start, y.node))
    made, value = clock(), y.data

    def pull(g: Any) -> tuple[Any, ...]:
        after, began = random.get_state(), clock()
        random.set_state(state)
        try:
            with enable_grad():
                again = f(*args)
        finally:
            random.set_state(after)
        root, targets = again.node, frozenset(outside)
        for node in reachable([root], targets) if root is not None else ():
            if node not in targets:
                check_unchanged(node, made, began)
        if root is None or (isinstance(value, np.ndarray) and not repeated(value, again.data)):
            raise RuntimeError(
                "f gave another result than in the forward pass, so its gradient would be wrong. "
                "Is a module in another mode, or has something changed that f reads? Random "
                "numbers must come from minigrad.random"
            )
        found = walk([(root, g)], targets=targets)
        return tuple(found.get(node) for node in outside)

    return Tensor(value, Node(CHECKPOINT, outside, pull, y.shape, y.dtype))


def repeated(before: Array, after: Array) -> bool:
    """Whether two results are the same up to rounding, which is far below √eps of the largest."""
    if before.shape != after.shape or before.dtype != after.dtype:
        return False
    if not before.size:
        return True
    largest = float(np.max(np.where(np.isfinite(before), np.absolute(before), 0.0)))
    room = math.sqrt(float(np.finfo(before.dtype).eps)) * largest
    return bool(np.allclose(after, before, rtol=0.0, atol=room, equal_nan=True))


def nodes_before(start: int, node: Node) -> list[Node]:
    """The nodes older than `start` that a graph rests on."""
    if node.number < start:  # f returned what it was given
        return [node]
    seen, todo, old = {node}, [node], list[Node]()
    while todo:
        for parent in todo.pop().parents:
            if parent is not None and parent not in seen:
                seen.add(parent)
                (old if parent.number < start else todo).append(parent)
    return old


class Checkpoint(Op):
    """What a checkpoint's node has for an op."""

    def differentiate(self, node: Node, g: Any) -> Any:
        raise RuntimeError("checkpoint: it has no second derivative; call the function itself")


CHECKPOINT = Checkpoint(checkpoint)  # type: ignore[reportArgumentType]
