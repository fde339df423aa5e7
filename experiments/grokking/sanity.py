"""The sanity check of seeds 000 and 001 (questions 4.1 and 4.2): LSTM against GPT.

    python -m experiments.sanity --scale small     # half a minute: shows that everything works
    python -m experiments.sanity --device cuda     # the whole experiment
    python -m experiments.sanity --replicas --seeds 0 1 2 3 --device cuda   # all seeds at once
    python -m experiments.sanity --resume          # go on after Ctrl-C, or make figures again

Both models learn a + b mod 31 from half of all sums, with two seeds each. The results are the
curves of question 4.1 (sanity.png) and the table of 4.2, with the numbers of both seed documents
(results.md). Attention maps (4.8) are another experiment, `grokking.attention_maps`.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass

from experiments.grokking import options, seeds
from experiments.grokking.seeds import A_VAL, GPT, LSTM, MODELS, NAMED, NUMBERS, SANITY, Numbers
from experiments.grokking.task import Grokking
from experiments.results.claims import Finding, Says, Test, by_share, decide
from experiments.results.curves import Quantity
from experiments.results.results import Answer, Drawing, Results, Table
from experiments.results.tables import cell
from experiments.results.trials import Group, Trials, by_group, finished
from experiments.sweep.experiment import Experiment, main

# the numbers in which 000 and 001 differ most
TELLING = tuple(NAMED[name] for name in ("t_f(A_train)", "t_f(L_train)", "L_train"))


@dataclass(frozen=True)
class Options(options.Options):
    """Questions 4.1 and 4.2, as in the seeds."""

    def trials(self) -> dict[str, Grokking]:
        return {
            f"{model}-seed{seed}": self.trial(model=model, seed=seed)
            for seed in self.seeds
            for model in self.models
        }


def results(trials: Trials) -> Results:
    from experiments.results import panels  # matplotlib takes a second to import

    caption = (
        "Loss and accuracy on training and validation set: mean over seeds, ± one standard "
        "deviation as a band."
    )
    title, ended = f"Sanity check: {seeds.alike(trials)}", finished(trials)
    figure = panels.curves_of_groups(trials, MODELS, title=title)
    return Results(
        tables=[table(ended)],
        drawings=[Drawing("sanity", caption, figure, live=True)],
        claims=decide(CLAIMS, ended),
        answer=Answer(answer(ended), "best"),
        groups=MODELS,
    )


def answer(trials: Trials) -> str:
    best, step = (
        seeds.of_models(trials, lambda of_model, n=n: cell(n, n.over(of_model)), ", ")
        for n in (A_VAL, NAMED["t_f(A_val)"])
    )
    return f"Share of held-out sums that is right at best: {best}; first so at step: {step}"


# --- the table of question 4.2 --------------------------------------------------------------------
def numbers_of(trials: Trials) -> dict[Group, Numbers]:
    """Our numbers, in the form of the seeds' numbers in `SANITY`."""
    return {
        model: {number: number.over(of_model) for number in NUMBERS}
        for model, of_model in by_group(trials, MODELS).items()
    }


def table(trials: Trials) -> Table:
    """Our numbers and those of seeds 000 and 001; the better of our two models in bold."""
    sources = {"ours": numbers_of(trials), **SANITY}
    rows, data = [], {}
    for number in NUMBERS:
        best = {source: better(of, number) for source, of in sources.items()}
        row, data[number.name] = [number.label], {}
        for model in MODELS:
            values = {source: of.get(model, {}).get(number) for source, of in sources.items()}
            data[number.name][model.value] = {s: v._asdict() for s, v in values.items() if v}
            ours, *theirs = (cell(number, value) for value in values.values())
            row += [f"**{ours}**" if best["ours"] == model.label else ours, *theirs]
        data[number.name]["better"] = best
        rows.append([*row, " / ".join(best.values())])
    ran = {m.value: [t.settings["seed"] for t in of] for m, of in by_group(trials, MODELS).items()}
    usual = seeds.all_comparable(trials)
    note = "" if usual else "**Not the seeds' settings or steps.** "
    note += (
        f"{seeds.MEANING.replace('the seeds,', 'seeds,')} ↓ less is better, ↑ more is better; the "
        "better of our two models in bold. The last column names the better model by our numbers, "
        "by seed 000 and by seed 001."
    )
    columns = [f"{model.label} {source}" for model in MODELS for source in sources]
    columns = ["", *columns, "better, in each"]
    shown = {"comparable": usual, "seeds": ran, "rows": data}
    return Table("best", "Our numbers beside seeds 000 and 001", columns, rows, note, shown)


def better(numbers: Mapping[Group, Numbers], number: Quantity) -> str:
    """The model with the better mean; "=" for a tie, "-" if one is not known."""
    lstm, gpt = (numbers.get(model, {}).get(number) for model in MODELS)
    if lstm is None or gpt is None:
        return "-"
    if lstm.mean == gpt.mean:
        return "="
    return (LSTM if (lstm.mean > gpt.mean) == (number.better > 0) else GPT).label


# --- claims of the seeds --------------------------------------------------------------------------
def as_in(source: str) -> Test:
    """Whether the model that is first and lowest on the training set is that of the source.

    000 and 001 say the opposite of each other.
    """

    def test(trials: Trials) -> Finding:
        ours = numbers_of(trials)
        if any(better(ours, number) == "-" for number in TELLING):
            return Finding("no two models to compare")
        same = [better(ours, number) == better(SANITY[source], number) for number in TELLING]
        shown = "; ".join(
            f"{n.label[:-2]}: " + ", ".join(f"{m.label} {cell(n, ours[m][n])}" for m in MODELS)
            for n in TELLING
        )
        text = f"{shown}: as {source} in {sum(same)} of {len(same)} rows"
        return Finding(text, by_share(same) if seeds.all_comparable(trials) else "undecided")

    return test


def in_words(source: str) -> str:
    models = (f"{number.label[:-2]}: {better(SANITY[source], number)}" for number in TELLING)
    return f"The better: {'; '.join(models)}"


CLAIMS = (  # erratum 001.1: are the columns of table 1 of 001 swapped?
    Says("000, 4.2", in_words("000"), as_in("000")),
    Says("001, 4.2", in_words("001"), as_in("001"), "001.1"),
)

TITLE = "Sanity check: LSTM and GPT on a + b mod 31"
EXPERIMENT = Experiment("sanity", TITLE, Options, results, seeds.numbers)

if __name__ == "__main__":
    sys.exit(main(EXPERIMENT, description=__doc__))
