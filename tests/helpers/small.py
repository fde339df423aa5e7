"""Small tensors and a small training, for tests of the engine."""

import numpy as np

import minigrad as mg


def leaf(values, dtype=np.float64):
    """A tensor that carries a gradient."""
    return mg.tensor(np.asarray(values, dtype), requires_grad=True)


def f64(*shape, seed=0):
    """Normal numbers in float64."""
    return mg.tensor(np.random.default_rng(seed).standard_normal(shape))


def training():
    """A small model and the function of one step, in plain tensors."""
    rng = np.random.default_rng(0)
    w1 = mg.tensor(rng.standard_normal((32, 32)), np.float32, requires_grad=True)
    w2 = mg.tensor(rng.standard_normal((32, 4)), np.float32, requires_grad=True)
    x = mg.tensor(rng.standard_normal((64, 32)), np.float32)
    target = mg.tensor(rng.integers(0, 4, 64))

    def step():
        loss = mg.cross_entropy(mg.softmax(mg.layer_norm(x @ w1)) @ w2, target)
        loss.backward()
        with mg.no_grad():
            for w in (w1, w2):
                w.assign_(w - 0.1 * w.grad)
                w.grad = None
        return loss

    return step
