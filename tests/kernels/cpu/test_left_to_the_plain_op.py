"""What a CPU kernel does not take, the plain op gets: other dtypes, and what is a mistake."""

import numpy as np
import pytest
from kernel_cases import TAKEN
from kernel_checks import counts, f4, outcome
from op_checks import convert, each, is_float

import minigrad as mg
from experiments.grokking.paths import path_attention


@pytest.mark.parametrize("dtype", [np.float64, np.float16, np.int64])
@each(TAKEN)
def test_other_dtypes_are_left_to_the_plain_op(case, dtype):
    """The same to the last bit, or the same error."""

    def change(a):
        return np.asarray(4 * a).astype(dtype) if is_float(a) else a

    def results():
        ys = case.ours(*convert(case.arrays(), change))
        return [(y.dtype, y.shape, y.data.tobytes()) for y in ys]

    used, declined = counts(case.name)
    plain = outcome(results)
    with mg.use_kernels():
        fast = outcome(results)
    assert counts(case.name)[0] == used
    assert set(counts(case.name)[1] - declined) == {np.dtype(dtype).name}
    assert fast == plain


I2 = np.array([1, 2])
LSTM = (8, 3), (8, 2), (8,), (8,)


def lstm(*shape, h0=None, c0=None, weights=LSTM):
    return mg.lstm(f4(*shape), h0, c0, [None if s is None else f4(*s) for s in weights])


def attention(q, k, v, *args, **kwargs):
    return mg.scaled_dot_product_attention(f4(*q), f4(*k), f4(*v), *args, **kwargs)


def along_paths(q, k, v, keys):
    return path_attention(f4(*q), f4(*k), f4(*v), np.array(keys))


MISTAKES = {
    "gelu: word": lambda: mg.gelu(f4(3), approximate="yes"),
    "layer_norm: weight": lambda: mg.layer_norm(f4(3, 4), f4(3)),
    "layer_norm: bias": lambda: mg.layer_norm(f4(3, 4), f4(4), f4(1, 4)),
    "layer_norm: no axis": lambda: mg.layer_norm(f4()),
    "layer_norm: float64": lambda: mg.layer_norm(f4(3, 4), np.ones(4)),
    "linear: columns": lambda: mg.linear(f4(3, 4), f4(2, 5)),
    "linear: bias": lambda: mg.linear(f4(3, 4), f4(2, 4), f4(3)),
    "linear: no axis": lambda: mg.linear(f4(), f4(2, 4)),
    "linear: vector": lambda: mg.linear(f4(4), f4(4)),
    "linear: float64": lambda: mg.linear(f4(3, 4), np.ones((2, 4))),
    "linear: list": lambda: mg.linear(f4(3, 4), [[1.0] * 4]),
    "matmul: columns": lambda: mg.matmul(f4(3, 4), f4(5, 2)),
    "matmul: float64": lambda: mg.matmul(f4(3, 4), np.ones((4, 2))),
    "matmul: no axis": lambda: mg.matmul(f4(), f4(2, 4)),
    "attention: d": lambda: attention((1, 1, 2, 3), (1, 1, 2, 4), (1, 1, 2, 3)),
    "attention: keys": lambda: attention((1, 1, 2, 3), (1, 1, 2, 3), (1, 1, 3, 3)),
    "attention: batch": lambda: attention((2, 1, 2, 3), (3, 1, 2, 3), (3, 1, 2, 3)),
    "attention: mask": lambda: attention(*[(1, 1, 2, 3)] * 3, np.ones((2, 2), np.int64)),
    "paths: axes": lambda: along_paths((2, 3), (2, 3), (2, 3), [[0], [1]]),
    "paths: d": lambda: along_paths((2, 1, 3), (2, 1, 4), (2, 1, 3), [[0], [1]]),
    "paths: v": lambda: along_paths((2, 1, 3), (2, 1, 3), (3, 1, 3), [[0], [1]]),
    "paths: rows": lambda: along_paths((2, 1, 3), (2, 1, 3), (2, 1, 3), [[0], [1], [1]]),
    "paths: key": lambda: along_paths((2, 1, 3), (2, 1, 3), (2, 1, 3), [[0], [2]]),
    "paths: -2": lambda: along_paths((2, 1, 3), (2, 1, 3), (2, 1, 3), [[0], [-2]]),
    "paths: float": lambda: along_paths((2, 1, 3), (2, 1, 3), (2, 1, 3), [[0.0], [1.0]]),
    "cell: x": lambda: mg.lstm_cell(f4(2, 3), f4(3, 2), f4(3, 2), f4(8, 3), f4(8, 2)),
    "cell: c": lambda: mg.lstm_cell(f4(2, 3), f4(2, 2), f4(2, 3), f4(8, 3), f4(8, 2)),
    "cell: bias": lambda: mg.lstm_cell(f4(2, 3), f4(2, 2), f4(2, 2), f4(8, 3), f4(8, 2), f4(2)),
    "cell: axes": lambda: mg.lstm_cell(f4(3), f4(2), f4(2), f4(8, 3), f4(8, 2)),
    "lstm: axes": lambda: lstm(2, 3),
    "lstm: no step": lambda: lstm(0, 2, 3),
    "lstm: no weights": lambda: lstm(2, 2, 3, weights=()),
    "lstm: three weights": lambda: lstm(2, 2, 3, weights=LSTM[:3]),
    "lstm: no weight_ih": lambda: lstm(2, 2, 3, weights=(None, *LSTM[1:])),
    "lstm: no weight_hh": lambda: lstm(2, 2, 3, weights=(LSTM[0], None, None, None)),
    "lstm: vector": lambda: lstm(2, 2, 3, weights=(LSTM[0], (8,), None, None)),
    "lstm: width": lambda: lstm(2, 2, 4),
    "lstm: bias": lambda: lstm(2, 2, 3, weights=(*LSTM[:3], (4,))),
    "lstm: second layer": lambda: lstm(2, 2, 3, weights=LSTM * 2),
    "lstm: h0": lambda: lstm(2, 2, 3, h0=f4(1, 3, 2)),
    "lstm: h0 of two layers": lambda: lstm(2, 2, 3, h0=f4(2, 2, 2)),
    "lstm: c0": lambda: lstm(2, 2, 3, h0=f4(1, 2, 2), c0=f4(1, 2, 3)),
    "lstm: c0 alone": lambda: lstm(2, 2, 3, c0=f4(1, 2)),
    "lstm: h0 without axis": lambda: lstm(2, 2, 3, h0=f4()),
    "lstm: second weight_ih": lambda: lstm(2, 2, 3, weights=(*LSTM, None, *LSTM[1:])),
    "lstm: integers": lambda: mg.lstm(I2[:, None, None], None, None, [f4(8, 1), f4(8, 2)] * 2),
    "lstm: float64": lambda: mg.lstm(f4(2, 2, 3), None, np.ones((1, 2, 2)), [f4(*s) for s in LSTM]),
    "cross_entropy: target": lambda: mg.cross_entropy(f4(2, 3), np.array([1, 3])),
    "cross_entropy: negative": lambda: mg.cross_entropy(f4(2, 3), np.array([1, -1])),
    "cross_entropy: shape": lambda: mg.cross_entropy(f4(3, 3), I2),
    "cross_entropy: float": lambda: mg.cross_entropy(f4(2, 3), np.ones(2)),
    "cross_entropy: bool": lambda: mg.cross_entropy(f4(2, 3), np.ones(2, bool)),
    "cross_entropy: list": lambda: mg.cross_entropy(f4(2, 3), [1, 2]),
    "cross_entropy: word": lambda: mg.cross_entropy(f4(2, 3), I2, reduction="all"),
    "cross_entropy: smoothing": lambda: mg.cross_entropy(f4(2, 3), I2, label_smoothing=1.5),
    "cross_entropy: weight": lambda: mg.cross_entropy(f4(2, 3), I2, weight=np.ones(2)),
    "cross_entropy: no axis": lambda: mg.cross_entropy(f4(), np.array([1])),
    "cross_entropy: no class": lambda: mg.cross_entropy(f4(2, 0), I2),
    "entropy of linear: columns": lambda: mg.linear_cross_entropy(f4(2, 3), f4(4, 5), I2),
    "entropy of linear: bias": lambda: mg.linear_cross_entropy(f4(2, 3), f4(4, 3), I2, f4(3)),
    "entropy of linear: shape": lambda: mg.linear_cross_entropy(f4(3, 3), f4(4, 3), I2),
    "entropy of linear: target": lambda: mg.linear_cross_entropy(f4(2, 3), f4(2, 3), I2),
    "entropy of linear: float": lambda: mg.linear_cross_entropy(f4(2, 3), f4(4, 3), np.ones(2)),
    "entropy of linear: list": lambda: mg.linear_cross_entropy(f4(2, 3), f4(4, 3), [1, 2]),
    "entropy of linear: no class": lambda: mg.linear_cross_entropy(f4(2, 3), f4(0, 3), I2),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_mistakes_are_told_in_the_same_words(name):
    plain = outcome(MISTAKES[name])
    assert isinstance(plain, str), "no mistake"
    with mg.use_kernels():
        assert outcome(MISTAKES[name]) == plain
