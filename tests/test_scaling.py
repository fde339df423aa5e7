"""The sweeps over data size, model size and compute, and how their claims are decided.

Records are written by hand: for each trial what its curves come down to is known.
"""

import json
import math
import random
import re
from functools import partial

import pytest
from by_hand import write_trial
from hypothesis import given
from hypothesis import strategies as st

from experiments.grokking import compute, data_size, model_size
from experiments.grokking.task import Grokking
from experiments.results import groups, metrics, panels, trends
from experiments.results.results import write_results
from experiments.results.tables import best_table
from experiments.sweep.experiment import main
from experiments.train import records

EXPERIMENTS = {  # module, flags of a tiny run, how many trials these are
    "data_size": (data_size, ["--fractions", ".3", ".6"], 4),
    "model_size": (model_size, ["--model", "gpt", "--layers", "1", "--d", "8", "16"], 2),
    "compute": (compute, ["--model", "lstm", "--batch-sizes", "16", "512"], 2),
}


def line(step, loss=2.0, accuracy=0.1, **others):
    """A line of metrics, the same for both sets."""
    same = {f"{part}_{k}": v for part in ("train", "val") for k, v in
            (("loss", loss), ("accuracy", accuracy))}  # fmt: skip
    return {"step": step, **same, "norm": 1.0, **others}


def write(folder, lines, *, finished=True, **settings):
    """A trial with the seeds' settings, but for these."""
    trial = Grokking(**settings)
    write_trial(folder, trial.settings(), lines, steps=trial.steps, finished=finished)


def learnt(val_loss, val_accuracy, end=10_001):
    """Curves that fit the training set and end with these values."""
    last = {"train_loss": 1e-4, "train_accuracy": 1.0, "val_loss": val_loss,
            "val_accuracy": val_accuracy}  # fmt: skip
    return [line(0), line(end // 2), line(end - 1), line(end, **last)]


def claims_of(module, folder, *varied, steps=10_001):
    """Its claims, by source and by how they start; they need no figures."""
    claims = module.claims(groups.comparable(records.read_trials(folder), *varied, steps=steps))

    def claim(source, start):
        (found,) = [c for c in claims if c.source == source and c.said.startswith(start)]
        return found

    return claim


# --- through the command -----------------------------------------------------------------------
@pytest.mark.parametrize("name", EXPERIMENTS)
def test_an_experiment_runs_at_tiny_scale(name, tmp_path, capsys):
    module, flags, n = EXPERIMENTS[name]
    out = tmp_path / "out"
    args = ["--scale", "small", "--steps", "2", "--seeds", "0", "--device", "cpu", *flags]
    assert main(module.EXPERIMENT, [*args, "--out", str(out)], description="") == 0
    listed = json.loads((out / "sweep.json").read_text())["trials"]
    assert {p.parent.name for p in out.glob("*/status.json")} == set(listed)
    assert len(listed) == n
    shown = re.findall(r"\((\w+)\.png\)", (out / "results.md").read_text())
    drawn = {p.name for p in out.iterdir() if p.suffix in (".png", ".pdf")}
    assert drawn == {f"{each}.{kind}" for each in shown for kind in ("png", "pdf")}
    assert len(shown) >= 2
    claims = json.loads((out / "results.json").read_text())["claims"]
    assert {claim["verdict"] for claim in claims} == {"not run"}  # two steps say nothing
    capsys.readouterr()


def test_the_same_records_give_the_same_files(tmp_path):
    for seed in (0, 42):
        write(tmp_path / f"trial-{seed}", learnt(0.1, 0.9), seed=seed, r_train=0.4)
    made = []
    for name in ("a", "b"):
        results = data_size.results(records.read_trials(tmp_path))
        (tmp_path / name).mkdir()
        paths = write_results(results, tmp_path / name, title="", protocol="")
        made.append({path.name: path.read_bytes() for path in paths})
    assert made[0] == made[1]
    assert {"curves_lstm.png", "best.pdf", "results.md", "results.json"} <= set(made[0])


@pytest.mark.parametrize(
    ("name", "flags", "message"),
    [
        ("data_size", ["--fractions", "1"], "0 < r < 1"),
        ("data_size", ["--fractions", "0"], "0 < r < 1"),
        ("data_size", ["--fractions", "-.5"], "0 < r < 1"),
        ("data_size", ["--fractions", ".0001"], "sums left on both sides"),
        ("data_size", ["--fractions", ".5", ".5"], "different numbers"),
        ("model_size", ["--d", "30"], "multiple of 4 heads, got 30"),
        (
            "model_size",
            ["--d", "0"],
            "--d: expected one or more different numbers of at least 1, got 0",
        ),
        (
            "model_size",
            ["--layers", "2", "2"],
            "--layers: expected one or more different numbers of at least 1, got 2, 2",
        ),
        (
            "compute",
            ["--batch-sizes", "0"],
            "--batch-sizes: expected one or more different numbers of at least 1, got 0",
        ),
        ("compute", ["--batch-sizes", "8", "x"], "x"),
    ],
)
def test_a_mistake_is_one_line_and_writes_nothing(name, flags, message, tmp_path, refused):
    out = tmp_path / "out"
    command = partial(main, EXPERIMENTS[name][0].EXPERIMENT, description="")
    assert message in refused(command, [*flags, "--out", out])
    assert not out.exists()


@pytest.mark.parametrize(
    ("module", "n", "first", "steps"),
    [
        (data_size, 36, "lstm-r0.5-seed0", 10_001),
        (model_size, 36, "lstm-l1-d64-seed0", 10_001),
        (compute, 20, "lstm-b32-seed0", 20_001),
    ],
)
def test_trials_are_those_of_the_seeds(module, n, first, steps):
    trials = module.EXPERIMENT.options().trials()
    names = list(trials)
    assert (len(names), names[0], names[1]) == (n, first, first.replace("lstm", "gpt"))
    assert [name.endswith("seed0") for name in names] == [True] * (n // 2) + [False] * (n // 2)
    usual = Grokking().settings()
    for trial in trials.values():
        varied = {k for k, v in trial.settings().items() if v != usual[k]}
        assert varied <= {"model", "seed", "steps", "r_train", "layers", "d", "batch_size"}
        assert trial.steps == steps


# --- tables and claims from hand-written records --------------------------------------------------
def write_data_size(folder, at, seeds=(0, 42)):
    """at: model -> r -> (L_val, A_val) of each seed."""
    for model, of_model in at.items():
        for r, values in of_model.items():
            for seed, value in zip(seeds, values, strict=True):
                name = f"{model}-r{r:g}-seed{seed}"
                write(folder / name, learnt(*value), model=model, seed=seed, r_train=r)


def test_the_table_of_data_size_is_what_is_computed_by_hand(tmp_path):
    write_data_size(tmp_path, {"lstm": {0.5: [(0.01, 0.9), (0.03, 1.0)]}})
    table = best_table("best", records.read_trials(tmp_path), {"r_train": "r"})
    (row,) = table.rows
    assert row[:3] == ["LSTM", "0.5", "0, 42"]
    cells = dict(zip(table.columns, row, strict=True))
    assert cells["L_val ↓"] == "0.02 ± 0.01"  # (.01 + .03) / 2, half their distance
    assert cells["A_val ↑"] == "0.9500 ± 0.0500"
    assert cells["t_f(A_val) ↓"] == "10,001 ± 0"
    assert table.data["rows"][0]["L_val"] == pytest.approx({"mean": 0.02, "std": 0.01})


def planted_fractions(lstm_fails, gpt_fails):
    """Accuracy .2 up to the r that fails, .95 after it; LSTM has ten times the loss of GPT."""
    return {
        model: {
            r: [
                (factor * (1.1 - r) * wobble, 0.2 if r <= fails + 0.01 else 0.95)
                for wobble, fails in zip((1.0, 1.1), last, strict=True)
            ]
            for r in data_size.FRACTIONS
        }
        for model, factor, last in (("lstm", 1.0, lstm_fails), ("gpt", 0.1, gpt_fails))
    }


def test_claims_of_data_size_follow_the_records(tmp_path):
    write_data_size(tmp_path, planted_fractions((0.4, 0.4), (0.3, 0.3)))
    of = claims_of(data_size, tmp_path, "r_train")
    claim = lambda source, start: of(source, start).verdict
    assert claim("000, 4.3 (c)", "L_val: for r = .7") == "differs"  # GPT is, by a factor of ten
    assert claim("000, 4.3 (c)", "L_val: LSTM and GPT are close") == "differs"
    assert claim("000, 4.3 (c)", "At r = .5") == "differs"  # .95 is not perfect
    assert claim("000, 4.3 (d)", "The smallest r") == "differs"  # GPT at .4
    assert claim("001, 4.3 (d)", "The largest r that overfits is") == "agrees"
    assert claim("000, 4.3 (d)", "The largest r") == "differs"
    assert claim("001, 4.3 (d)", "These two r") == "agrees"
    assert (
        claim("001, 4.3 (d)", "The largest r that overfits GPT") == "differs"
    )  # both seeds tell models apart
    table = data_size.thresholds_table(records.read_trials(tmp_path))
    assert [row[3] for row in table.rows] == [
        "0.5",
        "0.5",
        "0.4",
        "0.4",
        "0.4",
        "0.4",
        "0.3",
        "0.3",
    ]


def test_seeds_that_contradict_each_other_do_not_decide(tmp_path):
    write_data_size(tmp_path, planted_fractions((0.4, 0.3), (0.4, 0.3)))
    of = claims_of(data_size, tmp_path, "r_train")
    assert of("000, 4.3 (d)", "The largest r").verdict == "undecided"
    assert of("001, 4.3 (d)", "The largest r that overfits is").verdict == "undecided"
    assert of("001, 4.3 (d)", "The largest r that overfits GPT").verdict == "agrees"


def test_a_missing_fraction_and_an_unfinished_trial_are_not_run(tmp_path):
    at = planted_fractions((0.4, 0.4), (0.3, 0.3))
    del at["gpt"][0.4]
    write_data_size(tmp_path, at)
    write(tmp_path / "begun", learnt(1e-3, 1.0), finished=False, model="gpt", seed=0, r_train=0.4)
    of = claims_of(data_size, tmp_path, "r_train")
    assert of("001, 4.3 (d)", "The largest r that overfits is").verdict == "not run"
    assert of("001, 4.3 (c)", "A_val: GPT").verdict == "not run"
    assert of("000, 4.3 (c)", "L_val: for r = .7").verdict == "differs"
    table = best_table("best", records.read_trials(tmp_path), {"r_train": "r"})
    rows = [(row[0], row[1]) for row in table.rows]
    assert ("GPT", "0.4") not in rows


def write_sizes(folder, loss, seeds=(0, 42), accuracy=lambda model, n, d: 0.99):
    for model in ("lstm", "gpt"):
        for n in model_size.LAYERS:
            for d in model_size.WIDTHS:
                for seed in seeds:
                    lines = learnt(loss(model, n, d, seed), accuracy(model, n, d))
                    name = f"{model}-l{n}-d{d}-seed{seed}"
                    write(folder / name, lines, model=model, seed=seed, layers=n, d=d)


def test_the_model_that_scales_better_is_found_and_its_slopes(tmp_path):
    noise = random.Random(0)
    slopes = {"lstm": 0.1, "gpt": -0.5}  # of log10 L_val per doubling of d

    def loss(model, n, d, seed):
        return 10 ** (
            -2 + slopes[model] * math.log2(d / 64) + noise.gauss(0, 0.01) + 0.3 * (seed > 0)
        )

    write_sizes(tmp_path, loss)
    of = claims_of(model_size, tmp_path, "layers", "d")
    rows = {
        (r["number"], r["in"]): r
        for r in model_size.scaling_table(records.read_trials(tmp_path)).data["rows"]
    }
    of_d = rows["log10 L_val", "d, L fixed"]
    assert of_d["better"] == "GPT"
    for model, slope in slopes.items():
        low, high = of_d[model]["interval"]
        assert low < slope < high
        assert high - low < 0.05
    assert rows["log10 L_val", "L, d fixed"]["better"] == "undecided"
    assert rows["A_val", "P"]["better"] == "undecided"
    assert of("001, 4.5 (c)", "GPT scales better with P").verdict == "agrees"
    assert of("001, 4.5 (c)", "L fixed: L_val of LSTM rises").verdict == "agrees"
    assert of("000, 4.5 (c)", "L_val, L fixed: LSTM").verdict == "differs"
    assert of("000, 4.5 (c)", "L_val of LSTM: d = 256").verdict == "differs"
    assert of("001, 4.2", "The columns").verdict == "differs"
    assert of("001, 4.5 (c)", "A_val of LSTM stays high").verdict == "agrees"
    parameters = {
        (t.settings["model"], t.settings["layers"], t.settings["d"]): model_size.parameters(t)
        for t in records.read_trials(tmp_path)
    }
    assert parameters["lstm", 2, 128] == 267_812
    assert parameters["gpt", 3, 256] == 2_374_692


def test_claims_of_model_size_turn_when_the_models_are_exchanged(tmp_path):
    noise = random.Random(1)
    slopes = {"gpt": 0.1, "lstm": -0.5}
    write_sizes(
        tmp_path,
        lambda model, n, d, seed: 10 ** (slopes[model] * math.log2(d / 64) + noise.gauss(0, 0.01)),
    )
    of = claims_of(model_size, tmp_path, "layers", "d")
    assert of("001, 4.5 (c)", "GPT scales better with P").verdict == "differs"
    assert of("000, 4.5 (c)", "L_val of LSTM: d = 256").verdict == "agrees"
    assert of("001, 4.2", "The columns").verdict == "agrees"


def test_losses_without_a_trend_decide_nothing(tmp_path):
    noise = random.Random(2)
    write_sizes(tmp_path, lambda *_: 10 ** noise.gauss(-2, 0.3))
    table = model_size.scaling_table(records.read_trials(tmp_path))
    assert {row["better"] for row in table.data["rows"]} == {"undecided"}


def write_batches(folder, loss):
    """L_val is 1000 / step, and loss(model, B, seed) at the end."""
    for model in ("lstm", "gpt"):
        for size in compute.BATCH_SIZES:
            for seed in (0, 42):
                steps = (1000, 2000, 4000, 8000, 12_000, 16_000)
                lines = [line(0), *(line(step, 1000 / step) for step in steps)]
                lines.append(line(20_008, loss(model, size, seed), 0.9))
                name = f"{model}-b{size}-seed{seed}"
                write(folder / name, lines, model=model, seed=seed, batch_size=size, steps=20_001)


def test_cutoffs_and_claims_of_compute(tmp_path):
    noise = random.Random(3)
    slopes = {"lstm": 0.02, "gpt": 0.1}
    write_batches(
        tmp_path,
        lambda model, size, seed: (
            10 ** (-2 + slopes[model] * math.log2(size / 32) + noise.gauss(0, 0.002))
        ),
    )
    trials = records.read_trials(tmp_path)
    of = claims_of(compute, tmp_path, "batch_size", steps=20_001)
    under = {
        (r["model"], r["batch_size"], r["alpha"]): r["L_val"]
        for r in compute.cutoff_table(trials, "L_val").data["rows"]
    }
    assert under["lstm", 32, 0.1]["mean"] == 1000 / 2000  # α T = 2,000.1
    assert under["lstm", 32, 0.5]["mean"] == 1000 / 8000
    assert under["lstm", 32, 0.6]["mean"] == 1000 / 12_000  # α T = 12,000.6
    assert under["lstm", 32, 0.9]["mean"] == 1000 / 16_000
    assert under["lstm", 32, 1.0]["mean"] == pytest.approx(0.01, rel=0.02)  # 20,008 counts
    assert of("000, 4.6 (c)", "With larger B L_val").verdict == "agrees"
    assert of("000, 4.6 (c)", "With larger B A_val").verdict == "undecided"
    assert of("001, 4.6 (c)", "L_val of GPT is more").verdict == "agrees"
    assert of("000, 4.6 (c)", "With larger α").verdict == "agrees"
    samples = of("000, 4.6 (c)", "B = 512")
    assert samples.verdict == "agrees"
    assert "largest batch 480" in samples.ours
    assert compute.real_batch(next(t for t in trials if t.settings["batch_size"] == 512)) == 480
    for alpha in (0, -0.1, 1.1, math.nan):
        with pytest.raises(ValueError, match="fraction in"):
            compute.cutoff(alpha, trials[0])


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
        panels.lines_of_models(panels.finished(trials), "r_train"), setting, title=""
    )
    train, val = drawn.axes[0].lines
    assert list(val.get_xdata()) == [0.3, 0.7]
    assert val.get_ydata()[0] == 0.75  # of .5 and 1
    assert math.isnan(val.get_ydata()[1])
    assert (train.is_dashed(), val.is_dashed()) == (True, False)


def test_lines_go_from_the_least_value_to_the_greatest(tmp_path):
    for d in (32, 16, 64):
        write(tmp_path / str(d), learnt(1 / d, 0.9), d=d)
    by_d = groups.grouped(records.read_trials(tmp_path), "d")
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
    assert trends.verdict(None, 1) == "not run"
    assert trends.verdict(two, 1) == "undecided"


def test_a_difference_can_be_decided_and_can_fail_to_be():
    noise = random.Random(0)
    line_of = lambda b: trends.slope([(x, b * x + noise.gauss(0, 0.1), 0) for x in range(9)])
    steep, flat, same = line_of(1.0), line_of(0.0), line_of(0.0)
    assert trends.verdict(trends.difference(steep, flat), 1) == "agrees"
    assert trends.verdict(trends.difference(flat, steep), 1) == "differs"
    assert trends.verdict(trends.difference(flat, same), 1) == "undecided"


@pytest.mark.parametrize(
    ("freedom", "t"),  # tables of Student's t, p = .975
    [(1, 12.7062), (2, 4.3027), (3, 3.1824), (5, 2.5706), (11, 2.2010), (30, 2.0423)],
)
def test_quantiles_are_those_of_the_tables(freedom, t):
    assert trends.t_quantile(0.975, freedom) == pytest.approx(t, rel=2e-3)
    assert trends.t_quantile(0.975, freedom + 0.9) == trends.t_quantile(0.975, freedom)


# --- properties of best values and cut-offs -------------------------------------------------------
numbers = st.one_of(st.none(), st.floats(1e-6, 10))
curves = st.lists(st.tuples(numbers, st.floats(0, 1)), min_size=1, max_size=12).map(
    lambda values: [line(10 * i, *value) for i, value in enumerate([(2.0, 0.0), *values])]
)


@given(curves, st.integers(0, 130), st.integers(0, 130))
def test_best_values_equal_brute_force_and_are_monotone_in_the_cutoff(lines, a, b):
    early, late = sorted((a, b))
    for key, better in (("val_loss", min), ("train_accuracy", max)):
        seen = [(r["step"], r[key]) for r in lines if r["step"] <= early and r[key] is not None]
        value, step = metrics.best(lines, key, early)
        assert value == better(v for _, v in seen)
        assert step == next(s for s, v in seen if v == value)
        later, later_step = metrics.best(lines, key, late)
        assert better(value, later) == later
        assert step <= later_step
        assert metrics.best(lines, key, lines[-1]["step"]) == metrics.best(lines, key)


@given(curves)
def test_worse_lines_at_the_end_change_nothing_and_none_never_wins(lines):
    before = metrics.summarize(lines)
    end = lines[-1]["step"]
    worse = [line(end + 10, 11.0, 0.0), line(end + 20, None, 0.0)]
    assert metrics.summarize([*lines, *worse]) == before
    assert before["dt(L)"] == before["t_f(L_val)"] - before["t_f(L_train)"]
    assert before["dt(A)"] == before["t_f(A_val)"] - before["t_f(A_train)"]
    trial = records.TrialRecord(None, {"steps": end}, lines, {})
    assert {name: groups.number(trial, name) for name in metrics.NAMES} == before
    assert {n: groups.number(trial, n, compute.cutoff(1, trial)) for n in metrics.NAMES} == before


def test_a_curve_without_numbers_has_no_best_value():
    with pytest.raises(ValueError, match="no evaluated step"):
        metrics.best([line(0, None)], "val_loss")
    trial = records.TrialRecord(None, {}, [line(0, None)], {})
    assert math.isnan(groups.number(trial, "L_val"))
    assert groups.over_seeds([trial], "L_val") is None


def test_roughness_tells_a_jumping_curve_from_a_smooth_one():
    smooth = [line(10 * i, 10.0**-i) for i in range(9)]  # one decade each time
    jumps = [line(10 * i, 10.0 ** -(i % 2 * 3)) for i in range(9)]  # three decades
    rough = [
        groups.roughness(records.TrialRecord(None, {}, c, {}), "val_loss") for c in (smooth, jumps)
    ]
    assert rough == pytest.approx([1, 3])
