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
is, which compiles what is to be compiled and makes the optimizer's slots. The next records it as a
CUDA graph: its launches, on fixed places in memory. From then on a call copies its arguments to
these places and launches the graph; Python does not enter the function again. So

- shapes and dtypes stay those of the recording;
- nothing may be read back to the host while it is recorded, nor drawn or made there;
- what Python changes from step to step must be `live`: the optimizers' rates and counts are.

On the CPU, where there is nothing to record, the function always runs as it is. So it does where it
cannot be recorded, of which one line says why.
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
    """A call that does not fit the recording."""


class RecordingFailed(RuntimeError):
    """Why a function cannot be recorded, where, and what to do."""


ADVICE = "In a recording no number is read from the GPU, none made or drawn on the host."


class capture:
    """`fn`, a function of tensors that gives a tensor or a tuple of tensors, as a replayed graph.

    Where the results are decides whether there is one. They are copies, so the next call does not
    change them. CaptureError for a call whose arguments do not fit the recording. Where it fails,
    gradients, random streams and the optimizers' counts are put back before the function runs as
    it is; what else its Python code changed, it changes twice in that call.
    """

    def __init__(self, fn: Callable[..., Any]) -> None:
        functools.update_wrapper(self, fn)
        self.fn = fn
        self.age = State.age
        self.calls = 0  # those without a graph, as far as one is to be made
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
        if self.age != State.age:  # what it would replay is out of date
            self.age, self.calls, self.graph = State.age, 0, None
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
        for place, a in zip(self.arguments, args, strict=True):
            place.data[...] = a.data
        self.graph.launch(devices.cupy().cuda.get_current_stream())
        copies = tuple(Tensor(t.data.copy()) for t in results_of(self.results))
        return copies if isinstance(self.results, tuple) else copies[0]

    @property
    def name(self) -> str:
        return f"capture: {getattr(self.fn, '__name__', 'the function')}"

    def record(self, args: tuple[Tensor, ...]) -> Any:
        """A graph of what the function launches; nothing is computed yet.

        RecordingFailed, with all as it was, if that is impossible.
        """
        for i, a in enumerate(args):
            if a.device == "cpu":
                raise CaptureError(f"{self.name}: argument {i} is on the CPU; move it with .to()")
        cp = devices.cupy()
        pool = cp.cuda.MemoryPool()  # of its own: nobody else may ever get this memory
        arguments = tuple(Tensor(a.data.copy()) for a in args)
        boards: list[Board] = []
        stream = cp.cuda.Stream(non_blocking=True)
        cp.cuda.get_current_stream().synchronize()
        graph: Any = None
        kept: list[Tensor] = []
        result: Any = None
        problem: Exception | None = None
        streams_before = random.get_state()
        State.boards, State.kept, State.undo = boards, [], []
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
            State.boards = None
        if problem is not None:
            for undo in reversed(State.undo):
                undo()
            random.set_state(streams_before)
            raise RecordingFailed(f"{problem}{line_that_raised(problem)}. {ADVICE}") from problem
        self.boards, self.arguments, self.kept = boards, arguments, (pool, *State.kept)
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
    """No garbage is collected inside: an earlier recording may be in it, whose memory CUDA does not
    take back while something is captured."""
    on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if on:
            gc.enable()


def line_that_raised(error: BaseException) -> str:
    """ ", at file.py:12": the innermost line outside of minigrad that an error came through."""
    places = [(frame.f_code.co_filename, line) for frame, line in walk_tb(error.__traceback__)]
    outside = [place for place in places if not place[0].startswith(PACKAGE)]
    return f", at {line_of(outside[-1])}" if outside else ""


def results_of(result: Any) -> tuple[Tensor, ...]:
    """The tensors that a function returned."""
    found = result if isinstance(result, tuple) else (result,)
    if not found or not all(isinstance(t, Tensor) for t in found):
        raise TypeError(f"capture: expected a function that returns tensors, got {result!r:.60}")
    return found


# --- numbers that change ------------------------------------------------------------------------
class Board:
    """Numbers of one dtype that the host writes before each replay, in one copy, and a graph reads.

    numbers: where each group of them begins, and the function that computes it.
    """

    size = 1024  # of groups together; a larger one has a board of its own

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


class State:
    age = 0  # how often all recordings were given up
    boards: list[Board] | None = None  # of the recording under way
    kept: list[Any]
    undo: list[Callable[[], None]]


def live(compute: Callable[[], Any], like: Array, dtype: Any = None) -> Any:
    """compute(), now and again before every replay of a recording under way.

    For numbers that Python changes from step to step, such as a learning rate or a count: a tuple
    or a 1-d NumPy array of them, always as many. Outside a recording that is returned; in one, a
    1-d array beside `like`, in its dtype or the one given, which the graph reads where it is.
    """
    values, boards = compute(), State.boards
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
    """Keep what the launches just made read as long as the recording under way, if there is one."""
    if State.boards is not None:
        State.kept.extend(objects)


def lasting(shape: tuple[int, ...], like: Array, dtype: Any) -> Array:
    """An array beside another one for numbers of the host, kept as long as a recording under way.

    Not from the memory of the recording: what lies there is overwritten at each replay by the
    launches that had the same memory before.
    """
    if State.boards is None:
        return devices.empty(shape, like, dtype)
    cp = devices.cupy()
    with cp.cuda.using_allocator(cp.get_default_memory_pool().malloc), aside():
        array = devices.empty(shape, like, dtype)
    keep(array)
    return array


def aside() -> Any:
    """A stream of the current GPU whose copies are no part of a recording."""
    return streams(devices.cupy().cuda.runtime.getDevice())


@functools.cache
def streams(gpu: int) -> Any:
    return devices.cupy().cuda.Stream(non_blocking=True)


def on_failure(undo: Callable[[], None]) -> None:
    """Call `undo` if the recording under way fails; nothing outside of one."""
    if State.boards is not None:
        State.undo.append(undo)


def outdate() -> None:
    """Give up all recordings: each function runs as it is again, and is then recorded anew."""
    State.age += 1


def refuse_recording(what: str) -> None:
    """RuntimeError while something is recorded: Python's numbers would stay as they are then."""
    if State.boards is not None:
        raise RuntimeError(
            f"{what}: takes numbers from the host, which a recording would keep as they are now; "
            f"the kernels of dropout and of Adam without amsgrad do not: mg.use_kernels()"
        )
