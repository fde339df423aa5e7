"""Figures of attention: one panel per head, one row per layer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

from experiments.results.figures import STYLE


@mpl.rc_context(STYLE)
def attention_maps(
    weights: Any,
    tokens: Sequence[str],
    caption: str,
    *,
    keys: Sequence[str] = (),
    layers: Sequence[int] = (),
    causal: bool = True,
    brightest: float = 1.0,
) -> Figure:
    """One panel per head and layer, queries x keys.

    weights:   (L, heads, T, S).
    tokens:    what queries stand for, T.
    keys:      what keys stand for, S; the same if there are none.
    layers:    the numbers of the layers, for titles; 1 ... L by default.
    causal:    whether keys after the query are masked, and so blank.
    brightest: the weight of the brightest colour.
    """
    count, heads, rows, columns = weights.shape
    wide, high = (0.33 * n + 0.35 for n in (columns, rows))  # inches, so that the numbers fit
    size = (wide * heads + 0.9, high * count + 0.3 * count + 0.7)
    figure = Figure(figsize=size, layout="constrained")
    axes = figure.subplots(count, heads, sharex=True, sharey=True, squeeze=False)
    hidden = np.triu(np.ones((rows, columns), dtype=bool), 1 if causal else columns)
    image: Any = None
    for (layer, head), ax in np.ndenumerate(axes):
        image = draw_map(ax, weights[layer, head], tokens, keys or tokens, hidden, brightest)
        ax.set_title(f"layer {layers[layer] if layers else layer + 1}, head {head + 1}")
    for ax in axes[:, 0]:
        ax.set_ylabel("query (reads)")
    for ax in axes[-1]:
        ax.set_xlabel("key (is read)")
    bar = figure.colorbar(image, ax=axes, shrink=0.8, pad=0.015)
    bar.set_label("attention weight (a row sums to 1)")
    bar.outline.set_visible(False)
    figure.suptitle(caption, fontsize=9, x=0.01, ha="left", wrap=True)
    return figure


def draw_map(
    ax: Any,
    weights: np.ndarray[Any, Any],
    queries: Sequence[str],
    keys: Sequence[str],
    hidden: np.ndarray[Any, Any],
    brightest: float,
) -> Any:
    """One head: coloured cells with their numbers; cells where `hidden` are blank."""
    image = ax.imshow(np.ma.array(weights, mask=hidden), cmap="cividis", vmin=0, vmax=brightest)
    for i, j in zip(*np.nonzero(~hidden), strict=True):
        shade = "black" if weights[i, j] > 0.45 * brightest else "white"
        number = f"{weights[i, j]:.2f}".removeprefix("0")
        style = {"ha": "center", "va": "center", "color": shade, "fontsize": 7}
        ax.text(j, i, number, in_layout=False, **style)  # fits into its cell; this is faster
    rotation = 90 if max(map(len, keys)) > 4 else 0
    ax.set_xticks(range(len(keys)), keys, rotation=rotation)
    ax.set_yticks(range(len(queries)), queries)
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)
    return image
