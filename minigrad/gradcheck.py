"""Is a gradient right? Compare it with the difference quotient, one random direction at a time.

Multiply the outputs of f by random numbers c and add them up: p(x) = Σ c y is one number. The
backward pass, started with the cotangent c, claims that p has the gradient g. Then for any
direction u

    (p(x + εu) - p(x - εu)) / 2ε  =  Σ g u  +  O(ε²)

and one random u sees a mistake anywhere in g. What makes this a check and not a decoration:

- a random c. With c = 1 (which is what `.sum().backward()` does) the true gradient of softmax is 0
  and a permuted gradient goes unseen.
- a direction for each argument. In a common direction an argument of size 1e4 hides one of 1e-4.
- float64. In float32 a difference quotient has three digits.

`tests/ops/test_ops.py` plants wrong gradients in every op and requires that this check refuses
them.
"""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from minigrad import device as devices
from minigrad.graph import walk
from minigrad.modes import enable_grad, no_grad
from minigrad.tensor import Tensor
from minigrad.transforms import grad, name_of
from minigrad.tree import leaves, mapped


class GradcheckError(AssertionError):
    """A gradient that does not agree with the difference quotient."""


def gradcheck(
    f: Callable[..., Any],
    args: Sequence[Any],
    *,
    order: int = 1,
    eps: float = 1e-5,
    rtol: float = 1e-6,
    atol: float = 1e-8,
    seed: int = 0,
) -> None:
    """Raise GradcheckError unless the gradients of `f(*args)` are right.

    f:     returns float64 tensors, equal ones for equal arguments: one, or tuples, lists and dicts
           of them, nested to any depth. Integer tensors may be among them.
    args:  float64 tensors and arrays, also nested ones, are checked; all other arguments are passed
           to f unchanged.
    order: 2 also checks the gradient of the gradient, as a function of `args` and cotangents.
    eps:   the step. The quotient is wrong by about ε² f'''/6 + 2e-16 |p| / ε: 1e-10 at the default.
    rtol, atol: |analytic - numeric| may be at most atol + rtol max(|analytic|, |numeric|).
    TypeError for float32, and for a result that is no tensor. ValueError if there is nothing to
    check, or for order < 1.
    """
    if order < 1:
        raise ValueError(f"gradcheck: expected order >= 1, got {order}")
    tree = tuple(args)
    named = [(f"argument {i}{path}", a) for i, arg in enumerate(tree) for path, a in leaves(arg)]
    names = [f"{name} of {name_of(f)}" for name, _ in named]
    args = [Tensor(a) if devices.is_array(a) else a for _, a in named]
    for name, a in zip(names, args, strict=True):
        check_dtype(name, a)
    if not any(map(is_variable, args)):
        raise ValueError(f"gradcheck: {name_of(f)} was given no float64 tensor to check")

    rng, f = np.random.default_rng(seed), of_leaves(f, tree)
    for level in range(order):
        cotangents = check_once(f, args, names, rng, eps, rtol, atol)
        if level + 1 < order:
            f = gradient_function(f, args)
            args = [*args, *cotangents]
            names += [f"cotangent {i}" for i in range(len(cotangents))]
            names = [f"{name}, differentiated once more" for name in names]


def check_once(
    f: Callable[..., Any],
    args: list[Any],
    names: list[str],
    rng: np.random.Generator,
    eps: float,
    rtol: float,
    atol: float,
) -> list[Tensor]:
    """Check first derivatives; returns the cotangents of the check."""
    with no_grad():
        ys, again = outputs(f, f(*args)), outputs(f, f(*args))
    if any(
        not np.array_equal(y.data, z.data, equal_nan=True) for y, z in zip(ys, again, strict=True)
    ):
        raise GradcheckError(f"gradcheck: {name_of(f)} gives different values for one argument")
    cs = [random_like(y, rng) for y in ys]
    gradients = analytic_gradients(f, args, cs)

    for i, (name, x) in enumerate(zip(names, args, strict=True)):
        if not is_variable(x):
            continue
        g = gradients[i]
        if g.shape != x.shape or g.dtype != x.dtype:
            raise GradcheckError(
                f"gradcheck: {name} is {x.shape} {x.dtype}, its gradient {g.shape} {g.dtype}"
            )
        with no_grad():
            u = random_like(x, rng) * eps
            up, down = x + u, x - u
        numeric = probe(f, args, i, up, cs) - probe(f, args, i, down, cs)
        analytic = float((g * (up.data - down.data)).sum())  # the step as it was rounded
        numeric, analytic = numeric / (2 * eps), analytic / (2 * eps)
        allowed = atol + rtol * max(abs(analytic), abs(numeric))
        if not abs(analytic - numeric) <= allowed:  # "not <=" refuses NaN as well
            raise GradcheckError(
                f"gradcheck: {name}: along a random direction the gradient says {analytic:.10g}, "
                f"the difference quotient {numeric:.10g}; they differ by "
                f"{abs(analytic - numeric):.2g}, allowed is {allowed:.2g}"
            )
    return cs


def analytic_gradients(f: Callable[..., Any], args: list[Any], cs: list[Tensor]) -> dict[int, Any]:
    """Gradients from the backward pass by argument number; zeros where none arrives."""
    inputs = [Tensor(a.data).requires_grad_() if is_variable(a) else a for a in args]
    with enable_grad():
        ys = outputs(f, f(*inputs))
    seeds = [c.data.copy() for c in cs]
    with no_grad():
        gradients: dict[Any, Any] = walk(
            [(y.node, g) for y, g in zip(ys, seeds, strict=True) if y.node is not None]
        )
    if any(not np.array_equal(g, c.data) for g, c in zip(seeds, cs, strict=True)):
        raise GradcheckError(
            f"gradcheck: a pullback of {name_of(f)} changes the gradient that it is given, which "
            f"other ops may share; write to a copy"
        )
    variables = {i: x for i, x in enumerate(inputs) if is_variable(x)}
    return {i: gradients.get(x.node, np.zeros_like(x.data)) for i, x in variables.items()}


def probe(f: Callable[..., Any], args: list[Any], i: int, x: Tensor, cs: list[Tensor]) -> float:
    """Σ c y over all outputs, with x as argument i."""
    with no_grad():
        ys = outputs(f, f(*args[:i], x, *args[i + 1 :]))
    return sum(float((y.data * c.data).sum()) for y, c in zip(ys, cs, strict=True))


def gradient_function(f: Callable[..., Any], args: list[Any]) -> Callable[..., Any]:
    """(arguments, cotangents) -> gradients of `f`, recorded, so that they can be checked too."""
    n = len(args)

    def total(*everything: Any) -> Tensor:
        ys, cs = outputs(f, f(*everything[:n])), everything[n:]
        terms = [(y * c).sum() for y, c in zip(ys, cs, strict=True)]
        return functools.reduce(operator.add, terms)

    variables = tuple(i for i, a in enumerate(args) if is_variable(a))
    return grad(total, argnums=variables, create_graph=True)


def of_leaves(f: Callable[..., Any], tree: tuple[Any, ...]) -> Callable[..., Any]:
    """`f` as a function of the leaves of its arguments."""

    def function(*flat: Any) -> Any:
        rest = iter(flat)
        return f(*mapped(lambda _: next(rest), tree))

    function.__name__ = name_of(f)
    return function


def outputs(f: Callable[..., Any], result: Any) -> list[Tensor]:
    """The floating point tensors in the result of `f`; an error for any that cannot be checked."""
    ys: list[Tensor] = []
    for path, y in leaves(result):
        name = f"result{path} of {name_of(f)}"
        if not isinstance(y, Tensor):
            raise TypeError(f"gradcheck: {name}: expected a tensor, got {type(y).__name__}")
        check_dtype(name, y)
        ys += [y] * is_variable(y)
    if not ys:
        raise ValueError(f"gradcheck: {name_of(f)} returned no float64 tensor to check")
    return ys


def check_dtype(name: str, x: Any) -> None:
    """TypeError for a floating point dtype with fewer digits than float64."""
    if is_variable(x) and x.dtype != np.float64:
        raise TypeError(
            f"gradcheck: {name} is {x.dtype}, in which a difference quotient has no more than "
            f"three digits; expected float64"
        )


def is_variable(x: Any) -> bool:
    return isinstance(x, Tensor) and x.dtype.kind == "f"


def random_like(x: Tensor, rng: np.random.Generator) -> Tensor:
    """Normal numbers in the shape of x, on its device."""
    return Tensor(devices.move(np.asarray(rng.standard_normal(x.shape)), x.device))
