"""From records to results: figures, trends, what curves come to, tests of claims."""

import math
import random

import pytest
from by_hand import learnt, line, record, write
from hypothesis import given
from hypothesis import strategies as st

from experiments.grokking import seeds
from experiments.grokking.seeds import MODELS
from experiments.results import claims, curves, panels, trends
from experiments.results.curves import Quantity
from experiments.results.trials import Group, by_value, finished, until
from experiments.train import records


# --- figures --------------------------------------------------------------------------------------
def test_figures_of_partial_records_are_drawn_with_gaps_and_without_invented_points(tmp_path):
    gap = [line(0), line(1, None), line(2, 1.0, 0.2), line(3, 0.5, 0.3)]
    write(tmp_path / "a", gap, model="lstm", seed=0, r_train=0.3)
    write(tmp_path / "b", gap[:3], model="lstm", seed=42, r_train=0.3)
    write(tmp_path / "c", gap[:2], finished=False, model="lstm", seed=0, r_train=0.5)
    nothing = [line(0, None, 0.0), line(1, None, 0.0)]
    write(tmp_path / "d", nothing, model="lstm", seed=0, r_train=0.7)
    trials = records.read_trials(tmp_path)
    setting = panels.Setting("r_train", "r")
    ax = panels.curves(trials, setting, title="").axes[0]
    lines = [[tuple(p) for p in drawn.get_xydata()] for drawn in ax.lines]
    assert [[x for x, _ in drawn] for drawn in lines] == [[0, 1, 2], [0, 1], [0, 1]]
    assert math.isnan(lines[0][1][1])  # a loss that was no number is a gap
    drawn = panels.best_against(
        panels.lines_of_groups(finished(trials), MODELS, "r_train"), setting, title=""
    )
    train, val = drawn.axes[0].lines
    assert list(val.get_xdata()) == [0.3, 0.7]
    assert val.get_ydata()[0] == 0.75  # of .5 and 1
    assert math.isnan(val.get_ydata()[1])
    assert (train.is_dashed(), val.is_dashed()) == (True, False)


def test_lines_go_from_the_least_value_to_the_greatest(tmp_path):
    for d in (32, 16, 64):
        write(tmp_path / str(d), learnt(1 / d, 0.9), d=d)
    by_d = by_value(records.read_trials(tmp_path), "d")
    unsorted = panels.Line({d: by_d[d] for d in (32, 16, 64)}, "k", "LSTM")
    figure = panels.best_against([unsorted], panels.Setting("d", "d", log2=True), title="")
    _, val = figure.axes[0].lines
    assert val.get_xydata().tolist() == [[16, 1 / 16], [32, 1 / 32], [64, 1 / 64]]


# --- statistics on planted data -------------------------------------------------------------------
def test_a_planted_slope_is_found_and_a_level_of_its_own_for_each_group():
    points = [(x, 3 * x + 100 * group, group) for x in (1, 2, 4) for group in range(2)]
    trend = trends.slope(points)
    assert trend.value == pytest.approx(3, abs=1e-12)
    assert (trend.freedom, trend.n) == (3, 6)
    assert trend.direction == 1
    ungrouped = trends.slope([(x, y, ()) for x, y, _ in points])
    assert ungrouped.direction == 0  # the levels hide it, as they must without groups


def test_intervals_hold_the_truth_as_often_as_they_say():
    # 2,000 lines through 18 points in 6 groups: of 95 % the standard deviation is .5 %, 4 of it
    noise, hits = random.Random(0), 0
    for _ in range(2000):
        low, high = trends.slope(
            [(x, 0.5 * x + noise.gauss(0, 1), g) for g in range(6) for x in (6, 7, 8)]
        ).interval
        hits += low <= 0.5 <= high
    assert 0.93 < hits / 2000 < 0.97


def test_what_does_not_vary_or_is_too_little_has_no_direction():
    assert trends.slope([(1.0, 2.0, 0), (1.0, 3.0, 0)]) is None
    assert trends.slope([]) is None
    two = trends.slope([(1.0, 2.0, 0), (2.0, 3.0, 0)])
    assert (two.value, two.interval, two.direction) == (1.0, None, 0)
    constant = trends.slope([(0.1 * x, 0.1, x % 2) for x in range(9)])
    assert (constant.value, constant.direction) == (0.0, 0)
    assert trends.average([0.1]).direction == 0
    assert trends.average([math.nan]) is None
    assert trends.difference(two, None) is None
    assert claims.by_interval(two, 1) == "undecided"


def test_a_difference_can_be_decided_and_can_fail_to_be():
    noise = random.Random(0)
    line_of = lambda b: trends.slope([(x, b * x + noise.gauss(0, 0.1), 0) for x in range(9)])
    steep, flat, same = line_of(1.0), line_of(0.0), line_of(0.0)
    assert claims.by_interval(trends.difference(steep, flat), 1) == "agrees"
    assert claims.by_interval(trends.difference(flat, steep), 1) == "differs"
    assert claims.by_interval(trends.difference(flat, same), 1) == "undecided"


@pytest.mark.parametrize(
    ("freedom", "t"),  # tables of Student's t, p = .975
    [(1, 12.7062), (2, 4.3027), (3, 3.1824), (5, 2.5706), (11, 2.2010), (30, 2.0423)],
)
def test_quantiles_are_those_of_the_tables(freedom, t):
    assert trends.t_quantile(0.975, freedom) == pytest.approx(t, rel=2e-3)
    assert trends.t_quantile(0.975, freedom + 0.9) == trends.t_quantile(0.975, freedom)


# --- what curves come to --------------------------------------------------------------------------
numbers = st.one_of(st.none(), st.floats(1e-6, 10))
lines_of_metrics = st.lists(st.tuples(numbers, st.floats(0, 1)), min_size=1, max_size=12).map(
    lambda values: [line(10 * i, *value) for i, value in enumerate([(2.0, 0.0), *values])]
)


@given(lines_of_metrics, st.integers(0, 130), st.integers(0, 130))
def test_best_values_equal_brute_force_and_are_monotone_in_the_cutoff(lines, a, b):
    early, late = sorted((a, b))
    trial = record(lines)
    for key, better in (("val_loss", min), ("train_accuracy", max)):
        seen = [(r["step"], r[key]) for r in lines if r["step"] <= early and r[key] is not None]
        value, step = curves.best(until(trial, early), key)
        assert value == better(v for _, v in seen)
        assert step == next(s for s, v in seen if v == value)
        later, later_step = curves.best(until(trial, late), key)
        assert better(value, later) == later
        assert step <= later_step
        assert curves.best(until(trial, lines[-1]["step"]), key) == curves.best(trial, key)


@given(lines_of_metrics)
def test_worse_lines_at_the_end_change_nothing_and_none_never_wins(lines):
    before = seeds.numbers(record(lines))
    end = lines[-1]["step"]
    worse = [line(end + 10, 11.0, 0.0), line(end + 20, None, 0.0)]
    assert seeds.numbers(record([*lines, *worse])) == before
    assert before["dt(L)"] == before["t_f(L_val)"] - before["t_f(L_train)"]
    assert before["dt(A)"] == before["t_f(A_val)"] - before["t_f(A_train)"]


def test_a_curve_without_numbers_has_no_best_value():
    trial = record([line(0, None)])
    assert math.isnan(seeds.L_VAL.of(trial))
    assert seeds.L_VAL.over([trial]) is None
    assert seeds.numbers(trial)["t_f(L_val)"] is None


def test_roughness_tells_a_jumping_curve_from_a_smooth_one():
    smooth = [line(10 * i, 10.0**-i) for i in range(9)]  # one decade each time
    jumps = [line(10 * i, 10.0 ** -(i % 2 * 3)) for i in range(9)]  # three decades
    rough = [curves.roughness(record(each), "val_loss") for each in (smooth, jumps)]
    assert rough == pytest.approx([1, 3])


def test_average_counts_every_step_once():
    """The first hundred steps are evaluated one by one; they are no more than a hundred steps."""
    lines = [{"step": s, "x": 0.0} for s in range(101)] + [{"step": 200, "x": 1.0}]
    assert curves.average(record(lines), "x") == 0.5


def test_the_first_step_at_a_value_passes_over_missing_ones():
    values = ((0, None), (5, 0.8), (7, 0.9), (9, 0.2), (11, 1.0))
    trial = record([{"step": s, "x": x} for s, x in values])
    assert curves.first_step(trial, "x", 0.9) == 7
    assert curves.first_step(trial, "x", 0.91) == 11
    assert curves.first_step(trial, "x", 1.1) is None


# --- the numbers of the seeds' table --------------------------------------------------------------
def table(*rows):
    keys = ("step", "train_loss", "train_accuracy", "val_loss", "val_accuracy")
    return record([dict(zip(keys, row, strict=True)) for row in rows])


ONE = table(
    (0, 3.0, 0.1, 3.0, 0.0),
    (1, 2.0, 1.0, 4.0, 0.5),
    (2, 0.5, 1.0, 2.5, 0.5),
    (3, 0.5, 0.9, 2.0, 0.25),
)
TWO = table(
    (0, 3.0, 0.2, 3.0, 0.0),
    (1, 1.0, 0.8, 1.0, 0.25),
    (2, 1.5, 0.6, None, 0.75),
    (3, 0.25, 0.8, 1.0, 0.5),
)


def test_the_ten_numbers_of_a_trial_by_hand():
    assert seeds.numbers(ONE) == {
        "L_train": 0.5, "L_val": 2.0, "A_train": 1.0, "A_val": 0.5,
        "t_f(L_train)": 2, "t_f(L_val)": 3, "t_f(A_train)": 1, "t_f(A_val)": 1,
        "dt(L)": 1, "dt(A)": 0,
    }  # fmt: skip
    two = seeds.numbers(TWO)
    assert two["t_f(L_val)"] == 1  # the first of a tie; a loss that is no number never wins
    assert two["t_f(A_train)"] == 1
    assert (two["dt(L)"], two["dt(A)"]) == (-2, 1)


def test_a_cutoff_looks_at_earlier_steps_only():
    assert curves.best(until(ONE, 2), "val_loss") == (2.5, 2)
    assert curves.best(until(ONE, 1), "val_loss") == (3.0, 0)
    assert math.isnan(curves.best(until(ONE, -1), "val_loss")[0])


def test_mean_and_population_standard_deviation_over_seeds():
    over = lambda name: seeds.NAMED[name].over([ONE, TWO])
    assert over("L_train") == (0.375, 0.125)
    assert over("A_val") == (0.625, 0.125)
    assert over("dt(L)") == (-0.5, 1.5)
    assert curves.spread([2.0]) == (2.0, None)  # one value says nothing of others
    # the spread that seed 000 prints for its GPT: one trial perfect, one with one error in 481
    assert curves.spread([1.0, 480 / 481]) == pytest.approx((0.99896, 0.0010395), abs=5e-6)


# --- tests of claims ------------------------------------------------------------------------------
LOSS = Quantity("loss", lambda t: t.records[-1]["val_loss"])
IN_D = claims.Along("d", "per unit of d", lambda t: t.settings["d"])
A = Group("model", "lstm", "A", "k", "k")
B = Group("model", "gpt", "B", "k", "k")


def planted(slopes, widths=(4, 8, 12, 16), noise=0.01):
    """Trials of two groups and two seeds, whose loss grows with d by these slopes."""
    random_ = random.Random(0)
    return [
        record(
            [line(0, 100 + slope * d + seed + random_.gauss(0, noise))],
            f"{model}-{d}-{seed}", model=model, d=d, seed=seed,
        )
        for model, slope in zip(("lstm", "gpt"), slopes, strict=True)
        for d in widths
        for seed in (0, 1)
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("slopes", "verdict"), [((2, 1), "agrees"), ((1, 2), "differs"), ((1, 1), "undecided")]
)
def test_a_gap_of_slopes_is_decided_by_its_interval(slopes, verdict):
    steeper = claims.gap(claims.slope(LOSS, IN_D), A, B) > 0
    found = steeper(planted(slopes))
    assert found.verdict == verdict
    assert found.ours.startswith(f"slope of loss per unit of d: A +{slopes[0]}")
    assert ", A - B " in found.ours
    opposite = {"agrees": "differs", "differs": "agrees"}.get(verdict, verdict)
    assert (claims.gap(claims.slope(LOSS, IN_D), A, B) < 0)(planted(slopes)).verdict == opposite
    assert steeper(A.of(planted(slopes))) == claims.Finding("", "not run")
    assert steeper(planted(slopes, widths=(4,))) == claims.Finding("", "not run")


def test_a_gap_can_ask_for_pairs_at_certain_values():
    at = lambda *d: claims.gap(claims.slope(LOSS, IN_D), A, B, d=d) > 0
    trials = planted((2, 1))
    assert at(4, 16)(trials) == (claims.gap(claims.slope(LOSS, IN_D), A, B) > 0)(trials)
    assert at(4, 20)(trials) == claims.Finding("", "not run")
    lone = [t for t in trials if (t.settings["model"], t.settings["d"]) != ("gpt", 16)]
    assert at(4, 16)(lone) == claims.Finding("", "not run")


def test_a_trend_is_compared_with_any_number_and_of_several_groups_all_must_be_so():
    trials = planted((2, 1))
    slope = claims.slope(LOSS, IN_D)
    assert (claims.trend(slope, A) > 1.5)(trials).verdict == "agrees"
    assert (claims.trend(slope, A) < 1.5)(trials).verdict == "differs"
    assert (claims.trend(slope, A, B) > 0.5)(trials).verdict == "agrees"
    assert (claims.trend(slope, A, B) > 1.5)(trials).verdict == "differs"
    assert (claims.trend(slope, A, B) > 0.5)(A.of(trials)) == claims.Finding("", "not run")
    at_seed = claims.slope(LOSS, IN_D, seed=1)
    assert at_seed.of(A.of(trials)).n == 4


def test_pairs_have_the_same_seed_and_every_value_that_is_asked_for():
    trials = planted((2, 1))  # A - B: d
    more = claims.paired(LOSS, A, B, d=(8, 12)) > 0
    found = more(trials)
    assert found.verdict == "agrees"
    assert found.ours.startswith("loss, A - B, mean of 4 pairs: +9.99 ")
    assert (claims.paired(LOSS, A, B, d=(8, 12)) < 0)(trials).verdict == "differs"
    assert (claims.paired(LOSS, A, B, d=(8, 99)) > 0)(trials) == claims.Finding()
    alone = [t for t in trials if (t.settings["model"], t.settings["seed"]) != ("gpt", 1)]
    assert more(alone).ours.startswith("loss, A - B, mean of 2 pairs")


@pytest.mark.parametrize(
    ("held", "of", "verdict"),
    [(4, 4, "agrees"), (3, 4, "agrees"), (2, 4, "undecided"), (1, 4, "differs"),
     (0, 1, "differs"), (2, 3, "undecided"), (5, 7, "undecided"), (2, 7, "undecided"),
     (0, 0, "undecided")],
)  # fmt: skip
def test_three_quarters_of_the_trials_agree_or_a_quarter_differs(held, of, verdict):
    assert claims.by_share([True] * held + [False] * (of - held)) == verdict
    trials = [record([line(0, i < held)], f"t{i}") for i in range(of)]
    test = claims.share_of([A], "big", LOSS.of, bool, str, note="!")
    if trials:
        listed = "; ".join(f"t{i}: {i < held}" for i in range(of))
        assert test(trials) == claims.Finding(f"big: {listed}!", verdict)
    assert claims.by_share([], ran=False) == "not run"
    assert test([]) == claims.Finding("big: no trial!", "not run")


def test_a_share_is_decided_by_the_first_group_and_what_tells_nothing_does_not_count():
    trials = [
        *(record([line(0, i)], f"a{i}", model="lstm") for i in (1, 1, None)),
        *(record([line(0, i)], f"b{i}", model="gpt") for i in (0, 0)),
    ]
    test = claims.share_in([A, B], "so", lambda t: None if LOSS.of(t) is None else LOSS.of(t) > 0)
    assert test(trials) == claims.Finding("so: A: in 2 of 2 trials; B: in 0 of 2 trials", "agrees")
    assert test(B.of(trials)).verdict == "not run"


@pytest.mark.parametrize(
    ("least", "verdict"), [(0, "agrees"), (3, "undecided"), (4, "undecided"), (5, "differs")]
)
def test_something_holds_of_every_trial(least, verdict):
    trials = [
        record([line(0, loss)], f"t{i}", model=model, d=8)
        for i, (model, loss) in enumerate([("lstm", 2.0), ("lstm", 4.0), ("gpt", 3.5)])
    ]
    test = claims.every([A, B], LOSS, lambda loss: loss >= least, d=8)
    assert test(trials) == claims.Finding("A 2, 4; B 3.5", verdict)
    assert test(trials[:2]) == claims.Finding("A 2, 4", "not run")
    other = record([line(0, 0.0)], "other", model="gpt", d=16)
    assert test([*trials, other]) == test(trials)


@pytest.mark.parametrize(
    ("values", "verdict"),
    [((0.5, 0.5, 0.4), "agrees"), ((0.5, 0.6, 0.4), "undecided"), ((0.6, 0.7, 0.4), "differs"),
     ((0.5, 0.6, None), "differs")],
)  # fmt: skip
def test_values_by_seed_equal_what_is_expected(values, verdict):
    found = {A: {0: values[0], 42: values[1]}, B: {0: values[2]}}
    finding = claims.equals(lambda trials: found, {A: 0.5, B: 0.4})([])
    assert finding.verdict == verdict
    assert finding.ours.startswith(f"A {values[0]} (seed 0), {values[1]} (seed 42); B ")
    assert claims.equals(lambda trials: {}, {A: 0.5})([]) == claims.Finding()


def test_a_claim_of_several_things_is_false_if_one_is():
    assert claims.all_of(["agrees", "differs", "undecided"]) == "differs"
    assert claims.all_of(["agrees", "undecided"]) == "undecided"
    assert claims.all_of(["agrees", "not run", "differs"]) == "not run"
    assert claims.all_of(["agrees"]) == "agrees"
