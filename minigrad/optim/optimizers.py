"""Optimizers: SGD, Adam and AdamW. They update parameters in place.

    optimizer = optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.1)
    for step in range(steps):
        optimizer.lr = optim.cosine(step, 1e-3, steps, warmup=100)
        optimizer.zero_grad()
        loss(model).backward()
        optim.clip_grad_norm(model.parameters(), 1.0)
        optimizer.step()

An update is a dozen passes over a few arrays, and each pass takes as long as reading memory. On the
CPU the arrays are therefore updated in pieces: the same piece of all arrays fits in the cache, so
it is read from memory once and not a dozen times. Nothing is allocated after the first step.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from minigrad import device as devices
from minigrad.capture import on_failure, outdate, refuse_recording
from minigrad.graph import Array
from minigrad.inplace import stamp_write
from minigrad.kernel import Routine
from minigrad.stacked import part
from minigrad.state import as_array, problems, report
from minigrad.tensor import Tensor, raw

PIECE = 32768  # elements: five float32 arrays of this size take 640 KiB

# a parameter's array, its gradient's, its slots, and the options of its group
Update = tuple[Array, Array, dict[str, Any], dict[str, Any]]
Rates = tuple[float, ...]  # b1, b2, eps, rate, decay, keep of `adam_update`
Number = float | tuple[float, ...]  # a tuple has one for each replica of a stacked model
Numbers = float | Sequence[float] | np.ndarray[Any, Any]  # arguments that become a Number


class Optimizer:
    """The base class of optimizers: groups of parameters, slots, state.

    params: tensors that require a gradient, or groups of them: dicts with "params" and options for
            this group, such as `{"params": biases, "weight_decay": 0.0}`.

    Slots are the arrays that an optimizer keeps for a parameter, such as its momentum. A parameter
    given twice (a tied weight) is updated once. A parameter without a gradient, or frozen, is
    skipped, and its slots do not change.

    `lr` may be set at any time, by a schedule for instance. A group's "lr" is kept as a ratio to
    the optimizer's: `lr` = 0.1 and a group's "lr" = 0.01 give that group a tenth of any `lr` that
    is set later.

    maximize: increase the loss instead of decreasing it.

    For a stacked model (`nn.stack`) `lr` and "weight_decay" may be sequences of one number for each
    replica. The first axis of every parameter is then the replica.

    TypeError for a parameter that is not a floating point leaf tensor, or an unknown option;
    ValueError for no parameters, a parameter in two groups, and options out of range.
    """

    switches: tuple[str, ...] = ()  # the options that are True or False
    counts_steps = False  # whether the number of updates of each parameter is kept

    def __init__(self, params: Iterable[Any], lr: Numbers, **defaults: Any) -> None:
        self.defaults = defaults
        self.groups: list[dict[str, Any]] = []
        self.lr = lr
        self.slots: dict[Tensor, dict[str, Any]] = {}
        self._scratch: dict[Any, list[Array]] = {}
        if isinstance(params, Tensor) or not isinstance(params, Iterable):
            raise TypeError(
                f"{self.name}: expected model.parameters() or groups, got {kind_of(params)}"
            )
        items = list(params)
        grouped = any(isinstance(item, Mapping) for item in items)
        for group in items if grouped else [{"params": items}]:
            self.add_param_group(group)
        if not self.parameters():
            raise ValueError(f"{self.name}: no parameters were given")

    def add_param_group(self, group: Mapping[str, Any]) -> None:
        """Also train the parameters of this group, a dict as in the constructor.

        The ratio for its "lr" is taken from the `lr` at this moment. Raises the constructor's
        errors, and then changes nothing. Recorded steps (`mg.capture`) are recorded again.
        """
        name = f"{self.name}: group {len(self.groups)}"
        if not isinstance(group, Mapping) or "params" not in group:
            got = list(group) if isinstance(group, Mapping) else kind_of(group)
            raise TypeError(f"{name}: expected a dict with 'params', got {got}")
        tensors = self._new_parameters(name, group["params"])
        options = {**self.defaults, **group}
        del options["params"]
        lr = numbers(f"{name}: lr", options.pop("lr", self.lr))
        unknown = [repr(option) for option in options if option not in self.defaults]
        if unknown:
            raise TypeError(
                f"{name}: unknown option {', '.join(unknown)}; "
                f"known are 'lr', {', '.join(map(repr, self.defaults))}"
            )
        scale = 1.0
        if "lr" in group:
            if isinstance(self.lr, tuple) or isinstance(lr, tuple) or self.lr == 0:
                raise ValueError(
                    f"{name}: a group's lr is kept as a ratio: expected one number for it, and one "
                    f"lr > 0 of the optimizer, got {lr} and {self.lr}"
                )
            scale = lr / self.lr
        options = self._checked(name, options)
        params = [*self.parameters(), *tensors]
        check_count("lr", self.lr, params)
        for each in (*self.groups, options):
            check_count("weight_decay", each.get("weight_decay", 0.0), params)
        self.groups.append({**options, "lr_scale": scale, "params": tensors})
        if self.slots:
            outdate()

    def _new_parameters(self, name: str, params: Any) -> list[Tensor]:
        """The tensors of a new group, each once.

        TypeError for anything but floating point leaves, ValueError for one of another group.
        """
        if isinstance(params, Tensor) or not isinstance(params, Iterable):
            raise TypeError(f"{name}: expected a list of tensors, got {kind_of(params)}")
        params = list(params)
        owners = {p: number for number, g in enumerate(self.groups) for p in g["params"]}
        for i, p in enumerate(params):
            if not isinstance(p, Tensor) or p.dtype.kind != "f" or not p.is_leaf:
                raise TypeError(
                    f"{name}: parameter {i} is {kind_of(p)}, not a floating point leaf tensor"
                )
            if p in owners:
                raise ValueError(f"{name}: parameter {i} is in group {owners[p]} too")
        return list(dict.fromkeys(params))

    def _checked(self, name: str, options: Mapping[str, Any]) -> dict[str, Any]:
        """The options as switches, floats and tuples of floats. Errors name the option."""
        checked: dict[str, Any] = {}
        for option in self.defaults:
            where, value = f"{name}: {option}", options[option]
            if option in self.switches:
                if not isinstance(value, bool):
                    raise TypeError(f"{where}: expected True or False, got {value!r:.80}")
            else:
                value = numbers(where, value, 1.0 if option == "betas" else math.inf)
                count = 2 if option == "betas" else 1
                if option != "weight_decay" and len(listed(value)) != count:
                    raise ValueError(f"{where}: expected {count} number(s), got {value}")
            checked[option] = value
        return checked

    @property
    def name(self) -> str:
        return type(self).__name__

    @property
    def lr(self) -> float | tuple[float, ...]:
        """The learning rate, or one for each replica; groups multiply it by their "lr_scale"."""
        return self._lr

    @lr.setter
    def lr(self, value: Numbers) -> None:
        rates = numbers(f"{self.name}: lr", value)
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

        The host does not wait for a GPU.
        """
        updates: list[Update] = []
        for group in self.groups:
            for p in group["params"]:
                grad = p.grad
                if grad is None or not p.requires_grad:
                    continue
                if not p.data.flags.c_contiguous:
                    raise ValueError(f"step: a parameter of shape {p.shape} is not in C order")
                g = np.negative(grad.data) if group.get("maximize") else grad.data
                updates.append((p.data, g, self._slots_of(p, group), group))
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            self.update_all(updates)
        for param, *_ in updates:
            stamp_write(param)

    def update_all(self, updates: Sequence[Update]) -> None:
        """Change parameters and slots in place."""
        raise NotImplementedError

    def lr_and_decay(self, options: dict[str, Any]) -> list[tuple[float, float]]:
        """(learning rate, weight decay) of a group: one pair, or one for each replica."""
        settings = self.lr, *(group["weight_decay"] for group in self.groups)
        count = max(len(listed(value)) for value in settings)
        lrs, decays = (
            value if isinstance(value, tuple) else (value,) * count
            for value in (self.lr, options["weight_decay"])
        )
        return [(lr * options["lr_scale"], wd) for lr, wd in zip(lrs, decays, strict=True)]

    def slot_names(self, options: Mapping[str, Any]) -> tuple[str, ...]:
        """The names of the slots of each parameter of a group, arrays of its shape and dtype."""
        raise NotImplementedError

    def _slots_of(self, p: Tensor, options: Mapping[str, Any]) -> dict[str, Any]:
        slots = self.slots.setdefault(p, {"step": 0} if self.counts_steps else {})
        for name in self.slot_names(options):
            if name not in slots:
                slots[name] = np.zeros_like(p.data)
            slot = slots[name]
            if slot.dtype != p.dtype or type(slot) is not type(p.data):
                raise RuntimeError(
                    f"step: {name} of a parameter is {slot.dtype} on {devices.of(slot)}, the "
                    f"parameter {p.dtype} on {p.device}; move a model before its optimizer is made"
                )
        return slots

    def pieces(self, *arrays: Array, scratch: int = 1) -> Iterator[list[Array]]:
        """The arrays cut into pieces of the same places, each with `scratch` buffers of its size.

        On a GPU there is one piece, because each piece costs launches.
        """
        first = arrays[0]
        n = first.size
        size = min(n, PIECE) if isinstance(first, np.ndarray) else n
        key = (first.dtype, devices.of(first))
        buffers = self._scratch.setdefault(key, [])
        if len(buffers) < scratch or buffers[0].size < size:
            count = max(scratch, len(buffers))
            buffers[:] = [devices.empty((size,), first) for _ in range(count)]
        flat = [a.reshape(-1) for a in arrays]
        for start in range(0, n, size or 1):
            piece = [a[start : start + size] for a in flat] if n > size else flat
            yield [*piece, *[s[: piece[0].size] for s in buffers[:scratch]]]

    # --- state ---
    def _labels(self, names: Mapping[Tensor, str] | None) -> dict[str, Tensor]:
        params = self.parameters()
        return {str(i) if names is None else names[p]: p for i, p in enumerate(params)}

    def _labelled_groups(self, names: Mapping[Tensor, str] | None) -> list[dict[str, Any]]:
        label_of = {p: label for label, p in self._labels(names).items()}
        return [{**g, "params": [label_of[p] for p in g["params"]]} for g in self.groups]

    def state_dict(self, names: Mapping[Tensor, str] | None = None) -> dict[str, Any]:
        """A copy of the learning rate, the groups' options, and the slots as NumPy arrays.

        Parameters are named "0", "1", ... through all groups, or by `names`. "groups" and
        "stepped", the parameters that have slots, can be written as JSON; "slots" are the arrays,
        under names like "3.exp_avg".
        """
        params, groups = self._labels(names), self._labelled_groups(names)
        stepped = [label for label, p in params.items() if p in self.slots]
        slots: dict[str, Any] = {}
        for group in groups:
            for label in (label for label in group["params"] if label in stepped):
                of_param = self.slots[params[label]]
                for name in self.slot_names(group):
                    slots[f"{label}.{name}"] = np.array(devices.to_numpy(of_param[name]))
                if self.counts_steps:
                    slots[f"{label}.step"] = np.array(of_param["step"])
        return {"lr": self.lr, "groups": groups, "stepped": stepped, "slots": slots}

    def load_state_dict(
        self, state: Mapping[str, Any], names: Mapping[Tensor, str] | None = None
    ) -> None:
        """Restore the state that `state_dict` returned, for parameters of the same shapes.

        ValueError that lists every missing, unexpected and wrong entry; the optimizer is then
        unchanged.
        """
        wrong = self.state_problems(state, names)
        if wrong:
            raise ValueError(report(f"load_state_dict: {self.name}", wrong))
        self.write_state(state, names)

    def state_problems(
        self, state: Mapping[str, Any], names: Mapping[Tensor, str] | None = None
    ) -> list[str]:
        """Why `state`, perhaps from a file, cannot be loaded; an empty list if it can."""
        params, state = self._labels(names), self._completed(state)
        known, slots = list(params), state.pop("slots", None)
        stepped = [label for label in listed(state.get("stepped")) if label in known]
        groups = self._labelled_groups(names)
        wrong = [*problems({"lr": self.lr, "groups": groups, "stepped": stepped}, state)]
        if wrong:
            return wrong
        checks: list[Callable[[], Any]] = [partial(numbers, "lr", state["lr"])]
        expected: dict[str, Any] = {}
        for number, group in enumerate(state["groups"]):
            name = f"groups[{number}]"
            checks.append(partial(numbers, f"{name}: lr_scale", group["lr_scale"]))
            checks.append(partial(self._checked, name, group))
            for label in (label for label in group["params"] if label in stepped):
                expected |= {f"{label}.{slot}": params[label] for slot in self.slot_names(group)}
                if self.counts_steps:
                    expected[f"{label}.step"] = np.zeros((), np.int64)
        wrong = [*problems(expected, slots, "slots")]
        if self.counts_steps and not wrong:
            steps = {f"slots.{label}.step": int(slots[f"{label}.step"]) for label in stepped}
            wrong = [f"{name}: expected >= 1, got {n}" for name, n in steps.items() if n < 1]
        for check in checks:
            try:
                check()
            except (TypeError, ValueError) as error:
                wrong.append(str(error))
        return wrong

    def _completed(self, state: Mapping[str, Any]) -> dict[str, Any]:
        """The state, with False for switches that it lacks because they were added later."""
        state = dict(state) if isinstance(state, Mapping) else {}
        if isinstance(state.get("groups"), list):
            off = dict.fromkeys(self.switches, False)
            groups = state["groups"]
            state["groups"] = [{**off, **g} if isinstance(g, Mapping) else g for g in groups]
        return state

    def write_state(
        self, state: Mapping[str, Any], names: Mapping[Tensor, str] | None = None
    ) -> None:
        """Restore a state for which `state_problems` is empty."""
        labels, state = self._labels(names), self._completed(state)
        self.lr = state["lr"]
        for group, saved in zip(self.groups, state["groups"], strict=True):
            group.update(self._checked("", saved), lr_scale=saved["lr_scale"])
        self.slots = {}
        for group in state["groups"]:
            for label in (label for label in group["params"] if label in state["stepped"]):
                p = labels[label]
                self.slots[p] = {
                    name: devices.move(as_array(state["slots"][f"{label}.{name}"]), p.device).copy()
                    for name in self.slot_names(group)
                }
                if self.counts_steps:
                    self.slots[p]["step"] = int(state["slots"][f"{label}.step"])


def kind_of(x: Any) -> str:
    if isinstance(x, Tensor):
        return f"a {x.dtype} tensor" + ("" if x.is_leaf else " computed by an op")
    return f"a {type(x).__name__}"


# --- a number, or one for each replica ----------------------------------------------------------
def numbers(name: str, value: Any, high: float = math.inf) -> Number:
    """A float, or a tuple of floats. TypeError for anything else, ValueError outside [0, high)."""
    array = np.asarray(raw(value))
    if array.dtype.kind not in "iuf" or array.ndim > 1:
        raise TypeError(f"{name}: expected numbers, got {value!r:.80}")
    if not np.all((array >= 0.0) & (array < high)):
        raise ValueError(f"{name}: expected numbers in [0, {high:g}), got {value}")
    values = array.astype(float).tolist()
    return tuple(values) if array.ndim else values


def listed(value: Any) -> Sequence[Any]:
    return value if isinstance(value, (tuple, list)) else (value,)


def parts(arrays: tuple[Array, ...], count: int) -> Iterator[tuple[Array, ...]]:
    """The arrays of each of `count` replicas, as views; for one, the arrays themselves."""
    return iter([arrays]) if count == 1 else (part(arrays, r) for r in range(count))


def check_count(name: str, value: Number, params: Sequence[Tensor]) -> None:
    """ValueError for a tuple that does not have one number for each replica of each parameter."""
    for p in params:
        if isinstance(value, tuple) and p.shape[:1] != (len(value),):
            raise ValueError(
                f"{name}: {len(value)} numbers need parameters of {len(value)} replicas "
                f"({len(value)}, ...); one has shape {p.shape}"
            )


# --- the optimizers -----------------------------------------------------------------------------
class SGD(Optimizer):
    """Gradient descent, with or without momentum.

        g = g + wd*p
        b = mu*b + g
        d = g + mu*b  (nesterov)  or  b
        p = p - lr*d

    Source: Sutskever et al., On the Importance of Initialization and Momentum in Deep Learning
    (2013), section 2, in PyTorch's form, where lr multiplies the momentum too.
    """

    switches = "nesterov", "maximize"

    def __init__(
        self,
        params: Iterable[Any],
        lr: Numbers = 1e-3,
        *,
        momentum: float = 0.0,
        nesterov: bool = False,
        weight_decay: Numbers = 0.0,
        maximize: bool = False,
    ) -> None:
        super().__init__(
            params,
            lr,
            momentum=momentum,
            nesterov=nesterov,
            weight_decay=weight_decay,
            maximize=maximize,
        )

    def slot_names(self, options: Mapping[str, Any]) -> tuple[str, ...]:
        return ("momentum_buffer",) if options["momentum"] else ()

    def _checked(self, name: str, options: Mapping[str, Any]) -> dict[str, Any]:
        checked = super()._checked(name, options)
        if checked["nesterov"] and not checked["momentum"]:
            raise ValueError(f"{name}: nesterov: expected momentum > 0, got 0")
        return checked

    def update_all(self, updates: Sequence[Update]) -> None:
        refuse_recording("SGD.step")
        for param, grad, slots, options in updates:
            mu, rates = options["momentum"], self.lr_and_decay(options)
            arrays = (param, grad, *(slots[name] for name in self.slot_names(options)))
            for replica, (lr, wd) in zip(parts(arrays, len(rates)), rates, strict=True):
                self.update(replica, lr, wd, mu, options["nesterov"])

    def update(
        self, arrays: tuple[Array, ...], lr: float, wd: float, mu: float, nesterov: bool
    ) -> None:
        """arrays: a parameter, its gradient, and its momentum buffer if there is momentum."""
        for p, g, *buffer, s in self.pieces(*arrays):
            if wd:
                np.multiply(p, wd, out=s)
                np.add(s, g, out=s)
                g = s
            if mu:
                (b,) = buffer
                np.multiply(b, mu, out=b)
                np.add(b, g, out=b)
                if nesterov:  # in two parts, because g may be s
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

    t counts the updates of each parameter. amsgrad: use the largest v so far in place of v.
    Source: Kingma and Ba, Adam: A Method for Stochastic Optimization (2015), algorithm 1; Reddi et
    al., On the Convergence of Adam and Beyond (2018), algorithm 2, in PyTorch's form, which
    corrects the bias as above.
    """

    switches = "amsgrad", "maximize"
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
        amsgrad: bool = False,
        maximize: bool = False,
    ) -> None:
        super().__init__(
            params,
            lr,
            betas=betas,
            eps=eps,
            weight_decay=weight_decay,
            amsgrad=amsgrad,
            maximize=maximize,
        )

    def slot_names(self, options: Mapping[str, Any]) -> tuple[str, ...]:
        return ("exp_avg", "exp_avg_sq", *["max_exp_avg_sq"] * options["amsgrad"])

    def update_all(self, updates: Sequence[Update]) -> None:
        arrays = [
            (p, g, *(slots[name] for name in self.slot_names(options)))
            for p, g, slots, options in updates
        ]
        adam_update_all(self.pieces, arrays, lambda: self.rates(updates))

    def rates(self, updates: Sequence[Update]) -> tuple[list[list[Rates]], list[int]]:
        """Count a step of each parameter. Returns distinct rows of rates, and each update's row.

        A row is a list of the rates of one step: one, or one for each replica.
        """
        row_of: dict[tuple[int, int], int] = {}  # by step and group
        rows: list[list[Rates]] = []
        which: list[int] = []
        for _, _, slots, options in updates:
            on_failure(partial(slots.__setitem__, "step", slots["step"]))
            slots["step"] = t = slots["step"] + 1
            key = t, id(options)
            if key not in row_of:
                row_of[key] = len(rows)
                pairs = self.lr_and_decay(options)
                rows.append([self.rates_of(t, options, *pair) for pair in pairs])
            which.append(row_of[key])
        return rows, which

    def rates_of(self, t: int, options: dict[str, Any], lr: float, wd: float) -> Rates:
        """b1, b2, eps, rate, decay, keep of `adam_update`, for step t."""
        (b1, b2), eps = options["betas"], options["eps"]
        # m/(1-b1^t) / (sqrt(v/(1-b2^t)) + eps) = root/(1-b1^t) * m / (sqrt(v) + eps*root), so the
        # bias corrections go into lr and eps, which costs no pass over the arrays
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

    arrays: a parameter, its gradient and its slots, for each.    rates: see `Adam.rates`
    """
    refuse_recording("Adam.step")
    rows, which = rates()
    for each, i in zip(arrays, which, strict=True):
        for replica, numbers in zip(parts(each, len(rows[i])), rows[i], strict=True):
            adam_update(pieces, replica, *numbers)


@Routine
def adam_update(
    pieces: Callable[..., Iterator[list[Array]]],
    arrays: tuple[Array, ...],
    b1: float,
    b2: float,
    eps: float,
    rate: float,
    decay: float,
    keep: float,
) -> None:
    """g = grad + decay p; m, v as in `Adam`; p = keep p - rate m / (sqrt(v) + eps), in place.

    pieces: `Optimizer.pieces`.    arrays: p, grad, m, v, and with amsgrad the largest v so far
    """
    for p, g, m, v, *largest, s, extra in pieces(*arrays, scratch=2):
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
        for highest in largest:
            np.maximum(highest, v, out=highest)
            v = highest
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

    where the decay is of p before the update. It is multiplied by lr, as in PyTorch. Source:
    Loshchilov and Hutter, Decoupled Weight Decay Regularization (2019), algorithm 2, whose separate
    schedule multiplier is lr here.
    """

    decoupled = True

    def __init__(
        self,
        params: Iterable[Any],
        lr: Numbers = 1e-3,
        *,
        weight_decay: Numbers = 1e-2,
        **options: Any,
    ) -> None:
        """options: betas, eps, amsgrad and maximize, as in `Adam`."""
        super().__init__(params, lr, weight_decay=weight_decay, **options)
