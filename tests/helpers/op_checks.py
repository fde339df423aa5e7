"""What tests of ops share: how a case is called, its gradients taken, two results compared."""

import numpy as np
import pytest

import minigrad as mg
from minigrad import Tensor, graph

LAYOUTS = {
    "transposed": lambda a: np.asarray(a.T, order="C").T,
    "reversed": lambda a: a[::-1].copy()[::-1] if a.ndim else a,
    "stride 0": lambda a: np.broadcast_to(a[:1], a.shape) if a.ndim and a.size else a,
}


def each(cases):
    return pytest.mark.parametrize("case", cases, ids=lambda c: c.id)


def convert(args, array, other=lambda a: a):
    """The arguments with `array` applied to arrays, also in lists."""
    if isinstance(args, list):
        return [convert(a, array, other) for a in args]
    return array(args) if isinstance(args, np.ndarray) else other(args)


def is_float(a):
    return a.dtype.kind == "f"


def leaf(a):
    """A tensor that shares the memory of the array, so that layouts reach the op as they are."""
    return Tensor(a).requires_grad_(is_float(a))


def leaves_of(args):
    """The differentiable arguments in order, also those in lists."""
    flat = []
    for a in args:
        if isinstance(a, list):
            flat += leaves_of(a)
        elif getattr(a, "requires_grad", False):
            flat.append(a)
    return flat


def floating(outputs):
    kinds = [str(y.dtype) for y in outputs]
    return [y for y, kind in zip(outputs, kinds, strict=True) if "float" in kind]


def cotangents(outputs, rng, dtype):
    return [rng.standard_normal(tuple(y.shape)).astype(dtype) for y in outputs]


def our_gradients(case, args, cs):
    """Gradients of the leaves by one walk from the given cotangents; zeros where none arrives."""
    ys = floating(case.ours(*args))
    with mg.no_grad():
        roots = [(y.node, c) for y, c in zip(ys, cs, strict=True) if y.node is not None]
        found = graph.walk(roots)
    return [found.get(t.node, np.zeros_like(t.data)) for t in leaves_of(args)]


def close(ours, theirs, terms, what=""):
    """|ours - theirs| <= terms × eps × the largest magnitude; NaN and Inf in the same places."""
    ours, theirs = np.asarray(ours), np.asarray(theirs)
    assert ours.shape == theirs.shape, f"{what}: shape {ours.shape}, expected {theirs.shape}"
    if theirs.dtype.kind != "f" or theirs.size == 0:
        assert np.array_equal(ours, theirs), what
        return
    finite = np.isfinite(theirs)
    scale = np.abs(theirs[finite]).max(initial=0.0)
    limit = terms * np.finfo(ours.dtype).eps * scale
    np.testing.assert_array_equal(ours[~finite], theirs[~finite].astype(ours.dtype), what)
    error = np.abs(ours[finite].astype(np.float64) - theirs[finite]).max(initial=0.0)
    assert error <= limit, f"{what}: error {error:.3g}, allowed {limit:.3g}"


def read_only(a):
    a.flags.writeable = False
    return a
