"""The look of figures, how they are written, and the curves of the sanity check (4.1).

The same records give the same figure, byte for byte.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

from experiments import records
from experiments.records import TrialRecord
from experiments.table import LABELS, MODELS, warning
from minigrad.files import write_file

COLORS = {"lstm": "#0072B2", "gpt": "#D55E00"}  # Okabe and Ito: told apart by every eye
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


def save(figure: Figure, *paths: Path) -> list[Path]:
    """Write a figure into files of the kinds that their names say, without a date inside."""
    for path in paths:
        data = io.BytesIO()
        date = {"CreationDate": None} if path.suffix == ".pdf" else {}
        with mpl.rc_context(STYLE):
            figure.savefig(data, format=path.suffix[1:], dpi=160, metadata=date)
        write_file(path, data.getvalue())
    return list(paths)


# --- curves -------------------------------------------------------------------------------------
@mpl.rc_context(STYLE)
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
