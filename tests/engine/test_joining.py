"""Arrays that lie side by side are joined without a copy; all others are copied."""

import numpy as np
import pytest

import minigrad as mg
from minigrad import graph
from minigrad.joining import FEW, neighbours

N = 2 * FEW


def parts_of(whole, axis, cuts):
    return np.split(whole, cuts, axis)


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("cuts", [[1, 2], [2], []])
def test_slices_in_order_are_the_array_itself(axis, cuts, rng):
    """Also inside of a larger one, and with other strides than those of C."""
    base = rng.standard_normal((4, 4, 4, N))
    for array in (base, base[:3, 1:], base.swapaxes(0, 2)):
        found = neighbours(parts_of(array, axis, cuts), axis)
        assert np.array_equal(found, array)
        assert np.shares_memory(found, base)
        assert found.strides == array.strides


def others():
    base, second = np.zeros((4, N)), np.zeros((4, N))
    yield "out of order", [base[2:], base[:2]], 0
    yield "a gap", [base[:1], base[2:]], 0
    yield "an overlap", [base[:2], base[1:]], 0
    yield "two arrays", [base[:2], second[2:]], 0
    yield "other strides", [base[:2], base[2:, ::2]], 0
    yield "other columns", [base[:2, : N // 2], base[2:, N // 2 :]], 0
    yield "other columns, other axis", [base[:2, : N // 2], base[:, N // 2 :]], 1
    yield "not a slice", [base.copy(), base.copy()], 0
    yield "few", [np.zeros((4, 2))[:2], np.zeros((4, 2))[2:]], 0
    yield "another dtype", [base.view(np.int64)[:2], base[2:]], 0
    yield "tensors", [mg.Tensor(base[:2]), mg.Tensor(base[2:])], 0


@pytest.mark.parametrize(("parts", "axis"), [c[1:] for c in others()], ids=[c[0] for c in others()])
def test_what_does_not_lie_side_by_side_is_left_to_be_copied(parts, axis):
    assert neighbours(parts, axis) is None


def test_the_way_back_of_a_split_takes_over_what_lies_side_by_side(rng):
    """And gives what a copy gives: nothing is added to it in place, and a leaf gets its own."""
    whole = rng.standard_normal((3, N))
    x = mg.Tensor(np.zeros((3, N))).requires_grad_()
    y = x * 1.0
    parts, cotangents = mg.split(y, [1], axis=0), np.split(whole, [1])
    assert neighbours(cotangents, 0) is not None
    roots = [(part.node, c) for part, c in zip(parts, cotangents, strict=True)]
    for order in (roots, roots[::-1]):
        found = graph.walk([*order, (y.node, np.ones_like(whole))], retain_graph=True)
        assert np.array_equal(found[x.node], whole + 1.0)
    found = graph.walk(roots)
    assert np.array_equal(found[x.node], whole)
    assert not np.shares_memory(found[x.node], whole)
    assert np.array_equal(np.concatenate(cotangents), whole)
