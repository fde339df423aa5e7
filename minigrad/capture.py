"""A training step recorded once and replayed: one launch in the place of hundreds.

    @mg.capture
    def step(ids, targets):
        optimizer.zero_grad()
        loss = mg.cross_entropy(model(ids), targets)
        loss.backward()
        optimizer.step()
        return loss

    for ids, targets in batches:
        losses.append(step(ids, targets))

On a GPU a small op takes longer to launch than to compute. The first calls run the function as it
is, which compiles its kernels and makes the optimizer's slots. The next call records it as a CUDA
graph: its launches, on fixed addresses in memory. From then on a call copies its arguments to these
addresses and launches the graph; Python does not run the function again. So

- shapes and dtypes stay those of the recording;
- while the function is recorded, the host may read no number back, nor draw or make one;
- numbers that Python changes from step to step must be `live`, as the optimizers' rates and counts.

On the CPU, where there is nothing to record, the function always runs as it is. A function that
cannot be recorded runs so too, and one line on stderr says why.
"""

from __future__ import annotations

import contextlib
import functools
import gc
from collections.abc import Callable, Generator
from traceback import walk_tb
from typing import Any

import numpy as np

from minigrad import device as devices
from minigrad import random
from minigrad.kernel import say_once
from minigrad.lines import PACKAGE, line_of
from minigrad.tensor import Tensor

Array = Any
UNRECORDED = 2  # calls that run as they are: the first makes slots, the second finds them


class CaptureError(RuntimeError):
    """A call whose arguments do not fit the recording."""


class RecordingFailed(RuntimeError):
    """A function cannot be recorded; the message says why, where, and what to do."""


ADVICE = "In a recording no number is read from the GPU, none made or drawn on the host."


class capture:
    """`fn`, a function of tensors that gives a tensor or a tuple of tensors, as a replayed graph.

    There is a graph if the results are on a GPU. Results are copies, so the next call does not
    change them. CaptureError for a call whose arguments do not fit the recording. If recording
    fails, gradients, random streams and the optimizers' counts are restored before the function
    runs as it is; any other effect of its Python code happens twice in that call.
    """

    def __init__(self, fn: Callable[..., Any]) -> None:
        functools.update_wrapper(self, fn)
        self.fn = fn
        self.age = Recording.age
        self.calls = 0  # on a GPU, before there is a graph
        self.failed = False
        self.graph: Any = None
        self.arguments: tuple[Tensor, ...] = ()
        self.results: Any = None
        self.boards: list[Board] = []
        self.kept: tuple[Any, ...] = ()

    def __call__(self, *args: Tensor) -> Any:
        for i, a in enumerate(args):
            if not isinstance(a, Tensor):
                raise TypeError(f"{self.name}: argument {i}: expected a tensor, got {a!r:.60}")
        if self.age != Recording.age:  # the graph is out of date
            self.age, self.calls, self.graph = Recording.age, 0, None
        if self.calls < UNRECORDED or self.failed:
            result = self.fn(*args)
            self.calls += any(t.device != "cpu" for t in results_of(result))
            return result
        if self.graph is None:
            try:
                self.graph = self.record(args)
            except RecordingFailed as problem:
                self.failed = True
                say_once(f"{self.name} is not recorded and runs launch by launch: {problem}")
                return self.fn(*args)
        else:
            self.check(args)
            for board in self.boards:
                board.compute()
        for board in self.boards:
            board.send()
        for argument, a in zip(self.arguments, args, strict=True):
            argument.data[...] = a.data
        self.graph.launch(devices.cupy().cuda.get_current_stream())
        copies = tuple(Tensor(t.data.copy()) for t in results_of(self.results))
        return copies if isinstance(self.results, tuple) else copies[0]

    @property
    def name(self) -> str:
        return f"capture: {getattr(self.fn, '__name__', 'the function')}"

    def record(self, args: tuple[Tensor, ...]) -> Any:
        """A graph of the launches of the function; nothing is computed yet.

        RecordingFailed, after all changes are undone, if the function cannot be recorded.
        """
        for i, a in enumerate(args):
            if a.device == "cpu":
                raise CaptureError(f"{self.name}: argument {i} is on the CPU; move it with .to()")
        cp = devices.cupy()
        pool = cp.cuda.MemoryPool()  # a separate one: no other array may ever get this memory
        arguments = tuple(Tensor(a.data.copy()) for a in args)
        boards: list[Board] = []
        stream = cp.cuda.Stream(non_blocking=True)
        cp.cuda.get_current_stream().synchronize()
        graph: Any = None
        kept: list[Tensor] = []
        result: Any = None
        problem: Exception | None = None
        streams_before = random.get_state()
        Recording.boards, Recording.kept, Recording.undo = boards, [], []
        try:
            with cp.cuda.using_allocator(pool.malloc), stream, no_collection():
                stream.begin_capture()
                try:
                    result = self.fn(*arguments)
                    kept = [Tensor(t.data) for t in results_of(result)]
                except Exception as error:
                    problem = error
                finally:
                    graph = stream.end_capture()
        except Exception as error:
            problem = problem or error
        finally:
            Recording.boards = None
        if problem is not None:
            for undo in reversed(Recording.undo):
                undo()
            random.set_state(streams_before)
            raise RecordingFailed(f"{problem}{line_that_raised(problem)}. {ADVICE}") from problem
        self.boards, self.arguments, self.kept = boards, arguments, (pool, *Recording.kept)
        self.results = tuple(kept) if isinstance(result, tuple) else kept[0]
        return graph

    def check(self, args: tuple[Tensor, ...]) -> None:
        """CaptureError unless the arguments are like those that were recorded."""
        if len(args) != len(self.arguments):
            raise CaptureError(
                f"{self.name}: recorded with {len(self.arguments)} arguments, got {len(args)}"
            )
        for i, (a, b) in enumerate(zip(self.arguments, args, strict=True)):
            want, got = ((t.shape, str(t.dtype), t.device) for t in (a, b))
            if want != got:
                raise CaptureError(
                    f"{self.name}: argument {i}: recorded with {' '.join(map(str, want))}, "
                    f"got {' '.join(map(str, got))}; capture the function again for another shape"
                )


@contextlib.contextmanager
def no_collection() -> Generator[None]:
    """Context manager without garbage collection: in a capture, CUDA cannot free the memory of an
    earlier recording."""
    on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if on:
            gc.enable()


def line_that_raised(error: BaseException) -> str:
    """ ", at file.py:12": the innermost line outside of minigrad in the error's traceback."""
    places = [(frame.f_code.co_filename, line) for frame, line in walk_tb(error.__traceback__)]
    outside = [place for place in places if not place[0].startswith(PACKAGE)]
    return f", at {line_of(outside[-1])}" if outside else ""


def results_of(result: Any) -> tuple[Tensor, ...]:
    """The tensors that a function returned."""
    tensors = result if isinstance(result, tuple) else (result,)
    if not tensors or not all(isinstance(t, Tensor) for t in tensors):
        raise TypeError(f"capture: expected a function that returns tensors, got {result!r:.60}")
    return tensors


# --- numbers that change ------------------------------------------------------------------------
class Board:
    """Numbers of one dtype that a graph reads, and the host writes before each replay in one copy.

    numbers: where each group of numbers begins, and the function that computes the group.
    """

    size = 1024  # of all groups; a larger group has a separate board

    def __init__(self, like: Array, dtype: Any, count: int) -> None:
        self.host = np.zeros(max(self.size, count), dtype)
        self.device = lasting(self.host.shape, like, dtype)
        self.used = 0
        self.numbers: list[tuple[int, Callable[[], Any]]] = []

    def add(self, compute: Callable[[], Any], values: Any) -> Array:
        start, self.used = self.used, self.used + len(values)
        self.numbers.append((start, compute))
        self.write(start, values)
        return self.device[start : self.used]

    def write(self, start: int, values: Any) -> None:
        self.host[start : start + len(values)] = values

    def compute(self) -> None:
        for start, compute in self.numbers:
            self.write(start, compute())

    def send(self) -> None:
        self.device.set(self.host)


class Recording:
    """The recording under way, and the age of all recordings."""

    age = 0  # how often all recordings became invalid
    boards: list[Board] | None = None  # None if nothing is being recorded
    kept: list[Any]
    undo: list[Callable[[], None]]


def live(compute: Callable[[], Any], like: Array, dtype: Any = None) -> Any:
    """compute(), now and before every replay of the recording under way.

    For numbers that Python changes from step to step, such as a learning rate or a count: `compute`
    returns a tuple or a 1-d NumPy array, always of the same length. Outside a recording, `live`
    returns that; in a recording, a 1-d array on the device of `like`, in `dtype` or the dtype of
    `like`, which the graph reads.
    """
    values, boards = compute(), Recording.boards
    if boards is None:
        return values
    dtype = np.dtype(dtype or like.dtype)
    for board in boards:
        if board.host.dtype == dtype and board.used + len(values) <= len(board.host):
            return board.add(compute, values)
    boards.append(Board(like, dtype, len(values)))
    return boards[-1].add(compute, values)


# --- memory that the host fills -------------------------------------------------------------------
def keep(*objects: Any) -> None:
    """Keep objects that recorded launches read as long as the recording under way, if any."""
    if Recording.boards is not None:
        Recording.kept.extend(objects)


def lasting(shape: tuple[int, ...], like: Array, dtype: Any) -> Array:
    """An array on the device of `like` for numbers of the host, kept as long as a recording.

    Its memory is not from the recording's pool, which each replay overwrites: earlier launches of
    the recording used the same memory.
    """
    if Recording.boards is None:
        return devices.empty(shape, like, dtype)
    cp = devices.cupy()
    with cp.cuda.using_allocator(cp.get_default_memory_pool().malloc), aside():
        array = devices.empty(shape, like, dtype)
    keep(array)
    return array


def aside() -> Any:
    """A stream of the current GPU that is not recorded."""
    return streams(devices.cupy().cuda.runtime.getDevice())


@functools.cache
def streams(gpu: int) -> Any:
    return devices.cupy().cuda.Stream(non_blocking=True)


def on_failure(undo: Callable[[], None]) -> None:
    """Call `undo` if the recording under way fails; without a recording, do nothing."""
    if Recording.boards is not None:
        Recording.undo.append(undo)


def outdate() -> None:
    """Make all recordings invalid: each function runs as it is again, and is then recorded anew."""
    Recording.age += 1


def refuse_recording(what: str) -> None:
    """RuntimeError in a recording, which would keep Python's numbers as they are now."""
    if Recording.boards is not None:
        raise RuntimeError(
            f"{what}: takes numbers from the host, which a recording would keep as they are now; "
            f"the kernels of dropout and of Adam without amsgrad do not: mg.use_kernels()"
        )
