"""The groups of `benchmarks.gpu` on CuPy, in small sizes: each starts, makes its calls and ends.

Nothing is computed, so the numbers and times that a group finds wrong are not looked at here, only
whether a call raised an error. `test_gpu_stub.py` runs this file on the stub of a GPU.
"""

import importlib
import re
from functools import partial

import pytest
from gpu_stub import log

from benchmarks.gpu import attention, clock, ladder, parity, steps, tests
from benchmarks.gpu.__main__ import GROUPS
from experiments.grokking.task import Grokking


class Small(Grokking):
    steps = 4


SIZES = {
    parity: {
        "ALL": [case for case in parity.ALL if case.name in ("gelu", "sort", "lstm")],
        "ATTENTION": parity.ATTENTION[-2:-1],
        "CALLS": [c for c in parity.CALLS if sum(a.size for a in c.arrays) < 1 << 20],
        "SHOWN": 10_000,
        "STEPS": 4,
        "Grokking": partial(Grokking, d=16),
    },
    steps: {"REPLICAS": 2, "Grokking": Small},
    attention: {"TOKENS": 512, "LONG": (128,), "HEADS": (64,), "SHORT": attention.SHORT[:1]},
    ladder: {"SHAPE": (1, 2, 20, 16), "ROWS": 8, "COLUMNS": 36},
    tests: {
        "FILES": ("tests/kernels/triton_gemm.py",),
        "find_spec": lambda name: name != "xdist" or None,
    },
}


@pytest.fixture(autouse=True)
def small(monkeypatch):
    for module, values in SIZES.items():
        for name in {"by_the_wall", "by_the_gpu"} & vars(module).keys():
            values = {**values, name: partial(getattr(clock, name), turns=1, each=4)}
        for name, value in values.items():
            monkeypatch.setattr(module, name, value)


@pytest.mark.parametrize("name", GROUPS)
def test_a_group_makes_all_its_calls(name, capfd):
    start, group = log.mark(), GROUPS[name]
    rows = list(getattr(importlib.import_module(group.module), group.name)(*group.args))
    assert rows
    assert not [row.found for row in rows if re.search(r"\b\w+(Error|Exception):", row.found)]
    assert log.mistakes(start) == []
    if name == "tests":  # numbers are wrong, and nothing else
        errors = re.findall(r"^E +(\w+Error|assert)\b", capfd.readouterr().err, re.MULTILINE)
        assert errors
        assert set(errors) <= {"assert", "AssertionError"}
