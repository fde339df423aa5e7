"""The matrix product in Triton against NumPy's, in the interpreter; see `test_triton.py`."""

import numpy as np
import pytest

import minigrad as mg
from kernels.cuda import products
from kernels.cuda.launch import INTERPRETED
from minigrad import device as devices

if not INTERPRETED and not devices.available():
    pytest.skip("needs a GPU, or TRITON_INTERPRET=1", allow_module_level=True)

DEVICE = "cpu" if INTERPRETED else "cuda:0"
mg.random.seed(0)


@pytest.fixture
def product(monkeypatch):
    """That of two arrays as in a capture without nvmath-python."""
    monkeypatch.setattr(products, "cublas", lambda: object.__new__(products.Cupy))

    def without_cublas(x, y):
        with monkeypatch.context() as patch:  # not around the copies from the host
            patch.setattr(devices, "capturing", lambda: True)
            return products.cublas_product(x, y)

    return without_cublas


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
@pytest.mark.parametrize(
    ("a", "b", "turned"),
    [
        ((1, 1), (1, 1), False),
        ((3, 5), (5, 2), False),
        ((64, 32), (32, 64), False),
        ((65, 33), (31, 33), True),
        ((3, 7, 40), (40, 9), False),
        ((2, 3, 5, 4), (2, 3, 6, 4), True),
        ((2, 1, 5, 4), (3, 4, 6), False),
    ],
)
def test_products_of_any_view(a, b, turned, dtype, rng, product):
    """An element is a sum of k products: k roundings, and half an ulp of the result."""
    a, b = (rng.standard_normal(s).astype(dtype) for s in (a, b))
    x, y = (devices.move(z, DEVICE) for z in (a, b))
    b, y = (z.swapaxes(-1, -2) if turned else z for z in (b, y))
    found = devices.to_numpy(product(x, y))
    exact = a.astype(np.float64) @ b.astype(np.float64)
    terms = np.abs(a.astype(np.float64)) @ np.abs(b.astype(np.float64))
    eps32, eps = np.finfo(np.float32).eps, np.finfo(dtype).eps
    assert found.dtype == dtype
    assert found.shape == exact.shape
    assert (np.abs(found - exact) <= a.shape[-1] * eps32 * terms + eps * np.abs(exact)).all()
