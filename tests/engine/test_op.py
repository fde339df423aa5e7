"""mg.op: any name will do, and a gradient that would be lost is an error."""

import numpy as np
import pytest

import minigrad as mg


def test_a_pullback_that_leaves_out_an_argument_is_refused():
    one, two = (mg.tensor([v], requires_grad=True) for v in (2.0, 3.0))
    for pull in (lambda b: lambda g: g * b, lambda b: (lambda g: g * b,)):
        product = mg.op(lambda a, b, pull=pull: (a * b, pull(b)))
        product(one, 5.0).backward()
        with pytest.raises(RuntimeError, match="an argument after those needs one too"):
            product(one, two).backward()
    assert one.grad.item() == 10.0
    assert two.grad is None


@pytest.mark.usefixtures("registry")
@pytest.mark.parametrize("name", ["checkpoint", "to_device", "add", "leaf"])
def test_an_op_may_be_called_as_one_of_minigrad_is(name):
    """Nothing is decided by the name of an op."""

    def body(x):
        return x * x * x, lambda g: 3.0 * g * x * x

    body.__name__ = name
    for _ in range(2):  # as in a notebook whose cell runs again
        cube = mg.op(numpy=np.cbrt)(body)
    assert mg.grad(mg.grad(cube))(2.0).item() == 12.0
    assert np.cbrt(mg.tensor(2.0)).item() == 8.0
    with pytest.raises(ValueError, match="exp already calls an op of minigrad"):
        mg.op(numpy=np.exp)(body)
    with pytest.raises(ValueError, match="sort already calls an op of minigrad"):
        mg.op(numpy=np.sort)(body)


def test_tensors_in_a_list_do_not_lose_their_gradient_in_an_op():
    t, x = mg.tensor(1.0, requires_grad=True), mg.tensor([1.0, 2.0])
    first = mg.op(lambda parts: (parts[0] * 2.0, lambda g: g))
    with pytest.raises(TypeError, match=r"given tensors in a list; give them one by one"):
        first([x, x])
    for f in (
        lambda: x * [t, t],
        lambda: mg.where(x > 1, [t, t], x),
        lambda: mg.maximum([t, t], x),
    ):
        with pytest.raises(RuntimeError, match=r"needs a gradient, which an array would lose"):
            f()
