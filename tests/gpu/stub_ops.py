"""Every op on CuPy: dispatch, shapes and dtypes of values and of first and second derivatives.

`test_gpu_stub.py` runs this file on the stub of a GPU, in a process of its own.
"""

import functools
import operator
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import pytest

import minigrad as mg
from benchmarks.gpu.parity import kernel_of, leaves_of, mapped
from minigrad import Tensor
from minigrad import device as devices
from reference.cases import ALL

GPU = "cuda:0"
CASES = [case for case in ALL if case.name != "to_device"]
PICKED = {"getitem-9", "getitem-10"}  # by a mask: how many is counted on the GPU, and read as 0


class Kind(NamedTuple):
    """How the floating point arrays are given, and whether second derivatives are taken too."""

    dtype: str
    transposed: bool = False
    twice: bool = False


KINDS = {
    "float32": Kind("float32", twice=True),
    "transposed": Kind("float32", transposed=True),
    "float16": Kind("float16"),
}


@pytest.fixture(scope="module", params=[False, True], ids=["plain", "kernels"])
def kernels(request):
    with mg.use_kernels(request.param):
        yield


@pytest.mark.usefixtures("kernels")
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_values_and_derivatives_are_as_on_the_cpu(case, kind):
    found, wanted = (derivatives(case, KINDS[kind], device) for device in (GPU, "cpu"))
    if case.id in PICKED:
        assert found.pop(0)[0] == (0, *wanted.pop(0)[0][1:])
    assert found == wanted


@pytest.mark.parametrize(
    "op",
    ["matmul", "einsum", "lstm", "lstm_cell", "gelu", "layer_norm", "cross_entropy", "dropout"],
)
def test_the_kernel_of_an_op_serves_its_cases(op):
    with mg.use_kernels():
        kernel = kernel_of("product" if op == "matmul" else op)
        used = kernel.used
        for case in CASES:
            if case.name == op:
                derivatives(case, KINDS["float32"], GPU)
    assert kernel.used > used


@pytest.mark.parametrize(
    "view",
    [
        lambda x: x,
        lambda x: x.swapaxes(-1, -2),
        lambda x: x[..., 1:],
        lambda x: x[..., ::2],
    ],
    ids=["as it is", "transposed", "not aligned", "every second column"],
)
def test_attention_of_one_tensor_takes_any_strides(view):
    with mg.use_kernels():
        kernel = kernel_of("scaled_dot_product_attention")
        used = kernel.used
        leaf = mg.zeros((2, 4, 7, 33), device=GPU).requires_grad_()
        x = view(leaf)
        mg.scaled_dot_product_attention(x, x, x, causal=True).sum().backward()
    assert kernel.used == used + 1
    assert leaf.grad.shape == leaf.shape


def derivatives(case, kind, device):
    """(shape, dtype, whether on the device) of the values, their gradients, and the gradients of
    those; None where there is no gradient."""

    def there(a):
        a = a.astype(kind.dtype) if a.dtype.kind == "f" else a
        return devices.move(np.asarray(a.T, order="C").T if kind.transposed else a, device)

    def prepared(a):  # arrays become tensors, but for indices in tuples
        if isinstance(a, list):
            return [prepared(item) for item in a]
        if isinstance(a, np.ndarray):
            return Tensor(there(a)).requires_grad_(a.dtype.kind == "f")
        return mapped(there, a)

    def value(*leaves):
        return squares(case.ours(*with_leaves(args, leaves)))

    def about(tensor):
        if tensor is None:
            return None
        return tensor.shape, str(tensor.dtype), tensor.device == device

    case = replace(case, kwargs=mapped(there, case.kwargs))
    args = prepared(case.arrays())
    ys, leaves = case.ours(*args), leaves_of(args)
    found = [*ys]
    if case.order > 0:
        squares(ys).backward()
        found += [x.grad for x in leaves]
    if case.order > 1 and kind.twice:
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
