"""Addresses of many arrays for one kernel."""

import numpy as np

from kernels.tables import PLACES, address_of, rates_of, table_of


def test_an_address_is_forgotten_with_its_array():
    a = np.zeros(5, np.float32)
    key = id(a)
    assert address_of(a) == a.ctypes.data == address_of(a)
    assert key in PLACES
    del a
    assert key not in PLACES


def test_an_array_in_the_place_of_another_has_its_own_address():
    """Ids are used again; even an entry that is left behind must not be believed."""
    a, b = np.zeros(5, np.float32), np.zeros(5, np.float32)
    address_of(a)
    PLACES[id(b)] = PLACES[id(a)]
    assert address_of(b) == b.ctypes.data


def test_replicas_are_rows_with_parts_of_the_arrays():
    a, b = np.zeros((2, 3), np.float32), np.zeros((2, 5), np.float32)
    table = table_of([(a,), (b,)], [0, 1], 2)
    rows = [[a.ctypes.data, 3, 0], [b.ctypes.data, 5, 2]]
    assert table[0].tolist() == rows
    assert table[1].tolist() == [[rows[0][0] + 12, 3, 1], [rows[1][0] + 20, 5, 3]]


def test_rates_are_computed_before_they_are_rounded():
    found = rates_of([[(0.9, 0.999, 1e-8, 0.1, 0.0, 1.0)]])
    assert found.shape == (1, 8)
    assert found[0, 3] == np.float32(1.0 - 0.999) != 1.0 - np.float32(0.999)
