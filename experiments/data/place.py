"""The folder of data that do not come with the code: an option or the environment names it."""

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
