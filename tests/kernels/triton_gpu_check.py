"""The groups of `benchmarks.gpu` on arrays that stand for CuPy's: what is right passes, and what is
wrong fails.

`test_triton.py` runs this file in a process of its own, with TRITON_INTERPRET=1.
"""

from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from types import SimpleNamespace

import fake_gpu
import numpy as np
import pytest

import kernels
import minigrad as mg
from benchmarks.gpu import attention as times
from benchmarks.gpu import ladder, parity, steps
from experiments.grokking.task import Grokking
from experiments.train import loop, records
from kernels.cuda import attention
from kernels.cuda.launch import INTERPRETED
from minigrad.kernel import Declined

WHY = "PyTorch sees no GPU" if find_spec("torch") else "No module named 'torch'"
WITHOUT_TORCH = f"left out: {WHY}"

same_masks = parity.same_masks  # of any shape

if not INTERPRETED:
    pytest.skip("the stand-in needs the interpreter", allow_module_level=True)


@pytest.fixture(autouse=True)
def gpu(monkeypatch):
    fake_gpu.install_kernels(monkeypatch)
    monkeypatch.setattr(kernels, "switch", lambda on: None)  # CUDA's are loaded, and no others
    monkeypatch.setattr(parity, "dtypes", lambda: [np.dtype(np.float32), np.dtype(np.float16)])


def failed(rows):
    """What the rows say that failed."""
    rows = list(rows)
    assert any(row.ok is not None for row in rows)
    return [f"{row.what}: {row.found}" for row in rows if row.ok is False]


def wrong(monkeypatch, kernel, where, factor=1.01):
    """Let a value ("y") or all gradients ("g") of a kernel be one percent too large."""
    body = kernel.body

    def scaled(a):
        if isinstance(a, tuple):
            return tuple(map(scaled, a))
        return None if a is None else (a * factor).astype(a.dtype)

    def wrapped(pull):
        if isinstance(pull, tuple):
            return tuple(map(wrapped, pull))
        return None if pull is None else lambda g: scaled(pull(g))

    def planted(*args, **kwargs):
        answer = body(*args, **kwargs)
        if isinstance(answer, Declined):
            return answer
        y, pull = answer
        return (scaled(y), pull) if where == "y" else (y, wrapped(pull))

    monkeypatch.setattr(kernel, "body", planted)


VALUE_AND_GRADIENT = pytest.mark.parametrize("where", ["y", "g"])


# --- ops ------------------------------------------------------------------------------------------
@pytest.fixture
def few(monkeypatch):
    """Two of the ops, and small calls of kernels."""
    some = [case for case in parity.ALL if case.name in ("gelu", "sort")]
    monkeypatch.setattr(parity, "ALL", some)
    calls = {call.name: call for call in reversed(parity.CALLS)}
    sizes = {
        "gelu": [parity.normal(9, 130)],
        "layer_norm": [parity.normal(5, 17), parity.normal(17), parity.normal(17)],
        "cross_entropy": [parity.normal(7, 36), parity.ids(36, 7)],
        "linear": [parity.normal(4, 6, 8), parity.normal(5, 8), parity.normal(5)],
        "matmul": [parity.normal(2, 3, 9, 8), parity.normal(2, 3, 8, 9)],
        "lstm": [
            parity.normal(3, 4, 8),
            *(parity.normal(*n) for n in ((32, 8), (32, 8), (32,), (32,))),
        ],
        "stacked linear": [parity.normal(2, 4, 8), parity.normal(2, 5, 8)],
        "stacked embedding": [parity.normal(2, 5, 3), parity.ids(5, 2, 7)],
        "stacked layer_norm": [parity.normal(2, 5, 17), *[parity.normal(2, 17)] * 2],
        "stacked lstm": [
            parity.normal(2, 3, 4, 8),
            *(parity.normal(2, *n) for n in ((32, 8), (32, 8), (32,), (32,))),
        ],
    }
    assert sizes.keys() == calls.keys()
    monkeypatch.setattr(parity, "same_masks", lambda *shape: same_masks(9, 40))
    monkeypatch.setattr(
        parity, "CALLS", [calls[name]._replace(arrays=arrays) for name, arrays in sizes.items()]
    )


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_right_ops_pass(dtype):
    assert failed(parity.ops(dtype)) == []


@pytest.mark.usefixtures("few")
@VALUE_AND_GRADIENT
def test_a_wrong_kernel_fails_among_the_ops(where, monkeypatch):
    wrong(monkeypatch, parity.kernel_of("gelu"), where)
    problems = failed(parity.ops("float32"))
    assert problems[0].startswith("ops with kernels, float32:")
    assert problems[1].startswith("ops with kernels, float32: gelu-0: ")
    assert all(": gelu-" in line for line in problems[1:])


@pytest.mark.usefixtures("few")
def test_a_wrong_op_fails(monkeypatch):
    """On the GPU alone, where CuPy may compute what NumPy does not."""
    run = mg.gelu.op.body

    def planted(x, *args):
        y, pull = run(x, *args)
        return (y, pull) if isinstance(x, np.ndarray) else (y, lambda g: -pull(g))

    monkeypatch.setattr(mg.gelu.op, "run", planted)
    assert "ops plain, float64: gelu-0: " in failed(parity.ops("float64"))[1]


# --- kernels --------------------------------------------------------------------------------------
@pytest.mark.usefixtures("few")
def test_right_kernels_pass():
    assert failed(parity.kernels()) == []


@pytest.mark.usefixtures("few")
@VALUE_AND_GRADIENT
@pytest.mark.parametrize("routine", ["gelu", "layer_norm", "cross_entropy", "lstm"])
def test_a_wrong_kernel_fails(routine, where, monkeypatch):
    wrong(monkeypatch, parity.kernel_of(routine), where)
    names = {line.split(": ")[1].split()[0] for line in failed(parity.kernels())[1:]}
    assert names == {routine}


@pytest.mark.usefixtures("few")
def test_a_kernel_that_left_all_to_the_plain_op_fails(monkeypatch):
    monkeypatch.setattr(parity.kernel_of("gelu"), "body", lambda *args, **kwargs: Declined("so"))
    wanted = "fused kernels: gelu float32: AssertionError: the kernel left the call to the plain op"
    assert wanted in failed(parity.kernels())


def test_masks_that_differ_fail(monkeypatch):
    assert same_masks(9, 40).ok
    moved = lambda seed: monkeypatch.setattr(mg.random, "_seed", seed)
    seeds = iter((7, 8))
    monkeypatch.setattr(mg.random, "seed", lambda _: moved(next(seeds)))
    assert not same_masks(9, 40).ok


# --- attention ------------------------------------------------------------------------------------
@pytest.fixture
def small_attention(monkeypatch):
    cases = [
        ((2, 2, 6, 16), 6, {"causal": True}),
        ((1, 2, 40, 16), 70, {"causal": True, "mask": True, "alibi": True}),
        ((1, 1, 33, 24), 20, {}),
    ]
    monkeypatch.setattr(parity, "ATTENTION", cases)


@pytest.mark.usefixtures("small_attention")
def test_right_attention_passes():
    assert failed(parity.attention("float32", "TF32", "float16")) == []


@pytest.mark.usefixtures("small_attention")
@VALUE_AND_GRADIENT
def test_wrong_attention_fails(where, monkeypatch):
    kernel = parity.kernel_of("scaled_dot_product_attention")
    wrong(monkeypatch, kernel, where)
    monkeypatch.setattr(attention, "scaled_dot_product_attention", kernel.body)
    assert len(failed(parity.attention("float32"))) == 4  # the row of all, and one for each


def test_a_kind_of_numbers_that_is_not_there_is_left_out():
    (row,) = parity.attention("bfloat16")
    assert (row.ok, row.found) == (None, "left out: ml_dtypes is not installed")


# --- training -------------------------------------------------------------------------------------
@pytest.fixture
def short_training(monkeypatch):
    """Recorded from the third step on."""
    monkeypatch.setattr(parity, "Grokking", partial(Grokking, p=3, d=8, layers=1, heads=2))
    monkeypatch.setattr(parity, "STEPS", 4)


@pytest.mark.usefixtures("short_training")
def test_right_training_passes():
    assert failed(parity.train()) == []


@pytest.mark.usefixtures("short_training")
def test_wrong_training_fails(monkeypatch):
    monkeypatch.setattr(parity, "MODELS", ("lstm",))
    wrong(monkeypatch, parity.kernel_of("lstm"), "g", -1.0)
    problems = [line.split(":")[0] for line in failed(parity.train())]
    assert problems == ["lstm kernels", "lstm recorded"]  # replicas have "stacked lstm"


def test_a_nudge_changes_every_weight_by_one_unit(monkeypatch):
    """Else nothing would be allowed."""
    kept = []
    monkeypatch.setattr(steps, "Step", lambda task, *_: kept.append(task.model))
    for nudge in (False, True):
        with pytest.raises(AttributeError):  # there is no step
            steps.updates([Grokking(p=3, d=16)], "cpu", nudge=nudge)
    for a, b in zip(*(model.parameters() for model in kept), strict=True):
        ulp = np.spacing(np.maximum(np.abs(a.data), np.abs(b.data)))
        difference = np.abs(a.data - b.data)
        assert ((difference > 0) & (difference <= ulp)).all()


# --- times ----------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Small(Grokking):
    p: int = 3
    d: int = 8
    layers: int = 1
    heads: int = 2
    steps: int = 4


@pytest.fixture
def clock(monkeypatch):
    """Every call takes a millisecond, and is made three times, so that it is recorded."""

    def measure(calls, **how):
        for call in calls.values():
            for _ in range(3):
                call()
        return dict.fromkeys(calls, 1.0)

    for module in (steps, times, ladder):
        for name in {"by_the_wall", "by_the_gpu"} & vars(module).keys():
            monkeypatch.setattr(module, name, measure)
    monkeypatch.setattr(times, "replayed", lambda call: call)
    monkeypatch.setattr(times, "dtypes", parity.dtypes)
    monkeypatch.setattr(steps, "synchronize", lambda: None)
    monkeypatch.setattr(steps, "Grokking", Small)


def texts(rows):
    return [f"{row.what}: {row.found}" for row in rows]


@pytest.mark.usefixtures("clock")
def test_steps_are_timed_in_every_way(monkeypatch):
    monkeypatch.setattr(steps, "sums", partial(steps.sums, batch=4, d=8))
    monkeypatch.setattr(steps, "REPLICAS", 2)
    assert texts(steps.race("gpt")) == [
        f"gpt step: PyTorch: {WITHOUT_TORCH}",
        *(f"gpt step: {way}: 1.000 ms" for way in ("plain", "kernels", "recorded")),
    ]
    found = texts(steps.many("lstm", 45.0))
    assert found[1] == "lstm: 2 replicas, runs a second / PyTorch eager's: 90×"


@pytest.mark.usefixtures("clock")
def test_the_whole_experiment_is_timed_after_a_short_one(monkeypatch):
    monkeypatch.setattr(records, "environment", lambda device: {"device": device})
    monkeypatch.setattr(steps, "MODELS", ("lstm",))
    train_all, trained = steps.train_all, []

    def some_steps(folder, steps):
        train_all(folder, 1)
        trained.append((steps, sorted(path.name for path in folder.rglob("*.safetensors"))))

    monkeypatch.setattr(steps, "train_all", some_steps)
    clock = iter([1.0, 15.0])  # the interpreter takes its time
    monkeypatch.setattr(steps, "time", SimpleNamespace(perf_counter=lambda: next(clock)))
    (row,) = steps.sanity()
    assert row.ok, row
    assert row.numbers == {"seconds": 14.0}
    assert trained == [(n, ["checkpoint.safetensors"] * 2) for n in (10, Small.steps)]


@pytest.mark.usefixtures("clock")
def test_the_whole_experiment_without_safetensors(monkeypatch):
    monkeypatch.setattr(steps, "find_spec", lambda name: None)
    monkeypatch.setattr(loop, "save_checkpoint", loop.save_checkpoint)
    monkeypatch.setattr(steps, "train_all", lambda *args, **how: loop.save_checkpoint("x"))
    (row,) = steps.sanity()
    assert row.what == "the whole sanity experiment, without checkpoints"


@pytest.mark.usefixtures("clock")
def test_attention_is_timed_and_its_launches_are_counted(monkeypatch):
    monkeypatch.setattr(times, "TOKENS", 64)
    monkeypatch.setattr(times, "HIDDEN", 32)
    monkeypatch.setattr(times, "LONG", (32,))
    monkeypatch.setattr(times, "HEADS", (16,))
    monkeypatch.setattr(times, "GOALS", {(16, False): 1e-6, (16, True): 1e-6})
    monkeypatch.setattr(times, "SHORT", ((2, 2, 6, 16), (1, 2, 40, 16)))
    missing = f"PyTorch's attention: {WITHOUT_TORCH}"
    first, *rest = times.long()
    assert texts([first]) == [missing]
    assert [row.ok for row in rest] == [True, True]
    first, *rest = times.short()
    assert texts([first]) == [missing]
    launches = [row.found for row in rest if row.goal]
    assert launches == ["1", "2", "1", "3", "1", "2", "1", "2"]
    assert failed(rest) == []


@pytest.mark.usefixtures("clock")
def test_every_rung_of_the_ladder_is_measured(monkeypatch):
    for name, value in {"SHAPE": (1, 2, 20, 16), "ROWS": 8, "COLUMNS": 36}.items():
        monkeypatch.setattr(ladder, name, value)
    ladder.classes.cache_clear()
    rows = list(ladder.climb())
    assert [row.what for row in rows] == [rung.name for rung in ladder.rungs()]
    assert all(row.found.startswith("1 ms; H200: ") for row in rows)
    ladder.classes.cache_clear()

    def no_memory(calls, **how):
        raise MemoryError("out of memory")

    monkeypatch.setattr(ladder, "by_the_gpu", no_memory)
    assert {row.found for row in ladder.climb()} == {"left out: out of memory"}
