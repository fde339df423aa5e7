"""The section of the page in which a caption can be typed: pictures are ranked by it.

The page computes the text tower, on weights in float16 as its speech model (`speeches/live.py`);
the vectors of the pictures were computed when the trial ended. The pictures come from the trial's
folder, and their makers and licences stand beside them.
"""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any

import numpy as np

from experiments.attention.pairs import Pairs
from experiments.attention.pieces import Vocabulary
from experiments.attention.prompts import COLUMNS, GALLERY, THUMBNAIL
from experiments.report.report import Chapter, Section
from experiments.report.weights import SCRIPTS, in_a_row
from experiments.train import records
from experiments.train.records import CHECKPOINT, TrialRecord
from minigrad.files import load_checkpoint, read_file
from models import CLIP

CAPTION = "two goldfish"  # the first one of the seed
SHOWN = 12  # pictures that a caption finds
MEASURE = "google_held_picture_at_10"


def html(chapters: Sequence[Chapter]) -> str:
    from experiments.report.page import in_json, packed  # matplotlib takes a second to import

    trial = choose(chapters)
    if trial is None:
        return (
            "<p>No CLIP with a checkpoint and a gallery of pictures lies beside the records. Train "
            "one with <code>python -m experiments.attention.clip</code>.</p>"
        )
    try:
        about, numbers, sheet = pack(trial.folder)
    except ValueError as problem:
        return f"<p>CLIP cannot be shown: {escape(str(problem))}.</p>"
    sources = "; ".join(dict.fromkeys(about["sources"]))
    code = base64.b64encode(sheet).decode()
    return (
        f"<p>The text tower of {escape(trial.folder.name)} after {about['step']:,} steps, computed "
        f"in this page: type a caption, and it ranks {len(about['captions']):,} pictures, none of "
        f"which it was trained on. In the seed “two goldfish” and “two nemo” found a picture, and "
        f"“two nemos” did not. This model has read {about['known']:,} captions; words that were "
        f"in none of them fall into pieces.</p>"
        f'<form id="caption"><label>Caption <input name="caption" value="{CAPTION}" size="30" '
        f'autocomplete="off" spellcheck="false"></label><button>Find</button></form>'
        f'<p id="searched" role="status"></p><ol id="found"></ol>'
        f'<p class="note">Chance: softmax over all pictures of the similarities times '
        f"{about['scale']:.1f}, the scale that was learnt. Pictures: {escape(sources)}.</p>"
        f'<img id="sheet" alt="" hidden src="data:image/webp;base64,{code}">'
        f"<noscript>This needs JavaScript.</noscript>"
        f"{packed('tower-about', in_json(about))}{packed('tower-numbers', numbers)}"
    )


def choose(chapters: Sequence[Chapter]) -> TrialRecord | None:
    """Of the trials that left all that is needed the one that finds most held-out emoji."""
    trials = [
        trial
        for chapter in chapters
        for trial in chapter.trials
        if trial.records[-1].get(MEASURE) is not None
        and (trial.folder / CHECKPOINT).exists()
        and (trial.folder / GALLERY).exists()
    ]
    return max(trials, key=lambda trial: trial.records[-1][MEASURE], default=None)


def load_model(folder: Path) -> tuple[CLIP, Vocabulary, dict[str, Any], dict[str, Any]]:
    """The model of a trial as last saved, its vocabulary, what is known of the gallery, and the
    gallery's arrays. ValueError if they do not fit."""
    tensors, metadata = read_file(folder / GALLERY, checked=True)
    if "about" not in metadata:
        raise ValueError(f"{folder / GALLERY}: not a gallery of a trial")
    about = json.loads(metadata["about"])
    words = Vocabulary(about["pieces"], about["merges"])
    model = CLIP(Pairs.of(records.read_settings(folder)).config(len(words)))
    load_checkpoint(folder / CHECKPOINT, model=model)
    return model.eval(), words, about, tensors


def pack(folder: Path) -> tuple[dict[str, Any], bytes, bytes]:
    """What clip.js computes with: a description in JSON, all numbers as float16 in a row, and the
    sheet of pictures. ValueError as `load_model`."""
    model, words, gallery, tensors = load_model(folder)
    places, numbers = in_a_row({**model.text.state_dict(), "vectors": tensors["vectors"]}, "<f2")
    config = model.config
    return (
        {
            "words": words.pieces,
            "merges": words.merges,
            "captions": gallery["captions"],
            "sources": gallery["sources"],
            "known": gallery["known"],
            "layers": config.text_layers,
            "heads": config.text_heads,
            "context": config.context,
            "scale": math.exp(model.log_scale.item()),
            "thumbnail": THUMBNAIL,
            "columns": COLUMNS,
            "shown": SHOWN,
            "step": records.read_status(folder)["step"],
            "tensors": places,
        },
        numbers,
        np.asarray(tensors["sheet"]).tobytes(),
    )


HERE = Path(__file__).parent
SECTION = Section(
    "search", "Captions find pictures, live", html,
    [*SCRIPTS, HERE / "clip.js", HERE / "search.js"],
)  # fmt: skip
