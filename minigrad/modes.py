"""Whether ops are recorded: a setting of the thread or task, not of the process."""

from __future__ import annotations

import contextvars
import functools
import inspect
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

F = TypeVar("F", bound=Callable[..., Any])

OFF, RECORD, KEEP_INPUTS = 0, 1, 2  # KEEP_INPUTS: also keep what a higher derivative needs
MODE: contextvars.ContextVar[int] = contextvars.ContextVar("minigrad.mode", default=RECORD)


class set_mode:
    """Context manager and decorator that records differently inside, in this thread or task only.

    A decorated generator is switched while it runs and restored while it is suspended.
    """

    def __init__(self, mode: int) -> None:
        self.mode = mode
        self.tokens: list[contextvars.Token[int]] = []

    def __enter__(self) -> None:
        self.tokens.append(MODE.set(self.mode))

    def __exit__(self, *_: object) -> None:
        MODE.reset(self.tokens.pop())

    def __call__(self, fn: F) -> F:
        mode = self.mode
        if inspect.isgeneratorfunction(fn):

            @functools.wraps(fn)
            def generator(*args: Any, **kwargs: Any) -> Iterator[Any]:
                inner = fn(*args, **kwargs)
                step: Callable[[], Any] = inner.__next__
                try:
                    while True:
                        with set_mode(mode):
                            try:
                                value = step()
                            except StopIteration as stop:
                                return stop.value
                        try:
                            step = functools.partial(inner.send, (yield value))
                        except GeneratorExit:
                            raise
                        except BaseException as error:
                            step = functools.partial(inner.throw, error)
                finally:
                    with set_mode(mode):
                        inner.close()

            return generator  # type: ignore[return-value]

        @functools.wraps(fn)
        def wrapped(*args: Any, **kwargs: Any) -> Any:
            with set_mode(mode):
                return fn(*args, **kwargs)

        return wrapped  # type: ignore[return-value]


def no_grad() -> set_mode:
    """Compute without recording: `with no_grad(): ...` or `@no_grad()`."""
    return set_mode(OFF)


def enable_grad() -> set_mode:
    """Record again inside a `no_grad` region."""
    return set_mode(RECORD)


def is_grad_enabled() -> bool:
    return MODE.get() != OFF
