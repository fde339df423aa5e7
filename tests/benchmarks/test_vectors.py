"""Vectors of 256 and of 512 bits: what is compiled, timed and shown."""

import numpy as np
import pytest

import minigrad as mg
from benchmarks import vectors

TIMES = {
    vectors.NARROW: {"relu": [0.2, 0.4, 0.3]},
    vectors.CHOSEN: {"relu": [0.1, 0.1, 0.3]},
}


def test_a_round_is_compared_with_itself():
    """Ratios 2, 4 and 1; of the medians it would be 3."""
    assert vectors.table(TIMES).split("\n")[2] == "| relu | 0.300 | 0.100 | 2.00 |"


def test_the_narrow_code_has_nothing_of_avx512():
    pytest.importorskip("llvmlite")
    found = vectors.widths()
    assert "+avx512" not in found[vectors.NARROW]["NUMBA_CPU_FEATURES"]
    if vectors.WIDE in found:
        assert "+avx512f" in found[vectors.WIDE]["NUMBA_CPU_FEATURES"]
        assert "-prefer-256-bit" in found[vectors.WIDE]["NUMBA_CPU_FEATURES"]


def test_every_loop_runs_and_can_be_timed():
    pytest.importorskip("numba")
    with mg.use_kernels():
        found = vectors.loops()
        assert {"gelu", "LSTM, backward", "AdamW", "clipping"} <= found.keys()
        for elements, call in found.values():
            assert 0.0 < vectors.timed(call, 1e-4) / elements < np.inf


@pytest.mark.parametrize("line", ["--rounds 2", "--seconds 0"])
def test_bad_options_are_one_line(line, capsys):
    with pytest.raises(SystemExit):
        vectors.main(line.split())
    assert line.split()[0] in capsys.readouterr().err.strip().split("\n")[-1]
