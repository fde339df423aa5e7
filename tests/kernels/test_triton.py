"""The GPU kernels, as far as they can be tested without a GPU: their numbers in Triton's
interpreter, their machine code, and how they are launched, on a stand-in for CuPy.

The interpreter needs TRITON_INTERPRET=1 before Triton is imported, and cannot compile; so the files
`triton_*.py` beside this one run in processes of their own. Where there is a GPU they run once more
on it.
"""

import json
import os
import runpy
import subprocess
import sys
import types
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("triton", reason="the GPU kernels need Triton: install minigrad[triton]")

import triton
import triton.language as tl

from benchmarks import gpu_resources
from kernels.cuda import attention, tune
from kernels.cuda import launch as launching
from kernels.cuda.launch import Loaded, compile_only, launch, unfit
from minigrad import device as devices
from minigrad.kernel import Unusable

TESTS = Path(__file__).parent
ROOT = TESTS.parents[1]
FILES = sorted(path.name for path in TESTS.glob("triton_*.py"))


# --- in other processes ---------------------------------------------------------------------------
OLD = triton.__version__.startswith("3.6.")  # its interpreter takes arrays of one for numbers


def run_tests(file, **environment):
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", TESTS / file]
    command += ["-W", "ignore:Conversion of an array:DeprecationWarning"] if OLD else []
    done = subprocess.run(
        command,
        env={**os.environ, **environment},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-2000:]


@pytest.mark.parametrize("file", FILES)
def test_numbers_in_the_interpreter(file):
    if OLD and np.lib.NumpyVersion(np.__version__) >= "2.4.0":
        pytest.skip("NumPy 2.4 no longer allows what the interpreter of Triton 3.6 does")
    run_tests(file, TRITON_INTERPRET="1")


@pytest.mark.parametrize("file", FILES)
def test_numbers_on_a_gpu(file):
    if not devices.available():
        pytest.skip("no GPU")
    run_tests(file)


def test_nothing_needs_pytorch():
    """Compiling included. Where PyTorch is installed, importing it is made to fail."""
    code = (
        "import sys; sys.modules['torch'] = None\n"
        "from benchmarks import gpu_resources as g\n"
        "print(g.usage(next(g.variants()), 90))"
    )
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.stdout.startswith("Usage("), done.stderr


def test_an_old_triton_is_refused(monkeypatch):
    monkeypatch.setattr(triton, "__version__", "3.4.0")
    with pytest.raises(ImportError, match=r"Triton 3\.4\.0 is too old: install triton>=3\.6"):
        runpy.run_path(launching.__file__)


# --- machine code ---------------------------------------------------------------------------------
def test_a_spill_would_be_seen():
    """In a tile for which one warp has not enough registers."""
    tile = gpu_resources.Tile(16, 16, 1)
    variant = gpu_resources.Variant("keys", "ieee", "float32", 64, tile, "causal")
    assert gpu_resources.usage(variant, 90).spilled > 100


@pytest.fixture(scope="module")
def table():
    """What the shipped tiles need, as `benchmarks.gpu_resources` has found."""
    return json.loads(gpu_resources.TABLE.read_text())


def test_no_shipped_tile_of_attention_spills(table):
    """By the table of all of them, which has to be that of this source."""
    again = "run python -m benchmarks.gpu_resources"
    assert table["digest"] == gpu_resources.digest(), again
    shipped = {str(v): {f"sm_{n}" for n in v.architectures} for v in gpu_resources.variants()}
    assert {name: {*each} for name, each in table["rows"].items()} == shipped, again
    assert {n for each in shipped.values() for n in each} == {"sm_80", "sm_90", "sm_100"}
    assert gpu_resources.misfits(table["rows"]) == []


def test_the_table_is_that_of_the_compiler(table, tmp_path):
    """A sample of it, compiled again."""
    if triton.__version__ != table["triton"]:
        pytest.skip(f"the table is that of Triton {table['triton']}")
    code = (
        "import json\n"
        "from benchmarks import gpu_resources as g\n"
        "print(json.dumps({str(v): g.row(v) for v in [*g.variants()][::61]}))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "TRITON_CACHE_DIR": str(tmp_path)},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert {n for each in found.values() for n in each} == {"sm_80", "sm_90", "sm_100"}
    assert found == {name: table["rows"][name] for name in found}


@pytest.mark.parametrize("kind", ["half", "wgmma"])
def test_a_misfit_in_the_table_would_be_seen(kind):
    names = [str(v) for v in gpu_resources.variants()]
    fine = {"registers": 255, "spilled": 0, "shared": 99 << 10}
    name = next(n for n in names if f", {kind} " in n)
    for wrong, seen in (
        ({"spilled": 8}, True),
        ({"shared": 100 << 10}, kind == "half"),
        ({"shared": 228 << 10}, True),
    ):
        rows = {n: {"sm_90": fine} for n in names}
        rows[name] = {"sm_90": fine, "sm_100": {**fine, **wrong}}
        assert gpu_resources.misfits(rows) == [name] * seen


def test_products_are_made_as_the_gpu_can():
    found = {n: attention.kind_of(np.dtype(np.float16), n) for n in (80, 86, 89, 90, 100, 120)}
    assert found.pop(90) == found.pop(100) == "wgmma"
    assert {*found.values()} == {"half"}
    assert attention.kind_of(np.dtype(np.float32), 90) == ("tf32" if attention.TF32 else "ieee")


# --- launches -------------------------------------------------------------------------------------
@triton.jit
def add_kernel(x, y, n, c, BLOCK: tl.constexpr):
    i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    tl.store(y + i, tl.load(x + i, mask=i < n) + c, mask=i < n)


@triton.jit
def product_kernel(x, y, N: tl.constexpr):
    at = tl.arange(0, N)[:, None] * N + tl.arange(0, N)[None, :]
    a = tl.load(x + at)
    for _ in range(2):
        a = tl.dot(a, a).to(x.dtype.element_ty)
    tl.store(y + at, a)


class Array:
    """A CuPy array, as far as a launch looks at it."""

    def __init__(self, dtype, address=512, gpu=0):
        self.dtype = np.dtype(dtype)
        self.data = types.SimpleNamespace(ptr=address, device_id=gpu)


class Cupy:
    """CuPy, as far as a launch uses it; it notes what it was asked for."""

    ndarray = Array

    def __init__(self, capability="90", shared=232448):
        self.device, self.modules, self.launches, self.attributes = 0, [], [], []
        self.capturing, self.clock = False, 0.0
        gpu = types.SimpleNamespace(
            compute_capability=capability, attributes={"MaxSharedMemoryPerBlockOptin": shared}
        )
        outer = self

        class Module:
            def load(self, cubin):
                assert cubin[:4] == b"\x7fELF"
                outer.modules.append(self)

            def get_function(self, name):
                return Function(f"{name} of module {outer.modules.index(self)}")

        class Function:
            ptr = 4711

            def __init__(self, name):
                self.name = name

            def __call__(self, *call):
                outer.launches.append((self.name, *call))

        class Event:
            def record(self):
                self.time = outer.clock

            def synchronize(self):
                pass

        self.cuda = types.SimpleNamespace(
            Device=lambda n=0: gpu,
            Event=Event,
            get_elapsed_time=lambda a, b: b.time - a.time,
            get_current_stream=lambda: types.SimpleNamespace(is_capturing=lambda: self.capturing),
            function=types.SimpleNamespace(Module=Module),
            runtime=types.SimpleNamespace(
                getDevice=lambda: self.device,
                getDeviceProperties=lambda n: {"name": b"NVIDIA Example"},
            ),
            driver=types.SimpleNamespace(
                CU_FUNC_ATTRIBUTE_LOCAL_SIZE_BYTES=3,
                CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES=8,
                funcGetAttribute=lambda attribute, function: 0,
                funcSetAttribute=lambda *call: self.attributes.append(call),
            ),
        )


@pytest.fixture
def cupy(monkeypatch):
    module = Cupy()
    monkeypatch.setitem(sys.modules, "cupy", module)
    monkeypatch.setattr(devices, "cupy", lambda: module)
    monkeypatch.setattr(launching, "LOADED", {})
    launching.architecture.cache_clear()
    yield module
    launching.architecture.cache_clear()


FLOATS = Array(np.float32), Array(np.float32)


def test_a_launch_gives_numbers_in_32_bits_and_the_hidden_parameters(cupy):
    """CuPy would pass a Python float as a double, of which the kernel reads the wrong half."""
    x, y = FLOATS
    launch(add_kernel, (3,), (x, y, 700, 0.5), {"BLOCK": 256}, warps=8)
    ((name, grid, block, args, shared),) = cupy.launches
    assert name.startswith("add_kernel")
    assert (grid, block, shared) == ((3, 1, 1), (256, 1, 1), 0)
    assert args[:2] == (x, y)
    assert [type(a) for a in args[2:4]] == [np.int32, np.float32]
    assert args[2:4] == (700, 0.5)
    assert args[4:] == (None, None)  # Triton's two scratch areas, which this kernel does not have
    assert cupy.attributes == []


def test_numbers_of_numpy_are_narrowed_too(cupy):
    launch(add_kernel, (1,), (*FLOATS, np.int64(7), np.float64(0.1)), {"BLOCK": 16})
    args = cupy.launches[0][3]
    assert [type(a) for a in args[2:4]] == [np.int32, np.float32]
    assert args[3] == np.float32(0.1)


def test_every_parameter_of_the_machine_code_is_given(cupy):
    """The count is read from the code, since versions of Triton differ in what they append."""
    compiled = compile_only(add_kernel, ["*fp32", "*fp32", "i32", "fp32"], {"BLOCK": 16}, 90)
    launch(add_kernel, (1,), (*FLOATS, 7, 0.5), {"BLOCK": 16})
    assert len(cupy.launches[0][3]) == launching.declared(compiled)


@pytest.mark.parametrize("grid", [(0,), (0, 3), (2, 0, 5)])
def test_an_empty_grid_launches_nothing(grid, cupy):
    """CuPy would make it a grid of one program."""
    launch(add_kernel, grid, (*FLOATS, 0, 0.5), {"BLOCK": 16})
    assert cupy.launches == cupy.modules == []


def test_a_grid_has_up_to_three_axes(cupy):
    for grid in ((2,), (2, 3), (2, 3, 4)):
        launch(add_kernel, grid, (*FLOATS, 7, 0.5), {"BLOCK": 16})
    assert [call[1] for call in cupy.launches] == [(2, 1, 1), (2, 3, 1), (2, 3, 4)]


def test_what_ran_before_is_neither_compiled_nor_loaded_again(cupy):
    """So nothing but the launch happens when a CUDA graph is being captured."""
    for n in (7, 9, 23):
        launch(add_kernel, (1,), (*FLOATS, n, float(n)), {"BLOCK": 16})
    assert (len(cupy.launches), len(cupy.modules)) == (3, 1)
    launch(add_kernel, (1,), (*FLOATS, 32, 0.5), {"BLOCK": 16})  # a multiple of 16 is known as one
    launch(add_kernel, (1,), (*FLOATS, 7, 0.5), {"BLOCK": 32})
    launch(add_kernel, (1,), (*FLOATS, 7, 0.5), {"BLOCK": 16}, warps=1)
    launch(add_kernel, (1,), (Array(np.float16), FLOATS[1], 7, 0.5), {"BLOCK": 16})
    launch(add_kernel, (1,), (Array(np.float32, 516), FLOATS[1], 7, 0.5), {"BLOCK": 16})
    assert len(cupy.modules) == 6
    cupy.device = 1  # machine code is loaded into each GPU
    launch(add_kernel, (1,), (*FLOATS, 7, 0.5), {"BLOCK": 16})
    assert len(cupy.modules) == 7


def test_registers_can_be_set():
    types = ["*fp32", "*fp32", "i32", "fp32"]
    for n in (None, 128):
        compiled = compile_only(add_kernel, types, {"BLOCK": 16}, 90, registers=n)
        assert (".maxnreg 128" in compiled.asm["ptx"]) is (n is not None)


@pytest.mark.parametrize(("spilled", "kept"), [([0], 0), ([8, 0], 1), ([8, 16], 0), ([8, 8], 0)])
def test_a_kernel_that_spills_is_tried_with_all_registers(spilled, kept, cupy, monkeypatch):
    """And the one that keeps less in memory is launched, ever after."""
    asked, answers = [], iter(spilled)
    monkeypatch.setattr(cupy.cuda.driver, "funcGetAttribute", lambda *call: next(answers))
    compile_it = launching.compile_only
    monkeypatch.setattr(
        launching, "compile_only", lambda *args: asked.append(args[-1]) or compile_it(*args)
    )
    for _ in range(2):
        launch(add_kernel, (1,), (*FLOATS, 7, 0.5), {"BLOCK": 16})
    assert asked == [None, 255][: len(spilled)]
    assert [call[0] for call in cupy.launches] == [f"add_kernel of module {kept}"] * 2


def test_aligned_addresses_are_read_16_bytes_at_a_time():
    """Where the address is known to be a multiple."""
    sides = [["*fp32:16", "*fp32:16", "i32:16", "fp32"], ["*fp32", "*fp32", "i32", "fp32"]]
    codes = [compile_only(add_kernel, s, {"BLOCK": 1024}, 90).asm["ptx"] for s in sides]
    assert [".v4." in code for code in codes] == [True, False]


def test_shared_memory_beyond_48_kilobytes_is_asked_for(cupy):
    x = Array(np.float32)
    launch(product_kernel, (1,), (x, x), {"N": 32})
    assert cupy.attributes == []
    launch(product_kernel, (1,), (x, x), {"N": 128}, warps=8)
    shared = cupy.launches[-1][-1]
    assert shared > 48 << 10
    assert cupy.attributes == [(4711, 8, shared)]


def test_too_much_shared_memory_is_an_error_that_says_so(cupy, monkeypatch):
    small = Cupy(shared=48 << 10)
    monkeypatch.setattr(devices, "cupy", lambda: small)
    x = Array(np.float32)
    with pytest.raises(RuntimeError, match=r"product_kernel: needs \d+ bytes .* GPU has 49152"):
        launch(product_kernel, (1,), (x, x), {"N": 128}, warps=8)
    assert small.launches == []


def test_kernels_that_need_scratch_memory_are_refused(cupy):
    about = types.SimpleNamespace(
        name="f", global_scratch_size=384, profile_scratch_size=0, num_ctas=1
    )
    with pytest.raises(RuntimeError, match="f: needs scratch memory"):
        Loaded(types.SimpleNamespace(metadata=about), 0)


def test_an_architecture_that_triton_does_not_know_is_an_error_that_says_so(cupy, monkeypatch):
    monkeypatch.setattr(devices, "cupy", lambda: Cupy("20"))
    wanted = f"Triton {triton.__version__} cannot compile add_kernel for compute capability 2.0"
    with pytest.raises(RuntimeError, match=wanted.replace(".", r"\.")):
        launch(add_kernel, (1,), (*FLOATS, 7, 0.5), {"BLOCK": 16})


def test_machine_code_for_another_gpu_is_an_error_that_says_so(cupy, monkeypatch):
    def refuse(module, cubin):
        raise RuntimeError("CUDA_ERROR_NO_BINARY_FOR_GPU: no kernel image is available")

    monkeypatch.setattr(cupy.cuda.function.Module, "load", refuse)
    wanted = (
        r"^add_kernel: the GPU, of compute capability 90, cannot load machine code for 90: "
        r"CUDA_ERROR_NO_BINARY_FOR_GPU"
    )
    with pytest.raises(Unusable, match=wanted):
        launch(add_kernel, (1,), (*FLOATS, 7, 0.5), {"BLOCK": 16})


def test_what_cannot_be_compiled_is_not_tried_again(cupy, monkeypatch):
    tries = []

    def fail(*args, **kwargs):
        tries.append(1)
        raise ValueError("no such instruction")

    monkeypatch.setattr(triton, "compile", fail)
    for _ in range(3):
        with pytest.raises(Unusable, match=r"cannot compile add_kernel .* no such instruction"):
            launch(add_kernel, (1,), (*FLOATS, 7, 0.5), {"BLOCK": 16})
    assert len(tries) == 1


def test_arguments_that_no_kernel_can_have(cupy):
    x, y = FLOATS
    for n in (1 << 31, -(1 << 31) - 1):
        with pytest.raises(ValueError, match=f"expected an integer of 32 bits, got {n}"):
            launch(add_kernel, (1,), (x, y, n, 0.5), {"BLOCK": 16})
    for bad in (None, "1", np.zeros(3)):
        with pytest.raises(TypeError, match=f"or a number, got {type(bad).__name__}"):
            launch(add_kernel, (1,), (x, bad, 7, 0.5), {"BLOCK": 16})
    with pytest.raises(TypeError, match="no type for complex64"):
        launch(add_kernel, (1,), (x, Array(np.complex64), 7, 0.5), {"BLOCK": 16})
    for args, constants in [((x, y, 7), {"BLOCK": 16}), ((x, y, 7, 0.5), {"BLOCKS": 16})]:
        with pytest.raises(TypeError, match="add_kernel: "):
            launch(add_kernel, (1,), args, constants)


def test_every_dtype_has_its_pointer(cupy):
    names = "bool int8 uint8 int16 uint16 int32 uint32 int64 uint64 float16 float32 float64"
    types = "u8 i8 u8 i16 u16 i32 u32 i64 u64 fp16 fp32 fp64"
    for name, kind in zip(names.split(), types.split(), strict=True):
        assert launching.parameter(Array(name))[0] == f"*{kind}:16"


# --- what fits ------------------------------------------------------------------------------------
def test_arrays_that_no_kernel_takes_are_declined_with_a_reason(cupy, monkeypatch):
    x = Array(np.float32)
    assert unfit(x, None, Array(np.float16)) is None
    assert unfit(np.zeros(3, np.float32)).reason == "not on the GPU"
    assert unfit(x, Array(np.float64)).reason == "float64"
    assert unfit(x, Array(np.int64), dtypes=("float32", "int64")) is None
    assert unfit(Array(np.float32, gpu=1)).reason == "on another GPU than the current one"
    launching.architecture.cache_clear()
    monkeypatch.setattr(devices, "cupy", lambda: Cupy("75"))
    assert unfit(x).reason == "compute capability 7.5"


# --- tuning ---------------------------------------------------------------------------------------
@pytest.fixture
def tuning(cupy, monkeypatch, tmp_path):
    """A clock by which a tile takes as many milliseconds as its first number; tuning is on."""
    monkeypatch.setenv("MINIGRAD_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(tune, "ON", True)
    monkeypatch.setattr(tune, "CHOSEN", {})

    def start(tile):
        cupy.clock += tile[0]
        cupy.launches.append(tile)

    return start


TILES = [(5, 1), (3, 2), (4, 3)]


def test_the_fastest_tile_is_taken_and_kept(tuning, cupy, monkeypatch):
    assert tune.choose(("f", 1), TILES, tuning) == (3, 2)
    kept = json.loads(tune.path().read_text())
    assert kept == {f"NVIDIA Example, Triton {triton.__version__}": {"f 1": [3, 2]}}
    cupy.launches.clear()
    assert tune.choose(("f", 1), TILES, tuning) == (3, 2)
    monkeypatch.setattr(tune, "CHOSEN", {})  # another process, which does not tune
    monkeypatch.setattr(tune, "ON", False)
    assert tune.choose(("f", 1), TILES, tuning) == (3, 2)
    assert tune.choose(("f", 2), TILES, tuning) == (5, 1)
    assert cupy.launches == []


def test_one_tile_needs_no_time(tuning, cupy):
    assert tune.choose(("f",), TILES[:1], tuning) == (5, 1)
    assert cupy.launches == []


def test_nothing_is_timed_during_capture(tuning, cupy):
    cupy.capturing = True
    assert tune.choose(("f",), TILES, tuning) == (5, 1)
    assert cupy.launches == []
    cupy.capturing = False
    assert tune.choose(("f",), TILES, tuning) == (3, 2)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"x": 1}', "\xff"])
def test_a_file_that_cannot_be_used_counts_as_none(text, tuning):
    tune.path().parent.mkdir()
    tune.path().write_text(text, encoding="latin-1")
    assert tune.choose(("f",), TILES, tuning) == (3, 2)
    assert tune.read()[f"NVIDIA Example, Triton {triton.__version__}"] == {"f": [3, 2]}


def test_a_tile_that_is_no_longer_there_is_not_taken(tuning, monkeypatch):
    """One that spills, say, left by an older version or written by hand."""
    tune.path().parent.mkdir()
    table = {f"NVIDIA Example, Triton {triton.__version__}": {"f": [512, 512]}}
    tune.path().write_text(json.dumps(table))
    monkeypatch.setattr(tune, "ON", False)
    assert tune.choose(("f",), TILES, tuning) == (5, 1)


def test_without_cupy_the_kernels_can_be_imported():
    """Machines that only compile have none."""
    code = "import sys; sys.modules['cupy'] = None; import kernels.cuda.attention"
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
