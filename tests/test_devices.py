"""Every op on arrays that are not NumPy's, and what is said where no GPU can be used."""

import dataclasses

import numpy as np
import pytest
from fake_gpu import FakeArray, HostArrayError, install
from test_ops import ALL, convert, cotangents, each, floating, is_float, leaves_of

import minigrad as mg
from experiments import objective, training
from minigrad import graph
from minigrad.tensor import Tensor


@pytest.fixture
def gpu(monkeypatch):
    install(monkeypatch)


def run(case, wrap, rng):
    """Values and gradients of a case, as NumPy arrays."""

    def wrapped(a):
        if isinstance(a, tuple):
            return tuple(map(wrapped, a))
        return wrap(a) if isinstance(a, np.ndarray) else a

    def leaf(a):
        return Tensor(wrap(a.copy())).requires_grad_(is_float(a))

    given = {k: wrapped(v) for k, v in case.kwargs.items()}
    case = dataclasses.replace(case, kwargs=given)
    args = convert(case.arrays(), leaf, wrapped)
    ys = case.ours(*args)
    if case.order == 0:
        return [y.data for y in ys], []
    cs = cotangents(floating(ys), rng, np.float64)
    with mg.no_grad():
        pairs = zip(floating(ys), cs, strict=True)
        found = graph.walk([(y.node, wrap(c)) for y, c in pairs if y.node is not None])
    gradients = [found[t.node] for t in leaves_of(args) if t.node in found]
    return [y.data for y in ys], gradients


@pytest.mark.usefixtures("gpu")
@each([case for case in ALL if case.name != "to_device"])
def test_no_op_passes_through_the_host(case):
    """Equal to the last bit or nearly: the same NumPy computes both; 8 eps for another layout."""
    theirs = run(case, lambda a: a, np.random.default_rng(0))
    ours = run(case, FakeArray, np.random.default_rng(0))
    for here, there in zip(theirs, ours, strict=True):
        assert len(here) == len(there)
        for a, b in zip(here, there, strict=True):
            assert isinstance(b, FakeArray)
            assert (a.dtype, a.shape) == (b.dtype, b.shape)
            np.testing.assert_allclose(b.values, a, rtol=1e-13, atol=1e-13)


@pytest.mark.usefixtures("gpu")
@pytest.mark.parametrize("name", ["lstm", "gpt"])
def test_training_steps_stay_on_the_device_and_equal_the_cpu(name):
    """Three steps in float32: losses equal to 1e-5, some 50 roundings of an eps of 1.2e-7."""

    def losses(device):
        mg.random.seed(0)
        trial = training.Trial(model=name, p=7, d=16)
        train, _ = training.data_of(trial)
        model = training.model_of(trial, train.vocabulary, train.inputs.shape[1]).to(device)
        optimizer = training.optimizer_of(trial, model)
        batch = objective.batch_of(train, device)
        steps = [training.train_step(model, optimizer, batch, trial.clip) for _ in range(3)]
        assert {p.device for p in model.parameters()} == {device}
        return [step.item() for step in steps]

    np.testing.assert_allclose(losses("cuda:0"), losses("cpu"), rtol=1e-5)


@pytest.mark.usefixtures("gpu")
def test_devices_do_not_mix_and_the_error_names_both():
    here, there = mg.tensor([1.0, 2.0]), Tensor(FakeArray(np.ones(2, np.float32)))
    with pytest.raises((TypeError, ValueError), match=r"cpu and cuda:0; move one with \.to\(\)"):
        here + there


def test_the_fake_refuses_what_cupy_refuses():
    a = FakeArray(np.ones(2))
    with pytest.raises(HostArrayError):
        np.asarray(a)
    with pytest.raises(HostArrayError):
        a + np.ones(2)
    assert isinstance(a.sum(), FakeArray)
