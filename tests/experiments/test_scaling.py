"""The sweeps over data size, model size and compute, and how their claims are decided.

Records are written by hand: for each trial what its curves come down to is known.
"""

import json
import math
import random
import re
from functools import partial

import pytest
from by_hand import learnt, line, write

from experiments.grokking import compute, data_size, model_size
from experiments.grokking.seeds import L_VAL, best_table
from experiments.grokking.task import Grokking
from experiments.results.results import write_results
from experiments.sweep.experiment import main
from experiments.train import records

EXPERIMENTS = {  # module, flags of a tiny run, how many trials these are
    "data_size": (data_size, ["--fractions", ".3", ".6"], 4),
    "model_size": (model_size, ["--model", "gpt", "--layers", "1", "--d", "8", "16"], 2),
    "compute": (compute, ["--model", "lstm", "--batch-sizes", "16", "512"], 2),
}


def claims_of(module, folder, monkeypatch):
    """Its claims, by source and by how they start; figures would take long."""
    monkeypatch.setattr(module, "drawings", lambda *_: [])
    claims = module.results(records.read_trials(folder)).claims

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
def test_trials_differ_only_in_what_the_experiment_varies(module, n, first, steps):
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
    table = best_table(records.read_trials(tmp_path), {"r_train": "r"})
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


def test_claims_of_data_size_follow_the_records(tmp_path, monkeypatch):
    write_data_size(tmp_path, planted_fractions((0.4, 0.4), (0.3, 0.3)))
    of = claims_of(data_size, tmp_path, monkeypatch)
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


def test_seeds_that_contradict_each_other_do_not_decide(tmp_path, monkeypatch):
    write_data_size(tmp_path, planted_fractions((0.4, 0.3), (0.4, 0.3)))
    of = claims_of(data_size, tmp_path, monkeypatch)
    assert of("000, 4.3 (d)", "The largest r").verdict == "undecided"
    assert of("001, 4.3 (d)", "The largest r that overfits is").verdict == "undecided"
    assert of("001, 4.3 (d)", "The largest r that overfits GPT").verdict == "agrees"


def test_a_missing_fraction_and_an_unfinished_trial_are_not_run(tmp_path, monkeypatch):
    at = planted_fractions((0.4, 0.4), (0.3, 0.3))
    del at["gpt"][0.4]
    write_data_size(tmp_path, at)
    write(tmp_path / "begun", learnt(1e-3, 1.0), finished=False, model="gpt", seed=0, r_train=0.4)
    of = claims_of(data_size, tmp_path, monkeypatch)
    assert of("001, 4.3 (d)", "The largest r that overfits is").verdict == "not run"
    assert of("001, 4.3 (c)", "A_val: GPT").verdict == "not run"
    assert of("000, 4.3 (c)", "L_val: for r = .7").verdict == "differs"
    table = best_table(records.read_trials(tmp_path), {"r_train": "r"})
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


def test_the_model_that_scales_better_is_found_and_its_slopes(tmp_path, monkeypatch):
    noise = random.Random(0)
    slopes = {"lstm": 0.1, "gpt": -0.5}  # of log10 L_val per doubling of d

    def loss(model, n, d, seed):
        return 10 ** (
            -2 + slopes[model] * math.log2(d / 64) + noise.gauss(0, 0.01) + 0.3 * (seed > 0)
        )

    write_sizes(tmp_path, loss)
    of = claims_of(model_size, tmp_path, monkeypatch)
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


def test_claims_of_model_size_turn_when_the_models_are_exchanged(tmp_path, monkeypatch):
    noise = random.Random(1)
    slopes = {"gpt": 0.1, "lstm": -0.5}
    write_sizes(
        tmp_path,
        lambda model, n, d, seed: 10 ** (slopes[model] * math.log2(d / 64) + noise.gauss(0, 0.01)),
    )
    of = claims_of(model_size, tmp_path, monkeypatch)
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


def test_cutoffs_and_claims_of_compute(tmp_path, monkeypatch):
    noise = random.Random(3)
    slopes = {"lstm": 0.02, "gpt": 0.1}
    write_batches(
        tmp_path,
        lambda model, size, seed: (
            10 ** (-2 + slopes[model] * math.log2(size / 32) + noise.gauss(0, 0.002))
        ),
    )
    trials = records.read_trials(tmp_path)
    of = claims_of(compute, tmp_path, monkeypatch)
    table = compute.cutoff_table(trials, L_VAL)
    (row,) = [r for r in table.data["rows"] if (r["model"], r["batch_size"]) == ("lstm", 32)]
    at = {alpha: row[f"α = {alpha:g}"]["mean"] for alpha in compute.ALPHAS}
    assert at[0.1] == 1000 / 2000  # α T = 2,000.1
    assert at[0.5] == 1000 / 8000
    assert at[0.6] == 1000 / 12_000  # α T = 12,000.6
    assert at[0.9] == 1000 / 16_000
    assert at[1.0] == pytest.approx(0.01, rel=0.02)  # 20,008 counts
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
            compute.cut(trials[0], alpha)
