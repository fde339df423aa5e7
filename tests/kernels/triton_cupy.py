"""Every kernel on arrays that behave as CuPy's do, at once and recorded.

`test_triton.py` runs this file in a process of its own, with TRITON_INTERPRET=1.
"""

import attention_checks
import fake_gpu
import fused_cases
import numpy as np
import pytest
from attention_checks import LAYOUTS, drawn
from fake_gpu import FakeArray
from fused_cases import SMALL, check, each

import minigrad as mg
from kernels.cuda.launch import INTERPRETED
from minigrad import Tensor
from minigrad.kernel import KERNELS

if not INTERPRETED:
    pytest.skip("the stand-in needs the interpreter", allow_module_level=True)


@pytest.fixture(autouse=True)
def gpu(monkeypatch):
    fake_gpu.install_kernels(monkeypatch)
    monkeypatch.setattr(fused_cases, "DEVICE", "cuda:0")
    monkeypatch.setattr(attention_checks, "to_device", FakeArray)


# --- at once --------------------------------------------------------------------------------------
@each(SMALL)
def test_values_and_gradients_are_those_of_the_plain_op(case, rng):
    check(case, rng)
    assert fake_gpu.INDEX_COPIES == []


def apart(x):
    """The same numbers in rows that lie 24 numbers apart."""
    wide = np.zeros((*x.shape[:-1], 24), x.dtype)
    wide[..., : x.shape[-1]] = x
    return wide[..., : x.shape[-1]]


@pytest.mark.parametrize("layout", [*LAYOUTS.values(), apart], ids=[*LAYOUTS, "24 apart"])
def test_attention_copies_what_its_kernel_cannot_read(layout, rng):
    arrays = [x.values for x in drawn(rng, (1, 2, 20, 16), 20, np.float32)]
    attention_checks.check(*(FakeArray(layout(x)) for x in arrays), causal=True)


def test_attention_of_a_sequence_to_itself(rng):
    q, _, _, g = drawn(rng, (2, 3, 9, 16), 9, np.float32)
    mask = rng.random((2, 1, 1, 9)) < 0.7
    attention_checks.check(q, q, q, g, mask, causal=True, alibi=True)


# --- recorded -------------------------------------------------------------------------------------
@pytest.fixture
def kernels_on(monkeypatch):
    """Also in what kernels call."""
    for k in KERNELS:
        if k.device == "cuda":
            monkeypatch.setattr(k.routine, "run", k.routine.choose)


def recorded_and_not(call, arrays):
    """What a call gives on random numbers, step by step and in a recording; NumPy arrays."""
    captured = mg.capture(lambda *tensors: tuple(map(Tensor, call(*(t.data for t in tensors)))))
    rng = np.random.default_rng(0)
    for _ in range(4):
        given = [
            Tensor(FakeArray(rng.standard_normal(a.shape).astype(a.dtype)))
            if a.dtype.kind == "f"
            else Tensor(FakeArray(a))
            for a in arrays
        ]
        found = [t.cpu().numpy() for t in captured(*given)]
        yield found, [a.values for a in call(*(t.data for t in given))]
    assert captured.graph is not None


def gradients(pull, g):
    """All that are not None."""
    found = [p(g) for p in pull if p is not None] if isinstance(pull, tuple) else pull(g)
    found = found if isinstance(found, (tuple, list)) else [found]
    return [a for a in found if a is not None]


@pytest.mark.usefixtures("kernels_on")
@each(SMALL)
def test_a_replay_computes_what_a_call_does(case, rng):
    """Bit for bit, on other numbers than were there when it was recorded."""
    arrays = case.arrays(rng)
    places = [n for n, a in enumerate(arrays) if isinstance(a, np.ndarray)]
    options = fused_cases.to_device(case.kwargs)

    def call(*tensors):
        args = list(arrays)
        for n, a in zip(places, tensors, strict=True):
            args[n] = a
        ys, pull = case.fused(*args, **options)
        several = isinstance(ys, tuple)
        cotangent = tuple(y * 0.5 for y in ys) if several else ys * 0.5
        return [*(ys if several else (ys,)), *gradients(pull, cotangent)]

    for found, wanted in recorded_and_not(call, [arrays[n] for n in places]):
        for a, b in zip(found, wanted, strict=True):
            np.testing.assert_array_equal(a, b)


def test_a_replay_of_attention_computes_what_a_call_does(rng):
    mask = FakeArray(rng.random((2, 1, 1, 9)) < 0.7)

    def call(q, k, v):
        y, pull = attention_checks.fused(q, k, v, mask, causal=True)
        return [y, *gradients(pull, y * 0.5)]

    arrays = [x.values for x in drawn(rng, (2, 3, 9, 16), 9, np.float32)[:3]]
    for found, wanted in recorded_and_not(call, arrays):
        for a, b in zip(found, wanted, strict=True):
            np.testing.assert_array_equal(a, b)
