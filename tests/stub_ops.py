"""Every op on CuPy: dispatch, shapes and dtypes of values and of first and second derivatives.

`test_gpu_stub.py` runs this file on the stub of a GPU, in a process of its own.
"""

import functools
import operator
from dataclasses import replace

import numpy as np
import pytest
from cases import ALL

import minigrad as mg
from benchmarks.gpu.parity import leaves_of, mapped
from minigrad import Tensor
from minigrad import device as devices
from minigrad.kernel import KERNELS

GPU = "cuda:0"
CASES = [case for case in ALL if case.name != "to_device"]
PICKED = {"getitem-9", "getitem-10"}  # by a mask: how many is counted on the GPU, and read as 0
TRAINING = {"adam_update_all", "clip_arrays"}  # routines without cases; see stub_training.py

LAYOUTS = {"C": lambda a: a, "transposed": lambda a: np.asarray(a.T, order="C").T}


@pytest.fixture(scope="module", params=[False, True], ids=["plain", "kernels"], autouse=True)
def kernels(request):
    with mg.use_kernels(request.param):
        yield request.param


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_values_and_derivatives_are_on_the_gpu_as_they_are_on_the_cpu(case, layout):
    found, wanted = (derivatives(case, layout, device) for device in (GPU, "cpu"))
    if case.id in PICKED:
        assert found.pop(0)[0] == (0, *wanted.pop(0)[0][1:])
    assert found == wanted


def test_every_kernel_ran(kernels):
    idle = {k.routine.name for k in KERNELS if k.device == "cuda" and not k.used}
    assert not kernels or idle == TRAINING


@pytest.mark.parametrize("shape", [(2, 4, 7, 32), (2, 4, 7, 33)])
@pytest.mark.parametrize(
    "view",
    [lambda x: x, lambda x: x.swapaxes(-1, -2).swapaxes(-1, -2), lambda x: x[..., ::2]],
    ids=["same", "", "every second column"],
)
def test_the_kernel_of_attention_takes_any_strides(view, shape, kernels):
    pass


def derivatives(case, layout, device):
    """(shape, dtype, whether on the device) of the values, their gradients, and the gradients of
    those."""

    def there(a):
        return devices.move(a.astype(np.float32) if a.dtype.kind == "f" else a, device)

    def prepared(a):  # arrays become tensors, but for indices in tuples
        if isinstance(a, list):
            return [prepared(item) for item in a]
        if isinstance(a, np.ndarray):
            return Tensor(there(LAYOUTS[layout](a))).requires_grad_(a.dtype.kind == "f")
        return mapped(there, a)

    def value(*leaves):
        return squares(case.ours(*with_leaves(args, leaves)))

    def about(tensor):
        if tensor is None:
            return None
        return tensor.shape, str(tensor.dtype), tensor.device == device

    case = replace(case, kwargs=mapped(there, case.kwargs))
    args = prepared(case.arrays(np.float32))
    ys, leaves = case.ours(*args), leaves_of(args)
    found = [*ys]
    if case.order > 0:
        squares(ys).backward()
        found += [x.grad for x in leaves]
    if case.order > 1 and layout == "C":
        every = tuple(range(len(leaves)))
        gradients = mg.grad(value, every)
        found += mg.grad(lambda *leaves: squares(gradients(*leaves)), every)(*leaves)
    return [about(t) for t in found]


def squares(tensors):
    """A number that depends on tensors, and not linearly."""
    terms = [(t * t).sum() for t in tensors if t.dtype.kind == "f"]
    return functools.reduce(operator.add, terms)


def with_leaves(args, leaves):
    """The arguments with other tensors in the places of their leaves."""
    others = iter(leaves)

    def replaced(a):
        if isinstance(a, list):
            return [replaced(item) for item in a]
        return next(others) if getattr(a, "requires_grad", False) else a

    return replaced(args)
