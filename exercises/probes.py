"""What an answer computes, in place of the library's lines.

A probe runs an answer and returns numbers by name. Run on the library's own lines it gives the
right numbers, on a known mistake those of the mistake.
"""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol
from unittest.mock import patch

import numpy as np

import minigrad as mg
from exercises.cut import Function
from minigrad import graph
from minigrad.kernel import Routine

Numbers = dict[str, Any]  # arrays, or words, by what they are
Arguments = Callable[[np.random.Generator], tuple[Any, ...]]


class Probe(Protocol):
    """How an exercise tells answers apart."""

    def __call__(self, function: Function, answer: Any) -> Numbers:
        """What the answer computes; raises what it raises."""
        ...


# --- in place of the library's --------------------------------------------------------------------
@contextlib.contextmanager
def in_place(function: Function, answer: Any) -> Iterator[None]:
    """The library with this answer in place of its own function, method or op."""
    owner = function.module
    *path, last = function.name.split(".")
    for part in path:
        owner = getattr(owner, part)
    own = getattr(owner, last)
    routine = getattr(own, "op", own)
    if isinstance(routine, Routine):
        body = body_of(answer)
        with patch.multiple(routine, body=body, run=body):
            yield
    else:
        with patch.object(owner, last, answer):
            yield


def body_of(answer: Any) -> Callable[..., Any]:
    """The plain function of an op or a routine."""
    routine = getattr(answer, "op", answer)
    return routine.body if isinstance(routine, Routine) else answer


@dataclass(frozen=True)
class Program:
    """A program that uses the library, with the answer in place.

    program: returns numbers by name.
    """

    program: Callable[[], Numbers]

    def __call__(self, function: Function, answer: Any) -> Numbers:
        with in_place(function, answer):
            return self.program()


@dataclass(frozen=True)
class Call:
    """A plain function, called with copies of arguments that the answer may change.

    calls:  the arguments, made anew each time.
    result: numbers by name, of the arguments after the call and what was returned.
    """

    calls: Callable[[], Sequence[Any]]
    result: Callable[[Sequence[Any], Any], Numbers]

    def __call__(self, function: Function, answer: Any) -> Numbers:
        args = self.calls()
        return self.result(args, body_of(answer)(*args))

    def untouched(self) -> Numbers:
        """What the numbers are if the arguments stay as they are."""
        return self.result(self.calls(), None)


@dataclass(frozen=True)
class Both:
    """A function called by itself, and then a program that uses it."""

    call: Call
    program: Program

    def __call__(self, function: Function, answer: Any) -> Numbers:
        return {**self.call(function, answer), **self.program(function, answer)}

    def untouched(self) -> Numbers:
        return self.call.untouched()


# --- ops ------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class OpProbe:
    """The body of an op on float64 arrays: its value, and the gradients for a random cotangent.

    args:   made with a random generator.
    timing: larger arguments, on which the speed is measured.
    cases:  by name, other arguments and options that must be right too.
    """

    args: Arguments
    timing: Arguments
    options: dict[str, Any] = field(default_factory=dict)
    second_order: bool = True
    cases: Mapping[str, tuple[Arguments, dict[str, Any]]] = field(default_factory=dict)

    def __call__(self, function: Function, answer: Any) -> Numbers:
        numbers = dict(self.trace(answer).numbers)
        for name, (args, options) in self.cases.items():
            trace = Trace.of(answer, args(np.random.default_rng(0)), options)
            numbers |= {f"{what} {name}": value for what, value in trace.numbers.items()}
        return numbers

    def trace(self, answer: Any) -> Trace:
        args = self.args(np.random.default_rng(0))
        return Trace.of(answer, args, self.options)

    def seconds(self, answer: Any) -> Callable[[], Any]:
        """A call whose time is compared with that of the library's lines."""
        body, args = body_of(answer), self.timing(np.random.default_rng(0))
        ys, _ = body(*args, **self.options)
        g = np.ones_like(ys[0] if type(ys) is tuple else ys)
        seed = (g, *map(np.zeros_like, ys[1:])) if type(ys) is tuple else g

        def once() -> None:
            pulled(body(*args, **self.options)[1], seed)

        return once


@dataclass(frozen=True)
class Trace:
    """One run of an op's body and its pullback, with what tells mistakes apart."""

    numbers: Numbers  # "forward", "gradient of NAME"
    values: tuple[Any, ...]  # of the op
    cotangents: tuple[Any, ...]
    with_ones: Numbers  # the gradients for cotangents of ones
    changes_g: bool  # whether the pullback writes into what it is given
    repeats: bool  # whether the pullback gives the same a second time
    linear: bool  # whether twice the cotangent gives twice the gradient

    @classmethod
    def of(cls, answer: Any, args: tuple[Any, ...], options: dict[str, Any]) -> Trace:
        body, op = body_of(answer), getattr(answer, "op", None)
        ys, pull = pair(body(*args, **options))
        values = tuple(np.array(y) for y in (ys if type(ys) is tuple else (ys,)))
        names = [f"forward {i}" for i in range(len(values))] if len(values) > 1 else ["forward"]
        rng = np.random.default_rng(1)
        cotangents = tuple(rng.standard_normal(y.shape) for y in values)

        def gradients(*gs: Any) -> Numbers:
            parts = pulled(pull, gs if len(gs) > 1 else gs[0])
            found = zip(parameters(body), args, parts, strict=False)
            return {
                f"gradient of {name}": summed(np.asarray(part), np.shape(arg), op)
                for name, arg, part in found
                if part is not None and np.asarray(arg).dtype.kind == "f"
            }

        given = tuple(g.copy() for g in cotangents)
        first = gradients(*given)
        changes_g = any(not np.array_equal(a, b) for a, b in zip(given, cotangents, strict=True))
        copies = [tuple(g * k for g in cotangents) for k in (1.0, 2.0)]
        again, double = (gradients(*gs) for gs in copies)
        ones = gradients(*(np.ones_like(g) for g in cotangents))
        return cls(
            {**dict(zip(names, values, strict=True)), **first},
            values,
            cotangents,
            ones,
            changes_g,
            all(same(first[name], again[name]) for name in first),
            all(same(2.0 * again[name], double[name]) for name in first),
        )


def pair(result: Any) -> tuple[Any, Any]:
    """The value and the pullback that a body returned. TypeError that says what is missing."""
    if result is None:
        raise TypeError("nothing is returned: is there a return?")
    if type(result) is not tuple or len(result) != 2:
        raise TypeError("expected two things to be returned, the value and the pullback")
    pulls = result[1] if type(result[1]) is tuple else (result[1],)
    if not all(callable(p) or p is None for p in pulls):
        raise TypeError("a pullback is a function of g, such as lambda g: 2.0 * g")
    return result


def parameters(body: Callable[..., Any]) -> list[str]:
    return list(inspect.signature(body).parameters)


def pulled(pull: Any, g: Any) -> tuple[Any, ...]:
    """What the pullbacks of a body return, one for each argument."""
    if type(pull) is tuple:
        return tuple(None if p is None else p(g) for p in pull)
    parts = pull(g)
    return parts if type(parts) is tuple else (parts,)


def summed(g: Any, shape: tuple[int, ...], op: Any) -> Any:
    """As the walk does for an op that broadcasts."""
    if op is not None and op.broadcast and g.shape != shape:
        with contextlib.suppress(ValueError):
            return graph.unbroadcast(g, shape)
    return np.array(g)


def same(a: Any, b: Any) -> bool:
    """Whether two results are equal, to rounding: float64, sums of a few hundred terms."""
    if isinstance(a, str) or isinstance(b, str):
        return a == b
    a, b = np.asarray(a), np.asarray(b)
    if a.shape != b.shape or a.dtype.kind not in "fiub" or b.dtype.kind not in "fiub":
        return False
    return bool(np.allclose(a, b, rtol=1e-9, atol=1e-11, equal_nan=True))


def verdict(f: Any, *args: Any, order: int = 1) -> str:
    """What `mg.gradcheck` says of an op."""
    try:
        mg.gradcheck(f, args, order=order)
    except mg.GradcheckError:
        return "refused"
    except Exception as error:
        return f"raises {type(error).__name__}: {str(error)[:80]}"
    return "accepted"
