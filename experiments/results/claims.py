"""Claims of a text, and tests of them by our runs. Claims are data:

    Says("000, 4.5 (c)", "L_val: GPT scales better with P", gap(slope(L_VAL, IN_P), LSTM, GPT) > 0)

A test is a function from trials to a `Finding`: our measurement, and whether the claim agrees with
it. There are two kinds. A number with an interval, of `slope` or `paired` for example, is compared
with 0 or another number; the verdict is "undecided" if the interval contains that number.
`share_of`, `share_in`, `every` and `equals` count trials. For other claims, an experiment defines
its own functions.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any, Literal, NamedTuple, TypeVar

from experiments.results import trends
from experiments.results.curves import Quantity
from experiments.results.trends import Trend
from experiments.results.trials import Chosen, Group, Trials, by_group, pairs, where
from experiments.train.records import TrialRecord

Verdict = Literal["agrees", "differs", "undecided", "not run"]
T = TypeVar("T")


@dataclass(frozen=True)
class Claim:
    """A claim of a text, with our measurement of it."""

    source: str  # document and question, such as "000, 4.3 (d)"
    said: str  # the claim, in our words
    ours: str  # our measurement, with numbers
    verdict: Verdict  # "undecided": our runs cannot decide; "not run": runs are missing
    erratum: str | None = None  # the number of the erratum that it decides, if any


class Finding(NamedTuple):
    """The result of a test; the defaults if the trials that it needs were not run."""

    ours: str = ""
    verdict: Verdict = "not run"


Test = Callable[[Trials], Finding]


class Says(NamedTuple):
    """A claim before it is tested: see `Claim`."""

    source: str
    said: str
    test: Test
    erratum: str | None = None


def decide(claims: Iterable[Says], trials: Trials) -> list[Claim]:
    return [Claim(c.source, c.said, *c.test(trials), c.erratum) for c in claims]


def fact(text: str, holds: bool = False) -> Test:
    """A test that needs no trials: `text` says by what the claim holds, or does not."""
    return lambda trials: Finding(text, "agrees" if holds else "differs")


# --- verdicts -------------------------------------------------------------------------------------
def by_share(holds: Sequence[bool], *, ran: bool = True) -> Verdict:
    """The verdict on a claim that may hold in some trials, heads or models and not in others.

    "agrees" if it holds in at least three quarters of them, "differs" if in at most a quarter,
    "undecided" between. If `holds` is empty: "undecided" if trials ran, else "not run".

    ran: whether any trial ran.
    """
    if not holds:
        return "undecided" if ran else "not run"
    share = sum(holds) / len(holds)
    return "agrees" if share >= 0.75 else "differs" if share <= 0.25 else "undecided"


def by_all(holds: Sequence[bool]) -> Verdict:
    """The verdict on a claim that must hold in all: "undecided" if it holds only in some."""
    return "agrees" if all(holds) else "undecided" if any(holds) else "differs"


def all_of(verdicts: Iterable[Verdict]) -> Verdict:
    """The verdict on a claim of several parts: it differs if one of them does."""
    parts = set(verdicts)
    order: tuple[Verdict, ...] = ("not run", "differs", "undecided")
    return next((verdict for verdict in order if verdict in parts), "agrees")


def by_interval(trend: Trend, direction: int, than: float = 0.0) -> Verdict:
    """Whether a trend is more (1) or less (-1) than a number, by its confidence interval."""
    sign = trend.compared_with(than)
    return "undecided" if sign == 0 else "agrees" if sign == direction else "differs"


# --- numbers with an interval ---------------------------------------------------------------------
class Along(NamedTuple):
    """The x axis of a slope: a number of each trial.

    fixed: what is kept fixed: all its values share one slope, and each has its own intercept.
    """

    name: str
    unit: str  # such as "per layer"
    of: Callable[[TrialRecord], float]
    fixed: Callable[[TrialRecord], Any] = lambda trial: ()


class Slope(NamedTuple):
    """The least-squares slope of y against x, within seeds and within what is kept fixed."""

    y: Quantity
    x: Along
    at: Mapping[str, Any]  # only trials with these settings

    def points(self, trials: Trials) -> list[tuple[float, float, Any]]:
        return [
            (self.x.of(t), self.y.of(t), (self.x.fixed(t), t.settings["seed"]))
            for t in where(trials, **self.at)
        ]

    def of(self, trials: Trials) -> Trend | None:
        return trends.slope(self.points(trials))

    def __str__(self) -> str:
        return f"slope of {self.y.name} {self.x.unit}"


def slope(y: Quantity, x: Along, **at: Any) -> Slope:
    return Slope(y, x, at)


@dataclass(frozen=True)
class Estimate:
    """A text and one or several trends, computed from trials. `estimate > 0` tests all of them."""

    of: Callable[[Trials], tuple[str, Sequence[Trend | None]]]

    def __gt__(self, than: float) -> Test:
        return lambda trials: self.compared(trials, 1, than)

    def __lt__(self, than: float) -> Test:
        return lambda trials: self.compared(trials, -1, than)

    def within(self, margin: float) -> Test:
        """Whether all trends are near 0: their intervals lie between -margin and margin."""

        def verdict(trend: Trend) -> Verdict:
            low, high = trend.interval or (-math.inf, math.inf)
            if -margin <= low and high <= margin:
                return "agrees"
            return "differs" if low > margin or high < -margin else "undecided"

        def test(trials: Trials) -> Finding:
            ours, estimates = self.of(trials)
            known = [each for each in estimates if each]
            if len(known) < len(estimates):
                return Finding()
            return Finding(f"{ours}; margin {margin:g}", all_of(map(verdict, known)))

        return test

    def compared(self, trials: Trials, direction: int, than: float) -> Finding:
        ours, estimates = self.of(trials)
        if None in estimates:
            return Finding()
        return Finding(ours, all_of(by_interval(each, direction, than) for each in estimates))


def trend(slope: Slope, *groups: Group) -> Estimate:
    """The slope of each group."""

    def of(trials: Trials) -> tuple[str, Sequence[Trend | None]]:
        slopes = [slope.of(group.of(trials)) for group in groups]
        return f"{slope}: {labelled(groups, slopes) if slopes[1:] else slopes[0]}", slopes

    return Estimate(of)


def gap(slope: Slope, a: Group, b: Group, **values: Sequence[Any]) -> Estimate:
    """The slope of a minus that of b. values: settings at each of which there must be a pair."""

    def of(trials: Trials) -> tuple[str, Sequence[Trend | None]]:
        if values and not pairs(trials, a, b, grid(values)):
            return "", [None]
        slopes = [slope.of(group.of(trials)) for group in (a, b)]
        less = trends.difference(*slopes)
        return f"{slope}: {labelled((a, b), slopes)}, {a.label} - {b.label} {less}", [less]

    return Estimate(of)


def mean_of(y: Quantity, *groups: Chosen) -> Estimate:
    """The mean of y over the trials of each group."""

    def of(trials: Trials) -> tuple[str, Sequence[Trend | None]]:
        means = [trends.average([y.of(t) for t in group.of(trials)]) for group in groups]
        return f"{y.name}, mean: {labelled(groups, means) if means[1:] else means[0]}", means

    return Estimate(of)


def one_of(y: Quantity, group: Chosen, value: float) -> Test:
    """Whether `value` can be that of a single run of the group: it lies in the 95 % prediction
    interval of the group's runs (Student's t)."""

    def test(trials: Trials) -> Finding:
        mean = trends.average([y.of(t) for t in group.of(trials)])
        if mean is None or mean.error is None:
            return Finding()
        half = trends.t_quantile(0.975, mean.freedom) * mean.error * math.sqrt(mean.n + 1)
        low, high = mean.value - half, mean.value + half
        ours = f"{y.name}: of single runs 95 % in [{low:.4g}, {high:.4g}], by {mean.n}"
        return Finding(ours, "agrees" if low <= value <= high else "differs")

    return test


def paired(y: Quantity, a: Chosen, b: Chosen, **values: Sequence[Any]) -> Estimate:
    """The mean of y in a minus y in b, over pairs of the same seed at each of these values."""

    def of(trials: Trials) -> tuple[str, Sequence[Trend | None]]:
        mean = trends.average([y.of(t) - y.of(u) for t, u in pairs(trials, a, b, grid(values))])
        n = mean.n if mean else 0
        return f"{y.name}, {a.label} - {b.label}, mean of {n} pairs: {mean}", [mean]

    return Estimate(of)


def grid(values: Mapping[str, Sequence[Any]]) -> list[dict[str, Any]]:
    """All combinations of values of settings."""
    return [dict(zip(values, each, strict=True)) for each in product(*values.values())]


def labelled(groups: Sequence[Chosen], values: Iterable[Any]) -> str:
    return ", ".join(f"{g.label} {each}" for g, each in zip(groups, values, strict=True))


# --- counts of trials -----------------------------------------------------------------------------
def share_of(
    groups: Iterable[Group],
    words: str,
    value: Callable[[TrialRecord], T | None],
    holds: Callable[[T], bool | None],
    show: Callable[[T], str],
    *,
    note: str = "",
) -> Test:
    """Whether something holds for most trials of the groups; the text lists each trial's value.

    value: returns the value of a trial; None if it has none.
    holds: whether it holds for a value; None if the value decides nothing.
    """

    def test(trials: Trials) -> Finding:
        trials = [trial for group in groups for trial in group.of(trials)]
        values = {t.folder.name: v for t in trials if (v := value(t)) is not None}
        listed = "; ".join(f"{name}: {show(v)}" for name, v in values.items()) or "no trial"
        decisive = [right for v in values.values() if (right := holds(v)) is not None]
        return Finding(f"{words}: {listed}{note}", by_share(decisive, ran=bool(trials)))

    return test


def share_in(
    groups: Sequence[Group],
    words: str,
    holds: Callable[[TrialRecord], bool | None],
    *,
    note: Callable[[Trials], str] = lambda trials: "",
) -> Test:
    """Whether something holds for most trials of the first group; the text counts all groups.

    holds: None for trials that do not count.
    """

    def test(trials: Trials) -> Finding:
        decisive = {
            group: [right for trial in of_group if (right := holds(trial)) is not None]
            for group, of_group in by_group(trials, groups).items()
        }
        counts = [
            f"{group.label}: in {sum(right)} of {len(right)} trials"
            for group, right in decisive.items()
        ]
        verdict = by_share(decisive.get(groups[0], ()), ran=groups[0] in decisive)
        return Finding(f"{words}: {'; '.join(counts) or 'no trial'}{note(trials)}", verdict)

    return test


def every(groups: Sequence[Group], y: Quantity, holds: Callable[[float], bool], **at: Any) -> Test:
    """Whether something holds for y in all trials with these settings; undecided if in some."""

    def test(trials: Trials) -> Finding:
        values = {
            group: [y.of(trial) for trial in of_group]
            for group, of_group in by_group(where(trials, **at), groups).items()
        }
        ours = "; ".join(
            f"{group.label} {', '.join(f'{v:{y.formats[0]}}' for v in of)}"
            for group, of in values.items()
        )
        right = [holds(v) for of in values.values() for v in of]
        return Finding(ours, by_all(right) if len(values) == len(groups) else "not run")

    return test


# a value for each group and seed; None if there is none
BySeed = Mapping[Group, Mapping[int, T | None]]


def equals(answers: Callable[[Trials], BySeed[Any]], expected: Mapping[Group, Any]) -> Test:
    """Whether the value of each group is as expected; undecided if that depends on the seed.

    answers: returns the values; an empty mapping if they are not known for every group.
    """

    def test(trials: Trials) -> Finding:
        values = answers(trials)
        verdicts = [by_all([v == expected[g] for v in of.values()]) for g, of in values.items()]
        return Finding(seeds_in_words(values), all_of(verdicts)) if values else Finding()

    return test


def seeds_in_words(values: BySeed[Any], show: Callable[[Any], str] = "{:g}".format) -> str:
    return "; ".join(
        f"{group.label} "
        + ", ".join(f"{'none' if v is None else show(v)} (seed {s})" for s, v in of.items())
        for group, of in values.items()
    )
