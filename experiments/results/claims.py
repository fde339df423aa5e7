"""Claims of a text, beside what our runs show. Claims are data:

    Says("000, 4.5 (c)", "L_val: GPT scales better with P", gap(slope(L_VAL, IN_P), LSTM, GPT) > 0)

A test is a function from trials to a `Finding`: what we measured, and whether the claim agrees with
it. There are two kinds. A number with an interval, of `slope` or `paired`, is compared with 0 or
another number, and "undecided" if its interval holds that. `share_of`, `share_in`, `every` and
`equals` count trials.
What no test here says is a function that an experiment writes itself.
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
    """Something that a text says, beside our measurement of it."""

    source: str  # document and question, such as "000, 4.3 (d)"
    said: str  # the claim, in our words
    ours: str  # what we measured, with numbers
    verdict: Verdict  # "undecided": our runs cannot tell; "not run": there are none that could
    erratum: str | None = None  # the number of the erratum that it decides, if it does


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


# --- verdicts -------------------------------------------------------------------------------------
def by_share(holds: Sequence[bool], *, ran: bool = True) -> Verdict:
    """How a claim fares that holds in some trials, heads or models and not in others.

    "agrees" if it holds in three quarters of them or more, "differs" if in a quarter or less,
    "undecided" between, and if there are none, that is where trials ran and tell nothing.

    ran: whether any trial did; if not, "not run".
    """
    if not holds:
        return "undecided" if ran else "not run"
    share = sum(holds) / len(holds)
    return "agrees" if share >= 0.75 else "differs" if share <= 0.25 else "undecided"


def by_all(holds: Sequence[bool]) -> Verdict:
    """How a claim fares that must hold in all: "undecided" if it holds in some and not others."""
    return "agrees" if all(holds) else "undecided" if any(holds) else "differs"


def all_of(verdicts: Iterable[Verdict]) -> Verdict:
    """Of a claim that says several things: it is false if one of them is."""
    given = set(verdicts)
    order: tuple[Verdict, ...] = ("not run", "differs", "undecided")
    return next((each for each in order if each in given), "agrees")


def by_interval(trend: Trend, direction: int, than: float = 0.0) -> Verdict:
    """Whether a trend is more (1) or less (-1) than a number, as far as its interval tells."""
    beside = trend.beside(than)
    return "undecided" if beside == 0 else "agrees" if beside == direction else "differs"


# --- numbers with an interval ---------------------------------------------------------------------
class Along(NamedTuple):
    """What a slope goes along: x of a trial.

    fixed: what is kept fixed: all its values share one slope, and each has a level.
    """

    name: str
    unit: str  # such as "per layer"
    of: Callable[[TrialRecord], float]
    fixed: Callable[[TrialRecord], Any] = lambda trial: ()


class Slope(NamedTuple):
    """How much y grows along x, within seeds and within what is kept fixed, by least squares."""

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
    """One trend of trials or several, in words and as such. `estimate > 0` is a test: of all."""

    of: Callable[[Trials], tuple[str, Sequence[Trend | None]]]

    def __gt__(self, than: float) -> Test:
        return lambda trials: self.compared(trials, 1, than)

    def __lt__(self, than: float) -> Test:
        return lambda trials: self.compared(trials, -1, than)

    def within(self, margin: float) -> Test:
        """Whether all are nearly 0: their intervals lie between -margin and margin."""

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
    """By how much the slope of a is more than that of b; values: where there must be a pair."""

    def of(trials: Trials) -> tuple[str, Sequence[Trend | None]]:
        if values and not pairs(trials, a, b, grid(values)):
            return "", [None]
        slopes = [slope.of(group.of(trials)) for group in (a, b)]
        apart = trends.difference(*slopes)
        return f"{slope}: {labelled((a, b), slopes)}, {a.label} - {b.label} {apart}", [apart]

    return Estimate(of)


def mean_of(y: Quantity, *groups: Chosen) -> Estimate:
    """The mean of y over the trials of each group."""

    def of(trials: Trials) -> tuple[str, Sequence[Trend | None]]:
        means = [trends.average([y.of(t) for t in group.of(trials)]) for group in groups]
        return f"{y.name}, mean: {labelled(groups, means) if means[1:] else means[0]}", means

    return Estimate(of)


def one_of(y: Quantity, group: Chosen, value: float) -> Test:
    """Whether a single run that gave `value` can be one of the group's: within the interval that
    holds 95 % of single runs, as far as the group's tell (Student's t)."""

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
    """By how much y is more in a than in b, over pairs of the same seed at each of these values."""

    def of(trials: Trials) -> tuple[str, Sequence[Trend | None]]:
        mean = trends.average([y.of(t) - y.of(u) for t, u in pairs(trials, a, b, grid(values))])
        n = mean.n if mean else 0
        return f"{y.name}, {a.label} - {b.label}, mean of {n} pairs: {mean}", [mean]

    return Estimate(of)


def grid(values: Mapping[str, Sequence[Any]]) -> list[dict[str, Any]]:
    """Every combination of values of settings."""
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
    """Whether something holds of most trials of groups, each with its value.

    value: of a trial; None if it tells nothing.
    holds: of a value; None if that decides nothing.
    """

    def test(trials: Trials) -> Finding:
        trials = [trial for group in groups for trial in group.of(trials)]
        values = {t.folder.name: v for t in trials if (v := value(t)) is not None}
        listed = "; ".join(f"{name}: {show(v)}" for name, v in values.items()) or "no trial"
        decisive = [so for v in values.values() if (so := holds(v)) is not None]
        return Finding(f"{words}: {listed}{note}", by_share(decisive, ran=bool(trials)))

    return test


def share_in(
    groups: Sequence[Group],
    words: str,
    holds: Callable[[TrialRecord], bool | None],
    *,
    note: Callable[[Trials], str] = lambda trials: "",
) -> Test:
    """Whether something holds of most trials of the first group; the others are only counted.

    holds: None for trials that do not count.
    """

    def test(trials: Trials) -> Finding:
        decisive = {
            group: [so for trial in of_group if (so := holds(trial)) is not None]
            for group, of_group in by_group(trials, groups).items()
        }
        counts = [f"{g.label}: in {sum(so)} of {len(so)} trials" for g, so in decisive.items()]
        verdict = by_share(decisive.get(groups[0], ()), ran=groups[0] in decisive)
        return Finding(f"{words}: {'; '.join(counts) or 'no trial'}{note(trials)}", verdict)

    return test


def every(groups: Sequence[Group], y: Quantity, holds: Callable[[float], bool], **at: Any) -> Test:
    """Whether something holds of y in every trial with these settings; undecided if in some."""

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


# a value of each group and seed; None: there is none
BySeed = Mapping[Group, Mapping[int, T | None]]


def equals(answers: Callable[[Trials], BySeed[Any]], expected: Mapping[Group, Any]) -> Test:
    """Whether the value of each group is as expected; undecided if that depends on the seed.

    answers: empty if they are not known of every group.
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
