"""Arrays that are written after an op saved them: seen, refused, or copied before."""

import operator
import re

import numpy as np
import pytest
import torch
from small import leaf

import minigrad as mg
from minigrad import Tensor


def write(t):
    with mg.no_grad():
        t[0] = 99.0


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("the saved argument", lambda x, h, y: write(h)),
        ("the saved result", lambda x, h, y: write(y)),
        ("a view of the argument", lambda x, h, y: write(h.detach()[:1])),
        ("a view of the result", lambda x, h, y: write(y.detach().reshape(2, 1))),
        ("a detached tensor", lambda x, h, y: h.detach().assign_(0.0)),
    ],
)
def test_an_array_changed_in_place_after_it_was_saved_is_an_error(name, change):
    x = leaf([1.0, 2.0])
    h = x * 1.0
    y = mg.exp(h) * h
    z = mg.exp(y)
    change(x, h, z)
    with pytest.raises(RuntimeError, match="changed in place after the forward pass"):
        z.sum().backward()
    assert x.grad is None


def views_of_one_buffer():
    """Pairs of tensors on one memory, of which the first is written and the second was saved."""
    array, foreign = np.ones(4), torch.ones(4, dtype=torch.float64)
    tensor = mg.tensor(np.ones(4))
    again = mg.from_dlpack(torch.from_dlpack(tensor))
    strided = np.lib.stride_tricks.as_strided(tensor.data, (2,), (16,))
    return {
        "two imports of an array": (mg.from_dlpack(array), mg.from_dlpack(array)),
        "two imports of another library": (mg.from_dlpack(foreign), mg.from_dlpack(foreign)),
        "a part": (mg.from_dlpack(foreign[2:]), mg.from_dlpack(foreign)),
        "backwards": (mg.from_dlpack(array[::-1]), mg.from_dlpack(array[1:2])),
        "a view of an import": (mg.from_dlpack(array).reshape(2, 2), mg.from_dlpack(array)),
        "exported and imported again": (tensor, again),
        "the import of an export": (again, tensor),
        "strides made by hand": (Tensor(strided), tensor),
    }


@pytest.mark.parametrize("name", views_of_one_buffer())
def test_a_write_is_seen_by_all_that_share_the_memory(name):
    written, saved = views_of_one_buffer()[name]
    x = leaf(np.ones(saved.shape))
    y = (x * saved).sum()
    written[0] = 5.0
    del written  # what it wrote stays
    with pytest.raises(RuntimeError, match="changed in place"):
        y.backward()


def test_a_write_to_what_only_the_second_derivative_needs_is_seen():
    def f(x):
        h = x * 1.0
        y = mg.softmax(h)  # its pullback needs y, and its second derivative h
        write(h)
        return mg.square(y).sum()

    mg.grad(f)(np.ones(2))
    with pytest.raises(RuntimeError, match=r"softmax: .*changed in place"):
        mg.grad(lambda x: mg.grad(f)(x)[0])(np.ones(2))


def test_a_write_beside_the_saved_memory_is_none():
    foreign = torch.ones(4, dtype=torch.float64)
    left, right = mg.from_dlpack(foreign[:2]), mg.from_dlpack(foreign[2:])
    empty = mg.from_dlpack(torch.ones(0))
    x = leaf([1.0, 2.0])
    y = (x * right).sum()
    left[0] = 5.0
    empty[...] = 1.0
    y.backward()
    assert x.grad.tolist() == [1.0, 1.0]
    written = mg.from_dlpack(foreign)
    written[0] = 7.0  # before the forward pass
    (x * right).sum().backward()
    assert x.grad.tolist() == [2.0, 2.0]


def test_a_leaf_is_changed_in_place_only_without_recording():
    x = leaf([1.0, 2.0])
    with pytest.raises(RuntimeError, match=r"cannot be changed in place.*no_grad"):
        x[0] = 5.0
    with pytest.raises(RuntimeError, match="in place"):
        mg.tensor([1.0, 2.0])[0] = x[0]
    with mg.no_grad():
        x[0] = 5.0  # before the forward pass: as an optimizer does
    (x * x).sum().backward()
    assert x.grad.tolist() == [10.0, 4.0]


def test_a_write_is_seen_through_checkpoint_and_split():
    x = leaf([1.0, 2.0])
    y = mg.checkpoint(lambda t: mg.exp(t) * t, x)
    write(x)
    with pytest.raises(RuntimeError, match="changed in place"):
        y.sum().backward()
    x = leaf([1.0, 2.0])
    first, _ = mg.split(x * 1.0, 2)
    z = first * first
    write(first)
    with pytest.raises(RuntimeError, match="changed in place"):
        z.sum().backward()


def test_tensor_copies_so_the_users_array_may_change():
    array = np.array([1.0, 2.0])
    x = mg.tensor(array, requires_grad=True)
    y = (x * x).sum()
    array[:] = 99.0
    y.backward()
    assert x.grad.tolist() == [2.0, 4.0]


IN_PLACE = {  # by the operator: the function, an operand for [1, 2, 3, 4], and for a mask
    "+=": (operator.iadd, operator.add, 2.0),
    "-=": (operator.isub, operator.sub, 2.0),
    "*=": (operator.imul, operator.mul, 2.0),
    "/=": (operator.itruediv, operator.truediv, 2.0),
    "//=": (operator.ifloordiv, operator.floordiv, 2.0),
    "%=": (operator.imod, operator.mod, 3.0),
    "**=": (operator.ipow, operator.pow, 2.0),
    "@=": (operator.imatmul, operator.matmul, np.array([[0.0, 1.0], [1.0, 0.0]])),
    "&=": (operator.iand, operator.and_, np.array([[True, False], [True, False]])),
    "|=": (operator.ior, operator.or_, np.array([[True, False], [True, False]])),
    "^=": (operator.ixor, operator.xor, np.array([[True, False], [True, False]])),
}


def of_kind(name):
    """The values to start with."""
    numbers = np.array([[1.0, 2.0], [3.0, 4.0]])
    return numbers > 2 if name in ("&=", "|=", "^=") else numbers


@pytest.mark.parametrize("name", IN_PLACE)
def test_in_place_operators_change_the_tensor_in_place(name):
    """What NumPy does with the same numbers, seen through another name and through a view."""
    update, compute, operand = IN_PLACE[name]
    t = mg.tensor(of_kind(name))
    alias, memory, view = t, t.data, t.reshape(-1)
    t = update(t, operand)
    expected = compute(of_kind(name), operand)
    assert t is alias
    assert t.data is memory
    assert np.array_equal(alias.data, expected)
    assert np.array_equal(view.data, expected.reshape(-1))
    box = [alias]
    box[0] = update(box[0], mg.tensor(np.asarray(operand)))
    assert np.array_equal(alias.data, compute(expected, operand))


@pytest.mark.parametrize("name", [name for name in IN_PLACE if name not in ("&=", "|=", "^=")])
def test_in_place_operators_write_to_a_leaf_under_no_grad_alone(name):
    update, compute, operand = IN_PLACE[name]
    w = mg.tensor(of_kind(name), requires_grad=True)
    memory, h = w.data, w * 1.0
    for t, x in ((w, operand), (h, operand), (mg.tensor(of_kind(name)), w)):
        before = t.tolist()
        with pytest.raises(RuntimeError, match=rf"{re.escape(name)}: .*no_grad"):
            update(t, x)
        assert t.tolist() == before
    with mg.no_grad():
        assert update(w, operand) is w
    assert w.data is memory
    assert w.requires_grad
    assert np.array_equal(memory, compute(of_kind(name), operand))


def test_in_place_operators_refuse_what_does_not_fit():
    whole, row = mg.tensor([1, 2]), mg.tensor([1.0, 2.0])
    with pytest.raises(TypeError, match="/=: a result of float32 does not fit into int64"):
        whole /= 2
    with pytest.raises(ValueError, match=r"\+=: a result of shape \(3, 2\) does not fit into"):
        row += np.ones((3, 2))
    assert (whole.tolist(), row.tolist()) == ([1, 2], [1.0, 2.0])


def test_a_gradient_is_scaled_in_place():
    p = mg.tensor([1.0, 2.0], requires_grad=True)
    (p * p).sum().backward()
    g = p.grad
    g *= 0.5
    assert p.grad.tolist() == [1.0, 2.0]
    p.grad /= 2.0
    p.grad[0] = 7.0
    assert p.grad.tolist() == g.tolist() == [7.0, 1.0]


def test_an_array_that_was_saved_is_not_changed_by_an_operator_unseen():
    x, h = mg.tensor([1.0, 2.0], requires_grad=True), mg.tensor([3.0, 4.0])
    y = (x * h).sum()
    h += 1.0
    with pytest.raises(RuntimeError, match="changed in place"):
        y.backward()


def test_a_gradient_is_not_lost_in_a_list_that_is_written():
    t, w = mg.tensor(np.zeros(2)), mg.tensor(1.0, np.float64, requires_grad=True)
    for write in (lambda: t.assign_([w, w]), lambda: t.__setitem__(slice(None), [w, 2.0])):
        with pytest.raises(RuntimeError, match="in place"):
            write()
        with mg.no_grad():
            write()
    assert t.tolist() == [1.0, 2.0]


def test_a_checkpoint_sees_that_its_weights_were_written():
    linear = mg.nn.Linear(2, 2)
    x = mg.tensor([[1.0, 2.0]], requires_grad=True)
    y = mg.checkpoint(linear, x)
    with mg.no_grad():
        linear.weight.assign_(5.0)
    with pytest.raises(RuntimeError, match="changed in place"):
        y.sum().backward()


def test_an_array_that_the_user_writes_later_does_not_change_the_gradient():
    x = mg.tensor([1.0, 2.0], requires_grad=True)
    a = np.array([3.0, 4.0], np.float32)
    y = (x * a).sum()
    a[0] = 100.0
    y.backward()
    assert x.grad.tolist() == [3.0, 4.0]

    x.grad, index = None, np.array([1, 1])
    y = x[(index,)].sum()
    index[:] = 0
    y.backward()
    assert x.grad.tolist() == [0.0, 2.0]


def test_arguments_by_keyword_only_reach_a_body_as_arrays_of_its_own():
    """And one that carries a gradient is refused, for the pullback has no place for it."""

    @mg.op
    def scaled(x, *, table):
        assert isinstance(table, np.ndarray)
        return x * table, lambda g: g * table

    table = np.array([3.0, 4.0], np.float32)
    for given in (table, mg.Tensor(table)):
        x = mg.tensor([1.0, 2.0], requires_grad=True)
        y = scaled(x, table=given).sum()
        table += 1.0
        y.backward()
        assert x.grad.tolist() == (table - 1.0).tolist()
    weight = mg.tensor([3.0, 4.0], requires_grad=True)
    with pytest.raises(TypeError, match=r"scaled: table carries a gradient, which would be lost"):
        scaled(x, table=weight)
    with mg.no_grad():
        assert scaled(x, table=weight).tolist() == [3.0, 8.0]


def test_an_array_that_the_user_writes_later_does_not_change_the_second_derivative():
    a = np.array([3.0, 4.0])
    w = mg.tensor(np.array([1.0, 2.0]), requires_grad=True)
    g = mg.grad(lambda x: (w * x * x * a).sum(), create_graph=True)(np.ones(2))
    a[:] = 100.0
    g.sum().backward()  # d/dw Σ 2 w x a = 2 x a
    assert w.grad.tolist() == [6.0, 8.0]
