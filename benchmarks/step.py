"""A training step side by side with PyTorch: `python -m benchmarks.step`.

Both sides train the same model on the same batch, the 480 training sequences of the sanity
experiment in float32: forward, loss on the right-hand side, backward, clip at norm 1, AdamW. They
take turns within one process, so that a drift of the machine meets both, and pause before each
turn, since threads that still spin after one would slow the other. Memory is measured in processes
of their own. Also the cost of recording and running a tiny op.
"""

from __future__ import annotations

import dataclasses
import json
import statistics
import subprocess
import sys
import time
import timeit
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import tyro

from minigrad import device

Side = Literal["lstm", "gpt", "torch-lstm", "torch-gpt", "torch.nn.LSTM"]
PEERS: dict[str, tuple[Side, ...]] = {
    "lstm": ("torch-lstm", "torch.nn.LSTM"),
    "gpt": ("torch-gpt",),
}
PAUSE = 0.2  # seconds before each turn: the threads of OpenBLAS spin for about 0.1 after a step


@dataclasses.dataclass(frozen=True)
class Settings:
    """Options of the benchmark."""

    pairs: int = 40
    """Turns of each side that are counted, after 5 that are not."""
    keep_memory: bool = True
    """Let the process keep freed memory, as the experiments do; it serves both sides."""
    memory_of: Side | None = None
    """Print the peak memory of this side's steps in MB, and nothing else."""


def minigrad_step(name: str) -> Callable[[], Any]:
    """One training step of the sanity experiment, exactly as the experiment runs it."""
    import minigrad as mg
    from experiments import objective, training

    trial = training.Trial(model=name, seed=0)
    mg.random.seed(0)
    train, _ = training.data_of(trial)
    model = training.model_of(trial, train.vocabulary, train.inputs.shape[1])
    optimizer = training.optimizer_of(trial, model)
    batch = objective.batch_of(train)
    return lambda: training.train_step(model, optimizer, batch, trial.clip)


def torch_step(name: str) -> Callable[[], Any]:
    """The same in PyTorch eager."""
    import torch
    from torch.nn import functional as F

    from benchmarks import torch_models
    from experiments import training

    kinds = {
        "torch-lstm": torch_models.SeedLSTM,
        "torch.nn.LSTM": torch_models.FusedLSTM,
        "torch-gpt": torch_models.SeedGPT,
    }
    torch.manual_seed(0)
    model = kinds[name]()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=1.0)
    train, _ = training.data_of(training.Trial(model="gpt", seed=0))
    inputs, targets = torch.tensor(train.inputs), torch.tensor(train.targets)

    def step() -> Any:
        optimizer.zero_grad()
        logits = model(inputs)[:, 4:]  # the answer and EOS
        loss = F.cross_entropy(logits.reshape(-1, logits.shape[-1]), targets[:, 4:].reshape(-1))
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        return loss

    return step


def step_of(side: Side) -> Callable[[], Any]:
    return minigrad_step(side) if side in PEERS else torch_step(side)


def alternate(steps: dict[str, Callable[[], Any]], pairs: int) -> dict[str, list[float]]:
    """Milliseconds of a step, the sides taking turns.

    A turn is a pause, one step that is not counted, since the other side has had the caches, and
    three that are, as in training, where step follows step.
    """
    times: dict[str, list[float]] = {name: [] for name in steps}
    for n in range(pairs + 5):
        for name, step in steps.items():
            time.sleep(PAUSE)
            step()
            start = time.perf_counter()
            for _ in range(3):
                step()
            if n >= 5:
                times[name].append(1e3 * (time.perf_counter() - start) / 3)
    return times


def peak_memory(side: Side) -> float:
    """MB by which the peak of 20 steps exceeds the memory before the model was made (Linux)."""
    import numpy as np

    if side not in PEERS:
        import torch

        torch.ones(2, 2) @ torch.ones(2, 2)
    np.ones((2, 2)) @ np.ones((2, 2))
    before = resident("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts again from here
    step = step_of(side)
    for _ in range(20):
        step()
    return resident("VmHWM") - before


def resident(field: str) -> float:
    """Resident memory in MB: now (VmRSS) or at its peak (VmHWM)."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field):
            return int(line.split()[1]) / 1024
    raise RuntimeError(f"no {field} on this system")


def tiny_ops() -> dict[str, float]:
    """Microseconds to run and record y = x * x on three numbers, best of 7."""
    import torch

    import minigrad as mg

    ours = mg.tensor([1.0, 2.0, 3.0], requires_grad=True)
    theirs = torch.tensor([1.0, 2.0, 3.0], requires_grad=True)
    best: dict[str, float] = {}
    for _ in range(7):
        for name, x in (("minigrad", ours), ("torch", theirs)):
            seconds = timeit.timeit(lambda x=x: x * x, number=20_000)
            best[name] = min(best.get(name, 1e9), seconds / 20_000 * 1e6)
    return best


def main(settings: Settings) -> None:
    if settings.keep_memory:
        device.keep_memory()
    if settings.memory_of is not None:
        print(json.dumps(peak_memory(settings.memory_of)))
        return
    print("| side | ms a step, median | 10 %–90 % | PyTorch / minigrad | peak MB |")
    print("|---|---|---|---|---|")
    for name, peers in PEERS.items():
        sides = (name, *peers)
        times = alternate({side: step_of(side) for side in sides}, settings.pairs)
        ours = statistics.median(times[name])
        for side in sides:
            deciles = statistics.quantiles(times[side], n=10)
            median = statistics.median(times[side])
            arguments = ["--memory-of", side]
            arguments += [] if settings.keep_memory else ["--no-keep-memory"]
            megabytes = float(
                subprocess.run(
                    [sys.executable, "-m", "benchmarks.step", *arguments],
                    check=True,
                    capture_output=True,
                    text=True,
                ).stdout
            )
            print(
                f"| {side} | {median:.1f} | {deciles[0]:.1f}–{deciles[-1]:.1f} "
                f"| {median / ours:.2f} | {megabytes:.0f} |"
            )
    tiny = tiny_ops()
    print(
        f"\nA tiny op, run and recorded: minigrad {tiny['minigrad']:.2f} µs, PyTorch "
        f"{tiny['torch']:.2f} µs, ratio minigrad / PyTorch {tiny['minigrad'] / tiny['torch']:.2f}"
    )


if __name__ == "__main__":
    main(tyro.cli(Settings, description=__doc__))
