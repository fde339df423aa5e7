"""Figures and groups that all sweeps share: curves against the step, best values against a setting.

Everything is drawn from the records of trials that are there. A trial that is missing, a loss that
was not a number or a step that was not evaluated leaves a gap.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import matplotlib as mpl
import numpy as np
from matplotlib.cm import ScalarMappable
from matplotlib.colors import ListedColormap, LogNorm, Normalize
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import NullFormatter

from experiments.results.figures import COLORS, PARTS, STYLE, SYMLOG, band, draw_band, draw_grid
from experiments.results.groups import LABELS, best, by_model, finished, grouped
from experiments.train.records import Record, TrialRecord

# viridis without its end, a yellow that is lost on white paper
COLOR_MAP = ListedColormap(mpl.colormaps["viridis"](np.linspace(0, 0.92, 256)), name="viridis-")
PART_COLORS = {"train": "#0072B2", "val": "#D55E00"}  # Okabe and Ito
PART_STYLES = {"train": (0, (1, 1.2)), "val": "-"}  # dotted, solid


class Quantity(NamedTuple):
    """What a row of panels shows.

    name:  the end of its key in the records, after "train_" or "val_"; the whole of it for the
           norm, which is no matter of a set.
    label: of the axis.
    log:   whether the axis is logarithmic.
    """

    name: str
    label: str
    log: bool = False

    def key(self, part: str) -> str:
        return self.name if self.name == "norm" else f"{part}_{self.name}"


LOSS = Quantity("loss", "loss (nats a token)", log=True)
ACCURACY = Quantity("accuracy", "accuracy")
NORM = Quantity("norm", "norm of parameters, ‖θ‖₂", log=True)


class Setting(NamedTuple):
    """What a sweep varies.

    name:  in the settings of a trial.
    label: of axes and colour bars.
    log2:  whether its values are powers of two, rather than evenly spaced.
    log10: whether they are spread over powers of ten.
    """

    name: str
    label: str
    log2: bool = False
    log10: bool = False


class Line(NamedTuple):
    """A pair of lines, training and validation, in `best_against`.

    at:     the trials at each value of what is varied.
    color:  of both lines.
    label:  in the legend; none if a colour bar says it.
    cutoff: look at evaluated steps <= cutoff only.
    """

    at: Mapping[float, Sequence[TrialRecord]]
    color: Any
    label: str | None = None
    cutoff: int | None = None


def lines_of_models(trials: Sequence[TrialRecord], name: str) -> list[Line]:
    """A line for each model, against a setting."""
    return [
        Line(grouped(of_model, name), COLORS[model], LABELS[model])
        for model, of_model in by_model(trials).items()
    ]


# --- curves against the step ----------------------------------------------------------------------
@mpl.rc_context(STYLE)
def curves(
    trials: Sequence[TrialRecord],
    setting: Setting,
    *,
    title: str,
    quantities: Sequence[Quantity] = (LOSS, ACCURACY),
) -> Figure:
    """A row a quantity, a column a set, a colour a value of the setting: mean ± std over seeds.

    Trials that have not ended are shown where no other has the same setting.
    """
    groups = grouped(trials, setting.name)
    colors = color_bar(setting, list(groups))

    def draw(ax: Any, quantity: Quantity, column: tuple[str, str]) -> str:
        part, name = column
        for value, group in groups.items():
            shown = [t.records for t in finished(group) or group]
            draw_band(ax, shown, quantity.key(part), color=colors.to_rgba(value), width=0.9)
        return "norm" if quantity is NORM else f"{name} {quantity.name}"

    figure, axes = panels_against_steps(f"{title}: {shared(trials)}", quantities, PARTS, draw)
    draw_color_bar(figure, axes, colors, setting, list(groups))
    return figure


@mpl.rc_context(STYLE)
def curves_of_models(trials: Sequence[TrialRecord], *, title: str) -> Figure:
    """Loss and accuracy, a column a set, a colour a model: mean ± std over seeds."""

    def draw(ax: Any, quantity: Quantity, column: tuple[str, str]) -> str:
        part, name = column
        for model, of_model in by_model(trials).items():
            shown, color = [t.records for t in of_model], COLORS[model]
            draw_band(ax, shown, quantity.key(part), color=color, label=LABELS[model])
        return f"{name} {quantity.name}"

    title = f"{title}: {shared(trials)}"
    figure, axes = panels_against_steps(title, (LOSS, ACCURACY), PARTS, draw)
    axes[0, 0].legend(loc="lower left")
    return figure


@mpl.rc_context(STYLE)
def curves_of_parts(
    columns: Mapping[str, Sequence[Sequence[Record]]],
    *,
    title: str,
    quantities: Sequence[Quantity] = (LOSS, ACCURACY),
) -> Figure:
    """A column a title, such as of a model, with training and validation in two colours.

    columns: the records of the trials of each; mean ± std over them is drawn.
    """

    def draw(ax: Any, quantity: Quantity, column: str) -> str:
        for part, label in PARTS:
            key, color = quantity.key(part), PART_COLORS[part]
            draw_band(ax, columns[column], key, color=color, label=label)
        return column

    figure, axes = panels_against_steps(title, quantities, list(columns), draw)
    axes[0, 0].legend(loc="lower left")
    return figure


# --- best values against a setting ----------------------------------------------------------------
@mpl.rc_context(STYLE)
def best_against(
    lines: Sequence[Line],
    setting: Setting,
    *,
    title: str,
    bar: tuple[Setting, Sequence[float]] | None = None,
) -> Figure:
    """Best loss and accuracy, below them t_f, against a setting: mean ± std over seeds.

    bar: the setting and the values that colours stand for, if there is no legend.
    """
    figure, axes = grid_of_panels(2, 2, title)
    values = sorted({value for line in lines for value in line.at})
    for j, quantity in enumerate((LOSS, ACCURACY)):
        style_axes(axes[0, j], quantity)
        axes[1, j].set_yscale("symlog", **SYMLOG)
        draw_grid(axes[1, j])
        for line in lines:
            at = dict(sorted(line.at.items()))
            for part, name in PARTS:
                label = f"{line.label}, {name}" if line.label else None
                found = [
                    np.array([best(t, quantity.key(part), line.cutoff) for t in group])
                    for group in at.values()
                ]
                bands = np.transpose([band(each) for each in found])  # (2 rows, 3, values)
                for ax, (mean, low, high) in zip(axes[:, j], bands, strict=True):
                    ax.fill_between([*at], low, high, color=line.color, alpha=0.15, linewidth=0)
                    style = {"color": line.color, "linestyle": PART_STYLES[part], "label": label}
                    ax.plot([*at], mean, marker="o", markersize=3, linewidth=1.3, **style)
        axes[0, j].set_ylabel(f"best {quantity.label}")
        axes[1, j].set_ylabel(f"$t_f$: step of best {quantity.name}")
        axes[1, j].set_ylim(0, 1.3 * axes[1, j].get_ylim()[1])
        axes[1, j].set_xlabel(setting.label)
    set_ticks(axes[0, 0], setting, values)
    figure.align_ylabels()
    if bar is None:
        axes[0, 0].legend(fontsize=8)
    else:
        axes[0, 0].legend(handles=part_handles(), fontsize=8)
        draw_color_bar(figure, axes, color_bar(*bar), *bar)
    return figure


@mpl.rc_context(STYLE)
def bars(
    groups: Mapping[Any, Mapping[float, Sequence[TrialRecord]]],
    setting: Setting,
    *,
    title: str,
    xlabel: str,
) -> Figure:
    """Best loss and accuracy, below them t_f: a cluster of bars a group, a colour a value.

    Each bar is pale for training beside full for validation, with ± std over seeds.
    """
    values = sorted({value for group in groups.values() for value in group})
    colors = color_bar(setting, values)
    figure, axes = grid_of_panels(2, 2, title)
    width = 0.8 / len(values) / 2
    for j, quantity in enumerate((LOSS, ACCURACY)):
        for place, group in enumerate(groups.values()):
            for value, trials in group.items():
                for k, (part, _) in enumerate(PARTS):
                    x = place - 0.4 + (2 * values.index(value) + k + 0.5) * width
                    found = np.array([best(t, quantity.key(part)) for t in trials])
                    for ax, mean, low, high in zip(axes[:, j], *band(found), strict=True):
                        ax.bar(
                            x, mean, width, color=colors.to_rgba(value),
                            alpha=0.45 if part == "train" else 1.0,
                            yerr=[[mean - low], [high - mean]],
                            error_kw={"elinewidth": 0.9, "ecolor": "#D55E00", "capsize": 2},
                        )  # fmt: skip
        style_axes(axes[0, j], quantity)
        axes[0, j].set_ylabel(f"best {quantity.label}")
        draw_grid(axes[1, j])
        axes[1, j].set_ylabel(f"$t_f$: step of best {quantity.name}")
        axes[1, j].set_xlabel(xlabel)
    axes[0, 0].set_xticks(range(len(groups)), labels=[str(group) for group in groups])
    figure.align_ylabels()
    shades = [
        Patch(color="0.3", alpha=a, label=name)
        for a, (_, name) in zip((0.45, 1), PARTS, strict=True)
    ]
    figure.legend(handles=shades, loc="outside lower left", ncols=2, fontsize=8)
    draw_color_bar(figure, axes, colors, setting, values)
    return figure


# --- pieces ---------------------------------------------------------------------------------------
def panels_against_steps(
    title: str,
    quantities: Sequence[Quantity],
    columns: Sequence[Any],
    draw: Callable[[Any, Quantity, Any], str],
) -> tuple[Figure, Any]:
    """A row a quantity, whose panels share y, and its axes (rows, columns).

    draw: fills the panel of a quantity and a column, and returns what to write above it.
    """
    figure, axes = grid_of_panels(len(quantities), len(columns), title, sharey="row")
    for row, quantity in zip(axes, quantities, strict=True):
        for ax, column in zip(row, columns, strict=True):
            ax.set_title(draw(ax, quantity, column), loc="left")
            style_axes(ax, quantity)
        row[0].set_ylabel(quantity.label)
    label_steps(axes)
    figure.align_ylabels()
    return figure, axes


def grid_of_panels(
    rows: int, columns: int, title: str, *, sharey: Any = False
) -> tuple[Figure, Any]:
    """A figure with its title at the left, and its axes (rows, columns), which share x."""
    figure = Figure(figsize=(1.5 + 3.75 * columns, 0.5 + 2.75 * rows), layout="constrained")
    axes = figure.subplots(rows, columns, sharex=True, sharey=sharey, squeeze=False)
    figure.suptitle(title, fontsize=9, x=0.01, ha="left")
    return figure, axes


def style_axes(ax: Any, quantity: Quantity) -> None:
    draw_grid(ax)
    if quantity.log:
        ax.set_yscale("log")
    if quantity.name == "accuracy":
        ax.set_ylim(-0.03, 1.03)


def label_steps(axes: Any) -> None:
    for ax in axes[-1]:
        ax.set_xlabel("training step")
        ax.set_xscale("symlog", **SYMLOG)
        ax.set_xlim(left=0)


def color_bar(setting: Setting, values: Sequence[float]) -> ScalarMappable:
    """The colours of the values of a setting, even in the value or in its logarithm."""
    low, high = min(values), max(values)
    if low == high:  # a bar needs two ends
        low, high = low / 1.5, high * 1.5
    return ScalarMappable((LogNorm if setting.log2 else Normalize)(low, high), COLOR_MAP)


def draw_color_bar(
    figure: Figure, axes: Any, colors: ScalarMappable, setting: Setting, values: Sequence[float]
) -> None:
    bar = figure.colorbar(colors, ax=axes, pad=0.015, aspect=35, label=setting.label)
    bar.outline.set_visible(False)
    bar.minorticks_off()
    bar.set_ticks(list(values), labels=[f"{value:g}" for value in values])


def set_ticks(ax: Any, setting: Setting, values: Sequence[float]) -> None:
    """A tick at each value that was run, or at powers of ten."""
    if setting.log10:
        ax.set_xscale("log")
        ax.xaxis.set_minor_formatter(NullFormatter())
        return
    if setting.log2:
        ax.set_xscale("log", base=2)
        ax.minorticks_off()
    ax.set_xticks(list(values), labels=[f"{value:g}" for value in values])


def part_handles() -> list[Any]:
    """Entries of a legend that tell training from validation where colours mean something else."""
    return [
        Line2D([], [], color="0.3", linestyle=PART_STYLES[part], label=name) for part, name in PARTS
    ]


# --- words ----------------------------------------------------------------------------------------
SAID = {
    "r_train": lambda x: f"{x:.0%} for training",
    "layers": lambda x: f"{x} layer{'s' * (x > 1)}",
    "d": lambda x: f"d = {x}",
    "optimizer": lambda x: {"adamw": "AdamW", "adam": "Adam", "sgd": "SGD"}.get(x, x),
    "lr": lambda x: f"lr {x:g}",
    "weight_decay": lambda x: f"weight decay {x:g}",
    "batch_size": lambda x: f"batches of at most {x}",
    "steps": lambda x: f"{x:,} steps",
}


def shared(trials: Sequence[TrialRecord]) -> str:
    """The settings that all of these trials have, and their seeds, in words."""
    first = trials[0].settings
    sums = " or ".join(f" {first['operator']} ".join("abc"[:n]) for n in first["orders"])
    same = [k for k in SAID if all(t.settings[k] == first[k] for t in trials)]
    seeds = sorted({t.settings["seed"] for t in trials})
    spread = f"mean ± std of seeds {', '.join(map(str, seeds))}"
    if len(seeds) == 1:
        spread = f"seed {seeds[0]} alone"
    words = [f"{sums} mod {first['p']}", *(SAID[k](first[k]) for k in same)]
    return ", ".join(words) + f";\n{spread}"
