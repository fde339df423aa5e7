"""Calls of the fused kernels, and the comparison of one with the plain op in float64.

A tolerance is terms × eps × the largest magnitude, as in `op_checks.close`, where terms are the
roundings that one element passes through; for gradients twice that, for the way there and back.
"""

from dataclasses import dataclass, field

import numpy as np
import pytest

from kernels.cuda import cross_entropy, dropout, gelu, layer_norm, lstm, stacked
from kernels.cuda.launch import INTERPRETED
from minigrad import device as devices
from minigrad import ops
from minigrad.kernel import Declined
from minigrad.ops.lstm import _lstm
from minigrad.ops.nn import _dropout

EPS = float(np.finfo(np.float32).eps)
DEVICE = "cpu" if INTERPRETED else "cuda:0"


# --- arrays ---------------------------------------------------------------------------------------
def mapped(f, a):
    """f of every NumPy array in nested tuples, lists and dicts; the rest as it is."""
    if isinstance(a, np.ndarray):
        return f(a)
    if isinstance(a, dict):
        return {k: mapped(f, v) for k, v in a.items()}
    return type(a)(mapped(f, each) for each in a) if isinstance(a, (tuple, list)) else a


def to_device(a):
    return mapped(lambda a: devices.move(a, DEVICE), a)


def tuple_of(ys):
    return ys if isinstance(ys, tuple) else (ys,)


def to_host(ys):
    """A tuple of NumPy arrays; None stays."""
    return tuple(None if y is None else devices.to_numpy(y) for y in tuple_of(ys))


def doubled(a):
    return mapped(lambda a: a.astype(np.float64) if a.dtype.kind == "f" else a, a)


def close(ours, exact, terms, what):
    ours, exact = np.asarray(ours), np.asarray(exact)
    assert ours.shape == exact.shape, what
    assert ours.dtype == np.float32, what
    finite = np.isfinite(exact)
    assert np.array_equal(ours[~finite], exact[~finite], equal_nan=True), what
    limit = terms * EPS * np.abs(exact[finite]).max(initial=0.0)
    error = np.abs(ours[finite].astype(np.float64) - exact[finite]).max(initial=0.0)
    assert error <= limit, f"{what}: error {error:.3g}, allowed {limit:.3g}"


def all_close(ours, exact, terms, what):
    for n, (a, b) in enumerate(zip(ours, exact, strict=True)):
        assert (a is None) == (b is None), f"{what} {n}"
        if a is not None:
            close(a, b, terms, f"{what} {n}")


# --- cases ----------------------------------------------------------------------------------------
@dataclass
class Drawn:
    """An array to be drawn: normal numbers, or integers below `below`."""

    shape: tuple
    scale: float = 1.0
    below: int = 0

    def array(self, rng):
        if self.below:
            return np.asarray(rng.integers(0, self.below, self.shape))
        return np.asarray(self.scale * rng.standard_normal(self.shape), np.float32)


@dataclass
class Case:
    """One call of a kernel and of the plain op."""

    fused: object
    plain: object
    args: tuple
    terms: int
    kwargs: dict = field(default_factory=dict)

    def __str__(self):
        shapes = "-".join(
            "x".join(map(str, a.shape)) for a in self.args if isinstance(a, (Drawn, np.ndarray))
        )
        return f"{self.fused.__name__}-{shapes}-{'-'.join(map(str, self.kwargs.values()))}"[:60]

    def arrays(self, rng):
        return [a.array(rng) if isinstance(a, Drawn) else a for a in self.args]


def x(*shape, scale=1.0):
    return Drawn(shape, scale)


def ids(below, *shape):
    return Drawn(shape, below=below)


def gelus():
    for shape in ((), (1,), (37,), (3, 1, 13), (1024,), (2, 1031)):
        for how in ("none", "tanh"):  # 8: the polynomials; 4: the products
            yield Case(gelu.gelu, ops.gelu, (x(*shape, scale=3.0),), 12, {"approximate": how})


def normalized(*shape, weight=True, bias=True, **kwargs):
    """The longest sums are over a row, or over all rows."""
    size, rows = shape[-1], int(np.prod(shape[:-1]))
    args = x(*shape), x(size) if weight else None, x(size) if bias else None
    terms = 16 + size + min(rows, layer_norm.PROGRAMS)  # that many sums of few rows each
    return Case(layer_norm.layer_norm, ops.layer_norm, args, terms, kwargs)


def norms():
    for shape in ((1, 1), (1, 5), (5, 1), (37, 17), (2, 3, 130), (300, 7), (2, 2053), (7,)):
        yield normalized(*shape)
    for weight, bias in ((True, False), (False, True), (False, False)):
        yield normalized(37, 17, weight=weight, bias=bias, eps=1e-3)


def entropy(*args, terms=32, **kwargs):
    return Case(cross_entropy.cross_entropy, ops.cross_entropy, args, terms, kwargs)


def entropies():
    weight = np.array([0.5, 1.0, 2.0, 0.0, 1.5], np.float32)
    target = np.array([[0, 1, -100], [4, -100, 3]])
    for how in ("mean", "sum", "none"):
        yield entropy(x(37, 36), ids(36, 37), terms=32 + 37, reduction=how)
        yield entropy(x(2, 3, 5), target, reduction=how)
        yield entropy(x(2, 3, 5), target, reduction=how, weight=weight)
        yield entropy(x(2, 5), np.full(2, -100), reduction=how)
    yield entropy(x(1, 1), ids(1, 1))
    yield entropy(x(5), np.array(3, np.int32))
    yield entropy(x(3, 4099, scale=9.0), ids(4099, 3), terms=200)  # three tiles
    yield entropy(x(4200, 2), ids(2, 4200), terms=64, ignore_index=1)
    yield entropy(x(3, 5, scale=80.0), ids(5, 3), terms=200)  # the larger x, the coarser


def cell(batch, width, size, biases=2):
    weights = x(4 * size, width), x(4 * size, size), *[x(4 * size)] * biases
    args = x(batch, width), x(batch, size), x(batch, size), *weights
    return Case(lstm.lstm_cell, ops.lstm_cell, args, 32 + width + size + batch)


def sequence(steps, batch, width, size, layers=1, state="hc", biases=2, products=False):
    """Every step adds its roundings; the gradients of weights sum over steps and batch.

    products: with W_ih, in the place of inputs.
    """
    weights = []
    for n in range(layers):
        w_ih = x(4 * size, size if n else width, scale=0.3)
        weights += [None if products and not n else w_ih, x(4 * size, size, scale=0.3)]
        weights += [x(4 * size, scale=0.3)] * biases + [None] * (2 - biases)
    h0, c0 = (x(layers, batch, size) if name in state else None for name in "hc")
    terms = 32 + layers * steps * (8 + width + size) + steps * batch
    given = x(steps, batch, 4 * size if products else width)
    return Case(lstm.lstm, _lstm, (given, h0, c0, *weights), terms)


def cells():
    yield from (cell(1, 3, 5), cell(2, 8, 4, 0), cell(3, 1, 17, 1), cell(37, 24, 131))
    yield sequence(1, 1, 3, 5)
    yield sequence(1, 37, 5, 8, state="")
    yield sequence(3, 2, 16, 1, layers=2, state="", biases=0)
    yield sequence(5, 3, 7, 11, layers=3, biases=1)
    yield sequence(4, 37, 6, 9, layers=2, state="h")
    yield sequence(4, 2, 6, 131, state="c", biases=0)
    yield sequence(1, 1, 1, 3, products=True)
    yield sequence(5, 37, 7, 9, layers=2, state="", biases=1, products=True)
    yield sequence(3, 2, 4, 5, state="h", products=True)


def dropouts():
    for shape in ((), (1,), (7,), (33, 3), (1024,), (5, 211)):
        for p in (0.1, 0.5, 1.0):  # one product
            draw = (2**64 - 3, 7, 2**31 - 1) if p == 0.1 else (0, 2**32 - 1, 3)
            yield Case(dropout.dropout, _dropout, (x(*shape), p, draw), 1)


def stack(case, count, kernel):
    """The case with `count` replicas of every array, for a kernel of stacks."""

    def more(a):
        return Drawn((count, *a.shape), a.scale, a.below) if isinstance(a, Drawn) else a

    return Case(kernel, case.plain, tuple(map(more, case.args)), case.terms, case.kwargs)


def stacks():
    for case in (normalized(5, 1), normalized(37, 17), normalized(2, 3, 130, bias=False)):
        yield stack(case, 3, layer_norm.layer_norm)
    yield stack(normalized(300, 7, eps=1e-3), 2, layer_norm.layer_norm)
    yield stack(normalized(7), 1, layer_norm.layer_norm)
    for shape in ((5, 7), (2, 3, 7), (7,)):
        linear = Case(None, ops.linear, (x(*shape), x(4, 7), x(4)), 16 + 7)
        yield stack(linear, 3, stacked.linear)
    yield stack(Case(None, ops.linear, (x(2, 7), x(4, 7)), 16 + 7), 2, stacked.linear)
    for shape in ((), (2, 9)):
        table = Case(None, ops.embedding, (x(5, 3), ids(5, *shape)), 18, {"padding_idx": 1})
        yield stack(table, 3, stacked.embedding)
    yield stack(cell(3, 5, 7), 2, lstm.lstm_cell)
    yield stack(cell(37, 8, 131, 1), 3, lstm.lstm_cell)
    yield stack(sequence(1, 1, 3, 5), 2, lstm.lstm)
    yield stack(sequence(5, 3, 7, 11, layers=3, biases=1), 2, lstm.lstm)
    yield stack(sequence(3, 37, 6, 9, layers=2, state=""), 3, lstm.lstm)
    yield stack(sequence(4, 2, 6, 131, state="c", biases=0), 2, lstm.lstm)
    yield stack(sequence(5, 37, 7, 9, layers=2, state="", biases=1, products=True), 3, lstm.lstm)
    yield stack(sequence(3, 2, 4, 5, state="h", products=True), 2, lstm.lstm)


CASES = [*gelus(), *norms(), *entropies(), *cells(), *dropouts(), *stacks()]
SMALL = [
    case for case in CASES if sum(np.prod(a.shape) for a in case.args if isinstance(a, Drawn)) < 999
]
FIRST = [
    next(c for c in group() if len(c.args[0].shape) > 1) for group in (gelus, norms, entropies)
]
FIRST += [cell(3, 5, 7), sequence(2, 3, 5, 7), sequence(2, 3, 5, 7, products=True)]
FIRST += [[*dropouts()][9]]
FIRST += [next(c for c in stacks() if c.plain is op) for op in (ops.linear, ops.embedding)]
FIRST += [stack(normalized(37, 17), 2, layer_norm.layer_norm)]
FIRST += [stack(case, 2, lstm.lstm) for case in FIRST[4:6]]


def each(cases):
    return pytest.mark.parametrize("case", cases, ids=str)


def pulled(pull, g):
    """All gradients, as a tuple."""
    if isinstance(pull, tuple):
        return to_host(tuple(None if p is None else p(g) for p in pull))
    return to_host(pull(g))


def fused(case, arrays):
    answer = case.fused(*to_device(arrays), **to_device(case.kwargs))
    assert not isinstance(answer, Declined), answer.reason
    return answer


def plain(case, arrays, dtype=np.float64):
    arrays, kwargs = (doubled(a) if dtype == np.float64 else a for a in (arrays, case.kwargs))
    op = case.plain.op
    form = op if op.stacked is None else op.stacked.form(arrays)
    return form.body(*arrays, **kwargs)


def cotangents(ys, rng):
    """Of the shapes of the values; a tuple if there are several."""
    cs = tuple(np.asarray(rng.standard_normal(y.shape), np.float32) for y in to_host(ys))
    return cs if isinstance(ys, tuple) else cs[0]


# --- one comparison -------------------------------------------------------------------------------
def check(case, rng):
    """Values and gradients are those of the plain op, also when the way back is taken again.

    Nothing is written to the arguments and cotangents.
    """
    arrays = case.arrays(rng)
    given = to_device([a.copy() if isinstance(a, np.ndarray) else a for a in arrays])
    y, pull = fused(case, given)
    with np.errstate(invalid="ignore", divide="ignore"):
        z, exact = plain(case, arrays)
        g = cotangents(y, rng)
        wanted = pulled(exact, doubled(g))
    all_close(to_host(y), to_host(z), case.terms, "value")
    passed = to_device(mapped(np.copy, g))
    for _ in range(2):
        all_close(pulled(pull, passed), wanted, 2 * case.terms, "gradient")
    for a, b in zip((*arrays, *tuple_of(g)), (*given, *tuple_of(passed)), strict=True):
        assert not isinstance(a, np.ndarray) or np.array_equal(a, devices.to_numpy(b))
