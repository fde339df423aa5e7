"""Every op through every check. The cases are in `cases.py`; an op without one fails here."""

import itertools

import numpy as np
import pytest
import torch
from cases import ALL, CASES

import minigrad as mg
from minigrad import Tensor, gradcheck, graph
from minigrad.op import OPS

DTYPES = [np.float32, np.float64]
DIFFERENTIABLE = [c for c in ALL if c.order > 0]


def each(cases):
    return pytest.mark.parametrize("case", cases, ids=lambda c: c.id)


# --- helpers --------------------------------------------------------------------------------------
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


def torch_leaf(a):
    """The same numbers in PyTorch, always in double precision: the reference."""
    t = torch.tensor(a.astype(np.float64) if is_float(a) else a)
    return t.requires_grad_() if is_float(a) else t


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


# --- against PyTorch ------------------------------------------------------------------------------
def test_every_op_has_cases():
    assert not sorted(set(OPS) - set(CASES))


@pytest.mark.parametrize("dtype", DTYPES)
@each(ALL)
def test_forward_and_gradients_match_torch_and_inputs_stay(case, dtype, rng):
    """Reference: PyTorch in float64 on the same numbers, so float32 is held to its own rounding.

    All arrays are read-only here: an op that writes to its arguments or cotangents raises.
    """
    arrays = convert(case.arrays(dtype), read_only)
    args, torch_args = convert(arrays, leaf), convert(arrays, torch_leaf)
    ys, refs = case.ours(*args), case.theirs(*torch_args)
    assert len(ys) == len(refs)
    for y, ref in zip(ys, refs, strict=True):
        assert isinstance(y, Tensor)
        assert isinstance(y.data, np.ndarray)  # not a NumPy scalar
        if y.dtype.kind == "f" and case.name != "astype":
            assert y.dtype == dtype
        close(y.data, ref.detach().numpy(), case.terms, "forward")
    if case.order == 0:
        return
    cs = [read_only(c) for c in cotangents(floating(ys), rng, floating(ys)[0].dtype)]
    gs = our_gradients(case, args, cs)
    roots = [(r, torch.tensor(c).double()) for r, c in zip(floating(refs), cs, strict=True)]
    roots = [(r, c) for r, c in roots if r.requires_grad]
    wanted = torch.autograd.grad(
        [r for r, _ in roots], leaves_of(torch_args), [c for _, c in roots], allow_unused=True
    )
    for i, (g, ref, t) in enumerate(zip(gs, wanted, leaves_of(args), strict=True)):
        assert g.dtype == t.dtype
        ref = np.zeros(g.shape) if ref is None else ref.numpy()
        close(g, ref, 2 * case.terms, f"gradient {i}")


# --- numerically ----------------------------------------------------------------------------------
def flat_call(case):
    """(f, arguments): the case as a function of a flat list of float64 arrays alone."""
    arrays = case.arrays()
    places, flat = [], []

    def visit(item, path):
        if isinstance(item, list):
            for i, inner in enumerate(item):
                visit(inner, [*path, i])
        elif isinstance(item, np.ndarray) and is_float(item):
            places.append(path)
            flat.append(item)

    visit(arrays, [])

    def f(*tensors):
        args = convert(arrays, Tensor)
        for path, t in zip(places, tensors, strict=True):
            target = args
            for i in path[:-1]:
                target = target[i]
            target[path[-1]] = t
        return case.ours(*args)

    f.__name__ = case.id
    return f, flat


@each(DIFFERENTIABLE)
def test_gradients_are_the_difference_quotients(case):
    gradcheck(*flat_call(case), order=min(case.order, 2))


# --- layouts --------------------------------------------------------------------------------------
LAYOUTS = {
    "transposed": lambda a: np.asarray(a.T, order="C").T,
    "reversed": lambda a: a[::-1].copy()[::-1] if a.ndim else a,
    "stride 0": lambda a: np.broadcast_to(a[:1], a.shape) if a.ndim and a.size else a,
}


@pytest.mark.parametrize("layout", LAYOUTS)
@each(ALL)
def test_layout_in_memory_does_not_matter(case, layout, rng):
    strided = convert(case.arrays(), LAYOUTS[layout])
    args, copies = convert(strided, leaf), convert(strided, lambda a: leaf(a.copy(order="C")))
    ys, expected = case.ours(*args), case.ours(*copies)
    for y, z in zip(ys, expected, strict=True):
        close(y.data, z.data, case.terms)
    if case.order:
        cs = cotangents(floating(ys), rng, np.float64)
        cs_t = [np.asarray(c.T, order="C").T for c in cs]
        gs, hs = our_gradients(case, args, cs_t), our_gradients(case, copies, cs)
        for g, h in zip(gs, hs, strict=True):
            close(g, h, 2 * case.terms)


# --- fused ops and their composites ---------------------------------------------------------------
FUSED = [c for c in ALL if c.name in OPS and OPS[c.name].composite is not None and c.f is None]


@each(FUSED)
def test_fused_op_agrees_with_its_composite(case, rng, monkeypatch):
    args, again = convert(case.arrays(), leaf), convert(case.arrays(), leaf)
    ys = case.ours(*args)
    composite = OPS[case.name].composite

    def spelled(*args):
        y = composite(*args, **case.kwargs)
        return y if isinstance(y, tuple) else (y,)

    zs = spelled(*again)
    for y, z in zip(ys, zs, strict=True):
        close(y.data, z.data, case.terms)
    cs = cotangents(floating(ys), rng, np.float64)
    gs = our_gradients(case, args, cs)
    monkeypatch.setattr(type(case), "ours", lambda _, *args: spelled(*args))
    for g, h in zip(gs, our_gradients(case, again, cs), strict=True):
        close(g, h, 2 * case.terms)


# --- tests of the tests ---------------------------------------------------------------------------
def swapped(contributions):
    """The gradients of two arguments exchanged, where shapes allow."""
    found = list(contributions)
    full = [i for i, c in enumerate(found) if c is not None]
    for i, j in itertools.pairwise(full):
        if np.shape(found[i]) == np.shape(found[j]):
            found[i], found[j] = found[j], found[i]
            return found
    return None


MISTAKES = {
    "sign": lambda c: -c,
    "zero": lambda c: c * 0.0,
    "half": lambda c: c * 0.5,
    "1e-4": lambda c: c * (1 + 1e-4),
    "rolled": lambda c: np.roll(c.reshape(-1), 1).reshape(c.shape),
}

# Mistakes that change nothing: op or case -> {mistake: reason}. Everything else must be refused.
EQUIVALENT = {
    "sign": dict.fromkeys(["sign", "zero", "half", "1e-4", "rolled"], "the gradient is 0"),
    "add": {"swapped": "both gradients are g"},
}


def plant(monkeypatch, op_name, position, mistake):
    """Make what `op_name` passes back to its argument number `position` wrong."""
    original = graph.contributions_of

    def wrong(node, g, useful, create_graph):
        found = list(original(node, g, useful, create_graph))
        if node.name == op_name:
            for i, (c, parent) in enumerate(zip(found, node.parents, strict=False)):
                if c is not None and parent is not None and c.shape != parent.shape:
                    found[i] = graph.unbroadcast(c, parent.shape)
            if mistake == "swapped":
                return swapped(found) or found
            found[position] = MISTAKES[mistake](found[position])
        return found

    monkeypatch.setattr(graph, "contributions_of", wrong)


def possible_mistakes(case, monkeypatch):
    """(argument, mistake) pairs that change something for this case, if only its place."""
    seen = []
    original = graph.contributions_of

    def watch(node, g, useful, create_graph):
        found = list(original(node, g, useful, create_graph))
        if node.name == case.name:
            seen.append((found, node.parents))
        return found

    with monkeypatch.context() as patch:
        patch.setattr(graph, "contributions_of", watch)
        gradcheck(*flat_call(case))
    for found, parents in seen[:1]:
        sizes = [
            int(np.prod(p.shape)) if c is not None and p is not None else 0
            for c, p in zip(found, parents, strict=False)
        ]
        for position, size in enumerate(sizes):
            if size:
                yield from ((position, m) for m in MISTAKES if m != "rolled" or size > 1)
        full = [p.shape for n, p in zip(sizes, parents, strict=False) if n]
        if any(a == b for a, b in itertools.pairwise(full)):
            yield 0, "swapped"


@each([c for c in DIFFERENTIABLE if c.name in OPS])
def test_planted_wrong_gradients_are_refused(case, monkeypatch):
    allowed = EQUIVALENT.get(case.name, {}) | EQUIVALENT.get(case.id, {})
    f, args = flat_call(case)
    survivors = []
    for position, mistake in possible_mistakes(case, monkeypatch):
        with monkeypatch.context() as patch:
            plant(patch, case.name, position, mistake)
            try:
                gradcheck(f, args)
                survivors.append((position, mistake))
            except mg.GradcheckError:
                pass
    assert [s for s in survivors if s[1] not in allowed] == []
