"""Trials by their settings."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any, NamedTuple, Protocol

from experiments.train.records import TrialRecord

Trials = Sequence[TrialRecord]


class Chosen(Protocol):
    """Some of the trials, with a name for people: a `Group`, say."""

    @property
    def label(self) -> str: ...

    def of(self, trials: Trials) -> list[TrialRecord]: ...


class Group(NamedTuple):
    """Trials that have a value of a setting, such as those of a model, and how they are shown."""

    setting: str
    value: Any
    label: str  # for people; the value stands for the group in files
    color: str  # of their curves
    lighter: str  # the same on dark paper
    dash: str = "solid"  # as Plotly names it, where colours tell other things apart

    def of(self, trials: Trials) -> list[TrialRecord]:
        return where(trials, **{self.setting: self.value})


class Setting(NamedTuple):
    """What a sweep varies, and how it is shown."""

    name: str  # in the settings of a trial
    label: str  # of axes and colour bars
    log2: bool = False  # whether its values are powers of two, rather than evenly spaced
    log10: bool = False  # whether they are spread over powers of ten


def where(trials: Trials, **settings: Any) -> list[TrialRecord]:
    """The trials with these settings."""
    return [t for t in trials if all(t.settings[k] == v for k, v in settings.items())]


def by_group(trials: Trials, groups: Iterable[Group]) -> dict[Group, list[TrialRecord]]:
    """The trials of each group that has any."""
    return {group: of_group for group in groups if (of_group := group.of(trials))}


def by_value(trials: Trials, name: str) -> dict[Any, list[TrialRecord]]:
    """The trials at each value of a setting, by value."""
    values = sorted({trial.settings[name] for trial in trials})
    return {value: where(trials, **{name: value}) for value in values}


def finished(trials: Trials) -> list[TrialRecord]:
    """Those that ran to their end: of others best values are not known yet."""
    return [trial for trial in trials if trial.status.get("finished")]


def complete(
    trials: Trials,
    groups: Iterable[Group],
    key: Callable[[TrialRecord], Any],
    wanted: Iterable[Any],
) -> list[TrialRecord]:
    """The trials of groups that have every value of a key: others cannot show its effect."""
    of_groups = by_group(trials, groups).values()
    whole = [each for each in of_groups if {*wanted} <= {key(trial) for trial in each}]
    return [trial for each in whole for trial in each]


def pairs(
    trials: Trials, a: Chosen, b: Chosen, at: Iterable[dict[str, Any]] = ({},)
) -> list[tuple[TrialRecord, TrialRecord]]:
    """Trials of two groups that have the same seed, at each of these settings.

    [] if there is no pair at one of them: the others would not tell of all.
    """
    couples = []
    for settings in at:
        here = where(trials, **settings)
        first, second = ({t.settings["seed"]: t for t in group.of(here)} for group in (a, b))
        seeds = sorted(first.keys() & second.keys())
        if not seeds:
            return []
        couples += [(first[seed], second[seed]) for seed in seeds]
    return couples


def until(trial: TrialRecord, step: float) -> TrialRecord:
    """The trial as it was at a step: its records up to there."""
    return replace(trial, records=[r for r in trial.records if r["step"] <= step])
