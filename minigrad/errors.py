"""The text of errors in ops: which op, which arguments, on which device, and what is wrong."""

from __future__ import annotations

import inspect
from typing import Any

from minigrad import device as devices
from minigrad.kernel import Unusable
from minigrad.memory import out_of_memory

# errors to which the op and its arguments are added; a GPU raises MemoryError, its driver
# RuntimeError
EXPLAINED = (
    IndexError,
    TypeError,
    ValueError,
    MemoryError,
    RuntimeError,
    AttributeError,
    OverflowError,
    ZeroDivisionError,
)


def explained(error: Exception, this: Any, args: Any, kwargs: Any) -> Exception:
    """An error of the same kind that names the op, each argument (shape, dtype) and the reason."""
    parameters = inspect.signature(this.body).parameters.values()
    names = [p.name for p in parameters if p.kind is not p.KEYWORD_ONLY]
    described: list[str] = []
    places: set[str] = set()
    arrays = [a.data if is_tensor(a) else a for a in args]
    for i, a in enumerate(arrays):
        name = names[min(i, len(names) - 1)]
        if devices.is_array(a):
            where = devices.of(a)
            places.add(where)
            described.append(f"{name} {a.shape} {a.dtype}" + f" {where}" * (where != "cpu"))
        else:
            described.append(f"{name}={a!r}"[:60])
    described += [f"{k}={v!r}"[:60] for k, v in kwargs.items() if not is_tensor(v)]
    reason = str(error)
    if isinstance(error, AttributeError):  # a list, say, where the body wants an array
        lists = [a for a in kwargs.values() if isinstance(a, (list, tuple))]
        kinds = [type(a).__name__ for a in (*args, *lists) if not hasattr(a, "dtype")]
        error, reason = TypeError(), f"expected tensors or arrays, got {', '.join(kinds)}: {reason}"
    reason = devices.elsewhere(arrays) or reason
    for device in places:
        reason += out_of_memory(error, device)
    return with_text(error, f"{this.name}: {reason}  [{', '.join(described)}]")


def with_text(error: Exception, text: str) -> Exception:
    """An error of the same kind with this text."""
    return next(kind for kind in EXPLAINED if isinstance(error, kind))(text)


def is_tensor(a: Any) -> bool:
    return hasattr(a, "node")


def explained_backward(error: Exception, node: Any, g: Any) -> Exception:
    """The same as `explained`, for a pullback that the device could not run."""
    kind = MemoryError if isinstance(error, MemoryError) else RuntimeError
    first = g[0] if isinstance(g, tuple) else g
    reason = f"{error}{out_of_memory(error, devices.of(first))}"
    if isinstance(error, Unusable):
        reason += "; mg.use_kernels(False) goes without it"
    return kind(f"{node.name}, backward: {reason}  [{node.shape} {node.dtype}]")
