"""What helps the models of seed 002 that overfit: question 8.

    python -m experiments.wikitext.overfitting --data FOLDER --scale small
    python -m experiments.wikitext.overfitting --data FOLDER --scale reduced --launcher processes

The two that the seed finds to overfit, the GPT of one layer and the LSTM of two, both with AdamW:
as they are, ended early, with dropout, with a rate that falls, and with more weight decay. The seed
proposes these and has not tried them. Its rate would fall when validation stops to improve; here it
falls as half a cosine wave. More data, other sizes and cross-validation are not tried here either.
"""

from __future__ import annotations

import math
import sys
from dataclasses import dataclass
from typing import Any

from experiments.results.claims import Says, paired
from experiments.results.curves import Quantity
from experiments.results.results import Answer, Drawing, Results
from experiments.results.tables import kinds_table
from experiments.results.trials import Having, Trials, finished
from experiments.sweep.experiment import Experiment, main
from experiments.wikitext import options
from experiments.wikitext.comparison import yardsticks
from experiments.wikitext.measures import (
    EPOCH,
    LEARNT,
    LOG_VAL,
    NAMES,
    RISE,
    SECONDS,
    SHOWN,
    VAL,
    decided,
)
from experiments.wikitext.seed import DECAY, RUNS
from experiments.wikitext.task import LanguageModel

MODELS = {"gpt": 6, "lstm": 9}  # numbers of the seed's experiments
REMEDIES: dict[str, dict[str, Any]] = {
    "nothing": {},
    "early stopping": {"patience": 2},
    "dropout .1": {"dropout": 0.1},
    "dropout .3": {"dropout": 0.3},
    "a falling rate": {"schedule": "cosine"},
    "no weight decay": {"weight_decay": 0.0},
    "weight decay .01": {"weight_decay": 1e-2},
    "weight decay .1": {"weight_decay": 1e-1},
}
NOTHING, EARLY, *OTHERS = REMEDIES
USUAL = {"patience": 0, "dropout": 0.0, "schedule": "constant", "weight_decay": DECAY}


def kind(model: str, remedy: str) -> Having:
    label = f"{NAMES[model]}, {remedy}"
    return Having(label, {**USUAL, **REMEDIES[remedy], "model": model})


LOG_SECONDS = Quantity("log seconds", lambda t: math.log(SECONDS.of(t)))
KINDS = {(model, remedy): kind(model, remedy) for model in MODELS for remedy in REMEDIES}


@dataclass(frozen=True)
class Options(options.Options):
    """Question 8: what helps the models that overfit."""

    def trials(self) -> dict[str, LanguageModel]:
        trials = {}
        for seed in self.seeds:
            for model, remedy in KINDS:
                run = RUNS[MODELS[model]]
                settings = {**USUAL, **REMEDIES[remedy], "model": model, "layers": run.layers}
                name = f"{model}-{remedy.replace(' ', '-')}-seed{seed}"
                trials[name] = self.language_model(seed=seed, optimizer=run.optimizer, **settings)
        return trials


def results(trials: Trials) -> Results:
    from experiments.wikitext import figures

    ended = finished(trials)
    note = (
        "Perplexities at the epoch with the least validation perplexity, epochs from 0; how much "
        "the logarithm of validation perplexity is above its least at the end; seconds of "
        "training. Mean ± standard deviation over seeds."
    )
    table = kinds_table("remedies", "What helps models that overfit", ended, KINDS.values(),
                        (VAL, LEARNT, EPOCH, RISE, SECONDS), note=note)  # fmt: skip
    panels = {each.label: each.of(ended) for each in KINDS.values()}
    best = {
        model: min((s.mean, remedy) for (m, remedy), each in KINDS.items()
                   if m == model and (s := VAL.over(each.of(ended))))
        for model in MODELS if any(each.of(ended) for (m, _), each in KINDS.items() if m == model)
    }  # fmt: skip
    text = ", ".join(f"{NAMES[m]} {value:.1f} with {remedy}" for m, (value, remedy) in best.items())
    return Results(
        [table],
        [Drawing("remedies", "Training and validation perplexity.",
                 figures.grid(panels, yardsticks(trials), figures.epochs, "epoch"))],
        decided(CLAIMS, ended),
        Answer(f"Least validation perplexity: {text}", "remedies"),
        shown=SHOWN,
    )  # fmt: skip


CLAIMS = (
    *(
        Says("002, question 8", f"{NAMES[model]}: early stopping takes less time",
             paired(LOG_SECONDS, KINDS[model, EARLY], KINDS[model, NOTHING]) < 0)
        for model in MODELS
    ),
    *(
        Says("002, question 8", f"{NAMES[model]}: early stopping loses nothing, within 1 %",
             paired(LOG_VAL, KINDS[model, EARLY], KINDS[model, NOTHING]).within(0.01))
        for model in MODELS
    ),
    *(
        Says("002, question 8", f"{NAMES[model]}: {remedy} lowers the least validation perplexity",
             paired(LOG_VAL, KINDS[model, remedy], KINDS[model, NOTHING]) < 0)
        for model in MODELS for remedy in OTHERS
    ),
)  # fmt: skip

TITLE = "What helps language models that overfit"
EXPERIMENT = Experiment("overfitting", TITLE, Options, results)

if __name__ == "__main__":
    sys.exit(main(EXPERIMENT, description=__doc__))
