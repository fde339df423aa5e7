"""Figures that all sweeps share: curves against the step, best values against a setting.

Figures are drawn from the records that exist. A missing trial, a loss that is not a number or a
step that was not recorded leaves a gap.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import matplotlib as mpl
import numpy as np
from matplotlib.cm import ScalarMappable
from matplotlib.colors import ListedColormap, LogNorm, Normalize
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import NullFormatter

from experiments.results.curves import best
from experiments.results.figures import STYLE, draw_grid
from experiments.results.trials import Group, Setting, Trials, by_group, by_value, finished

# viridis without its yellow end, which is hardly visible on white
COLOR_MAP = ListedColormap(mpl.colormaps["viridis"](np.linspace(0, 0.92, 256)), name="viridis-")
SYMLOG = {"linthresh": 1, "linscale": 0.3}  # axes of steps: logarithmic, with 0


class Part(NamedTuple):
    """The training or validation set, and the style of its curves."""

    key: str
    name: str
    color: str
    style: Any


PARTS = (  # colours of Okabe and Ito; dotted, solid
    Part("train", "training", "#0072B2", (0, (1, 1.2))),
    Part("val", "validation", "#D55E00", "-"),
)


class Curve(NamedTuple):
    """The quantity of a row of panels."""

    name: str  # the end of its key in the records, after "train_" or "val_"
    label: str  # of the axis
    log: bool = False  # whether the axis is logarithmic
    parts: bool = True  # whether each set has one; if not, `name` is the whole key
    kind: str = ""  # the prefix of its key, such as "binary_"

    def key(self, part: str) -> str:
        return f"{self.kind}{part}_{self.name}" if self.parts else self.name


LOSS = Curve("loss", "loss (nats a token)", log=True)
ACCURACY = Curve("accuracy", "accuracy")
NORM = Curve("norm", "norm of parameters, ‖θ‖₂", log=True, parts=False)


# --- curves against the step ----------------------------------------------------------------------
class Band(NamedTuple):
    """Trials drawn as one line, mean ± std over seeds."""

    trials: Trials
    part: str  # "train" or "val"
    color: Any
    label: str | None = None  # in the legend
    kind: str = ""  # see `Curve`


@mpl.rc_context(STYLE)
def bands_against_steps(
    title: str,
    columns: Mapping[str, Sequence[Band]],
    rows: Sequence[Curve] = (LOSS, ACCURACY),
    *,
    heads: bool = False,
    width: float = 1.2,
) -> Figure:
    """A figure with one row per curve, whose panels share y, and one column per key of `columns`.

    heads: whether titles of panels also name the curve, as in "training loss".
    """
    figure, axes = grid_of_panels(len(rows), len(columns), title, sharey="row")
    for row, curve in zip(axes, rows, strict=True):
        for ax, (name, bands) in zip(row, columns.items(), strict=True):
            for band in bands:
                key = curve._replace(kind=band.kind or curve.kind).key(band.part)
                draw_band(ax, band, key, width)
            head = f"{name} {curve.name}" if curve.parts else curve.name
            ax.set_title(head if heads else name, loc="left")
            style_axes(ax, curve)
        row[0].set_ylabel(curve.label)
    for ax in axes[-1]:
        ax.set_xlabel("training step")
        ax.set_xscale("symlog", **SYMLOG)
        ax.set_xlim(left=0)
    figure.align_ylabels()
    if axes[0, 0].get_legend_handles_labels()[1]:  # a loss begins high, others low
        axes[0, 0].legend(loc="lower left" if rows[0].log else "upper left")
    return figure


def draw_band(ax: Any, band: Band, key: str, width: float) -> None:
    """Mean and spread of trials, at the steps that all of them have recorded."""
    by_step = [{r["step"]: r[key] for r in trial.records} for trial in band.trials]
    steps = sorted(set.intersection(*map(set, by_step)))
    values = np.array([[curve[s] for s in steps] for curve in by_step], dtype=float)  # None: NaN
    draw_mean(ax, steps, values, color=band.color, linewidth=width, label=band.label)


def draw_mean(
    ax: Any, x: Sequence[float], values: np.ndarray[Any, Any], *, color: Any, **line: Any
) -> None:
    """The mean of values (trials, x) as a line, and their spread as a band behind it."""
    mean, low, high = mean_and_spread(values)
    ax.fill_between(x, low, high, color=color, alpha=0.25, linewidth=0)
    ax.plot(x, mean, color=color, **line)


def mean_and_spread(values: np.ndarray[Any, Any]) -> tuple[Any, Any, Any]:
    """Mean, mean - std and mean + std over the first axis (ddof = 0); NaN if a value is NaN.

    With more than two seeds mean - std can be below zero, which a log axis cannot show, so it is
    replaced by the least value if it is below.
    """
    mean, std = values.mean(axis=0), values.std(axis=0)
    return mean, np.maximum(mean - std, values.min(axis=0)), mean + std


@mpl.rc_context(STYLE)
def curves(
    trials: Trials, setting: Setting, *, title: str, rows: Sequence[Curve] = (LOSS, ACCURACY)
) -> Figure:
    """Curves against the step: rows are curves, columns sets, colours values of the setting.

    Trials that have not ended are shown only if no finished trial has the same setting.
    """
    groups = by_value(trials, setting.name)
    colors = color_bar(setting, [*groups])
    columns = {
        part.name: [
            Band(finished(g) or g, part.key, colors.to_rgba(value)) for value, g in groups.items()
        ]
        for part in PARTS
    }
    figure = bands_against_steps(title, columns, rows, heads=True, width=0.9)
    draw_color_bar(figure, figure.axes, colors, setting, [*groups])
    return figure


def curves_of_groups(trials: Trials, groups: Sequence[Group], *, title: str) -> Figure:
    """Loss and accuracy against the step: columns are sets, colours groups."""
    shown = by_group(trials, groups).items()
    columns = {p.name: [Band(of, p.key, g.color, g.label) for g, of in shown] for p in PARTS}
    return bands_against_steps(title, columns, heads=True)


def both_parts(trials: Trials, kind: str = "") -> list[Band]:
    """Training and validation in two colours, for a column of `bands_against_steps`."""
    return [Band(trials, part.key, part.color, part.name, kind) for part in PARTS]


# --- best values against a setting ----------------------------------------------------------------
class Line(NamedTuple):
    """A pair of lines, training and validation, in `best_against`."""

    at: Mapping[float, Trials]  # the trials at each value of the setting
    color: Any
    label: str | None = None  # in the legend; None if there is a colour bar


def lines_of_groups(trials: Trials, groups: Sequence[Group], name: str) -> list[Line]:
    """A line for each group, against a setting."""
    shown = by_group(trials, groups).items()
    return [Line(by_value(of, name), group.color, group.label) for group, of in shown]


@mpl.rc_context(STYLE)
def best_against(
    lines: Sequence[Line],
    setting: Setting,
    *,
    title: str,
    bar: tuple[Setting, Sequence[float]] | None = None,
) -> Figure:
    """Best loss and accuracy, below them t_f, against a setting: mean ± std over seeds.

    bar: the setting and values shown by colours, instead of a legend.
    """
    figure, axes = best_and_steps(title, setting.label)
    for j, curve in enumerate((LOSS, ACCURACY)):
        axes[1, j].set_yscale("symlog", **SYMLOG)
        for line in lines:
            values = sorted(line.at)
            for part in PARTS:
                label = f"{line.label}, {part.name}" if line.label else None
                bands = np.transpose([best_of(line.at[x], curve, part) for x in values])
                for ax, (mean, low, high) in zip(axes[:, j], bands, strict=True):
                    ax.fill_between(values, low, high, color=line.color, alpha=0.15, linewidth=0)
                    style = {"color": line.color, "linestyle": part.style, "label": label}
                    ax.plot(values, mean, marker="o", markersize=3, linewidth=1.3, **style)
        axes[1, j].set_ylim(0, 1.3 * axes[1, j].get_ylim()[1])
    set_ticks(axes[0, 0], setting, sorted({value for line in lines for value in line.at}))
    figure.align_ylabels()
    if bar is None:
        axes[0, 0].legend(fontsize=8)
    else:
        styles = [Line2D([], [], color="0.3", linestyle=p.style, label=p.name) for p in PARTS]
        axes[0, 0].legend(handles=styles, fontsize=8)
        draw_color_bar(figure, axes, color_bar(*bar), *bar)
    return figure


@mpl.rc_context(STYLE)
def bars(
    groups: Mapping[Any, Mapping[float, Trials]], setting: Setting, *, title: str, xlabel: str
) -> Figure:
    """Best loss and accuracy, below them t_f: one cluster of bars per group, a colour per value.

    Bars of the training set are pale, those of the validation set full; error bars are ± std.
    """
    values = sorted({value for group in groups.values() for value in group})
    colors = color_bar(setting, values)
    figure, axes = best_and_steps(title, xlabel)
    width = 0.8 / len(values) / 2
    shades = {PARTS[0]: 0.45, PARTS[1]: 1.0}
    for j, curve in enumerate((LOSS, ACCURACY)):
        for place, group in enumerate(groups.values()):
            for value, trials in group.items():
                for k, (part, shade) in enumerate(shades.items()):
                    x = place - 0.4 + (2 * values.index(value) + k + 0.5) * width
                    bands = best_of(trials, curve, part)
                    for ax, mean, low, high in zip(axes[:, j], *bands, strict=True):
                        ax.bar(
                            x, mean, width, color=colors.to_rgba(value), alpha=shade,
                            yerr=[[mean - low], [high - mean]],
                            error_kw={"elinewidth": 0.9, "ecolor": "#D55E00", "capsize": 2},
                        )  # fmt: skip
    axes[0, 0].set_xticks(range(len(groups)), labels=[str(group) for group in groups])
    figure.align_ylabels()
    handles = [Patch(color="0.3", alpha=a, label=part.name) for part, a in shades.items()]
    figure.legend(handles=handles, loc="outside lower left", ncols=2, fontsize=8)
    draw_color_bar(figure, axes, colors, setting, values)
    return figure


def best_of(trials: Trials, curve: Curve, part: Part) -> tuple[Any, Any, Any]:
    """`mean_and_spread` of best value and the first step with it, (2,) each."""
    return mean_and_spread(np.array([best(trial, curve.key(part.key)) for trial in trials]))


# --- pieces ---------------------------------------------------------------------------------------
def best_and_steps(title: str, xlabel: str) -> tuple[Figure, Any]:
    """Two panels for best loss and accuracy, and below them two for the steps of these."""
    figure, axes = grid_of_panels(2, 2, title)
    for (above, below), curve in zip(axes.T, (LOSS, ACCURACY), strict=True):
        style_axes(above, curve)
        above.set_ylabel(f"best {curve.label}")
        draw_grid(below)
        below.set_ylabel(f"$t_f$: step of best {curve.name}")
        below.set_xlabel(xlabel)
    return figure, axes


def grid_of_panels(
    rows: int, columns: int, title: str, *, sharey: Any = False
) -> tuple[Figure, Any]:
    """A figure with a title at the left, and its axes (rows, columns), which share x."""
    figure = Figure(figsize=(1.5 + 3.75 * columns, 0.5 + 2.75 * rows), layout="constrained")
    axes = figure.subplots(rows, columns, sharex=True, sharey=sharey, squeeze=False)
    figure.suptitle(title, fontsize=9, x=0.01, ha="left", wrap=True)
    return figure, axes


def style_axes(ax: Any, curve: Curve) -> None:
    draw_grid(ax)
    if curve.log:
        ax.set_yscale("log")
    if curve.name == "accuracy":
        ax.set_ylim(-0.03, 1.03)


def color_bar(setting: Setting, values: Sequence[float]) -> ScalarMappable:
    """The colours of a setting, linear in the value or in its logarithm."""
    low, high = min(values), max(values)
    if low == high:  # a colour bar needs a range
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
    """Set ticks at all values, or at powers of ten."""
    if setting.log10:
        ax.set_xscale("log")
        ax.xaxis.set_minor_formatter(NullFormatter())
        return
    if setting.log2:
        ax.set_xscale("log", base=2)
        ax.minorticks_off()
    ax.set_xticks(list(values), labels=[f"{value:g}" for value in values])
