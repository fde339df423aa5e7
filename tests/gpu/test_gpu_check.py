"""`make gpu-check`: its rows and table, groups that fail in every way, and what it needs.

What the groups find is tested in `triton_gpu_check.py`, which `test_triton.py` runs.
"""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from benchmarks.gpu import __main__ as check
from benchmarks.gpu import groups, rows
from benchmarks.gpu.rows import Row
from minigrad import device as devices

ROOT = Path(__file__).parents[2]


# --- rows -----------------------------------------------------------------------------------------
def test_a_row_is_ok_where_its_goal_is_reached():
    assert rows.at_least("speed", 2.0, 1.5, "×", ms=3.0) == Row(
        "speed", "2×", "≥ 1.5×", True, {"ms": 3.0}
    )
    assert rows.at_least("speed", 1.0, 1.5, "×").ok is False
    assert rows.at_most("launches", 3, 3, "").ok is True
    assert rows.at_most("launches", 4, 3, "").ok is False
    assert rows.at_least("speed", float("nan"), 0, "").ok is False
    assert rows.at_most("error", float("nan"), 1, "").ok is False
    assert rows.left_out("PyTorch", "no").ok is None


def test_a_goal_of_numpy_is_a_plain_truth():
    """np.False_ is not False: it would count as neither good nor failed."""
    import numpy as np

    assert rows.at_most("error", np.float32(2), 1, "").ok is False


def test_the_table_has_a_line_for_each_row():
    found = [("ops", Row("a | b", "two\nlines", "≤ 1", False)), ("steps", Row("c", "1 ms"))]
    assert rows.table(found).split("\n")[2:] == [
        r"| ops | a \| b | two lines | ≤ 1 | FAILED |",
        "| steps | c | 1 ms |  |  |",
    ]


# --- groups, each in its process ------------------------------------------------------------------
def good(what="one"):
    yield rows.at_most(what, 1, 2, "")
    yield rows.left_out("another", "not here")


def raises():
    yield rows.at_most("before", 1, 2, "")
    raise ValueError("no such\nkernel")


def dies():
    yield rows.at_most("before", 1, 2, "")
    time.sleep(0.2)  # the row is on its way
    os._exit(7)


def hangs(pids):
    yield rows.at_most("before", 1, 2, "")
    child = subprocess.Popen(["sleep", "60"])
    Path(pids).write_text(f"{os.getpid()} {child.pid}")
    time.sleep(60)


@pytest.fixture
def command(monkeypatch, tmp_path, capsys):
    """Runs the command with groups of this file in the place of its own, as if on a GPU."""
    monkeypatch.setattr(devices, "parse", lambda name: "cuda:0")
    monkeypatch.setattr(check, "environment", lambda device: {"gpu": "NVIDIA Example"})

    def call(checks, times=None, *args):
        make = lambda functions: {
            name: groups.Group(__name__, function, seconds, given)
            for name, (function, seconds, *given) in functions.items()
        }
        monkeypatch.setattr(check, "CHECKS", make(checks))
        monkeypatch.setattr(check, "TIMES", make(times or {}))
        monkeypatch.setattr(check, "GROUPS", check.CHECKS | check.TIMES)
        out = tmp_path / "runs" / "check.json"
        status = check.main(["--out", str(out), *args])
        printed = capsys.readouterr().out
        record = json.loads(out.read_text())
        assert record["environment"] == {"gpu": "NVIDIA Example"}
        found = [(r["group"], r["what"], r["found"], r["ok"]) for r in record["rows"]]
        assert sum(line.startswith("| ") for line in printed.splitlines()) == len(found) + 1
        return status, found, printed

    return call


def test_where_all_is_as_wanted_the_status_is_0(command):
    status, found, printed = command({"a": ("good", 30, "x")}, {"b": ("good", 30)})
    assert status == 0
    assert found == [
        ("a", "x", "1", True),
        ("a", "another", "left out: not here", None),
        ("b", "one", "1", True),
        ("b", "another", "left out: not here", None),
    ]
    assert "gpu NVIDIA Example" in printed
    assert "2 passed, 0 failed, in " in printed


def test_what_goes_wrong_is_a_row_and_the_rest_goes_on(command, tmp_path):
    """Side by side: one that raises, one that dies, and one that hangs, with a process of its own,
    which is ended too."""
    pids = tmp_path / "pids"
    start = time.monotonic()
    status, found, printed = command(
        {"r": ("raises", 30), "d": ("dies", 30), "h": ("hangs", 6, str(pids)), "g": ("good", 30)},
    )
    assert time.monotonic() - start < 25
    assert status == 1
    assert ("g", "one", "1", True) in found
    for name, problem in {
        "r": "ValueError: no such kernel",
        "d": "died with exit status 7",
        "h": "did not end within 6 s",
    }.items():
        mine = [row[1:] for row in found if row[0] == name]
        assert mine == [("before", "1", True), ("the group", problem, False)]
    assert printed.count("FAILED") == 3
    assert "4 passed, 3 failed, in " in printed
    for pid in pids.read_text().split():
        assert (
            not Path(f"/proc/{pid}/cmdline").exists()
            or not Path(f"/proc/{pid}/cmdline").read_text()
        )  # gone, or waiting to be collected


def test_a_group_for_which_no_time_is_left_has_failed(command):
    status, found, _ = command({}, {"a": ("good", 30), "b": ("good", 30)}, "--seconds", "1")
    assert status == 1
    assert found == [(name, "the group", "no time was left", False) for name in "ab"]


def test_only_the_groups_that_are_asked_for_run(command):
    status, found, _ = command({"a": ("raises", 30)}, {"b": ("good", 30)}, "--only", "b")
    assert (status, {row[0] for row in found}) == (0, {"b"})
    with pytest.raises(SystemExit) as stop:
        check.main(["--only", "c"])
    assert stop.value.code == 2


# --- as a process ---------------------------------------------------------------------------------
ONE_GPU = """
import sys, types

runtime = types.SimpleNamespace(
    getDeviceCount=lambda: 1, driverGetVersion=lambda: 13000, runtimeGetVersion=lambda: 12090,
    getDeviceProperties=lambda device: {"name": b"NVIDIA Example"},
)
nvrtc = types.SimpleNamespace(getVersion=lambda: (12, 9))
cupy = types.ModuleType("cupy")
cupy.cuda = types.SimpleNamespace(runtime=runtime, nvrtc=nvrtc, cublas=None)
cupy.__version__, cupy.ndarray = "14.2.0", ()
sys.modules["cupy"] = cupy
sys.modules["pytest"] = None  # as if it were not installed
"""


def test_its_groups_run_in_processes_of_their_own(tmp_path):
    """By the command itself, in a Python that finds a GPU and, on it, nothing that could be run:
    one group is left out and one raises, and both have started."""
    (tmp_path / "sitecustomize.py").write_text(ONE_GPU)
    path = os.pathsep.join([str(tmp_path), str(ROOT)])
    out = tmp_path / "check.json"
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.gpu", "--only", "tests", "memory", "--out", out],
        env={**os.environ, "PYTHONPATH": path},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1, done.stderr
    record = json.loads(out.read_text())
    assert record["environment"]["gpu"] == "NVIDIA Example"
    by_group = {r["group"]: (r["what"], r["found"], r["ok"]) for r in record["rows"]}
    problem = "AttributeError: 'types.SimpleNamespace' object has no attribute 'MemoryPool'"
    assert by_group == {
        "tests": (
            "tests of the kernels",
            "left out: pytest and hypothesis are not installed",
            None,
        ),
        "memory": ("the group", problem, False),
    }
    assert "in memory\n" in done.stderr  # the function, in the traceback of its process


# --- what is there, and what is not ---------------------------------------------------------------
def test_every_group_can_be_found():
    import importlib

    for group in check.GROUPS.values():
        assert callable(getattr(importlib.import_module(group.module), group.name))


def test_infinities_are_written_as_text():
    infinite = float("inf")
    assert check.finite({"a": [infinite, 1.0], "b": -infinite}) == {"a": ["inf", 1.0], "b": "-inf"}


BLOCKED = (
    "torch matplotlib tqdm tyro filelock safetensors pytest hypothesis numba threadpoolctl scipy "
    "psutil"
)


def bare(code, *modules):
    """Run code in a process where importing some modules fails."""
    block = (
        "import sys\n"
        "class Blocked:\n"
        "    def find_spec(self, name, *rest):\n"
        f"        if name.split('.')[0] in {[*BLOCKED.split(), *modules]}:\n"
        "            raise ModuleNotFoundError(f'No module named {name!r}')\n"
        "sys.meta_path.insert(0, Blocked())\n"
    )
    command = [sys.executable, "-c", block + code]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def test_nothing_is_needed_but_numpy_triton_and_cupy():
    """All modules but that of the peers; CuPy is imported when the GPU is asked for."""
    folder = ROOT / "benchmarks" / "gpu"
    names = sorted(
        path.stem for path in folder.glob("*.py") if path.stem not in ("peers", "__init__")
    )
    assert "parity" in names
    lines = [f"import benchmarks.gpu.{name}" for name in names]
    done = bare("\n".join([*lines, "import kernels.cuda", "print('all')"]), "cupy")
    assert (done.returncode, done.stdout) == (0, "all\n"), done.stderr


def test_the_predictions_need_no_gpu_and_are_those_of_the_document():
    done = bare("from benchmarks.gpu import ladder\nprint(ladder.table())", "cupy")
    assert "| attention, kernel, 16 bits |" in done.stdout, done.stderr
    assert done.stdout in (ROOT / "docs" / "gpu.md").read_text(encoding="utf-8")


def test_where_there_is_no_gpu_one_line_says_so():
    done = bare("from benchmarks.gpu.__main__ import main\nsys.exit(main([]))", "cupy")
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert line.startswith("python -m benchmarks.gpu: error: device cuda needs CuPy")
    assert done.stdout == ""
