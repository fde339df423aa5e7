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

    said = io.StringIO()  # tyro frames its errors in a box of many lines
    try:
        with contextlib.redirect_stderr(said):
            return tyro.cli(settings, args=args, prog=prog, description=description)
    except SystemExit as stop:
        if stop.code:
            text = unboxed(said.getvalue())
            fail(prog, text.removeprefix(f"Error parsing {settings.__name__}: "))
        raise


def fail(prog: str, message: object, status: int = 2) -> NoReturn:
    """One line on stderr, then the end. Status 2 is for a mistake of the caller."""
    print(f"{prog}: error: {' '.join(str(message).split())}", file=sys.stderr)
    raise SystemExit(status)


@contextlib.contextmanager
def one_line(prog: str) -> Iterator[None]:
    """What goes wrong inside ends the program in one line: damaged records with 1, all else 2."""
    try:
        yield
    except RecordError as error:
        fail(prog, error, status=1)
    except (DeviceError, ImportError, ValueError, OSError) as error:
        fail(prog, error)


def unboxed(text: str) -> str:
    """The message inside a box, up to its first rule, on one line."""
    text = re.sub(r"\x1b\[[0-9;]*m", "", text)
    lines = [re.sub(r"^[│|]\s?|\s*[│|]$", "", line).strip() for line in text.splitlines()]
    body: list[str] = []
    for line in lines:
        if line.startswith(("╭", "╰")):
            continue
        if line and set(line) <= {"─"}:
            break
        body.append(line)
    return " ".join(" ".join(body).split())
