"""The attention of GPTs that add two numbers (question 4.8 of seeds 000 and 001).

Three GPTs, as in the figures of 001: `sanity`, of 4.1; `mixed`, of 4.4, which learns sums of two
and of three numbers modulo 11, so that sums of two end in padding; and `large`, the largest of 4.5,
with 3 layers and d = 256. Each reads the seeds' inputs, and then every sum of two.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from experiments.grokking import options, seeds
from experiments.grokking.attention import ANSWER, attention_of, mean_shares, write_attention
from experiments.grokking.seeds import LEARNT, MODELS
from experiments.grokking.task import Grokking
from experiments.results.claims import Finding, Says, Test, by_share, decide
from experiments.results.curves import best
from experiments.results.results import Answer, Drawing, Results, Table
from experiments.results.trials import Trials
from experiments.sweep.experiment import Experiment, main
from experiments.train.records import TrialRecord

UNEQUAL = 0.1  # heads differ if their attention differs by more


@dataclass(frozen=True)
class Options(options.Options):
    """Question 4.8."""

    model: Literal["both", "lstm", "gpt"] = "gpt"
    """The LSTM has no attention."""
    seeds: tuple[int, ...] = (0,)
    """Three trials a seed: of the split, the weights and the order of the data."""

    def trials(self) -> dict[str, Grokking]:
        if self.model != "gpt":
            raise ValueError(f"--model: expected gpt, which has attention, got {self.model}")
        variants: dict[str, dict[str, Any]] = {
            "sanity": {},
            "mixed": {"p": 11, "orders": (2, 3), "split_each_order": True},
            "large": {"layers": 3, "d": self.pick(256, 32)},
        }
        return {
            f"{name}-seed{seed}": self.trial(model="gpt", seed=seed, **settings)
            for seed in self.seeds
            for name, settings in variants.items()
        }


def results(trials: Trials) -> Results:
    measured = [trial for trial in trials if write_attention(trial)]
    general = [trial for trial in measured if best(trial, "val_accuracy")[0] >= LEARNT]
    return Results(
        tables=[inputs_table(measured), shares_table(measured)],
        drawings=[drawing for trial in measured for drawing in drawings_of(trial)],
        claims=decide(CLAIMS, general),
        answer=Answer(answer(measured), "attention"),
        groups=MODELS,
    )


def answer(trials: Trials) -> str:
    texts = [f"{t.folder.name} {mean_shares(t)['= both'].mean():.2f}" for t in trials]
    return f"Share of the attention at “=” that the two numbers get: {', '.join(texts)}"


def drawings_of(trial: TrialRecord) -> list[Drawing]:
    """Attention maps for each input, and for the mean over all equations of two numbers."""
    from experiments.results.maps import attention_maps  # matplotlib takes a second to import

    name, s, attention = trial.folder.name, trial.settings, attention_of(trial)
    size = f"{s['layers']} layers, d = {s['d']}, p = {s['p']}"
    head = f"GPT {name} ({size}) after {attention['step']:,} steps"
    drawn = []

    def draw(slug: str, maps: dict[str, Any], text: str) -> None:
        figure = attention_maps(np.array(maps["weights"]), maps["tokens"], head + text)
        drawn.append(Drawing(f"attention_{name}_{slug}", head + text, figure))

    for each in attention["inputs"]:
        _, a, _, b, *_ = each["tokens"]
        reading = f"reading “{' '.join(each['tokens'])}”, {of_set(each)}"
        draw(f"{a}_{b}", each, f", {reading}; after “=” it says {predicted(each)}.")
    mean = attention["mean"]
    draw("mean", mean, f": mean over all {mean['equations']} equations of two numbers.")
    return drawn


def of_set(each: dict[str, Any]) -> str:
    return "in neither set" if each["set"] == "neither" else f"from the {each['set']} set"


def predicted(each: dict[str, Any]) -> str:
    right = each["predicted"].split()[0] == each["tokens"][ANSWER]
    return f"“{each['predicted']}”, which is {'right' if right else 'wrong'}"


# --- tables ---------------------------------------------------------------------------------------
def inputs_table(trials: Trials) -> Table:
    """The inputs of each GPT, and its predictions."""
    rows, data = [], {}
    for trial in trials:
        name, inputs = trial.folder.name, attention_of(trial)["inputs"]
        rows += [[name, " ".join(i["tokens"]), of_set(i), predicted(i)] for i in inputs]
        data[name] = [{k: v for k, v in i.items() if k != "weights"} for i in inputs]
    columns = ["model", "it reads", "which is", "after “=” it says"]
    note = "It says the answer before it has read it: a query sees only keys to its left."
    return Table("inputs", "Inputs", columns, rows, note, data)


def shares_table(trials: Trials) -> Table:
    """One row per head: the attention of the queries that predict the answer and EOS."""
    rows, data = [], {}
    for trial in trials:
        name, shares = trial.folder.name, mean_shares(trial)
        data[name] = {key: share.tolist() for key, share in shares.items()}
        for layer, head in np.ndindex(*shares["= a"].shape):
            at = {key: share[layer, head] for key, share in shares.items()}
            parts = [p for q in "=r" for p in (at[f"{q} a"], at[f"{q} b"], 1 - at[f"{q} both"])]
            rows.append([name, str(layer + 1), str(head + 1), *(f"{part:.2f}" for part in parts)])
    columns = ["model", "layer", "head", *(f"{q} → {k}" for q in "=r" for k in ("a", "b", "rest"))]
    note = (
        "Attention of the queries “=”, which predicts the answer, and r, the answer, which "
        "predicts EOS, while reading BOS a + b = r: mean over all equations of two numbers. The "
        "rest is BOS, +, = and, for r, r itself. Spread evenly, “=” would give a and b 0.20 each "
        "and the rest 0.60, and r 0.17 each and the rest 0.67."
    )
    return Table("attention", "Attention to the numbers", columns, rows, note, data)


# --- claims of the seeds --------------------------------------------------------------------------
Shares = dict[str, np.ndarray[Any, Any]]


def of_heads(
    holds: Callable[[Shares], Any], show: Callable[[Shares, str], str], note: str = ""
) -> Test:
    """Whether something holds for most heads, by the mean over all equations of two numbers.

    holds: returns a boolean for each head, or one for the model.
    show:  returns the text; its arguments are the shares, and in how many heads it holds.
    """

    def test(trials: Trials) -> Finding:
        if not trials:
            return Finding(f"no model with a validation accuracy of {LEARNT} and its attention")
        texts, right = [], []
        for trial in trials:
            shares = mean_shares(trial)
            heads = np.ravel(holds(shares)).tolist()
            text = show(shares, f"in {sum(heads)} of {len(heads)} heads")
            texts.append(f"{trial.folder.name}: {text}")
            right += heads
        return Finding("; ".join(texts) + note, by_share(right))

    return test


CLAIMS = (  # question 4.8 (b)
    Says("000, 4.8 (b)", "Of all tokens a and b are attended to most; BOS, + and = not much; "
         "in all heads and layers",
         of_heads(lambda s: (s["= both"] > 0.5) & (s["r both"] > 0.5),
                  lambda s, heads: f"mean {s['= both'].mean():.2f} at “=” and "
                  f"{s['r both'].mean():.2f} at r, more than half at both {heads}")),
    Says("001, 4.8 (b)", "The number right before “=” gets the most attention",
         of_heads(lambda s: s["= b"] > s["= a"],
                  lambda s, heads: f"at “=” a {s['= a'].mean():.2f} and b {s['= b'].mean():.2f} on "
                  f"average, b more {heads}")),
    Says("001, 4.8 (b)", "That is not uniform: some heads and layers do it more",
         of_heads(lambda s: np.ptp(s["= both"]) > UNEQUAL,
                  lambda s, _: f"a and b get {s['= both'].min():.2f} to {s['= both'].max():.2f} at "
                  f"“=”", f" (a difference above {UNEQUAL} counts)")),
)  # fmt: skip

TITLE = "Where GPTs look while they add"
EXPERIMENT = Experiment("attention_maps", TITLE, Options, results, seeds.numbers)

if __name__ == "__main__":
    sys.exit(main(EXPERIMENT, description=__doc__))
