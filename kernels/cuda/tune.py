"""Choice of a kernel's tile: the fastest by measurements on this GPU, else the default.

    MINIGRAD_TUNE=1 python -m experiments.sanity --device cuda      measures once, and saves it

The fastest tiles are saved in ~/.cache/minigrad/tiles.json, or in the folder MINIGRAD_CACHE, by GPU
and version of Triton. Without MINIGRAD_TUNE the file is read and nothing is measured, so that
results do not change from one run to the next: another tile adds up in another order.
"""

from __future__ import annotations

import functools
import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import triton

from kernels.cuda.launch import INTERPRETED
from minigrad import device as devices
from minigrad.files import write_file

ON = os.environ.get("MINIGRAD_TUNE") == "1"
WARM, ROUNDS, LAUNCHES = 3, 5, 20  # launches to warm up; rounds, and launches of each round

CHOSEN: dict[tuple[Any, ...], Any] = {}  # by GPU and key, in this process


def choose(key: tuple[Any, ...], tiles: Sequence[Any], start: Callable[[Any], None]) -> Any:
    """One of the tiles; the first is the default.

    key:   what the choice depends on: kernel, dtype, sizes.
    start: launches the kernel with a tile. Tuning calls it many times, so each call must have the
           same effect.
    """
    if INTERPRETED or len(tiles) == 1:
        return tiles[0]
    gpu = devices.cupy().cuda.runtime.getDevice()
    tile = CHOSEN.get((gpu, key))
    if tile is None:
        if ON and devices.capturing():
            return tiles[0]  # nothing can be timed now
        tile = CHOSEN[gpu, key] = decide(gpu, key, tiles, start)
    return tile


def decide(
    gpu: int, key: tuple[Any, ...], tiles: Sequence[Any], start: Callable[[Any], None]
) -> Any:
    """The tile for a key that is new in this process: from the file, measured, or the default."""
    platform = f"{name_of(gpu)}, Triton {triton.__version__}"
    name = " ".join(map(str, key))
    saved = read().get(platform, {}).get(name)
    by_text = {str(list(tile)): tile for tile in tiles}  # the file may contain anything
    if str(saved) in by_text:
        return by_text[str(saved)]
    if not ON:
        return tiles[0]
    best = min(tiles, key=lambda tile: milliseconds(start, tile))
    tables = read()
    tables.setdefault(platform, {})[name] = list(best)
    path().parent.mkdir(parents=True, exist_ok=True)
    write_file(path(), json.dumps(tables, indent=1, sort_keys=True).encode())
    return best


def milliseconds(start: Callable[[Any], None], tile: Any) -> float:
    """The time of one launch, by CUDA events: the median of the rounds."""
    cuda = devices.cupy().cuda
    for _ in range(WARM):
        start(tile)
    before, after = cuda.Event(), cuda.Event()
    times = []
    for _ in range(ROUNDS):
        before.record()
        for _ in range(LAUNCHES):
            start(tile)
        after.record()
        after.synchronize()
        times.append(cuda.get_elapsed_time(before, after) / LAUNCHES)
    return sorted(times)[ROUNDS // 2]


def path() -> Path:
    folder = os.environ.get("MINIGRAD_CACHE")
    return (Path(folder) if folder else Path.home() / ".cache" / "minigrad") / "tiles.json"


def read() -> dict[str, dict[str, Any]]:
    """The saved tiles by GPU; an empty dict if there is no such file, or it is damaged."""
    try:
        saved = json.loads(path().read_bytes())
    except (OSError, ValueError):
        return {}
    tables = saved.items() if isinstance(saved, dict) else ()
    return {gpu: table for gpu, table in tables if isinstance(table, dict)}


@functools.cache
def name_of(gpu: int) -> str:
    return devices.cupy().cuda.runtime.getDeviceProperties(gpu)["name"].decode()
