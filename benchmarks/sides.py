"""The sides of the benchmark: one training step in minigrad, PyTorch and JAX.

Every side starts from minigrad's weights and trains on one batch: forward, mean loss over the
positions that count, backward, clip, AdamW. `check_agreement` compares their losses.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from importlib.metadata import PackageNotFoundError, version
from types import MappingProxyType
from typing import Any, Literal

import numpy as np

import minigrad as mg
from experiments.data import modular
from experiments.grokking import prefix
from experiments.grokking.task import Grokking, GrokkingTask, data_of, model_of
from experiments.train import loop, records

Model = Literal["lstm", "gpt"]
Step = Callable[[], Any]  # one update; returns the loss before it
FLOAT32 = float(np.finfo(np.float32).eps)


class Unavailable(Exception):
    """A side that cannot run here; the message says why."""


class BenchmarkError(Exception):
    """The sides do not agree, or a measurement failed; the message says why."""


# --- the problem ----------------------------------------------------------------------------------
@dataclass(frozen=True)
class Problem:
    """A model, and the batch on which every side trains it.

    In every sequence the loss counts the positions from `start` on; PAD does not occur.
    """

    trial: Grokking
    equations: modular.Equations

    def __post_init__(self) -> None:
        counted = np.arange(self.length) >= self.start
        if (self.equations.rhs != counted).any():
            raise ValueError("expected every sequence to count the same positions, the last ones")
        if (self.equations.tokens == self.vocabulary.index("PAD")).any():
            raise ValueError("expected sequences without PAD")

    @property
    def vocabulary(self) -> tuple[str, ...]:
        return self.equations.vocabulary

    @property
    def batch(self) -> int:
        return len(self.equations)

    @property
    def length(self) -> int:
        return self.equations.inputs.shape[1]

    @property
    def start(self) -> int:
        """The first position that counts."""
        return int(self.equations.eq_position[0]) + 1


def sums(model: Model, batch: int = 480, d: int = 128) -> Problem:
    """Training sums a + b mod p of the sanity experiment; by default all of them.

    p is 31, or for a larger batch the least p with enough training sums, which are half of all. The
    loss counts the answer and EOS.
    """
    p = next(p for p in range(31, 2 * batch + 32) if round(p * p / 2) >= batch)
    trial = Grokking(model=model, d=d, p=p, batch_size=batch)
    train, _ = data_of(trial)
    return Problem(trial, train.take(slice(batch)))


def random_tokens(model: Model, batch: int = 480, d: int = 128, length: int = 6) -> Problem:
    """Random tokens of the vocabulary of p = 31; the loss counts all positions."""
    trial = Grokking(model=model, d=d, batch_size=batch)
    words = modular.vocabulary(trial.p, trial.operator)
    tokens = np.random.default_rng(0).integers(words.index("PAD"), size=(batch, length + 1))
    nothing_before = np.full(batch, -1)
    counted = np.ones((batch, length), dtype=bool)
    equations = modular.Equations(tokens, nothing_before, nothing_before, counted, words)
    return Problem(trial, equations)


# --- minigrad -------------------------------------------------------------------------------------
def minigrad_model(problem: Problem) -> Any:
    mg.random.seed(problem.trial.seed)
    return model_of(problem.trial, problem.equations)


def weights_of(problem: Problem) -> dict[str, np.ndarray[Any, Any]]:
    """The initial weights of every side."""
    return {k: v.copy() for k, v in minigrad_model(problem).state_dict().items()}


def minigrad_step(problem: Problem, shared: bool = False) -> Step:
    """One step as in the experiment, which takes the batch from the training set each time.

    shared: with shared prefixes; each step also builds the tree of prefixes.
    """
    trial, data = problem.trial, problem.equations
    mg.random.seed(trial.seed)
    with prefix.sharing(shared):
        task = GrokkingTask(trial, "cpu", (data, data.take(slice(0))))
    step = loop.Step(task, loop.optimizer_of(trial, task.model), trial.clip)
    return partial(step, np.arange(problem.batch))


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

    compiled:  forward and loss are compiled by `torch.compile` with this `mode`, without graph
               breaks.
    optimizer: options of AdamW that change only how it is computed.
    """
    import torch
    from torch.nn import functional as F

    from benchmarks import torch_models

    trial, start = problem.trial, problem.start
    sizes: dict[str, int] = {"d": trial.d, "layers": trial.layers}
    if kind == "SeedGPT":
        sizes |= {"heads": trial.heads, "length": problem.length}
    model = getattr(torch_models, kind)(len(problem.vocabulary), **sizes)
    model.load(weights_of(problem))
    model.to(device)
    trained = [p for p in model.parameters() if p.requires_grad]
    adam = torch.optim.AdamW(trained, lr=trial.lr, weight_decay=trial.weight_decay, **optimizer)
    inputs = torch.tensor(problem.equations.inputs, device=device)
    targets = torch.tensor(problem.equations.targets[:, start:], device=device)

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
    if trial.model == "gpt":
        logits = partial(jax_models.gpt, start=start, heads=trial.heads)
    update = jax_models.training_step(logits, trial.lr, trial.weight_decay, trial.clip)
    state = jax_models.initial(weights_of(problem))
    inputs = jax.numpy.array(problem.equations.inputs.astype(np.int32))
    targets = jax.numpy.array(problem.equations.targets[:, start:].astype(np.int32))

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
}


def make_side(name: str, problem: Problem) -> Side:
    """The side of this name. ValueError if it is unknown, Unavailable if it cannot run here."""
    kinds = KINDS[problem.trial.model]
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
            say_once(f"{problem.trial.model}: {name} is left out: {reason}")
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
                    f"{problem.trial.model}: loss {n} of {sides[0].name} is {a:.7g}, that of "
                    f"{side.name} {b:.7g}: they do not compute the same"
                )


def environment() -> dict[str, Any]:
    """The environment of `experiments.train.records`, with the versions of PyTorch, JAX, Numba."""
    result = records.environment("cpu")
    for package in ("torch", "jax", "numba"):
        try:
            result[package] = version(package)
        except PackageNotFoundError:
            result[package] = None
    return result
