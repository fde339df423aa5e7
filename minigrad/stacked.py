"""An op over the replicas of a stacked model (`nn.stack`): its plain rule, for each of them.

    @op(stacked=("weight", 2))       # alone weight is (out, in); with three axes it is a stack
    def linear(x, weight, bias=None): ...

Where the named argument has one axis more than it has alone, every array has an axis of R replicas
in front. The value is the stack of the values that the parts have, and so are the gradients. An op
says nothing more of replicas, nor does its kernel: each part goes to the kernel or the plain body.

On a GPU that would take R times the launches. A kernel of the whole stack takes as many as for one
model; it registers with `op.stacked` in the place of the op, and declines as any other.
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

    argument, ndim: the argument that says whether there is such an axis, and how many axes it has
                    without it. Of several (`*weights`) it is the first.
    """

    def __init__(self, one: Op, argument: str, ndim: int) -> None:
        super().__init__(self.each)
        self.name = f"stacked {one.name}"
        self.one = one
        self.names = [*inspect.signature(one.body).parameters]
        self.place, self.ndim = self.names.index(argument), ndim
        self.composite = one.composite and self.each_composite

    def form(self, args: Sequence[Any]) -> Op | Stacked:
        """What serves these arguments: this, or the op itself.

        ValueError for an array that is no stack, or one of other length.
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
        """The body: values and pullbacks of all parts, joined. Of Tensors it is recorded."""
        recorded = any(isinstance(a, Tensor) for a in args)
        run = self.one.body if recorded else self.one.run
        answers = [run(*part(args, r), **kwargs) for r in range(len(args[self.place]))]
        values, pulls = zip(*answers, strict=True)
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
    """Replica r of an array, a view; of the arrays in a tuple; what is no array as it is."""
    if isinstance(a, tuple):
        return tuple(part(item, r) for item in a)
    return a[r, ...] if is_array(a) else a


def joined(parts: Sequence[Any]) -> Any:
    """The opposite of `part`, a copy."""
    if isinstance(parts[0], tuple):
        return tuple(map(joined, zip(*parts, strict=True)))
    return None if parts[0] is None else stacked(parts)


def pull_of(pulls: Sequence[Any]) -> Any:
    """The pullback of a stack from those of its parts."""
    if pulls[0] is None:
        return None
    return lambda g: joined([pull(part(g, r)) for r, pull in enumerate(pulls)])


def stack_of(fn: Any) -> Stacked:
    """What kernels of whole stacks register with, of an op such as `mg.linear`."""
    return fn.op.stacked
