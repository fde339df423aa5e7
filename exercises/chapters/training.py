"""Chapter 7: optimizers. It ends in an AdamW that beats SGD."""

from __future__ import annotations

from collections.abc import Sequence
from time import perf_counter
from typing import Any

import numpy as np

import minigrad as mg
from exercises.exercise import Chapter, Exercise
from exercises.probes import Both, Call, Numbers, Program
from minigrad import optim

STEPS = 4


def clipped(limit: float) -> Numbers:
    rng = np.random.default_rng(0)
    parameters = [mg.tensor(rng.standard_normal(n), requires_grad=True) for n in (3, 40)]
    for p in parameters:
        (p * p.detach()).sum().backward()  # the gradient is p
    norm = optim.clip_grad_norm(parameters, limit)
    return {"norm before": norm.numpy(), **{str(p.shape): p.grad.numpy() for p in parameters}}


def clipping() -> Numbers:
    """Gradients of two parameters with a limit below their norm, and with one above."""
    return {f"limit {limit}, {k}": v for limit in (1.0, 100.0) for k, v in clipped(limit).items()}


def trajectory(optimizer: Any, parameter: mg.Tensor) -> Any:
    rng = np.random.default_rng(1)
    for _ in range(STEPS):
        parameter.grad = mg.tensor(rng.standard_normal(parameter.shape))
        optimizer.step()
    return parameter.detach().numpy().copy()


def start() -> mg.Tensor:
    return mg.tensor(np.random.default_rng(0).standard_normal((3, 2)), requires_grad=True)


def steps_of_sgd() -> Numbers:
    """Parameters after four steps, for each kind of momentum."""
    kinds: dict[str, dict[str, Any]] = {
        "without momentum": {},
        "momentum": {"momentum": 0.9},
        "momentum and decay": {"momentum": 0.9, "weight_decay": 0.1},
        "Nesterov": {"momentum": 0.9, "nesterov": True},
    }
    return {
        f"parameters after {STEPS} steps, {name}": trajectory(
            optim.SGD([p := start()], 0.1, **kind), p
        )
        for name, kind in kinds.items()
    }


def one_update(decay: float, keep: float) -> Sequence[Any]:
    """Arguments of `adam_update`: pieces, (p, grad, m, v), and the numbers of a step."""
    rng = np.random.default_rng(0)
    p, g, m = (rng.standard_normal(5) for _ in range(3))
    v = rng.random(5)

    def pieces(*arrays: Any, scratch: int) -> Any:
        yield [*arrays, *(np.empty(5) for _ in range(scratch))]

    return pieces, (p, g, m, v), 0.9, 0.99, 1e-3, 0.1, decay, keep


def state_after(args: Sequence[Any], _: Any) -> Numbers:
    p, g, m, v = args[1]
    return {"m": m, "v": v, "p": p, "grad, which must stay": g}


def steps_of_adam() -> Numbers:
    kinds = {
        "Adam": (optim.Adam, {"weight_decay": 0.1}),
        "AdamW": (optim.AdamW, {"weight_decay": 0.1}),
    }
    return {
        f"parameters after {STEPS} steps, {name}": trajectory(
            make([p := start()], lr=0.1, **options), p
        )
        for name, (make, options) in kinds.items()
    }


def least_loss(make: Any, rates: Sequence[float]) -> tuple[float, float]:
    """The least final loss over the rates, and its rate; a regression on inputs of many scales."""
    best = float("inf"), 0.0
    for lr in rates:
        rng = np.random.default_rng(0)
        x = rng.standard_normal((256, 16)) * np.logspace(0, -2, 16)
        y = np.sin(x @ (rng.standard_normal((16, 1)) / np.logspace(0, -2, 16)[:, None]))
        weights = [
            mg.tensor(0.3 * rng.standard_normal(s), requires_grad=True) for s in ((16, 32), (32, 1))
        ]
        optimizer = make(weights, lr=lr)
        with np.errstate(all="ignore"):
            for _ in range(300):
                optimizer.zero_grad()
                loss = mg.mse_loss(mg.matmul(mg.tanh(mg.matmul(x, weights[0])), weights[1]), y)
                loss.backward()
                optimizer.step()
        if np.isfinite(loss.item()):
            best = min(best, (loss.item(), lr))
    return best


def beats_sgd() -> str:
    begin = perf_counter()
    adamw = least_loss(optim.AdamW, (0.003, 0.01, 0.03))
    sgd = least_loss(lambda p, lr: optim.SGD(p, lr, momentum=0.9), (0.01, 0.03, 0.1, 0.3))
    if not adamw[0] < 0.5 * sgd[0]:
        raise AssertionError(
            f"AdamW reaches {adamw[0]:.3f}, SGD {sgd[0]:.3f}: it should be half of it"
        )
    return (
        f"Your AdamW beats SGD with momentum on inputs whose scales differ a hundredfold: loss "
        f"{adamw[0]:.3f} (rate {adamw[1]:g}) against {sgd[0]:.3f} (rate {sgd[1]:g}), each with the "
        f"best of its rates, after 300 steps, {perf_counter() - begin:.1f} s."
    )


CHAPTER = Chapter(
    "Modules, AdamW, a training loop",
    (
        Exercise(
            source="minigrad/optim/clip.py: clip_arrays",
            says="Scale gradients in place so that their common norm is at most max_norm.\n\n"
            "Returns the norm before scaling, () or (replicas,).",
            cuts=["norm = ... for g in grads"],
            task="""
            All gradients together are one long vector. Compute its length from the lengths of the
            parts (np.linalg.norm(widen(g)) is one), then one coefficient for all: max_norm / (norm
            + 1e-6), but never more than 1. Scale each gradient in place.

            What would change if every gradient were scaled by its own norm?
            """,
            hints=(
                "The square of the norm is the sum of the squares of the norms of the parts.",
                "np.minimum(max_norm / (norm + 1e-6), 1.0)",
                "np.multiply(g, coefficient, out=g)",
            ),
            probe=Program(clipping),
            mistakes={
                "short gradients are made longer: the coefficient may be at most 1": [
                    ("np.minimum(max_norm / (norm + 1e-6), 1.0)", "max_norm / (norm + 1e-6)")
                ],
                "each gradient is scaled by its own norm, so their direction changes": [
                    (
                        "np.multiply(g, coefficient, out=g)",
                        "np.multiply(g, np.minimum(max_norm / (np.linalg.norm(g) + 1e-6), 1.0), "
                        "out=g)",
                    )
                ],
                "the norms are added, and must be their squares": [
                    (
                        "np.sqrt(sum(np.square(np.linalg.norm(widen(g))) for g in grads))",
                        "sum(np.linalg.norm(widen(g)) for g in grads)",
                    )
                ],
            },
        ),
        Exercise(
            source="minigrad/optim/optimizers.py: SGD.update",
            says="arrays: a parameter, its gradient, and its momentum buffer if there is "
            "momentum.\n\n"
            "mu: the momentum    wd: weight decay, added to the gradient",
            cuts=["if mu", "np.subtract(p"],
            task="""
            g already holds the decay, and s is an array to compute in (g may be the same array as
            s). With momentum: b = mu b + g, and the step is lr b; Nesterov's is lr (g + mu b).
            Without: lr g. Everything in place, no new arrays: p, b and s are written to, the
            caller's gradient is not.
            """,
            hints=(
                "Without momentum: np.multiply(g, lr, out=s), and p is reduced by s.",
                "With it: (b,) = buffer; np.multiply(b, mu, out=b); np.add(b, g, out=b).",
                "Nesterov in two parts, since g may be s: first p -= lr g, then s = mu lr b.",
            ),
            probe=Program(steps_of_sgd),
            mistakes={
                "the momentum is forgotten: the step is lr g": [
                    ("np.multiply(b, lr, out=s)", "np.multiply(g, lr, out=s)")
                ],
                "the old momentum is not shrunk by mu": [("np.multiply(b, mu, out=b)", "pass")],
                "Nesterov's step is the same as the ordinary one": [("if nesterov:", "if False:")],
                "the parameter climbs: p must be reduced by the step": [
                    ("np.subtract(p, s, out=p)", "np.add(p, s, out=p)")
                ],
            },
        ),
        Exercise(
            source="minigrad/optim/optimizers.py: adam_update",
            says="One step of Adam on arrays, in place.\n\n"
            "pieces: cuts the arrays into pieces; s and extra are two more to compute in.\n"
            "arrays: p, grad, m, v, and with amsgrad the largest v so far\n"
            "rate: the learning rate with both bias corrections    eps: likewise",
            cuts=["np.multiply(m, b1 ... np.add(v, s", "np.sqrt(v ... np.subtract(p, s"],
            task="""
            m is the running mean of g, v that of g². With g there: m = b1 m + (1 - b1) g, v = b2 v
            + (1 - b2) g², then p = keep p - rate m / (√v + eps). `keep` is 1 - lr wd for AdamW, so
            the decay is of p before the step, and it is not divided by √v. All in place: m, v and p
            are written to (np.add(..., out=m), or m[...] = ...), grad is not.

            Show that m / (1 - b1^t) / (√(v / (1 - b2^t)) + ε) has this form: what are rate and eps
            then?
            """,
            hints=(
                "np.multiply(m, b1, out=m); np.multiply(g, 1.0 - b1, out=s); np.add(m, s, out=m).",
                "For v the same with g * g, made in s.",
                "np.sqrt(v, out=s), add eps, divide m by it, times rate; p is multiplied by keep, "
                "then reduced by s.",
            ),
            probe=Both(Call(lambda: one_update(0.0, 0.98), state_after), Program(steps_of_adam)),
            mistakes={
                "v is the mean of g, and must be of g²": [
                    (
                        "        np.multiply(g, g, out=s)\n        np.multiply(s, 1.0 - b2, "
                        "out=s)\n",
                        "        np.multiply(g, 1.0 - b2, out=s)\n",
                    )
                ],
                "ε is added inside of the root": [
                    (
                        "        np.sqrt(v, out=s)\n        np.add(s, eps, out=s)\n",
                        "        np.add(v, eps, out=s)\n        np.sqrt(s, out=s)\n",
                    )
                ],
                "the weights are not decayed: keep is not used": [("if keep != 1.0:", "if False:")],
                "the root is missing: m is divided by v": [("np.sqrt(v, out=s)", "s[...] = v")],
                "the factors 1 - b1 and 1 - b2 are missing: m and v are sums, not means": [
                    ("np.multiply(g, 1.0 - b1, out=s)", "s[...] = g"),
                    ("        np.multiply(s, 1.0 - b2, out=s)\n", ""),
                ],
            },
            run=beats_sgd,
        ),
    ),
)
