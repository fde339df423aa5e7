"""@op: a function on arrays that says how gradients flow back becomes an op on tensors.

    @op(numpy=np.exp)
    def exp(x: Array) -> Result:
        y = np.exp(x)
        return y, lambda g: g * y

The body computes the value `y` and returns beside it the pullback: the function from the gradient
of `y` to the gradient of `x`. Arrays that the closure names stay in memory until the backward pass
has used them. With several arguments the second item is a tuple with one pullback (or None) per
positional argument, or, where the gradients share work, one function that returns a tuple of all of
them. None says that the op carries no gradient.

An op with several outputs returns a tuple of values; its pullback receives a tuple of gradients,
zeros for outputs that were not used.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Sequence
from time import perf_counter
from typing import Any

import numpy as np

from minigrad import graph
from minigrad.errors import EXPLAINED, explained
from minigrad.graph import Node
from minigrad.inplace import check_unchanged
from minigrad.kernel import Routine
from minigrad.modes import KEEP_INPUTS, MODE, OFF
from minigrad.observers import OBSERVERS, notify
from minigrad.protocols import NUMPY
from minigrad.rules import fitted, positional, tidy, unwrapped
from minigrad.stacked import Stacked
from minigrad.tensor import Tensor

Pullback = Callable[[Any], Any]
Result = tuple[Any, Pullback | tuple[Pullback | None, ...] | None]

OPS: dict[str, Op] = {}  # every op of minigrad by name; the tests are driven by it


class Op(Routine):
    """One op: its body, how the body is called, and how its gradient is differentiated."""

    moves = False  # whether the arrays of the op may be on any GPU; only `to_device` sets this

    def __init__(
        self,
        body: Callable[..., Result],
        *,
        broadcast: bool = False,
        casts: bool = False,
        composite: Callable[..., Any] | None = None,
        stacked: tuple[str, int] | None = None,
    ) -> None:
        super().__init__(body)
        self.broadcast = broadcast
        self.casts = casts
        self.composite = composite
        parameters = inspect.signature(body).parameters.values()
        self.places = [(p.name, p.default) for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD]
        self.stacked = None if stacked is None else Stacked(self, *stacked)

    def __repr__(self) -> str:
        return f"<op {self.name}>"

    def differentiate(self, node: Node, g: Any) -> Sequence[Any]:
        """The pullback of `node` applied to a Tensor and recorded, for higher derivatives.

        The body runs again, on Tensors: `y` and the closure are then Tensors, so the pullback
        records itself. A fused op runs as its composite instead.
        """
        if node.inputs is None:
            raise RuntimeError(
                f"{self.name}: recorded without its inputs, so its gradient has no gradient of its "
                f"own. Write the first derivative as mg.grad(f)(x), which composes: "
                f"mg.grad(mg.grad(f))(x)."
            )
        args, kwargs = node.inputs
        check_unchanged(node, saved=args)
        useful = {p for p in node.parents if p is not None}
        form = self if self.stacked is None else self.stacked.form(args)
        if form.composite is None:
            _, pull = form.body(*args, **kwargs)
            return graph.pulled(pull, g, node.parents, useful)
        args = tuple(a.clone() if isinstance(a, Tensor) and a.node else a for a in args)
        nodes = tuple(a.node if isinstance(a, Tensor) else None for a in args)
        y = form.composite(*args, **kwargs)
        pairs = zip(y, g, strict=True) if isinstance(y, tuple) else [(y, g)]
        roots = [(out.node, g_out) for out, g_out in pairs if out.node is not None]
        targets = frozenset(n for n in nodes if n is not None)
        gradients = graph.walk(roots, targets=targets, create_graph=True)
        return [None if n is None else gradients.get(n) for n in nodes]


def op(
    body: Any = None,
    *,
    broadcast: bool = False,
    casts: bool = False,
    numpy: Any = None,
    composite: Callable[..., Any] | None = None,
    stacked: tuple[str, int] | None = None,
) -> Any:
    """Turn a body into an op; use as `@op` or `@op(...)`.

    broadcast: the arguments broadcast as in NumPy, scalars and integers take the dtype of the
               tensors, and gradients are summed back to the shape of each argument.
    casts:     the body chooses the dtype of the result; without `casts`, a float64 result of
               integers only becomes float32.
    numpy:     the NumPy function (or several) that calls this op when it is given a tensor.
    composite: for a fused op, the same function of the same arguments in smaller ops. It gives
               the higher derivatives, and the tests compare the two.
    stacked:   an argument and the number of its axes; with one axis more, every array has an axis
               of replicas in front, and the op is mapped over it (`minigrad.stacked`).
    """
    options: dict[str, Any] = {"broadcast": broadcast, "casts": casts, "composite": composite}
    options["stacked"] = stacked
    if body is None:
        return functools.partial(op, numpy=numpy, **options)
    this = Op(body, **options)
    mode_of, observers, stack = MODE.get, OBSERVERS, this.stacked

    @functools.wraps(body)
    def call(*args: Any, **kwargs: Any) -> Any:
        # unwrap
        if kwargs:
            args, kwargs = positional(this, args, kwargs)
        arrays, parents, dtype = unwrapped(args)
        mode = mode_of() if any(parents) else OFF
        # run
        start = perf_counter() if observers else 0.0
        try:
            if dtype is None:
                args, arrays = fitted(args, bool(mode), broadcast)
            form = this if stack is None else stack.form(arrays)
            y, pull = form.run(*arrays, **kwargs)
            if y.__class__ is not np.ndarray or y.dtype is not dtype:
                y = tidy(this, y, arrays)
        except EXPLAINED as error:
            raise explained(error, this, args, kwargs) from error
        # wrap
        node = record(this, parents, pull, y) if mode and pull is not None else None
        if node is not None and mode == KEEP_INPUTS:
            node.inputs = (args, kwargs)
        if observers:
            notify("forward", node or this, start, arrays, y)
        if y.__class__ is tuple:
            return tuple(Tensor(o, output_node(node, i)) for i, o in enumerate(y))
        return Tensor(y, node)

    call.op = this  # type: ignore[attr-defined]
    register(this, call, numpy if isinstance(numpy, (tuple, list)) else (numpy,))
    return call


def record(this: Op, parents: list[Node | None], pull: Any, y: Any) -> Node | None:
    """The node of an op that has just run; None for integers, which carry no gradient."""
    if type(pull) is tuple:
        if None in parents:  # free the arrays that only the pullbacks of these would need
            pull = tuple(p if n else None for p, n in zip(pull, parents, strict=False))
    elif not callable(pull):
        raise TypeError(
            f"{this.name}: beside its value the body must return a pullback, a tuple with one for "
            f"each argument, or None; it returned {type(pull).__name__}"
        )
    if type(y) is tuple:
        return Node(this, parents, pull, tuple(o.shape for o in y), tuple(o.dtype for o in y))
    return Node(this, parents, pull, y.shape, y.dtype) if y.dtype.kind == "f" else None


def output_node(node: Node | None, index: int) -> Node | None:
    """The node of one output of an op that has several."""
    if node is None or node.dtype[index].kind != "f":
        return None
    output = Node(node.op, (node,), graph.freed, node.shape[index], node.dtype[index])
    output.index = index
    return output


def register(this: Op, call: Callable[..., Any], functions: Sequence[Any]) -> None:
    """Enter an op of minigrad in `OPS`, and any op under the NumPy functions that call it."""
    ours = is_ours(this.body)
    if ours:
        OPS[this.name] = this
    for function in functions:
        if function is None:
            continue
        if not ours and is_ours(NUMPY.get(function)):
            raise ValueError(f"np.{function.__name__} already calls an op of minigrad")
        NUMPY[function] = call


def is_ours(function: Any) -> bool:
    return getattr(function, "__module__", "").startswith("minigrad.")


def inside(fn: Callable[..., Any], *args: Any) -> Any:
    """Call one op inside the body of another: its value on arrays, the recorded op on Tensors."""
    if any(isinstance(a, Tensor) for a in args):
        return fn(*args)
    return fn.op.body(*args)[0]  # type: ignore[attr-defined]
