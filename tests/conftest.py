"""Settings for all tests: one BLAS thread a process (arrays are small), a fresh random state."""

import os

for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(name, "1")

import numpy as np
import pytest

import minigrad as mg


@pytest.fixture(autouse=True)
def fresh_random_state():
    mg.random.seed(0)


@pytest.fixture
def rng():
    return np.random.default_rng(0)
