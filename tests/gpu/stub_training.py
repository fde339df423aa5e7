"""Training on CuPy: what a step asks of the GPU, and steps that are recorded.

`test_gpu_stub.py` runs this file on the stub of a GPU, in a process of its own.
"""

import gc

import numpy as np
import pytest
from gpu_stub import log

import minigrad as mg
from benchmarks.gpu.steps import updates
from experiments.grokking.task import Grokking
from kernels.cuda import products
from minigrad import device as devices
from minigrad import nn, optim

GPU = "cuda:0"

# Launches, copies and waits of one step of the sanity experiment, as measured with CuPy 14.2. None
# may need more; where one needs less, lower the number.
MEASURED = {
    ("lstm", "plain"): (768, 38, 0),
    ("lstm", "kernels"): (115, 6, 0),
    ("lstm", "replicas"): (1527, 73, 0),
    ("lstm", "kernels and replicas"): (162, 5, 0),
    ("gpt", "plain"): (780, 1, 0),
    ("gpt", "kernels"): (111, 4, 0),
    ("gpt", "replicas"): (1509, 1, 0),
    ("gpt", "kernels and replicas"): (127, 4, 0),
}
# Launches within a recorded step, of one trial and of three as replicas.
IN_RECORDING = {("lstm", 1): 112, ("lstm", 3): 159, ("gpt", 1): 109, ("gpt", 3): 154}
# What it asks of the GPU from outside: one launch, and one to copy the loss. The rows of the batch
# and the numbers of Adam come from the host; then the rows are copied to their place.
RECORDED = {"cudaGraphLaunch": 1, "cupy_copy__float32_float32": 1}


@pytest.fixture(autouse=True)
def no_mistakes():
    """Of those that raise nothing (`log.mistakes`)."""
    start = log.mark()
    yield
    assert log.mistakes(start) == []


def counts_of(update, before=4):
    """What a call asks of the GPU that was made some times before."""
    for _ in range(before):
        update()
    start = log.mark()
    update()
    return log.since(start)


@pytest.mark.parametrize(("model", "how"), MEASURED)
def test_a_step_asks_no_more_of_the_gpu_than_it_did(model, how):
    trials = [Grokking(model=model, seed=n) for n in range(2 if "replicas" in how else 1)]
    with mg.use_kernels("kernels" in how):
        counts = counts_of(updates(trials, GPU))
    totals = tuple(counter.total() for counter in counts)
    most = MEASURED[model, how]
    assert all(n <= m for n, m in zip(totals, most, strict=True)), f"{totals} > {most}: {counts}"


@pytest.mark.parametrize("model", ["lstm", "gpt"])
@pytest.mark.parametrize(
    ("settings", "replicas", "from_host"),
    [
        ({}, 1, 2),
        ({}, 3, 2),
        ({"optimizer": "adam", "clip": 0.25, "layers": 1}, 1, 2),
        ({"dropout": 0.1}, 1, 3),
    ],
    ids=["AdamW", "replicas", "Adam", "dropout"],
)
def test_a_recorded_step_is_one_launch(model, settings, replicas, from_host):
    trials = [Grokking(model=model, seed=n, **settings) for n in range(replicas)]
    with mg.use_kernels():
        counts = counts_of(updates(trials, GPU, recorded=True))
    assert counts == (RECORDED, {"to device": from_host, "to host": 0, "on device": 1}, {})


@pytest.mark.parametrize(("model", "replicas"), IN_RECORDING)
def test_a_recording_holds_no_more_launches_than_it_did(model, replicas):
    start, trials = log.mark(), [Grokking(model=model, seed=n) for n in range(replicas)]
    with mg.use_kernels():
        counts_of(updates(trials, GPU, recorded=True))
    launches = log.recorded(start)
    assert launches.total() <= IN_RECORDING[model, replicas], launches


def test_without_nvmath_a_recording_multiplies_in_triton(monkeypatch):
    """For CuPy does not call cuBLAS in it."""
    library = products.Cupy()
    monkeypatch.setattr(products, "cublas", lambda: library)
    start = log.mark()
    with mg.use_kernels():
        counts = counts_of(updates([Grokking(model="lstm")], GPU, recorded=True))
    assert counts.launches == RECORDED
    names = log.recorded(start)
    assert names["gemm_kernel"] > 0
    assert not [name for name in names if name.startswith("cublas")]


@pytest.fixture
def collections():
    """Garbage is collected all the time: whether in a recording, each time."""
    found, before = [], gc.get_threshold()
    note = lambda *_: found.append(devices.capturing())
    gc.callbacks.append(note)
    gc.set_threshold(1, 1, 1)
    yield found
    gc.set_threshold(*before)
    gc.callbacks.remove(note)


def test_no_garbage_is_collected_in_a_recording(collections):
    """An earlier recording might be in it; to free its memory would end this one."""
    with mg.use_kernels():
        counts = counts_of(updates([Grokking(model="lstm", layers=1)], GPU, recorded=True))
    assert counts.launches == RECORDED
    assert collections
    assert not any(collections)


def test_batches_of_two_sizes_are_two_recordings():
    """480 sums are four batches of 100 and one of 80. The third of a size is recorded."""
    with mg.use_kernels():
        update = updates([Grokking(model="gpt", batch_size=100)], GPU, recorded=True)
        epochs = [[counts_of(update, before=0).launches for _ in range(5)] for _ in range(4)]
    assert [[counts == RECORDED for counts in epoch] for epoch in epochs] == [
        [False, False, False, True, False],
        [True, True, True, True, False],
        [True, True, True, True, False],
        [True, True, True, True, True],
    ]


def test_a_schedule_and_the_draws_of_dropout_reach_the_recorded_step():
    """The host writes them before each replay to where the launches read them."""
    model = nn.Sequential(nn.Linear(8, 8), nn.Dropout(0.5)).to(GPU)
    optimizer = optim.AdamW(model.parameters(), weight_decay=0.01)

    @mg.capture
    def step(x):
        optimizer.zero_grad()
        loss = model(x).sum()
        loss.backward()
        optim.clip_grad_norm(optimizer.parameters(), 1.0)
        optimizer.step()
        return loss

    decays, draws = [], []
    rates = [optim.cosine(n, 1e-2, 6, warmup=2) for n in range(6)]
    with mg.use_kernels():
        for optimizer.lr in rates:
            step(mg.zeros((4, 8), device=GPU))
            by_dtype = {board.host.dtype.name: board.device.get() for board in step.boards}
            if by_dtype:
                draws.append(int(by_dtype["uint64"][2]))  # seed, stream, draw
                decays.append(by_dtype["float32"][7])  # the last of the 8 numbers of Adam
    assert draws == [2, 3, 4, 5]
    np.testing.assert_array_equal(decays, np.float32([1 - lr * 0.01 for lr in rates[2:]]))


def test_a_function_that_is_computed_again_for_its_gradient_is_recorded():
    layer = nn.Linear(8, 8).to(GPU)
    optimizer = optim.AdamW(layer.parameters())
    x = mg.zeros((4, 8), device=GPU)

    @mg.capture
    def step():
        optimizer.zero_grad()
        loss = mg.checkpoint(layer, x).sum()
        loss.backward()
        optimizer.step()
        return loss

    with mg.use_kernels():
        assert counts_of(step).launches == RECORDED


def test_what_cannot_be_recorded_is_told_once_and_runs_as_it_is(capfd):
    x = mg.zeros((3,), device=GPU)

    @mg.capture
    def step(x):
        return x * float(x.sum())

    for _ in range(5):
        assert step(x).tolist() == [0, 0, 0]
    (line,) = capfd.readouterr().err.splitlines()
    assert "capture: step is not recorded and runs launch by launch: " in line
