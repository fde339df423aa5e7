"""The record of what was computed, and the walk back over it.

Every op that runs on a tensor which needs a gradient leaves one `Node`. A node knows the nodes of
the op's inputs and the op's pullback, the function that turns the gradient of the output into the
gradients of the inputs. It does not know the tensors: an array that no pullback names is freed as
soon as the user lets go of it.

The walk visits nodes in descending order of creation, and that order matters. In the diamond

    b = a + a
    c = b * b + b

two ops use `b`. Its gradient is complete only after both have contributed, and both were created
after `b`, as was every other op that could contribute. A depth-first walk would pass a partial
gradient through `a + a`, and then the rest of the gradient through `a + a` again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from operator import attrgetter
from time import perf_counter
from typing import Any

import numpy as np

from minigrad import device as devices
from minigrad.errors import explained_backward
from minigrad.inplace import check_unchanged, clock
from minigrad.observers import OBSERVERS, notify
from minigrad.wide import narrow, widen

Array = Any  # numpy.ndarray or cupy.ndarray; inside a higher derivative also a Tensor
NUMBER = attrgetter("number")


# --- nodes ------------------------------------------------------------------------------------
def freed(_: Array) -> Array:
    """Replaces a pullback after its one use."""
    raise AssertionError("a freed pullback was called")


class Node:
    """One recorded op, or a leaf (`pull is None`).

    parents: the node of each positional argument, None where no gradient is wanted.
    pull:    one function, or one per argument; see `op.py`.
    shape, dtype: of the output, for the check of the gradients that arrive here.
    """

    grad: Any = None  # of a leaf, or after retain_grad(): a Tensor
    retains_grad = False
    hooks: tuple[Callable[[Any], Any], ...] = ()
    inputs: tuple[tuple[Any, ...], dict[str, Any]] | None = None  # kept only under KEEP_INPUTS
    where: str = ""  # the line that made the node, inside `debug.find_nan`
    index: int | None = None  # set on the outputs of an op that returns several

    def __init__(self, op: Any, parents: Any, pull: Any, shape: Any, dtype: Any) -> None:
        self.number = clock()
        self.op = op
        self.parents = parents
        self.pull = pull
        self.shape = shape
        self.dtype = dtype

    @property
    def name(self) -> str:
        return self.op.name if self.op is not None else "leaf"

    def __repr__(self) -> str:
        return f"<{self.name} #{self.number} {self.shape} {self.dtype}>"


# --- the walk -----------------------------------------------------------------------------------
def unbroadcast(g: Array, shape: tuple[int, ...]) -> Array:
    """Sum `g` over the axes along which an array of `shape` was repeated.

    Broadcasting copies a value to many places; the gradient of a copy is the sum over the copies.
    Returns `g` itself if nothing was repeated.
    """
    if g.shape == shape:
        return g
    extra = len(g.shape) - len(shape)
    axes = tuple(range(extra)) + tuple(
        extra + i for i, n in enumerate(shape) if n == 1 and g.shape[extra + i] != 1
    )
    total = np.sum(widen(g), axis=axes)
    return np.reshape(total if total.dtype == g.dtype else narrow(total), shape)


def reachable(roots: Iterable[Node], targets: frozenset[Node] | None) -> list[Node]:
    """Nodes that can receive a gradient, newest first; with targets, only those on a way there."""
    oldest = min((t.number for t in targets), default=0) if targets else 0
    seen = set(roots)
    todo = list(seen)
    while todo:
        node = todo.pop()
        if targets and node in targets:
            continue
        for parent in node.parents:
            if parent is not None and parent not in seen and parent.number >= oldest:
                seen.add(parent)
                todo.append(parent)
    order = sorted(seen, key=NUMBER)
    if targets is not None:
        useful = set(targets)
        for node in order:
            if any(p in useful for p in node.parents):
                useful.add(node)
        order = [n for n in order if n in useful]
    order.reverse()
    return order


@np.errstate(divide="ignore", over="ignore", invalid="ignore")  # see debug.find_nan
def walk(
    roots: Iterable[tuple[Node, Array]],
    *,
    targets: frozenset[Node] | None = None,
    retain_graph: bool = False,
    create_graph: bool = False,
) -> dict[Node, Array]:
    """Gradients of the leaves (or of `targets`), and of every node that retains its gradient.

    roots: pairs of a node and the gradient of the result with respect to it.
    create_graph: gradients are Tensors, and every step of the walk is itself recorded.

    The returned arrays share memory with nothing. The walk itself writes no `.grad`, so a walk that
    fails changes nothing.
    """
    roots = list(roots)
    order = reachable([node for node, _ in roots], targets)
    useful, ends = set(order), targets or frozenset()
    table = Table()
    results: dict[Node, Array] = {}
    for node, g in roots:
        table.add(node, g)
    for node in order:
        g: Any = table.pop(node, None)
        if g is None:
            continue
        if type(g) is dict:  # of a node with several outputs: {index: gradient}
            g = with_zeros(g, node)
        for hook in node.hooks:
            g = hook(g)
            table.unshared.discard(node)
        last = node.pull is None or node in ends
        if last or node.retains_grad:
            results[node] = g if create_graph or (last and node in table.unshared) else g.copy()
        if last:
            continue
        if node.index is not None:  # one of several outputs: the op's node collects them
            table.setdefault(node.parents[0], {})[node.index] = g
        else:
            spread(node, g, table, useful, retain_graph, create_graph)
    return results


class Table(dict[Node, Any]):
    """The gradients that have arrived at nodes which the walk has not visited yet.

    unshared: nodes whose entry nothing else refers to: a sum that was made here, or a new array.
    Such an entry may be added to in place and returned without a copy; others may be shared.
    """

    def __init__(self) -> None:
        super().__init__()
        self.unshared: set[Node] = set()

    def add(self, node: Node, g: Array, new: bool = False) -> None:
        """Add g to the gradient that has arrived at a node. new: nothing else refers to g."""
        if node in self.unshared:
            np.add(self[node], g, out=self[node])
        elif node in self:
            total = self[node] + g
            self[node] = total = np.asarray(total) if isinstance(total, np.generic) else total
            if devices.is_array(total):  # no Tensor
                self.unshared.add(node)
        else:
            self[node] = g
            if new:
                self.unshared.add(node)


def spread(
    node: Node, g: Array, table: Table, useful: set[Node], retain_graph: bool, create_graph: bool
) -> None:
    """Apply the pullback of a node, add the results to its parents that need one, free the node."""
    if node.pull is freed:
        raise RuntimeError(
            f"{node.name}: its saved arrays were already used and freed by a backward pass. "
            f"Pass retain_graph=True to that one, or run the forward pass again."
        )
    contributions, parents = contributions_of(node, g, useful, create_graph), node.parents
    keeping = retain_graph or create_graph
    if not keeping:
        node.pull, node.parents, node.inputs = freed, (), None
    count = len(contributions)
    if count < len(parents) and any(p in useful for p in parents[count:]):
        raise RuntimeError(
            f"{node.name}: its pullback returned {count} gradient(s), but an argument after "
            f"those needs one too"
        )
    for parent, c in zip(parents, contributions, strict=False):
        if c is not None and parent in useful:
            end = parent.pull is None and parent not in table
            new = end and not keeping and is_new(c, g, contributions)
            table.add(parent, checked(node, parent, c), new)


def is_new(c: Array, g: Array, contributions: Sequence[Array]) -> bool:
    """Whether c is new and for one parent only: not g itself, not a view, not returned twice."""
    others = (*g, *contributions) if type(g) is tuple else (g, *contributions)
    return c.base is None and sum(c is other for other in others) == 1


def contributions_of(
    node: Node, g: Array, useful: set[Node], create_graph: bool
) -> Sequence[Array]:
    """The gradients that one node passes back, one per parent."""
    check_unchanged(node)
    if create_graph:
        return node.op.differentiate(node, g)
    start = perf_counter() if OBSERVERS else 0.0
    try:
        contributions = pulled(node.pull, g, node.parents, useful)
    except (MemoryError, RuntimeError) as error:  # of the device
        raise explained_backward(error, node, g) from error
    if OBSERVERS:
        notify("backward", node, start, g, contributions)
    return contributions


def pulled(pull: Any, g: Array, parents: Any, useful: set[Node]) -> Sequence[Array]:
    """Call one pullback for all arguments, or those pullbacks whose result is wanted."""
    if type(pull) is tuple:
        return [
            p(g) if p is not None and parent in useful else None
            for p, parent in zip(pull, parents, strict=False)
        ]
    out = pull(g)
    return out if type(out) is tuple else (out,)


def with_zeros(gradients: dict[int, Array], node: Node) -> tuple[Array, ...]:
    """Gradients of all outputs of a node; for an output that was not used a single 0, repeated."""
    like = next(iter(gradients.values()))
    return tuple(
        gradients[i] if i in gradients else np.broadcast_to(zero_beside(like, dtype), shape)
        for i, (shape, dtype) in enumerate(zip(node.shape, node.dtype, strict=True))
    )


def zero_beside(like: Array, dtype: Any) -> Array:
    """0 as a 0-d array or Tensor on the device of `like`. CuPy's zeros_like ignores shape ()."""
    return np.zeros_like(like, dtype, shape=(1,)).reshape(())


def checked(node: Node, parent: Node, c: Array) -> Array:
    """The contribution in the shape and dtype of the parent's output, or an error about `node`."""
    if c.shape != parent.shape and node.op.broadcast:
        c = unbroadcast(c, parent.shape)
    if isinstance(c, np.generic):
        c = np.asarray(c)
    if c.shape != parent.shape or (c.dtype is not parent.dtype and c.dtype != parent.dtype):
        raise RuntimeError(
            f"{node.name}: its pullback returned a gradient of shape {c.shape}, {c.dtype} for an "
            f"argument of shape {parent.shape}, {parent.dtype}"
        )
    return c
