"""Activations that are computed again on the way back, and not kept.

    y = mg.checkpoint(block, x)

Source: Chen et al., Training Deep Nets with Sublinear Memory Cost (2016).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from minigrad import random
from minigrad.graph import Node, reachable, walk
from minigrad.inplace import check_unchanged, clock
from minigrad.modes import enable_grad
from minigrad.op import Op
from minigrad.tensor import Tensor


def checkpoint(f: Callable[..., Tensor], *args: Any) -> Tensor:
    """f(*args), keeping only the arguments: the backward pass computes the inside again.

    `f` returns one tensor. Gradients reach the tensor arguments and everything else that `f`
    uses; random draws are repeated. All else that `f` does, it does twice: inside, a batch norm in
    training moves its running statistics again. There is no second derivative through it.
    """
    state, start = random.get_state(), clock()
    y = f(*args)
    if not isinstance(y, Tensor):
        raise TypeError(f"checkpoint: expected f to return one tensor, got {type(y).__name__}")
    if y.node is None:
        return y
    outside = tuple(nodes_before(start, y.node))
    made = clock()

    def pull(g: Any) -> tuple[Any, ...]:
        after, began = random.get_state(), clock()
        random.set_state(state)
        try:
            with enable_grad():
                again = f(*args)
        finally:
            random.set_state(after)
        assert again.node is not None
        for node in reachable([again.node], frozenset(outside)):
            if node not in outside:
                check_unchanged(node, made, began)
        found = walk([(again.node, g)], targets=frozenset(outside))
        return tuple(found.get(node) for node in outside)

    return Tensor(y.data, Node(CHECKPOINT, outside, pull, y.shape, y.dtype))


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
