"""One trial of any kind: that the loop does what one would write by hand, and what it refuses."""

import json
import math
from dataclasses import dataclass, replace
from inspect import isfunction

import numpy as np
import pytest
import toy
from toy import Level, Line, LineTask, StopAt, left

import minigrad as mg
from experiments.train import loop, records
from experiments.train.loop import Interrupted, run
from experiments.train.task import Task, shuffled
from experiments.train.trial import Trial, waited
from minigrad import nn, optim
from minigrad.files import CheckpointError


def lines(folder):
    return records.read_records(folder / "metrics.jsonl")


# --- as one would write it by hand ----------------------------------------------------------------
@dataclass(frozen=True)
class Scheduled(Line):
    """Warm-up by step, then halved every two epochs; measured every four steps."""

    optimizer: str = "momentum"
    clip: float = 0.5

    def rate(self, step, per_epoch):
        warm = min(1.0, (step + 1) / 5)
        return self.lr * warm * 0.5 ** (step // per_epoch // 2)

    def due(self, step, per_epoch):
        return step % 4 == 0


def test_the_loop_is_the_one_that_is_written_by_hand(tmp_path):
    """Weights, losses and sums, bit for bit."""
    trial = Scheduled(steps=20)
    run(trial, tmp_path)
    mg.random.seed(trial.seed)
    task = trial.task("cpu")
    optimizer = optim.SGD(task.model.parameters(), lr=1.0, momentum=0.9)
    total, count, wanted = 0.0, 0, []
    for epoch in range(7):
        for rows in shuffled(48, 16, trial.seed, epoch):
            step = len(wanted)
            optimizer.lr = 0.05 * min(1.0, (step + 1) / 5) * 0.5 ** (epoch // 2)
            optimizer.zero_grad()
            errors = mg.square(task.model(task.x[rows]) - task.y[rows])
            errors.mean().backward()
            optim.clip_grad_norm(task.model.parameters(), 0.5)
            optimizer.step()
            total, count = total + float(errors.sum().item()), count + 16
            wanted.append((total / count, task.measure()["val_loss"]))
            if (step + 1) % 4 == 0:
                total = count = 0
    found = [(r["loss"], r["val_loss"]) for r in lines(tmp_path)]
    assert [r["step"] for r in lines(tmp_path)] == [0, 4, 8, 12, 16, 20, 21]
    assert found[1:] == [wanted[n - 1] for n in (4, 8, 12, 16, 20, 21)]
    assert found[0][0] is None
    saved = mg.load(tmp_path / records.CHECKPOINT)
    for name, value in task.model.state_dict().items():
        assert saved[f"model.{name}"].numpy().tobytes() == value.tobytes()


def test_times_are_of_training_and_stand_beside_the_metrics(tmp_path):
    run(Line(), tmp_path)
    times = records.read_records(tmp_path / "times.jsonl")
    assert [t["step"] for t in times] == [r["step"] for r in lines(tmp_path)]
    seconds = [t["seconds"] for t in times]
    assert seconds == sorted(seconds)
    assert 0 < seconds[-1] <= records.read_status(tmp_path)["seconds"] + 1e-3
    assert all(2e7 < t["peak_bytes"] < 1e12 for t in times)
    assert set(times[0]) == {"step", "seconds", "peak_bytes"}
    assert "seconds" not in lines(tmp_path)[0]


def test_measuring_is_no_training(tmp_path, monkeypatch):
    monkeypatch.setattr(loop, "measured", slow(loop.measured))
    run(Line(steps=6), tmp_path)  # three records
    assert records.read_status(tmp_path)["seconds"] < 0.2


def slow(function):
    import time

    def wrapped(*args):
        time.sleep(0.2)
        return function(*args)

    return wrapped


# --- interrupted ----------------------------------------------------------------------------------
@pytest.mark.parametrize("at", [1, 5, 6, 95])
def test_sums_and_all_else_survive_an_interruption(at, tmp_path, start):
    """At step 5 two batches of the third epoch are added up and not yet recorded."""
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    run(Line(), whole)
    with pytest.raises(Interrupted, match=f"step {at} of 96"):
        run(Line(), parts, watcher=StopAt(at))
    code = (
        "import sys; from pathlib import Path\n"
        "from toy import Line; from experiments.train.loop import run\n"
        "run(Line(), Path(sys.argv[1]))\n"
    )
    status, said = start("-c", code, parts).end()
    assert status == 0, said
    assert left(whole) == left(parts)
    environments = records.read_json(parts / "environment.json", list)
    assert [each["from_step"] for each in environments] == [0, at]


def test_more_steps_go_on_as_if_they_had_been_asked_for_at_once(tmp_path):
    """The shorter trial ends where the longer one has no record."""
    short, long = Scheduled(steps=9), Scheduled(steps=30)
    run(short, tmp_path / "parts")
    assert lines(tmp_path / "parts")[-1]["step"] == 9
    run(long, tmp_path / "parts")
    run(long, tmp_path / "whole")
    assert left(tmp_path / "parts") == left(tmp_path / "whole")


def test_checkpoints_come_by_time(tmp_path, monkeypatch):
    saved, original = [], loop.save_checkpoint

    def note(path, **given):
        saved.append(given["step"])
        original(path, **given)

    clock = iter(range(10_000))  # a second between one look and the next
    monkeypatch.setattr(loop, "monotonic", lambda: next(clock))
    monkeypatch.setattr(loop, "save_checkpoint", note)
    run(Line(steps=180), tmp_path)
    assert loop.CHECKPOINT_SECONDS == 60
    assert saved == [60, 120, 180]


# --- what a task leaves ---------------------------------------------------------------------------
class LeavingTask(LineTask):
    """Leaves how often it has left something, and whether its model was as in evaluation."""

    def leave(self, folder):
        count = len([*folder.glob("left*.json")])
        recorded = mg.is_grad_enabled()
        records.write_json(folder / f"left{count}.json", [self.model.training, recorded])
        if (folder / "die").exists():
            raise KeyboardInterrupt


@dataclass(frozen=True)
class Leaving(Line):
    def task(self, device):
        return LeavingTask(self, device)


def files_left(folder):
    return [records.read_json(path, list) for path in sorted(folder.glob("left*.json"))]


def test_a_task_leaves_files_when_its_trial_has_ended_and_not_before(tmp_path):
    with pytest.raises(Interrupted):
        run(Leaving(), tmp_path, watcher=StopAt(95))
    assert files_left(tmp_path) == []
    run(Leaving(), tmp_path)
    assert files_left(tmp_path) == [[False, False]]
    run(Leaving(), tmp_path)  # it has ended
    assert len(files_left(tmp_path)) == 1


def test_a_process_that_dies_while_it_leaves_files_leaves_them_when_it_goes_on(tmp_path):
    (tmp_path / "die").touch()
    with pytest.raises(KeyboardInterrupt):
        run(Leaving(), tmp_path)
    assert not records.read_trial(tmp_path).status["finished"]
    (tmp_path / "die").unlink()
    run(Leaving(), tmp_path)
    assert len(files_left(tmp_path)) == 2
    assert records.read_trial(tmp_path).status["finished"]


@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # overflows, on purpose
def test_a_trial_that_diverged_leaves_nothing(tmp_path):
    run(Leaving(lr=1e30, steps=30), tmp_path)
    assert records.read_trial(tmp_path).status["diverged"]
    assert files_left(tmp_path) == []


# --- ending early ---------------------------------------------------------------------------------
@dataclass(frozen=True)
class Patient(Line):
    lr: float = 0.5
    steps: int = 3000
    patience: int = 4

    def stop(self, records):
        return waited(records, "val_loss", self.patience)


def test_a_trial_stops_when_its_patience_is_over(tmp_path):
    run(Patient(), tmp_path / "whole")
    values = [r["val_loss"] for r in lines(tmp_path / "whole")]
    assert len(values) < 100
    best = values.index(min(values))
    assert best == len(values) - 5  # and four records that were no better
    status = records.read_status(tmp_path / "whole")
    assert (status["finished"], status["stopped"], status["steps"]) == (True, True, 3000)
    assert status["step"] == lines(tmp_path / "whole")[-1]["step"]
    before = left(tmp_path / "whole")
    run(replace(Patient(), steps=6000), tmp_path / "whole")  # its end has come, whatever is asked
    assert left(tmp_path / "whole") == before

    with pytest.raises(Interrupted):
        run(Patient(), tmp_path / "parts", watcher=StopAt(status["step"] - 4))
    run(Patient(), tmp_path / "parts")
    assert left(tmp_path / "parts") == before


def test_patience_is_over_after_so_many_records_without_a_better_one():
    def of(*values):
        return [{"x": value} for value in values]

    assert not waited(of(3, 2, 1), "x", 2)
    assert not waited(of(3, 2, 2), "x", 2)
    assert waited(of(3, 2, 2, 2), "x", 2)
    assert waited(of(1, None, None), "x", 2)
    assert not waited(of(1, 2, 0.5), "x", 2)


def test_a_trial_that_diverges_has_ended_and_keeps_its_last_good_checkpoint(tmp_path):
    with np.errstate(all="ignore"):
        run(Line(optimizer="sgd", lr=1e20), tmp_path)
    status = records.read_status(tmp_path)
    assert status["diverged"]
    assert status["step"] < status["steps"]
    assert "NaN" not in (tmp_path / "metrics.jsonl").read_text()
    before = (tmp_path / "metrics.jsonl").read_bytes()
    run(Line(optimizer="sgd", lr=1e20), tmp_path)
    assert (tmp_path / "metrics.jsonl").read_bytes() == before


# --- batches of unequal size ----------------------------------------------------------------------
@dataclass(frozen=True)
class Ragged(Trial):
    """The mean of numbers in sequences of 1 to 4."""

    steps: int = 40
    batch_size: int = 3
    lr: float = 0.02
    optimizer: str = "sgd"

    def task(self, device):
        return RaggedTask(self, device)


class RaggedTask(Task):
    """Batches of one length each, always the same, in an order of each epoch."""

    sums = ("loss", "right", "count")
    recordable = False

    def __init__(self, trial, device):
        super().__init__(trial, device)
        self.lengths = np.array([1, 2, 4, 1, 2, 4, 1, 2, 4, 1, 2, 4, 1])
        self.values = np.arange(13 * 4, dtype=np.float32).reshape(13, 4) / 50
        self.size = 13
        self.model = nn.Linear(1, 1)

    def order(self, epoch):
        groups = [np.flatnonzero(self.lengths == n) for n in (1, 2, 4)]
        size = self.trial.batch_size
        batches = [g[i : i + size] for g in groups for i in range(0, len(g), size)]
        turns = np.random.default_rng([self.trial.seed, epoch]).permutation(len(batches))
        return [batches[i] for i in turns]

    def loss(self, rows):
        numbers = rows.numpy()
        length = int(self.lengths[numbers[0]])
        assert (self.lengths[numbers] == length).all()
        values = mg.tensor(self.values[numbers, :length])
        errors = mg.square(self.model(mg.zeros((1, 1))) - values)
        right = (errors.detach().numpy() < 0.1).sum()
        return errors.mean(), (errors.sum(), float(right), values.size)

    def measure(self):
        return {"mean": self.model.bias.item()}


def test_batches_of_one_length_and_means_over_their_tokens(tmp_path):
    run(Ragged(), tmp_path)
    found = lines(tmp_path)
    assert [r["step"] for r in found] == list(range(0, 43, 6))  # 6 batches an epoch
    task = Ragged().task("cpu")
    orders = [task.order(epoch) for epoch in range(7)]
    sets = [{tuple(rows) for rows in order} for order in orders]
    assert all(each == sets[0] for each in sets)
    assert len({tuple(map(tuple, order)) for order in orders}) == 7
    assert set(found[0]) == {"step", "loss", "right", "mean"}
    # of the first epoch, by hand: every token counts once, 5·1 + 4·2 + 4·4 = 29 of them
    mg.random.seed(0)
    task = Ragged().task("cpu")
    bias, squares, right = task.model.bias.item(), 0.0, 0
    for rows in task.order(0):
        values = task.values[rows, : task.lengths[rows[0]]]
        squares += float(((bias - values) ** 2).sum())
        right += int(((bias - values) ** 2 < 0.1).sum())
        bias -= 0.02 * 2 * float((bias - values).mean())
    # float32 steps against float64 ones: 6 updates of 2^-24 each, twice over in a square
    assert found[1]["loss"] == pytest.approx(squares / 29, rel=12 * 2.0**-24)
    assert found[1]["right"] == right / 29


# --- a second stage -------------------------------------------------------------------------------
def test_a_second_stage_starts_from_the_first_and_leaves_what_is_frozen(tmp_path):
    first, second = Line(), Level()
    run(first, tmp_path / "line-3-seed0")
    run(second, tmp_path / "whole")
    begun = mg.load(tmp_path / "line-3-seed0" / records.CHECKPOINT)
    ended = mg.load(tmp_path / "whole" / records.CHECKPOINT)
    assert begun["model.weight"].tolist() == ended["model.weight"].tolist()
    assert ended["model.bias"].item() > begun["model.bias"].item() + 2
    assert {name for name in ended if name.startswith("optimizer.")} == {
        "optimizer.bias.exp_avg", "optimizer.bias.exp_avg_sq", "optimizer.bias.step",
    }  # fmt: skip
    assert lines(tmp_path / "whole")[0]["weight"] == begun["model.weight"].item()
    with pytest.raises(Interrupted):
        run(second, tmp_path / "parts", watcher=StopAt(40))
    run(second, tmp_path / "parts")
    assert left(tmp_path / "parts") == left(tmp_path / "whole")


def test_a_second_stage_without_a_first_writes_nothing(tmp_path):
    with pytest.raises(FileNotFoundError, match="line-3-seed0"):
        run(Level(), tmp_path / "level")
    assert not list(tmp_path.iterdir())


def test_what_a_second_stage_takes_over_must_fit(tmp_path):
    run(Line(), tmp_path / "line-3-seed0")

    class Wide(LineTask):
        def __init__(self, trial, device):
            super().__init__(trial, device)
            self.model = nn.Linear(1, 2)

    class WideLevel(Level):
        def task(self, device):
            return Wide(self, device)

    with pytest.raises(CheckpointError, match="weight"):
        run(WideLevel(), tmp_path / "level")
    assert not (tmp_path / "level").exists()


# --- what is refused ------------------------------------------------------------------------------
def with_task(**changes):
    """A trial of the line whose task has other methods or attributes."""
    kind = type("OddTask", (LineTask,), {k: v for k, v in changes.items() if isfunction(v)})

    class Odd(Line):
        def task(self, device):
            task = kind(self, device)
            for name, value in changes.items():
                if not isfunction(value):
                    setattr(task, name, value)
            return task

    return Odd(steps=6)


def frozen_model():
    return nn.Linear(1, 1).requires_grad_(False)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"size": 0}, "OddTask.size: expected samples to train on, got 0"),
        ({"size": 12}, "batch_size: 16 is more than the 12 samples to train on"),
        ({"model": None}, "OddTask.model: expected a Module, got NoneType"),
        ({"model": frozen_model()}, "OddTask.model: no parameter requires a gradient"),
        ({"sums": ("loss", "loss")}, "OddTask.sums: expected different names"),
        ({"sums": ("step", "count")}, "OddTask.sums: expected different names"),
        ({"sums": ("lr", "count")}, "OddTask.sums: expected different names"),
        ({"sums": ("loss",)}, "OddTask.loss: expected loss, got 2 sums"),
        ({"sums": ()}, "OddTask.loss: expected no sums, got 2 sums"),
        ({"order": lambda self, epoch: []}, "OddTask.order: epoch 0 has no batch"),
        ({"order": lambda self, epoch: [np.array([48])]}, "expected numbers 0..47"),
        ({"order": lambda self, epoch: [np.array([0.5])]}, "expected arrays (n,) of integers"),
        ({"order": lambda self, epoch: [[1, 2]]}, "expected arrays (n,) of integers"),
        ({"order": lambda self, epoch: [np.arange(3)] * (1 + epoch)}, "expected 1 batches"),
        (
            {"loss": lambda self, rows: (mg.square(self.model(self.x[rows])), (1.0, 2.0))},
            "OddTask.loss: expected a loss of shape (), got (16, 1)",
        ),
        ({"loss": lambda self, rows: (1.0, (1.0, 1))}, "expected a loss of shape (), got float"),
        ({"measure": lambda self: {"step": 1}}, "OddTask.measure: 'step' is no name, or is"),
        ({"measure": lambda self: {"loss": 1.0}}, "OddTask.measure: 'loss' is no name, or is"),
        ({"measure": lambda self: {"lr": 1.0}}, "OddTask.measure: 'lr' is no name, or is"),
        ({"measure": lambda self: {1: 1.0}}, "OddTask.measure: 1 is no name"),
        ({"measure": lambda self: [1.0]}, "expected numbers by name, got list"),
        (
            {"measure": lambda self: {"x": self.y}},
            "OddTask.measure: 'x': expected a number, which JSON can hold, got tensor(",
        ),
        ({"measure": lambda self: {"x": "high"}}, "expected a number, which JSON can hold"),
    ],
)
def test_a_task_with_a_mistake_is_told_of_it(changes, words, tmp_path):
    with pytest.raises(ValueError) as error:
        run(with_task(**changes), tmp_path / "trial")
    assert words in str(error.value)
    assert "\n" not in str(error.value)


def test_what_is_no_task_is_refused(tmp_path):
    class Nothing(Line):
        def task(self, device):
            return nn.Linear(1, 1)

    with pytest.raises(ValueError, match=r"Nothing\.task: expected a Task, got Linear"):
        run(Nothing(), tmp_path / "trial")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"steps": 0}, "steps: expected at least 1, got 0"),
        ({"batch_size": 0}, "batch_size: expected at least 1, got 0"),
        ({"seed": -1}, r"seed: expected 0 <= seed"),
        ({"lr": math.nan}, "lr: expected at least 0, got nan"),
        ({"weight_decay": -1.0}, "weight_decay: expected at least 0"),
        ({"clip": 0.0}, "clip: expected more than 0, got 0"),
    ],
)
def test_settings_that_cannot_be_are_refused_by_name(changes, words):
    with pytest.raises(ValueError, match=words):
        Line(**changes)


def test_numpy_numbers_are_numbers_and_what_is_not_finite_is_none(tmp_path):
    values = {"a": np.float32(0.5), "b": np.int64(3), "c": True, "d": math.nan, "e": -math.inf}
    run(with_task(measure=lambda self: values), tmp_path)
    last = json.loads((tmp_path / "metrics.jsonl").read_text().splitlines()[-1])
    assert {k: last[k] for k in values} == {"a": 0.5, "b": 3, "c": 1, "d": None, "e": None}


def test_a_checkpoint_of_another_task_is_refused(tmp_path):
    run(Line(), tmp_path / "line-3-seed0")
    run(Level(), tmp_path / "level", watcher=None)
    (tmp_path / "level" / "status.json").unlink()
    stolen = (tmp_path / "line-3-seed0" / records.CHECKPOINT).read_bytes()
    (tmp_path / "level" / records.CHECKPOINT).write_bytes(stolen)
    before = sorted(tmp_path.rglob("*")), left(tmp_path / "level")
    with pytest.raises(CheckpointError, match=r"level/checkpoint\.safetensors: 2 problem"):
        run(Level(), tmp_path / "level")
    assert (sorted(tmp_path.rglob("*")), left(tmp_path / "level")) == before

    alike = with_task()  # in all shapes, and of the same settings
    with pytest.raises(CheckpointError, match="a checkpoint of another task than OddTask"):
        run(replace(alike, steps=99), tmp_path / "line-3-seed0")


def test_a_trial_of_another_kind_is_refused(tmp_path):
    run(Line(), tmp_path)
    with pytest.raises(ValueError, match=r"holds a trial with lr=0\.05, not 0\.5"):
        run(Patient(), tmp_path)


def test_settings_are_read_back_as_they_were():
    for trial in (Line(), Line(clip=2.0), Scheduled(seed=3), Level(slope=1.0)):
        settings = json.loads(json.dumps(trial.settings(), allow_nan=False))
        assert type(trial).of(settings) == trial
        assert type(trial).of({**settings, "of_before": 1}) == trial
    assert toy.Options(steps=7).trials()["line-3-seed0"].steps == 7
