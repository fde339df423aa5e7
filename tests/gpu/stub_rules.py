"""The stub of a GPU itself: it does what CUDA does, refuses what CUDA refuses, and tells the rest.

`test_gpu_stub.py` runs this file on it, in a process of its own.
"""

import contextlib
import gc

import cupy as cp
import numpy as np
import pytest
from cupy.cuda import runtime
from gpu_stub import log

from minigrad.capture import no_collection

H2D, D2H = runtime.memcpyHostToDevice, runtime.memcpyDeviceToHost


class Recording:
    """`with Recording() as r:` records what is launched inside, as `r.graph`."""

    def __init__(self):
        self.stream, self.pool = cp.cuda.Stream(non_blocking=True), cp.cuda.MemoryPool()

    @contextlib.contextmanager
    def memory(self):
        with cp.cuda.using_allocator(self.pool.malloc), self.stream:
            yield

    def __enter__(self):
        self.inside = self.memory()
        self.inside.__enter__()
        self.stream.begin_capture()
        return self

    def __exit__(self, *error):
        self.inside.__exit__(None, None, None)
        self.graph = self.stream.end_capture()


@pytest.fixture(autouse=True)
def no_garbage():
    """An earlier recording in it would be freed in a later one, which that would end."""
    gc.collect()
    with no_collection():
        yield


@pytest.fixture
def x():
    return cp.zeros(512)


@pytest.fixture
def since(x):
    """What happened in the test so far."""
    start = log.mark()
    return lambda: log.since(start)


@pytest.fixture
def mistakes(x):
    start = log.mark()
    return lambda: log.mistakes(start)


# --- memory and copies ----------------------------------------------------------------------------
def test_copies_are_real_and_nothing_else_is(since):
    y = cp.asarray(np.arange(6.0))
    assert y.get().tolist() == [0, 1, 2, 3, 4, 5]
    assert (y + y).get().tolist() == [0] * 6
    assert since() == (
        {"cupy_add__float64_float64_float64": 1},
        {"to device": 1, "to host": 2, "on device": 0},
        {"cudaStreamSynchronize": 2},
    )


def test_a_new_array_holds_zeros_where_another_one_was():
    x = cp.asarray(np.ones(5000))
    address = x.data.ptr
    del x
    again = cp.empty(5000)
    assert again.data.ptr == address
    assert not again.get().any()


def test_the_result_of_all_is_true_so_that_checks_find_nothing_wrong():
    for x in (cp.zeros(3), cp.zeros((3, 4)), cp.zeros((300, 400))):
        assert bool((x > 0).all())
        assert (x > 0).all(axis=0).get().all()
        assert (x > 0).all(axis=-1).get().all()
        assert not bool((x > 0).any())


def test_what_is_filled_with_one_number_has_it():
    x = cp.full((2, 3), -5, np.int64)
    assert x.tolist() == [[-5] * 3] * 2
    x.fill(7)
    assert x.tolist() == [[7] * 3] * 2


def test_there_are_two_gpus_with_memory_of_their_own():
    def left(gpu):
        with cp.cuda.Device(gpu):
            return runtime.memGetInfo()[0]

    before = left(0), left(1)
    with cp.cuda.Device(1):
        x = cp.zeros(1 << 28, np.uint8)
    assert (left(0), left(1)) == (before[0], before[1] - (1 << 28))
    assert runtime.pointerGetAttributes(x.data.ptr).device == 1
    assert runtime.getDeviceCount() == 2
    assert not runtime.deviceCanAccessPeer(0, 1)


def test_memory_comes_to_an_end():
    with pytest.raises(cp.cuda.memory.OutOfMemoryError, match="allocating 90,000,000,"):
        cp.empty(90_000_000_000, np.uint8)


def test_a_copy_beyond_an_allocation_is_refused():
    x = cp.cuda.memory.alloc(512)
    with pytest.raises(runtime.CUDARuntimeError, match="cudaErrorInvalidValue"):
        runtime.memcpy(x.ptr, np.zeros(1 << 20).ctypes.data, 1 << 22, runtime.memcpyHostToDevice)


# --- launches -------------------------------------------------------------------------------------
KERNEL = cp.RawKernel('extern "C" __global__ void fill(float* x) { x[threadIdx.x] = 1; }', "fill")


@pytest.mark.parametrize(
    ("grid", "block", "shared"),
    [((1, 70_000), (32,), 0), ((1,), (2048,), 0), ((1,), (32,), 50_000)],
    ids=["too many blocks", "too many threads", "too much shared memory"],
)
def test_a_launch_that_a_gpu_cannot_take_is_refused(grid, block, shared, mistakes):
    with pytest.raises(cp.cuda.driver.CUDADriverError, match="invalid configuration"):
        KERNEL(grid, block, (cp.zeros(32, np.float32),), shared_mem=shared)
    assert mistakes() == ["fill was refused with error 9"]


def test_a_function_that_is_not_in_the_machine_code_is_refused():
    module = cp.RawModule(code='extern "C" __global__ void fill() {}')
    module.get_function("fill")
    with pytest.raises(cp.cuda.driver.CUDADriverError, match="named symbol not found"):
        module.get_function("filled")


def test_a_kernel_loaded_for_one_gpu_does_not_run_on_the_other():
    function = cp.RawModule(code='extern "C" __global__ void fill() {}').get_function("fill")
    function((1,), (1,), ())
    pointer = function.kernel.ptr
    with cp.cuda.Device(1), pytest.raises(cp.cuda.driver.CUDADriverError, match="resource handle"):
        cp.cuda.driver.launchKernel(pointer, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0)


def test_what_the_stub_does_not_know_fails_by_name(capfd):
    with pytest.raises(runtime.CUDARuntimeError, match="cudaErrorNotSupported"):
        runtime.mallocAsync(512, 0)
    assert "cudaMallocAsync is called, of which runtime.c has nothing" in capfd.readouterr().err


# --- recordings -----------------------------------------------------------------------------------
def test_a_recording_is_replayed_as_one_launch(x, since, mistakes):
    with Recording() as r:
        y = x + 1.0
        y.sum()
    assert not since().launches
    r.graph.launch()
    r.graph.launch()
    assert since() == ({"cudaGraphLaunch": 2}, dict.fromkeys(log.COPIES.values(), 0), {})
    assert mistakes() == []


def copy_async(to, start, kind):
    runtime.memcpyAsync(to, start, 24, kind, cp.cuda.get_current_stream().ptr)


def wait_for_event(x):
    event = cp.cuda.Event()
    event.record()
    event.synchronize()


@contextlib.contextmanager
def ended_recording(x):
    """Records what is launched inside, which must end it: nothing more can go into it."""
    stream = cp.cuda.Stream(non_blocking=True)
    with stream:
        stream.begin_capture()
        try:
            yield
            with pytest.raises(cp.cuda.driver.CUDADriverError, match="error during capture"):
                x + 1.0
        finally:
            with pytest.raises(runtime.CUDARuntimeError, match="CaptureInvalidated"):
                stream.end_capture()


HOST = np.zeros(3)
FORBIDDEN = {
    "waiting for the stream": lambda x: cp.cuda.get_current_stream().synchronize(),
    "waiting for the GPU": lambda x: cp.cuda.Device().synchronize(),
    "waiting for an event in it": wait_for_event,
    "a copy of pageable memory": lambda x: copy_async(x.data.ptr, HOST.ctypes.data, H2D),
    "a copy to pageable memory": lambda x: copy_async(HOST.ctypes.data, x.data.ptr, D2H),
    "giving memory back": lambda x: runtime.free(runtime.malloc(512)),
}


@pytest.mark.parametrize("call", FORBIDDEN.values(), ids=FORBIDDEN)
def test_what_a_capture_forbids_is_refused_and_ends_it(call, x):
    with ended_recording(x), pytest.raises(runtime.CUDARuntimeError, match="not permitted"):
        call(x)


def test_asking_whether_a_stream_is_done_ends_its_recording(x):
    with ended_recording(x):
        assert not cp.cuda.get_current_stream().done


@pytest.mark.parametrize(
    "call",
    [
        lambda x: x.reshape(32, 16) @ x.reshape(16, 32),
        lambda x: x.get(),
        lambda x: float(x.sum()),
        lambda x: cp.asarray([1.0]),
    ],
    ids=["cuBLAS", "get", "float", "asarray"],
)
def test_cupy_refuses_in_a_capture_what_it_always_does(call, x):
    with Recording(), pytest.raises((RuntimeError, NotImplementedError), match="captur"):
        call(x)


def test_the_default_stream_cannot_be_recorded():
    with pytest.raises(RuntimeError, match="cannot capture on the default"):
        cp.cuda.Stream.null.begin_capture()
    with pytest.raises(runtime.CUDARuntimeError, match="not permitted"):
        runtime.streamBeginCapture(0)


def test_the_default_stream_cannot_be_used_while_one_that_waits_for_it_is_recorded(x):
    stream = cp.cuda.Stream()
    with stream:
        stream.begin_capture()
        with cp.cuda.Stream.null, pytest.raises(RuntimeError, match="legacy stream"):
            x + 1.0
        with pytest.raises(runtime.CUDARuntimeError, match="cudaErrorStreamCaptureInvalidated"):
            stream.end_capture()


# --- mistakes that raise nothing ------------------------------------------------------------------
OVERWRITTEN = ["4096 bytes that the host fills for a recording are overwritten by it"]


def test_a_launch_that_the_recording_lacks_is_told(x, mistakes):
    with Recording(), cp.cuda.Stream(non_blocking=True):
        x + x
    assert mistakes() == [
        "cupy_add__float64_float64_float64 was launched during a recording and is not in it"
    ]


def test_a_copy_from_the_host_in_a_recording_is_told(x, mistakes):
    pinned = cp.cuda.alloc_pinned_memory(24)
    with Recording():
        copy_async(x.data.ptr, pinned.ptr, H2D)
    assert mistakes() == ["a recording has a copy to device in it"]


@pytest.mark.parametrize("reused", [True, False])
def test_memory_that_the_host_fills_and_the_recording_overwrites_is_told(reused, x, mistakes):
    aside = cp.cuda.Stream(non_blocking=True)
    with Recording():
        y = x + 1.0
        if reused:
            del y
        table = cp.empty(512)
        table.set(np.ones(512), stream=aside)
        x + table
    assert mistakes() == (OVERWRITTEN if reused else [])


@pytest.mark.parametrize("reused", [True, False])
def test_so_is_memory_that_the_host_fills_before_each_replay(reused, x, mistakes):
    with Recording() as r:
        y = x + 1.0
        if reused:
            del y
        table = cp.empty(512)
        x + table
    table.set(np.ones(512))
    r.graph.launch()
    assert mistakes() == (OVERWRITTEN if reused else [])


@pytest.mark.parametrize("kept", [True, False])
def test_memory_of_a_recording_that_another_array_gets_is_told(kept, x, mistakes):
    with Recording() as r:
        y = x + 1.0
    if not kept:
        del y
    with r.memory():
        z = cp.empty(512)
    r.graph.launch()
    told = ["memory of a recording was given to another array, of 4096 bytes"]
    assert mistakes() == ([] if kept else told)
    del z
