"""What happened on the stub: counts, and mistakes that raise no error."""

from __future__ import annotations

import ctypes
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

# as in stub.h
LAUNCH, REPLAY, TO_DEVICE, TO_HOST, ON_DEVICE, WAIT, REFUSED, BEGIN, END, BORN = range(10)
NOW, ASIDE, NODE = range(3)
COPIES = {TO_DEVICE: "to device", TO_HOST: "to host", ON_DEVICE: "on device"}
FIELDS = {"kind": "i4", "place": "i4", "name": "u8", "address": "u8", "bytes": "u8"}

cuda: ctypes.CDLL | None = None  # libcuda.so.1 of the stub, once CuPy is imported


def open_library(path: Path) -> ctypes.CDLL:
    global cuda
    cuda = ctypes.CDLL(str(path))
    cuda.stub_born.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
    return cuda


def mark() -> int:
    """This moment, for `since`: the number of events so far."""
    return ctypes.c_size_t.in_dll(cuda, "stub_count").value if cuda else 0


def events(start: int = 0) -> Any:
    """What happened from a moment on, as records of `FIELDS`."""
    dtype, count = np.dtype([*FIELDS.items()]), mark() - start
    if not count:
        return np.empty(0, dtype)
    first = ctypes.c_void_p.in_dll(cuda, "stub_events").value + start * dtype.itemsize
    return np.frombuffer(ctypes.string_at(first, count * dtype.itemsize), dtype)


def name_of(event: Any) -> str:
    """A kernel or a function of CUDA; a library for the kernels that are compiled into it."""
    return ctypes.string_at(int(event["name"])).decode().split(".cpython")[0]


# --- counts ---------------------------------------------------------------------------------------
class Counts(NamedTuple):
    """What the GPU was asked for, by name: replays are in it, what goes into a recording is not."""

    launches: Counter[str]
    copies: Counter[str]  # "to device", "to host", "on device"
    waits: Counter[str]  # of the host, by the function that waits


def since(start: int) -> Counts:
    found = events(start)
    found = found[found["place"] != NODE]
    copies = {name: int((found["kind"] == kind).sum()) for kind, name in COPIES.items()}
    return Counts(named(found, LAUNCH, REPLAY), Counter(copies), named(found, WAIT))


def recorded(start: int) -> Counter[str]:
    """The launches that went into recordings, by name."""
    found = events(start)
    return named(found[found["place"] == NODE], LAUNCH)


def named(found: Any, *kinds: int) -> Counter[str]:
    total: Counter[str] = Counter()
    found = found[np.isin(found["kind"], kinds)]
    _, first, counts = np.unique(found["name"], return_index=True, return_counts=True)
    for i, n in zip(first, counts, strict=True):
        total[name_of(found[i])] += int(n)
    return total


# --- mistakes -------------------------------------------------------------------------------------
def mistakes(start: int = 0) -> list[str]:
    """What went wrong from a moment on, most of it in recordings, a line each."""
    found = events(start)
    refused = found[found["kind"] == REFUSED]
    lines = [f"{name_of(e)} was refused with error {e['bytes']}" for e in refused]
    begins, ends = (np.flatnonzero(found["kind"] == kind) for kind in (BEGIN, END))
    for begin, end in zip(begins, ends, strict=False):
        during, after = found[begin:end], found[end:]
        lines += [*left_out(during), *overwritten(during, after), *given_away(during, after)]
    return list(dict.fromkeys(lines))


def left_out(during: Any) -> Iterator[str]:
    """What was launched meanwhile, and memory of the host that each replay would copy again."""
    for e in during[(during["kind"] == LAUNCH) & (during["place"] == ASIDE)]:
        yield f"{name_of(e)} was launched during a recording and is not in it"
    for kind in (TO_DEVICE, TO_HOST):
        if ((during["kind"] == kind) & (during["place"] == NODE)).any():
            yield f"a recording has a copy {COPIES[kind]} in it"


def overwritten(during: Any, after: Any) -> Iterator[str]:
    """Memory that the host fills for a recording, and that another array of the recording had too.

    What was launched for that array is launched again at each replay, and writes over the numbers
    of the host: before they are read, or after, so that the next replay reads others.
    """
    everything = np.concatenate([during, after])
    fills = (everything["kind"] == TO_DEVICE) & (everything["place"] != NODE)
    _, first = np.unique(everything["address"][fills], return_index=True)
    for i in np.flatnonzero(fills)[first]:
        fill = everything[i]
        filled = blocks_at(everything[:i], fill)  # the last of them is the array that is filled
        if len(filled) and filled[-1] < len(during) and len(blocks_at(during, fill)) > 1:
            yield f"{fill['bytes']} bytes that the host fills for a recording are overwritten by it"


def blocks_at(found: Any, place: Any) -> Any:
    """Which events are the birth of a block that has memory of a copy, in order."""
    begins, ends = found["address"], found["address"] + found["bytes"]
    meet = (begins < place["address"] + place["bytes"]) & (place["address"] < ends)
    return np.flatnonzero(meet & (found["kind"] == BORN))


def given_away(during: Any, after: Any) -> Iterator[str]:
    """Memory of a recording that is another array's at a later replay."""
    graph = after[0]["address"]
    replays = np.flatnonzero((after["kind"] == REPLAY) & (after["address"] == graph))
    if not len(replays):
        return
    after = after[: replays[-1]]
    blocks = during[during["kind"] == BORN]
    for e in after[after["kind"] == BORN]:
        if len(blocks_at(blocks, e)):
            yield f"memory of a recording was given to another array, of {e['bytes']} bytes"
