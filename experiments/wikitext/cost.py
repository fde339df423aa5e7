"""Time and memory of a step of the twelve models of seed 002: tables 2 and 3, at the seed's sizes.

    python -m experiments.wikitext.cost --data FOLDER --scale small
    python -m experiments.wikitext.cost --data FOLDER

A few steps of each model, in a process of its own, one after the other: do nothing else on the
machine. Ten epochs take 5,760 such steps. Memory is the most that the process has used since the
first step (on a GPU, that of CuPy's pool), beside what the sizes of arrays add up to.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

import minigrad as mg
from experiments.results.claims import Says, Test, fact, paired
from experiments.results.curves import Quantity
from experiments.results.results import Answer, Results, Table
from experiments.results.tables import cell
from experiments.results.trials import Trials, finished
from experiments.sweep.experiment import Experiment, main
from experiments.train.records import TrialRecord, read_records
from experiments.train.task import Rows, Task
from experiments.wikitext import options
from experiments.wikitext.comparison import GROUPS
from experiments.wikitext.embeddings import Embeddings
from experiments.wikitext.measures import LAYERS, decided
from experiments.wikitext.seed import RUNS
from experiments.wikitext.task import EPOCHS, PER_EPOCH, LanguageModel, LanguageModelTask
from minigrad.memory import give_back_memory
from minigrad.ops.linear_cross_entropy import BYTES, ROWS
from models import TiedGPTConfig, TiedLSTMConfig, count

STEPS = 3  # timed, after one that is not


@dataclass(frozen=True)
class Cost(LanguageModel):
    """A few steps of a model, of which the first is not counted."""

    shown: ClassVar[tuple[str, ...]] = ("train_loss",)

    steps: int = STEPS + 1

    def due(self, step: int, per_epoch: int) -> bool:
        return step in (1, STEPS + 1)

    def task(self, device: str) -> Task:
        return CostTask(self, device)


class CostTask(LanguageModelTask):
    """The first batches of the text; nothing is measured but time and memory.

    The tables are random numbers, for their values change neither, and to make others would be most
    of the memory.
    """

    def __init__(self, trial: Cost, device: str) -> None:
        normal = lambda rows: mg.random.normal((rows, trial.d), std=0.02).numpy()
        tables = Embeddings(normal(trial.vocabulary), normal(trial.window))
        super().__init__(trial, device, embeddings=tables)
        self.begun = False

    def order(self, epoch: int) -> list[Rows]:
        rows = np.arange((STEPS + 1) * self.trial.batch_size) % self.size
        return np.split(rows, STEPS + 1)

    def loss(self, rows: mg.Tensor) -> tuple[mg.Tensor, Sequence[mg.Tensor | float]]:
        if not self.begun:  # to make a model is no part of a step
            give_back_memory()
            mg.debug.restart_peak()
        self.begun = True
        return super().loss(rows)

    def measure(self) -> dict[str, Any]:
        return {}

    def leave(self, folder: Path) -> None:
        """Nothing."""


@dataclass(frozen=True)
class Options(options.Options):
    """Questions 3 and 7: time and memory of a step. Whatever --launcher says, trials run in
    processes of their own, one at a time; and at reduced scale too they have the seed's sizes."""

    def __post_init__(self) -> None:
        only: dict[str, Any] = {"launcher": "processes", "workers": 1, "address": None, "gpus": 0.0}
        if self.scale == "reduced":
            only["scale"] = "full"
        for name, value in only.items():
            object.__setattr__(self, name, value)  # the options are frozen
        super().__post_init__()

    def trials(self) -> dict[str, Cost]:
        return dict(
            self.of_seed(n, seed, Cost, steps=Cost.steps) for seed in self.seeds for n in RUNS
        )


# --- what was measured ----------------------------------------------------------------------------
def times(trial: TrialRecord) -> list[dict[str, Any]]:
    return read_records(trial.folder / "times.jsonl")


def seconds(trial: TrialRecord) -> float:
    """Of one step."""
    first, last = times(trial)[-2:]
    return (last["seconds"] - first["seconds"]) / STEPS


def megabytes(trial: TrialRecord) -> float:
    return times(trial)[-1]["peak_bytes"] / 1e6


STEP = Quantity("seconds a step", seconds, -1, (".2f", ".2f"))
LOG_STEP = Quantity("log seconds a step", lambda t: math.log(seconds(t)))
MEMORY = Quantity("MB", megabytes, -1, (",.0f", ",.0f"))


# --- what the sizes add up to ---------------------------------------------------------------------
SLOTS = {"adam": 2, "adamw": 2, "momentum": 1, "sgd": 0}  # kept of each weight by an optimizer


def predicted(trial: TrialRecord) -> dict[str, float]:
    """MB of float32 arrays by what they are, when the gradients of a step have been made.

    The table and the positions; the trained weights with their gradients and what the optimizer
    keeps; and what the layers save of a batch of N = B T tokens for the way back, of each layer of
    an LSTM its input, gates, cells and hidden states, and of a block of a GPT what
    `saved_by_block` says. Of the logits there are `ROWS` rows at once.
    """
    model = LanguageModel.of(trial.settings)
    c, tokens = model.config(), model.batch_size * model.window
    weights = trained(c)
    tables = c.vocabulary_size * c.d
    if isinstance(c, TiedGPTConfig):
        tables += c.length * c.d
        saved = c.layers * saved_by_block(c) * tokens
    else:
        # of a layer: the input, four gates, the cells, their tanh and the hidden states; then what
        # the ReLU gets
        inputs = c.d + (c.layers - 1) * c.hidden
        saved = (inputs + c.layers * 7 * c.hidden + c.d) * tokens
    parts = {
        "tables": tables,
        "weights": weights,
        "gradients": weights,
        "optimizer": SLOTS[trial.settings["optimizer"]] * weights,
        "saved": saved + 2 * c.d * tokens,  # the features and their gradient
        "logits": min(tokens, max(ROWS, BYTES // (4 * c.vocabulary_size))) * c.vocabulary_size,
    }
    return {name: 4 * size / 1e6 for name, size in parts.items()}


def trained(config: TiedLSTMConfig | TiedGPTConfig) -> int:
    if isinstance(config, TiedGPTConfig):
        return count.tied_gpt(config)
    return count.tied_lstm(config)


def saved_by_block(c: TiedGPTConfig) -> int:
    """Numbers a token that a post-norm block keeps: its input, q, k, v, the heads' weights and
    output, and the normalized sum of each half; the feed-forward part before and after GELU."""
    return c.d + 3 * c.d + c.heads * c.length + c.d + 2 * c.d + 2 * c.hidden


def results(trials: Trials) -> Results:
    ended = finished(trials)
    text = "; ".join(
        f"{GROUPS[n].label} {cell(STEP, STEP.over(GROUPS[n].of(ended)))} s" for n in (2, 6)
    )
    tables = [time_table(ended), memory_table(ended)]
    return Results(tables, [], decided(CLAIMS, ended), Answer(f"A step: {text}", "time"))


def time_table(trials: Trials) -> Table:
    rows, data = [], {}
    for n, group in GROUPS.items():
        spread = STEP.over(group.of(trials))
        hours = "" if spread is None else f"{spread.mean * EPOCHS * PER_EPOCH / 3600:.1f}"
        rows.append([str(n), group.label, cell(STEP, spread), hours, f"{RUNS[n].seconds:.1f}"])
        data[str(n)] = spread and spread._asdict()
    heads = ["no.", "model", "seconds a step", "hours of ten epochs", "002: seconds of ten epochs"]
    note = f"Mean of {STEPS} steps, ± standard deviation over seeds. The seed's are a V100's."
    return Table("time", "Table 2: the time of a step", heads, rows, note, data)


def memory_table(trials: Trials) -> Table:
    """Sorted as the seed's table."""
    rows, data = [], {}
    for n in sorted(RUNS, key=lambda n: RUNS[n].megabytes):
        of = GROUPS[n].of(trials)
        spread = MEMORY.over(of)
        parts = predicted(of[0]) if of else {}
        cells = [f"{value:,.0f}" for value in parts.values()] or [""] * 6
        total = f"{math.fsum(parts.values()):,.0f}" if parts else ""
        rows.append([str(n), GROUPS[n].label, cell(MEMORY, spread), total, *cells,
                     f"{RUNS[n].megabytes:,.1f}"])  # fmt: skip
        data[str(n)] = {"measured": spread and spread._asdict(), "predicted": parts}
    heads = ["no.", "model", "measured", "predicted", "tables", "weights", "gradients", "optimizer",
             "saved", "logits", "002"]  # fmt: skip
    note = (
        "MB. Measured: the most that the process has used in these steps, with Python, libraries, "
        "kernels and data, which take 250 to 360. "
        "Predicted: what the arrays add up to, and its parts. The seed's are averages of what "
        "nvidia-smi shows, with PyTorch's cache and the logits, 663 MB each time they are held."
    )
    return Table("memory", "Table 3: memory", heads, rows, note, data)


# --- what the seed says ---------------------------------------------------------------------------
def moments(n: int) -> float:
    """MB of Adam's two moments for the model of an experiment."""
    model: Any = RUNS[n].model
    return 2 * 4 * trained(LanguageModel(model=model, layers=RUNS[n].layers).config()) / 1e6


def slower(a: int, b: int) -> Test:
    return paired(LOG_STEP, GROUPS[a], GROUPS[b]) > 0


def moments_explain(adam: int, sgd: int) -> Test:
    saved = RUNS[adam].megabytes - RUNS[sgd].megabytes
    text = f"Adam's moments have {moments(adam):.0f} MB; the seed's differ by {saved:.0f}"
    return fact(text, abs(moments(adam) - saved) < 0.25 * saved)


CLAIMS = (
    *(
        Says("002, question 3", f"{LAYERS[n]}: the GPT takes longer than the LSTM",
             slower(gpt, lstm))
        for n, gpt, lstm in ((1, 6, 2), (2, 11, 9), (4, 12, 10))
    ),
    *(
        Says("002, question 3", f"{GROUPS[b].label} takes longer than with SGD", slower(b, a),
             "002.4")
        for a, b in ((3, 2), (7, 6))
    ),
    *(
        Says("002, question 7", f"{kind}: SGD uses less memory because it keeps no moments",
             moments_explain(adam, sgd), "002.7")
        for kind, adam, sgd in (("LSTM", 1, 3), ("GPT", 5, 7))
    ),
    *(
        Says("002, question 7", f"{LAYERS[n]}: the GPT uses more memory than the LSTM",
             paired(MEMORY, GROUPS[gpt], GROUPS[lstm]) > 0)
        for n, gpt, lstm in ((1, 6, 2), (2, 11, 9), (4, 12, 10))
    ),
    *(
        Says("002, question 7", f"{kind}: four layers use more memory than one",
             paired(MEMORY, GROUPS[four], GROUPS[one]) > 0)
        for kind, four, one in (("LSTM", 10, 2), ("GPT", 12, 6))
    ),
    Says("002, question 7", "The GPT with momentum uses as much memory as with Adam",
         paired(MEMORY, GROUPS[8], GROUPS[5]).within(10)),
    *(
        Says("002, question 7", f"{GROUPS[b].label} uses more memory than with SGD",
             paired(MEMORY, GROUPS[b], GROUPS[a]) > 0, "002.7")
        for a, b in ((3, 1), (7, 5))
    ),
)  # fmt: skip

TITLE = "Time and memory of the twelve models"
EXPERIMENT = Experiment("cost", TITLE, Options, results)

if __name__ == "__main__":
    sys.exit(main(EXPERIMENT, description=__doc__))
