"""minigrad beside NumPy and PyTorch: np.exp(t), np.asarray(t), DLPack both ways."""

import numpy as np
import pytest
import torch

import minigrad as mg
from minigrad.protocols import NUMPY


# --- NumPy's functions on tensors -----------------------------------------------------------------
def test_numpy_functions_on_tensors_are_our_ops_and_record():
    x = mg.tensor([1.0, 2.0], requires_grad=True)
    y = np.exp(np.sin(x))
    assert isinstance(y, mg.Tensor)
    y.backward(np.ones(2))
    np.testing.assert_allclose(x.grad.data, np.exp(np.sin(x.data)) * np.cos(x.data), rtol=1e-6)


def test_array_on_the_left_gives_a_tensor_not_an_array_of_objects():
    x = mg.tensor([1.0, 2.0])
    for y in (np.ones(2, np.float32) + x, np.float64(2) * x, np.arange(2) - x, 3.0 / x):
        assert isinstance(y, mg.Tensor)
        assert y.dtype == np.float32
        assert y.shape == (2,)


def test_matmul_with_an_array_on_either_side():
    a, x = np.ones((2, 3), np.float32), mg.tensor(np.ones((3, 2), np.float32))
    for y in (a @ x, x @ a):
        assert isinstance(y, mg.Tensor)


def test_every_registered_numpy_function_answers_with_the_op_itself():
    """The table maps NumPy's functions to callables, and none of them to NumPy's own."""
    assert {np.exp, np.sum, np.matmul, np.concatenate, np.where, np.maximum} <= set(NUMPY)
    assert all(fn is not function for function, fn in NUMPY.items())


def test_shape_ndim_size_and_likes():
    x = mg.tensor(np.ones((2, 3)), requires_grad=True)
    assert (np.shape(x), np.ndim(x), np.size(x)) == ((2, 3), 2, 6)
    for like in (np.zeros_like(x), np.ones_like(x), np.empty_like(x)):
        assert isinstance(like, mg.Tensor)
        assert (like.shape, like.dtype, like.requires_grad) == ((2, 3), np.float64, False)


@pytest.mark.parametrize(
    ("call", "name"),
    [
        (lambda x: np.arctan2(x, x), "np.arctan2"),
        (lambda x: np.linalg.svd(x), "np.linalg.svd"),
        (lambda x: np.add.reduce(x), "np.add.reduce"),
        (lambda x: np.exp(x, out=np.empty((2, 2))), "np.exp"),
    ],
)
def test_a_numpy_function_without_a_gradient_rule_is_refused_with_a_remedy(call, name):
    """Silently computing without the gradient is what HIPS/autograd#423 did."""
    with pytest.raises(TypeError, match=name) as error:
        call(mg.tensor(np.ones((2, 2))))
    assert "gradient" in str(error.value)


# --- out to NumPy ---------------------------------------------------------------------------------
def test_numpy_shares_memory_and_is_read_only():
    x = mg.tensor([1.0, 2.0])
    a = x.numpy()
    assert np.shares_memory(a, x.data)
    with pytest.raises(ValueError, match="read-only"):
        a[0] = 5.0


def test_asarray_respects_dtype_and_copy():
    x = mg.tensor([1.0, 2.0])
    assert np.shares_memory(np.asarray(x), x.data)
    assert np.asarray(x, dtype=np.float64).dtype == np.float64
    copy = np.array(x)
    copy[0] = 9.0
    assert x.data[0] == 1.0
    with pytest.raises(ValueError, match="copy"):
        np.array(x, dtype=np.float64, copy=False)


def test_a_tensor_that_needs_a_gradient_does_not_become_an_array_in_silence():
    x = mg.tensor([1.0], requires_grad=True)
    for convert in (np.asarray, np.array, lambda t: t.numpy()):
        with pytest.raises(RuntimeError, match="detach"):
            convert(x)


def test_scalars_out_to_python():
    x = mg.tensor([[2.5]])
    assert (float(x), int(x), bool(x), x.item(), x.tolist()) == (2.5, 2, True, 2.5, [[2.5]])
    assert f"{x:.2f}" == "2.50"
    assert [10, 20, 30][mg.tensor(1)] == 20
    with pytest.raises(TypeError, match="integer"):
        [10, 20][mg.tensor(1.0)]
    with pytest.raises(ValueError, match="one value"):
        float(mg.tensor([1.0, 2.0]))


# --- in from NumPy and Python ---------------------------------------------------------------------
def test_tensor_copies_and_from_dlpack_shares():
    a = np.ones(3, np.float32)
    copied, shared = mg.tensor(a), mg.from_dlpack(a)
    a[0] = 7.0
    assert copied.data[0] == 1.0
    assert shared.data[0] == 7.0


def test_dtypes_of_python_data():
    assert mg.tensor([1.0, 2]).dtype == np.float32
    assert mg.tensor([1, 2]).dtype == np.int64
    assert mg.tensor([True]).dtype == np.bool_
    assert mg.tensor(np.float64([1])).dtype == np.float64
    assert mg.tensor(np.array([1.5], ">f4")).dtype == np.dtype("=f4")
    assert mg.tensor([mg.tensor(1.0), 2.0]).tolist() == [1.0, 2.0]


@pytest.mark.parametrize("data", ["text", [1j], [None], [[1.0], [1.0, 2.0]]])
def test_data_that_are_not_numbers_are_refused(data):
    with pytest.raises((TypeError, ValueError)):
        mg.tensor(data)


@pytest.mark.filterwarnings("ignore:the matrix subclass")
def test_subclasses_of_arrays_count_as_arrays():
    """Of a matrix * is the product of matrices, and - of a record is not defined."""
    plain = np.array([[1.0, 2.0], [3.0, 4.0]])
    kinds = [np.matrix(plain), plain.view(np.memmap), plain.view(np.recarray), np.ma.array(plain)]
    for a in kinds:
        assert type(a) is not np.ndarray
        for requires_grad in (False, True):
            x = mg.tensor(plain * 10.0, requires_grad=requires_grad)
            results = {
                "*": (x * a, plain * plain * 10.0),
                "* from the left": (np.multiply(a, x), plain * plain * 10.0),
                "@": (x @ a, plain @ plain * 10.0),
                "tensor": (mg.tensor(a) * mg.tensor(a), plain * plain),
                "Tensor": (mg.Tensor(a) * 1.0, plain),
                "concatenate": (mg.concatenate([x, a]), np.concatenate([plain * 10.0, plain])),
                "where": (mg.where(plain > 2, x, a), np.where(plain > 2, plain * 10.0, plain)),
                "index": (x[np.matrix([[0, 1]])], plain[[[0, 1]]] * 10.0),
                "assign_": (mg.tensor(plain * 0.0).assign_(a), plain),
            }
            for name, (y, expected) in results.items():
                assert type(y.data) is np.ndarray, name
                assert np.array_equal(y.data, expected), name


def test_masked_elements_have_no_value():
    masked = np.ma.array([1.0, 2.0], mask=[False, True])
    x = mg.tensor(np.ones(2))
    for f in (mg.tensor, mg.Tensor, lambda a: x * a, lambda a: x + mg.tensor(a)):
        with pytest.raises(TypeError, match="masked elements have no value; fill them first"):
            f(masked)
    assert mg.tensor(masked.filled(0.0)).tolist() == [1.0, 0.0]


@pytest.mark.parametrize("data", [[1.0, 2.0], 1.0, None, (1,)])
def test_the_class_takes_arrays_only_and_names_the_function_for_the_rest(data):
    with pytest.raises(TypeError, match=r"Tensor: expected a NumPy or CuPy array, .*mg\.tensor"):
        mg.Tensor(data)


# --- DLPack ---------------------------------------------------------------------------------------
def test_dlpack_to_torch_and_numpy_shares_memory():
    x = mg.tensor(np.arange(6.0).reshape(2, 3))
    t = torch.from_dlpack(x)
    assert t.data_ptr() == x.data.ctypes.data
    assert np.shares_memory(np.from_dlpack(x), x.data)
    assert t.tolist() == x.tolist()


def test_dlpack_from_torch_shares_memory_any_layout():
    t = torch.arange(6.0).reshape(2, 3).T
    x = mg.from_dlpack(t)
    assert x.tolist() == t.tolist()
    t[0, 0] = 5.0
    assert x.data[0, 0] == 5.0


def test_dlpack_refuses_to_lose_a_gradient():
    x = mg.tensor([1.0], requires_grad=True)
    with pytest.raises(BufferError, match="detach"):
        torch.from_dlpack(x)
    assert torch.from_dlpack(x.detach()).item() == 1.0


def test_a_gradient_reaches_torch_and_back():
    """A torch model may be checked against ours without copies."""
    x = mg.tensor([1.0, 2.0], requires_grad=True)
    t = torch.from_dlpack(x.detach()).clone().requires_grad_()
    mg.tanh(x).backward(np.ones(2))
    torch.tanh(t).sum().backward()
    np.testing.assert_allclose(torch.from_dlpack(x.grad), t.grad, rtol=1e-6)


def test_a_tensor_is_a_dict_key_by_identity_and_equality_is_elementwise():
    a, b = mg.tensor([1.0]), mg.tensor([1.0])
    assert {a: 1}.get(b) is None
    assert (a == b).tolist() == [True]
    assert (a != b).tolist() == [False]


def test_iteration_length_and_repr():
    x = mg.tensor([[1.0, 2.0], [3.0, 4.0]], requires_grad=True)
    rows = list(x)
    assert len(x) == len(rows) == 2
    assert rows[1].tolist() == [3.0, 4.0]
    assert "requires_grad" in repr(x)
    assert "from mul" in repr(x * x)
    with pytest.raises(TypeError, match="0-d"):
        len(mg.tensor(1.0))
