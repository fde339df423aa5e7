"""Module: a tree of parameters, buffers and submodules with dotted names.

    class Net(nn.Module):
        def __init__(self):
            self.hidden = nn.Linear(8, 16)
            self.out = nn.Linear(16, 1)

        def forward(self, x):
            return self.out(mg.tanh(self.hidden(x)))

Nothing is hidden: what a module contains is what its attributes hold, in the order in which they
were set. There is no `super().__init__()` to forget. Names, and the order of names, are PyTorch's,
so a state dict goes either way without a table.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping
from typing import Any, Self

import numpy as np

from minigrad import device as devices
from minigrad.create import from_dlpack, tensor
from minigrad.dtypes import dtype_of
from minigrad.graph import Array
from minigrad.inplace import stamp_write
from minigrad.tensor import Tensor


class Parameter(Tensor):
    """A tensor that a module trains: floating point, in C order, a leaf of the graph.

    Shares the memory of `data` if that is a Tensor in C order, else copies.
    """

    __slots__ = ()

    def __init__(self, data: Any, requires_grad: bool = True) -> None:
        array = (data if isinstance(data, Tensor) else tensor(data)).data
        if array.dtype.kind != "f":
            raise TypeError(f"Parameter: expected floating point numbers, got {array.dtype}")
        super().__init__(array if array.flags.c_contiguous else array.copy())
        self.requires_grad_(requires_grad)


CONTAINERS = (list, tuple, dict, set, frozenset, deque)


def holds_parameters(value: Any) -> bool:
    """Whether it is or contains a module or a parameter, at any depth."""
    if isinstance(value, CONTAINERS):
        items: Any = value.values() if isinstance(value, dict) else value
        return any(map(holds_parameters, items))
    return isinstance(value, (Module, Parameter))


class Module:
    """What layers and models inherit from. A subclass sets attributes and defines `forward`.

    Parameters are attributes that hold a `Parameter`, submodules those that hold a `Module`.
    Buffers, tensors that belong to the module but are not trained, go through `register_buffer`.
    """

    training: bool = True  # switched by train() and eval()
    replicas: int | None = None  # how many models `nn.stack` has put together here

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        raise NotImplementedError(f"{type(self).__name__} does not define forward()")

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.forward(*args, **kwargs)

    def __setattr__(self, name: str, value: Any) -> None:
        """Refuse what would silently drop something from the parameters."""
        before = vars(self).get(name)
        if isinstance(before, Parameter) and not isinstance(value, (Parameter, type(None))):
            raise TypeError(
                f"{type(self).__name__}.{name} is a Parameter: set a Parameter or None, or write "
                f"into it with .{name}.assign_(...) under mg.no_grad()"
            )
        if name in self._buffers() and not isinstance(value, Tensor):
            raise TypeError(f"{type(self).__name__}.{name} is a buffer: set a Tensor")
        self._check(name, value)
        object.__setattr__(self, name, value)

    def _check(self, name: str, value: Any) -> None:
        """Refuse an attribute whose parameters would not be found, or under an ambiguous name."""
        if isinstance(value, CONTAINERS) and holds_parameters(value):
            raise TypeError(
                f"{type(self).__name__}.{name}: parameters inside a plain {type(value).__name__} "
                f"would not be found; use nn.ModuleList, or attributes"
            )
        if "." in name and isinstance(value, (Module, Tensor)):
            raise ValueError(
                f"{type(self).__name__}: expected a name without dots, which divide names in a "
                f"state dict, got {name!r}"
            )

    def register_buffer(self, name: str, value: Tensor, *, persistent: bool = True) -> None:
        """Set an attribute that moves with the module but is not trained.

        persistent: whether it is in the state dict; leave out what __init__ computes again.
        """
        if name in vars(self):
            raise ValueError(f"register_buffer: {type(self).__name__} already has {name!r}")
        self._check(name, value)
        vars(self).setdefault("_buffer_names", {})[name] = persistent
        object.__setattr__(self, name, value)

    def _buffers(self) -> dict[str, bool]:
        return vars(self).get("_buffer_names", {})

    # --- what is inside ---
    def named_children(self) -> Iterator[tuple[str, Module]]:
        """The submodules directly in this one. TypeError for those in a list filled since then."""
        for name, value in vars(self).items():
            if isinstance(value, Module):
                yield name, value
            elif isinstance(value, CONTAINERS):
                self._check(name, value)

    def named_modules(self, prefix: str = "") -> Iterator[tuple[str, Module]]:
        """This module, under the name `prefix`, and all below it; a shared one once."""
        seen = set[int]()
        for name, module in self._walk(prefix):
            if id(module) not in seen:
                seen.add(id(module))
                yield name, module

    def modules(self) -> Iterator[Module]:
        return (module for _, module in self.named_modules())

    def _walk(self, prefix: str) -> Iterator[tuple[str, Module]]:
        """Every path to every module: a shared one under each of its names."""
        yield prefix, self
        for name, child in self.named_children():
            yield from child._walk(f"{prefix}.{name}" if prefix else name)

    def _own(self) -> Iterator[tuple[str, Tensor]]:
        """The module's own parameters, then its own buffers."""
        for name, value in vars(self).items():
            if isinstance(value, Parameter):
                yield name, value
        for name in self._buffers():
            if name in vars(self):
                yield name, vars(self)[name]

    def _tensors(self) -> Iterator[tuple[str, Tensor]]:
        """Every tensor under every name it has."""
        for path, module in self._walk(""):
            for name, value in module._own():
                yield (f"{path}.{name}" if path else name), value

    def named_parameters(self) -> Iterator[tuple[str, Parameter]]:
        """Dotted names and parameters; a tied one once, under its first name."""
        seen = set[int]()
        for name, value in self._tensors():
            if isinstance(value, Parameter) and id(value) not in seen:
                seen.add(id(value))
                yield name, value

    def parameters(self) -> Iterator[Parameter]:
        return (p for _, p in self.named_parameters())

    def named_buffers(self) -> Iterator[tuple[str, Tensor]]:
        """Dotted names and buffers; a shared one once, under its first name."""
        seen = set[int]()
        for name, value in self._tensors():
            if not isinstance(value, Parameter) and id(value) not in seen:
                seen.add(id(value))
                yield name, value

    def count_parameters(self) -> int:
        """How many numbers the parameters hold, frozen ones included, tied ones once."""
        return sum(p.size for p in self.parameters())

    # --- switches ---
    def train(self, mode: bool = True) -> Self:
        """Training mode: dropout drops, batch norm uses the batch. Here and in all submodules."""
        for module in self.modules():
            module.training = mode
        return self

    def eval(self) -> Self:
        return self.train(False)

    def requires_grad_(self, requires_grad: bool = True) -> Self:
        """Freeze (False) or release all parameters. Optimizers and clipping skip frozen ones."""
        for p in self.parameters():
            p.requires_grad_(requires_grad)
        return self

    def zero_grad(self) -> None:
        """Set every `.grad` to None."""
        for p in self.parameters():
            p.grad = None

    def to(self, device: str) -> Self:
        """Move parameters, gradients and buffers to "cpu", "cuda" or "cuda:N", in place.

        Do it before making an optimizer, whose slots stay where the parameters were.
        """
        name = devices.parse(device)
        return self._convert(lambda array: devices.move(array, name))

    def astype(self, dtype: Any) -> Self:
        """Change the dtype of all floating point parameters, gradients and buffers, in place."""
        dtype = dtype_of(dtype, "astype", "f")
        return self._convert(lambda a: a.astype(dtype, copy=False) if a.dtype.kind == "f" else a)

    def _convert(self, change: Any) -> Self:
        for t in {id(t): t for _, t in self._tensors()}.values():
            t.data = change(t.data)
            node = t.node or t.frozen_node
            if node is not None:
                node.dtype = t.dtype
                node.grad = None if node.grad is None else Tensor(change(node.grad.data))
        return self

    # --- state ---
    def state_tensors(self) -> dict[str, Tensor]:
        """Parameters and persistent buffers, a tied or shared one under each of its names."""
        found: dict[str, Tensor] = {}
        for path, module in self._walk(""):
            for name, value in module._own():
                if module._buffers().get(name, True):
                    found[f"{path}.{name}" if path else name] = value
        return found

    def state_dict(self) -> dict[str, np.ndarray[Any, Any]]:
        """A snapshot: NumPy copies of parameters and persistent buffers by dotted name.

        A tied weight stands under each of its names, as in PyTorch, for which
        `{k: torch.from_numpy(v) for k, v in model.state_dict().items()}` is the state dict.
        """
        return {
            name: np.array(devices.to_numpy(t.data)) for name, t in self.state_tensors().items()
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Copy values in by name: NumPy arrays, Tensors, or the state dict of a PyTorch module.

        Raises ValueError that lists every missing and unexpected name, every wrong shape and
        dtype, and tied weights whose values differ. The module is then unchanged.
        """
        given = {name: as_array(value) for name, value in state.items()}
        problems = self.state_problems(given)
        if problems:
            raise ValueError(report(f"load_state_dict: {type(self).__name__}", problems))
        self.write_state(given)

    def state_problems(self, given: Mapping[str, Array | None]) -> list[str]:
        """Why `given` cannot be loaded; nothing if it can."""
        expected = self.state_tensors()
        problems = mismatches(expected, given)
        if not problems:
            first: dict[int, str] = {}
            for name, t in expected.items():
                other = first.setdefault(id(t), name)
                if other != name and not same(given[other], given[name]):
                    problems.append(f"tied:       {other} and {name} have different values")
        return problems

    def write_state(self, given: Mapping[str, Array]) -> None:
        """Copy in values in which `state_problems` found nothing."""
        for name, t in self.state_tensors().items():
            t.data[...] = devices.move(given[name], devices.of(t.data))
            stamp_write(t.data)

    # --- for people ---
    def extra_repr(self) -> str:
        """Settings to show in the repr that no parameter's shape shows, for example "p=0.1"."""
        return ""

    def __repr__(self) -> str:
        """The tree, a line each module: name, kind, parameter count, own tensors with shapes."""
        rows: list[tuple[str, str, int]] = []
        total = self._rows("", "", 0, {}, rows)
        width = max(len(label) for label, _, _ in rows)
        digits = len(f"{total:,}")
        lines = [
            f"{label:{width}}  {f'{count:,}' if count else '':>{digits}}  {tensors}".rstrip()
            for label, tensors, count in rows
        ]
        return "\n".join([*lines, f"{total:,} parameters"])

    def _rows(
        self,
        path: str,
        name: str,
        depth: int,
        seen: dict[int, str],
        rows: list[tuple[str, str, int]],
    ) -> int:
        """Append the lines of this module; return how many parameters were new."""
        here, count, tensors = len(rows), 0, list[str]()
        settings = self.extra_repr()
        kind = type(self).__name__ + (f"({settings})" if settings else "")
        rows.append(("", "", 0))
        for own, t in self._own():
            full = f"{path}{own}"
            notes = [f"{own} {t.shape}"]
            if id(t) in seen:
                notes.append(f"= {seen[id(t)]}")
            elif not isinstance(t, Parameter):
                notes.append("buffer")
            else:
                notes += [] if t.requires_grad else ["frozen"]
                count += t.size
            seen.setdefault(id(t), full)
            tensors.append(" ".join(notes))
        for child, module in self.named_children():
            count += module._rows(f"{path}{child}.", child, depth + 1, seen, rows)
        label = "  " * depth + (f"{name}: " if name else "") + kind
        rows[here] = (label, "  ".join(tensors), count)
        return count


# --- loading values by name -----------------------------------------------------------------------
def as_array(value: Any) -> Array | None:
    """The array behind a NumPy or CuPy array, a Tensor, or another library's tensor; else None."""
    value = value.data if isinstance(value, Tensor) else value
    if not devices.is_array(value):
        try:
            value = np.asarray(value)
        except (TypeError, ValueError, RuntimeError):  # a tensor on a GPU, say
            try:
                return from_dlpack(value).data
            except Exception:  # whatever the other library raises
                return None
    if value.dtype.kind not in "biuf":
        return None
    return value if value.dtype.isnative else value.astype(value.dtype.newbyteorder("="))


def same(a: Array | None, b: Array | None) -> bool:
    """Whether two tied values are equal, bit for bit where they are NaN or signed zeros too."""
    a, b = devices.to_numpy(a), devices.to_numpy(b)
    return a.tobytes() == b.tobytes()


def mismatches(expected: Mapping[str, Any], given: Mapping[str, Any]) -> list[str]:
    """Every reason why `given` does not fit `expected`, a line each. Both hold arrays by name."""
    problems = [f"missing:    {name}" for name in expected if name not in given]
    problems += [f"unexpected: {name}" for name in sorted(given) if name not in expected]
    for name in expected:
        if name not in given:
            continue
        want, got = expected[name], given[name]
        if got is None:
            problems.append(f"not an array of numbers: {name}")
        elif got.shape != want.shape:
            problems.append(f"shape:      {name} expected {want.shape}, got {got.shape}")
        elif got.dtype != want.dtype:
            problems.append(f"dtype:      {name} expected {want.dtype}, got {got.dtype}")
    return problems


def report(title: str, problems: list[str]) -> str:
    """One message for all problems."""
    return "\n  ".join([f"{title}: {len(problems)} problem(s); nothing was changed", *problems])
