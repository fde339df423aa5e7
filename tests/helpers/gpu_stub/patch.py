"""`import cupy`, on the stub."""

from __future__ import annotations

import ctypes
import json
from collections.abc import Sequence
from importlib.machinery import PathFinder
from pathlib import Path
from typing import Any

from gpu_stub import log
from gpu_stub.build import library

JUMP = b"\x48\xb8%b\xff\xe0"  # mov rax, address; jmp rax
PAGE = 4096
READ_WRITE_EXECUTE = 7


class OnImport:
    """A finder for `sys.meta_path`: lets CuPy find the stub when it is imported.

    folder:  with the libraries of the stub.
    hidden:  what this machine shall not have, of "cublas" and "nvrtc".
    version: that CuPy says it has, if not its own.
    """

    def __init__(self, folder: Path, hidden: Sequence[str] = (), version: str | None = None):
        self.folder, self.hidden, self.version = folder, hidden, version

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> Any:
        spec = PathFinder.find_spec(name, path, target) if name == "cupy" else None
        if spec is None or spec.loader is None:
            return None
        load = spec.loader.exec_module

        def load_on_stub(module: Any) -> None:
            self.provide()
            load(module)
            log_blocks(module)
            module.__version__ = self.version or module.__version__

        spec.loader.exec_module = load_on_stub
        return spec

    def provide(self) -> None:
        """Load the libraries, by whose names CuPy then finds them, and patch CuPy's own."""
        cuda = log.open_library(self.folder / "libcuda.so.1")
        for name, offsets in json.loads((self.folder / "places.json").read_text()).items():
            patch(library(name), offsets, cuda)
        if "cublas" not in self.hidden:
            for path in self.folder.glob("libcublas*"):
                ctypes.CDLL(str(path))
        if "nvrtc" in self.hidden:
            hide("nvrtc")


def patch(path: Path, offsets: dict[str, int], cuda: ctypes.CDLL) -> None:
    """Let the functions of the runtime that are compiled into a library jump into the stub."""
    ctypes.PyDLL(str(path))
    start = loaded_at(path)
    first = (start + min(offsets.values())) & -PAGE
    size = start + max(offsets.values()) + PAGE - first
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.mprotect(ctypes.c_void_p(first), ctypes.c_size_t(size), READ_WRITE_EXECUTE):
        raise OSError(ctypes.get_errno(), f"the code of {path} cannot be made writable")
    for name, offset in offsets.items():
        ours = ctypes.cast(cuda[name], ctypes.c_void_p).value or 0
        jump = JUMP % ours.to_bytes(8, "little")
        ctypes.memmove(start + offset, jump, len(jump))


def loaded_at(path: Path) -> int:
    """Where a library begins in memory."""
    for line in Path("/proc/self/maps").read_text().splitlines():
        addresses, _, offset, _, _, *file = line.split(maxsplit=5)
        if file == [str(path.resolve())]:
            return int(addresses.split("-")[0], 16) - int(offset, 16)
    raise OSError(f"{path} is not loaded")


def hide(name: str) -> None:
    """Let NVIDIA's finder of libraries not find one."""
    from cuda import pathfinder

    find = pathfinder.load_nvidia_dynamic_lib

    def find_others(wanted: str) -> Any:
        if wanted == name:
            raise pathfinder.DynamicLibNotFoundError(f'Failure finding "lib{name}.so"')
        return find(wanted)

    pathfinder.load_nvidia_dynamic_lib = find_others


def log_blocks(cupy: Any) -> None:
    """Tell the stub of every block that a pool of CuPy gives out."""

    class Blocks(cupy.cuda.MemoryHook):
        name = "blocks of the GPU stub"

        def malloc_postprocess(self, device_id, size, mem_size, mem_ptr, pmem_id):
            if mem_ptr:  # 0 where no memory was left
                log.cuda.stub_born(mem_ptr, mem_size)

    Blocks().__enter__()  # and never left
