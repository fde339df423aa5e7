"""Optimizers: SGD, Adam, AdamW, updating parameters in place.

    optimizer = optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.1)
    for step in range(steps):
        optimizer.lr = optim.cosine(step, 1e-3, steps, warmup=100)
        optimizer.zero_grad()
        loss(model).backward()
        optim.clip_grad_norm(model.parameters(), 1.0)
        optimizer.step()

An update is a dozen passes over a few arrays, each as cheap as reading memory. On the CPU it is
therefore made piece by piece: a piece of every array fits in the cache together, and is read from
memory once and not a dozen times. Nothing is allocated after the first step.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from minigrad import device as devices
from minigrad.capture import on_failure, refuse_recording
from minigrad.graph import Array
from minigrad.inplace import stamp_write
from minigrad.kernel import Routine
from minigrad.nn.module import as_array, mismatches, report
from minigrad.stacked import part
from minigrad.tensor import Tensor

PIECE = 32768  # elements: five float32 arrays of it take 640 KiB

# the arrays of a parameter and its gradient, its slots, and the options of its group
Update = tuple[Array, Array, dict[str, Any], dict[str, Any]]
Rates = tuple[float, ...]  # b1, b2, eps, rate, decay, keep of `adam_update`
Number = float | tuple[float, ...]  # several: one for each replica of a stacked model
Numbers = float | Sequence[float] | np.ndarray[Any, Any]  # what may be given as such


class Optimizer:
    """What the optimizers share: groups, slots, state.

    params: tensors that require a gradient, or groups of them: dicts with "params" and options of
            their own, such as `{"params": biases, "weight_decay": 0.0}`.

    A parameter given twice (a tied weight) is stepped once. One without a gradient, or frozen, is
    skipped, and its slots stay as they are.

    `lr` may be set at any time, by a schedule for instance. A group with an "lr" of its own keeps
    its ratio to the optimizer's: `lr` = 0.1 and a group's "lr" = 0.01 give that group a tenth of
    whatever `lr` is set to later.

    For a stacked model (`nn.stack`) `lr` and "weight_decay" may be sequences, a number for each
    replica, which is a place of the first axis of every parameter.

    Raises TypeError for what is not a parameter or an option, ValueError for no parameters, one in
    two groups, and options out of range.
    """

    slot_names: tuple[str, ...] = ()  # arrays kept for each parameter, in its shape and dtype
    counts_steps = False  # whether a parameter's number of updates is kept as well

    def __init__(self, params: Iterable[Any], lr: Numbers, **defaults: Any) -> None:
        self.groups: list[dict[str, Any]] = []
        self.lr = lr
        self.slots: dict[Tensor, dict[str, Any]] = {}
        self._scratch: dict[Any, list[Array]] = {}
        name = type(self).__name__
        if isinstance(params, Tensor) or not isinstance(params, Iterable):
            raise TypeError(f"{name}: expected model.parameters() or groups, got {kind_of(params)}")
        given = list(params)
        groups: list[dict[str, Any]] = [{"params": given}]
        if given and isinstance(given[0], Mapping):
            groups = given
        owners: dict[Tensor, int] = {}
        for number, group in enumerate(groups):
            if "params" not in group:
                raise TypeError(f"{name}: group {number} has no 'params'")
            options = {k: v for k, v in group.items() if k not in ("params", "lr")}
            unknown = [k for k in options if k not in defaults]
            if unknown:
                raise TypeError(
                    f"{name}: group {number} has unknown option {', '.join(map(repr, unknown))}; "
                    f"known are 'lr', {', '.join(map(repr, defaults))}"
                )
            tensors = list(dict.fromkeys(group["params"]))
            for i, p in enumerate(tensors):
                if not isinstance(p, Tensor) or p.dtype.kind != "f" or not p.is_leaf:
                    raise TypeError(
                        f"{name}: parameter {i} of group {number} is {kind_of(p)}, not a floating "
                        f"point leaf tensor"
                    )
                if owners.setdefault(p, number) != number:
                    raise ValueError(f"{name}: a parameter is in groups {owners[p]} and {number}")
            scale = 1.0
            if "lr" in group:
                if isinstance(self.lr, tuple) or not self.lr > 0:
                    raise ValueError(f"{name}: a group's lr needs one lr > 0 to keep a ratio to")
                scale = group["lr"] / self.lr
            options = {**defaults, **options}
            if "weight_decay" in options:
                options["weight_decay"] = numbers(options["weight_decay"])
            self.groups.append({**options, "lr_scale": scale, "params": tensors})
        if not owners:
            raise ValueError(f"{name}: no parameters were given")
        check_count("lr", self.lr, list(owners))
        for group in self.groups:
            self.check_options(group)
            check_count("weight_decay", group.get("weight_decay", 0.0), list(owners))

    @property
    def lr(self) -> float | tuple[float, ...]:
        """The learning rate, or one for each replica; groups multiply it by their "lr_scale"."""
        return self._lr

    @lr.setter
    def lr(self, value: Numbers) -> None:
        rates = numbers(value)
        if not all(0.0 <= rate < math.inf for rate in listed(rates)):
            raise ValueError(f"lr: expected a number >= 0, got {value}")
        check_count("lr", rates, self.parameters())
        self._lr = rates

    def parameters(self) -> list[Tensor]:
        """All parameters, in the order of the groups."""
        return [p for group in self.groups for p in group["params"]]

    def zero_grad(self) -> None:
        """Set every `.grad` to None."""
        for p in self.parameters():
            p.grad = None

    def step(self) -> None:
        """Update every parameter that has a gradient and is not frozen, in place.

        Nothing is read from a GPU.
        """
        updates: list[Update] = []
        for group in self.groups:
            for p in group["params"]:
                grad = p.grad
                if grad is None or not p.requires_grad:
                    continue
                if not p.data.flags.c_contiguous:
                    raise ValueError(f"step: a parameter of shape {p.shape} is not in C order")
                updates.append((p.data, grad.data, self._slots_of(p), group))
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            self.update_all(updates)
        for param, *_ in updates:
            stamp_write(param)

    def update_all(self, updates: Sequence[Update]) -> None:
        """Change every parameter and its slots in place, given its gradient."""
        raise NotImplementedError

    def lr_and_decay(self, options: dict[str, Any]) -> list[tuple[float, float]]:
        """The learning rate and weight decay of a group, for each replica that has its own."""
        every = self.lr, *(group["weight_decay"] for group in self.groups)
        count = max(len(listed(value)) for value in every)
        lrs, decays = (
            value if isinstance(value, tuple) else (value,) * count
            for value in (self.lr, options["weight_decay"])
        )
        return [(lr * options["lr_scale"], wd) for lr, wd in zip(lrs, decays, strict=True)]

    def check_options(self, options: dict[str, Any]) -> None:
        """ValueError for options out of range."""

    def _slots_of(self, p: Tensor) -> dict[str, Any]:
        slots = self.slots.get(p)
        if slots is None:
            slots = {name: np.zeros_like(p.data) for name in self.slot_names}
            if self.counts_steps:
                slots["step"] = 0
            self.slots[p] = slots
        for name in self.slot_names:
            slot = slots[name]
            if slot.dtype != p.dtype or type(slot) is not type(p.data):
                raise RuntimeError(
                    f"step: {name} of a parameter is {slot.dtype} on {devices.of(slot)}, the "
                    f"parameter {p.dtype} on {p.device}; move a model before its optimizer is made"
                )
        return slots

    def pieces(self, *arrays: Array, scratch: int = 1) -> Iterator[list[Array]]:
        """The arrays cut into pieces, each time with `scratch` arrays of that size to write in.

        On a GPU there is one piece, for there a piece more is a launch more.
        """
        first = arrays[0]
        n = first.size
        size = min(n, PIECE) if isinstance(first, np.ndarray) else n
        key = (first.dtype, devices.of(first))
        held = self._scratch.setdefault(key, [])
        if len(held) < scratch or held[0].size < size:
            held[:] = [devices.empty((size,), first) for _ in range(max(scratch, len(held)))]
        flat = [a.reshape(-1) for a in arrays]
        for start in range(0, n, size or 1):
            piece = [a[start : start + size] for a in flat] if n > size else flat
            yield [*piece, *[s[: piece[0].size] for s in held[:scratch]]]

    # --- state ---
    def _labels(self, names: Mapping[Tensor, str] | None) -> dict[str, Tensor]:
        params = self.parameters()
        return {str(i) if names is None else names[p]: p for i, p in enumerate(params)}

    def state_dict(self, names: Mapping[Tensor, str] | None = None) -> dict[str, Any]:
        """A snapshot: the learning rate, the groups' options, and NumPy copies of the slots.

        Parameters are called "0", "1", ... through all groups, or by `names`. "groups" and
        "stepped", the parameters that have slots, are what JSON can hold; "slots" are the arrays,
        under names like "3.exp_avg".
        """
        labels = self._labels(names)
        label_of = {p: label for label, p in labels.items()}
        stepped = [label for label, p in labels.items() if p in self.slots]
        slots = {
            f"{label}.{name}": np.array(value if name == "step" else devices.to_numpy(value))
            for label in stepped
            for name, value in self.slots[labels[label]].items()
        }
        groups = [{**g, "params": [label_of[p] for p in g["params"]]} for g in self.groups]
        return {"lr": self.lr, "groups": groups, "stepped": stepped, "slots": slots}

    def load_state_dict(
        self, state: Mapping[str, Any], names: Mapping[Tensor, str] | None = None
    ) -> None:
        """Take over what `state_dict` of an optimizer over equal parameters returned.

        Raises ValueError that lists every missing, unexpected and misfitting entry; the optimizer
        is then unchanged.
        """
        problems = self.state_problems(state, names)
        if problems:
            raise ValueError(report(f"load_state_dict: {type(self).__name__}", problems))
        self.write_state(state, names)

    def state_problems(
        self, state: Mapping[str, Any], names: Mapping[Tensor, str] | None = None
    ) -> list[str]:
        """Why `state`, perhaps from a file, cannot be loaded; nothing if it can."""
        mine = self.state_dict(names)
        problems = mismatched_keys(mine, state, "")
        if problems:
            return problems
        if not alike(self.lr, state["lr"]):
            problems.append(f"lr: expected {self.lr!r} or its like, got {state['lr']!r}")
        elif not all(0.0 <= rate < math.inf for rate in listed(state["lr"])):
            problems.append(f"lr: expected a number >= 0, got {state['lr']!r}")
        groups: Any = state["groups"]
        if not isinstance(groups, list) or len(groups) != len(self.groups):
            problems.append(f"groups: expected a list of {len(self.groups)}")
        else:
            for i, (want, got) in enumerate(zip(mine["groups"], groups, strict=True)):
                problems += self._group_problems(f"groups[{i}]", want, got)
        labels = self._labels(names)
        stepped: Any = state["stepped"]
        if not isinstance(stepped, list) or any(
            not isinstance(label, str) or label not in labels for label in stepped
        ):
            problems.append(f"stepped: expected a list of parameters, got {stepped!r}")
        elif not isinstance(state["slots"], Mapping):
            problems.append("slots: expected a dict of arrays")
        else:
            problems += self._slot_problems(state["slots"], {k: labels[k] for k in stepped})
        return problems

    def _slot_problems(self, slots: Mapping[str, Any], stepped: dict[str, Tensor]) -> list[str]:
        given = {name: as_array(value) for name, value in slots.items()}
        expected: dict[str, Any] = {}
        for label, p in stepped.items():
            expected |= {f"{label}.{name}": p.data for name in self.slot_names}
            if self.counts_steps:
                expected[f"{label}.step"] = np.zeros((), np.int64)
        problems = mismatches(expected, given)
        if self.counts_steps and not problems:
            steps = {f"{label}.step": int(slots[f"{label}.step"]) for label in stepped}
            problems = [f"{name}: expected >= 1, got {n}" for name, n in steps.items() if n < 1]
        return problems

    def _group_problems(self, where: str, want: dict[str, Any], got: Any) -> list[str]:
        if not isinstance(got, Mapping):
            return [f"{where}: expected a dict"]
        problems = mismatched_keys(want, got, f"{where}.")
        if problems:
            return problems
        for name, value in want.items():
            other: Any = got[name]
            if name == "params":
                fits = other == value
            elif isinstance(value, bool):
                fits = isinstance(other, bool)
            else:
                fits = alike(value, other)
            if not fits:
                problems.append(f"{where}.{name}: expected {value!r} or its like, got {other!r}")
        if not problems:
            try:
                self.check_options(dict(got))
            except ValueError as error:
                problems.append(f"{where}: {error}")
        return problems

    def write_state(
        self, state: Mapping[str, Any], names: Mapping[Tensor, str] | None = None
    ) -> None:
        """Take over a state in which `state_problems` found nothing."""
        labels = self._labels(names)
        self.slots = {}
        for label in state["stepped"]:
            p = labels[label]
            self.slots[p] = {
                name: devices.move(as_array(state["slots"][f"{label}.{name}"]), p.device).copy()
                for name in self.slot_names
            }
            if self.counts_steps:
                self.slots[p]["step"] = int(state["slots"][f"{label}.step"])
        self.lr = state["lr"]
        for mine, given in zip(self.groups, state["groups"], strict=True):
            for name in mine:
                if name != "params":
                    value = given[name]
                    mine[name] = tuple(value) if isinstance(value, list) else value


def kind_of(x: Any) -> str:
    if isinstance(x, Tensor):
        return f"a {x.dtype} tensor" + ("" if x.is_leaf else " computed by an op")
    return f"a {type(x).__name__}"


def is_number(x: Any) -> bool:
    return isinstance(x, (int, float)) and not isinstance(x, bool)


def alike(value: Any, other: Any) -> bool:
    """Whether `other` is a number where `value` is one, and as many where it is several."""
    if not isinstance(value, tuple):
        return is_number(other)
    fits = isinstance(other, (list, tuple)) and len(other) == len(value)
    return fits and all(map(is_number, other))


def mismatched_keys(want: Mapping[str, Any], got: Mapping[str, Any], where: str) -> list[str]:
    problems = [f"missing:    {where}{name}" for name in want if name not in got]
    return problems + [f"unexpected: {where}{name}" for name in got if name not in want]


def check_range(name: str, value: Any, low: float, high: float = math.inf) -> None:
    if not all(low <= number < high for number in listed(value)):
        raise ValueError(f"{name}: expected {low} <= {name} < {high}, got {value}")


# --- a number, or one for each replica ----------------------------------------------------------
def numbers(value: Any) -> Number:
    """A number as a float, a sequence of them as a tuple."""
    return float(value) if np.ndim(value) == 0 else tuple(map(float, value))


def listed(value: Any) -> Sequence[float]:
    return value if isinstance(value, (tuple, list)) else (value,)


def parts(arrays: tuple[Array, ...], count: int) -> Iterator[tuple[Array, ...]]:
    """The arrays of each of `count` replicas, as views; of one the arrays as they are."""
    return iter([arrays]) if count == 1 else (part(arrays, r) for r in range(count))


def check_count(name: str, value: Number, params: Sequence[Tensor]) -> None:
    """ValueError unless several numbers are as many as the replicas of each parameter."""
    for p in params:
        if isinstance(value, tuple) and p.shape[:1] != (len(value),):
            raise ValueError(
                f"{name}: {len(value)} numbers need parameters of {len(value)} replicas "
                f"({len(value)}, ...); one has shape {p.shape}"
            )


# --- the optimizers -----------------------------------------------------------------------------
class SGD(Optimizer):
    """Gradient descent, with momentum if asked for.

        g = g + wd*p
        b = mu*b + g
        d = g + mu*b  (nesterov)  or  b
        p = p - lr*d

    Source: Sutskever et al., On the Importance of Initialization and Momentum in Deep Learning
    (2013), section 2, in PyTorch's form, where lr multiplies the momentum too.
    """

    slot_names = ("momentum_buffer",)

    def __init__(
        self,
        params: Iterable[Any],
        lr: Numbers,
        *,
        momentum: float = 0.0,
        nesterov: bool = False,
        weight_decay: Numbers = 0.0,
    ) -> None:
        super().__init__(
            params, lr, momentum=momentum, nesterov=nesterov, weight_decay=weight_decay
        )
        if not any(group["momentum"] for group in self.groups):
            self.slot_names = ()

    def check_options(self, options: dict[str, Any]) -> None:
        check_range("momentum", options["momentum"], 0.0)
        check_range("weight_decay", options["weight_decay"], 0.0)
        if options["nesterov"] and not options["momentum"]:
            raise ValueError("nesterov needs momentum > 0")

    def update_all(self, updates: Sequence[Update]) -> None:
        refuse_recording("SGD.step")
        for param, grad, slots, options in updates:
            mu, rates = options["momentum"], self.lr_and_decay(options)
            arrays = (param, grad, slots["momentum_buffer"]) if mu else (param, grad)
            for replica, (lr, wd) in zip(parts(arrays, len(rates)), rates, strict=True):
                self.update(replica, lr, wd, mu, options["nesterov"])

    def update(
        self, arrays: tuple[Array, ...], lr: float, wd: float, mu: float, nesterov: bool
    ) -> None:
        """arrays: a parameter, its gradient, and with momentum the buffer."""
        for p, g, *buffer, s in self.pieces(*arrays):
            if wd:
                np.multiply(p, wd, out=s)
                np.add(s, g, out=s)
                g = s
            if mu:
                (b,) = buffer
                np.multiply(b, mu, out=b)
                np.add(b, g, out=b)
                if nesterov:  # in two parts, for g may be s
                    np.multiply(g, lr, out=s)
                    np.subtract(p, s, out=p)
                    np.multiply(b, mu * lr, out=s)
                else:
                    np.multiply(b, lr, out=s)
            else:
                np.multiply(g, lr, out=s)
            np.subtract(p, s, out=p)


class Adam(Optimizer):
    """Adam with weight decay added to the gradient (L2).

        t = t + 1
        g = g + wd*p
        m = b1*m + (1-b1)*g
        v = b2*v + (1-b2)*g*g
        p = p - lr*(m/(1-b1**t)) / (sqrt(v/(1-b2**t)) + eps)

    t counts the updates of each parameter. Source: Kingma and Ba, Adam: A Method for Stochastic
    Optimization (2015), algorithm 1.
    """

    slot_names = ("exp_avg", "exp_avg_sq")
    counts_steps = True
    decoupled = False

    def __init__(
        self,
        params: Iterable[Any],
        lr: Numbers = 1e-3,
        *,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: Numbers = 0.0,
    ) -> None:
        super().__init__(params, lr, betas=betas, eps=eps, weight_decay=weight_decay)

    def check_options(self, options: dict[str, Any]) -> None:
        for beta in options["betas"]:
            check_range("beta", beta, 0.0, 1.0)
        check_range("eps", options["eps"], 0.0)
        check_range("weight_decay", options["weight_decay"], 0.0)

    def update_all(self, updates: Sequence[Update]) -> None:
        arrays = [(p, g, slots["exp_avg"], slots["exp_avg_sq"]) for p, g, slots, _ in updates]
        adam_update_all(self.pieces, arrays, lambda: self.rates(updates))

    def rates(self, updates: Sequence[Update]) -> tuple[list[list[Rates]], list[int]]:
        """The numbers of a step, which is counted: those that differ, and whose each update has.

        A row is a list of one for each replica that has its own.
        """
        found: dict[tuple[int, int], int] = {}
        rows: list[list[Rates]] = []
        which: list[int] = []
        for _, _, slots, options in updates:
            on_failure(partial(slots.__setitem__, "step", slots["step"]))
            slots["step"] = t = slots["step"] + 1
            key = t, id(options)
            if key not in found:
                found[key] = len(rows)
                pairs = self.lr_and_decay(options)
                rows.append([self.rates_of(t, options, *pair) for pair in pairs])
            which.append(found[key])
        return rows, which

    def rates_of(self, t: int, options: dict[str, Any], lr: float, wd: float) -> Rates:
        """b1, b2, eps, rate, decay, keep of `adam_update`, for update t."""
        (b1, b2), eps = options["betas"], options["eps"]
        # m/(1-b1^t) / (sqrt(v/(1-b2^t)) + eps) = ratio * m / (sqrt(v) + eps*root): the corrections
        # are numbers, and applied to numbers they cost no pass over the arrays
        root = math.sqrt(1.0 - b2**t)
        decay, keep = (0.0, 1.0 - lr * wd) if self.decoupled else (wd, 1.0)
        return b1, b2, eps * root, lr * root / (1.0 - b1**t), decay, keep


@Routine
def adam_update_all(
    pieces: Callable[..., Iterator[list[Array]]],
    arrays: Sequence[tuple[Array, ...]],
    rates: Callable[[], tuple[list[list[Rates]], list[int]]],
) -> None:
    """`adam_update` for every parameter.

    arrays: of each the parameter, its gradient, exp_avg and exp_avg_sq.    rates: see `Adam.rates`
    """
    refuse_recording("Adam.step")
    rows, which = rates()
    for four, i in zip(arrays, which, strict=True):
        for replica, numbers in zip(parts(four, len(rows[i])), rows[i], strict=True):
            adam_update(pieces, *replica, *numbers)


@Routine
def adam_update(
    pieces: Callable[..., Iterator[list[Array]]],
    param: Array,
    grad: Array,
    exp_avg: Array,
    exp_avg_sq: Array,
    b1: float,
    b2: float,
    eps: float,
    rate: float,
    decay: float,
    keep: float,
) -> None:
    """g = grad + decay p; m, v as in `Adam`; p = keep p - rate m / (sqrt(v) + eps). In place.

    pieces: `Optimizer.pieces`
    """
    for p, g, m, v, s, extra in pieces(param, grad, exp_avg, exp_avg_sq, scratch=2):
        if decay != 0.0:
            np.multiply(p, decay, out=extra)
            np.add(extra, g, out=extra)
            g = extra
        np.multiply(m, b1, out=m)
        np.multiply(g, 1.0 - b1, out=s)
        np.add(m, s, out=m)
        np.multiply(v, b2, out=v)
        np.multiply(g, g, out=s)
        np.multiply(s, 1.0 - b2, out=s)
        np.add(v, s, out=v)
        np.sqrt(v, out=s)
        np.add(s, eps, out=s)
        np.divide(m, s, out=s)
        np.multiply(s, rate, out=s)
        if keep != 1.0:
            np.multiply(p, keep, out=p)
        np.subtract(p, s, out=p)


class AdamW(Adam):
    """Adam with decoupled weight decay.

        t = t + 1
        m = b1*m + (1-b1)*g
        v = b2*v + (1-b2)*g*g
        p = p - lr*((m/(1-b1**t)) / (sqrt(v/(1-b2**t)) + eps) + wd*p)

    with the old p on the right. The decay is multiplied by lr, as in PyTorch. Source: Loshchilov
    and Hutter, Decoupled Weight Decay Regularization (2019), algorithm 2, whose separate schedule
    multiplier is lr here.
    """

    decoupled = True

    def __init__(
        self,
        params: Iterable[Any],
        lr: Numbers = 1e-3,
        *,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: Numbers = 1e-2,
    ) -> None:
        super().__init__(params, lr, betas=betas, eps=eps, weight_decay=weight_decay)
