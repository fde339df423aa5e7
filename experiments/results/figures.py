"""The look of figures, how they are written, and the band that shows several trials as one line.

The same records give the same figure, byte for byte.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

from experiments.results.trials import Trials
from minigrad.files import write_file

if TYPE_CHECKING:
    from PIL.Image import Image

COLORS = 256  # of a `picture`
STYLE: dict[str, Any] = {
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 10,
    "legend.frameon": False,
    "pdf.fonttype": 42,
}
SYMLOG = {"linthresh": 1, "linscale": 0.3}  # steps: from 0, as far as early ones can be seen
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


def picture(figure: Figure, dpi: int) -> Image:
    """A figure as pixels of `COLORS` colours: as good to the eye, and half as large in a file."""
    from PIL import Image

    data = io.BytesIO()
    with mpl.rc_context(STYLE):
        figure.savefig(data, format="png", dpi=dpi)
    return Image.open(data).convert("RGB").quantize(COLORS, dither=Image.Dither.NONE)


def draw_band(
    ax: Any, trials: Trials, key: str, *, color: Any, label: str | None = None, width: float = 1.2
) -> None:
    """Mean and band of trials, at the steps that all of them have recorded."""
    by_step = [{r["step"]: r[key] for r in trial.records} for trial in trials]
    steps = sorted(set.intersection(*map(set, by_step)))
    values = np.array([[curve[s] for s in steps] for curve in by_step], dtype=float)  # None: NaN
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
