"""The kernel that adds rows where an index says: by itself, and in the gradients of picked rows."""

import numpy as np
import pytest
from kernel_checks import ran
from op_checks import LAYOUTS, close, leaf, read_only

import minigrad as mg
from minigrad import indices

ROWS = {
    "repeated": np.array([3, 0, 3, 3, 1, 4]),
    "int32": np.array([3, 0, 4], np.int32),
    "read-only": read_only(np.array([3, 0, 3])),
    "strided": np.arange(5)[::-2],
    "one": np.array([2]),
}


@pytest.mark.parametrize("width", [16, 37])
@pytest.mark.parametrize("count", [5, 300])
@pytest.mark.parametrize("parts", [1, 2, 3, 50])
@pytest.mark.parametrize("name", ROWS)
def test_rows_are_added_where_the_index_says(name, parts, count, width, rng, monkeypatch):
    """A rounding for each row that is added to one place, and one for what was there."""
    from kernels.cpu import compiled

    monkeypatch.setattr(compiled, "PARTS", parts)
    rows = ROWS[name]
    start = rng.standard_normal((count, width)).astype(np.float32)
    values = LAYOUTS["transposed"](rng.standard_normal((len(rows), width)).astype(np.float32))
    given = rows.copy(), values.copy()
    fast, plain, exact = start.copy(), start.copy(), start.astype(np.float64)
    with ran("add_rows"):
        indices.add_rows(fast, rows, read_only(values))
    indices.add_rows(plain, rows, values)
    np.add.at(exact, rows, values.astype(np.float64))
    close(fast, exact, len(rows) + 1)
    close(fast, plain, len(rows) + 1)
    assert np.array_equal(rows, given[0])
    assert np.array_equal(values, given[1])


PICKED = {
    "embedding": lambda x: mg.embedding(x, np.array([[3, 0], [3, 3]])),
    "take": lambda x: mg.take(x, np.array([1, 1, 6]), axis=0),
    "rows": lambda x: x[np.array([5, -1, 5])],
}


@pytest.mark.parametrize("name", PICKED)
def test_the_gradient_of_picked_rows(name, rng):
    """At most three rows are added to one place, which is 0 before."""
    x = rng.standard_normal((7, 24)).astype(np.float32)
    tensors = [leaf(x), leaf(x), leaf(x.astype(np.float64))]
    c = rng.standard_normal(PICKED[name](tensors[0]).shape).astype(np.float32)
    with ran("add_rows"):
        PICKED[name](tensors[0]).backward(mg.Tensor(c))
    PICKED[name](tensors[1]).backward(mg.Tensor(c))
    PICKED[name](tensors[2]).backward(mg.Tensor(c.astype(np.float64)))
    fast, plain, exact = (t.grad.data for t in tensors)
    close(fast, exact, 3)
    close(fast, plain, 3)
