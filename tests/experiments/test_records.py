"""Damaged records: each is told in one line, or changes nothing; none makes other results."""

import shutil

import pytest
import toy
from toy import EXPERIMENT, Line, StopAt, left

from experiments.sweep import folder as folders
from experiments.sweep.experiment import main
from experiments.train import loop, records
from experiments.train.loop import Interrupted, run

ARGS = ["--seeds", "0", "--slopes", "3", "--no-kernels", "--device", "cpu"]
NAMES = ("line-3-seed0", "level-3-seed0")
FILES = ("settings.json", "metrics.jsonl", "status.json", "environment.json", "times.jsonl")


def command(*args):
    return main(EXPERIMENT, [*ARGS, *map(str, args)], description=toy.__doc__)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("finished")
    assert command("--out", folder) == 0
    return folder


@pytest.fixture(scope="module")
def begun(tmp_path_factory, finished):
    """The same, stopped in the middle of the first trial."""
    folder = tmp_path_factory.mktemp("begun")
    shutil.copy(finished / "sweep.json", folder)
    with pytest.raises(Interrupted):
        run(Line(), folder / NAMES[0], watcher=StopAt(50))
    return folder


def lines(text):
    return text.splitlines(keepends=True)


DAMAGES = {
    "empty": lambda text: b"",
    "cut": lambda text: text[: len(text) // 2],
    "null": lambda text: b"null\n",
    "list": lambda text: b"[1, 2]\n",
    "number": lambda text: b"3\n",
    "object": lambda text: b"{}\n",
    "utf-16": lambda text: text.decode().encode("utf-16"),
    "latin": lambda text: b"\xe9" + text,
    "byte-order mark": lambda text: b"\xef\xbb\xbf" + text,
    "null byte": lambda text: text[:9] + b"\0" + text[9:],
    "nan": lambda text: text.replace(b"0", b"NaN", 1),
    "text": lambda text: text.replace(b"0", b'"0"', 1),
    "blank line": lambda text: b"".join([*lines(text)[:2], b"\n", *lines(text)[2:]]),
    "a line twice": lambda text: b"".join([lines(text)[0], *lines(text)]),
    "a line gone": lambda text: b"".join([*lines(text)[:3], *lines(text)[4:]]),
    "half the lines": lambda text: b"".join(lines(text)[: len(lines(text)) // 2]),
    "another digit": lambda text: text.replace(b"3", b"4", 1),
    "absent": None,
}


def damaged(whole, tmp_path, file, damage):
    """A copy of a sweep whose first trial has one file that is damaged."""
    folder = tmp_path / "copy"
    shutil.copytree(whole, folder)
    path = folder / NAMES[0] / file
    if DAMAGES[damage] is None:
        path.unlink()
        return folder, True
    before = path.read_bytes()
    path.write_bytes(DAMAGES[damage](before))
    return folder, path.read_bytes() != before


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("file", FILES)
@pytest.mark.parametrize("state", ["finished", "begun"])
def test_a_damaged_file_is_told_or_changes_nothing(
    state, file, damage, tmp_path, capsys, request, finished
):
    folder, changed = damaged(request.getfixturevalue(state), tmp_path, file, damage)
    if not changed:
        return
    status = status_of("--out", folder, "--resume")
    if status:
        said = last(capsys)
        other = "holds a trial with" in said  # settings that read as those of another
        assert status == (2 if other else 1), said
        assert other or file in said or "checkpoint" in said, said
        assert str(folder / NAMES[0]) in said
        return
    for name in NAMES:
        assert left(folder / name) == left(finished / name)
    text = (folder / "results.md").read_bytes()
    assert text == (finished / "results.md").read_bytes()


def status_of(*args):
    try:
        return command(*args)
    except SystemExit as stop:
        return stop.code


def last(capsys):
    said = capsys.readouterr().err.splitlines()
    assert not any("Traceback" in line for line in said)
    return said[-1]


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("file", ["settings.json", "metrics.jsonl", "status.json"])
def test_no_results_are_made_of_damaged_records(file, damage, tmp_path, finished):
    """They are refused, or those of a trial that has only begun, which is said."""
    folder, changed = damaged(finished, tmp_path, file, damage)
    before = (folder / "results.md").read_bytes()
    if said := problem_of(folder):
        assert str(folder / NAMES[0]) in said
        assert "\n" not in said
        return
    text = (folder / "results.md").read_bytes()
    said = b"Begun: line-3-seed0 (96 steps)." in text
    assert text == before or (said and file == "status.json" and damage == "absent")
    assert not changed or file != "metrics.jsonl"


def problem_of(folder):
    """Why no results are made of a folder; "" if they are."""
    try:
        folders.report(EXPERIMENT, folder)
    except ValueError as error:
        return str(error)
    return ""


@pytest.mark.parametrize("damage", ["empty", "cut", "another bit"])
def test_the_damaged_checkpoint_of_a_finished_trial_is_told(damage, tmp_path, finished, capsys):
    folder = tmp_path / "copy"
    shutil.copytree(finished, folder)
    path = folder / NAMES[0] / records.CHECKPOINT
    text = path.read_bytes()
    other = DAMAGES.get(damage, lambda text: text[:-3] + bytes([text[-3] ^ 1]) + text[-2:])
    path.write_bytes(other(text))
    with pytest.raises(SystemExit) as stop:
        command("--out", folder, "--resume")
    assert stop.value.code == 1
    said = last(capsys)
    assert str(path) in said
    assert f"without {path.parent} --resume runs this trial again" in said


def test_what_the_message_says_helps(tmp_path, finished, capsys):
    folder, _ = damaged(finished, tmp_path, "metrics.jsonl", "half the lines")
    with pytest.raises(SystemExit):
        command("--out", folder, "--resume")
    assert "ends at step" in last(capsys)
    shutil.rmtree(folder / NAMES[0])
    assert command("--out", folder, "--resume") == 0
    assert left(folder / NAMES[0]) == left(finished / NAMES[0])


@pytest.mark.parametrize("damage", ["empty", "cut", "null", "list", "object", "utf-16"])
def test_a_damaged_list_of_trials_is_told(damage, tmp_path, finished, capsys):
    folder = tmp_path / "copy"
    shutil.copytree(finished, folder)
    path = folder / "sweep.json"
    path.write_bytes(DAMAGES[damage](path.read_bytes()))
    with pytest.raises(SystemExit) as stop:
        command("--out", folder, "--resume")
    assert stop.value.code == 1
    assert str(path) in last(capsys)


def test_a_trial_that_is_killed_while_a_longer_one_begins_can_go_on(tmp_path, monkeypatch):
    """Its last line goes, and the status must not say then that it has ended there."""

    class Fourths(Line):
        def due(self, step, per_epoch):
            return step % 4 == 0

    run(Fourths(steps=50), tmp_path)
    assert records.last_step(tmp_path) == 51
    original = records.write_json

    def killed(path, value):
        if path.name == "environment.json":
            raise KeyboardInterrupt
        original(path, value)

    with monkeypatch.context() as patch:
        patch.setattr(records, "write_json", killed)
        with pytest.raises(KeyboardInterrupt):
            run(Fourths(steps=90), tmp_path)
    assert not loop.ended(Fourths(steps=90), tmp_path)
    run(Fourths(steps=90), tmp_path)
    assert records.read_trial(tmp_path).status["step"] == 90
