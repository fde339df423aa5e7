"""Numbers that seeds 000 and 001 print, beside which ours are shown."""

from __future__ import annotations

from collections.abc import Mapping

from experiments.results.metrics import NAMES, Spread

Column = Mapping[str, Spread]  # by the names of metrics.NAMES


def column(*cells: tuple[float, float | None]) -> Column:
    return {name: Spread(*cell) for name, cell in zip(NAMES, cells, strict=True)}


# Table 1 of each, question 4.2, in the order of metrics.NAMES. Seed 001 gives no standard deviation
# of steps.
SANITY: dict[str, dict[str, Column]] = {
    "000": {
        "lstm": column(
            (0.000095, 0.000006), (0.002156, 0.001363), (1.0, 0.0), (1.0, 0.0),
            (10001, 0), (10001, 0), (300, 0), (8100, 500), (0, 0), (7800, 500),
        ),
        "gpt": column(
            (0.000171, 1.394e-06), (0.0036328, 0.00296579), (1.0, 0.0), (0.99896, 0.0010395),
            (8400, 800), (9800, 100), (100, 0), (7700, 1000), (1400, 100), (7600, 1000),
        ),
    },
    "001": {
        "lstm": column(
            (1.54e-4, 2.82e-7), (5.01e-3, 4.26e-3), (1.0, 0.0), (0.9979, 0.0021),
            (9600, None), (10000, None), (100, None), (9200, None), (400, None), (9100, None),
        ),
        "gpt": column(
            (9.66e-5, 1.42e-5), (8.88e-4, 2.36e-4), (1.0, 0.0), (1.0, 0.0),
            (10001, None), (10001, None), (300, None), (8900, None), (0, None), (8600, None),
        ),
    },
}  # fmt: skip
