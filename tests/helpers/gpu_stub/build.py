"""The libraries of the stub, compiled by gcc into a folder that is named by what they are made of.

    libcuda.so.1, libcublas.so.12, libcublasLt.so.12
    places.json    where CuPy's libraries have functions of the runtime: {library: {name: offset}}

No function is listed by hand: `nm` tells which the runtime has, and which of cuBLAS CuPy calls.
"""

from __future__ import annotations

import hashlib
import json
import platform
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

HERE = Path(__file__).parent
CACHE = HERE.parents[2] / "build" / "gpu-stub"
MADE_OF = ("cupy-cuda12x", "nvidia-cuda-runtime-cu12", "nvidia-cuda-nvcc-cu12")
USED = ("nvidia-cuda-nvrtc-cu12", "nvmath-python", "triton")  # by what runs on the stub
HEADERS = ("nvidia/cuda_runtime/include", "nvidia/cuda_nvcc/include")
RUNTIME, CUBLAS = "cupy_backends/cuda/api/runtime", "cupy_backends/cuda/libs/cublas"
LINKED = (RUNTIME, "cupy/cuda/cub", "cupy/cuda/thrust")  # each has the runtime compiled into it


def missing() -> str:
    """Why the stub cannot be had here; nothing if it can."""
    if (sys.platform, platform.machine()) != ("linux", "x86_64"):
        return "the GPU stub patches machine code of Linux on x86-64"
    for package in (*MADE_OF, *USED):
        try:
            version(package)
        except PackageNotFoundError:
            return f"the GPU stub needs {package}, which is not installed"
    for tool in ("gcc", "nm"):
        if shutil.which(tool) is None:
            return f"the GPU stub needs {tool}, which is not installed"
    if "cudaMalloc" not in runtime_in(library(RUNTIME)):
        return "the GPU stub needs the symbols of CuPy's libraries, which were stripped"
    return ""


def build() -> Path:
    """The folder with the libraries, made when it is first asked for, by one process of several."""
    made_of = [version(package) for package in MADE_OF]
    made_of += [path.read_text() for path in (*sorted(HERE.glob("*.[ch]")), Path(__file__))]
    folder = CACHE / hashlib.sha256("\0".join(made_of).encode()).hexdigest()[:16]
    CACHE.mkdir(parents=True, exist_ok=True)

    import fcntl  # which Windows does not have

    with open(CACHE / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # let go when the file is closed
        if not folder.exists():
            unfinished = Path(tempfile.mkdtemp(dir=CACHE))
            compile_into(unfinished)
            unfinished.rename(folder)
    return folder


def compile_into(folder: Path) -> None:
    places = {name: runtime_in(library(name)) for name in LINKED}
    (folder / "places.json").write_text(json.dumps(places))

    runtime = compiled("runtime.c", folder)
    unknown = sorted(places[RUNTIME].keys() - defined_in(runtime))
    refusals = [f'int {name}(void) {{ return stub_unknown("{name}"); }}' for name in unknown]
    rest = source(folder / "unknown.c", "int stub_unknown(const char *);", refusals)
    cuda = linked(folder / "libcuda.so.1", runtime, compiled("driver.c", folder), rest)

    # with the version of each symbol, as in `cublasSgemm_v2@libcublas.so.12`
    called = dict(re.findall(r" U (cublas\w+)@(\S+)", nm("-D", library(CUBLAS))))
    (name,) = set(called.values())
    cublas = compiled("cublas.c", folder)
    computing = sorted(called.keys() - defined_in(cublas))
    launches = [
        f'int {name}(void *h) {{ return stub_compute(h, "{name}"); }}' for name in computing
    ]
    rest = source(folder / "computing.c", "int stub_compute(void *, const char *);", launches)
    versions = source(folder / "versions", f"{name} {{ global: *; }};", [])
    linked(folder / name, cublas, rest, cuda, f"-Wl,--version-script={versions}")

    # which NVIDIA's finder of libraries wants beside it
    empty = source(folder / "empty.c", "", [])
    linked(folder / name.replace("cublas", "cublasLt"), empty)


# --- tools ----------------------------------------------------------------------------------------
def site() -> Path:
    """Where CuPy is installed, found without importing it."""
    spec = find_spec("cupy")
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).parents[1]


def library(name: str) -> Path:
    (path,) = site().glob(f"{name}.*.so")
    return path


def runtime_in(path: Path) -> dict[str, int]:
    """The public functions of the CUDA runtime in a library, and where they begin in its file."""
    functions = re.findall(r"^([0-9a-f]+) [tTwW] ((?:cuda[A-Z]|__cuda[A-Z])\w+)$", nm(path), re.M)
    return {name: int(offset, 16) for offset, name in functions if "egister" not in name}


def defined_in(path: Path) -> set[str]:
    return set(re.findall(r" T (\w+)$", nm(path), re.M))


def nm(*args: str | Path) -> str:
    return subprocess.run(["nm", *args], capture_output=True, text=True, check=True).stdout


def source(path: Path, first: str, lines: Iterable[str]) -> Path:
    path.write_text("\n".join([first, *lines, ""]))
    return path


def compiled(name: str, folder: Path) -> Path:
    """A source of this folder as an object file."""
    out = (folder / name).with_suffix(".o")
    gcc("-c", HERE / name, *(f"-I{site() / headers}" for headers in HEADERS), "-o", out)
    return out


def linked(out: Path, *parts: str | Path) -> Path:
    """A shared library."""
    gcc("-shared", *parts, f"-Wl,-soname,{out.name},-Bsymbolic", "-o", out)
    return out


def gcc(*args: str | Path) -> None:
    subprocess.run(["gcc", "-std=gnu11", "-O1", "-fPIC", "-Wall", *args], check=True)
