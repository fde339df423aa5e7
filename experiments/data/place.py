"""Data that do not come with the code: an option or the environment names their folder."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any

import numpy as np

VARIABLE = "MINIGRAD_DATA"


class Place:
    """A folder that an option names, or else a variable of the environment."""

    def __init__(self, variable: str) -> None:
        self.variable = variable
        self.given: ContextVar[Path | None] = ContextVar(variable, default=None)

    @contextmanager
    def named(self, folder: Path | None) -> Iterator[None]:
        """Inside, it is this folder; that of the variable if it is None."""
        token = self.given.set(folder)
        try:
            yield
        finally:
            self.given.reset(token)

    def folder(self) -> Path | None:
        """The folder, if one is named."""
        named = self.given.get() or os.environ.get(self.variable)
        return Path(named) if named else None


DATA = Place(VARIABLE)
data_in = DATA.named


def data_folder(source: str) -> Path:
    """The folder. ValueError, which names the source of the data, if there is none."""
    folder = DATA.folder()
    if folder is None:
        raise ValueError(f"no data: give the folder of {source} by --data or {VARIABLE}")
    return folder


def place_in(
    folder: Path,
    names: Iterable[str],
    holds: Callable[[Path], bool],
    source: str,
    files: str = "",
) -> Path:
    """The first of these names in a folder, "" for itself, that holds the data.

    ValueError, in one line, if none does. source: of the data; files: which ones, as " in a, b".
    """
    if not folder.is_dir():
        raise ValueError(f"{folder}: no such folder; expected {source}")
    for name in names:
        if holds(folder / name):
            return folder / name
    raise ValueError(f"{folder}: expected {source}{files}")


def content_of(path: Path, source: str) -> str:
    """The text of a file of data from a source. ValueError, in one line, if it cannot be read."""
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ValueError(f"{path}: no such file; it belongs to {source}") from None
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: expected UTF-8, got another byte at {error.start}") from None


def arrays_in(path: Path, names: Sequence[str], source: str) -> dict[str, np.ndarray[Any, Any]]:
    """The arrays of an .npz file of a source, by name, of which nothing is unpickled.

    ValueError, in one line, unless it has these and no others.
    """
    try:
        with open(path, "rb") as data:
            file = np.load(data, allow_pickle=False)
            found = file.files if isinstance(file, np.lib.npyio.NpzFile) else ["one without a name"]
            if sorted(found) == sorted(names):
                return {name: file[name] for name in names}
    except FileNotFoundError:
        raise ValueError(f"{path}: no such file; it belongs to {source}") from None
    except Exception as error:  # the reader raises many kinds
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise ValueError(f"{path}: not a complete .npz file of arrays ({reason:.100})") from None
    got = ", ".join(sorted(found)) or "none"
    raise ValueError(f"{path}: expected arrays {', '.join(names)}, got {got}")
