"""Every op through every check. The cases are in `reference.cases`; an op without one fails."""

import contextlib
import inspect
import itertools
import warnings
from dataclasses import replace

import hypothesis.extra.numpy as hnp
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from op_checks import (
    LAYOUTS,
    close,
    convert,
    cotangents,
    each,
    floating,
    is_float,
    leaf,
    leaves_of,
    our_gradients,
    read_only,
)

import minigrad as mg
from minigrad import Tensor, gradcheck, graph
from minigrad.inplace import saved_arrays
from minigrad.modes import KEEP_INPUTS, set_mode
from minigrad.op import OPS
from reference.cases import ALL, CASES, INTERNAL, Values

DTYPES = [np.float32, np.float64]
NUMERIC = [c for c in ALL if c.order > 0 and c.numeric]


# --- against PyTorch ------------------------------------------------------------------------------
def torch_leaf(a):
    """The same numbers in PyTorch, always in double precision: the reference."""
    t = torch.tensor(a.astype(np.float64) if is_float(a) else a)
    return t.requires_grad_() if is_float(a) else t


def test_every_op_has_cases():
    assert not sorted(set(OPS) - set(CASES))


@pytest.mark.parametrize("dtype", [np.float16, *DTYPES])
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
        if y.dtype.kind == "f" and case.name not in ("astype", "one_hot"):
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


@each(NUMERIC)
def test_gradients_are_the_difference_quotients(case):
    gradcheck(*flat_call(case), order=min(case.order, 2))


# --- layouts --------------------------------------------------------------------------------------
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


# --- empty axes -----------------------------------------------------------------------------------
def lengths(args):
    """The lengths of all axes of the arrays to be drawn."""
    found = set()
    for a in args:
        found |= lengths(a) if isinstance(a, list) else set()
        found |= set(a.shape) if isinstance(a, Values) else set()
    return found


def without(args, length):
    """The arguments with every axis of this length empty."""

    def shorter(a):
        if isinstance(a, list):
            return [shorter(b) for b in a]
        if not isinstance(a, Values):
            return a
        return replace(a, shape=tuple(0 if n == length else n for n in a.shape))

    return [shorter(a) for a in args]


def emptied(cases):
    """Each case with each length of an axis in turn made 0, also where arguments then disagree."""
    for c in cases:
        for length in sorted(lengths(c.args) - {0}):
            name = f"{c.id}-without-{length}"
            if name not in OTHERWISE:
                yield pytest.param(replace(c, args=without(c.args, length)), id=name)


OTHERWISE = {
    "squeeze-1-without-1": "an axis of 0 is not one of length 1, as NumPy says",
    "squeeze-2-without-1": "an axis of 0 is not one of length 1, as NumPy says",
    "scatter-1-without-2": "nothing is no gradient of two elements; PyTorch's function takes any",
    "standardize-0-without-5": "batch_norm refuses it",
    "standardize-1-without-4": "batch_norm refuses it",
    "standardize-1-without-2": "batch_norm refuses it",
    "batch_norm-0-without-5": "nothing has no mean to take over into the running one",
    "scaled_dot_product_attention-2-without-1": "0 and 3 heads do not broadcast",
    "scaled_dot_product_attention-4-without-4": "the mask is for 4 keys",
    **{
        f"cross_entropy-{i}-without-5": "without classes there is no such loss"
        for i in range(9, 22)
    },
}


@pytest.mark.parametrize("case", list(emptied(ALL)))
def test_axes_without_elements_give_what_pytorch_gives(case):
    """Value and gradient are PyTorch's, for one that is differentiated again too.

    What PyTorch refuses gives no error but of the arguments.
    """
    with np.errstate(all="ignore"):
        arrays = case.arrays()
    args, torch_args = convert(arrays, leaf), convert(arrays, torch_leaf)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            refs = case.theirs(*torch_args)
        except Exception:
            refs = None
    if refs is None:
        with contextlib.suppress(IndexError, TypeError, ValueError):
            case.ours(*args)
        return
    ys = case.ours(*args)
    for y, ref in zip(ys, refs, strict=True):
        close(y.data, ref.detach().numpy(), case.terms, "forward")
    if case.order == 0:
        return
    gs = our_gradients(case, args, [np.ones(y.shape) for y in floating(ys)])
    roots = [r for r in floating(refs) if r.requires_grad]
    wanted = torch.autograd.grad(
        roots, leaves_of(torch_args), [torch.ones_like(r) for r in roots], allow_unused=True
    )
    for i, (g, ref) in enumerate(zip(gs, wanted, strict=True)):
        close(g, np.zeros(g.shape) if ref is None else ref.numpy(), case.terms, f"gradient {i}")
    with set_mode(KEEP_INPUTS):  # as recorded, for a second derivative
        ys = floating(case.ours(*args))
        roots = [(y.node, Tensor(np.ones_like(y.data))) for y in ys if y.node is not None]
        found = graph.walk(roots, create_graph=True)
    for t, g in zip(leaves_of(args), gs, strict=True):
        if t.node in found:
            close(found[t.node].data, g, 2 * case.terms)


# --- memory ---------------------------------------------------------------------------------------
@each([c for c in ALL if c.order])
def test_gradients_share_memory_with_nothing(case, rng):
    """Also where a pullback hands on what it was given or has saved, and gives it to several."""
    args = convert(case.arrays(), leaf)
    ys = floating(case.ours(*args))
    roots = [(y.node, c) for y, c in zip(ys, cotangents(ys, rng, np.float64), strict=True)]
    roots = [(node, c) for node, c in roots if node is not None]
    nodes = graph.reachable([node for node, _ in roots], None)
    arrays = [c for _, c in roots] + [y.data for y in ys] + [t.data for t in leaves_of(args)]
    arrays += [saved for node in nodes for saved in saved_arrays(node.pull)]
    for retain in (True, True, False):
        with mg.no_grad():
            found = graph.walk(roots, retain_graph=retain).values()
        for g in found:
            assert not any(np.shares_memory(g, other) for other in arrays)
            assert g.flags.writeable
            arrays.append(g)


# --- arguments by keyword -------------------------------------------------------------------------
def function_of(case):
    return INTERNAL.get(case.name) or getattr(mg, case.name)


def names_of(case):
    """The names of the arguments of a case."""
    parameters = inspect.signature(function_of(case)).parameters.values()
    return [p.name for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD][: len(case.args)]


def has_names(case):
    lists = any(isinstance(a, list) for a in case.args)
    return case.f is None and not lists and len(names_of(case)) == len(case.args)


@each([c for c in ALL if c.order and has_names(c)])
def test_arguments_by_keyword_are_arguments_by_position(case, rng):
    """The user's arrays are copied either way: what is written to them later changes nothing."""
    args = convert(case.arrays(), leaf)
    ys = case.ours(*args)
    cs = cotangents(floating(ys), rng, np.float64)
    gs = our_gradients(case, args, cs)
    for first in range(len(case.args) + 1):  # by keyword from here on
        again = convert(case.arrays(), lambda a: leaf(a.copy()) if is_float(a) else a.copy())
        named = dict(list(zip(names_of(case), again, strict=True))[first:])
        zs = function_of(case)(*again[:first], **named, **case.kwargs)
        for a in again:
            if isinstance(a, np.ndarray):
                a[...] = 0
        roots = zip(floating(zs if isinstance(zs, tuple) else (zs,)), cs, strict=True)
        with mg.no_grad():
            found = graph.walk([(z.node, c) for z, c in roots if z.node is not None])
        for t, g in zip(leaves_of(again), gs, strict=True):
            assert np.array_equal(found.get(t.node, np.zeros_like(t.data)), g, equal_nan=True)


def test_numbers_and_arrays_by_keyword_take_the_dtype_of_the_tensor():
    x = mg.tensor([-1.0, 2.0], requires_grad=True)
    for bound in (np.float64(0.5), np.array([0.5, 0.5]), np.array([0, 0]), [0.5, 0.5]):
        y, z = mg.clip(x, max=bound), mg.maximum(b=bound, a=x)
        assert y.dtype == z.dtype == np.float32
        assert y.tolist() == [-1.0, np.max(bound)]
    (x * mg.tensor(1.0)).sum(keepdims=True).backward()
    assert x.grad.tolist() == [1.0, 1.0]


def test_wrong_keywords_are_refused_by_name():
    x = mg.tensor([1.0, 2.0])
    with pytest.raises(TypeError, match=r"mul: .*missing.*'a'"):
        mg.mul(b=x)
    with pytest.raises(TypeError, match=r"mul: .*multiple values.*'a'"):
        mg.mul(x, a=x)
    with pytest.raises(TypeError, match=r"sum: .*unexpected.*'axes'"):
        mg.sum(x, axes=0)


# --- fused ops and their composites ---------------------------------------------------------------
FUSED = [c for c in ALL if c.name in OPS and OPS[c.name].composite is not None and c.f is None]


@each(FUSED)
def test_fused_op_agrees_with_its_composite(case, rng, monkeypatch):
    args, again = convert(case.arrays(), leaf), convert(case.arrays(), leaf)
    ys = case.ours(*args)
    this = OPS[case.name]

    def leaves_in(args):  # mg.lstm takes a list of weights, its op takes them one by one
        return [b for a in args for b in (a if isinstance(a, list) else [a])]

    def spelled(*args):
        args = leaves_in(args)
        form = this if this.stacked is None else this.stacked.form(args)
        y = form.composite(*args, **case.kwargs)
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

# Mistakes that change nothing, by op or by case. Every other one must be refused.
ANY = {"sign", "zero", "half", "1e-4", "rolled", "swapped"}
EQUIVALENT = {
    **dict.fromkeys(("sign", "floor", "ceil", "round"), (ANY, "its gradient is 0")),
    "floor_divide": (ANY, "its gradient is 0"),
    "dropout-2": (ANY, "p = 1: everything is dropped, and the gradient is 0"),
    "pow-6": (ANY, "x⁰ has gradient 0"),
    "matmul-7": (ANY, "no rows: the gradient of the right side is an empty sum"),
    "outer-1": (ANY, "no rows, as above"),
    "linear-3": (ANY, "no rows: the gradients of weight and bias are empty sums"),
    "layer_norm-3": (ANY, "no rows, as above"),
    "embedding-3": (ANY, "no ids: the gradient of the table is an empty sum"),
    "topk-2": (ANY, "k = 0: nothing is read"),
    "broadcast_to-2": (ANY, "repeated 0 times"),
    "repeat-2": (ANY, "repeated 0 times"),
    "getitem-11": (ANY, "nothing is read"),
    "getitem-13": (ANY, "nothing is read"),
    "sum-0": ({"rolled"}, "the gradient is the same everywhere"),
    "mean-0": ({"rolled"}, "the gradient is the same everywhere"),
    "einsum-3": ({"rolled"}, "the gradient is the same everywhere: all letters are summed"),
    "scatter-0": ({"rolled"}, "the gradient is the same everywhere: both go to one place"),
    "add-0": ({"swapped"}, "both gradients are g"),
}


def plant(monkeypatch, op_name, position, mistake):
    """Make what `op_name` passes back to its argument number `position` wrong.

    Returns a list that grows when a gradient is handed on whose numbers have changed.
    """
    original, changes = graph.contributions_of, []

    def wrong(node, g, useful, create_graph):
        found = list(original(node, g, useful, create_graph))
        if node.name != op_name:
            return found
        for i, (c, parent) in enumerate(zip(found, node.parents, strict=False)):
            if c is not None and parent is not None and c.shape != parent.shape:
                found[i] = graph.unbroadcast(c, parent.shape)
        if mistake == "swapped":
            bad = swapped(found) or found
        else:
            bad = [MISTAKES[mistake](c) if i == position else c for i, c in enumerate(found)]
        pairs = [(a, b) for a, b in zip(found, bad, strict=True) if a is not None]
        changes.extend(1 for a, b in pairs if not np.array_equal(a, b))
        return bad

    monkeypatch.setattr(graph, "contributions_of", wrong)
    return changes


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


@each([c for c in NUMERIC if c.name in OPS])
def test_planted_wrong_gradients_are_refused(case, monkeypatch):
    f, args = flat_call(case)
    known, reason = EQUIVALENT.get(case.id) or EQUIVALENT.get(case.name) or (set(), "")
    survivors = set()
    for position, mistake in possible_mistakes(case, monkeypatch):
        with monkeypatch.context() as patch:
            changes = plant(patch, case.name, position, mistake)
            try:
                gradcheck(f, args)
            except mg.GradcheckError:
                continue
        assert not changes, f"{mistake} in the gradient of argument {position} was not seen"
        survivors.add(mistake)
    assert survivors <= known
    if case.id in EQUIVALENT:
        assert survivors, f"all mistakes are refused: strike it from the list ({reason})"


# --- broadcasting ---------------------------------------------------------------------------------
SHAPES = [(), (1,), (5, 1), (1, 5), (0, 1, 3)]
PAIRS = [(a, b) for a in SHAPES for b in SHAPES if {a, b} != {(1, 5), (0, 1, 3)}]
BROADCASTING = {
    "add": torch.add,
    "sub": torch.sub,
    "mul": torch.mul,
    "div": torch.div,
    "floor_divide": lambda a, b: torch.floor(a / b),
    "remainder": torch.remainder,
    "pow": torch.pow,
    "maximum": torch.maximum,
    "minimum": torch.minimum,
    "logaddexp": torch.logaddexp,
    "where": lambda a, b: torch.where(a > 1, a, b),
    "masked_fill": lambda a, b: torch.where(b > 1, torch.tensor(3.0).double(), a),
    "clip": lambda a, b: torch.clamp(a, b, b + 1),
    "lerp": lambda a, b: torch.lerp(a, b, b),
}
OURS = {
    "where": lambda a, b: mg.where(a > 1, a, b),
    "masked_fill": lambda a, b: mg.masked_fill(a, b > 1, 3.0),
    "clip": lambda a, b: mg.clip(a, b, b + 1),
    "lerp": lambda a, b: mg.lerp(a, b, b),
}


def test_every_differentiable_broadcasting_op_is_tried_with_all_pairs_of_shapes():
    loss = {"binary_cross_entropy_with_logits"}  # refuses unequal shapes
    carrying = {c.name for c in ALL if c.order}
    expected = {name for name, op in OPS.items() if op.broadcast and name in carrying}
    assert expected - set(BROADCASTING) == loss


@pytest.mark.parametrize("pair", PAIRS, ids=str)
@pytest.mark.parametrize("name", BROADCASTING)
def test_gradient_of_a_broadcast_is_the_sum_over_copies(name, pair, rng):
    arrays = [np.asarray(rng.uniform(0.5, 2.5, s)) for s in pair]
    a, b = map(leaf, arrays)
    ta, tb = map(torch_leaf, arrays)
    y, ref = OURS.get(name, getattr(mg, name))(a, b), BROADCASTING[name](ta, tb)
    c = rng.standard_normal(y.shape)
    close(y.data, np.broadcast_to(ref.detach().numpy(), y.shape), 8)
    y.backward(c)
    ref.expand(y.shape).backward(torch.tensor(c))
    for t, ref_t in ((a, ta), (b, tb)):
        if ref_t.grad is not None:
            close(t.grad.data, ref_t.grad.numpy(), 8 * max(c.size, 1))


def test_shapes_that_do_not_broadcast_are_an_error_with_both():
    a, b = mg.tensor(np.ones((2, 3))), mg.tensor(np.ones((2, 4)))
    for name in BROADCASTING:
        if name not in OURS:
            with pytest.raises(ValueError, match=rf"{name}: .*\(2, 3\).*\(2, 4\)"):
                getattr(mg, name)(a, b)


# --- diagonals ------------------------------------------------------------------------------------
def test_a_letter_twice_in_a_term_is_a_diagonal():
    """By hand: of x_iji with i, j in {0, 1}, y_j = x_0j0 + x_1j1, and the gradient is 1 there."""
    x = mg.tensor(np.arange(8.0).reshape(2, 2, 2), requires_grad=True)
    y = mg.einsum("iji->j", x)
    y.sum().backward()
    assert y.tolist() == [0.0 + 5.0, 2.0 + 7.0]
    assert x.grad.tolist() == [[[1.0, 0.0], [1.0, 0.0]], [[0.0, 1.0], [0.0, 1.0]]]
    assert mg.einsum("ii", x[0]).item() == 0.0 + 3.0  # without an arrow, the trace
    with pytest.raises(ValueError, match=r"einsum: 'i' in 'ii' has the lengths 2, 3  \[.*\(2, 3\)"):
        mg.einsum("ii->i", mg.tensor(np.ones((2, 3))))
    with pytest.raises(ValueError, match=r"einsum: .*more than once"):
        mg.einsum("i->ii", mg.tensor(np.ones(3)))


# --- dtypes ---------------------------------------------------------------------------------------
SCALARS = {
    "float": 2.0,
    "int": 2,
    "np.float64": np.float64(2),
    "np.float32": np.float32(2),
    "np.int64": np.int64(2),
    "0-d float64 array": np.asarray(2.0),
    "bool": True,
    "int array": np.array([1, 2, 3]),
    "list": [1.0, 2.0, 3.0],
}
OPERATORS = {
    "+": lambda a, b: a + b,
    "-": lambda a, b: a - b,
    "*": lambda a, b: a * b,
    "/": lambda a, b: a / b,
    "//": lambda a, b: a // b,
    "%": lambda a, b: a % b,
    "**": lambda a, b: a**b,
    "maximum": mg.maximum,
    "where": lambda a, b: mg.where(np.array([True, False, True]), a, b),
}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("scalar", SCALARS)
@pytest.mark.parametrize("operator", OPERATORS)
def test_a_number_takes_the_dtype_of_the_tensor_on_either_side(operator, scalar, dtype):
    number, f = SCALARS[scalar], OPERATORS[operator]
    for shape in ((3,), ()):
        for flip in (False, True):
            if operator == "-" and scalar == "bool":
                continue  # NumPy has no minus for booleans
            x = mg.tensor(np.full(shape, 1.5, dtype), requires_grad=True)
            y = f(number, x) if flip else f(x, number)
            assert isinstance(y, Tensor)
            assert y.dtype == dtype, (operator, scalar, shape, flip)
            y.backward(np.ones(y.shape))
            assert x.grad.dtype == dtype
            assert x.grad.shape == shape


@each([c for c in ALL if c.order])
def test_float32_in_float32_out_with_second_derivatives(case):
    """Also in the pullbacks as they run on tensors, where a float64 constant could slip in."""
    args = convert(case.arrays(np.float32), leaf)
    if case.name == "astype":
        return
    with set_mode(KEEP_INPUTS):
        ys = floating(case.ours(*args))
        roots = [(y.node, Tensor(np.ones_like(y.data))) for y in ys if y.node is not None]
        found = graph.walk(roots, create_graph=True)
    assert all(y.dtype == np.float32 for y in ys)
    assert all(g.dtype == np.float32 for g in found.values())


def test_two_floating_dtypes_do_not_mix():
    a, b = mg.tensor([1.0], dtype=np.float32), mg.tensor([1.0], dtype=np.float64)
    for f in (mg.add, mg.matmul, lambda a, b: mg.concatenate([a, b]), mg.lerp):
        with pytest.raises(TypeError, match="float32 and float64"):
            f(a, b) if f is not mg.lerp else f(a, b, 0.5)


def test_division_with_a_remainder_is_pythons():
    """a = b (a // b) + a % b with whole a // b, and a % b between 0 and b, whatever the signs."""
    numbers = [7, -7, 0, 3, -3]
    a, b = (grid.ravel() for grid in np.meshgrid(numbers, [n for n in numbers if n]))
    for dtype in (np.int64, np.float32):
        x, y = mg.tensor(a, dtype), mg.tensor(b, dtype)
        assert (x // y).tolist() == [i // j for i, j in zip(a, b, strict=True)]
        assert (x % y).tolist() == [i % j for i, j in zip(a, b, strict=True)]
        assert (7 // y).tolist() == [7 // j for j in b]
        assert (7 % y).tolist() == [7 % j for j in b]
    assert (+x).tolist() == x.tolist()
    assert not np.shares_memory((+x).data, x.data)


def test_integers_over_zero_are_refused_and_floats_are_not_finite():
    for f in (lambda n: n // 0, lambda n: n % 0, lambda n: 5 // (n - n), lambda n: 5 % (n - n)):
        with pytest.raises(ZeroDivisionError, match=r"(floor_divide|remainder): integers over 0"):
            f(mg.tensor([1, 2]))
    x = mg.tensor([1.0, -1.0, 0.0])
    assert mg.isinf(x // 0).tolist() == [True, True, False]
    assert mg.isnan(x // 0).tolist() == [False, False, True]
    assert mg.isnan(x % 0).tolist() == [True] * 3


def test_integers_that_a_dtype_cannot_hold_are_refused_by_name():
    n = mg.tensor([1], np.uint8)
    for f in (lambda: n + 300, lambda: 300 + n, lambda: mg.maximum(n, 300), lambda: n * -1):
        with pytest.raises(
            OverflowError, match=r"(add|maximum|mul): .*uint8  \[.*\(1,\) uint8.*\]"
        ):
            f()
    assert (n < 300).tolist() == [True]  # that has an answer


def test_integers_stay_integers_and_divide_into_float32():
    n = mg.tensor([1, 2, 3])
    assert (n + 1).dtype == (n * n).dtype == n.sum().dtype == np.int64
    for y in (n / 2, n * 0.5, mg.exp(n), n.mean(), mg.sqrt(n), n**0.5):
        assert y.dtype == np.float32


# --- ties and kinks -------------------------------------------------------------------------------
INF = np.inf
KINKS = {  # name: (function, x, value, gradient), conventions of PyTorch
    "relu at 0": (mg.relu, [0.0, -0.0], [0.0, 0.0], [0.0, 0.0]),
    "abs at 0": (mg.abs, [0.0], [0.0], [0.0]),
    "sign at 0": (mg.sign, [0.0], [0.0], [0.0]),
    "leaky_relu at 0": (mg.leaky_relu, [0.0], [0.0], [0.01]),
    "elu at 0": (mg.elu, [0.0], [0.0], [1.0]),
    "clip on its bounds": (lambda x: mg.clip(x, -1, 1), [-1, 1, 2], [-1, 1, 1], [1, 1, 0]),
    "maximum of equals": (lambda x: mg.maximum(x, 1.0), [1.0], [1.0], [0.5]),
    "minimum of equals": (lambda x: mg.minimum(1.0, x), [1.0], [1.0], [0.5]),
    "max of equals": (lambda x: x.max(), [3, 1, 3], 3, [0.5, 0, 0.5]),
    "min of equals": (lambda x: x.min(axis=0), [1, 1, 3], 1, [0.5, 0.5, 0]),
    "topk of equals": (lambda x: mg.topk(x, 1)[0], [2, 2], [2], [1, 0]),
    "sqrt at 0": (mg.sqrt, [0.0], [0.0], [INF]),
    "norm at 0": (lambda x: mg.norm(x), [0.0, 0.0], 0.0, [0.0, 0.0]),
    "std of equals": (lambda x: x.std(), [2.0, 2.0], 0.0, [0.0, 0.0]),
    "normalize at 0": (lambda x: mg.normalize(x).sum(), [0.0, 0.0], 0.0, [1e12, 1e12]),
    "log at 0": (mg.log, [0.0], [-INF], [INF]),
    "1 / 0": (lambda x: 1.0 / x, [0.0], [INF], [-INF]),
    "0 / 0": (lambda x: 0.0 / x, [0.0], [np.nan], [np.nan]),
    "x ** 0 at 0": (lambda x: x**0, [0.0, 2.0], [1.0, 1.0], [0.0, 0.0]),
    "x ** 1 at 0": (lambda x: x**1, [0.0], [0.0], [1.0]),
    "x ** 2 at 0": (lambda x: x**2, [0.0, -3.0], [0.0, 9.0], [0.0, -6.0]),
    "0 ** x at 2": (lambda x: 0.0**x, [2.0], [0.0], [0.0]),
    "prod with one zero": (lambda x: x.prod(), [2.0, 0.0, 3.0], 0.0, [0.0, 6.0, 0.0]),
    "prod with two zeros": (lambda x: x.prod(), [0.0, 0.0, 3.0], 0.0, [0.0, 0.0, 0.0]),
    "where of sqrt at 0": (lambda x: mg.where(x > 0, mg.sqrt(x), 0), [0.0], [0.0], [np.nan]),
    "safe where": (
        lambda x: mg.where(x > 0, mg.sqrt(mg.where(x > 0, x, 1)), 0),
        [0.0, 4.0],
        [0.0, 2.0],
        [0.0, 0.25],
    ),
    "softplus far out": (mg.softplus, [-1e4, 1e4], [0.0, 1e4], [0.0, 1.0]),
    "logsigmoid far out": (mg.logsigmoid, [-1e4, 1e4], [-1e4, 0.0], [1.0, 0.0]),
    "sigmoid far out": (mg.sigmoid, [-1e4, 1e4], [0.0, 1.0], [0.0, 0.0]),
    "tanh far out": (mg.tanh, [-1e4, 1e4], [-1.0, 1.0], [0.0, 0.0]),
    "gelu far out": (mg.gelu, [-1e4, 1e4], [0.0, 1e4], [0.0, 1.0]),
    "silu far out": (mg.silu, [-1e4, 1e4], [0.0, 1e4], [0.0, 1.0]),
    # half for each of two that are inf, nothing for two that are -inf; with a number, as the limit
    "logaddexp(x, -inf)": (
        lambda x: mg.logaddexp(x, -INF),
        [-INF, 0.0, INF],
        [-INF, 0.0, INF],
        [0.0, 1.0, 1.0],
    ),
    "logaddexp(x, inf)": (
        lambda x: mg.logaddexp(INF, x),
        [-INF, 0.0, INF],
        [INF, INF, INF],
        [0.0, 0.0, 0.5],
    ),
    "logaddexp(x, 0)": (lambda x: mg.logaddexp(x, 0.0), [-INF, INF], [0.0, INF], [0.0, 1.0]),
    "logaddexp far from 0": (  # e^(a-y) would keep three digits of e / (1 + e)
        lambda x: mg.logaddexp(x, 9999.0),
        [1e4],
        [1e4 + 0.31326168751822286],
        [0.731058578630004878],
    ),
    "logaddexp(x, NaN)": (lambda x: mg.logaddexp(x, np.nan), [0.0], [np.nan], [np.nan]),
    "logsumexp with inf": (lambda x: mg.logsumexp(x), [INF, 1.0, INF], INF, [0.5, 0.0, 0.5]),
    "logsumexp with -inf": (lambda x: mg.logsumexp(x), [-INF, 1.0], 1.0, [0.0, 1.0]),
    "logsumexp of -inf": (lambda x: mg.logsumexp(x), [-INF, -INF], -INF, [0.0, 0.0]),
}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", KINKS)
def test_values_and_gradients_at_ties_kinks_and_ends(name, dtype):
    """No warnings leak: pytest makes them errors."""
    f, x, value, gradient = KINKS[name]
    x = mg.tensor(np.asarray(x, dtype), requires_grad=True)
    y = f(x)
    y.backward(np.ones(y.shape))
    np.testing.assert_allclose(y.data, np.asarray(value, dtype), rtol=1e-6)
    np.testing.assert_allclose(x.grad.data, np.asarray(gradient, dtype), rtol=1e-6)


@pytest.mark.parametrize("f", [lambda x: mg.logsumexp(x), lambda x: mg.logaddexp(x[0], x[1])])
@pytest.mark.parametrize("pair", [(INF, INF), (INF, -INF), (INF, 1.0), (-INF, -INF), (-INF, 1.0)])
def test_at_infinities_the_sums_of_exponentials_are_straight(f, pair):
    """Their second derivative, p (δ - p), is 0 where p is 0 or 1; the shares of infinities stay."""
    second = mg.grad(lambda x: (mg.grad(f)(x) * np.array([1.0, 2.0])).sum())
    assert second(mg.tensor(np.array(pair))).tolist() == [0.0, 0.0]


# --- properties of random shapes, axes and indices ------------------------------------------------
# The gradient of a linear op f is its transpose: <f(x), c> = <x, gradient(c)> for all x and c. The
# numbers here are small integers, so both sides are exact and compared for equality.
def whole(shape, seed=0):
    """Whole numbers in float64, none of which equal in one array up to 200 elements."""
    n = int(np.prod(shape))
    return (np.random.default_rng(seed).permutation(n) - n // 2).reshape(shape).astype(np.float64)


def assert_transpose(f, x):
    """f(x) is linear and its gradient is its transpose; returns f(x)."""
    x = leaf(x)
    y = f(x)
    c = whole(y.shape, seed=1)
    y.backward(c)
    assert x.grad.shape == x.shape
    assert np.sum(y.data * c) == np.sum(x.data * x.grad.data)
    return y.data


shapes = hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4)
full_shapes = hnp.array_shapes(min_dims=1, max_dims=4, min_side=1, max_side=4)


@given(st.data(), shapes)
def test_property_sum_and_mean_over_any_axes(data, shape):
    axis = data.draw(st.none() | hnp.valid_tuple_axes(len(shape)))
    keepdims = data.draw(st.booleans())
    x = whole(shape)
    y = assert_transpose(lambda t: t.sum(axis=axis, keepdims=keepdims), x)
    assert np.array_equal(y, x.sum(axis=axis, keepdims=keepdims))


@given(st.data(), full_shapes)
def test_property_max_and_argmax_over_any_axes(data, shape):
    axis = data.draw(st.none() | hnp.valid_tuple_axes(len(shape), min_size=1))
    x = leaf(whole(shape))
    y = x.max(axis=axis)
    assert np.array_equal(y.data, x.data.max(axis=axis))
    y.backward(np.ones(y.shape))
    assert np.sum(x.grad.data * x.data) == np.sum(y.data)  # all of it went to the largest
    one = data.draw(st.integers(-len(shape), len(shape) - 1))
    assert np.array_equal(mg.argmax(x, one).data, x.data.argmax(one))


@given(st.data(), hnp.mutually_broadcastable_shapes(num_shapes=2, max_dims=4, max_side=3))
def test_property_broadcast_gradients_have_the_shape_of_the_argument(data, broadcast):
    (a_shape, b_shape), shape = broadcast.input_shapes, broadcast.result_shape
    assert_transpose(lambda t: t + whole(b_shape) * 0.0, whole(a_shape))
    b = whole(b_shape, seed=2)
    y = assert_transpose(lambda t: t * b, whole(a_shape))
    assert y.shape == shape
    if shape and a_shape:
        assert_transpose(lambda t: mg.broadcast_to(t, shape), whole(a_shape))


@given(st.data(), full_shapes)
def test_property_moving_elements_matches_numpy(data, shape):
    x, n = whole(shape), len(shape)
    axis = data.draw(st.integers(-n, n - 1))
    other = data.draw(st.integers(-n, n - 1))
    order = data.draw(st.permutations(range(n)))
    shift = data.draw(st.integers(-3, 3))
    for ours, numpys in (
        (lambda t: t.transpose(order), lambda a: a.transpose(order)),
        (lambda t: t.swapaxes(axis, other), lambda a: a.swapaxes(axis, other)),
        (lambda t: mg.moveaxis(t, axis, other), lambda a: np.moveaxis(a, axis, other)),
        (lambda t: mg.flip(t, axis), lambda a: np.flip(a, axis)),
        (lambda t: mg.roll(t, shift, axis), lambda a: np.roll(a, shift, axis)),
        (lambda t: t.reshape(-1), lambda a: a.reshape(-1)),
        (lambda t: mg.unsqueeze(t, axis), lambda a: np.expand_dims(a, axis)),
        (lambda t: mg.repeat(t, 2, axis), lambda a: np.repeat(a, 2, axis)),
        (lambda t: mg.cumsum(t, axis), lambda a: np.cumsum(a, axis)),
        (lambda t: mg.concatenate([t, t], axis), lambda a: np.concatenate([a, a], axis)),
        (lambda t: mg.stack([t, t], axis), lambda a: np.stack([a, a], axis)),
        (lambda t: mg.pad(t, 1), lambda a: np.pad(a, 1)),
        (lambda t: mg.tile(t, (2, 1)), lambda a: np.tile(a, (2, 1))),
        (lambda t: mg.sort(t, axis)[0], lambda a: np.sort(a, axis)),
    ):
        assert np.array_equal(assert_transpose(ours, x), numpys(x))


@given(st.data(), full_shapes)
def test_property_indexing_matches_numpy_and_gradients_go_back(data, shape):
    index = data.draw(
        hnp.basic_indices(shape, allow_newaxis=True, allow_ellipsis=True)
        | hnp.integer_array_indices(shape)
        | hnp.arrays(bool, shape)
    )
    x = whole(shape)
    y = assert_transpose(lambda t: t[index], x)
    assert np.array_equal(y, x[index])


@given(
    hnp.mutually_broadcastable_shapes(
        signature=np.matmul.signature, max_dims=2, min_side=0, max_side=4
    )
)
def test_property_matmul_of_any_shapes(broadcast):
    a, b = (whole(s, seed) for seed, s in enumerate(broadcast.input_shapes))
    y = assert_transpose(lambda t: t @ b, a)
    assert np.array_equal(y, a @ b)
    assert_transpose(lambda t: a @ t, b)


@given(st.data(), shapes)
def test_property_an_axis_that_does_not_exist_is_refused_by_name(data, shape):
    n = len(shape)
    bad = data.draw(st.integers(-9, -n - 1) | st.integers(n, 9))
    x = leaf(whole(shape))
    for f in (mg.sum, mg.mean, mg.cumsum, mg.flip, mg.argmax, mg.logsumexp):
        with pytest.raises((IndexError, ValueError), match=f.__name__):
            f(x, bad)
