"""The machine code of the fused kernels: what their launches would be on a GPU is compiled, and
asked for registers and spills. Needs no GPU. `triton_fused.py` tests their numbers.
"""

import contextlib
from unittest import mock

import numpy as np
import pytest

pytest.importorskip("triton", reason="the GPU kernels need Triton: install minigrad[triton]")

from benchmarks import gpu_resources
from kernels.cuda import adamw, cross_entropy, dropout, gelu, layer_norm, lstm
from kernels.cuda.launch import ALIGNMENT, INTERPRETED, compile_only, least_spilled, pointer_to
from minigrad import no_grad

if INTERPRETED:
    pytest.skip("the interpreter cannot compile", allow_module_level=True)

MODULES = adamw, cross_entropy, dropout, gelu, layer_norm, lstm
MOST_SHARED = 48 << 10  # bytes that a block has without asking


# --- what is launched -----------------------------------------------------------------------------
def f4(*shape):
    return np.ones(shape, np.float32)


def f2(*shape):
    return np.ones(shape, np.float16)


def forward_and_back(call, *args, **kwargs):
    y, pull = call(*args, **kwargs)
    pulls = pull if isinstance(pull, tuple) else (pull,)
    for p in pulls:
        if p is not None:
            p(y)


def everything():
    """Every kernel with every option, in the smallest, an uneven and the largest tile."""
    for ones in (f4, f2):
        forward_and_back(gelu.gelu, ones(4096))
        forward_and_back(gelu.gelu, ones(4097), "tanh")
        forward_and_back(dropout.dropout, ones(4096), 0.1, (0, 1, 2))
        for size in (1, 100, 768, 2048, 4096):
            forward_and_back(layer_norm.layer_norm, ones(64, size), ones(size), ones(size))
        forward_and_back(layer_norm.layer_norm, ones(64, 4095))
    with no_grad():
        gelu.gelu(f4(4096))
    for classes in (2, 36, 1000, 50257):
        for how in ("none", "mean", "sum"):
            entropy, ids = cross_entropy.cross_entropy, np.zeros(64, np.int64)
            forward_and_back(entropy, f4(64, classes), ids, reduction=how)
            forward_and_back(entropy, f4(64, classes), ids, reduction=how, weight=f4(classes))
    for size in (1, 100, 128, 512):
        weights = f4(4 * size, size), f4(4 * size, size), f4(4 * size), None
        forward_and_back(lstm.lstm, f4(2, 64, size), None, None, *weights)
        forward_and_back(lstm.lstm, f4(2, 64, 4 * size), None, None, None, *weights[1:])
    arrays = [f4(5000) for _ in range(4)]
    adamw.adam(None, [tuple(arrays)], lambda: ([[(0.9, 0.999, 1e-8, 0.01, 0.0, 1.0)]], [0]))
    adamw.clip(arrays, 1.0, None)


def launches():
    """By name: the kernel, the types of its arguments, its constants and warps; each once."""
    found = {}

    def note(fn, grid, args, constants, *, warps=4, stages=2):
        types = tuple(map(type_of, args))
        what = [fn.__module__.split(".")[-1], fn.__name__, *types, *constants.items(), warps]
        found[" ".join(map(str, what))] = fn, types, constants, warps, stages

    with contextlib.ExitStack() as stack:
        stack.enter_context(np.errstate(all="ignore"))
        for module in MODULES:
            stack.enter_context(mock.patch.multiple(module, launch=note, unfit=fits))
        everything()
    return found


def fits(*arrays, dtypes=()):
    """In the place of `unfit`, for NumPy arrays."""


def type_of(a):
    if isinstance(a, np.ndarray):
        return pointer_to(a.dtype) + ":16"
    if isinstance(a, float):
        return "fp32"
    return "i32" if a % ALIGNMENT else "i32:16"


LAUNCHES = launches()


def test_every_kernel_is_launched():
    made = {fn for fn, *_ in LAUNCHES.values()}
    written = {f for m in MODULES for name, f in vars(m).items() if name.endswith("_kernel")}
    assert made == written


# --- their machine code ---------------------------------------------------------------------------
@pytest.mark.parametrize("architecture", [80, 90])
@pytest.mark.parametrize("name", LAUNCHES)
def test_no_registers_are_spilled(name, architecture):
    fn, types, constants, *how = LAUNCHES[name]

    def build(registers):  # as `launch` does
        compiled = compile_only(fn, types, constants, architecture, *how, registers)
        return compiled, gpu_resources.resources(compiled.asm["cubin"])

    compiled, used = least_spilled(build, lambda made: made[1]["STACK"] + made[1]["LOCAL"])
    assert 8 <= used["REG"] <= 255
    assert used["STACK"] + used["LOCAL"] == 0
    assert compiled.metadata.shared <= MOST_SHARED
