"""NumPy's functions on tensors, called in every form that NumPy gives them.

Each registered function is called with its arguments in NumPy's order, and each by NumPy's name. It
gives what NumPy gives, or says which argument it does not take.
"""

import inspect
import itertools

import numpy as np
import pytest

import minigrad as mg
from minigrad.protocols import NUMPY

EMPTY, POSITIONAL = inspect.Parameter.empty, inspect.Parameter.POSITIONAL_ONLY
FIXED = POSITIONAL, inspect.Parameter.POSITIONAL_OR_KEYWORD
KINDS = "stable", "quicksort", "heapsort", "mergesort"


class Refused:
    """A value that tensors do not take. `said` is in the message, if the name is not."""

    def __init__(self, value, said=""):
        self.value, self.said = value, said


X = np.array([[2.0, -1.0, 0.5, 3.0], [-2.5, 1.5, 0.25, -0.75], [4.0, 2.25, -3.0, 1.0]])
POS, INTS, MASK = np.abs(X), np.arange(12).reshape(3, 4), X > 0.0
PLACES = np.array([[0, 2, 1, 0]])

# --- what is tried --------------------------------------------------------------------------------
# Values of an argument that may be left out; the first stands in its place where one after it is
# given. Those of a function of its own come before those that are the same for all.
COMMON = {
    "axis": [None, 0, 1, -1],
    "keepdims": [False, True],
    "dtype": [None, Refused(np.float32)],
    "out": [None, Refused(np.zeros((3, 4)))],
    "initial": [None, Refused(1.5)],
    "where": [True, Refused(MASK)],
    "mean": [None, Refused(np.zeros((1, 4)))],
    "correction": [0, 1],
    "ddof": [0, 1, 2],
    "order": ["C", Refused("F")],
    "casting": ["same_kind", Refused("safe")],
    "subok": [False, True],
    "copy": [None, Refused(True)],
    "stable": [None, True],
    "k": [0, 1, -1],
    "mode": ["raise", Refused("wrap")],
    "signature": [Refused("d->d")],
    "device": [None, Refused("cpu")],
}
LIKE = {"dtype": [None, np.float32], "order": ["K", "C", "F"], "shape": [None, (2, 3), ()]}
SORT = {"axis": [-1, 0, None], "kind": [None, *KINDS], "order": [None, Refused("f0")]}
JOIN = {"axis": [0, 1, -1]}
PLACE = {"axis": [None, 0, 1], "keepdims": [False, True]}
LINES = {"axis": [None, 0, (0, 1)], "keepdims": [False, True]}
TABLE = {  # function: (arguments that it must be given, values of the others)
    np.sum: ([X], LINES),
    np.prod: ([X], LINES),
    np.mean: ([X], LINES),
    np.std: ([X], LINES),
    np.var: ([X], LINES),
    np.max: ([X], LINES),
    np.min: ([X], LINES),
    np.argmax: ([X], PLACE),
    np.argmin: ([X], PLACE),
    np.cumsum: ([X], {}),
    np.linalg.norm: (
        [X],
        {
            "ord": [None, Refused("fro", "matrix norm"), Refused(2, "matrix norm")],
            "axis": [None, 0, (0, 1)],
        },
    ),
    np.linalg.vector_norm: ([X], {"axis": [None, 1, (0, 1)], "ord": [2, 1, 3, np.inf]}),
    np.sort: ([X], SORT),
    np.argsort: ([X], SORT),
    np.clip: ([X, -1.0, 1.0], {"min": [], "max": []}),  # see below
    np.round: ([X], {"decimals": [0, 1]}),
    np.around: ([X], {"decimals": [0, 1]}),
    np.reshape: ([X, (4, 3)], {}),
    np.ravel: ([X], {}),
    np.squeeze: ([X[None]], {"axis": [None, 0]}),
    np.expand_dims: ([X, 1], {}),
    np.transpose: ([X], {"axes": [None, (1, 0), (-1, 0)]}),
    np.swapaxes: ([X, 0, 1], {}),
    np.moveaxis: ([X, 0, -1], {}),
    np.flip: ([X], {"axis": [None, 0, (0, 1)]}),
    np.roll: ([X, 2], {"axis": [None, 0, 1]}),
    np.broadcast_to: ([X, (2, 3, 4)], {}),
    np.repeat: ([X, 2], {"axis": [None, 0, 1]}),
    np.tile: ([X, (2, 1)], {}),
    np.concatenate: ([[X, X]], JOIN),
    np.stack: ([[X, X]], JOIN),
    np.split: ([X.T, 2], {"axis": [0, -2]}),
    np.tril: ([X], {}),
    np.triu: ([X], {}),
    np.diagonal: ([X], {"offset": [0, 1, -1], "axis1": [0, -2], "axis2": [1, -1]}),
    np.pad: (
        [X, 1],
        {"mode": ["constant", Refused("edge")]},
    ),
    np.take: ([X, [0, 2]], {"axis": [None, 0, 1]}),
    np.take_along_axis: ([X, PLACES], {"axis": [0, -2]}),
    np.einsum: (["ij,kj->ik", X, X], {"optimize": [False, True]}),
    np.dot: ([X, X.T], {}),
    np.outer: ([X[0], X[1]], {"out": [None, Refused(np.zeros((4, 4)))]}),
    np.copy: ([X], {"order": ["K", "C", "F"]}),
    np.zeros_like: ([X], LIKE),
    np.ones_like: ([X], LIKE),
    np.empty_like: ([X], LIKE),
    np.shape: ([X], {}),
    np.ndim: ([X], {}),
    np.size: ([X], {"axis": [None, 0, -1]}),
    np.where: ([MASK, X, -X], {}),
}
if hasattr(np, "unstack"):
    TABLE[np.unstack] = [X], {"axis": [0, 1]}
POSITIVE = {np.sqrt, np.log, np.log1p, np.reciprocal}
WHOLE = {np.invert, np.bitwise_and, np.bitwise_or, np.bitwise_xor}
SPECIAL = {np.power: [POS, X], np.matmul: [X, X.T], np.logical_not: [MASK]}
UFUNC = ("out", "where", "casting", "order", "dtype", "subok", "signature")


def arguments(function):
    """What to give an elementwise function."""
    if function in SPECIAL:
        return SPECIAL[function]
    array = POS if function in POSITIVE else INTS if function in WHOLE else X
    second = {np.floor_divide: POS, np.remainder: POS}.get(function, array[::-1].copy())
    return [array, second][: function.nin]


for _function in NUMPY:
    if isinstance(_function, np.ufunc):
        TABLE[_function] = arguments(_function), {"order": ["K", Refused("C")]}
TABLE[np.matmul][1]["where"] = []  # which it has not
FORMS = {f"np.{f.__name__}": f for f in TABLE}


def parameters(function):
    """NumPy's parameters by name, an elementwise function's without its arrays.

    {} where this version of NumPy does not tell.
    """
    if isinstance(function, np.ufunc):
        named = inspect.Parameter.KEYWORD_ONLY
        return {n: inspect.Parameter(n, named, default=None) for n in UFUNC}
    try:
        return inspect.signature(function).parameters
    except ValueError:
        return {}


def values(function, name):
    """What an argument that may be left out is tried with."""
    own = TABLE[function][1]
    return own[name] if name in own else COMMON[name]


def calls(function):
    """(positional, named, the last value) of every call that is tried."""
    given, form = TABLE[function][0], parameters(function)
    yield given, {}, None
    fixed = [n for n, p in form.items() if p.kind in FIXED]
    for name, parameter in form.items():
        if parameter.default is not EMPTY and name not in fixed[: len(given)]:
            for value in values(function, name):
                yield given, {name: value}, (name, value)
    for count in range(len(given) + 1, len(fixed) + 1):
        *before, last = fixed[len(given) : count]
        for value in values(function, last):
            yield [*given, *(values(function, n)[0] for n in before), value], {}, (last, value)
    if fixed and all(form[n].kind is not POSITIONAL for n in fixed):
        pairs = list(zip(fixed, given, strict=False))
        yield [], dict(pairs), None
        yield [], dict(pairs[::-1]), None


def tensors(value):
    """The arguments with tensors in the place of arrays, also in lists."""
    if isinstance(value, list):
        return [tensors(v) for v in value]
    return mg.tensor(value) if isinstance(value, np.ndarray) else value


def bare(value):
    return value.value if isinstance(value, Refused) else value


def each(result):
    return list(result) if isinstance(result, (list, tuple)) else [result]


# --- the tests ------------------------------------------------------------------------------------
def test_every_function_is_in_the_table():
    assert set(TABLE) == set(NUMPY) - {np.amax, np.amin} | {np.max, np.min}


@pytest.mark.parametrize("name", FORMS)
def test_a_call_gives_what_numpy_gives_or_names_what_it_does_not_take(name):
    """The same operations on the same numbers, in another order at most: 8 roundings of float64."""
    function, tried = FORMS[name], 0
    for args, kwargs, last in calls(function):
        args, refused = [bare(a) for a in args], last is not None and isinstance(last[1], Refused)
        plain = {n: bare(v) for n, v in kwargs.items()}
        ours = (
            [tensors(a) for a in args],
            {n: v if n == "out" else tensors(v) for n, v in plain.items()},
        )
        if refused:
            said = last[1].said or last[0]
            with pytest.raises((TypeError, ValueError), match=said) as error:
                function(*ours[0], **ours[1])
            assert function.__name__ in str(error.value), error.value
            continue
        found, wanted = function(*ours[0], **ours[1]), function(*args, **plain)
        tried += 1
        for y, z in itertools.zip_longest(each(found), each(wanted)):
            if isinstance(z, (np.ndarray, np.generic)):
                assert isinstance(y, mg.Tensor)
                assert (y.shape, y.dtype) == (z.shape, z.dtype), (args, kwargs)
                if function is not np.empty_like:
                    scale = np.abs(z).max(initial=0.0) if z.dtype.kind == "f" else 0.0
                    limit = 8 * np.finfo(float).eps * scale
                    np.testing.assert_allclose(
                        y.numpy(), z, rtol=0, atol=limit, err_msg=str(kwargs)
                    )
            else:
                assert y == z
    assert tried


@pytest.mark.skipif("min" not in parameters(np.clip), reason="NumPy 2.1 brought the names")
def test_bounds_under_each_of_their_names():
    x, top = mg.tensor(X), np.full(4, 2.0)
    for options in (
        {"min": -1.0},
        {"max": top},
        {"min": None, "max": top},
        {"max": 1.0, "min": -X},
    ):
        assert np.array_equal(np.clip(x, **options).numpy(), np.clip(X, **options))
    assert np.array_equal(np.clip(x, None, a_max=top).numpy(), np.clip(X, None, a_max=top))


def test_names_that_mean_the_same_are_given_once():
    x = mg.tensor(X)
    with pytest.raises(TypeError, match=r"np\.std: correction was given twice"):
        np.std(x, ddof=1, correction=1)


def test_what_numpy_refuses_itself_stays_refused():
    x = mg.tensor(X)
    with pytest.raises(TypeError, match="unexpected keyword argument 'axes'"):
        np.sum(x, axes=0)
    with pytest.raises(ValueError, match="kind"):
        np.sort(x, kind="bubble")
    with pytest.raises(
        TypeError, match=r"np\.pad: no gradient rule for stat_length=1; .*pad_width"
    ):
        np.pad(x, 1, stat_length=1)
    with pytest.raises(TypeError, match="expected subscripts as a string"):
        np.einsum(x, [0, 1], [1])


def test_gradients_flow_through_numpys_forms():
    """Of Σ (x - μ)² / (n - 1): 2 (x - μ) / (n - 1). Three roundings."""
    x = mg.tensor(X, requires_grad=True)
    np.var(a=x, axis=None, ddof=1).backward()
    np.testing.assert_allclose(x.grad.numpy(), 2.0 * (X - X.mean()) / 11.0, rtol=1e-14)
    x.grad = None
    np.clip(a_max=2.0, a=x, a_min=0.0).sum().backward()
    assert np.array_equal(x.grad.numpy(), (X >= 0.0) & (X <= 2.0))


def test_numpys_functions_of_a_user_have_numpys_form_too():
    @mg.op(numpy=np.cross)
    def crossing(a, b):
        return np.cross(a, b), (lambda g: np.cross(b, g), lambda g: np.cross(g, a))

    try:
        a, b = mg.tensor(X[0, :3], requires_grad=True), mg.tensor(X[1, :3])
        assert np.array_equal(np.cross(b=b, a=a).detach().numpy(), np.cross(X[0, :3], X[1, :3]))
        with pytest.raises(TypeError, match=r"np\.cross: no gradient rule for axisc=0; .*\(a, b\)"):
            np.cross(a, b, axisc=0)
    finally:
        del NUMPY[np.cross]
