"""Text that the models of seed 002 write: each trial continues the same beginnings when it ends.

The beginnings are from the test text. A trial leaves them with their continuations in samples.json;
the page of the report shows those of the best LSTM and the best GPT.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Any

from experiments.report.report import Chapter, Section
from experiments.train import records
from experiments.train.records import TrialRecord
from models import generate

FILE = "samples.json"
TEMPERATURE = 0.8
BEGINNING, COUNT = 16, 60  # tokens: given, and added
CHUNKS = (0, 400, 800)  # of the test text, whose beginnings are continued


def texts(
    model: Any, chunks: Any, length: int, text_of: Any, without: Sequence[int]
) -> dict[str, Any]:
    """Beginnings from chunks (N, T) of ids, and what the model makes of them, as words.

    text_of: from ids to words. without: ids that are not drawn.
    """
    samples = []
    for i in CHUNKS:
        ids = [int(each) for each in chunks[i % len(chunks)][: min(BEGINNING, length)]]
        text = generate.continued(
            model, ids, COUNT, length=length, temperature=TEMPERATURE, seed=i, without=without
        )
        samples.append({"beginning": text_of(ids), "continued": text_of(text[len(ids) :])})
    return {"temperature": TEMPERATURE, "samples": samples}


def html(chapters: Sequence[Chapter]) -> str:
    from experiments.wikitext.measures import LAST_VAL

    trials = [t for chapter in chapters if chapter.name == "comparison" for t in chapter.trials]
    shown = []
    for kind, name in (("lstm", "LSTM"), ("gpt", "GPT")):
        of = [t for t in trials if t.settings["model"] == kind and (t.folder / FILE).exists()]
        if of:
            shown.append(of_trial(name, min(of, key=LAST_VAL.of)))
    if not shown:
        return "<p>No trial of the comparison has left texts.</p>"
    return "".join(shown) + (
        '<p class="note">The beginnings are from the test part of WikiText-2 (Merity et al., '
        "2016), texts of Wikipedia under CC BY-SA 3.0, in lower case as the models read them.</p>"
    )


def of_trial(name: str, trial: TrialRecord) -> str:
    from experiments.wikitext.measures import LAST_VAL, exp

    left = records.read_json(trial.folder / FILE, dict)
    parts = "".join(
        f'<p class="text">{escape(each["beginning"])} <strong>{escape(each["continued"])}</strong>'
        "</p>"
        for each in left["samples"]
    )
    return (
        f"<p>The best {name}, {escape(trial.folder.name)}, with a validation perplexity of "
        f"{exp(LAST_VAL.of(trial)):.0f} after the last step, continues beginnings of {BEGINNING} "
        f"tokens, at temperature {left['temperature']:g}:</p>{parts}"
    )


SECTION = Section("samples", "Text that they write", html)
