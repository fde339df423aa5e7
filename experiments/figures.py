"""Pieces of figures, and the sanity check's: four panels of curves (4.1), attention maps (4.8).

Made from the folders of trials alone: the same records give the same figure, byte for byte.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

import minigrad as mg
from experiments import modular, records
from experiments.records import TrialRecord
from experiments.table import LABELS, MODELS, warning
from experiments.training import CHECKPOINT, data_of, load_model
from minigrad.files import write_file

COLORS = {"lstm": "#0072B2", "gpt": "#D55E00"}  # Okabe and Ito: told apart by every eye
EQUATIONS = ("6 + 19 = 25", "8 + 8 = 16")  # question 4.8 of seed 000
STYLE: dict[str, Any] = {
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 10,
    "legend.frameon": False,
    "pdf.fonttype": 42,
}
SYMLOG = {"linthresh": 1, "linscale": 0.3}  # steps: from 0, as far as early ones can be seen
QUANTITIES = (("loss", "loss (nats a token)"), ("accuracy", "accuracy"))
PARTS = (("train", "training"), ("val", "validation"))


def write_figures(folder: Path) -> list[Path]:
    """Draw every figure that the trials in a folder allow; the files written."""
    import matplotlib as mpl

    trials = records.read_trials(folder)
    with mpl.rc_context(STYLE):
        written = save(curves(trials), folder / "sanity.png", folder / "sanity.pdf")
        generalizer = first_gpt(trials)
        if generalizer is not None:
            for text in EQUATIONS:
                name = f"attention_{text.split('=')[0].replace(' ', '').replace('+', '_plus_')}.png"
                written += save(attention_maps(generalizer.folder, text), folder / name)
    return written


def save(figure: Figure, *paths: Path) -> list[Path]:
    """Write a figure into files of the kinds that their names say, without a date inside."""
    import io

    import matplotlib as mpl

    for path in paths:
        data = io.BytesIO()
        date = {"CreationDate": None} if path.suffix == ".pdf" else {}
        with mpl.rc_context(STYLE):
            figure.savefig(data, format=path.suffix[1:], dpi=160, metadata=date)
        write_file(path, data.getvalue())
    return list(paths)


# --- curves -------------------------------------------------------------------------------------
def curves(trials: Sequence[TrialRecord]) -> Figure:
    """Loss and accuracy on both sets against the step: mean over seeds, ± one std as a band."""
    figure = Figure(figsize=(9, 6), layout="constrained")
    axes = figure.subplots(2, 2, sharex=True, sharey="row")
    for i, (quantity, ylabel) in enumerate(QUANTITIES):
        for j, (part, title) in enumerate(PARTS):
            ax = axes[i, j]
            for model in MODELS:
                of_model = [t.records for t in trials if t.settings["model"] == model]
                if of_model:
                    key, color, text = f"{part}_{quantity}", COLORS[model], LABELS[model]
                    draw_band(ax, of_model, key, color=color, label=text)
            ax.set_title(f"{title} {quantity}", loc="left")
            draw_grid(ax)
            ax.set_xscale("symlog", **SYMLOG)
            ax.set_xlim(left=0)
            if quantity == "loss":
                ax.set_yscale("log")
            else:
                ax.set_ylim(-0.03, 1.03)
        axes[i, 0].set_ylabel(ylabel)
    for ax in axes[1]:
        ax.set_xlabel("training step")
    axes[0, 0].legend(loc="lower left")
    figure.suptitle(caption(trials), fontsize=9, x=0.01, ha="left")
    return figure


def draw_band(
    ax: Any,
    trials: Sequence[Sequence[records.Record]],
    key: str,
    *,
    color: Any,
    label: str | None = None,
    width: float = 1.2,
) -> None:
    """Mean and band of trials, at the steps that all of them have evaluated."""
    by_step = [{r["step"]: r[key] for r in trial} for trial in trials]
    steps = sorted(set.intersection(*(set(found) for found in by_step)))
    values = np.array([[found[s] for s in steps] for found in by_step], dtype=float)  # None: NaN
    mean, low, high = band(values)
    ax.fill_between(steps, low, high, color=color, alpha=0.25, linewidth=0)
    ax.plot(steps, mean, color=color, linewidth=width, label=label)


def band(values: np.ndarray[Any, Any]) -> tuple[Any, Any, Any]:
    """Mean, mean - std and mean + std over the first axis (ddof = 0); NaN where one value is.

    Of two seeds mean - std is the lesser; of more it could fall below zero, off a log axis, and
    there the least value stands for it.
    """
    mean, std = values.mean(axis=0), values.std(axis=0)
    return mean, np.maximum(mean - std, values.min(axis=0)), mean + std


def draw_grid(ax: Any) -> None:
    ax.grid(color="0.9", linewidth=0.6)
    ax.set_axisbelow(True)


def caption(trials: Sequence[TrialRecord]) -> str:
    """The settings that all trials share, and a warning if they are short."""
    s = trials[0].settings
    seeds = ", ".join(str(x) for x in sorted({t.settings["seed"] for t in trials}))
    optimizer = {"adamw": "AdamW", "adam": "Adam", "sgd": "SGD"}.get(s["optimizer"], s["optimizer"])
    lines = [
        f"a {s['operator']} b mod {s['p']}, {s['r_train']:.0%} for training; {s['layers']} layers, "
        f"d = {s['d']}; {optimizer}, lr {s['lr']:g}, weight decay {s['weight_decay']:g}; "
        f"mean ± std of seeds {seeds}"
    ]
    text = warning(trials)
    return "\n".join([text, *lines] if text else lines)


# --- attention ------------------------------------------------------------------------------------
def first_gpt(trials: Sequence[TrialRecord]) -> TrialRecord | None:
    """The GPT of the least seed that has a checkpoint and knows the tokens of `EQUATIONS`."""
    found = [
        t
        for t in trials
        if t.settings["model"] == "gpt"
        and t.settings["operator"] == "+"
        and t.settings["p"] > 25
        and (t.folder / CHECKPOINT).exists()
    ]
    return min(found, key=lambda t: t.settings["seed"], default=None)


def attention_maps(folder: Path, equation: str) -> Figure:
    """Every head of every layer of a trained GPT, reading one equation: queries x keys.

    folder: of the trial. equation: such as "6 + 19 = 25", without BOS and EOS.
    """
    trial, model, words = load_model(folder)
    ids = modular.encode(f"BOS {equation}", words)
    with mg.no_grad():
        logits, _, attentions = model(mg.tensor(ids[None]), return_hidden=True)
    weights = attentions.numpy()[0]  # (L, heads, S, S)
    tokens = [words[i] for i in ids]
    predicted = [words[i] for i in np.argmax(logits.numpy()[0, -2:], axis=-1)]
    train, _ = data_of(trial)
    length = len(ids)
    seen = bool((train.tokens[:, :length] == ids).all(axis=1).any())
    layers, heads = weights.shape[:2]
    figure = Figure(figsize=(2.3 * heads + 0.9, 2.35 * layers + 0.7), layout="constrained")
    axes = figure.subplots(layers, heads, sharex=True, sharey=True, squeeze=False)
    image: Any = None
    for layer in range(layers):
        for head in range(heads):
            image = draw_map(axes[layer, head], weights[layer, head], tokens)
            axes[layer, head].set_title(f"layer {layer + 1}, head {head + 1}")
        axes[layer, 0].set_ylabel("query (reads)")
    for ax in axes[-1]:
        ax.set_xlabel("key (is read)")
    bar = figure.colorbar(image, ax=axes, shrink=0.8, pad=0.015)
    bar.set_label("attention weight (a row sums to 1)")
    bar.outline.set_visible(False)
    steps = records.read_json(folder / "status.json")["step"]
    figure.suptitle(
        f"GPT, seed {trial.seed}, step {steps:,}: attention while reading “BOS {equation}”, "
        f"from the {'training' if seen else 'validation'} set; "
        f"after “=” it predicts “{' '.join(predicted)}”",
        fontsize=9,
        x=0.01,
        ha="left",
    )
    return figure


def draw_map(ax: Any, weights: np.ndarray[Any, Any], tokens: list[str]) -> Any:
    """One head: a square of colours with the numbers in it; the future, which is hidden, blank."""
    n = len(tokens)
    hidden = np.triu(np.ones((n, n), dtype=bool), 1)
    image = ax.imshow(np.ma.array(weights, mask=hidden), cmap="cividis", vmin=0, vmax=1)
    for i in range(n):
        for j in range(i + 1):
            shade = "black" if weights[i, j] > 0.45 else "white"
            number = f"{weights[i, j]:.2f}".removeprefix("0")
            ax.text(j, i, number, ha="center", va="center", color=shade, fontsize=7)
    ax.set_xticks(range(n), tokens)
    ax.set_yticks(range(n), tokens)
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)
    return image
