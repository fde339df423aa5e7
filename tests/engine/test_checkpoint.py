"""mg.checkpoint: the same numbers with less memory, and functions that it cannot repeat."""

import numpy as np
import pytest
from small import f64

import minigrad as mg
from minigrad import debug
from minigrad.inplace import saved_arrays


def block(x, w):
    return mg.dropout(mg.tanh(mg.tanh(x @ w) @ w), 0.4, training=True)


def run(wrap):
    """Value and gradients of two blocks; the second weight is used without being an argument."""
    mg.random.seed(3)
    x, w1, w2 = (f64(4, 4, seed=i).requires_grad_() for i in range(3))
    h = wrap(lambda x, w: block(x, w), x, w1)
    y = wrap(lambda x: block(x, w2), h)
    (y * y).sum().backward()
    return [y.data, x.grad.data, w1.grad.data, w2.grad.data, mg.random.uniform((3,)).data]


def test_checkpoint_changes_no_number_not_even_random_ones():
    for a, b in zip(run(lambda f, *args: f(*args)), run(mg.checkpoint), strict=True):
        assert np.array_equal(a, b)


def test_checkpoint_keeps_only_its_arguments_and_result():
    x = f64(100).requires_grad_()
    before = debug.live_nodes()
    y = mg.checkpoint(lambda x: mg.exp(mg.tanh(mg.sin(x))), x)
    assert debug.live_nodes() == before + 1
    assert {id(a) for a in saved_arrays(y.node.pull)} == {id(x.data), id(y.data)}


def switched(layer):
    layer.eval()


def another_rate(layer):
    layer.p = 0.3


def emptied(layer):
    layer.forward = lambda x: x.detach()


@pytest.mark.parametrize("change", [switched, another_rate, emptied])
def test_a_checkpointed_function_that_changes_before_the_backward_pass_is_refused(change):
    """Another mask, or none, would give a gradient of another function."""
    layer, x = mg.nn.Dropout(0.5), f64(100).requires_grad_()
    y = mg.checkpoint(lambda x: layer(mg.sin(x)), x)
    change(layer)
    with pytest.raises(RuntimeError, match="checkpoint, backward: f gave another result"):
        y.sum().backward()
    assert x.grad is None


def test_a_checkpointed_function_that_does_other_ops_with_equal_results_is_refused():
    x, cut = f64(3).requires_grad_(), []
    y = mg.checkpoint(lambda x: mg.sin(x) * (x.detach() if cut else x), x)
    cut.append(True)
    with pytest.raises(RuntimeError, match="f gave another result"):
        y.sum().backward()
    y = mg.checkpoint(lambda x: x.detach() if len(cut) > 1 else x, x)
    cut.append(True)
    with pytest.raises(RuntimeError, match="f gave another result"):
        y.sum().backward()


def test_a_checkpointed_function_that_draws_elsewhere_is_refused(rng):
    x = f64(100).requires_grad_()
    y = mg.checkpoint(lambda x: x * (rng.random(100) > 0.5), x)
    with pytest.raises(RuntimeError, match=r"Random numbers must come from minigrad\.random"):
        y.sum().backward()


def test_checkpoints_that_repeat_themselves_are_accepted_nan_and_infinities_too():
    norm = mg.nn.BatchNorm1d(3)  # the running statistics move, the result does not
    x = mg.tensor([[1.0, 2.0, 3.0], [2.0, 0.0, 1.0]], requires_grad=True)
    mg.checkpoint(norm, x).sum().backward()
    x = mg.tensor([0.0, -1.0, np.inf, 2.0], requires_grad=True)
    mg.checkpoint(lambda x: mg.log(x) + x, x).sum().backward()  # -inf, nan, inf, a number
    assert x.grad.tolist() == [np.inf, 0.0, 1.0, 1.5]  # 1/x + 1
    x = mg.tensor(np.ones((0, 3)), requires_grad=True)
    mg.checkpoint(mg.sin, x).sum().backward()


def test_checkpoint_copies_arrays_that_the_user_may_write_to():
    x, a = f64(3).requires_grad_(), np.array([1.0, 2.0, 3.0])
    y = mg.checkpoint(lambda x, a: x * a, x, a)
    a[:] = 100.0
    y.sum().backward()
    assert x.grad.tolist() == [1.0, 2.0, 3.0]


def test_a_checkpointed_function_returns_one_tensor():
    for f in (lambda x: (x, x), lambda x: x.detach().numpy()):
        with pytest.raises(TypeError, match="checkpoint: expected f to return one tensor, got"):
            mg.checkpoint(f, f64(3).requires_grad_())


def test_checkpoint_computes_the_inside_twice_and_nests():
    calls = []

    def f(x):
        calls.append(1)
        return mg.sin(x)

    x = f64(3).requires_grad_()
    mg.checkpoint(lambda x: mg.checkpoint(f, x) * 2.0, x).sum().backward()
    np.testing.assert_allclose(x.grad.data, 2 * np.cos(x.data))
    assert len(calls) == 3  # forward; again for the outer; again for the inner


def test_checkpoint_of_a_function_that_returns_its_argument():
    x = f64(3).requires_grad_()
    mg.checkpoint(lambda x: mg.dropout(x, 0.5, training=False), x).sum().backward()
    assert x.grad.tolist() == [1.0, 1.0, 1.0]


def test_checkpoint_without_recording_is_a_plain_call():
    with mg.no_grad():
        assert not mg.checkpoint(mg.sin, f64(3).requires_grad_()).requires_grad
    assert not mg.checkpoint(mg.sin, f64(3)).requires_grad


def test_checkpoint_has_no_second_derivative_and_says_so():
    with pytest.raises(RuntimeError, match="checkpoint: it has no second derivative"):
        mg.grad(mg.grad(lambda x: mg.checkpoint(mg.sin, x)))(1.0)
