"""Test cases of each op: arguments, and the PyTorch function that it must agree with.

    "logaddexp": [case(x(3, 4), x(3, 4))]                      torch.logaddexp, by its name
    "sum": [case(x(3, 4), axis=1, torch=lambda t: t.sum(1))]   for a call that differs in PyTorch

Arguments like `x(3, 4)` are placeholders that `Case.arrays` replaces by arrays, from a generator
seeded with the name of the op and the index of the argument: editing one case changes no other.
`tests/ops/test_ops.py` runs every case through every check, and fails for an op without cases.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

import minigrad as mg
from experiments.grokking.paths import path_attention
from minigrad.op import OPS
from minigrad.ops.index import scatter
from minigrad.ops.norm import standardize


class Absent:
    """Replaces PyTorch if it is not installed: its functions have names, and do nothing.

    `benchmarks.gpu` runs the cases without PyTorch.
    """

    def __getattr__(self, name):
        return self


try:
    import torch
    import torch.nn.functional as F
except ImportError:
    torch = F = Absent()

# ops that are not in `mg`
INTERNAL = {"scatter": scatter, "standardize": standardize, "path_attention": path_attention}
OPS["path_attention"] = path_attention.op  # tested like the ops of minigrad

# --- values ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Values:
    """A placeholder for an array: the function that draws it, and its shape."""

    draw: Callable[..., np.ndarray]
    shape: tuple[int, ...]

    def array(self, rng, dtype):
        values = np.asarray(self.draw(rng, self.shape))
        return values.astype(dtype) if values.dtype.kind == "f" else values


def x(*shape):
    """Normal numbers."""
    return Values(lambda rng, s: rng.standard_normal(s), shape)


def pos(*shape):
    """Numbers in [0.5, 2.5], for logarithms, roots and divisors."""
    return Values(lambda rng, s: rng.uniform(0.5, 2.5, s), shape)


def unit(*shape):
    """Numbers in [0.05, 0.95]: probabilities."""
    return Values(lambda rng, s: rng.uniform(0.05, 0.95, s), shape)


def distinct(*shape):
    """Odd multiples of 0.07 in random order, for functions with kinks: all elements differ, and
    no difference quotient straddles a kink at an even multiple (0, ±0.42)."""

    def draw(rng, s):
        n = int(np.prod(s))
        return (rng.permutation(n).reshape(s) - n // 2 + 0.5) * 0.14

    return Values(draw, shape)


def ids(n, *shape):
    """Integers in [0, n)."""
    return Values(lambda rng, s: np.asarray(rng.integers(0, n, s)), shape)


def mask(*shape):
    """Booleans."""
    return Values(lambda rng, s: np.asarray(rng.random(s) < 0.6), shape)


def logp(*shape):
    """Log-probabilities along the last axis."""

    def draw(rng, s):
        z = rng.standard_normal(s)
        return z - np.log(np.exp(z).sum(-1, keepdims=True))

    return Values(draw, shape)


# --- cases ----------------------------------------------------------------------------------------


@dataclass
class Case:
    """One call of an op, with the same call in PyTorch.

    terms:   the number of roundings of an element of the result; the tolerance is terms × eps ×
             the largest magnitude in the array (`op_checks.close`).
    order:   the order up to which derivatives exist and are checked; 0 for an op without gradient.
    numeric: False if the gradient is by contract not the derivative, or the value is not finite.
    """

    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    torch: Callable[..., Any] | None
    f: Callable[..., Any] | None
    terms: int
    order: int
    numeric: bool
    name: str = ""
    number: int = 0

    @property
    def id(self) -> str:
        return f"{self.name}-{self.number}"

    def arrays(self, dtype=np.float64) -> list[Any]:
        """The positional arguments with arrays instead of placeholders."""
        return [self.filled(a, [i], dtype) for i, a in enumerate(self.args)]

    def filled(self, a, place, dtype):
        if isinstance(a, list):
            return [self.filled(item, [*place, j], dtype) for j, item in enumerate(a)]
        if not isinstance(a, Values):
            return a
        rng = np.random.default_rng([zlib.crc32(self.name.encode()), self.number, *place])
        return a.array(rng, dtype)

    def ours(self, *args):
        """The op on tensors: a tuple of tensors."""
        function = self.f or INTERNAL.get(self.name) or getattr(mg, self.name)
        y = function(*args, **self.kwargs)
        return tuple(y) if isinstance(y, (tuple, list)) else (y,)

    def theirs(self, *args):
        """PyTorch's function on torch tensors: a tuple of torch tensors."""
        function = self.torch or torch_function(self.name)
        y = function(*args)
        return tuple(y) if isinstance(y, (tuple, list)) else (y,)


def case(*args, torch=None, f=None, terms=8, order=2, numeric=True, **kwargs) -> Case:
    return Case(args, kwargs, torch, f, terms, order, numeric)


def torch_function(name):
    return getattr(torch, name, None) or getattr(F, name)


def unary(values, torch=None, **options) -> list[Case]:
    """Cases of an elementwise op: an array, a 0-d array, an array without elements."""
    return [case(values(*s), torch=torch, **options) for s in ((3, 4), (), (0, 3))]


def binary(a, b, torch=None, **options) -> list[Case]:
    """Cases of a broadcasting op: equal shapes, and two where one or both are repeated."""
    shapes = ((3, 4), (3, 4)), ((2, 1, 4), (3, 1)), ((), (3,))
    return [case(a(*s), b(*t), torch=torch, **options) for s, t in shapes]


# --- replicas -------------------------------------------------------------------------------------
def each_replica(function):
    """A function of arguments with a leading axis of replicas: stacks the results of each."""

    def part(a, r):
        if isinstance(a, list):
            return [part(item, r) for item in a]
        return None if a is None else a[r]

    def call(*args):
        results = [function(*(part(a, r) for a in args)) for r in range(len(args[0]))]
        if isinstance(results[0], tuple):
            return tuple(torch.stack(ys) for ys in zip(*results, strict=True))
        return torch.stack(results)

    return call


# --- the table ------------------------------------------------------------------------------------
LOSS = {"terms": 32}
INDEX = np.array([[2, 0], [1, 2]])  # with a duplicate

ELEMENTWISE = {
    "add": binary(x, x),
    "sub": binary(x, x),
    "mul": binary(x, x),
    "div": binary(x, pos),
    "pow": [*binary(pos, x), case(x(3), 3.0), case(x(3), 2), case(2.0, x(3)), case(x(3), 0.0)],
    "neg": unary(x),
    "abs": unary(distinct),
    "sign": unary(distinct),
    "floor": unary(distinct),
    "ceil": unary(distinct),
    "round": [
        *unary(distinct),
        case(x(3, 4), 1, torch=lambda t, n: torch.round(t, decimals=n)),
    ],
    "floor_divide": [
        *binary(x, pos, torch=lambda a, b: torch.floor(a / b)),
        case(ids(9, 3), 4, order=0),
    ],
    "remainder": [
        *binary(pos, unit),
        case(x(4), -0.75),
        case(2.5, pos(3), torch=lambda a, b: torch.remainder(torch.full_like(b, a), b)),
        case(ids(9, 3), 4, order=0),
    ],
    "square": unary(x),
    "sqrt": unary(pos),
    "rsqrt": unary(pos),
    "reciprocal": unary(pos),
    "exp": unary(x),
    "log": unary(pos),
    "log1p": unary(pos),
    "expm1": unary(x),
    "sin": unary(x),
    "cos": unary(x),
    "tanh": unary(x),
    "sigmoid": unary(x),
    "erf": unary(x),
    "erfc": unary(x),
    "maximum": binary(distinct, x),
    "minimum": binary(distinct, x),
    "logaddexp": binary(x, x),
    "where": [case(mask(3, 4), x(3, 4), x(4)), case(mask(4), x(), x(3, 1)), case(mask(), x(), 2.0)],
    "masked_fill": [
        case(x(3, 4), mask(4), -1.5),
        case(x(3, 2), mask(3, 1), x()),
        case(x(3), mask(3), -np.inf, numeric=False),
    ],
    "clip": [
        case(distinct(3, 4), -0.42, 0.42),
        case(distinct(5), None, 0.14),
        case(distinct(5), 0.14, None),
        case(distinct(3, 4), unit(3, 1), 0.98, torch=lambda t, a, b: t.clamp(a, torch.tensor(b))),
    ],
    "lerp": [case(x(3, 4), x(4), x(3, 1)), case(x(3), x(2, 1), 0.3), case(x(), x(), x(3))],
    **{
        name: [case(ids(3, 3, 4), ids(3, 4), order=0), case(x(3), x(2, 1), order=0)]
        for name in ("not_equal", "less", "less_equal", "greater", "greater_equal")
    },
    "equal": [case(ids(3, 3, 4), ids(3, 4), order=0, torch=torch.eq)],
    "isnan": unary(x, order=0),
    "isinf": unary(x, order=0),
    "isfinite": unary(x, order=0),
    "logical_not": [case(ids(2, 5), order=0), case(mask(3), order=0)],
    "logical_and": [case(ids(2, 5), ids(2, 3, 5), order=0)],
    "logical_or": [case(ids(2, 5), ids(2, 3, 5), order=0)],
    "invert": [
        case(mask(5), order=0, torch=torch.bitwise_not),
        case(ids(9, 3), order=0, torch=torch.bitwise_not),
    ],
    "bitwise_and": [case(mask(5), mask(3, 5), order=0), case(ids(9, 3), ids(9, 3), order=0)],
    "bitwise_or": [case(mask(5), mask(3, 5), order=0), case(ids(9, 3), ids(9, 3), order=0)],
    "bitwise_xor": [case(mask(5), mask(3, 5), order=0), case(ids(9, 3), ids(9, 3), order=0)],
}

ACTIVATIONS = {
    "relu": unary(distinct),
    "gelu": [
        *unary(x),
        case(x(3, 4), approximate="tanh", torch=lambda t: F.gelu(t, approximate="tanh")),
    ],
    "silu": unary(x),
    "softplus": unary(x),
    "elu": [*unary(distinct), case(distinct(7), alpha=0.5, torch=lambda t: F.elu(t, 0.5))],
    "leaky_relu": [*unary(distinct), case(distinct(7), 0.2)],
    "logsigmoid": unary(x),
    "glu": [case(x(3, 4)), case(x(4, 3), axis=0, torch=lambda t: F.glu(t, 0)), case(x(0, 2))],
}

LINALG = {
    "matmul": [
        case(x(3, 4), x(4, 5)),
        case(x(4), x(4)),
        case(x(4), x(2, 4, 3)),
        case(x(2, 3, 4), x(4)),
        case(x(2, 3, 4), x(4, 5)),
        case(x(2, 1, 3, 4), x(3, 4, 2)),
        case(x(3, 4), x(2, 4, 5)),
        case(x(0, 4), x(4, 2)),
        case(x(3, 0), x(0, 2)),
    ],
    "dot": [
        case(x(4), x(4)),
        case(x(3, 4), x(4), torch=torch.matmul),
        case(x(3, 4), x(4, 2), torch=torch.matmul),
    ],
    "outer": [case(x(3), x(4)), case(x(0), x(4))],
    "linear": [
        case(x(5, 3), x(4, 3), x(4)),
        case(x(2, 5, 3), x(4, 3)),
        case(x(3), x(4, 3), x(4)),
        case(x(0, 3), x(4, 3), x(4)),
        case(x(2, 5, 3), x(2, 4, 3), x(2, 4), torch=each_replica(F.linear)),
        case(x(3, 2, 2, 4), x(3, 1, 4), torch=each_replica(F.linear)),
        case(x(2, 3), x(2, 4, 3), x(2, 4), torch=each_replica(F.linear)),
    ],
    "einsum": [
        case("ij,jk->ik", x(3, 4), x(4, 5)),
        case("bqd,bkd->bqk", x(2, 3, 4), x(2, 5, 4)),
        case("...ij,...j->...i", x(2, 1, 3, 4), x(5, 4)),
        case("i,j,k->", x(2), x(3), x(4)),
        case("ij", x(2, 3)),
        case("ij,kj", x(2, 3), x(4, 3)),
        case("ij->j", x(2, 3)),
        case("bij,ij->b", x(2, 3, 4), x(3, 4)),
        case("iji->j", x(3, 4, 3)),
        case("ii", x(3, 3)),
        case("...ii->...i", x(2, 3, 3)),
        case("iii,ij->j", x(3, 3, 3), x(3, 2)),
        case("iijj->ij", x(2, 2, 3, 3)),
    ],
}


def reduction(name, values=x, torch_name=None, **options) -> list[Case]:
    """Cases of a reduction: over all axes, one axis, a negative axis with keepdims, two axes."""
    function = getattr(torch, torch_name or name)
    return [
        case(values(3, 4), torch=lambda t: function(t, dim=(0, 1)), **options),
        case(values(3, 4), axis=1, torch=lambda t: function(t, dim=1), **options),
        case(
            values(2, 3, 4),
            axis=-2,
            keepdims=True,
            torch=lambda t: function(t, dim=1, keepdim=True),
            **options,
        ),
        case(values(2, 3, 4), axis=(0, -1), torch=lambda t: function(t, dim=(0, 2)), **options),
        case(values(), torch=lambda t: function(t.reshape(1), dim=0), **options),
    ]


def spread(name) -> list[Case]:
    """The cases of var and std, which have a correction."""
    function = getattr(torch, name)
    return [
        case(x(3, 4), torch=lambda t: function(t, correction=0)),
        case(x(3, 4), axis=1, correction=1, torch=lambda t: function(t, dim=1, correction=1)),
        case(
            x(2, 3, 4),
            axis=(0, 2),
            keepdims=True,
            torch=lambda t: function(t, dim=(0, 2), correction=0, keepdim=True),
        ),
    ]


def norm_case(values, p, **kwargs):
    axis, keep = kwargs.get("axis"), kwargs.get("keepdims", False)
    return case(values, p, torch=lambda t, p: torch.linalg.vector_norm(t, p, axis, keep), **kwargs)


REDUCTIONS = {
    "sum": [*reduction("sum"), case(x(0, 3)), case(x(0, 3), 0), case(x(3, 0), 0)],
    "mean": [*reduction("mean"), case(x(0, 3), numeric=False), case(x(3, 0), 0)],
    "var": spread("var"),
    "std": spread("std"),
    "logsumexp": reduction("logsumexp", terms=16),
    "max": reduction("max", distinct, "amax"),
    "min": reduction("min", distinct, "amin"),
    "prod": [
        case(x(3, 4)),
        case(x(3, 4), axis=1, torch=lambda t: t.prod(1)),
        case(x(2, 3, 4), axis=-2, keepdims=True, torch=lambda t: t.prod(1, keepdim=True)),
        case(x(2, 3, 4), axis=(0, 2), torch=lambda t: t.prod(2).prod(0)),
        case(ids(3, 4), order=0, torch=lambda t: t.prod()),
        case(x(0, 3), axis=0, torch=lambda t: t.prod(0)),
        case(x()),
    ],
    "cumsum": [
        case(x(3, 4), 1),
        case(x(3, 4), -2),
        case(x(3, 4), torch=lambda t: t.reshape(-1).cumsum(0)),
        case(x(0, 3), 0),
    ],
    "argmax": [
        case(distinct(3, 4), order=0),
        case(distinct(3, 4), 1, order=0),
        case(ids(2, 6), order=0),
    ],
    "argmin": [
        case(distinct(3, 4), order=0),
        case(distinct(3, 4), 1, order=0),
        case(ids(2, 6), order=0),
    ],
    "norm": [
        norm_case(x(3, 4), 2.0),
        norm_case(x(3, 4), 1.0, axis=1),
        norm_case(x(3, 4), 3.0, axis=0, keepdims=True),
        norm_case(distinct(3, 4), np.inf, axis=1),
        norm_case(x(2, 3, 4), 2.0, axis=(0, 2)),
    ],
    "sort": [
        case(distinct(3, 4), torch=lambda t: torch.sort(t, stable=True)),
        case(distinct(3, 4), axis=0, torch=lambda t: torch.sort(t, dim=0)),
        case(distinct(5), descending=True, torch=lambda t: torch.sort(t, descending=True)),
        case(
            ids(3, 8),
            descending=True,
            order=0,
            torch=lambda t: torch.sort(t, descending=True, stable=True),
        ),
    ],
    "topk": [
        case(distinct(3, 5), 2),
        case(distinct(4, 3), 2, axis=0, largest=False, torch=lambda t, k: t.topk(k, 0, False)),
        case(distinct(3), 0),
    ],
}

SHAPES = {
    "reshape": [
        case(x(3, 4), (2, -1)),
        case(x(3, 4), 12, torch=lambda t, n: t.reshape(n)),
        case(x(), 1, 1, torch=lambda t, *s: t.reshape(s)),
        case(x(0, 3), (3, 0)),
    ],
    "flatten": [case(x(2, 3, 4)), case(x(2, 3, 4), 1), case(x(2, 3, 4), 0, 1), case(x())],
    "squeeze": [case(x(1, 3, 1)), case(x(1, 3, 1), 2), case(x(1, 3, 1), (0, -1)), case(x(2))],
    "unsqueeze": [
        case(x(3, 4), 1),
        case(x(), 0),
        case(x(3), (0, -1), torch=lambda t, _: t[None, :, None]),
    ],
    "transpose": [
        case(x(3, 4), torch=lambda t: t.permute(1, 0)),
        case(x(2, 3, 4), 2, 0, 1, torch=lambda t, *axes: t.permute(axes)),
        case(x(2, 3, 4), (0, -1, -2), torch=lambda t, axes: t.permute(axes)),
    ],
    "swapaxes": [case(x(2, 3, 4), 0, -1), case(x(2, 3, 4), 1, 2)],
    "moveaxis": [case(x(2, 3, 4), 0, -1), case(x(2, 3, 4), (0, 1), (-1, 0))],
    "flip": [
        case(x(3, 4), torch=lambda t: t.flip(0, 1)),
        case(x(3, 4), 1, torch=lambda t, _: t.flip(1)),
        case(x(2, 3, 4), (0, -1)),
    ],
    "roll": [case(x(3, 4), 2), case(x(3, 4), -1, 1), case(x(3, 4), (1, 2), (0, 1))],
    "broadcast_to": [case(x(3, 1), (2, 3, 4)), case(x(), (2, 3)), case(x(1, 3), (0, 3))],
    "repeat": [
        case(x(3, 4), 2, 1, torch=lambda t, n, axis: t.repeat_interleave(n, axis)),
        case(x(3, 4), 3, torch=lambda t, n: t.repeat_interleave(n)),
        case(x(3, 4), 0, 0, torch=lambda t, n, axis: t.repeat_interleave(n, axis)),
    ],
    "tile": [
        case(x(3, 4), (2, 3)),
        case(x(3), (2, 1)),
        case(x(2, 3), 2, torch=lambda t, n: t.tile((n,))),
    ],
    "concatenate": [
        case([x(2, 3), x(4, 3)]),
        case([x(2, 3), x(2, 0), x(2, 1)], 1),
        case([x(2, 3), x(2, 2)], axis=-1, torch=lambda parts: torch.cat(parts, -1)),
        case([x(3)]),
    ],
    "stack": [
        case([x(2, 3), x(2, 3)]),
        case([x(2, 3), x(2, 3)], 1),
        case([x(), x(), x()], axis=-1, torch=lambda parts: torch.stack(parts, -1)),
    ],
    "split": [
        case(x(6, 2), 3, torch=lambda t, n: t.tensor_split(n)),
        case(x(2, 6), [1, 4], 1, torch=torch.tensor_split),
        case(x(2, 4), 2, axis=-1, torch=lambda t, n: t.tensor_split(n, -1)),
    ],
    "unbind": [case(x(3, 2)), case(x(3, 2), 1), case(x(3), -1)],
    "tril": [case(x(3, 4)), case(x(2, 3, 3), -1), case(x(3, 4), 1)],
    "triu": [case(x(3, 4)), case(x(2, 3, 3), -1), case(x(3, 4), 1)],
    "diagonal": [case(x(3, 4)), case(x(3, 4), 1), case(x(4, 3), -1), case(x(2, 3, 4), 0, 1, 2)],
    "pad": [
        case(x(2, 3), 1, torch=lambda t, _: F.pad(t, (1, 1, 1, 1))),
        case(x(2, 3), ((0, 1), (2, 0)), torch=lambda t, _: F.pad(t, (2, 0, 0, 1))),
        case(x(3), (1, 2), constant_values=7.0, torch=lambda t, w: F.pad(t, w, value=7.0)),
    ],
}


def at(*index):
    """The case of t[index] for x of shape (3, 4), with `index` as NumPy and torch both read it."""
    index = index[0] if len(index) == 1 else index
    return case(x(3, 4), index, torch=lambda t, _: torch_getitem(t, index))


def torch_getitem(t, index):
    """t[index] in PyTorch, which has no negative steps: NumPy picks the elements instead."""
    places = np.arange(t.numel()).reshape(t.shape)[index]
    return t.reshape(-1)[torch.tensor(places.copy())]


INDEXING = {
    "getitem": [
        at(1),
        at(-1, 2),
        at(slice(None, None, -2)),
        at(..., 1),
        at(None, slice(1, 3), None),
        at([0, 0, 2]),
        at(INDEX),
        at(slice(None), [3, 3, -1]),
        at([0, 2, 0], [1, 1, 1]),
        at(np.array([True, False, True])),
        at(np.eye(3, 4, dtype=bool)),
        at([]),
        at(()),
        at(slice(0, 0)),
        at([-1, 2, 0, -1]),  # the same row by two indices
    ],
    "scatter": [
        case(
            x(2),
            (np.array([0, 0]),),
            (3,),
            torch=lambda g, i, s: scattered(g, torch.tensor(i[0]), s),
        ),
        case(x(2), (slice(1, 3),), (4,), torch=lambda g, i, s: F.pad(g, (1, 1))),
    ],
    "take": [
        case(x(3, 4), INDEX),
        case(x(3, 4), INDEX, 0, torch=lambda t, i, a: t[i]),
        case(x(2, 3, 4), np.array([2, 2]), axis=1, torch=lambda t, i: t[:, i]),
        case(x(3, 4), 1, axis=-1, torch=lambda t, i: t[:, i]),
    ],
    "take_along_axis": [
        case(x(3, 4), ids(4, 3, 2), 1, torch=torch.take_along_dim),
        case(x(3, 4), ids(3, 5, 4), 0, torch=torch.take_along_dim),
        case(x(3, 4), ids(4, 3, 4), torch=lambda t, i: torch.take_along_dim(t, i, -1)),
    ],
    "scatter_add": [
        case(x(3, 4), ids(4, 3, 6), x(3, 6), torch=lambda t, i, v: t.scatter_add(-1, i, v)),
        case(x(3, 4), ids(3, 5, 4), x(5, 4), axis=0, torch=lambda t, i, v: t.scatter_add(0, i, v)),
    ],
}


def column(t):
    return t[:, None]


def scattered(g, index, shape):
    return torch.zeros(shape, dtype=g.dtype).index_add(0, index, g)


def torch_layer_norm(t, w=None, b=None, eps=1e-5):
    return F.layer_norm(t, t.shape[-1:], w, b, eps)


def torch_rms_norm(t, w=None):
    return F.rms_norm(t, t.shape[-1:], w, 1e-6)


NETWORKS = {
    "softmax": [
        case(x(3, 4), torch=lambda t: t.softmax(-1)),
        case(x(3, 4), 0),
        case(x(2, 3, 4), 1),
        case(x(0, 3), 1),
    ],
    "log_softmax": [
        case(x(3, 4), torch=lambda t: t.log_softmax(-1)),
        case(x(3, 4), 0),
        case(x(2, 3, 4), 1),
        case(x(0, 3), 1),
    ],
    "embedding": [
        case(x(5, 3), ids(5, 4), torch=lambda w, i: F.embedding(i, w)),
        case(x(5, 3), ids(5, 2, 4), torch=lambda w, i: F.embedding(i, w)),
        case(
            x(3, 2),
            np.array([0, 1, 1, 2]),
            padding_idx=1,
            numeric=False,
            torch=lambda w, i: F.embedding(i, w, padding_idx=1),
        ),
        case(x(3, 2), ids(3, 0), torch=lambda w, i: F.embedding(i, w)),
        case(x(2, 5, 3), ids(5, 2, 4), torch=each_replica(lambda w, i: F.embedding(i, w))),
        case(
            x(2, 3, 2),
            np.array([[[0, 1], [1, 2]], [[2, 2], [1, 0]]]),
            padding_idx=1,
            numeric=False,
            torch=each_replica(lambda w, i: F.embedding(i, w, padding_idx=1)),
        ),
    ],
    "one_hot": [case(ids(5, 3, 2), 5, order=0, torch=lambda i, n: F.one_hot(i, n).double())],
    "layer_norm": [
        case(x(3, 4), x(4), x(4), torch=torch_layer_norm),
        case(x(2, 3, 4), torch=torch_layer_norm),
        case(x(3, 4), x(4), eps=0.1, torch=lambda t, w: torch_layer_norm(t, w, eps=0.1)),
        case(x(0, 4), x(4), x(4), torch=torch_layer_norm),
        case(x(2, 3, 4), x(2, 4), x(2, 4), torch=each_replica(torch_layer_norm)),
        case(x(2, 3, 2, 4), x(2, 4), torch=each_replica(torch_layer_norm)),
    ],
    "rms_norm": [
        case(x(3, 4), x(4), torch=torch_rms_norm),
        case(x(2, 3, 4), torch=torch_rms_norm),
        case(x(2, 3, 4), x(2, 4), torch=each_replica(torch_rms_norm)),
    ],
    "standardize": [
        case(x(5, 3), torch=lambda t: F.batch_norm(t, None, None, training=True)),
        case(x(4, 3, 2), torch=lambda t: F.batch_norm(t, None, None, training=True)),
    ],
    "batch_norm": [
        case(
            x(5, 3),
            x(3),
            x(3),
            training=True,
            torch=lambda t, w, b: F.batch_norm(t, None, None, w, b, training=True),
        ),
        case(
            x(4, 3, 2),
            x(3),
            x(3),
            x(3),
            pos(3),
            torch=lambda t, w, b, m, v: (
                (t - column(m)) / (column(v) + 1e-5).sqrt() * column(w) + column(b)
            ),
        ),
    ],
    "normalize": [
        case(x(3, 4), torch=lambda t: F.normalize(t, dim=-1)),
        case(x(3, 4), p=3.0, axis=0, torch=lambda t: F.normalize(t, p=3.0, dim=0)),
    ],
    "dropout": [
        case(x(3, 4), 0.0, torch=F.dropout),
        case(x(3, 4), 0.5, training=False, torch=lambda t, p: t),
        case(x(3, 4), 1.0, torch=F.dropout),
    ],
}
TARGET = np.array([1, -100, 4, 0])  # -100 is ignored

REDUCE = ("mean", "sum", "none")
CLASS_WEIGHTS = np.array([0.5, 1.0, 2.0, 0.0, 1.5])
SOFT = [(0.0, None), (0.2, None), (0.0, CLASS_WEIGHTS), (0.1, CLASS_WEIGHTS)]


def soft(reduction, smoothing, weight) -> Case:
    """Class probabilities as target; PyTorch does not require that their sum is 1."""
    options = {"label_smoothing": smoothing, "reduction": reduction}

    def theirs(t: Any, q: Any) -> Any:
        return F.cross_entropy(t, q, None if weight is None else torch.tensor(weight), **options)

    return case(
        x(4, 5),
        unit(4, 5),
        weight=weight,
        torch=theirs,
        **options,
        **LOSS,
    )


def rows_and_table(shape, classes, target, *bias, weight=None, **options) -> Case:
    """A case of linear_cross_entropy with x of this shape; PyTorch has the two ops one by one."""

    def theirs(t: Any, w: Any, i: Any, b: Any = None) -> Any:
        weights = None if weight is None else torch.tensor(weight)
        logits = F.linear(t, w, b).reshape(-1, classes)
        y = F.cross_entropy(logits, i.reshape(-1), weights, **options)
        return y.reshape(i.shape) if options.get("reduction") == "none" else y

    return case(
        *(x(*shape), x(classes, shape[-1]), target, *bias),
        class_weight=weight,
        torch=theirs,
        terms=48,
        **options,
    )


def stacked_rows_and_tables(reduction: str) -> Case:
    """Three replicas of (4, 3) rows with a table of (5, 3)."""

    def theirs(t: Any, w: Any, i: Any, b: Any) -> Any:
        return F.cross_entropy(F.linear(t, w, b), i, reduction=reduction)

    return case(
        *(x(3, 4, 3), x(3, 5, 3), ids(5, 3, 4), x(3, 5)),
        reduction=reduction,
        torch=each_replica(theirs),
        terms=48,
    )


LOSSES = {
    "linear_cross_entropy": [
        rows_and_table((4, 3), 5, TARGET, x(5)),
        rows_and_table((2, 3, 7), 6, ids(6, 2, 3)),
        *(
            rows_and_table((4, 3), 5, TARGET, x(5), reduction=reduction, **options)
            for reduction in REDUCE
            for options in (
                {"label_smoothing": 0.2},
                {"weight": CLASS_WEIGHTS},
                {"weight": CLASS_WEIGHTS, "label_smoothing": 0.1},
            )
        ),
        rows_and_table((2, 2, 3), 5, TARGET.reshape(2, 2), reduction="none"),
        rows_and_table((2, 3), 5, np.array([1, 3]), reduction="sum", ignore_index=3),
        *(stacked_rows_and_tables(reduction) for reduction in ("mean", "none")),
    ],
    "cross_entropy": [
        case(x(4, 5), ids(5, 4), **LOSS),
        *(
            case(
                x(4, 5),
                TARGET,
                label_smoothing=smoothing,
                reduction=reduction,
                torch=lambda t, i, s=smoothing, r=reduction: F.cross_entropy(
                    t, i, label_smoothing=s, reduction=r
                ),
                **LOSS,
            )
            for reduction in REDUCE
            for smoothing in (0.0, 0.2)
        ),
        case(
            x(4, 5),
            TARGET,
            weight=CLASS_WEIGHTS,
            label_smoothing=0.1,
            torch=lambda t, i: F.cross_entropy(
                t, i, torch.tensor(CLASS_WEIGHTS), label_smoothing=0.1
            ),
            **LOSS,
        ),
        case(
            x(2, 3, 5),
            ids(5, 2, 3),
            torch=lambda t, i: F.cross_entropy(t.reshape(-1, 5), i.reshape(-1)),
            **LOSS,
        ),
        *(soft(reduction, *options) for reduction in REDUCE for options in SOFT),
        case(
            x(2, 3, 5),
            unit(2, 3, 5),
            reduction="none",
            torch=lambda t, q: F.cross_entropy(t.mT, q.mT, reduction="none"),
            **LOSS,
        ),
    ],
    "nll_loss": [case(logp(4, 5), ids(5, 4), **LOSS), case(logp(4, 5), TARGET, **LOSS)],
    "mse_loss": [
        case(x(3, 4), x(3, 4)),
        case(x(3), x(3), reduction="sum", torch=lambda a, b: F.mse_loss(a, b, reduction="sum")),
        case(x(3), x(3), reduction="none", torch=lambda a, b: F.mse_loss(a, b, reduction="none")),
    ],
    "binary_cross_entropy_with_logits": [
        case(x(3, 4), unit(3, 4), torch=F.binary_cross_entropy_with_logits)
    ],
    "kl_div": [
        case(logp(3, 4), unit(3, 4), torch=lambda a, b: F.kl_div(a, b, reduction="none").mean()),
        case(
            logp(3, 4),
            logp(3, 4),
            log_target=True,
            reduction="sum",
            torch=lambda a, b: F.kl_div(a, b, log_target=True, reduction="sum"),
            **LOSS,
        ),
    ],
}
CAUSAL = np.tril(np.ones((4, 4), dtype=bool))
SDPA = F.scaled_dot_product_attention


def attention(*shapes, torch=SDPA, **kwargs):
    return case(*(x(*s) for s in shapes), torch=torch, terms=32, **kwargs)


def torch_alibi(q, keys, causal):
    """-2^(-8 (h + 1) / H) |i + S - T - j| element by element; -inf for later keys if causal."""
    heads, queries = q.shape[-3:-1]
    bias = torch.empty(heads, queries, keys, dtype=q.dtype)
    for h, i, j in np.ndindex(heads, queries, keys):
        before = i + keys - queries - j
        hidden = causal and before < 0
        bias[h, i, j] = -torch.inf if hidden else -(2 ** (-8 * (h + 1) / heads)) * abs(before)
    return bias


def torch_paths(q, k, v, keys):
    listed, index = (keys >= 0)[:, None], keys.clamp(min=0)
    s = torch.einsum("mhd,mshd->mhs", q, k[index]) * max(1, q.shape[-1]) ** -0.5
    e = torch.exp(s - s.detach().max(-1, keepdim=True).values) * listed
    p = e / e.sum(-1, keepdim=True).clamp(min=1e-30)  # 0 for a query without keys
    return torch.einsum("mhs,mshe->mhe", p, v[index])


KEYS = np.array([[0, 2, -1], [1, -1, -1], [4, 0, 3], [-1, -1, -1], [2, 2, 1]])


def along_paths(q, k, v, keys=KEYS):
    return case(x(*q), x(*k), x(*v), keys, terms=32, torch=torch_paths)


def torch_lstm_cell(t, h, c, *weights):
    return torch._VF.lstm_cell(t, (h, c), *weights)


def torch_lstm(t, h, c, weights):
    y, h, c = torch._VF.lstm(t, (h, c), weights, True, len(weights) // 4, 0.0, False, False, False)
    return y, h, c


def torch_lstm_of_products(t, h, c, weights):
    """An LSTM given the products x W_ihᵀ equals one given them as x, with W_ih = 1."""
    return torch_lstm(t, h, c, [torch.eye(t.shape[-1]).to(t), *weights[1:]])


FUSED = {
    "scaled_dot_product_attention": [
        attention((4, 3), (4, 3), (4, 3)),
        attention((2, 2, 3, 4), (2, 2, 5, 4), (2, 2, 5, 6)),
        attention((2, 3, 4, 3), (2, 1, 4, 3), (2, 1, 4, 3)),
        attention(
            (2, 4, 3),
            (2, 4, 3),
            (2, 4, 3),
            causal=True,
            torch=lambda q, k, v: SDPA(q, k, v, is_causal=True),
        ),
        case(x(2, 4, 3), x(2, 4, 3), x(2, 4, 3), CAUSAL, torch=SDPA, terms=32),
        case(x(4, 3), x(4, 3), x(4, 3), x(4, 4), terms=32),
        attention(
            (4, 3),
            (4, 3),
            (4, 3),
            scale=0.7,
            return_weights=True,
            torch=lambda q, k, v: (SDPA(q, k, v, scale=0.7), (0.7 * q @ k.mT).softmax(-1)),
        ),
        attention((2, 2, 1, 3, 4), (2, 2, 1, 5, 4), (2, 2, 1, 5, 6)),
        attention(
            *((2, 3, 4, 3),) * 3,
            causal=True,
            alibi=True,
            torch=lambda q, k, v: SDPA(q, k, v, attn_mask=torch_alibi(q, 4, causal=True)),
        ),
        attention(
            (2, 3, 4),
            (2, 5, 4),
            (2, 5, 6),
            alibi=True,
            torch=lambda q, k, v: SDPA(q, k, v, attn_mask=torch_alibi(q, 5, causal=False)),
        ),
    ],
    "path_attention": [
        along_paths((5, 2, 4), (5, 2, 4), (5, 2, 4)),
        along_paths((5, 1, 3), (6, 1, 3), (6, 1, 7)),
        along_paths((3, 3, 2), (5, 3, 2), (5, 3, 1), KEYS[2:, ::-1].copy()),
    ],
    "lstm_cell": [
        case(
            *(x(2, 3), x(2, 4), x(2, 4), x(16, 3), x(16, 4), x(16), x(16)),
            torch=torch_lstm_cell,
            terms=32,
        ),
        case(*(x(2, 3), x(2, 4), x(2, 4), x(16, 3), x(16, 4)), torch=torch_lstm_cell, terms=32),
        case(
            *(x(3, 2, 3), x(3, 2, 2), x(3, 2, 2), x(3, 8, 3), x(3, 8, 2), x(3, 8), x(3, 8)),
            torch=each_replica(torch_lstm_cell),
            terms=32,
        ),
    ],
    "lstm": [
        case(
            *(x(4, 2, 3), x(2, 2, 2), x(2, 2, 2)),
            [x(8, 3), x(8, 2), x(8), x(8), x(8, 2), x(8, 2), x(8), x(8)],
            torch=torch_lstm,
            terms=64,
        ),
        case(
            *(x(1, 2, 3), x(1, 2, 2), x(1, 2, 2)), [x(8, 3), x(8, 2), x(8), x(8)], torch=torch_lstm
        ),
        case(
            *(x(4, 3, 8), x(2, 3, 2), x(2, 3, 2)),
            [None, x(8, 2), x(8), x(8), x(8, 2), x(8, 2), x(8), x(8)],
            torch=torch_lstm_of_products,
            terms=64,
        ),
        case(
            *(x(2, 4, 3, 3), x(2, 2, 3, 2), x(2, 2, 3, 2)),
            [x(2, 8, 3), x(2, 8, 2), x(2, 8), x(2, 8), x(2, 8, 2), x(2, 8, 2), x(2, 8), x(2, 8)],
            torch=each_replica(torch_lstm),
            terms=64,
        ),
        case(
            *(x(3, 4, 2, 8), x(3, 1, 2, 2), x(3, 1, 2, 2)),
            [None, x(3, 8, 2), x(3, 8), x(3, 8)],
            torch=each_replica(torch_lstm_of_products),
            terms=64,
        ),
    ],
}

MOVE = {
    "clone": unary(x),
    "astype": [case(x(3), np.float64, torch=lambda t, _: t.double())],
    "to_device": [case(x(3), "cpu", torch=lambda t, _: t.clone())],
}

CASES: dict[str, list[Case]] = {
    **ELEMENTWISE,
    **ACTIVATIONS,
    **LINALG,
    **REDUCTIONS,
    **SHAPES,
    **INDEXING,
    **NETWORKS,
    **LOSSES,
    **FUSED,
    **MOVE,
}
for _name, _cases in CASES.items():
    for _number, _case in enumerate(_cases):
        _case.name, _case.number = _name, _number
ALL = [c for cases in CASES.values() for c in cases]
