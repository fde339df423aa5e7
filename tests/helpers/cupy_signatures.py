"""Whether a call fits CuPy: it has a function of that name, which takes such arguments.

CuPy imports without a GPU and a driver. Its functions in Python have signatures; ufuncs, and what
is compiled, the methods of arrays among it, give theirs in the first line of their text:

    "add(x1, x2, /, out=None, \\*, casting='same_kind', dtype=None)"
    "_ndarray_base.sum(self, axis=None, dtype=None, out=None, keepdims=False) -> _ndarray_base"

Where CuPy is not installed, every call fits. Of arguments their number and names are looked at, and
not their values; matmul, einsum and pad take any number, or any name. divmod, frexp and modf write
their parameters in a form of their own: no call of them fits.
"""

from __future__ import annotations

import functools
import inspect
import re
from inspect import Parameter

try:
    import cupy
except ImportError:
    cupy = None


class MisfitError(TypeError):
    """A call that CuPy does not take, or whose signature it does not give."""


def fit(path, args, kwargs):
    """MisfitError unless what is `cupy.PATH`, as "linalg.norm", takes these arguments."""
    if cupy is not None:
        fit_names(path, len(args), (*kwargs,))


def path_of(func):
    """Where CuPy's arrays look for one of NumPy's functions."""
    return ".".join([*func.__module__.split(".")[1:], func.__name__])


@functools.cache
def fit_names(path, count, names):
    taken = signature(path)
    try:
        taken.bind(*[None] * count, **dict.fromkeys(names))
    except TypeError as error:
        raise MisfitError(f"cupy.{path}{taken}: {error}") from None


@functools.cache
def find(path):
    """What is `cupy.PATH`."""
    try:
        return functools.reduce(getattr, path.split("."), cupy)
    except AttributeError:
        raise MisfitError(f"cupy.{path}: CuPy {cupy.__version__} has none") from None


@functools.cache
def signature(path):
    """Of what is `cupy.PATH`; of a method, with its array."""
    thing = find(path)
    if not isinstance(thing, cupy.ufunc):
        try:
            return inspect.signature(thing)
        except ValueError:  # it is compiled
            pass
    return written(thing.__doc__ or "", path)


# --- signatures that are text ---------------------------------------------------------------------
LINE = re.compile(r"[\w.]+\((.*)\)(?: -> \w+)?")
PARAMETERS = re.compile(r"((?:[^,'(]|'[^']*'|\([^)]*\))+)(?:,|$)")


def written(text, path):
    """The signature in the first line of a text, where types may stand before names."""
    line = LINE.fullmatch(text.split("\n")[0].replace("\\", ""))
    if line is None or "[" in line[1]:
        raise MisfitError(f"cupy.{path}: its signature cannot be read: {text[:60]!r}")
    parameters, kind = [], Parameter.POSITIONAL_OR_KEYWORD
    for item in PARAMETERS.findall(line[1]):
        declaration, equals, _ = item.strip().partition("=")
        stars, name = re.fullmatch(r"(?:.*\s)?(\**)([\w/]*)", declaration).groups()
        if name == "/":
            parameters = [p.replace(kind=Parameter.POSITIONAL_ONLY) for p in parameters]
        elif stars and not name:
            kind = Parameter.KEYWORD_ONLY
        elif stars:
            rest = Parameter.VAR_POSITIONAL if len(stars) == 1 else Parameter.VAR_KEYWORD
            parameters.append(Parameter(name, rest))
            kind = Parameter.KEYWORD_ONLY
        else:
            default = ... if equals else Parameter.empty
            parameters.append(Parameter(name, kind, default=default))
    return inspect.Signature(parameters)
