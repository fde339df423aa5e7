"""The section of the page with a form for an equation, which a small GPT reads in the browser."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any

from experiments.grokking.task import Grokking, load_model, parameters_of
from experiments.report.report import Chapter, Section
from experiments.report.weights import SCRIPTS, in_a_row
from experiments.train import records
from experiments.train.records import CHECKPOINT, TrialRecord

MOST = 500_000  # parameters of a model in the page: 2 MB


def html(chapters: Sequence[Chapter]) -> str:
    from experiments.report.page import in_json, packed  # matplotlib takes a second to import

    trial = choose(chapters)
    if trial is None:
        return (
            "<p>No checkpoint of a small GPT is with the records, so nothing can be computed here. "
            "Train one with <code>python -m experiments.sanity</code>.</p>"
        )
    about, numbers = pack(trial.folder)
    example = "6 + 19 =" if about["p"] > 19 else "6 + 9 ="
    example = example.replace("+", about["operator"])
    return (
        f"<p>The GPT {escape(trial.folder.name)} after {about['step']:,} steps, computed in "
        f"this page. Type a sum, whole or cut off anywhere, and see where each head looks and what "
        f"the model says next. It knows the numbers from 0 to {about['p'] - 1} and reads at most "
        f"{about['length']} tokens, with the BOS that is put before them.</p>"
        f'<form id="equation"><label>Equation <input name="text" value="{escape(example)}" '
        f'autocomplete="off" spellcheck="false" inputmode="text"></label>'
        f"<button>Read it</button></form>"
        f'<p id="said" role="status"></p><div id="predictions"></div>'
        f'<div id="maps" class="maps"></div>'
        f"<noscript>This needs JavaScript.</noscript>"
        f"{packed('gpt-about', in_json(about))}{packed('gpt-numbers', numbers)}"
    )


def choose(chapters: Sequence[Chapter]) -> TrialRecord | None:
    """The GPT with the best last validation accuracy, of those small enough with a checkpoint.

    If several are equal, the first in the order of the report.
    """
    fitting = [
        trial
        for chapter in chapters
        for trial in chapter.trials
        if trial.settings["model"] == "gpt"
        and (trial.folder / CHECKPOINT).exists()
        and parameters_of(Grokking.of(trial.settings), embeddings=True) <= MOST
    ]
    return max(fitting, key=lambda trial: trial.records[-1]["val_accuracy"] or 0.0, default=None)


def pack(folder: Path) -> tuple[dict[str, Any], bytes]:
    """The model for gpt.js: a description for JSON, and all tensors as consecutive float32.

    The description has the vocabulary, the sizes, and by name the offset and shape of each tensor.
    The table of positions is a tensor too, so that the page uses the same numbers.
    """
    trial, model, words = load_model(folder)
    tensors = {**model.state_dict(), "positions.table": model.positions.table.numpy()}
    places, numbers = in_a_row(tensors, "<f4")
    settings = trial.settings()
    about = {
        "words": list(words),
        **{name: settings[name] for name in ("operator", "p", "layers", "heads", "seed")},
        "length": len(tensors["positions.table"]),
        "step": records.read_json(folder / "status.json")["step"],
        "tensors": places,
    }
    return about, numbers


HERE = Path(__file__).parent
SECTION = Section(
    "attention", "Attention, live", html, [*SCRIPTS, HERE / "gpt.js", HERE / "live.js"]
)
