"""Registers, spills and shared memory of the attention kernels, in every tile. Needs no GPU.

    python -m benchmarks.gpu_resources      writes docs/results/gpu/attention.json

The kernels are compiled for each architecture as for a launch, and the numbers are read from the
machine code. A kernel that needs more registers than there are keeps numbers in memory (it spills),
which costs far more than a smaller tile. The program ends with an error if a kernel spills.

Each tile is compiled with every option of `FEATURES`; the smallest tiles also with a head size that
is no multiple of 16, for which only they are used. Some options are compiled only in bfloat16,
since float16 hardly differs: in 309 of 314 variants compiled in both, all numbers are the same. If
source and compiler have not changed, existing rows of the table are kept, so an interrupted program
can be run again.
"""

from __future__ import annotations

import hashlib
import inspect
import itertools
import json
import multiprocessing
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np
import triton
from triton.runtime.jit import JITFunction

from kernels.cuda import attention
from kernels.cuda.attention import Tile
from kernels.cuda.launch import TYPES, compile_only, least_spilled
from minigrad.files import write_file

ARCHITECTURES = 80, 90, 100
HALF = "float16", "bfloat16"
DTYPES = {"half": HALF, "wgmma": HALF, "tf32": ("float32",), "ieee": ("float32",)}
OPTIONS = "CAUSAL", "KEYS", "ALIBI"
FEATURES: dict[str, tuple[str, ...]] = {
    "full": (),
    "causal": ("CAUSAL",),
    "keys": ("KEYS",),
    "ALiBi": ("ALIBI",),
    "padded": ("CAUSAL",),  # to a power of two, from a multiple of 16
    "everything": OPTIONS,  # also padded
    "odd": OPTIONS,  # a head size that is no multiple of 16
}
HEAD_SIZES = 16, 32, 64, 128
MOST_SHARED = 99 << 10  # bytes per block: 8.6, 8.9 and 12.0 have this, 8.0 has more
MOST_SHARED_WGMMA = 227 << 10  # 9.0 and 10.0
TABLE = Path(__file__).parent.parent / "docs" / "results" / "gpu" / "attention.json"


class Variant(NamedTuple):
    """A kernel, and the settings with which it is compiled."""

    kernel: str
    kind: str
    dtype: str
    d: int  # padded
    tile: Tile
    features: str

    def __str__(self) -> str:
        queries, keys, warps, stages = self.tile
        tile = f"{queries}x{keys} warps {warps} stages {stages}"
        return f"{self.kernel}, {self.kind} {self.dtype}, d {self.d}, {tile}, {self.features}"

    @property
    def head_size(self) -> int:
        """The head size of the arrays, which is padded to d."""
        if self.features == "odd":
            return self.d - 1
        return between(self.d) if self.features in ("padded", "everything") else self.d

    @property
    def architectures(self) -> list[int]:
        """The architectures on which it is launched."""
        kinds = {n: attention.kind_of(np.dtype(np.float16), n) for n in ARCHITECTURES}
        return [n for n in ARCHITECTURES if self.dtype == "float32" or kinds[n] == self.kind]


def between(d: int) -> int:
    """A multiple of 16 that is padded to d; d itself if there is no smaller one."""
    return max(16, min(d, d // 2 + 16))


def variants() -> Iterator[Variant]:
    """All variants that a launch may use."""
    for kernel, kind, d in itertools.product(attention.KERNELS, DTYPES, HEAD_SIZES):
        known = attention.tiles(kernel, kind, d)
        for dtype, features, tile in itertools.product(DTYPES[kind], FEATURES, known):
            if (
                (features != "odd" or tile == known[-1])
                and (features != "padded" or between(d) < d)
                and (dtype != "float16" or features in ("causal", "everything", "odd"))
            ):
                yield Variant(kernel, kind, dtype, d, tile, features)


class Usage(NamedTuple):
    registers: int  # of each thread
    spilled: int  # bytes of stack and local memory of each thread
    shared: int  # bytes of each block


def usage(variant: Variant, architecture: int) -> Usage:
    """What a variant needs on an architecture (90 is compute capability 9.0)."""
    fn = attention.KERNELS[variant.kernel]
    constants = attention.numbers(variant.kind, variant.head_size)
    constants |= {"BM": variant.tile.queries, "BN": variant.tile.keys}
    constants |= {name: name in FEATURES[variant.features] for name in OPTIONS}
    aligned = variant.features != "odd"
    names = [name for name in fn.arg_names if name not in constants]
    types = [type_of(name, variant.dtype, aligned) for name in names]

    def build(registers: int | None) -> Usage:
        how = variant.tile.warps, variant.tile.stages, registers
        compiled = compile_only(fn, types, constants, architecture, *how)
        found = resources(compiled.asm["cubin"])
        return Usage(found["REG"], found["STACK"] + found["LOCAL"], compiled.metadata.shared)

    return least_spilled(build, lambda usage: usage.spilled)


def type_of(name: str, dtype: str, aligned: bool) -> str:
    """The type of a parameter of the attention kernels, for `compile_only`."""
    if name == "scale":
        return "fp32"
    if name in ("heads", "T", "S"):
        return "i32"
    if name[-2:] in ("_b", "_h", "_t"):
        kind = "i32"
    else:
        kind = {"allowed": "*u8", "lse": "*fp32", "delta": "*fp32"}.get(name, "*" + TYPES[dtype])
    return kind + ":16" if aligned else kind


def resources(cubin: bytes) -> dict[str, int]:
    """The resources of a kernel, by the CUDA toolkit: REG, STACK, LOCAL …"""
    tool = Path(triton.__file__).parent / "backends" / "nvidia" / "bin" / "cuobjdump"
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(cubin)
        file.flush()
        command = [tool, "--dump-resource-usage", file.name]
        text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return {name: int(n) for name, n in re.findall(r"\b(REG|STACK|LOCAL):(\d+)", text)}


def digest() -> str:
    """A hash of the kernels' source, and of the functions that make the compiler's arguments."""
    kernels = sorted(f.src for f in vars(attention).values() if isinstance(f, JITFunction))
    others = attention.numbers, attention.padded, compile_only, least_spilled, usage, type_of
    text = "".join([*kernels, *map(inspect.getsource, others)])
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def row(variant: Variant) -> dict[str, dict[str, int]]:
    return {f"sm_{n}": usage(variant, n)._asdict() for n in variant.architectures}


def misfits(rows: dict[str, dict[str, dict[str, int]]]) -> list[str]:
    """The variants that spill registers or need too much shared memory."""
    names = []
    for variant in map(str, variants()):
        most = MOST_SHARED_WGMMA if ", wgmma " in variant else MOST_SHARED
        if any(used["spilled"] or used["shared"] > most for used in rows[variant].values()):
            names.append(variant)
    return names


def main() -> None:
    head = {"triton": triton.__version__, "digest": digest()}
    known = json.loads(TABLE.read_text()) if TABLE.exists() else {}
    old = known["rows"] if head.items() <= known.items() else {}
    rows = {str(v): old[str(v)] for v in variants() if str(v) in old}
    missing = [v for v in variants() if str(v) not in rows]
    context = multiprocessing.get_context("spawn")
    try:
        with ProcessPoolExecutor(os.cpu_count(), mp_context=context) as pool:
            for n, (v, each) in enumerate(zip(missing, pool.map(row, missing), strict=True), 1):
                rows[str(v)] = each
                print(f"\r{n} of {len(missing)}", end="", file=sys.stderr, flush=True)
    finally:
        lines = [f"  {json.dumps(name)}: {json.dumps(each)}" for name, each in sorted(rows.items())]
        text = json.dumps(head)[:-1] + ', "rows": {\n' + ",\n".join(lines) + "\n}}\n"
        TABLE.parent.mkdir(parents=True, exist_ok=True)
        write_file(TABLE, text.encode())
    print(file=sys.stderr)
    if bad := misfits(rows):
        sys.exit("These spill registers or need too much shared memory:\n" + "\n".join(bad))


if __name__ == "__main__":
    main()
