"""Whether ops are recorded: a setting of the thread or task, not of the process."""

from __future__ import annotations

import contextvars
import functools
import inspect
from collections.abc import Callable
from typing import Any, TypeVar

F = TypeVar("F", bound=Callable[..., Any])

OFF, RECORD, KEEP_INPUTS = 0, 1, 2  # KEEP_INPUTS: also keep what a higher derivative needs
MODE: contextvars.ContextVar[int] = contextvars.ContextVar("minigrad.mode", default=RECORD)

LATER = inspect.isgeneratorfunction, inspect.iscoroutinefunction, inspect.isasyncgenfunction


class set_mode:
    """Context manager and decorator that records differently inside, in this thread or task only.

    TypeError for a decorated generator or coroutine, which runs after its call has returned.
    """

    def __init__(self, mode: int) -> None:
        self.mode = mode
        self.tokens: list[contextvars.Token[int]] = []

    def __enter__(self) -> None:
        self.tokens.append(MODE.set(self.mode))

    def __exit__(self, *_: object) -> None:
        MODE.reset(self.tokens.pop())

    def __call__(self, fn: F) -> F:
        if any(kind(fn) for kind in LATER):
            raise TypeError(
                f"{fn.__name__}: a call of it computes nothing yet; write `with mg.no_grad():` "
                f"inside it, and yield outside of that"
            )

        @functools.wraps(fn)
        def wrapped(*args: Any, **kwargs: Any) -> Any:
            with set_mode(self.mode):
                return fn(*args, **kwargs)

        return wrapped  # type: ignore[return-value]


def no_grad() -> set_mode:
    """Compute without recording: `with no_grad(): ...` or `@no_grad()`."""
    return set_mode(OFF)


def enable_grad() -> set_mode:
    """Record again inside a `no_grad` region."""
    return set_mode(RECORD)


def is_grad_enabled() -> bool:
    """Whether ops on tensors that need a gradient are recorded."""
    return MODE.get() != OFF
