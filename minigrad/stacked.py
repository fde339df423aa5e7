"""An op over the replicas of a stacked model (`nn.stack`): the plain op, for each replica.

    @op(stacked=("weight", 2))       # a plain weight is (out, in); one with three axes is a stack
    def linear(x, weight, bias=None): ...

Where the named argument has one axis more than in the plain op, every array has an axis of R
replicas in front. The value is the stack of the replicas' values, and so are the gradients. Neither
the body nor its kernel knows of replicas: each replica goes to the kernel or to the plain body.

On a GPU that takes R times the launches. A kernel for the whole stack takes as many launches as for
one model; it registers with `op.stacked` instead of the op, and may decline like any other kernel.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from minigrad import device as devices
from minigrad.joining import stacked
from minigrad.kernel import Routine
from minigrad.tensor import Tensor

if TYPE_CHECKING:
    from minigrad.op import Op


class Stacked(Routine):
    """An op mapped over the first axis of its arrays.

    argument, ndim: the argument that shows whether there is an axis of replicas, and its number of
                    axes in the plain op. For `*weights` it is the first of them.
    """

    def __init__(self, one: Op, argument: str, ndim: int) -> None:
        super().__init__(self.each)
        self.name = f"stacked {one.name}"
        self.one = one
        self.names = [*inspect.signature(one.body).parameters]
        self.place, self.ndim = self.names.index(argument), ndim
        self.composite = one.composite and self.each_composite

    def form(self, args: Sequence[Any]) -> Op | Stacked:
        """The form for these arguments: this one, or the plain op.

        ValueError for an array that is no stack, or has another number of replicas.
        """
        if len(args) <= self.place or getattr(args[self.place], "ndim", 0) != self.ndim + 1:
            return self.one
        count = len(args[self.place])
        for i, a in enumerate(args):
            if is_array(a) and (a.shape[:1] != (count,) or not count):
                name = self.names[min(i, len(self.names) - 1)]
                raise ValueError(
                    f"expected {name} ({count or 'R'}, ...), an axis of replicas in front as in "
                    f"{self.names[self.place]}"
                )
        return self

    def each(self, *args: Any, **kwargs: Any) -> Any:
        """The body: values and pullbacks of all replicas, joined. On Tensors, ops are recorded."""
        recorded = any(isinstance(a, Tensor) for a in args)
        run = self.one.body if recorded else self.one.run
        results = [run(*part(args, r), **kwargs) for r in range(len(args[self.place]))]
        values, pulls = zip(*results, strict=True)
        if isinstance(pulls[0], tuple):  # one for each argument
            return joined(values), tuple(map(pull_of, zip(*pulls, strict=True)))
        return joined(values), pull_of(pulls)

    def each_composite(self, *args: Any, **kwargs: Any) -> Any:
        count, composite = len(args[self.place]), self.one.composite
        assert composite is not None
        return joined([composite(*part(args, r), **kwargs) for r in range(count)])


def is_array(a: Any) -> bool:
    return isinstance(a, Tensor) or devices.is_array(a)


def part(a: Any, r: int) -> Any:
    """Replica r of an array, as a view; also of arrays in a tuple. Other values unchanged."""
    if isinstance(a, tuple):
        return tuple(part(item, r) for item in a)
    return a[r, ...] if is_array(a) else a


def joined(parts: Sequence[Any]) -> Any:
    """The inverse of `part`: replicas stacked into a new array."""
    if isinstance(parts[0], tuple):
        return tuple(map(joined, zip(*parts, strict=True)))
    return None if parts[0] is None else stacked(parts)


def pull_of(pulls: Sequence[Any]) -> Any:
    """The pullback of a stack from those of its replicas."""
    if pulls[0] is None:
        return None
    return lambda g: joined([pull(part(g, r)) for r, pull in enumerate(pulls)])


def stack_of(fn: Any) -> Stacked:
    """The stacked form of an op such as `mg.linear`, with which kernels for stacks register."""
    return fn.op.stacked
