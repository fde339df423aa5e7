"""A toy experiment through everything: launchers, deaths, records, results; no word of others.

MINIGRAD_KILLS says at how many random moments programs are killed, each (4).
"""

import json
import os
import shutil
import signal
import time
from functools import partial
from multiprocessing import get_context

import numpy as np
import pytest
import toy
from toy import EXPERIMENT, REPORT, Level, Line, Options, left

from experiments.report import command as report_command
from experiments.sweep import launch
from experiments.sweep.experiment import main
from experiments.sweep.jobs import Pool, jobs_of, prerequisites
from experiments.train import loop, records
from experiments.train.loop import run

KILLS = int(os.environ.get("MINIGRAD_KILLS", "4"))
TRIALS = [f"{kind}-{slope}-seed0" for kind in ("line", "level") for slope in (1, 3)]
ARGS = ["--seeds", "0", "--no-kernels", "--device", "cpu"]


def command(args):
    return main(EXPERIMENT, [str(arg) for arg in args], description=toy.__doc__)


@pytest.fixture
def start_toy(start):
    """Starts the experiment as a program."""
    return partial(start, toy.__file__, *ARGS)


def same(folder, whole):
    for name in TRIALS:
        assert left(folder / name) == left(whole / name), name


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The folder of the experiment, of which nothing was interrupted."""
    folder = tmp_path_factory.mktemp("whole")
    assert command([*ARGS, "--out", folder]) == 0
    return folder


# --- what is left ---------------------------------------------------------------------------------
def test_results_are_made_of_the_records(whole):
    text = (whole / "results.md").read_text()
    assert "4 of 4 trials, run to the end: 96 steps each." in text
    assert "| level-3-seed0 |" in text
    (claim,) = records.read_json(whole / "results.json")["claims"]
    assert claim["verdict"] in ("agrees", "differs")
    assert (whole / "losses.png").read_bytes()[:4] == b"\x89PNG"
    rows = [json.loads(line) for line in (whole / "trials.jsonl").read_text().splitlines()]
    for row in rows:
        last = records.read_records(whole / row["name"] / "metrics.jsonl")[-1]
        assert row["val_loss"] == last["val_loss"]
        assert row["slope"] in (1.0, 3.0)
        assert row["step"] == 96
        assert row["finished"]


def test_duckdb_reads_the_records(whole):
    duckdb = pytest.importorskip("duckdb")
    least = duckdb.sql(f"select min(val_loss) from '{whole}/*/metrics.jsonl'").fetchall()[0][0]
    found = duckdb.sql(
        f"select max(seconds), max(peak_bytes) from '{whole}/*/times.jsonl'"
    ).fetchall()[0]
    every = [r for name in TRIALS for r in records.read_records(whole / name / "metrics.jsonl")]
    assert least == min(r["val_loss"] for r in every)
    assert 0 < found[0] < 60
    assert found[1] > 2e7
    names = duckdb.sql(f"select name from '{whole}/trials.jsonl' where slope = 3").fetchall()
    assert sorted(names) == [("level-3-seed0",), ("line-3-seed0",)]


def test_the_same_again_makes_the_same_files(whole):
    before = {path: path.read_bytes() for path in whole.glob("*.*")}
    assert command([*ARGS, "--out", whole, "--resume"]) == 0
    assert {path: path.read_bytes() for path in whole.glob("*.*")} == before


def test_a_report_shows_it(whole, tmp_path, capsys):
    pytest.importorskip("fpdf")
    pytest.importorskip("plotly")
    pytest.importorskip("jinja2")
    shutil.copytree(whole, tmp_path / "line")
    assert report_command.main(REPORT, ["--read", str(tmp_path)], description="") == 0
    page = (tmp_path / "report.html").read_text()
    assert "Lines are learnt" in page
    assert "lstm" not in page.lower().split("<script")[0]
    assert (tmp_path / "report.pdf").read_bytes()[:5] == b"%PDF-"


def test_progress_shows_what_the_trial_names(tmp_path, capsys, monkeypatch):
    assert command([*ARGS, "--slopes", "3", "--steps", "3", "--out", tmp_path / "all"]) == 0
    assert "line-3-seed0: step 3 of 3, loss " in (said := capsys.readouterr().err)
    assert ", val_loss " in said
    monkeypatch.setattr(Line, "shown", ("weight",))
    assert command([*ARGS, "--slopes", "3", "--steps", "3", "--out", tmp_path / "one"]) == 0
    assert "line-3-seed0: step 3 of 3, weight " in (said := capsys.readouterr().err)
    assert "val_loss" not in said


# --- launchers ------------------------------------------------------------------------------------
def test_processes_leave_the_same(whole, tmp_path):
    """Also with a process for each, two of which must wait for the others to end."""
    how = ["--launcher", "processes", "--workers", "4"]
    assert command([*ARGS, "--out", tmp_path / "out", *how]) == 0
    same(tmp_path / "out", whole)


def test_ray_leaves_the_same(whole, tmp_path, start_toy):
    pytest.importorskip("ray", reason="Ray is not installed")
    status, said = start_toy("--out", tmp_path / "out", "--launcher", "ray").end()
    assert status == 0, said
    same(tmp_path / "out", whole)


def test_what_cannot_be_stacked_runs_one_by_one(whole, tmp_path):
    assert command([*ARGS, "--out", tmp_path / "out", "--replicas"]) == 0
    same(tmp_path / "out", whole)


def test_a_second_stage_waits_for_its_first(tmp_path):
    jobs = jobs_of(Options(seeds=(0,)), tmp_path)
    assert [job[0][1].name for job in jobs] == TRIALS
    assert prerequisites(jobs) == [set(), set(), {0}, {1}]


def test_a_second_stage_needs_a_first(tmp_path, refused, monkeypatch):
    monkeypatch.setattr(Level, "after", lambda self: "nothing")
    said = refused(command, [*ARGS, "--out", tmp_path / "out"])
    assert "level-1-seed0: comes after nothing, which is no earlier trial" in said


# --- deaths ---------------------------------------------------------------------------------------
LONG = 1000  # steps, with a checkpoint every few of them


def test_ctrl_c_saves_and_the_rest_comes_later(tmp_path, start_toy):
    folder = tmp_path / "out"
    program = start_toy("--out", folder, "--steps", 200_000)
    program.wait_for(lambda: records.last_step(folder / TRIALS[0]) >= 200)
    program.send(signal.SIGINT)
    status, said = program.end()
    assert status == 130, said
    assert said.splitlines()[-1].endswith("stopped and saved; go on with --resume")
    status = records.read_status(folder / TRIALS[0])
    assert not status["finished"]
    last = records.last_step(folder / TRIALS[0])
    assert status["step"] - 3 < last <= status["step"]  # a record every third step
    run(Line(slope=1.0, steps=status["step"]), tmp_path / "again")
    ours, theirs = (left(each)[1] for each in (folder / TRIALS[0], tmp_path / "again"))
    if status["step"] % 3 == 0:
        assert ours == theirs


def in_a_process(trial, folder):
    """What is killed: started by fork, which costs no imports."""
    with toy.Options(kernels=False).how():
        run(trial, folder)


def killed_at(trial, folder, seconds):
    """Start a trial, kill it after so long, and say whether it was still at work."""
    process = get_context("fork").Process(target=in_a_process, args=(trial, folder))
    process.start()
    process.join(seconds)
    alive = process.is_alive()
    process.kill()
    process.join()
    assert alive or process.exitcode == 0
    return alive


@pytest.mark.parametrize("kind", [Line, Level])
def test_a_trial_that_is_killed_again_and_again_ends_as_one_that_is_not(kind, tmp_path):
    trial = kind(steps=LONG)
    run(Line(steps=30), tmp_path / "line-3-seed0")
    begun = time.perf_counter()
    in_a_process(trial, tmp_path / "whole")
    needs = time.perf_counter() - begun
    rng = np.random.default_rng(7)
    for i in range(KILLS):
        folder = tmp_path / f"part{i}"
        killed = killed_at(trial, folder, rng.uniform(0, needs))
        killed += killed_at(trial, folder, rng.uniform(0, needs))  # and while it goes on
        in_a_process(trial, folder)
        assert left(folder) == left(tmp_path / "whole"), (i, killed)


def test_a_sweep_that_is_killed_goes_on_with_its_orphans(tmp_path, start_toy):
    """The whole group, or the program, whose workers then save and end."""
    args = ["--launcher", "processes", "--steps", LONG]
    assert command([*ARGS, "--out", tmp_path / "whole", "--steps", LONG]) == 0
    rng = np.random.default_rng(8)
    for i in range(max(1, KILLS // 2)):
        folder = tmp_path / f"part{i}"
        program = start_toy("--out", folder, *args)
        time.sleep(rng.uniform(2, 8))
        if i % 2:
            program.kill()
        else:
            program.kill_all()
        resume = ["--resume"] if (folder / "sweep.json").exists() else []
        status, said = start_toy("--out", folder, *args, *resume).end()
        assert status == 0, said
        same(folder, tmp_path / "whole")


# --- bad input ------------------------------------------------------------------------------------
def test_a_task_with_a_mistake_is_one_line_and_nothing_is_written(tmp_path, monkeypatch, refused):
    monkeypatch.setattr(
        toy.LineTask, "loss", lambda self, rows: (self.model(self.x[rows]), (1.0, 1))
    )
    said = refused(command, [*ARGS, "--out", tmp_path / "out"])
    assert said.endswith("error: LineTask.loss: expected a loss of shape (), got (16, 1)\n")
    assert not list(tmp_path.iterdir())


def test_a_full_disk_is_one_line_with_a_file(tmp_path, monkeypatch, capsys):
    folder = tmp_path / "out"
    original = loop.save_checkpoint

    def full(path, **given):
        if given["step"] >= 96:
            raise OSError(28, "No space left on device")
        original(path, **given)

    with monkeypatch.context() as patch:
        patch.setattr(loop, "save_checkpoint", full)
        with pytest.raises(SystemExit) as stop:
            command([*ARGS, "--out", folder])
    assert stop.value.code == 1
    said = capsys.readouterr().err.splitlines()[-1]
    assert said.endswith(f"No space left on device: '{folder}/line-1-seed0/checkpoint.safetensors'")
    assert command([*ARGS, "--out", folder, "--resume"]) == 0


def test_an_unknown_kind_of_file_is_no_folder(tmp_path, refused):
    (tmp_path / "file").write_text("")
    said = refused(command, [*ARGS, "--out", tmp_path / "file"])
    assert f"{tmp_path / 'file'} is no folder" in said


def test_jobs_run_where_the_options_say(tmp_path, monkeypatch):
    seen = []

    class Seen(Pool):
        def start(self, i):
            seen.append((self.options.launcher, i))
            super().start(i)

        def ended(self):
            return [(self.running.pop(i), 0) for i in [*self.running]]

    for name in ("processes", "ray"):
        monkeypatch.setitem(launch.POOLS, name, Seen)
    for launcher in ("processes", "ray", "here"):
        options = Options(seeds=(0,), slopes=(1.0,), steps=3, launcher=launcher, kernels=False)
        launch.run_all(jobs_of(options, tmp_path), Quiet(), options)
    assert seen == [("processes", 0), ("processes", 1), ("ray", 0), ("ray", 1)]
    assert records.read_status(tmp_path / "level-1-seed0")["finished"]


class Quiet:
    def stopping(self):
        return False
