"""An answer against the library: what is right, and what is wrong by name."""

from __future__ import annotations

import contextlib
import importlib.util
import signal
import threading
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any, Literal

import numpy as np

from exercises import faults
from exercises.cut import open_holes
from exercises.exercise import Exercise
from exercises.probes import Both, Call, Numbers, OpProbe, in_place, same, verdict

LIMIT = 10  # seconds of an answer, before it is stopped
SLOW = 30.0  # times the library's time; a loop over elements in Python takes a hundred

State = Literal["solved", "not yet", "to do"]


@dataclass(frozen=True)
class Finding:
    """One thing that was checked."""

    what: str  # "forward", "gradient of x", "second order", "speed", "run"
    right: bool
    says: str


@dataclass(frozen=True)
class Report:
    """What there is to say of one answer."""

    state: State
    findings: tuple[Finding, ...]


def check(exercise: Exercise, path: Path) -> Report:
    """Check the answer in a file. Never raises for what is in the file."""
    path = path.resolve()  # as tracebacks name it
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        return Report("to do", (Finding("file", False, f"{path.name}: {error.strerror}"),))
    try:
        holes = open_holes(text)
    except SyntaxError as error:
        return not_yet("Python", f"{error.msg}, line {error.lineno}")
    if holes:
        places = "1 place is open" if len(holes) == 1 else f"{len(holes)} places are open"
        places += f" ({'line' if len(holes) == 1 else 'lines'} {', '.join(map(str, holes))})"
        return Report("to do", (Finding("places", False, places),))
    findings: list[Finding] = []
    try:
        with limited(LIMIT):
            for finding in judge(exercise, load(path, exercise.name)):
                findings.append(finding)  # one by one: what was found stays if the next one fails
    except TimeoutError as error:
        slow = "right, but too slow: " if findings else ""
        findings.append(Finding("speed" if findings else "run", False, f"{slow}{error}"))
    except (Exception, SystemExit) as error:
        findings.append(Finding("run", False, raised(error, path)))
    state: State = "solved" if all(f.right for f in findings) else "not yet"
    return Report(state, tuple(findings))


def not_yet(what: str, says: str) -> Report:
    return Report("not yet", (Finding(what, False, says),))


def load(path: Path, name: str) -> Any:
    """What the student's file defines under a name."""
    spec = importlib.util.spec_from_file_location(f"answer_{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    if not hasattr(module, name):
        raise NameError(f"the file defines no {name!r}")
    return getattr(module, name)


def raised(error: BaseException, path: Path) -> str:
    """An error, and the line of the student's file that it came from."""
    lines = [f.lineno for f in traceback.extract_tb(error.__traceback__) if f.filename == str(path)]
    where = f" (line {lines[-1]})" if lines else ""
    return f"{type(error).__name__}{where}: {' '.join(str(error).split())}"


@contextlib.contextmanager
def limited(seconds: int) -> Iterator[None]:
    """TimeoutError after so many seconds, where the system has such an alarm."""
    if (
        not hasattr(signal, "setitimer")
        or threading.current_thread() is not threading.main_thread()
    ):
        yield
        return

    def stop(*_: Any) -> None:
        raise TimeoutError(
            f"stopped after {seconds} s: does a loop not end, or go over single elements?"
        )

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0.0)
        signal.signal(signal.SIGALRM, before)


# --- judging --------------------------------------------------------------------------------------
def judge(exercise: Exercise, answer: Any) -> Iterator[Finding]:
    """Findings in the order in which a student needs them; those that need others come last."""
    function, probe = exercise.function, exercise.probe
    library = function.made_from(function.text)
    right, got = probe(function, library), outcome(exercise, answer)
    if isinstance(got.get("raised"), Exception):
        if named := mistake(exercise, got):
            yield Finding("run", False, named)
            return
        raise got["raised"]
    wrong = [name for name in right if name not in got or not same(got[name], right[name])]
    named = mistake(exercise, got) if wrong else None
    traces = [probe.trace(x) for x in (answer, library)] if isinstance(probe, OpProbe) else []
    if traces and (says := faults.of_trace(*traces)):
        yield Finding("pullback", False, says)
    untouched = probe.untouched() if isinstance(probe, Call | Both) else {}
    for name in right:
        if name not in wrong:
            yield Finding(name, True, "right")
        elif named:
            yield Finding(name, False, named)
        elif name not in got:
            yield Finding(name, False, "there is none")
        elif name in untouched and same(got[name], untouched[name]):
            yield Finding(name, False, "it is as it was before: write into the array, a[...] = ...")
        elif traces and name in traces[1].with_ones:
            yield Finding(name, False, faults.of_gradient(name, *traces))
        else:
            yield Finding(name, False, faults.sentence(got[name], right[name]))
    if wrong:
        return
    if isinstance(probe, OpProbe) and probe.second_order:
        yield second_order(probe, answer)
    yield speed(exercise, answer, library)
    if exercise.run is not None:
        with in_place(function, answer):
            yield Finding("run", True, exercise.run())


def outcome(exercise: Exercise, answer: Any) -> Numbers:
    """What the probe computes of an answer, or the error that it raises under "raised"."""
    try:
        return exercise.probe(exercise.function, answer)
    except TimeoutError:
        raise
    except Exception as error:
        return {"raised": error}


def alike(a: Numbers, b: Numbers) -> bool:
    """Whether two outcomes are the same: the same numbers, or errors with the same words."""
    if a.keys() != b.keys():
        return False
    words = [
        {name: str(x) if name == "raised" else x for name, x in each.items()} for each in (a, b)
    ]
    return all(same(words[0][name], words[1][name]) for name in a)


def mistake(exercise: Exercise, got: Numbers) -> str | None:
    """The name of the known mistake that gives these numbers."""
    for name, changes in exercise.mistakes.items():
        function = exercise.function
        wrong = function.made_from(function.with_mistake(changes))
        if alike(got, outcome(exercise, wrong)):
            return name
    return None


def second_order(probe: OpProbe, answer: Any) -> Finding:
    args = probe.args(np.random.default_rng(2))

    def op(*variables: Any) -> Any:
        return answer(*variables, **probe.options)

    if verdict(op, *args, order=2) == "accepted":
        return Finding("second order", True, "right")
    return Finding(
        "second order",
        False,
        "the first derivative is right, its derivative is not: the body runs again on tensors "
        "for it, so every step must be an op (no out=, no float(), no .data)",
    )


def speed(exercise: Exercise, answer: Any, library: Any) -> Finding:
    """The time of the answer, as a multiple of that of the library's lines."""
    probe = exercise.probe
    sides: list[Callable[[], Any]] = [
        probe.seconds(each)
        if isinstance(probe, OpProbe)
        else (lambda each=each: probe(exercise.function, each))
        for each in (answer, library)
    ]
    best = [float("inf")] * 2
    for _ in range(3):
        for i, side in enumerate(sides):
            start = perf_counter()
            side()
            best[i] = min(best[i], perf_counter() - start)
    ratio = best[0] / best[1]
    if ratio <= SLOW:
        return Finding("speed", True, f"{ratio:.1f} times the library's time")
    return Finding(
        "speed",
        False,
        f"{ratio:.0f} times the library's time: is something visited many times, or is there a "
        "loop over single elements?",
    )
