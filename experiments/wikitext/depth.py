"""Why the deep GPTs of seed 002 fail, and what repairs them.

    python -m experiments.wikitext.depth --data FOLDER --scale small
    python -m experiments.wikitext.depth --data FOLDER --scale reduced --launcher processes

GPTs of one, two and four blocks with AdamW as in the seed; and the deeper ones with a warm-up, with
clipped gradients, with a lower rate, and with the layer norms before attention and feed-forward
part instead of after. Validation perplexity and the norm of the gradient of every block are
measured at powers of two of steps in the first epoch, and after each epoch.
"""

from __future__ import annotations

import math
import sys
from dataclasses import dataclass
from typing import Any

from experiments.results.claims import Says, Test, paired
from experiments.results.curves import Quantity, number
from experiments.results.results import Answer, Drawing, Results
from experiments.results.tables import cell, kinds_table
from experiments.results.trials import Having, Trials, finished
from experiments.sweep.experiment import Experiment, main
from experiments.wikitext import options
from experiments.wikitext.comparison import beyond, yardsticks
from experiments.wikitext.measures import (
    LAST_LEARNT,
    LAST_VAL,
    LAYERS,
    SHOWN,
    decided,
    exp,
)
from experiments.wikitext.seed import DECAY
from experiments.wikitext.task import EPOCHS, PER_EPOCH, LanguageModel

REPAIRS: dict[str, dict[str, Any]] = {
    "as in the seed": {},
    "warm-up of 500 steps": {"warmup": 500},
    "gradients clipped at 1": {"clip": 1.0},
    "rate 3e-4": {"lr": 3e-4},
    "pre-norm": {"pre_norm": True},
}
PLAIN, WARMED, CLIPPED, SLOWER, PRE_NORM = REPAIRS
USUAL = {"warmup": 0, "clip": None, "lr": LanguageModel.lr, "pre_norm": False}


@dataclass(frozen=True)
class Begun(LanguageModel):
    """A trial that is measured more often at the beginning."""

    def due(self, step: int, per_epoch: int) -> bool:
        power = step < per_epoch and step & (step - 1) == 0
        return power or super().due(step, per_epoch)


def kind(layers: int, repair: str) -> Having:
    settings = {**USUAL, **REPAIRS[repair], "layers": layers}
    return Having(f"{LAYERS[layers]}, {repair}", settings)


KINDS = {(1, PLAIN): kind(1, PLAIN)} | {(n, r): kind(n, r) for n in (2, 4) for r in REPAIRS}
LAST = Quantity("validation", lambda t: exp(LAST_VAL.of(t)), -1, (".1f", ".1f"))


@dataclass(frozen=True)
class Options(options.Options):
    """Questions 6 and 8: GPTs of several blocks, and what repairs them."""

    def trials(self) -> dict[str, Begun]:
        few = 3 * PER_EPOCH  # whether a model learns at all is seen in the first epoch
        steps = self.steps or {"full": EPOCHS * PER_EPOCH, "reduced": few, "small": 1}[self.scale]
        trials = {}
        for seed in self.seeds:
            for layers, repair in KINDS:
                name = f"gpt{layers}-{repair.replace(' ', '-')}-seed{seed}"
                trials[name] = self.language_model(
                    Begun, seed=seed, model="gpt", layers=layers, weight_decay=DECAY, steps=steps,
                    **REPAIRS[repair],
                )  # fmt: skip
        return trials


def results(trials: Trials) -> Results:
    from experiments.wikitext import figures

    ended, levels = finished(trials), yardsticks(trials)
    panels = {each.label: each.of(ended) for each in KINDS.values()}
    note = (
        "Perplexity after the last epoch; norms of the gradients of the blocks on one batch after "
        f"{EARLY} steps. Mean ± standard deviation over seeds."
    )
    table = kinds_table("repairs", "Deep GPTs, and what repairs them", ended, KINDS.values(),
                        [LAST, *(gradient(k) for k in range(4))], note=note)  # fmt: skip
    caption = (
        "Validation and training perplexity against the step. Across: n-grams of the same tokens."
    )
    of_plain = [f"{LAYERS[n]} {cell(LAST, LAST.over(KINDS[n, PLAIN].of(ended)))}" for n in LAYERS]
    return Results(
        [table],
        [Drawing("repairs", caption, figures.grid(panels, levels, figures.steps, "step")),
         Drawing("gradients", "Norms of the gradients of the blocks on one batch against the step.",
                 figures.gradients(panels))],
        decided(CLAIMS, ended),
        Answer(f"Perplexity as in the seed: {', '.join(of_plain)}", "repairs"),
        shown=(*SHOWN, "gradient_0"),
    )  # fmt: skip


EARLY = 64  # steps, when gradients of blocks are compared


def gradient(block: int) -> Quantity:
    """The norm of the gradient of a block after `EARLY` steps; NaN if there is no such block."""

    def of(trial: Any) -> float:
        record = next((r for r in trial.records if r["step"] == EARLY), {})
        return number(record.get(f"gradient_{block}"))

    return Quantity(f"gradient, block {block + 1}", of, 0, (".2g", ".1g"))


# --- what the seed says, and what we test beyond --------------------------------------------------
def repaired(layers: int, repair: str) -> Test:
    """Whether a deep model with a repair is at most 5 % worse than one layer as in the seed."""
    shallow, deep = KINDS[1, PLAIN], KINDS[layers, repair]
    return paired(LAST_VAL, deep, shallow) < math.log(1.05)


CLAIMS = (
    *(
        Says("002, question 6", f"{LAYERS[n]}: worse than one because it overfits, and so fits the "
             "training text better",
             paired(LAST_LEARNT, KINDS[n, PLAIN], KINDS[1, PLAIN]) < 0, "002.2")
        for n in (2, 4)
    ),
    *(
        Says("beyond 002", f"{LAYERS[n]}, as in the seed: learns more than how frequent tokens are",
             beyond(KINDS[n, PLAIN], "unigram"), "002.2")
        for n in (2, 4)
    ),
    *(
        Says("beyond 002", f"{LAYERS[n]}, {repair}: as good as one layer within 5 %, or better",
             repaired(n, repair), "002.2")
        for n in (2, 4) for repair in REPAIRS if repair != PLAIN
    ),
)  # fmt: skip

TITLE = "Why deep GPTs fail, and what repairs them"
EXPERIMENT = Experiment("depth", TITLE, Options, results)

if __name__ == "__main__":
    sys.exit(main(EXPERIMENT, description=__doc__))
