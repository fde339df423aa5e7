"""Sweeps: what is refused, what is left behind, and that no death of a process changes a record."""

import json
import os
import signal
import socket
import sys
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass, replace

import numpy as np
import pytest
from programs import LIMIT

import minigrad as mg
from experiments.grokking.options import Options
from experiments.grokking.seeds import numbers
from experiments.results.results import Claim, Results, Table
from experiments.sweep import estimate, experiment, launch, on_ray, processes, progress
from experiments.sweep import folder as folders
from experiments.sweep.experiment import Experiment
from experiments.sweep.jobs import caught_signals, jobs_of
from experiments.sweep.launch import RESTARTS, TrialFailed
from experiments.train import loop, records
from experiments.train.replicas import run_replicas
from minigrad import device as devices


@dataclass(frozen=True)
class Decays(Options):
    """Trials that differ in their weight decay."""

    decays: tuple[float, ...] = (0.5, 1.0)
    """Weight decays."""

    @contextmanager
    def how(self):
        """With a checkpoint every tenth of a second, in each process."""
        loop.CHECKPOINT_SECONDS, before = 0.1, loop.CHECKPOINT_SECONDS
        try:
            with super().how():
                yield
        finally:
            loop.CHECKPOINT_SECONDS = before

    def trials(self):
        return {
            f"{model}-wd{wd}-seed{seed}": self.trial(
                model=model,
                seed=seed,
                weight_decay=wd,
                p=7,
                layers=1,
                d=16,
                eval_first=5,
                eval_period=5,
            )
            for seed in self.seeds
            for wd in self.decays
            for model in self.models
        }


def results(trials):
    rows = [[t.folder.name, str(t.records[-1]["step"])] for t in trials]
    return Results(
        tables=[Table("last", "Last steps", ["trial", "step"], rows, data={"n": len(rows)})],
        claims=[Claim("000, 9", "it <says>", "we | find", "undecided")],
    )


DECAYS = Experiment("decays", "Decays", Decays, results, numbers)
LONG = 900  # steps of programs that are killed; this file is the program
SMALL = ["--scale", "small", "--model", "gpt", "--seeds", "0", "--no-kernels"]


def command(args):
    return experiment.main(DECAYS, args, description="Decays.")


def main(*args):
    return command([str(a) for a in args])


def metrics(folder):
    """The metrics of every trial, by name, as bytes."""
    return {p.parent.name: p.read_bytes() for p in sorted(folder.glob("*/metrics.jsonl"))}


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory):
    """The folder of a sweep of which nothing was interrupted."""
    folder = tmp_path_factory.mktemp("unbroken")
    assert main(*SMALL, "--steps", "300", "--out", folder) == 0
    return folder


# --- what is left -------------------------------------------------------------------------------
def test_the_folder_of_a_sweep(unbroken):
    names = {p.name for p in unbroken.iterdir()}
    assert names == {
        "gpt-wd0.5-seed0", "gpt-wd1.0-seed0", "sweep.json", "trials.jsonl", "results.md",
        "results.json",
    }  # fmt: skip
    text = (unbroken / "results.md").read_text()
    assert "SMALL SCALE" in text
    assert "2 of 2 trials, run to the end: 300 steps each" in text
    assert "| gpt-wd1.0-seed0 | 300 |" in text
    assert records.read_json(unbroken / "results.json")["tables"] == {"last": {"n": 2}}


def test_trials_jsonl_has_settings_and_best_values(unbroken):
    rows = [json.loads(line) for line in (unbroken / "trials.jsonl").read_text().splitlines()]
    assert [r["weight_decay"] for r in rows] == [0.5, 1.0]
    for r in rows:
        lines = records.read_records(unbroken / r["name"] / "metrics.jsonl")
        assert r["L_val"] == min(line["val_loss"] for line in lines)
        assert r["finished"] is True


def test_a_trial_without_validation_is_a_line_too(unbroken):
    trial = records.read_trials(unbroken)[0]
    for line in trial.records:
        line |= {"val_loss": None, "val_accuracy": None}
    assert folders.row(trial, numbers(trial))["L_val"] is None


def test_duckdb_and_polars_read_the_records(unbroken):
    duckdb, polars = pytest.importorskip("duckdb"), pytest.importorskip("polars")
    count, best = duckdb.sql(
        f"select count(*), min(val_loss) from '{unbroken}/*/metrics.jsonl'"
    ).fetchall()[0]
    frame = polars.read_ndjson(unbroken / "trials.jsonl")
    assert count == sum(b.count(b"\n") for b in metrics(unbroken).values())
    assert frame["L_val"].min() == best


def test_finished_trials_are_skipped_and_more_can_be_added(unbroken, tmp_path, capsys):
    import shutil

    folder = tmp_path / "sweep"
    shutil.copytree(unbroken, folder)
    before = metrics(folder)
    extra = ["--decays", "0.5", "1.0", "2.0"]
    args = [*SMALL, "--steps", "300", "--out", folder, "--resume", *extra]
    assert main(*args) == 0
    assert "3 trials (2 finished) of 300 steps in all to go" in capsys.readouterr().err
    after = metrics(folder)
    assert len(after) == 3
    assert {name: after[name] for name in before} == before


def test_replicas_group_what_differs_in_seed_and_rates_alone(tmp_path):
    options = Decays(scale="small", replicas=True, seeds=(1, 2))
    jobs = jobs_of(options, tmp_path)
    assert [len(job) for job in jobs] == [4, 4]
    assert [{trial.model for trial, _ in job} for job in jobs] == [{"lstm"}, {"gpt"}]
    assert all(len(job) == 1 for job in jobs_of(Decays(scale="small"), tmp_path))


def test_the_protocol_says_what_was_not_run(unbroken):
    about = folders.read_sweep(unbroken)
    trials = records.read_trials(unbroken)
    begun = records.TrialRecord(trials[1].folder, trials[1].settings, trials[1].records[:3], {})
    text = folders.protocol(about | {"scale": "full"}, [begun])
    assert text == (
        f"0 of 2 trials, run to the end: 300 steps each. Begun: gpt-wd1.0-seed0 "
        f"({begun.records[-1]['step']:,} steps). Not run: gpt-wd0.5-seed0."
    )


def test_on_ray_the_gpu_is_that_of_the_node(tmp_path, capsys):
    """This machine, which starts the sweep, may have none, and cannot say how long it takes."""
    if devices.available():
        pytest.skip("this machine has a GPU")
    options = DECAYS.options(launcher="ray", gpus=0.5, out=tmp_path, scale="small")
    assert launch.device_of(options) == "cuda:0"
    jobs = jobs_of(options, tmp_path)
    assert launch.announced(DECAYS, options, jobs, "cuda:0") is None
    assert "on this machine" not in capsys.readouterr().err
    with pytest.raises(devices.DeviceError):
        launch.device_of(replace(options, launcher="here", gpus=0.0, device="cuda"))


# --- bad input ----------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["--seeds", "1", "1"], "different numbers"),
        (["--seeds", "-1"], "--seeds: expected 0 <= seed"),
        (["--steps", "0"], "--steps: expected at least 1"),
        (["--workers", "0"], "--workers: expected at least 1"),
        (["--gpus", "0.5"], "--address and --gpus are for --launcher ray"),
        (["--launcher", "ray", "--device", "cuda"], "on Ray expected cuda with --gpus"),
        (["--launcher", "ray", "--device", "cuda:1", "--gpus", "1"], "got cuda:1 and --gpus 1"),
        (["--launcher", "cloud"], "launcher"),
        (["--colour", "red"], "colour"),
        (["--device", "tpu"], "device"),
        (["--resume"], "nothing to resume"),
    ],
)
def test_bad_options_are_one_line(tmp_path, refused, args, words):
    assert words in refused(command, [*args, "--out", tmp_path / "new"])
    assert not (tmp_path / "new").exists()


def test_a_folder_that_cannot_be_written(tmp_path, refused):
    (tmp_path / "file").write_text("")
    assert "file" in refused(command, [*SMALL, "--out", tmp_path / "file" / "sweep"])


def test_a_folder_with_trials_needs_resume(unbroken, refused):
    assert "holds trials: go on with --resume" in refused(command, [*SMALL, "--out", unbroken])


def test_records_of_another_version_or_experiment(unbroken, tmp_path, refused):
    about = records.read_json(unbroken / "sweep.json")
    for change, words in (
        ({"version": 2}, "is of version 2; this program reads version 1"),
        ({"experiment": "other"}, "holds experiment other, not decays"),
        ({"scale": "full"}, "holds scale full, not small"),
    ):
        records.write_json(tmp_path / "sweep.json", about | change)
        assert words in refused(command, [*SMALL, "--out", tmp_path, "--resume"])
    records.write_json(tmp_path / "sweep.json", about)
    trial = tmp_path / "gpt-wd1.0-seed0"
    trial.mkdir()
    settings = records.read_json(unbroken / trial.name / "settings.json")
    records.write_json(trial / "settings.json", settings | {"version": 7})
    assert "settings.json: is of version 7" in refused(
        command, [*SMALL, "--out", tmp_path, "--resume"]
    )
    assert not (trial / "metrics.jsonl").exists()


def test_a_folder_is_written_by_one_process(tmp_path, monkeypatch):
    monkeypatch.setattr(records, "LOCK_SECONDS", 0.2)
    with records.locked(tmp_path), pytest.raises(BlockingIOError, match="another process"):  # noqa: SIM117
        with records.locked(tmp_path):
            pass
    with records.locked(tmp_path):
        pass


# --- what is shown ------------------------------------------------------------------------------
def test_the_overview_counts_and_foretells(tmp_path, monkeypatch):
    now = 1000.0
    monkeypatch.setattr(progress, "monotonic", lambda: now)
    folders = [tmp_path / name for name in "abc"]
    overview = progress.Overview([folders[:2], folders[2:]], [30.0, 10.0])
    assert overview.text() == "0 of 3 trials done, 0 running, 3 left"
    overview.mark(0, "running")
    for folder in folders[:2]:
        folder.mkdir()
        records.write_json(folder / "settings.json", {"steps": 100})
        records.append(folder / "metrics.jsonl", {"step": 50})
    now += 30.0
    assert overview.seconds_left() == pytest.approx(30.0 / 15.0 * 25.0)
    assert overview.text().startswith("0 of 3 trials done, 2 running, 1 left; ends about ")
    overview.mark(0, "done")
    assert overview.seconds_left() == pytest.approx(10.0)


def test_a_trial_is_estimated_anew_if_it_shall_have_more_steps(unbroken, monkeypatch):
    monkeypatch.setattr(estimate, "timed", lambda trial, device: estimate.Times(1.0, 0.0, 1))
    for steps, seconds in ((300, 0.0), (400, 400.0)):
        options = Decays(scale="small", model="gpt", seeds=(0,), steps=steps)
        jobs = jobs_of(options, unbroken)
        assert estimate.seconds_of(jobs, "cpu") == [seconds] * 2


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.2, "1 s"), (89, "89 s"), (91, "2 min"), (5300, "89 min"), (7199, "2 h 0 min")],
)
def test_a_duration_in_words(seconds, text):
    assert launch.duration(seconds) == text


def test_the_estimate_is_of_steps_and_evaluations(tmp_path, monkeypatch):
    monkeypatch.setattr(estimate, "timed", lambda trial, device: estimate.Times(2.0, 0.5, 1))
    options = Decays(scale="small", model="lstm", seeds=(0,), steps=20)
    jobs = jobs_of(options, tmp_path)
    # 20 steps; measured after steps 0 to 5, 10, 15 and 20
    assert estimate.seconds_of(jobs, "cpu") == [20 * 2.0 + 9 * 0.5] * 2


def test_a_step_is_timed(tmp_path):
    jobs = jobs_of(Decays(scale="small", model="gpt", seeds=(0,), steps=20), tmp_path)
    first, second = estimate.seconds_of(jobs, "cpu")
    assert first == second
    assert 0 < first < 60
    assert not any(tmp_path.iterdir())


# --- deaths -------------------------------------------------------------------------------------
@pytest.fixture
def start_sweep(start):
    """Starts this file as a program."""

    def start_sweep(folder, *args):
        steps = [] if "--steps" in args else ["--steps", LONG]
        return start(__file__, *SMALL, *steps, "--out", folder, *args)

    return start_sweep


def children(pid):
    import psutil

    found = psutil.Process(pid).children()
    return [c for c in found if any("spawn_main" in part for part in c.cmdline())]


def same_end(folder, reference):
    """The records and the last checkpoints are those of an unbroken run, bit for bit."""
    assert metrics(folder) == metrics(reference)
    for path in reference.glob("*/checkpoint.safetensors"):
        ours, theirs = mg.load(folder / path.parent.name / path.name), mg.load(path)
        assert ours.keys() == theirs.keys()
        for name, tensor in theirs.items():
            np.testing.assert_array_equal(ours[name].numpy(), tensor.numpy())


@pytest.fixture(scope="module")
def long_run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("long")
    assert main(*SMALL, "--steps", str(LONG), "--out", folder) == 0
    return folder


def test_a_killed_worker_starts_again(tmp_path, long_run, start_sweep):
    folder = tmp_path / "sweep"
    program = start_sweep(folder, "--launcher", "processes")
    trial = folder / "gpt-wd1.0-seed0"
    # there is a checkpoint, and lines beyond it
    program.wait_for(lambda: records.last_step(trial) > 300)
    for worker in children(program.pid):
        worker.send_signal(signal.SIGKILL)
    status, said = program.end()
    assert status == 0, said
    assert "was killed; starts again from its checkpoint (1 of 3)" in said
    assert len(records.read_json(trial / "environment.json", list)) == 2
    same_end(folder, long_run)


def test_workers_of_a_killed_program_end_and_it_goes_on(tmp_path, long_run, start_sweep):
    folder = tmp_path / "sweep"
    program = start_sweep(folder, "--launcher", "processes")
    program.wait_for(lambda: records.last_step(folder / "gpt-wd0.5-seed0") > 200)
    workers = children(program.pid)
    assert workers
    program.kill()
    again = start_sweep(folder, "--launcher", "processes", "--resume")  # beside the orphans
    status, said = again.end()
    assert status == 0, said
    assert not any(worker.is_running() for worker in workers)
    same_end(folder, long_run)


def test_a_worker_that_always_dies_is_given_up(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(processes, "work", die)
    options = Decays(scale="small", model="gpt", seeds=(0,), decays=(1.0,))
    jobs = jobs_of(options, tmp_path)
    with caught_signals() as signals, pytest.raises(TrialFailed):
        launch.run_all(jobs, signals, replace(options, launcher="processes", workers=1))
    assert capsys.readouterr().err.count("starts again") == RESTARTS


def die(*args):
    os.kill(os.getpid(), signal.SIGKILL)


def test_replicas_killed_while_they_save_go_on_bitwise(tmp_path, monkeypatch):
    """One of three trials then has a checkpoint that the others do not have."""
    options = Decays(scale="small", model="gpt", seeds=(0, 1, 2), decays=(1.0,), steps=60)
    trials = list(options.trials().values())
    whole, parts = ([tmp_path / kind / str(i) for i in range(3)] for kind in ("whole", "parts"))
    run_replicas(trials, whole)
    original = loop.save_checkpoint

    def crash(path, **given):
        if given["step"] == 40 and path.parent == parts[1]:
            raise KeyboardInterrupt
        original(path, **given)

    with monkeypatch.context() as patch:
        patch.setattr(loop, "CHECKPOINT_SECONDS", 0.0)
        patch.setattr(loop, "save_checkpoint", crash)
        with pytest.raises(KeyboardInterrupt):
            run_replicas(trials, parts)
    assert [records.read_status(folder)["step"] for folder in parts] == [40, 39, 39]
    run_replicas(trials, parts)
    same_end(tmp_path / "parts", tmp_path / "whole")


# --- Ray ----------------------------------------------------------------------------------------
def test_ray_is_asked_for_in_one_line(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(SystemExit) as stop:
        main(*SMALL, "--out", tmp_path / "sweep", "--launcher", "ray")
    assert stop.value.code == 2
    assert 'pip install "minigrad[ray]"' in capsys.readouterr().err


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("127.0.0.1:1", "no Ray cluster answers"),
        ("host:", "expected auto or HOST:PORT"),
        ("127.0.0.1:99999", "no Ray cluster answers"),
    ],
)
def test_a_cluster_that_is_not_there(tmp_path, refused, address, said):
    pytest.importorskip("ray", reason="Ray is not installed")
    folder = tmp_path / "sweep"
    assert said in refused(command, ["--launcher", "ray", "--address", address, "--out", folder])
    assert not folder.exists()


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "is no Ray cluster"),
        (b"", "is no Ray cluster"),  # and hangs up
        (None, "no Ray cluster answers: timed out"),
    ],
)
def test_something_else_listens_there(tmp_path, refused, monkeypatch, answer, said):
    pytest.importorskip("ray", reason="Ray is not installed")
    monkeypatch.setattr(on_ray, "CONNECT_SECONDS", 0.5)
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(10)

        def serve():
            connection, _ = server.accept()
            with connection:
                connection.recv(100)
                if answer is None:
                    time.sleep(1)
                else:
                    connection.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        address = f"127.0.0.1:{server.getsockname()[1]}"
        args = ["--launcher", "ray", "--address", address, "--out", tmp_path / "sweep"]
        assert said in refused(command, args)
        thread.join()


@pytest.fixture
def cluster():
    """A cluster without nodes; those that a test adds end with it."""
    pytest.importorskip("ray", reason="Ray is not installed")
    from ray.cluster_utils import Cluster

    cluster = Cluster()
    yield cluster
    cluster.shutdown()


def test_a_dying_node_changes_nothing(tmp_path, long_run, start_sweep, cluster):
    names = ("gpt-wd0.5-seed0", "gpt-wd1.0-seed0")
    folder = tmp_path / "sweep"
    _, one, _ = (cluster.add_node(num_cpus=n, wait=False) for n in (0, 1, 1))  # the head runs none
    cluster.wait_for_nodes(LIMIT)
    longer = ["--steps", 2 * LONG, "--launcher", "ray", "--address", cluster.address]
    program = start_sweep(folder, *longer)
    program.wait_for(lambda: all(records.last_step(folder / n) > 300 for n in names))
    cluster.remove_node(one, allow_graceful=False)
    status, said = program.end()
    assert status == 0, said
    sessions = [len(records.read_json(folder / n / "environment.json", list)) for n in names]
    assert sorted(sessions) == [1, 2]  # one went on elsewhere, from its checkpoint
    ours = metrics(folder)
    for name, expected in metrics(long_run).items():
        assert ours[name].startswith(expected)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
