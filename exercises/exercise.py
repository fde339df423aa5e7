"""What an exercise is."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from exercises.cut import Function, find
from exercises.probes import Probe


@dataclass(frozen=True)
class Exercise:
    """A function of the library to be completed.

    source:   where it stands, "minigrad/graph.py: unbroadcast".
    says:     its docstring in the workbook: what it computes, without the derivation.
    cuts:     what is taken out; see `exercises.cut`.
    task:     what to derive and to write.
    hints:    from a nudge to nearly the answer.
    probe:    what an answer computes. It is right if it computes what the library's lines do.
    mistakes: by a sentence that names it, the changes (right, wrong) of the library's text that
              make it. An answer that computes the same is told this sentence.
    run:      for the last one of a chapter: a program that uses the answer, and says how it went.
    """

    source: str
    says: str
    cuts: Sequence[str]
    task: str
    hints: Sequence[str]
    probe: Probe
    mistakes: Mapping[str, Sequence[tuple[str, str]]] = field(default_factory=dict)
    run: Callable[[], str] | None = None

    @cached_property
    def function(self) -> Function:
        return find(self.source)

    @property
    def name(self) -> str:
        return self.function.short


@dataclass(frozen=True)
class Chapter:
    """The exercises of one chapter of docs/reading.md, which has this title."""

    title: str
    exercises: Sequence[Exercise]
