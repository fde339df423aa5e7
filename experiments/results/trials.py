"""Trials selected by their settings."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any, NamedTuple, Protocol

from experiments.train.records import TrialRecord

Trials = Sequence[TrialRecord]


class Chosen(Protocol):
    """A selection of trials with a label, such as a `Group`."""

    @property
    def label(self) -> str: ...

    def of(self, trials: Trials) -> list[TrialRecord]: ...


class Group(NamedTuple):
    """The trials with a value of a setting, such as those of a model, and their style."""

    setting: str
    value: Any
    label: str  # in tables and figures; files have the value
    color: str  # of their curves
    lighter: str  # the same on a dark background
    dash: str = "solid"  # Plotly's name, used if colours show something else

    def of(self, trials: Trials) -> list[TrialRecord]:
        return where(trials, **{self.setting: self.value})


class Having(NamedTuple):
    """Trials with several settings, where a `Group` has one."""

    label: str
    settings: dict[str, Any]

    def of(self, trials: Trials) -> list[TrialRecord]:
        return where(trials, **self.settings)


class Setting(NamedTuple):
    """A setting that a sweep varies, and its axis."""

    name: str  # in the settings of a trial
    label: str  # of axes and colour bars
    log2: bool = False  # whether its values are powers of two, not evenly spaced
    log10: bool = False  # whether its values range over powers of ten


def where(trials: Trials, **settings: Any) -> list[TrialRecord]:
    """The trials with these settings."""
    return [t for t in trials if all(t.settings[k] == v for k, v in settings.items())]


def by_group(trials: Trials, groups: Iterable[Group]) -> dict[Group, list[TrialRecord]]:
    """The trials of each group, without empty groups."""
    return {group: of_group for group in groups if (of_group := group.of(trials))}


def by_value(trials: Trials, name: str) -> dict[Any, list[TrialRecord]]:
    """The trials at each value of a setting, by value."""
    values = sorted({trial.settings[name] for trial in trials})
    return {value: where(trials, **{name: value}) for value in values}


def finished(trials: Trials) -> list[TrialRecord]:
    """The trials that ran to their end; best values of others are not known yet."""
    return [trial for trial in trials if trial.status.get("finished")]


def complete(
    trials: Trials,
    groups: Iterable[Group],
    key: Callable[[TrialRecord], Any],
    wanted: Iterable[Any],
) -> list[TrialRecord]:
    """The trials of groups with all `wanted` values of a key: others do not show its effect."""
    of_groups = by_group(trials, groups).values()
    whole = [each for each in of_groups if {*wanted} <= {key(trial) for trial in each}]
    return [trial for each in whole for trial in each]


def pairs(
    trials: Trials, a: Chosen, b: Chosen, at: Iterable[dict[str, Any]] = ({},)
) -> list[tuple[TrialRecord, TrialRecord]]:
    """Pairs of trials of two groups with the same seed, at each of these settings.

    [] if one of these settings has no pair, since the others do not represent all.
    """
    couples = []
    for settings in at:
        selected = where(trials, **settings)
        first, second = ({t.settings["seed"]: t for t in group.of(selected)} for group in (a, b))
        seeds = sorted(first.keys() & second.keys())
        if not seeds:
            return []
        couples += [(first[seed], second[seed]) for seed in seeds]
    return couples


def until(trial: TrialRecord, step: float) -> TrialRecord:
    """The trial with only its records up to a step."""
    return replace(trial, records=[r for r in trial.records if r["step"] <= step])
