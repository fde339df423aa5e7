"""The section of the page in which a prompt can be typed: a language model continues it.

The weights are float16: those of the seed's model, 943,611 numbers, take 2.3 MB of a page, and 4.7
as float32. Of a model that was trained as in the seed this changed the mean loss on the test texts
by 8e-5, no chance of a next token by more than 5e-4, and which is the most likely at 6 of 14,528
tokens (all windows of 32 tokens that do not overlap).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any

from experiments.report.report import Chapter, Section
from experiments.report.weights import SCRIPTS, in_a_row
from experiments.speeches.measures import TEXTS, as_the_seed, language_models
from experiments.speeches.trained import load_model
from experiments.train import records
from experiments.train.records import CHECKPOINT, TrialRecord

PROMPT = "My fellow Americans,"
MOST = 60  # tokens that are added to a prompt


def html(chapters: Sequence[Chapter]) -> str:
    from experiments.report.page import in_json, packed  # matplotlib takes a second to import

    trial = choose(chapters)
    if trial is None:
        return (
            "<p>No checkpoint of a language model lies beside the records, so there is nothing to "
            "compute with. Train one with <code>python -m experiments.speeches.language_model"
            "</code>.</p>"
        )
    try:
        about, numbers = pack(trial.folder)
    except ValueError as problem:
        return f"<p>The language model cannot be shown: {escape(str(problem))}.</p>"
    fields = "".join(
        f'<label class="{name}">{label} <input name="{name}" value="{value}" size="{size}" '
        f'inputmode="{keys}" autocomplete="off" spellcheck="false"></label>'
        for name, label, value, keys, size in (
            ("prompt", "Prompt", PROMPT, "text", 30),
            ("temperature", "Temperature", 0.8, "decimal", 6),
            ("count", "Tokens", 40, "numeric", 4),
            ("seed", "Seed", 0, "numeric", 7),
        )
    )
    return (
        f"<p>The language model {escape(trial.folder.name)} after {about['step']:,} steps, "
        f"computed in this page: type a prompt, and it goes on. Its perplexity on the test texts "
        f"is {math.exp(mean_loss(trial)):,.0f} in the mean, so expect no sense. Words and "
        f"punctuation marks are its tokens. It knows {len(about['words']) - 2:,}, with capital "
        f'letters as in the speeches, and reads all others as <span class="unknown">unk</span>. It '
        f"reads no more than the last {about['block']} tokens, as in training.</p>"
        f'<form id="prompt">{fields}<button>Continue</button></form>'
        f'<p class="note">Temperature 0 takes the most likely token each time; the higher it is, '
        f"the more often others are drawn. The same prompt, temperature and seed give the same "
        f"text. At most {MOST} tokens are added.</p>"
        f'<p id="continuation" class="text"></p><p id="written" role="status"></p>'
        f'<div id="next-words"></div>'
        f"<details><summary>What the last token attends to</summary>"
        f'<div id="looks"></div></details>'
        f"<noscript>This needs JavaScript.</noscript>"
        f"{packed('decoder-about', in_json(about))}{packed('decoder-numbers', numbers)}"
    )


def choose(chapters: Sequence[Chapter]) -> TrialRecord | None:
    """Of the language models that have a checkpoint the one with the least mean loss on the tests.

    If some have the sizes and steps of the seed, it is one of these.
    """
    trials = [
        trial
        for chapter in chapters
        for trial in language_models(chapter.trials)
        if (trial.folder / CHECKPOINT).exists() and mean_loss(trial) < math.inf
    ]
    return min(as_the_seed(trials) or trials, key=mean_loss, default=None)


def mean_loss(trial: TrialRecord) -> float:
    """Of the last record, over the test texts; inf if one is not finite."""
    losses = [trial.records[-1][f"{key}_loss"] for key in TEXTS]
    return math.inf if None in losses else math.fsum(losses) / len(losses)


def pack(folder: Path) -> tuple[dict[str, Any], bytes]:
    """What decoder.js computes with: a description in JSON, and all numbers as float16 in a row.

    The description has the words by id, the sizes, the slopes of ALiBi and, for each tensor by
    name, where it begins and its shape. ValueError as `load_model`.
    """
    trial, model, words = load_model(folder)
    places, numbers = in_a_row(model.state_dict(), "<f2")
    biased = trial.positions in ("alibi", "signed")  # which are one where nothing later is read
    return {
        "words": words,
        **{name: getattr(trial, name) for name in ("layers", "heads", "block", "positions")},
        "slopes": [biased * 2.0 ** (-8.0 * (h + 1) / trial.heads) for h in range(trial.heads)],
        "most": MOST,
        "step": records.read_status(folder)["step"],
        "tensors": places,
    }, numbers


HERE = Path(__file__).parent
SECTION = Section(
    "text", "Text, live", html,
    [*SCRIPTS, HERE / "words.js", HERE / "decoder.js", HERE / "generate.js"],
)  # fmt: skip
