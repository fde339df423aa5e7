"""Module: a tree of parameters, buffers and submodules with dotted names.

    class Net(nn.Module):
        def __init__(self):
            self.hidden = nn.Linear(8, 16)
            self.out = nn.Linear(16, 1)

        def forward(self, x):
            return self.out(mg.tanh(self.hidden(x)))

The contents of a module are the values of its attributes, in the order in which they were set. No
`super().__init__()` is needed. Names and their order are PyTorch's, so a state dict can be loaded
in either library without a translation table.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping
from typing import Any, Self

import numpy as np

from minigrad import device as devices
from minigrad.create import tensor
from minigrad.dtypes import dtype_of
from minigrad.inplace import stamp_write
from minigrad.state import as_array, problems, report, same
from minigrad.tensor import Tensor


class Parameter(Tensor):
    """A tensor that a module trains: floating point, in C order, a leaf of the graph.

    Shares the memory of `data` if `data` is a Tensor in C order, else copies it.
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
    """Whether a value is, or contains at any depth, a module or a parameter."""
    if isinstance(value, CONTAINERS):
        items: Any = value.values() if isinstance(value, dict) else value
        return any(map(holds_parameters, items))
    return isinstance(value, (Module, Parameter))


class Module:
    """The base class of layers and models. A subclass sets attributes and defines `forward`.

    An attribute that is a `Parameter` is a parameter of the module; one that is a `Module` is a
    submodule. Buffers, tensors that are not trained, are set by `register_buffer`.
    """

    training: bool = True  # set by train() and eval()
    replicas: int | None = None  # the number of models in a stacked model, see `nn.stack`

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """What calling the module computes; a subclass defines it."""
        raise NotImplementedError(f"{type(self).__name__} does not define forward()")

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.forward(*args, **kwargs)

    def __setattr__(self, name: str, value: Any) -> None:
        """Set an attribute. TypeError if a parameter or buffer would silently be lost."""
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
        """TypeError for parameters in a plain container, ValueError for an ambiguous name."""
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
        """Set a tensor attribute that moves with the module but is not trained.

        persistent: whether it is in the state dict; False for buffers that __init__ computes.
        """
        if name in vars(self):
            raise ValueError(f"register_buffer: {type(self).__name__} already has {name!r}")
        self._check(name, value)
        vars(self).setdefault("_buffer_names", {})[name] = persistent
        object.__setattr__(self, name, value)

    def _buffers(self) -> dict[str, bool]:
        return vars(self).get("_buffer_names", {})

    # --- contents ---
    def named_children(self) -> Iterator[tuple[str, Module]]:
        """The direct submodules. TypeError if a plain list or dict has received modules."""
        for name, value in vars(self).items():
            if isinstance(value, Module):
                yield name, value
            elif isinstance(value, CONTAINERS):
                self._check(name, value)

    def named_modules(self, prefix: str = "") -> Iterator[tuple[str, Module]]:
        """This module, named `prefix`, and all modules below it; a shared module once."""
        seen = set[int]()
        for name, module in self._walk(prefix):
            if id(module) not in seen:
                seen.add(id(module))
                yield name, module

    def modules(self) -> Iterator[Module]:
        """This module and all modules below it; a shared module once."""
        return (module for _, module in self.named_modules())

    def _walk(self, prefix: str) -> Iterator[tuple[str, Module]]:
        """Every path to every module: a shared module under each of its names."""
        yield prefix, self
        for name, child in self.named_children():
            yield from child._walk(f"{prefix}.{name}" if prefix else name)

    def _direct_tensors(self) -> Iterator[tuple[str, Tensor]]:
        """The parameters of this module without its submodules, then the buffers."""
        for name, value in vars(self).items():
            if isinstance(value, Parameter):
                yield name, value
        for name in self._buffers():
            if name in vars(self):
                yield name, vars(self)[name]

    def _tensors(self) -> Iterator[tuple[str, Tensor]]:
        """All parameters and buffers, a tied or shared one under each of its names."""
        for path, module in self._walk(""):
            for name, value in module._direct_tensors():
                yield (f"{path}.{name}" if path else name), value

    def named_parameters(self) -> Iterator[tuple[str, Parameter]]:
        """Dotted names and parameters; a tied parameter once, under its first name."""
        seen = set[int]()
        for name, value in self._tensors():
            if isinstance(value, Parameter) and id(value) not in seen:
                seen.add(id(value))
                yield name, value

    def parameters(self) -> Iterator[Parameter]:
        """All parameters, a tied one once: what an optimizer takes."""
        return (p for _, p in self.named_parameters())

    def named_buffers(self) -> Iterator[tuple[str, Tensor]]:
        """Dotted names and buffers; a shared buffer once, under its first name."""
        seen = set[int]()
        for name, value in self._tensors():
            if not isinstance(value, Parameter) and id(value) not in seen:
                seen.add(id(value))
                yield name, value

    def count_parameters(self) -> int:
        """The number of elements of all parameters, with frozen ones, and tied ones once."""
        return sum(p.size for p in self.parameters())

    # --- switches ---
    def train(self, mode: bool = True) -> Self:
        """Set training mode here and in all submodules: dropout and batch norm depend on it."""
        for module in self.modules():
            module.training = mode
        return self

    def eval(self) -> Self:
        """Leave training mode: `train(False)`."""
        return self.train(False)

    def requires_grad_(self, requires_grad: bool = True) -> Self:
        """Freeze (False) or unfreeze all parameters. Optimizers and clipping skip frozen ones."""
        for p in self.parameters():
            p.requires_grad_(requires_grad)
        return self

    def zero_grad(self) -> None:
        """Set every `.grad` to None."""
        for p in self.parameters():
            p.grad = None

    def to(self, device: str) -> Self:
        """Move parameters, gradients and buffers to "cpu", "cuda" or "cuda:N", in place.

        Call it before making an optimizer: the optimizer's slots do not move.
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
        tensors: dict[str, Tensor] = {}
        for path, module in self._walk(""):
            for name, value in module._direct_tensors():
                if module._buffers().get(name, True):
                    tensors[f"{path}.{name}" if path else name] = value
        return tensors

    def state_dict(self) -> dict[str, np.ndarray[Any, Any]]:
        """Copies of parameters and persistent buffers as NumPy arrays, by dotted name.

        A tied weight is under each of its names, as in PyTorch. The state dict for PyTorch is
        `{k: torch.from_numpy(v) for k, v in model.state_dict().items()}`.
        """
        return {
            name: np.array(devices.to_numpy(t.data)) for name, t in self.state_tensors().items()
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Copy values into the module by name.

        state: NumPy arrays, Tensors, or the state dict of a PyTorch module. ValueError that lists
        every missing and unexpected name, every wrong shape and dtype, and tied weights whose
        values differ; the module is then unchanged.
        """
        wrong = self.state_problems(state)
        if wrong:
            raise ValueError(report(f"load_state_dict: {type(self).__name__}", wrong))
        self.write_state(state)

    def state_problems(self, state: Mapping[str, Any]) -> list[str]:
        """Why `state` cannot be loaded; an empty list if it can."""
        tensors, first_name = self.state_tensors(), dict[int, str]()
        wrong = [*problems(tensors, state)]
        for name, t in tensors.items():
            other = first_name.setdefault(id(t), name)
            if not wrong and not same(state[other], state[name]):
                wrong.append(f"tied:       {other} and {name} have different values")
        return wrong

    def write_state(self, state: Mapping[str, Any]) -> None:
        """Copy in values for which `state_problems` is empty."""
        for name, t in self.state_tensors().items():
            t.data[...] = devices.move(as_array(state[name]), devices.of(t.data))
            stamp_write(t.data)

    # --- text ---
    def extra_repr(self) -> str:
        """Settings for the repr that the shapes of parameters do not show, such as "p=0.1"."""
        return ""

    def __repr__(self) -> str:
        """The tree, one line per module: name, class, parameter count, tensors with shapes."""
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
        """Append the lines of this module. Returns the number of elements counted here first."""
        here, count, tensors = len(rows), 0, list[str]()
        settings = self.extra_repr()
        kind = type(self).__name__ + (f"({settings})" if settings else "")
        rows.append(("", "", 0))
        for short, t in self._direct_tensors():
            full = f"{path}{short}"
            notes = [f"{short} {t.shape}"]
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
