"""A training step of the sanity experiment beside its peers; replicas; the whole experiment."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from importlib.util import find_spec
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np

import minigrad as mg
from benchmarks.gpu.clock import by_the_wall, synchronize
from benchmarks.gpu.rows import Row, at_least, at_most, left_out
from benchmarks.problems import Problem, SumModel, sums
from benchmarks.sides import EAGER, FUSED, Unavailable
from experiments.grokking import prefix
from experiments.grokking.task import Grokking
from experiments.train import loop
from experiments.train.loop import Step, optimizer_of
from experiments.train.replicas import run_replicas

GPU = "cuda:0"
MODELS: tuple[SumModel, ...] = ("lstm", "gpt")
REPLICAS = 64
Update = Callable[[], mg.Tensor]


# --- minigrad's side ------------------------------------------------------------------------------
def updates(
    trials: Sequence[Grokking], device: str, *, recorded: bool = False, nudge: bool = False
) -> Update:
    """What makes one step of the trials, as replicas if there are several, and gives the loss.

    recorded: as the experiments do where there is a GPU; else step by step.
    nudge:    change every weight by one unit in the last place, up or down.
    """
    tasks = []
    with prefix.sharing(False):
        for trial in trials:
            mg.random.seed(trial.seed)
            tasks.append(trial.task(device))
    task = tasks[0] if len(trials) == 1 else type(tasks[0]).stacked(tasks)
    if nudge:
        rng = np.random.default_rng(0)
        state = task.model.state_dict()
        toward = {k: np.copysign(np.inf, rng.standard_normal(w.shape)) for k, w in state.items()}
        nudged = {k: np.nextafter(w, toward[k].astype(w.dtype)) for k, w in state.items()}
        task.model.load_state_dict(nudged)
    step = Step(task, optimizer_of(trials[0], task.model, trials[1:]), trials[0].clip)
    step.recorded = step.recorded and recorded
    epochs = [(rows for n in count() for rows in each.order(n)) for each in tasks]

    def update() -> mg.Tensor:
        rows = [next(orders) for orders in epochs]
        return step(rows[0] if len(rows) == 1 else np.stack(rows))

    return update


def losses(trials: Sequence[Grokking], device: str, steps: int, **how: bool) -> Any:
    """The first losses, (steps, trials)."""
    update = updates(trials, device, **how)
    return np.array([np.reshape(update().tolist(), -1) for _ in range(steps)])


# --- the sanity step ------------------------------------------------------------------------------
def steps() -> Iterator[Row]:
    """A step of each model, captured and not, against PyTorch's three ways."""
    for model in MODELS:
        yield from race(model)


def race(model: SumModel) -> Iterator[Row]:
    problem = sums(model)
    trials = [problem.trial]
    times = by_the_wall({"plain": updates(trials, GPU)})
    peers, missing = peers_of(problem)
    yield from missing
    with mg.use_kernels():
        ours = {
            "kernels": updates(trials, GPU),
            "recorded": updates(trials, GPU, recorded=True),
        }
        times |= by_the_wall(ours | peers)
    for name, ms in times.items():
        yield Row(f"{model} step: {name}", f"{ms:.3f} ms", numbers={"ms": ms})
    for peer, goal in goals(model).items():
        if peer in times:
            ratio = times[peer] / times["recorded"]
            yield at_least(f"{model} step: {peer} / recorded", ratio, goal, "×")
    if EAGER in times:
        yield from many(model, times[EAGER])


def goals(model: SumModel) -> dict[str, float]:
    """How many times as long a peer should take as the recorded step."""
    found = {EAGER: 8.0, "PyTorch reduce-overhead": 1.1, "PyTorch CUDA graph": 1.1}
    return found | ({f"{FUSED} CUDA graph": 1.1} if model == "lstm" else {})


def peers_of(problem: Problem) -> tuple[dict[str, Callable[[], Any]], list[Row]]:
    """PyTorch's steps, as far as they can be had here."""
    try:
        from benchmarks.gpu import peers
    except ImportError as error:
        return {}, [left_out(f"{problem.model} step: PyTorch", error)]
    found: dict[str, Callable[[], Any]] = {}
    rows: list[Row] = []
    for name, make in peers.ways(problem).items():
        try:
            found[name] = make()
        except Unavailable as reason:
            rows.append(left_out(f"{problem.model} step: {name}", reason))
    return found, rows


def many(model: SumModel, eager: float) -> Iterator[Row]:
    """64 runs as replicas, against 64 runs of PyTorch eager one after another."""
    trials = [Grokking(model=model, seed=n) for n in range(REPLICAS)]
    with mg.use_kernels():
        update = updates(trials, GPU, recorded=True)
        ms = by_the_wall({"replicas": update})["replicas"]
    name = f"{model}: {REPLICAS} replicas"
    yield Row(f"{name}, a step of all", f"{ms:.3f} ms", numbers={"ms": ms})
    yield at_least(f"{name}, runs a second / PyTorch eager's", REPLICAS * eager / ms, 30, "×")


# --- the whole experiment -------------------------------------------------------------------------
def sanity() -> Iterator[Row]:
    """`python -m experiments.sanity --device cuda --replicas` without its figures: 2 models of 2
    seeds, 10,001 steps, with metrics, and with checkpoints where safetensors is installed."""
    what = "the whole sanity experiment"
    if find_spec("safetensors") is None:
        what += ", without checkpoints"
        loop.save_checkpoint = lambda *args, **kwargs: None
    with tempfile.TemporaryDirectory() as folder, mg.use_kernels():
        # some steps first: what is measured is not how long Triton compiles
        train_all(Path(folder) / "warm", steps=10)
        synchronize()
        start = time.perf_counter()
        train_all(Path(folder) / "whole", steps=Grokking.steps)
        seconds = time.perf_counter() - start
    yield at_most(what, seconds, 15, " s", seconds=seconds)


def train_all(folder: Path, steps: int) -> None:
    """Both models, the seeds of each as replicas."""
    for model in MODELS:
        trials = [Grokking(model=model, seed=seed, steps=steps) for seed in (0, 42)]
        folders = [folder / f"{model}-{trial.seed}" for trial in trials]
        run_replicas(trials, folders, device=GPU)
