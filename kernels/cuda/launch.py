"""How a Triton kernel gets to the GPU: compiled ahead of time, launched by CuPy on its stream.

    @triton.jit
    def scale_kernel(x, y, n, c, BLOCK: tl.constexpr):
        i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
        tl.store(y + i, c * tl.load(x + i, mask=i < n), mask=i < n)

    launch(scale_kernel, (triton.cdiv(n, 256),), (x, y, n, 0.5), {"BLOCK": 256})

Triton's own launcher needs PyTorch and a C compiler. Its compiler needs neither: it turns the
function into a cubin for one architecture, which CuPy loads and launches as it does its own
kernels. That leaves three things to get right, and they are all of this file: the types by which
a kernel is compiled, the numbers given to it in exactly those types, and the parameters that
Triton appends to those that one sees.

With TRITON_INTERPRET=1 in the environment before Triton is imported, the same call runs on NumPy
arrays in Triton's interpreter, which is how the tests check the numbers without a GPU.
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

OLDEST_TRITON, OLDEST_GPU = (3, 6), 80  # what the tests run; compute capability 8.0
if tuple(int(part) for part in triton.__version__.split(".")[:2]) < OLDEST_TRITON:
    raise ImportError(f"Triton {triton.__version__} is too old: install triton>=3.6")

INTERPRETED: bool = triton.knobs.runtime.interpret  # the kernels run on NumPy arrays
ALIGNMENT = 16  # bytes of an address, or a factor of an integer, that make wide loads possible
MOST_REGISTERS = 255  # of a thread
FREE_SHARED = 48 << 10  # bytes of shared memory that a block may have without asking

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
    """Start `fn` on CuPy's current device and stream, compiled for these types when they are new.

    fn:        a `@triton.jit` function: first what `args` gives, in this order, then its constexprs
    grid:      the number of programs along one to three axes; nothing happens if one is 0
    args:      arrays, of which the kernel gets the address of the first element (booleans as uint8;
               strides are arguments of their own); integers, as int32; floats, as float32
    constants: the constexpr parameters by name
    warps, stages: warps of a program, and how many tiles a loop loads ahead

    A launch of a kernel that ran before only starts it, so it may be captured in a CUDA graph.
    ValueError for an integer beyond int32, TypeError for what is no array or number, Unusable, a
    RuntimeError, if Triton cannot compile it for this GPU or the GPU does not take it.
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
    if isinstance(kernel, Unusable):  # and would be again, after as long a compilation
        raise kernel
    kernel.function((*grid, 1, 1)[:3], kernel.block, (*values, *kernel.hidden), kernel.shared)


def parameter(a: Any) -> tuple[str, Any]:
    """One argument: its type, as `compile_only` wants it, and as CuPy has to be given it."""
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


# CuPy passes Python's numbers with 64 bits, of which the kernel would read the first 32.
@functools.lru_cache(1 << 12)  # sizes and strides come again at every launch
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
    """That of CuPy's current device; the interpreter counts as the oldest."""
    if INTERPRETED:
        return OLDEST_GPU
    return architecture(devices.cupy().cuda.runtime.getDevice())


class Loaded:
    """A compiled kernel on one GPU: the function, and how CuPy has to call it."""

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
                f"does not take machine code for {about.target.arch}: {error}"
            ) from error
        self.function = module.get_function(about.name)  # it keeps the module
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
    """How many parameters the machine code has; Triton's versions append one or two to ours."""
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
    """A NumPy array with the methods by which the interpreter reads a PyTorch tensor.

    It copies what a tensor stores to the host and back; here it is there, and nothing is copied.
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


# --- what a kernel can be given -------------------------------------------------------------------
def unfit(*arrays: Any, dtypes: Sequence[str] = ("float32", "float16", "bfloat16")) -> Any:
    """Declined unless all arrays (None is skipped) are on the current GPU, of one of the dtypes.

    The reasons: "not on the GPU", the dtype, "on another GPU than the current one", "compute
    capability 7.5". In the interpreter NumPy arrays are welcome.
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
        if (found := architecture(a.data.device_id)) < OLDEST_GPU:
            return Declined(f"compute capability {found / 10}")
    return None
