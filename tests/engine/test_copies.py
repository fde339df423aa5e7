"""Copies and pickles of tensors, models and optimizers, here and in another process."""

import copy
import pickle
import subprocess
import sys

import numpy as np
import pytest
from small import leaf

import minigrad as mg
from minigrad import nn, optim

ANOTHER_PROCESS = """
import pickle, sys
import numpy as np
import minigrad as mg
model, x = pickle.load(sys.stdin.buffer)
for _ in range(50):  # the clock of this process goes on
    mg.exp(mg.tensor([1.0], requires_grad=True))
losses = []
for _ in range(2):
    loss = mg.square(model(x)).sum()
    model.zero_grad()
    loss.backward()
    mg.optim.SGD(model.parameters(), lr=0.1).step()
    losses.append(loss.item())
sys.stdout.buffer.write(pickle.dumps((losses, [p.grad for p in model.parameters()], model)))
"""


def test_a_model_is_trained_in_another_process_as_in_this_one():
    """Node numbers come from a clock of each process, so leaves are made anew where they arrive."""
    here = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2))
    x = mg.tensor(np.random.default_rng(0).standard_normal((5, 3)), np.float32)
    for _ in range(1000):  # and this clock is far ahead
        mg.exp(leaf(1.0))
    run = [sys.executable, "-c", ANOTHER_PROCESS]
    answer = subprocess.run(run, input=pickle.dumps((here, x)), capture_output=True, check=True)
    losses, grads, there = pickle.loads(answer.stdout)
    expected = []
    for _ in range(2):
        loss = mg.square(here(x)).sum()
        here.zero_grad()
        loss.backward()
        optim.SGD(here.parameters(), lr=0.1).step()
        expected.append(loss.item())
    assert losses == expected
    for g, p, q in zip(grads, here.parameters(), there.parameters(), strict=True):
        assert np.array_equal(g.data, p.grad.data)
        assert np.array_equal(q.data, p.data)
        assert np.array_equal(q.grad.data, p.grad.data)
    mg.square(there(x)).sum().backward()  # and back here it goes on
    mg.square(here(x)).sum().backward()
    for p, q in zip(here.parameters(), there.parameters(), strict=True):
        assert np.array_equal(q.grad.data, p.grad.data)


COPIES = {
    "pickle": lambda t: pickle.loads(pickle.dumps(t)),
    "deepcopy": copy.deepcopy,
    "out of band": lambda t: out_of_band(t),
}


def out_of_band(t):
    """As Ray does it: the arrays arrive apart from the pickle, and read-only."""
    buffers = []
    data = pickle.dumps(t, protocol=5, buffer_callback=buffers.append)
    return pickle.loads(data, buffers=[bytes(b.raw()) for b in buffers])


@pytest.mark.parametrize("way", COPIES)
def test_a_copied_leaf_is_a_leaf_of_its_own(way):
    x = leaf([1.0, 2.0])
    x.register_hook(lambda g: g * 100.0)
    (x * x).sum().backward()
    y = COPIES[way](x)
    assert y.requires_grad
    assert y.is_leaf
    assert y.grad.tolist() == [200.0, 400.0]
    y.grad = None
    newer = leaf([1.0, 1.0])
    mg.grad(lambda z: (z * y).sum())(newer)
    (y * newer).sum().backward()
    assert y.grad.tolist() == [1.0, 1.0]  # its hooks stayed behind
    with mg.no_grad():
        y += 1.0
    assert (x.tolist(), y.tolist()) == ([1.0, 2.0], [2.0, 3.0])
    x.requires_grad_(False)
    frozen = COPIES[way](x)
    assert not frozen.requires_grad
    assert frozen.grad.tolist() == [200.0, 400.0]
    plain = COPIES[way](mg.tensor([1, 2]))
    assert (plain.tolist(), plain.dtype, plain.requires_grad) == ([1, 2], np.int64, False)


@pytest.mark.parametrize("way", COPIES)
def test_copies_keep_what_is_tied_and_what_an_optimizer_knows(way):
    model = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
    model[1].weight = model[0].weight
    optimizer = optim.Adam(model.parameters(), lr=0.1)
    copied, its = COPIES[way]((model, optimizer))
    assert copied[1].weight is copied[0].weight
    for m, o in ((model, optimizer), (copied, its)):
        for _ in range(3):
            o.zero_grad()
            mg.square(m(mg.tensor(np.ones((2, 3), np.float32)))).sum().backward()
            o.step()
    for p, q in zip(model.parameters(), copied.parameters(), strict=True):
        assert p is not q
        assert np.array_equal(p.data, q.data)


@pytest.mark.parametrize("way", [*COPIES, "copy"])
def test_what_an_op_computed_is_not_copied_without_its_graph(way):
    y = leaf([1.0, 2.0]) * 2.0
    with pytest.raises(RuntimeError, match=r"a tensor from mul that needs a gradient cannot be"):
        {**COPIES, "copy": copy.copy}[way](y)
    assert COPIES["pickle"](y.detach()).tolist() == [2.0, 4.0]
