"""The kernel of Adam and AdamW gives what their plain update gives."""

from collections import Counter

import numpy as np
import pytest
from kernel_checks import counts, f4, ran
from op_checks import close, read_only

import minigrad as mg
from minigrad import optim

SIZES = [(), (1,), (7,), (2049,), (33, 65), (40_001,), (3, 0)]


def trained(make, steps, dtype, on=False, order="C"):
    """Parameters, then slots, after updates from fixed read-only gradients."""
    rng = np.random.default_rng(0)
    params = [mg.tensor(rng.standard_normal(s).astype(np.float32), dtype) for s in SIZES]
    optimizer = make([p.requires_grad_() for p in params])
    with mg.use_kernels(on):
        for _ in range(steps):
            for p in params:
                g = np.asarray(rng.standard_normal(p.shape), np.float32).astype(dtype, order=order)
                p.grad = mg.Tensor(read_only(g))
            optimizer.step()
    return [p.data for p in params] + [
        slot for p in params for name, slot in optimizer.slots[p].items() if name != "step"
    ]


@pytest.mark.parametrize("decay", [0.0, 0.1])
@pytest.mark.parametrize("kind", [optim.Adam, optim.AdamW])
@pytest.mark.parametrize("steps", [1, 5])
def test_adam_is_that_of_the_plain_update(kind, decay, steps):
    """8 roundings a step; sizes around the blocks of the kernel and the pieces of the plain one."""

    def make(params):
        return kind(params, lr=0.01, weight_decay=decay)

    with ran("adam_update_all"):
        fast = trained(make, steps, np.float32, on=True)
    plain, exact = trained(make, steps, np.float32), trained(make, steps, np.float64)
    for a, b, c in zip(fast, plain, exact, strict=True):
        close(b, c, 8 * steps)
        close(a, c, 8 * steps)
        close(a, b, 8 * steps)


def test_adam_in_several_parts_and_from_strided_gradients(monkeypatch):
    """Each element by itself, so the same to the last bit."""
    from kernels.cpu import compiled

    found = []
    for parts, order in ((1, "C"), (3, "C"), (50, "C"), (2, "F")):
        monkeypatch.setattr(compiled, "PARTS", parts)
        found.append(trained(optim.AdamW, 2, np.float32, on=True, order=order))
    for other in found[1:]:
        assert all(map(np.array_equal, other, found[0]))


def test_an_infinite_parameter_is_no_nan_without_decay():
    p = mg.Tensor(np.full(3, np.inf, np.float32)).requires_grad_()
    p.grad = f4(3)
    with ran("adam_update_all"):
        optim.Adam([p]).step()
    assert np.isinf(p.data).all()


@pytest.mark.parametrize("kind", [optim.Adam, optim.AdamW])
def test_adam_with_a_rate_and_a_decay_for_each_replica(kind):
    def make(params):
        return kind(params, lr=[0.01, 0.1, 0.0], weight_decay=[0.0, 0.1, 1.0])

    def run(on):
        rng, shapes = np.random.default_rng(0), [(3,), (3, 0), (3, 5), (3, 70, 90)]
        params = [f4(*s).requires_grad_() for s in shapes]
        optimizer = make(params)
        with mg.use_kernels(on):
            for _ in range(3):
                for p in params:
                    p.grad = mg.Tensor(rng.standard_normal(p.shape).astype(np.float32))
                optimizer.step()
        return [p.data for p in params]

    with ran("adam_update_all"):
        fast = run(on=True)
    for a, b in zip(fast, run(on=False), strict=True):
        close(a, b, 8 * 3)


@pytest.mark.parametrize("amsgrad", [False, True])
@pytest.mark.parametrize("kind", [optim.Adam, optim.AdamW])
def test_adam_that_goes_up_and_amsgrad_and_added_groups(kind, amsgrad):
    """The kernel takes `maximize` and new groups; a group with amsgrad leaves all to the plain."""

    def run(on, dtype=np.float32):
        rng = np.random.default_rng(0)
        p, q, r = (mg.tensor(rng.standard_normal(9), dtype, requires_grad=True) for _ in range(3))
        optimizer = kind([{"params": [p], "amsgrad": amsgrad}, {"params": [q], "maximize": True}])
        with mg.use_kernels(on):
            for step in range(6):
                if step == 3:
                    optimizer.add_param_group({"params": [r], "lr": 0.01, "betas": (0.5, 0.75)})
                for t in (p, q, r):
                    t.grad = mg.tensor(rng.standard_normal(9), np.float32).astype(dtype)
                optimizer.step()
        return [t.data for t in (p, q, r)]

    used, declined = counts("adam_update_all")
    fast = run(True)
    assert counts("adam_update_all")[0] - used == (0 if amsgrad else 6)
    assert counts("adam_update_all")[1] - declined == Counter({"amsgrad": 6} if amsgrad else {})
    for a, b, c in zip(fast, run(False), run(False, np.float64), strict=True):
        close(a, c, 8 * 6)
        close(a, b, 8 * 6)


def test_adam_leaves_what_it_does_not_take_to_the_plain_update():
    used, declined = counts("adam_update_all")
    with mg.use_kernels():
        p = mg.tensor(np.ones(3), np.float64, requires_grad=True)
        p.grad = mg.Tensor(np.ones(3))
        optim.Adam([p]).step()
        q = mg.Tensor(read_only(np.ones(3, np.float32))).requires_grad_()
        q.grad = f4(3)
        with pytest.raises(ValueError, match="read-only"):
            optim.Adam([q]).step()
    assert counts("adam_update_all")[0] == used
    assert counts("adam_update_all")[1] - declined == {"float64": 1, "not in C order": 1}
    assert q.tolist() == [1.0] * 3
