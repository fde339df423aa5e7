"""The sanity check of seeds 000 and 001 (questions 4.1 and 4.2): LSTM against GPT.

    python -m experiments.sanity --scale small     # half a minute: shows that everything works
    python -m experiments.sanity --device cuda     # the whole experiment
    python -m experiments.sanity --replicas --seeds 0 1 2 3 --device cuda   # all seeds at once
    python -m experiments.sanity --resume          # go on after Ctrl-C, or make figures again

Both models learn a + b mod 31 from half of all sums, with two seeds each. The results are the
curves of question 4.1 (sanity.png) and the table of 4.2 beside the numbers of both seed documents
(results.md). Attention maps (4.8) are an experiment of their own, `grokking.attention_maps`.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from experiments.grokking import options
from experiments.grokking.seeds import SANITY
from experiments.grokking.task import Grokking
from experiments.results.groups import LABELS, all_comparable, by_model, column, finished
from experiments.results.metrics import NAMES, Spread
from experiments.results.results import Claim, Drawing, Results, Table
from experiments.results.tables import cell, label
from experiments.sweep.experiment import Experiment, main
from experiments.train.records import TrialRecord

Columns = Mapping[str, Mapping[str, Spread | None]]  # by model and by name of `NAMES`

SOURCES = ("ours", *SANITY)
TELLING = ("t_f(A_train)", "t_f(L_train)", "L_train")  # where 000 and 001 are farthest apart


@dataclass(frozen=True)
class Options(options.Options):
    """Questions 4.1 and 4.2: all as in the seeds."""

    def trials(self) -> dict[str, Grokking]:
        return {
            f"{model}-seed{seed}": self.trial(model=model, seed=seed)
            for seed in self.seeds
            for model in self.models
        }


def results(trials: Sequence[TrialRecord]) -> Results:
    from experiments.results import panels  # matplotlib takes a second to import

    caption = (
        "Loss and accuracy on training and validation set: mean over seeds, ± one standard "
        "deviation as a band."
    )
    figure = panels.curves_of_models(trials, title="Sanity check")
    ended = finished(trials)
    return Results(
        tables=[table(ended)],
        drawings=[Drawing("sanity", caption, figure)],
        claims=claims(ended),
    )


# --- the table of question 4.2 --------------------------------------------------------------------
def table(trials: Sequence[TrialRecord]) -> Table:
    """Our numbers beside those of seeds 000 and 001, the better of our two models in bold."""
    ours = {model: column(of_model) for model, of_model in by_model(trials).items()}
    columns: dict[str, Columns] = {"ours": ours, **SANITY}
    rows, data = [], {}
    for name in NAMES:
        best = {source: better(columns[source], name) for source in SOURCES}
        values = {
            (model, source): columns[source].get(model, {}).get(name)
            for model in LABELS
            for source in SOURCES
        }
        cells = [
            cell(name, value, bold=source == "ours" and best[source] == LABELS[model])
            for (model, source), value in values.items()
        ]
        rows.append([label(name), *cells, " / ".join(best.values())])
        numbers = {
            model: {s: value._asdict() for s in SOURCES if (value := values[model, s])}
            for model in LABELS
        }
        data[name] = {**numbers, "better": best}
    seeds = {m: [t.settings["seed"] for t in of_m] for m, of_m in by_model(trials).items()}
    note = (
        "Mean ± population standard deviation over seeds, of trials that ran to their end. L: "
        "least loss, A: greatest accuracy among evaluated steps, t_f: the first evaluated step "
        "that has it, Δt: t_f(val) - t_f(train). ↓ less is better, ↑ more is better; the better "
        "of our two models in bold. The last column names the better model by our numbers, by "
        "seed 000 and by seed 001."
    )
    alike = all_comparable(trials)
    return Table(
        name="best",
        title="Our numbers beside seeds 000 and 001",
        columns=["", *(f"{LABELS[m]} {s}" for m in LABELS for s in SOURCES), "better, in each"],
        rows=rows,
        note=note if alike else f"**Not the seeds' settings or steps.** {note}",
        data={"comparable": alike, "seeds": seeds, "rows": data},
    )


def better(columns: Columns, name: str) -> str:
    """Which model has the better mean: more accuracy, less of everything else; "=" for a tie."""
    lstm, gpt = (columns.get(model, {}).get(name) for model in ("lstm", "gpt"))
    if lstm is None or gpt is None:
        return "-"
    if lstm.mean == gpt.mean:
        return "="
    return "LSTM" if (lstm.mean > gpt.mean) == name.startswith("A_") else "GPT"


# --- what the seeds say ---------------------------------------------------------------------------
def claims(trials: Sequence[TrialRecord]) -> list[Claim]:
    """Which model is first and lowest on the training set: 000 and 001 say the opposite.

    It tells whether the columns of table 1 of 001 are swapped (erratum 001.1).
    """
    ours = {model: column(of_model) for model, of_model in by_model(trials).items()}
    known = ours.keys() == LABELS.keys() and all(ours[m][n] for m in ours for n in TELLING)
    found = []
    for source, theirs in SANITY.items():
        said = "; ".join(f"{label(n)[:-2]}: {better(theirs, n)}" for n in TELLING)
        erratum = "001.1" if source == "001" else None
        text, verdict = "no two models to compare", "not run"
        if known:
            same = sum(better(ours, name) == better(theirs, name) for name in TELLING)
            clear = {len(TELLING): "agrees", 0: "differs"}.get(same, "undecided")
            verdict = clear if all_comparable(trials) else "undecided"
            numbers = "; ".join(
                f"{label(n)[:-2]}: "
                + ", ".join(f"{LABELS[m]} {cell(n, ours[m][n])}" for m in LABELS)
                for n in TELLING
            )
            text = f"{numbers}: as {source} in {same} of {len(TELLING)} rows"
        found.append(Claim(f"{source}, 4.2", f"The better: {said}", text, verdict, erratum))
    return found


EXPERIMENT = Experiment(
    "sanity", "Sanity check: LSTM and GPT on a + b mod 31", Options, results, options.summary
)

if __name__ == "__main__":
    sys.exit(main(EXPERIMENT, description=__doc__))
