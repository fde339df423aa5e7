"""What the four forms of attention compute and move, by count, and what none can do without."""

from __future__ import annotations

from typing import NamedTuple

FLOAT, OBJECT = 4, 32  # bytes of a float32; of a float of Python with its place in a list
TILE = 32  # `tiles.B`, which needs Triton to be imported


class Work(NamedTuple):
    """FLOPs of the matrix products alone, and bytes that are read or written.

    A row, or a tile, that is in use is read once and written once; all others each time.
    """

    flops: int
    bytes: float


def work(T: int, D: int, tile: int = TILE) -> dict[tuple[str, str], Work]:
    """Of one head, by pass and form. "least": what no form can do without."""
    pairs = T * (T + 1) // 2  # of a query and a key that it sees
    steps = -(-T // tile) * (-(-T // tile) + 1) // 2  # tiles of scores, on the diagonal and below
    tiled, rows = steps * tile * tile, steps * tile  # the pairs in them, and the keys loaded
    counts = {  # FLOPs, numbers
        ("forward", "least"): (4 * D * pairs, 4 * T * D),
        ("forward", "loops"): (4 * D * pairs, 2 * T * D + 2 * D * pairs),
        ("forward", "NumPy"): (4 * D * T * T, 4 * T * D + 14.5 * T * T + 4 * T),
        ("forward", "compiled"): (4 * D * pairs, 2 * T * D + T + 2 * D * pairs),
        ("forward", "Triton"): (4 * D * tiled, 2 * T * D + T + 2 * D * rows),
        ("backward", "least"): (8 * D * pairs, 7 * T * D),
        ("backward", "loops"): (10 * D * pairs, 3 * T * D + 7 * D * pairs),
        ("backward", "NumPy"): (8 * D * T * T, 8 * T * D + 15 * T * T + 2 * T),
        ("backward", "compiled"): (10 * D * pairs, 4 * T * D + T + 6 * D * pairs),
        ("backward", "Triton"): (14 * D * tiled, 11 * T * D + 3 * T + (4 * D + 2) * rows),
    }
    return {
        (which, form): Work(flops, numbers * (OBJECT if form == "loops" else FLOAT))
        for (which, form), (flops, numbers) in counts.items()
    }
