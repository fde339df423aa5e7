"""Helpers of the tests fail as tests do."""

import pytest
from fake_cublas import column_major


def test_a_failing_assertion_of_a_helper_shows_its_values():
    """pytest rewrites assertions of test modules, and of the helpers that `conftest.py` names."""
    with pytest.raises(AssertionError, match="assert 2 >= 3"):
        column_major(0, 0, rows=3, columns=4, leading=2, step=8, count=1)
