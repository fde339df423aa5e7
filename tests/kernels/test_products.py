"""What cuBLAS is told about matrices anywhere in memory, answered by a cuBLAS written in NumPy."""

import numpy as np
import pytest
from fake_cublas import Library
from hypothesis import given
from hypothesis import strategies as st

import minigrad as mg
from kernels.cuda import products
from kernels.cuda.products import common_step
from kernels.cuda.products import cublas_product as product


@pytest.fixture(autouse=True)
def host(monkeypatch):
    monkeypatch.setattr(products, "cublas", Library)
    monkeypatch.setattr(products, "address", lambda a: a.ctypes.data)
    monkeypatch.setattr(Library, "calls", 0)


def cut(rng, shape, order, every):
    """A view of `shape` whose axes lie in memory in `order`, every second element along `every`."""
    whole = [shape[i] * (2 if i == every else 1) for i in order]
    a = rng.standard_normal(whole).transpose(np.argsort(order))
    return a[tuple(slice(None, None, 2 if i == every else 1) for i in range(len(shape)))]


@given(st.data())
def test_any_view_gives_the_product_of_numpy(data):
    """Axes in any order in memory, steps between elements, axes that repeat, sizes of 0 and 1."""
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    size = st.integers(0, 3)
    n, k, m = data.draw(size), data.draw(size), data.draw(size)
    lead = data.draw(st.lists(st.integers(0, 3), max_size=2))
    arrays = []
    for matrix in ((n, k), (k, m)):
        own = [1 if data.draw(st.booleans()) else x for x in lead][data.draw(st.integers(0, 2)) :]
        shape = (*own, *matrix)
        order = data.draw(st.permutations(range(len(shape))))
        arrays.append(cut(rng, shape, order, data.draw(st.integers(-1, len(shape) - 1))))
    a, b = arrays
    y = product(a, b)
    np.testing.assert_allclose(y, a @ b, rtol=0, atol=1e-14)
    assert y.flags.c_contiguous
    out = np.full_like(y, np.nan)
    assert product(a, b, out) is out
    np.testing.assert_array_equal(out, y)


def copies(monkeypatch, a, b):
    """How many operands were copied."""
    made = []
    original = products.operand

    def noted(x, lead):
        made.append(None)
        return original(x, lead)

    monkeypatch.setattr(products, "operand", noted)
    product(a, b)
    assert Library.calls == 1
    return len(made) - 2


def test_transposed_and_repeated_matrices_are_not_copied(monkeypatch, rng):
    """Transposed keys, the weight of a linear map transposed, one matrix for a whole stack."""
    q, k = (rng.standard_normal((5, 2, 3, 4)) for _ in range(2))
    assert copies(monkeypatch, q, k.swapaxes(-1, -2)) == 0
    monkeypatch.setattr(Library, "calls", 0)
    assert copies(monkeypatch, q[0, 0], rng.standard_normal((6, 4)).T) == 0
    monkeypatch.setattr(Library, "calls", 0)
    assert copies(monkeypatch, rng.standard_normal((7, 3, 4)), k[0, 0].T) == 0
    monkeypatch.setattr(Library, "calls", 0)
    heads = rng.standard_normal((5, 3, 2, 4)).swapaxes(1, 2)  # (B, H) with two steps
    assert copies(monkeypatch, heads, k.swapaxes(-1, -2)) == 1


def test_the_common_step_of_a_stack_is_found_or_there_is_none():
    a = np.zeros((4, 3, 5, 2))
    assert common_step(a) == 10
    assert common_step(a[0, 0]) == 0
    assert common_step(a[:, :1]) == 30
    assert common_step(a[:, :2]) is None
    assert common_step(np.broadcast_to(a[0, 0], (4, 3, 5, 2))) == 0


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_products_of_every_dtype_keep_it(dtype, rng):
    a = rng.integers(-4, 4, (3, 4)).astype(dtype)
    y = product(a, a.T)
    assert y.dtype == dtype
    np.testing.assert_array_equal(y, a @ a.T)


# --- what the bodies of ops call ------------------------------------------------------------------
@pytest.fixture
def welcome(monkeypatch):
    """NumPy arrays count as arrays of a GPU."""
    monkeypatch.setattr(products, "unfit", lambda *arrays: None)


@pytest.mark.usefixtures("welcome")
@pytest.mark.parametrize(
    "shapes",
    [
        [(3, 4), (4, 2)],
        [(2, 5, 3, 4), (2, 5, 4, 2)],
        [(5, 3, 4), (2, 1, 4, 2)],
        [(4,), (4, 2)],
        [(3, 4), (4,)],
        [(4,), (4,)],
        [(5, 3, 4), (4,)],
        [(4,), (5, 4, 2)],
    ],
)
def test_products_of_vectors_matrices_and_stacks(shapes, rng):
    """Sums of at most 4 terms of size 4 or less: 1e-14 is 9 eps of 16."""
    a, b = (rng.standard_normal(s) for s in shapes)
    y = products.product(a, b)
    assert y.shape == (a @ b).shape
    np.testing.assert_allclose(y, a @ b, rtol=0, atol=1e-14)


@pytest.mark.usefixtures("welcome")
def test_a_product_fills_any_array(rng):
    a, b = rng.standard_normal((2, 3, 4)), rng.standard_normal((2, 4, 5))
    for out in (np.zeros((2, 3, 5)), np.zeros((2, 6, 5))[:, ::2]):
        assert products.product(a, b, out) is out
        np.testing.assert_allclose(out, a @ b, rtol=0, atol=1e-14)


@pytest.mark.usefixtures("welcome")
@pytest.mark.parametrize(
    ("subscripts", "shapes"),
    [
        ("bqd,bkd->bqk", [(2, 3, 4), (2, 5, 4)]),
        ("mhs,mhd->mshd", [(2, 3, 4), (2, 3, 5)]),
        ("ij,jk,kl->li", [(2, 3), (3, 4), (4, 5)]),
        ("ij,kj,kj->j", [(2, 3), (4, 3), (4, 3)]),
        ("ij,k->k", [(2, 3), (4,)]),
        ("ijk->ki", [(2, 3, 4)]),
        ("i,i->", [(3,), (3,)]),
        ("ij->", [(2, 3)]),
        ("i,j->ij", [(0,), (3,)]),
    ],
)
def test_einsum_is_that_of_numpy(subscripts, shapes, rng):
    """Sums of at most 24 terms of size 10 or less: 1e-13 is 2 eps of each term."""
    arrays = [rng.standard_normal(s) for s in shapes]
    y, expected = products.einsum(subscripts, *arrays), np.einsum(subscripts, *arrays)
    assert y.shape == expected.shape
    np.testing.assert_allclose(y, expected, rtol=0, atol=1e-13)


@pytest.mark.usefixtures("welcome")
def test_what_cublas_cannot_do_is_declined():
    a = np.ones((2, 3))
    assert products.product(a, a).reason == "shapes"
    assert products.einsum("ii->i", np.ones((3, 3))).reason == "diagonal"
    assert products.einsum("ij,ij->i", a, np.ones((1, 3))).reason == "broadcast"


def test_numpy_arrays_are_declined():
    with mg.use_kernels():
        mg.linear(mg.ones((2, 3)), mg.ones((4, 3)))
    a = np.ones((2, 3))
    assert products.product(a, a.T).reason == "not on the GPU"
    assert products.einsum("ij,ij->", a, a).reason == "not on the GPU"
