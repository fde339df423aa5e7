"""Command lines from dataclasses: every field a flag, every mistake one line and exit status 2."""

from __future__ import annotations

import contextlib
import io
import re
import sys
from collections.abc import Iterator, Sequence
from typing import NoReturn, TypeVar

from experiments.train.records import RecordError
from minigrad.device import DeviceError

T = TypeVar("T")


def parse(settings: type[T], args: Sequence[str] | None, *, prog: str, description: str) -> T:
    """The settings that the command line asks for.

    --help prints the fields with their documentation and exits with 0. A mistake, be it an unknown
    flag, a wrong type or a value that the dataclass refuses, exits with 2 and one line on stderr.
    """
    import tyro

    box = io.StringIO()  # tyro frames its errors in a box of many lines
    try:
        with contextlib.redirect_stderr(box):
            return tyro.cli(settings, args=args, prog=prog, description=description)
    except SystemExit as stop:
        if stop.code:
            message = unboxed(box.getvalue())
            fail(prog, message.removeprefix(f"Error parsing {settings.__name__}: "))
        raise


def unboxed(box: str) -> str:
    """The message inside a box, up to its first rule, on one line."""
    plain = re.sub(r"\x1b\[[0-9;]*m", "", box)
    text = re.sub(r"^[╭╰].*$|^│|│$", "", plain, flags=re.MULTILINE)
    parts = re.split(r"^\s*[─-]+\s*$", text, flags=re.MULTILINE)
    if "╭" not in plain and len(parts) > 1:  # in ASCII, where the title is not in a border
        parts = parts[1:]
    return " ".join(parts[0].split())


def fail(prog: str, message: object, status: int = 2) -> NoReturn:
    """One line on stderr, then the end. Status 2 is for a mistake of the caller."""
    print(f"{prog}: error: {' '.join(str(message).split())}", file=sys.stderr)
    raise SystemExit(status)


@contextlib.contextmanager
def one_line(prog: str) -> Iterator[None]:
    """An error inside ends the program in one line: status 1 for damaged records, 2 for others."""
    try:
        yield
    except RecordError as error:
        fail(prog, error, status=1)
    except (DeviceError, ImportError, ValueError, OSError) as error:
        fail(prog, error)
