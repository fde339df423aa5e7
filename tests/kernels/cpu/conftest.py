"""Every test in this folder has the kernels of the CPU, and no others."""

import pytest

import minigrad as mg
from minigrad.kernel import KERNELS


@pytest.fixture(autouse=True)
def loaded(monkeypatch):
    """Kernels of the CPU alone, loaded and off. They take the smallest arrays, on all threads."""
    for package in ("numba", "threadpoolctl"):
        pytest.importorskip(package, reason="the CPU kernels need it: install minigrad[fast]")
    set_aside = [k for k in KERNELS if k.device != "cpu"]  # which tests of a GPU's have loaded
    for k in set_aside:
        KERNELS.remove(k)
        k.routine.kernels.remove(k)
    mg.use_kernels()
    mg.use_kernels(False)
    import kernels.cpu

    for module in vars(kernels.cpu).values():
        if hasattr(module, "SMALL"):
            monkeypatch.setattr(module, "SMALL", 1)
    yield
    mg.use_kernels(False)
    for k in set_aside:
        KERNELS.append(k)
        k.routine.kernels.append(k)
