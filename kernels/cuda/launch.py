"""Compiling a Triton kernel ahead of time, and launching it by CuPy on CuPy's stream.

    @triton.jit
    def scale_kernel(x, y, n, c, BLOCK: tl.constexpr):
        i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
        tl.store(y + i, c * tl.load(x + i, mask=i < n), mask=i < n)

    launch(scale_kernel, (triton.cdiv(n, 256),), (x, y, n, 0.5), {"BLOCK": 256})

Triton's launcher needs PyTorch and a C compiler. Its compiler needs neither: it compiles the
function to a cubin for one architecture, which CuPy loads and launches like CuPy's kernels. This
file does what is left: it determines the types for which a kernel is compiled, passes numbers in
exactly these types, and adds the parameters that Triton appends to the visible ones.

With TRITON_INTERPRET=1 in the environment before Triton is imported, the same call runs on NumPy
arrays in Triton's interpreter; so the tests check the numbers without a GPU.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import numpy as np
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from minigrad import device as devices
from minigrad.kernel import Declined, Unusable

OLDEST_TRITON, OLDEST_GPU = (3, 6), 80  # tested versions; compute capability 8.0
if tuple(int(part) for part in triton.__version__.split(".")[:2]) < OLDEST_TRITON:
    raise ImportError(f"Triton {triton.__version__} is too old: install triton>=3.6")

INTERPRETED: bool = triton.knobs.runtime.interpret  # the kernels run on NumPy arrays
ALIGNMENT = 16  # if it divides addresses and integers, wide loads are possible
MOST_REGISTERS = 255  # of a thread
FREE_SHARED = 48 << 10  # bytes of shared memory that every block may use; more must be requested

T = TypeVar("T")
TYPES = {
    "bool": "u8",
    "bfloat16": "bf16",
    **{f"float{n}": f"fp{n}" for n in (16, 32, 64)},
    **{f"int{n}": f"i{n}" for n in (8, 16, 32, 64)},
    **{f"uint{n}": f"u{n}" for n in (8, 16, 32, 64)},
}


def launch(
    fn: Any,
    grid: tuple[int, ...],
    args: Sequence[Any],
    constants: dict[str, Any],
    *,
    warps: int = 4,
    stages: int = 2,
) -> None:
    """Start `fn` on CuPy's current device and stream; compile it first if these types are new.

    fn:        a `@triton.jit` function, with parameters for `args` in this order, then constexprs
    grid:      the number of programs along one to three axes; nothing happens if one is 0
    args:      arrays, passed as the address of the first element (booleans as uint8; strides are
               separate arguments); integers, passed as int32; floats, passed as float32
    constants: the constexpr parameters by name
    warps, stages: warps of a program, and how many tiles a loop loads ahead

    If the kernel has run before, a launch only starts it and can be captured in a CUDA graph.
    ValueError for an integer that int32 cannot hold, TypeError for an argument that is no array or
    number; Unusable, a RuntimeError, if Triton cannot compile the kernel for this GPU or the GPU
    cannot load it.
    """
    if 0 in grid:
        return
    if INTERPRETED:
        interpret(fn, grid, args, constants)
        return
    types, values = zip(*map(parameter, args), strict=True)
    device = devices.cupy().cuda.runtime.getDevice()
    key = (fn, device, types, tuple(constants.items()), warps, stages)
    kernel = LOADED.get(key)
    if kernel is None:

        def load(registers: int | None) -> Loaded:
            options = warps, stages, registers
            compiled = compile_only(fn, types, constants, architecture(device), *options)
            return Loaded(compiled, len(args))

        try:
            kernel = least_spilled(load, lambda loaded: loaded.spilled)
        except Unusable as error:
            kernel = error
        LOADED[key] = kernel
    if isinstance(kernel, Unusable):  # do not compile it again, which would fail again
        raise kernel
    kernel.function((*grid, 1, 1)[:3], kernel.block, (*values, *kernel.hidden), kernel.shared)


def parameter(a: Any) -> tuple[str, Any]:
    """The type of an argument for `compile_only`, and the argument for CuPy."""
    if a.__class__ is int:
        return integer(a)
    if a.__class__ is float:
        return number(a)
    if isinstance(a, devices.cupy().ndarray):
        name = pointer_to(a.dtype)
        return (name if a.data.ptr % ALIGNMENT else name + ":16"), a
    if isinstance(a, (int, np.integer)):
        return integer(int(a))
    if isinstance(a, np.floating):
        return number(float(a))
    raise TypeError(f"expected a CuPy array or a number, got {type(a).__name__}")


# CuPy passes Python's numbers with 64 bits, and the kernel would read the first 32 of them.
@functools.lru_cache(1 << 12)  # sizes and strides are the same at every launch
def integer(a: int) -> tuple[str, Any]:
    if not -(1 << 31) <= a < 1 << 31:
        raise ValueError(f"expected an integer of 32 bits, got {a}")
    return ("i32" if a % ALIGNMENT else "i32:16"), np.int32(a)


def number(a: float) -> tuple[str, Any]:
    return "fp32", np.float32(a)


@functools.cache
def pointer_to(dtype: Any) -> str:
    if dtype.name not in TYPES:
        raise TypeError(f"Triton has no type for {dtype.name}")
    return "*" + TYPES[dtype.name]


# --- compiling ------------------------------------------------------------------------------------
def compile_only(
    fn: Any,
    types: Sequence[str],
    constants: dict[str, Any],
    architecture: int,
    warps: int = 4,
    stages: int = 2,
    registers: int | None = None,
) -> Any:
    """Triton's compiled kernel for an architecture (90 is compute capability 9.0). Needs no GPU.

    types: of the runtime parameters: "*fp32" (a pointer), "i32", "fp32" …; with ":16" after it if
           the address, or the integer, is known to be divisible by 16.
    registers: that a thread may have; None leaves it to the compiler.

    Triton keeps compiled code in ~/.triton/cache, or where TRITON_CACHE_DIR says.
    """
    names = fn.arg_names
    given = dict(zip(names, types, strict=False))
    if len(types) + len(constants) != len(names) or not constants.keys() == {*names[len(types) :]}:
        raise TypeError(f"{fn.__name__}: {len(types)} arguments and {[*constants]} for {names}")
    source = ASTSource(
        fn,
        signature={name: given.get(name, "constexpr").removesuffix(":16") for name in names},
        constexprs={(names.index(name),): value for name, value in constants.items()},
        attrs={
            (i,): [["tt.divisibility", ALIGNMENT]]
            for i, kind in enumerate(types)
            if kind.endswith(":16")
        },
    )
    # products and sums may fuse, as in CUDA C++; said here because Triton changes its default
    options = {"num_warps": warps, "num_stages": stages, "enable_fp_fusion": True}
    if registers is not None:
        options["maxnreg"] = registers
    try:
        return triton.compile(source, target=GPUTarget("cuda", architecture, 32), options=options)
    except Exception as error:
        raise Unusable(
            f"Triton {triton.__version__} cannot compile {fn.__name__} for compute capability "
            f"{architecture / 10}: {error}"
        ) from error


def least_spilled(build: Callable[[int | None], T], spilled: Callable[[T], int]) -> T:
    """A kernel with the registers that the compiler likes, or if those are too few with all.

    Left alone, ptxas keeps a few numbers in memory if more programs then share a processor, for
    which nobody asked; given 255 registers it takes more of them than it needs.

    build:   the kernel, where a thread may have so many registers.
    spilled: bytes of a thread that it keeps in memory instead.
    """
    kernel = build(None)
    if spilled(kernel):
        kernel = min(kernel, build(MOST_REGISTERS), key=spilled)
    return kernel


@functools.cache
def architecture(device: int) -> int:
    """The compute capability of a GPU, times 10."""
    return int(devices.cupy().cuda.Device(device).compute_capability)


def current_architecture() -> int:
    """The compute capability of CuPy's current device, times 10; in the interpreter OLDEST_GPU."""
    if INTERPRETED:
        return OLDEST_GPU
    return architecture(devices.cupy().cuda.runtime.getDevice())


class Loaded:
    """A compiled kernel on one GPU: the function, and the arguments for CuPy's call of it."""

    def __init__(self, compiled: Any, parameters: int) -> None:
        cuda, about = devices.cupy().cuda, compiled.metadata
        scratch = about.global_scratch_size or about.profile_scratch_size
        if scratch or about.num_ctas != 1:
            raise Unusable(f"{about.name}: needs scratch memory or clusters of blocks")
        limit = cuda.Device().attributes["MaxSharedMemoryPerBlockOptin"]
        if about.shared > limit:
            raise Unusable(
                f"{about.name}: needs {about.shared} bytes of shared memory for each block, "
                f"the GPU has {limit}"
            )
        module = cuda.function.Module()
        try:
            module.load(compiled.asm["cubin"])
        except RuntimeError as error:  # of the driver
            raise Unusable(
                f"{about.name}: the GPU, of compute capability {cuda.Device().compute_capability}, "
                f"cannot load machine code for {about.target.arch}: {error}"
            ) from error
        self.function = module.get_function(about.name)  # keeps the module alive
        local = cuda.driver.CU_FUNC_ATTRIBUTE_LOCAL_SIZE_BYTES
        self.spilled = cuda.driver.funcGetAttribute(local, self.function.ptr)
        self.block = (32 * about.num_warps, 1, 1)  # the compiler may have added warps
        self.shared = about.shared
        self.hidden = (None,) * (declared(compiled) - parameters)  # scratch memory, of size 0
        if about.shared > FREE_SHARED:
            name = cuda.driver.CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES
            cuda.driver.funcSetAttribute(self.function.ptr, name, about.shared)


LOADED: dict[Any, Loaded] = {}


def declared(compiled: Any) -> int:
    """The number of parameters in machine code: ours, and one or two that Triton appends."""
    (entry,) = re.findall(r"\.entry\s+\w+\s*\((.*?)\)", compiled.asm["ptx"], re.DOTALL)
    return entry.count(".param")


# --- interpreting ---------------------------------------------------------------------------------
def interpret(
    fn: Any, grid: tuple[int, ...], args: Sequence[Any], constants: dict[str, Any]
) -> None:
    """Run the kernel on NumPy arrays, one program after the other."""
    with np.errstate(all="ignore"):  # a GPU does not warn either
        fn[grid](*[HostArray(a) if isinstance(a, np.ndarray) else a for a in args], **constants)


class HostArray:
    """A NumPy array with the methods of a PyTorch tensor that the interpreter calls.

    The interpreter copies the memory of a tensor to the host and back. A NumPy array is on the host
    already, so these methods copy nothing.
    """

    def __init__(self, a: Any) -> None:
        if a.dtype.name == "bfloat16":
            raise TypeError("Triton's interpreter multiplies bfloat16 wrongly")
        self.a = a
        self.dtype = np.dtype(np.uint8) if a.dtype == np.bool_ else a.dtype

    def data_ptr(self) -> int:
        return self.a.ctypes.data

    def untyped_storage(self) -> HostArray:
        return self

    def cpu(self) -> HostArray:
        return self

    def copy_(self, other: Any) -> HostArray:
        return self

    def new_empty(self, *args: Any, **kwargs: Any) -> HostArray:
        return self

    def set_(self, *args: Any, **kwargs: Any) -> HostArray:
        return self

    def storage_offset(self) -> int:
        return 0

    def size(self) -> tuple[int, ...]:
        return self.a.shape

    def stride(self) -> tuple[int, ...]:
        return tuple(n // self.a.itemsize for n in self.a.strides)


# --- arguments of kernels -------------------------------------------------------------------------
def unfit(*arrays: Any, dtypes: Sequence[str] = ("float32", "float16", "bfloat16")) -> Any:
    """Declined unless all arrays are on the current GPU and have one of the dtypes.

    None is skipped. The reasons: "not on the GPU", the dtype, "on another GPU than the current
    one", "compute capability 7.5". In the interpreter arrays must be NumPy's.
    """
    for a in arrays:
        if a is None:
            continue
        if isinstance(a, np.ndarray) is not INTERPRETED:
            return Declined("not on the GPU")
        if a.dtype.name not in dtypes:
            return Declined(a.dtype.name)
        if INTERPRETED:
            continue
        if a.data.device_id != devices.cupy().cuda.runtime.getDevice():
            return Declined("on another GPU than the current one")
        if (capability := architecture(a.data.device_id)) < OLDEST_GPU:
            return Declined(f"compute capability {capability / 10}")
    return None
