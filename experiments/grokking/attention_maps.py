"""Where GPTs look while they add (question 4.8 of seeds 000 and 001).

    python -m experiments.grokking.attention_maps --scale small    # shows that everything works
    python -m experiments.grokking.attention_maps                  # the whole experiment
    python -m experiments.grokking.attention_maps --resume         # go on, or make figures again

Three GPTs, those of the figures of 001: `sanity`, as in 4.1; `mixed`, of 4.4, which learns sums of
two and of three numbers modulo 11, so that a sum of two ends in padding; and `large`, the greatest
of 4.5, with 3 layers and d = 256. Each reads the seeds' own inputs, and then every sum of two.

What a trial's checkpoint attends to is kept in its folder as attention.json, so figures and tables
can be made without the checkpoint.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

import minigrad as mg
from experiments.data import modular
from experiments.data.modular import Equations
from experiments.grokking import options, seeds
from experiments.grokking.seeds import MODELS
from experiments.grokking.task import Grokking, data_of, load_model
from experiments.results.claims import Finding, Says, Test, by_share, decide
from experiments.results.curves import best
from experiments.results.results import Answer, Drawing, Results, Table
from experiments.results.trials import Trials
from experiments.sweep.experiment import Experiment, main
from experiments.train import records
from experiments.train.records import CHECKPOINT, TrialRecord

if TYPE_CHECKING:
    from matplotlib.figure import Figure

EQUATIONS = ("6 + 19 = 25", "8 + 8 = 16", "0 + 3 = 3")  # 000: the first two; 001: the third
FIRST, SECOND, EQUALS, ANSWER = 1, 3, 4, 5  # places in BOS a + b = r
GENERAL = 0.9  # validation accuracy from which a model is taken to have understood
UNEQUAL = 0.1  # difference between heads, in attention, that counts as one

Weights = np.ndarray[Any, Any]  # (L, heads, S, S): of each head what query i reads at key j


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


# --- what is read ---------------------------------------------------------------------------------
def attention_of(trial: TrialRecord) -> dict[str, Any] | None:
    """What the checkpoint of a trial attends to, kept in attention.json; None before there is one.

    step:   of the checkpoint.
    inputs: one dict for each of `EQUATIONS` that the model has words for: see `look`.
    mean:   the weights averaged over all equations of two numbers; `equations` of them.
    """
    path = trial.folder / "attention.json"
    if not (trial.folder / CHECKPOINT).exists():
        return records.read_json(path) if path.exists() else None
    settings, model, words = load_model(trial.folder)
    data = data_of(settings)
    found = {
        "step": records.read_json(trial.folder / "status.json")["step"],
        "inputs": [
            look(model, equation, data) for equation in EQUATIONS if {*equation.split()} <= {*words}
        ],
        "mean": mean_over(model, data),
    }
    records.write_json(path, found)
    return found


@mg.no_grad()
def look(model: Any, equation: str, data: tuple[Equations, Equations]) -> dict[str, Any]:
    """A GPT reads one equation of two numbers, such as "6 + 19 = 25", padded as in its data.

    data: the training and the validation set.
    tokens:    what it reads.
    set:       "training" or "validation", or "neither" where the equation is wrong.
    predicted: what it says after "=", two words, without having read what follows.
    weights:   (L, heads, S, S) in lists.
    ValueError names a word outside the vocabulary.
    """
    words, length = data[0].vocabulary, data[0].inputs.shape[1]
    text = f"BOS {equation} EOS"
    tokens = [*text.split(), *["PAD"] * length][:length]
    ids = modular.encode(" ".join(tokens), words)
    logits, _, attentions = model(mg.tensor(ids[None]), return_hidden=True)
    said = np.argmax(logits.numpy()[0, EQUALS : ANSWER + 1], axis=-1)
    sets = ("training", "validation")
    holds = [bool((part.inputs == ids).all(axis=1).any()) for part in data]
    return {
        "tokens": tokens,
        "set": sets[holds.index(True)] if any(holds) else "neither",
        "predicted": " ".join(words[i] for i in said),
        "weights": in_lists(attentions.numpy()[0]),
    }


@mg.no_grad()
def mean_over(model: Any, data: tuple[Equations, Equations]) -> dict[str, Any]:
    """The mean of the attention to all equations of two numbers, in either set."""
    inputs = np.concatenate([part.inputs[part.order == 2] for part in data])
    _, _, attentions = model(mg.tensor(inputs), return_hidden=True)
    tokens = ["BOS", "a", "+", "b", "=", "r", "EOS", "PAD"][: inputs.shape[1]]
    weights = in_lists(attentions.numpy().mean(axis=0, dtype=np.float64))
    return {"tokens": tokens, "equations": len(inputs), "weights": weights}


def in_lists(weights: Weights) -> list[Any]:
    """Six decimals, which is more than float32 can promise after a softmax."""
    return np.round(weights.astype(np.float64), 6).tolist()


# --- results --------------------------------------------------------------------------------------
Found = Sequence[tuple[TrialRecord, dict[str, Any]]]  # trials with their attention


def results(trials: Trials) -> Results:
    found = [(trial, attention) for trial in trials if (attention := attention_of(trial))]
    return Results(
        tables=[inputs_table(found), shares_table(found)],
        drawings=[drawing for each in found for drawing in drawings_of(*each)],
        claims=decide(claims(found), trials),
        answer=Answer(answer(found), "attention"),
        groups=MODELS,
    )


def answer(found: Found) -> str:
    texts = [
        f"{trial.folder.name} {shares(mean_of(attention))['= both'].mean():.2f}"
        for trial, attention in found
    ]
    return f"Share of the attention at “=” that the two numbers get: {', '.join(texts)}"


def mean_of(attention: dict[str, Any]) -> Weights:
    return np.array(attention["mean"]["weights"])


def drawings_of(trial: TrialRecord, attention: dict[str, Any]) -> list[Drawing]:
    """Maps of each input, and of the mean over all equations of two numbers."""
    name, s = trial.folder.name, trial.settings
    model = f"GPT {name} ({s['layers']} layers, d = {s['d']}, p = {s['p']})"
    head = f"{model} after {attention['step']:,} steps"
    drawings = []
    for each in attention["inputs"]:
        text = " ".join(each["tokens"])
        caption = f"{head}, reading “{text}”, {of_set(each)}; after “=” it says {said(each)}."
        slug = "_".join(each["tokens"][i] for i in (FIRST, SECOND)).lower()
        figure = attention_maps(np.array(each["weights"]), each["tokens"], caption)
        drawings.append(Drawing(f"attention_{name}_{slug}", caption, figure))
    mean = attention["mean"]
    caption = f"{head}: mean over all {mean['equations']} equations of two numbers."
    figure = attention_maps(np.array(mean["weights"]), mean["tokens"], caption)
    return [*drawings, Drawing(f"attention_{name}_mean", caption, figure)]


def of_set(each: dict[str, Any]) -> str:
    return "in neither set" if each["set"] == "neither" else f"from the {each['set']} set"


def said(each: dict[str, Any]) -> str:
    right = each["predicted"].split()[0] == each["tokens"][ANSWER]
    return f"“{each['predicted']}”, which is {'right' if right else 'wrong'}"


def attention_maps(weights: Weights, tokens: Sequence[str], caption: str) -> Figure:
    """Every head of every layer: queries x keys."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    from experiments.results.figures import STYLE

    layers, heads, n, _ = weights.shape
    with mpl.rc_context(STYLE):
        side = 0.33 * n + 0.35  # inches, so that the numbers fit into their cells
        size = (side * heads + 0.9, side * layers + 0.3 * layers + 0.7)
        figure = Figure(figsize=size, layout="constrained")
        axes = figure.subplots(layers, heads, sharex=True, sharey=True, squeeze=False)
        image: Any = None
        for layer, head in np.ndindex(layers, heads):
            image = draw_map(axes[layer, head], weights[layer, head], tokens)
            axes[layer, head].set_title(f"layer {layer + 1}, head {head + 1}")
        for ax in axes[:, 0]:
            ax.set_ylabel("query (reads)")
        for ax in axes[-1]:
            ax.set_xlabel("key (is read)")
        bar = figure.colorbar(image, ax=axes, shrink=0.8, pad=0.015)
        bar.set_label("attention weight (a row sums to 1)")
        bar.outline.set_visible(False)
        figure.suptitle(caption, fontsize=9, x=0.01, ha="left", wrap=True)
    return figure


def draw_map(ax: Any, weights: np.ndarray[Any, Any], tokens: Sequence[str]) -> Any:
    """One head: a square of colours with the numbers in it; the future, which is hidden, blank."""
    n = len(tokens)
    hidden = np.triu(np.ones((n, n), dtype=bool), 1)
    image = ax.imshow(np.ma.array(weights, mask=hidden), cmap="cividis", vmin=0, vmax=1)
    for i in range(n):
        for j in range(i + 1):
            shade = "black" if weights[i, j] > 0.45 else "white"
            number = f"{weights[i, j]:.2f}".removeprefix("0")
            style = {"ha": "center", "va": "center", "color": shade, "fontsize": 7}
            ax.text(j, i, number, in_layout=False, **style)  # its cell is; that spares much time
    ax.set_xticks(range(n), tokens)
    ax.set_yticks(range(n), tokens)
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)
    return image


def inputs_table(found: Found) -> Table:
    """What was read, and what was said."""
    rows, data = [], {}
    for trial, attention in found:
        name = trial.folder.name
        rows += [
            [name, " ".join(each["tokens"]), of_set(each), said(each)]
            for each in attention["inputs"]
        ]
        data[name] = [{k: v for k, v in i.items() if k != "weights"} for i in attention["inputs"]]
    columns = ["model", "it reads", "which is", "after “=” it says"]
    note = "It says the answer before it has read it: a query sees only keys to its left."
    return Table("inputs", "Inputs", columns, rows, note, data)


def shares(weights: Weights) -> dict[str, np.ndarray[Any, Any]]:
    """(L, heads) parts of the attention at "=" and at the answer that fall on the two numbers."""
    first, second = weights[..., FIRST], weights[..., SECOND]
    return {
        "= a": first[..., EQUALS],
        "= b": second[..., EQUALS],
        "= both": (first + second)[..., EQUALS],
        "r a": first[..., ANSWER],
        "r b": second[..., ANSWER],
        "r both": (first + second)[..., ANSWER],
    }


def shares_table(found: Found) -> Table:
    """A row a head: what the queries that predict the answer and EOS read."""
    rows, data = [], {}
    for trial, attention in found:
        share = shares(mean_of(attention))
        data[trial.folder.name] = {key: value.tolist() for key, value in share.items()}
        for layer, head in np.ndindex(*share["= a"].shape):
            at = {key: float(value[layer, head]) for key, value in share.items()}
            cells = [f"{x:.2f}" for q in "=r" for x in (at[f"{q} a"], at[f"{q} b"])]
            others = [f"{1 - at[f'{q} both']:.2f}" for q in "=r"]
            place = [trial.folder.name, str(layer + 1), str(head + 1)]
            rows.append([*place, *cells[:2], others[0], *cells[2:], others[1]])
    columns = ["model", "layer", "head", *(f"{q} → {k}" for q in "=r" for k in ("a", "b", "rest"))]
    note = (
        "Attention of the queries “=”, which predicts the answer, and r, the answer, which "
        "predicts EOS, while reading BOS a + b = r: mean over all equations of two numbers. The "
        "rest is BOS, +, = and, for r, r itself. Spread evenly, “=” would give a and b 0.20 each "
        "and the rest 0.60, and r 0.17 each and the rest 0.67."
    )
    return Table("attention", "Attention to the numbers", columns, rows, note, data)


# --- what the seeds say ---------------------------------------------------------------------------
Shares = Sequence[tuple[str, dict[str, np.ndarray[Any, Any]]]]  # (name of the model, its shares)


def claims(found: Found) -> list[Says]:
    """Question 4.8 (b), by the mean over all equations of two numbers."""
    general = [
        (trial.folder.name, shares(mean_of(attention)))
        for trial, attention in found
        if best(trial, "val_accuracy")[0] >= GENERAL
    ]

    def of_heads(decide: Callable[[Shares], Finding]) -> Test:
        why = f"no model with a validation accuracy of {GENERAL} and its attention"
        return lambda trials: decide(general) if general else Finding(why)

    return [
        Says("000, 4.8 (b)", "Of all tokens a and b are attended to most; BOS, + and = not much; "
             "in all heads and layers", of_heads(most_on_numbers)),
        Says("001, 4.8 (b)", "The number right before “=” gets the most attention",
             of_heads(most_on_second)),
        Says("001, 4.8 (b)", "That is not uniform: some heads and layers do it more",
             of_heads(unequal_heads)),
    ]  # fmt: skip


def most_on_numbers(general: Shares) -> Finding:
    """Heads that give both numbers together more than all else, at "=" and at the answer."""
    lines, held = [], []
    for name, share in general:
        ok = (share["= both"] > 0.5) & (share["r both"] > 0.5)
        held += ok.ravel().tolist()
        lines.append(
            f"{name}: mean {share['= both'].mean():.2f} at “=” and {share['r both'].mean():.2f} "
            f"at r, more than half at both in {ok.sum()} of {ok.size} heads"
        )
    return Finding("; ".join(lines), by_share(held))


def most_on_second(general: Shares) -> Finding:
    """Heads in which the second number gets more than the first at "="."""
    lines, held = [], []
    for name, share in general:
        ok = share["= b"] > share["= a"]
        held += ok.ravel().tolist()
        lines.append(
            f"{name}: at “=” a {share['= a'].mean():.2f} and b {share['= b'].mean():.2f} on "
            f"average, b more in {ok.sum()} of {ok.size} heads"
        )
    return Finding("; ".join(lines), by_share(held))


def unequal_heads(general: Shares) -> Finding:
    """Models whose heads differ by more than `UNEQUAL` in what "=" gives to both numbers."""
    ranges = [(name, share["= both"].min(), share["= both"].max()) for name, share in general]
    text = "; ".join(f"{n}: a and b get {low:.2f} to {high:.2f} at “=”" for n, low, high in ranges)
    held = [bool(high - low > UNEQUAL) for _, low, high in ranges]
    return Finding(f"{text} (a difference above {UNEQUAL} counts)", by_share(held))


TITLE = "Where GPTs look while they add"
EXPERIMENT = Experiment("attention_maps", TITLE, Options, results, seeds.numbers)

if __name__ == "__main__":
    sys.exit(main(EXPERIMENT, description=__doc__))
