"""Data that do not come with the code: an option or the environment names their folder."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path

VARIABLE = "MINIGRAD_DATA"
FOLDER: ContextVar[Path | None] = ContextVar("minigrad.data", default=None)


@contextmanager
def data_in(folder: Path | None) -> Iterator[None]:
    """Inside, data are read from this folder; from that of MINIGRAD_DATA if it is None."""
    token = FOLDER.set(folder)
    try:
        yield
    finally:
        FOLDER.reset(token)


def data_folder(source: str) -> Path:
    """The folder. ValueError, which names the source of the data, if there is none."""
    named = FOLDER.get() or os.environ.get(VARIABLE)
    if not named:
        raise ValueError(f"no data: give the folder of {source} by --data or {VARIABLE}")
    return Path(named)


def content_of(path: Path, source: str) -> str:
    """The text of a file of data from a source. ValueError, in one line, if it cannot be read."""
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ValueError(f"{path}: no such file; it belongs to {source}") from None
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: expected UTF-8, got another byte at {error.start}") from None
