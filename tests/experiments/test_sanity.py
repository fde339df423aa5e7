"""The training loop, the trial folder, the table, the figures and the command."""

import json
import math
import re
import signal
from dataclasses import replace

import numpy as np
import pytest
from by_hand import write_trial
from toy import StopAt

import minigrad as mg
from experiments.grokking import objective, sanity, seeds, task
from experiments.grokking.task import Grokking
from experiments.results.trials import finished
from experiments.sweep import folder as folders
from experiments.sweep import launch
from experiments.sweep.experiment import main
from experiments.train import loop, records
from experiments.train.loop import Interrupted, run
from experiments.train.task import shuffled

SMALL = {
    "p": 7,
    "d": 16,
    "layers": 2,
    "batch_size": 5,
    "steps": 14,
    "eval_first": 4,
    "eval_period": 3,
}
MODELS = ["lstm", "gpt"]


def command(args):
    """`python -m experiments.sanity` with these arguments."""
    return main(sanity.EXPERIMENT, args, description=sanity.__doc__)


def tensors(folder):
    """The checkpoint's parameters and optimizer slots, as bytes by name."""
    found = mg.load(folder / "checkpoint.safetensors")
    return {name: t.numpy().tobytes() for name, t in found.items()}


# --- the schedule -------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("steps", "n", "batch", "total"),
    [
        (10_001, 480, 512, 10_001), (10_001, 480, 480, 10_001), (10_001, 577, 512, 10_002),
        (20_001, 480, 32, 20_010), (20_001, 480, 64, 20_008), (20_001, 480, 128, 20_004),
        (20_001, 480, 256, 20_002),
    ],
)  # fmt: skip
def test_steps_are_rounded_up_to_whole_epochs(steps, n, batch, total, tmp_path):
    data = task.data_of(Grokking(r_train=0.5 if n == 480 else 0.6))
    assert len(data[0]) == n
    trial = Grokking(r_train=0.5 if n == 480 else 0.6, batch_size=batch, steps=steps, d=8, layers=1)
    assert loop.Session(trial, tmp_path / "new", "cpu").total == total


def test_every_step_is_measured_up_to_100_and_then_every_hundredth():
    steps = [n for n in range(10_001) if Grokking().due(n, 1)]
    assert steps == [*range(101), *range(200, 10_001, 100)]  # and the last


def test_every_epoch_shows_every_row_once_in_a_new_order():
    epochs = [shuffled(12, 5, seed=3, epoch=epoch) for epoch in range(4)]
    orders = [np.concatenate(batches).tolist() for batches in epochs]
    assert [[len(b) for b in batches] for batches in epochs] == [[5, 5, 2]] * 4
    assert all(sorted(order) == list(range(12)) for order in orders)
    assert len({tuple(order) for order in orders}) == 4
    assert not np.array_equal(shuffled(12, 5, seed=4, epoch=0)[0], epochs[0][0])


# --- a trial ------------------------------------------------------------------------------------
@pytest.mark.parametrize("model", MODELS)
def test_a_small_trial_learns(model, tmp_path):
    trial = Grokking(model=model, p=5, d=16, steps=200, eval_first=0, lr=1e-2, weight_decay=0.0)
    run(trial, tmp_path)
    lines = records.read_records(tmp_path / "metrics.jsonl")
    assert [r["step"] for r in lines] == [0, 100, 200]
    assert lines[0]["train_accuracy"] < 0.5
    assert lines[-1]["train_accuracy"] == 1.0
    assert lines[-1]["train_loss"] < 0.1 < lines[0]["train_loss"]


@pytest.mark.parametrize("model", MODELS)
def test_the_last_line_is_what_the_checkpoint_measures(model, tmp_path):
    trial = Grokking(model=model, **SMALL)
    run(trial, tmp_path)
    last = records.read_records(tmp_path / "metrics.jsonl")[-1]
    loaded, net, words = task.load_model(tmp_path)
    assert loaded == trial
    train, val = (objective.batch_of(part, share_prefixes=True) for part in task.data_of(trial))
    assert {"step": 15} | task.measure(net, train, val) == last
    squares = sum(
        (p.numpy().astype(float) ** 2).sum() for p in map(mg.Tensor.detach, net.parameters())
    )
    # a sum of 10⁴ float64 numbers
    assert last["norm"] == pytest.approx(math.sqrt(squares), rel=1e4 * 2.3e-16)
    assert len(words) == 12


@pytest.mark.parametrize("dropout", [0.0, 0.1])  # with 0.0 batches are trees of prefixes
@pytest.mark.parametrize("model", MODELS)
def test_resume_is_bitwise_in_a_new_process(model, dropout, tmp_path, start):
    """15 steps at once, or 7, a new process and 8 more; stopped inside an epoch."""
    trial = Grokking(model=model, dropout=dropout, **SMALL)
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    run(trial, whole)
    with pytest.raises(Interrupted, match="step 7 of 15"):
        run(trial, parts, watcher=StopAt(7))
    assert records.read_json(parts / "status.json")["step"] == 7
    code = (
        "import sys; from pathlib import Path\n"
        "from experiments.grokking.task import Grokking\n"
        "from experiments.train.loop import run\n"
        f"run({trial!r}, Path(sys.argv[1]))\n"
    )
    status, said = start("-c", code, parts).end()
    assert status == 0, said
    assert tensors(whole) == tensors(parts)
    assert len(tensors(whole)) > 3 * 8  # parameters and two slots of each
    lines = [(folder / "metrics.jsonl").read_bytes() for folder in (whole, parts)]
    assert lines[0] == lines[1]
    assert [r["step"] for r in records.read_records(whole / "metrics.jsonl")] == [
        0, 1, 2, 3, 4, 6, 9, 12, 15,
    ]  # fmt: skip
    sessions = records.read_json(parts / "environment.json", list)
    assert [s["from_step"] for s in sessions] == [0, 7]


def test_more_steps_continue_a_finished_trial(tmp_path):
    short = Grokking(**{**SMALL, "steps": 5})
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    run(short, parts)
    assert [r["step"] for r in records.read_records(parts / "metrics.jsonl")] == [0, 1, 2, 3, 4, 5]
    run(Grokking(**SMALL), parts)
    run(Grokking(**SMALL), whole)
    assert tensors(whole) == tensors(parts)
    assert (whole / "metrics.jsonl").read_bytes() == (parts / "metrics.jsonl").read_bytes()


def test_a_finished_trial_is_not_run_again(tmp_path):
    trial = Grokking(**SMALL)
    run(trial, tmp_path)
    before = {path.name: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    run(trial, tmp_path)
    del before["settings.json"]
    assert before == {n: (tmp_path / n).stat().st_mtime_ns for n in before}


def test_lines_after_the_checkpoint_and_a_torn_one_are_dropped(tmp_path):
    trial, whole, parts = Grokking(**SMALL), tmp_path / "whole", tmp_path / "parts"
    run(trial, whole)
    with pytest.raises(Interrupted):
        run(trial, parts, watcher=StopAt(4))
    with open(parts / "metrics.jsonl", "a") as file:
        *_, last = records.read_records(whole / "metrics.jsonl")
        file.write(records.line(last | {"step": 6}) + '{"step": 9, "tra')
    run(trial, parts)
    assert (whole / "metrics.jsonl").read_bytes() == (parts / "metrics.jsonl").read_bytes()


def test_a_diverged_trial_ends_and_writes_no_nan(tmp_path):
    with np.errstate(all="ignore"):
        run(Grokking(**{**SMALL, "lr": 1e30, "optimizer": "sgd", "clip": 1e30}), tmp_path)
    status = records.read_json(tmp_path / "status.json")
    assert status["diverged"]
    assert status["finished"]
    lines = records.read_records(tmp_path / "metrics.jsonl")
    assert lines[-1]["norm"] is None
    assert "NaN" not in (tmp_path / "metrics.jsonl").read_text()


def test_a_folder_of_another_trial_is_refused(tmp_path):
    run(Grokking(**SMALL), tmp_path)
    for other in ({"lr": 2e-3}, {"seed": 1}, {"orders": (3,)}, {"steps": 2}):
        with pytest.raises(ValueError, match=next(iter(other))):
            run(replace(Grokking(**SMALL), **other), tmp_path)


@pytest.mark.parametrize("optimizer", ["adamw", "adam", "sgd", "momentum"])
def test_every_optimizer_trains(optimizer, tmp_path):
    trial = Grokking(**{**SMALL, "steps": 6}, optimizer=optimizer, weight_decay=0.1)
    run(trial, tmp_path)
    first, *_, last = records.read_records(tmp_path / "metrics.jsonl")
    assert last["train_loss"] < first["train_loss"]


def test_a_trial_trains_on_sums_of_two_and_of_three(tmp_path):
    trial = Grokking(model="gpt", d=8, p=3, orders=(2, 3), split_each_order=True, steps=2)
    run(trial, tmp_path)
    assert len(records.read_records(tmp_path / "metrics.jsonl")) == 3


def test_environment_tells_what_a_number_depends_on(tmp_path):
    found = records.environment("cpu")
    json.dumps(found, allow_nan=False)
    assert found["numpy"] == np.__version__
    assert found["device"] == "cpu"
    assert found["cores"] >= 1
    assert found["commit"] is None or re.fullmatch(r"[0-9a-f]{40}\+?", found["commit"])


# --- the table ----------------------------------------------------------------------------------
def fake_trial(folder, model, seed, rows, finished=True):
    keys = ("step", "train_loss", "train_accuracy", "val_loss", "val_accuracy")
    settings = Grokking(model=model, seed=seed, steps=rows[-1][0]).settings()
    lines = [dict(zip(keys, row, strict=True)) for row in rows]
    write_trial(folder, settings, lines, finished=finished)


def fake_experiment(folder, last=10_001):
    """LSTM: both losses best at the end; GPT: fits the training set early."""
    for seed in (0, 42):
        slow = [(0, 3.0, 0.0, 3.0, 0.0), (300, 0.5, 1.0, 2.0, 0.5), (last, 1e-4, 1.0, 1e-3, 1.0)]
        fast = [(0, 3.0, 0.0, 3.0, 0.0), (100, 0.5, 1.0, 2.0, 0.5), (400, 2e-4, 1.0, 5e-3, 0.9)]
        fake_trial(folder / f"lstm-seed{seed}", "lstm", seed, slow)
        end = (last, 0.1 + seed, 0.9, 4e-3, 1.0 if seed else 0.95)
        fake_trial(folder / f"gpt-seed{seed}", "gpt", seed, [*fast, end])


def test_the_table_is_that_of_the_trials_by_hand(tmp_path):
    fake_experiment(tmp_path)
    found = sanity.results(records.read_trials(tmp_path))
    data = found.tables[0].data
    assert data["comparable"]
    assert data["seeds"] == {"lstm": [0, 42], "gpt": [0, 42]}
    rows = data["rows"]
    assert rows["L_train"]["lstm"]["ours"] == {"mean": 1e-4, "std": 0.0}
    assert rows["A_val"]["gpt"]["ours"] == pytest.approx({"mean": 0.975, "std": 0.025}, abs=1e-15)
    assert rows["t_f(A_train)"]["gpt"]["ours"] == {"mean": 100, "std": 0}
    assert rows["dt(L)"]["gpt"]["ours"] == {"mean": 9601, "std": 0}
    assert rows["t_f(L_train)"]["gpt"]["000"] == {"mean": 8400, "std": 800}
    assert rows["t_f(L_train)"]["gpt"]["001"] == {"mean": 10001, "std": None}
    assert rows["t_f(A_train)"]["better"] == {"ours": "GPT", "000": "GPT", "001": "LSTM"}
    assert rows["A_train"]["better"] == {"ours": "=", "000": "=", "001": "="}
    text = found.tables[0].markdown()
    lines = {line.split(" | ")[0].strip("| "): line for line in text.splitlines()}
    assert lines["A_val ↑"] == (
        "| A_val ↑ | **1.0000 ± 0.0000** | 1.0000 ± 0.0000 | 0.9979 ± 0.0021 "
        "| 0.9750 ± 0.0250 | 0.9990 ± 0.0010 | 1.0000 ± 0.0000 | LSTM / LSTM / GPT |"
    )
    assert "Not the seeds'" not in text
    assert [(c.source[:3], c.verdict) for c in found.claims] == [
        ("000", "agrees"), ("001", "differs"),
    ]  # fmt: skip
    assert "as 000 in 3 of 3 rows" in found.claims[0].ours
    assert "as 001 in 0 of 3 rows" in found.claims[1].ours
    assert "LSTM 300 ± 0, GPT 100 ± 0" in found.claims[0].ours


def test_a_short_run_says_so_and_draws_no_conclusion(tmp_path):
    fake_experiment(tmp_path, last=500)
    found = sanity.results(records.read_trials(tmp_path))
    assert "Not the seeds' settings or steps" in found.tables[0].note
    assert [claim.verdict for claim in found.claims] == ["undecided"] * 2
    assert not found.tables[0].data["comparable"]


def test_with_one_model_the_claims_were_not_run(tmp_path):
    fake_experiment(tmp_path)
    trials = [t for t in records.read_trials(tmp_path) if t.settings["model"] == "gpt"]
    assert [claim.verdict for claim in sanity.results(trials).claims] == ["not run"] * 2
    assert {row[-1] for row in sanity.table(trials).rows} == {
        "- / LSTM / GPT", "- / GPT / LSTM", "- / GPT / GPT", "- / = / =",
    }  # fmt: skip


def test_trials_that_have_not_ended_count_for_nothing(tmp_path):
    fake_experiment(tmp_path)
    before = sanity.table(finished(records.read_trials(tmp_path)))
    fake_trial(tmp_path / "begun", "gpt", 7, [(1, 0.0, 1.0, 0.0, 1.0)], finished=False)
    found = sanity.results(records.read_trials(tmp_path))
    assert found.tables[0].rows == before.rows
    assert found.tables[0].data["seeds"]["gpt"] == [0, 42]


def test_trials_with_other_settings_decide_no_claim(tmp_path):
    fake_experiment(tmp_path)
    path = tmp_path / "gpt-seed0" / "settings.json"
    records.write_json(path, records.read_json(path) | {"d": 64})
    found = sanity.results(records.read_trials(tmp_path))
    assert not found.tables[0].data["comparable"]
    assert [claim.verdict for claim in found.claims] == ["undecided"] * 2


def test_published_differences_are_those_of_the_published_steps():
    """Differences that the documents print must be those of the steps that they print."""
    for printed in (c for source in seeds.SANITY.values() for c in source.values()):
        column = {quantity.name: value for quantity, value in printed.items()}
        for quantity in "LA":
            t = [column[f"t_f({quantity}_{part})"].mean for part in ("val", "train")]
            assert column[f"dt({quantity})"].mean == t[0] - t[1]


def test_a_folder_without_trials_is_refused(tmp_path):
    folders.prepare(sanity.EXPERIMENT, sanity.Options(), tmp_path)
    with pytest.raises(FileNotFoundError, match="no trial"):
        folders.report(sanity.EXPERIMENT, tmp_path)


# --- the command ----------------------------------------------------------------------------------
def test_the_whole_pipeline(tmp_path, capsys):
    out = tmp_path / "new" / "folder"
    args = ["--device", "cpu", "--steps", "2", "--workers", "1", "--out", str(out)]
    assert command(args) == 0
    names = {path.name for path in out.iterdir()}
    assert names == {
        "sweep.json", "lstm-seed0", "lstm-seed42", "gpt-seed0", "gpt-seed42", "sanity.png",
        "sanity.pdf", "trials.jsonl", "results.md", "results.json",
    }  # fmt: skip
    for folder in out.glob("*-seed*"):
        assert {path.name for path in folder.iterdir()} == {
            "settings.json", "metrics.jsonl", "times.jsonl", "checkpoint.safetensors",
            "environment.json", "status.json", ".lock",
        }  # fmt: skip
        assert len((folder / "metrics.jsonl").read_text().splitlines()) == 3
    assert all((out / name).read_bytes()[:4] == b"\x89PNG" for name in names if name[-3:] == "png")
    assert b"CreationDate" not in (out / "sanity.pdf").read_bytes()
    printed = capsys.readouterr()
    assert str(out / "results.md") in printed.out
    assert "lstm-seed0: step 2 of 2" in printed.err  # plain lines where there is no terminal

    # again: nothing is trained, and the same records give the same files
    files = ["results.md", "results.json", "trials.jsonl", "sanity.png", "sanity.pdf"]
    before = [(out / name).read_bytes() for name in files]
    assert command([*args, "--resume"]) == 0
    assert [(out / name).read_bytes() for name in files] == before
    assert ": step" not in capsys.readouterr().err

    with pytest.raises(SystemExit) as stop:  # without --resume nothing is overwritten
        command(args)
    assert stop.value.code == 2
    assert "--resume" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["--stpes", "3"], "--stpes"),
        (["--steps", "x"], "--steps"),
        (["--steps", "0"], "--steps: expected at least 1"),
        (["--steps", "1.5"], "--steps"),
        (["--workers", "0"], "--workers"),
        (["--seeds"], "--seeds"),
        (["--seeds", "1", "1"], "--seeds"),
        (["--seeds", "-1"], "--seeds"),
        (["--model", "rnn"], "rnn"),
        (["--device", "tpu"], "--device: expected auto, cpu, cuda or cuda:N, got 'tpu'"),
        (["--device", "cuda:"], "got 'cuda:'"),
        (["--device", "cuda:-1"], "got 'cuda:-1'"),
        (["--device", "cuda:x"], "got 'cuda:x'"),
        (["stray"], "stray"),
        (["--resume"], "nothing to resume"),
    ],
)
def test_mistakes_are_one_line_and_status_2(args, said, tmp_path, refused):
    assert said in refused(command, [*args, "--out", tmp_path / "run"])


@pytest.mark.parametrize("device", ["cuda", "cuda:1"])
def test_a_gpu_that_is_not_there_is_one_line_and_status_2(device, tmp_path, refused, monkeypatch):
    if mg.device.available():
        monkeypatch.setattr("minigrad.device.gpu_count", lambda: 0)
    refused(command, ["--device", device, "--out", str(tmp_path / "run")])
    assert not (tmp_path / "run").exists()


def test_a_gpu_by_its_number(tmp_path, monkeypatch):
    """Its name is handed on to the trials."""
    ran = []
    monkeypatch.setattr("minigrad.device.gpu_count", lambda: 2)
    monkeypatch.setattr(launch, "run_all", lambda *args, **how: ran.append(how["device"]))
    monkeypatch.setattr(launch, "announced", lambda *args: [])
    monkeypatch.setattr(folders, "report", lambda *args: [])
    for device in ("cuda", "cuda:1"):
        out = str(tmp_path / device.replace(":", ""))
        assert command(["--device", device, "--out", out, "--no-kernels"]) == 0
    assert ran == ["cuda:0", "cuda:1"]


def test_a_folder_that_cannot_be_written_is_one_line_and_status_2(tmp_path, refused):
    (tmp_path / "file").write_text("")
    refused(command, ["--out", str(tmp_path / "file" / "run")])


def test_resuming_with_other_settings_is_one_line_and_status_2(tmp_path, refused):
    run(Grokking(**SMALL), tmp_path / "lstm-seed0")
    listed = {"version": 1, "experiment": "sanity", "scale": "full", "trials": {}}
    records.write_json(tmp_path / "sweep.json", listed)
    refused(command, ["--resume", "--out", str(tmp_path)])


def test_help_explains_every_option(capsys):
    with pytest.raises(SystemExit) as stop:
        command(["--help"])
    assert stop.value.code == 0
    text = capsys.readouterr().out
    for option in (
        "device",
        "steps",
        "seeds",
        "model",
        "scale",
        "launcher",
        "resume",
        "out",
        "workers",
        "replicas",
        "share-prefixes",
    ):
        assert f"--{option}" in text


@pytest.mark.parametrize(
    ("count", "how"),
    [
        (1, ["--workers", "1"]),
        (2, ["--launcher", "processes"]),
        (2, ["--replicas", "--workers", "1"]),
    ],
    ids=str,
)
def test_ctrl_c_saves_and_exits_with_130(count, how, tmp_path, start):
    args = ["-m", "experiments.sanity", "--model", "gpt", *how]
    program = start(*args, "--steps", 5000, "--out", tmp_path / "run")
    folders = [tmp_path / "run" / f"gpt-seed{seed}" for seed in (0, 42)[:count]]
    program.wait_for(lambda: all(lines(folder) > 2 for folder in folders))
    program.send(signal.SIGINT)
    status, err = program.end()
    assert status == 130, err
    assert "--resume" in err
    assert "Traceback" not in err
    for folder in folders:
        status = records.read_json(folder / "status.json")
        assert not status["finished"]
        # the checkpoint is of the step after which it stopped, and every line up to it is there
        assert lines(folder) == status["step"] + 1
        task.load_model(folder)


def lines(folder):
    path = folder / "metrics.jsonl"
    return path.read_text().count("\n") if path.exists() else 0
