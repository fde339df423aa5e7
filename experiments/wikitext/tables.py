"""Which tables of embeddings a trial has: one of the substitutes, or a file with GPT-1's.

A setting of the trial names them: "minilm", "text", or "file-" and the beginning of the SHA-256 of
a file, so that records tell which tables they were made with.
"""

from __future__ import annotations

import functools
import hashlib
from pathlib import Path
from typing import get_args

from experiments.data import wikitext
from experiments.data.minilm import checkpoint_folder
from experiments.data.place import Place, data_folder
from experiments.data.wikitext import Kept
from experiments.wikitext import embeddings
from experiments.wikitext.embeddings import Embeddings, Kind
from models.hugging_face import read_config

FILE = Place("MINIGRAD_EMBEDDINGS")
table_file = FILE.named
DIGITS = 12


def named(given: str) -> str:
    """The setting for what an option gives: a kind, a file, or "" for what there is.

    ValueError for a file that cannot be read.
    """
    if given in get_args(Kind):
        return given
    if given:
        return digest(Path(given))
    try:
        checkpoint_folder()
    except ValueError:
        return "text"
    return "minilm"


def digest(path: Path) -> str:
    """Of a file, read once for each state of it: every trial asks."""
    try:
        about = path.stat()
        return digest_of(path, about.st_mtime_ns, about.st_size)
    except OSError as error:
        kinds = " or ".join(get_args(Kind))
        reason = error.strerror or error
        raise ValueError(f"{path}: expected {kinds}, or a file of embeddings: {reason}") from None


@functools.lru_cache(maxsize=4)
def digest_of(path: Path, changed: int, size: int) -> str:
    with path.open("rb") as file:
        return f"file-{hashlib.file_digest(file, 'sha256').hexdigest()[:DIGITS]}"


def find(setting: str, d: int) -> None:
    """ValueError or ImportError, in one line, if what tables of width d are made of is missing."""
    if setting == "minilm":
        read_config(checkpoint_folder())
    elif setting == "text":
        try:
            import scipy.sparse  # noqa: F401
        except ImportError as error:
            raise ImportError(f"{error}: pip install 'minigrad[wikitext]'") from None
    else:
        embeddings.read(file_of(setting), d)


def file_of(setting: str) -> Path:
    """The file with this digest. ValueError if another, or none, is named."""
    path = FILE.folder()
    if path is None or (found := digest(path)) != setting:
        got = "none is named" if path is None else f"{path} is {found}"
        raise ValueError(f"embeddings: expected the file {setting}, got another: {got}")
    return path


def load(setting: str, d: int, kept: Kept | None) -> Embeddings:
    """The tables, of a smaller vocabulary if there is one. ValueError as `find`."""
    folder = data_folder(wikitext.SOURCE)
    tables = of_all(setting, folder, d)
    if kept is None:
        return tables
    return embeddings.restricted(tables, kept, wikitext.read(folder)["train"])


@functools.lru_cache(maxsize=1)
def of_all(setting: str, folder: Path, d: int) -> Embeddings:
    if setting in get_args(Kind):
        return embeddings.make(setting, folder, d)  # type: ignore[arg-type]
    return embeddings.read(file_of(setting), d)
