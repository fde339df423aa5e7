"""The line of the user's program that called minigrad, for errors that come after their cause."""

from __future__ import annotations

import contextlib
import os
import sys

PACKAGE = os.path.dirname(__file__) + os.sep


def user_place() -> tuple[str, int]:
    """File and number of the innermost running line outside of minigrad."""
    frame = sys._getframe()  # type: ignore[reportPrivateUsage]
    while frame.f_code.co_filename.startswith(PACKAGE) and frame.f_back is not None:
        frame = frame.f_back
    return frame.f_code.co_filename, frame.f_lineno


def line_of(place: tuple[str, int]) -> str:
    """ "file.py:12" of a `user_place`."""
    path, number = place
    with contextlib.suppress(ValueError):  # on another drive
        relative = os.path.relpath(path)
        path = path if relative.startswith("..") else relative
    return f"{path}:{number}"
