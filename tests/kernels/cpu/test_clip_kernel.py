"""The kernel of gradient clipping gives what the plain function gives."""

from collections import Counter

import numpy as np
import pytest
from kernel_checks import counts, f4, ran
from op_checks import close, read_only

import minigrad as mg
from minigrad import optim

SIZES = [(3,), (3, 1), (3, 7), (3, 2049), (3, 33, 65), (3, 0)]  # the first axis may be replicas


def drawn():
    rng = np.random.default_rng(0)
    return [rng.standard_normal(shape).astype(np.float32) for shape in SIZES]


def clipped(grads, max_norm, replicas=None, on=False):
    """The norm, then the gradients, after clipping copies of them."""
    params = [mg.Tensor(np.zeros_like(g)).requires_grad_() for g in grads]
    for p, g in zip(params, grads, strict=True):
        p.grad = mg.Tensor(g.copy())
    with mg.use_kernels(on):
        norm = optim.clip_grad_norm(params, max_norm, replicas=replicas)
    return [norm.data, *(p.grad.data for p in params)]


@pytest.mark.parametrize("parts", [1, 2, 50])
@pytest.mark.parametrize("replicas", [None, 3])
@pytest.mark.parametrize("max_norm", [0.0, 1.0, 200.0, np.inf])
def test_clipping_is_that_of_the_plain_function(max_norm, replicas, parts, monkeypatch):
    """Norms are about 112, or 65 in each replica. A block of 2,048 is summed in float32."""
    from kernels.cpu import compiled

    monkeypatch.setattr(compiled, "PARTS", parts)
    grads = drawn()
    with ran("clip_arrays"):
        fast = clipped(grads, max_norm, replicas, on=True)
    exact = clipped([g.astype(np.float64) for g in grads], max_norm, replicas)
    assert fast[0].shape == (() if replicas is None else (3,))
    assert all(a.dtype == np.float32 for a in fast)
    for a, b in zip(fast, exact, strict=True):
        close(a, b, 64)
    if max_norm >= 200.0:
        assert all(map(np.array_equal, fast[1:], grads))


def test_nan_makes_every_gradient_of_its_replica_nan():
    grads = drawn()
    grads[2][1, 0] = np.nan
    for replicas, which in ((None, [True] * 3), (3, [False, True, False])):
        with ran("clip_arrays"):
            _, *found = clipped(grads, 1.0, replicas, on=True)
        assert all(np.isnan(g).all(axis=1).tolist() == which for g in (found[1], found[3]))


def test_what_the_kernel_does_not_take_is_left_to_the_plain_function():
    used, declined = counts("clip_arrays")
    wide = clipped([g.astype(np.float64) for g in drawn()], 1.0, on=True)
    assert wide[1].dtype == np.float64
    p, q = f4(3).requires_grad_(), f4(3).requires_grad_()
    p.grad = mg.Tensor(read_only(np.ones(3, np.float32)))
    with mg.use_kernels(), pytest.raises(ValueError, match="read-only"):
        optim.clip_grad_norm([p], 1.0)
    p.grad = q.grad = mg.Tensor(np.ones(3, np.float32))
    with mg.use_kernels():
        optim.clip_grad_norm([p, q], 1.0)
    twice = p.grad.data.copy()
    p.grad = q.grad = mg.Tensor(np.ones(3, np.float32))
    optim.clip_grad_norm([p, q], 1.0)
    assert np.array_equal(twice, p.grad.data)
    assert counts("clip_arrays")[0] == used
    reasons = Counter({"float64": 1, "not in C order, or one gradient twice": 2})
    assert counts("clip_arrays")[1] - declined == reasons
