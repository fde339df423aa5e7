"""The sides of the benchmark: one training step in minigrad, PyTorch and JAX.

Every side starts from minigrad's weights and trains on one batch: forward, mean loss over what
counts, backward, clip if the trial does, AdamW or Adam. `check_agreement` compares what they
compute.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

import minigrad as mg
from benchmarks.problems import Model, Problem
from experiments.grokking import prefix
from experiments.train import loop, records

Step = Callable[[], Any]  # one update; gives the loss before it
FLOAT32 = float(np.finfo(np.float32).eps)


class Unavailable(Exception):
    """A side that cannot run here; the message says why."""


class BenchmarkError(Exception):
    """The sides do not agree, or a measurement failed; the message says why."""


# --- minigrad -------------------------------------------------------------------------------------
def weights_of(problem: Problem) -> dict[str, np.ndarray[Any, Any]]:
    """What every side starts from."""
    return {k: v.copy() for k, v in problem.task().model.state_dict().items()}


def minigrad_step(problem: Problem, shared: bool = False) -> Step:
    """One step as in the experiment, which takes the batch from the training set each time.

    shared: with shared prefixes; each step also builds the tree of prefixes.
    """
    trial = problem.trial
    with prefix.sharing(shared):
        task = problem.task()
    step = loop.Step(task, loop.optimizer_of(trial, task.model), trial.clip)
    return partial(step, problem.rows)


# --- PyTorch --------------------------------------------------------------------------------------
def torch_step(
    problem: Problem,
    kind: str,
    compiled: bool = False,
    *,
    device: str = "cpu",
    mode: str | None = None,
    optimizer: Mapping[str, bool] = MappingProxyType({}),
) -> Step:
    """The step in PyTorch.

    compiled:  forward and loss by `torch.compile`, in a `mode` of its own, without a graph break.
    optimizer: options of Adam or AdamW that only change how it is computed.
    """
    import torch
    from torch.nn import functional as F

    from benchmarks import torch_models

    trial, start = problem.trial, problem.start
    sizes: dict[str, int] = {"d": trial.d, "layers": trial.layers}
    if problem.source:
        sizes["source"] = problem.source
    elif problem.model not in ("lstm", "tied-lstm"):
        sizes |= {"heads": trial.heads, "length": problem.length}
    model = getattr(torch_models, kind)(problem.words, **sizes)
    model.load(weights_of(problem))
    model.to(device)
    trained = [p for p in model.parameters() if p.requires_grad]
    kinds = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}
    adam = kinds[trial.optimizer](
        trained, lr=trial.lr, weight_decay=trial.weight_decay, **optimizer
    )
    inputs = torch.tensor(problem.inputs, device=device)
    targets = torch.tensor(problem.targets, device=device)

    def loss_of(inputs: Any, targets: Any) -> Any:
        logits = model(inputs)[:, start:]
        return F.cross_entropy(logits.reshape(-1, logits.shape[-1]), targets.reshape(-1))

    if compiled:
        loss_of = torch.compile(loss_of, fullgraph=True, mode=mode)
        try:
            loss_of(inputs, targets).backward()
        except Exception as error:  # the compiler raises many kinds
            reason = str(error).strip().split("\n")[0]
            raise Unavailable(f"torch.compile: {type(error).__name__}: {reason}") from None

    def step() -> Any:
        adam.zero_grad()
        loss = loss_of(inputs, targets)
        loss.backward()
        if trial.clip < math.inf:
            torch.nn.utils.clip_grad_norm_(trained, trial.clip)
        adam.step()
        return loss.detach()

    return step


# --- JAX ------------------------------------------------------------------------------------------
def jax_step(problem: Problem) -> Step:
    """The step in JAX, as one compiled program."""
    try:
        import jax
    except ImportError as error:
        raise Unavailable(f"JAX is not installed ({error})") from None
    jax.config.update("jax_platforms", "cpu")

    from benchmarks import jax_models

    trial, start = problem.trial, problem.start
    logits = partial(jax_models.lstm, start=start)
    if problem.model == "gpt":
        logits = partial(jax_models.gpt, start=start, heads=trial.heads)
    update = jax_models.training_step(logits, trial.lr, trial.weight_decay, trial.clip)
    state = jax_models.initial(weights_of(problem))
    inputs = jax.numpy.array(problem.inputs.astype(np.int32))
    targets = jax.numpy.array(problem.targets.astype(np.int32))

    def step() -> Any:
        nonlocal state
        state, loss = update(state, inputs, targets)
        return jax.block_until_ready((state, loss))[1]

    return step


# --- all sides ------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Side:
    """A name and a step, run with minigrad's kernels on or off."""

    name: str
    step: Step
    kernels: bool = False

    def switch(self) -> None:
        """Call this before the first step of each turn; it also sets the threads of BLAS."""
        mg.use_kernels(self.kernels)


@dataclass(frozen=True)
class Kind:
    """How a side is made. compiled: by a compiler, which needs memory too; so none is measured."""

    make: Callable[[Problem], Step]
    kernels: bool = False
    compiled: bool = False


EAGER, FUSED = "PyTorch eager", "torch.nn.LSTM"
SHARED = ", shared prefixes"  # at the end of a name
MINIGRAD = {
    "minigrad": Kind(minigrad_step, kernels=True),
    f"minigrad{SHARED}": Kind(partial(minigrad_step, shared=True), kernels=True),
    "minigrad, plain": Kind(minigrad_step),
    f"minigrad, plain{SHARED}": Kind(partial(minigrad_step, shared=True)),
}
JAX = {"JAX compiled": Kind(jax_step, compiled=True)}


def ours_and_eager(kind: str) -> dict[str, Kind]:
    """minigrad with kernels and without, and a model of `torch_models`."""
    eager = Kind(partial(torch_step, kind=kind))
    return {**{name: MINIGRAD[name] for name in ("minigrad", "minigrad, plain")}, EAGER: eager}


KINDS: dict[Model, dict[str, Kind]] = {
    "lstm": {
        **MINIGRAD,
        EAGER: Kind(partial(torch_step, kind="SeedLSTM")),
        FUSED: Kind(partial(torch_step, kind="FusedLSTM")),
        "PyTorch compiled": Kind(partial(torch_step, kind="SeedLSTM", compiled=True), False, True),
        f"{FUSED} compiled": Kind(
            partial(torch_step, kind="FusedLSTM", compiled=True), False, True
        ),
        **JAX,
    },
    "gpt": {
        **MINIGRAD,
        EAGER: Kind(partial(torch_step, kind="SeedGPT")),
        "PyTorch compiled": Kind(partial(torch_step, kind="SeedGPT", compiled=True), False, True),
        **JAX,
    },
    "speech-classifier": ours_and_eager("SpeechClassifier"),
    "speech-language-model": ours_and_eager("SpeechLanguageModel"),
    "translator": ours_and_eager("Translator"),
    "translator-512": ours_and_eager("Translator"),
    "bert": ours_and_eager("BertClassifier"),
    "bert-long": ours_and_eager("BertClassifier"),
    "tied-lstm": ours_and_eager("TiedLSTM"),
    "tied-gpt": ours_and_eager("TiedGPT"),
}


def make_side(name: str, problem: Problem) -> Side:
    """ValueError for an unknown name; Unavailable if it cannot run here."""
    kinds = KINDS[problem.model]
    if name not in kinds:
        raise ValueError(f"side: expected one of {', '.join(map(repr, kinds))}, got {name!r}")
    kind = kinds[name]
    if kind.kernels:
        try:
            mg.use_kernels(True)
        except ImportError as error:
            raise Unavailable(str(error)) from None
    return Side(name, kind.make(problem), kind.kernels)


def make_sides(names: Sequence[str], problem: Problem) -> list[Side]:
    """The sides that can run here; for each other, one line on stderr says why it cannot."""
    sides: list[Side] = []
    for name in names:
        try:
            sides.append(make_side(name, problem))
        except Unavailable as reason:
            say_once(f"{problem.model}: {name} is left out: {reason}")
    return sides


@cache
def say_once(line: str) -> None:
    print(line, file=sys.stderr)


def check_agreement(sides: Sequence[Side], problem: Problem, steps: int = 3) -> None:
    """Run the first steps of all sides. BenchmarkError unless their losses agree.

    The first loss shows that the models are the same, the next ones that the updates are the same,
    except for clipping: a common factor of all gradients does not change Adam's steps. The
    tolerance is eps of float32 times 4 d, the number of terms of the longest sum in a product.
    """
    losses: list[list[float]] = []
    for side in sides:
        side.switch()
        losses.append([float(side.step()) for _ in range(steps)])
    for side, of_side in zip(sides, losses, strict=True):
        for n, (a, b) in enumerate(zip(losses[0], of_side, strict=True), start=1):
            if not abs(a - b) <= 4 * problem.trial.d * FLOAT32 * abs(a):
                raise BenchmarkError(
                    f"{problem.model}: loss {n} of {sides[0].name} is {a:.7g}, that of "
                    f"{side.name} {b:.7g}: they do not compute the same"
                )


def processor() -> dict[str, Any]:
    """Name and widest vectors of the processor, in bits, as Linux tells them; None elsewhere."""
    path = Path("/proc/cpuinfo")
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    lines = (line.partition(":") for line in text.splitlines())
    found = {name.strip(): value.strip() for name, _, value in lines}
    flags = found.get("flags", "").split()
    widths = {"avx512f": 512, "avx2": 256, "sse2": 128}
    bits = next((width for flag, width in widths.items() if flag in flags), None)
    return {"processor": found.get("model name"), "vector_bits": bits}


def environment() -> dict[str, Any]:
    """The environment of `experiments.train.records`, with the versions of PyTorch, JAX, Numba."""
    result = records.environment("cpu")
    for package in ("torch", "jax", "numba"):
        try:
            result[package] = version(package)
        except PackageNotFoundError:
            result[package] = None
    return result
