"""The data, the loss and the accuracy of modular arithmetic."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import minigrad as mg
from experiments.data import modular
from experiments.grokking import objective

PRIMES = [2, 3, 5, 7]


# --- data ---------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("tenths", "n"),
    [(1, 96), (2, 192), (3, 288), (4, 384), (5, 480), (6, 577), (7, 673), (8, 769), (9, 865)],
)
def test_a_fraction_for_training_is_rounded_to_the_nearest_count(tenths, n):
    data = modular.make(31)
    train, val = modular.split(data, tenths / 10)
    assert (len(train), len(val)) == (n, 961 - n)


def test_everything_can_be_for_training():
    train, val = modular.split(modular.make(7), 1.0)
    assert (len(train), len(val)) == (49, 0)


def test_ids_are_the_numbers_then_operator_equals_bos_eos_and_padding():
    words = modular.vocabulary(31, "+")
    assert len(words) == 36
    assert [words.index(w) for w in ("0", "30", "+", "=", "BOS", "EOS", "PAD")] == [
        0, 30, 31, 32, 33, 34, 35,
    ]  # fmt: skip


def test_shuffle_is_that_of_a_list_of_strings():
    strings = [f"{a} + {b} = {(a + b) % 31}" for a in range(31) for b in range(31)]
    np.random.RandomState(42).shuffle(strings)
    data = modular.make(31, seed=42)
    assert [data.text(i) for i in range(961)] == [f"BOS {s} EOS" for s in strings]
    assert not np.array_equal(data.tokens, modular.make(31, seed=0).tokens)


def test_binary_sequences():
    data = modular.make(31)
    assert data.inputs.shape == data.targets.shape == (961, 6)
    assert (data.eq_position == 3).all()
    assert (data.targets[:, 3] == data.vocabulary.index("=")).all()
    assert data.mask.all()
    assert (data.rhs == [False, False, False, False, True, True]).all()
    assert np.array_equal(data.inputs[:, 1:], data.targets[:, :-1])


def test_each_order_is_split_by_itself_and_no_equation_is_lost():
    data = modular.make(11, "+", (2, 3), seed=3)
    assert len(data) == 12 * 11**2
    assert data.inputs.shape == (1452, 8)
    train, val = modular.split_each_order(data, 0.5)
    sizes = [int((part.order == k).sum()) for part in (train, val) for k in (2, 3)]
    assert sizes == [60, 665, 61, 666]
    both = {part.text(i) for part in (train, val) for i in range(len(part))}
    assert len(both) == 1452


def test_one_mask_counts_a_padding_token_and_the_other_none():
    for mask, rhs in (("code", "r EOS PAD"), ("handout", "r EOS")):
        data = modular.make(11, "+", (3, 2), mask=mask)
        binary, ternary = (np.flatnonzero(data.order == k)[0] for k in (2, 3))
        assert data.eq_position[[binary, ternary]].tolist() == [3, 5]
        counted = [data.vocabulary[t] for t in data.targets[binary][data.rhs[binary]]]
        assert " ".join(["r", *counted[1:]]) == rhs
        counted = [data.vocabulary[t] for t in data.targets[ternary][data.rhs[ternary]]]
        assert counted[1:] == ["EOS"]
        assert data.mask[ternary].all()
        assert data.mask[binary].sum() == (7 if mask == "code" else 6)
        assert data.text(binary).endswith("EOS PAD PAD")


@given(
    p=st.sampled_from(PRIMES),
    operator=st.sampled_from(modular.OPERATORS),
    orders=st.sampled_from([(2,), (3,), (2, 3)]),
    seed=st.integers(0, 2**32 - 1),
)
@settings(deadline=None, max_examples=60)
def test_every_equation_is_true_and_none_is_missing(p, operator, orders, seed):
    data = modular.make(p, operator, orders, seed=seed)
    seen = set()
    for i in range(len(data)):
        words = [w for w in data.text(i).split() if w != "PAD"]
        assert words[0] == "BOS"
        assert words[-1] == "EOS"
        assert words[-3] == "="
        left, result = words[1:-3], int(words[-2])
        assert len(left) == 2 * data.order[i] - 1
        assert set(left[1::2]) == {operator}
        numbers = [int(w) for w in left[::2]]
        first, *rest = numbers
        if operator == "/":
            assert (result * math.prod(rest)) % p == first
            assert 0 not in rest
        elif operator == "*":
            assert math.prod(numbers) % p == result
        elif operator == "+":
            assert sum(numbers) % p == result
        else:
            assert (first - sum(rest)) % p == result
        assert 0 <= result < p
        seen.add(tuple(numbers))
    low = p - 1 if operator == "/" else p
    assert len(seen) == len(data) == sum(p * low ** (k - 1) for k in orders)


@given(p=st.integers(2, 12), r=st.floats(0.05, 1), seed=st.integers(0, 2**32 - 1))
@settings(deadline=None, max_examples=30)
def test_a_split_loses_and_repeats_nothing(p, r, seed):
    data = modular.make(p, seed=seed)
    if round(p * p * r) == 0:
        return
    train, val = modular.split(data, r)
    assert len(train) == round(p * p * r)
    assert np.array_equal(np.concatenate([train.tokens, val.tokens]), data.tokens)


@pytest.mark.parametrize(
    ("options", "name"),
    [
        ({"p": 9, "operator": "/"}, "prime"),
        ({"p": 1}, "p:"),
        ({"operator": "^"}, "operator"),
        ({"orders": (4,)}, "orders"),
        ({"orders": ()}, "orders"),
        ({"orders": (2, 2)}, "orders"),
        ({"seed": -1}, "seed"),
        ({"mask": "book"}, "mask"),
    ],
)
def test_settings_that_describe_no_data_are_refused_in_one_line(options, name):
    with pytest.raises(ValueError, match=name) as error:
        modular.make(**options)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("r", [0, -0.1, 1.1, math.nan])
@pytest.mark.parametrize("split", [modular.split, modular.split_each_order])
def test_fractions_outside_0_1_are_refused(split, r):
    with pytest.raises(ValueError, match="r_train"):
        split(modular.make(5), r)


def test_a_split_without_training_data_is_refused():
    for split in (modular.split, modular.split_each_order):
        with pytest.raises(ValueError, match="none to train"):
            split(modular.make(5), 0.01)


def test_encode_knows_its_words():
    words = modular.vocabulary(31, "+")
    assert modular.encode("BOS 6 + 19 = 25", words).tolist() == [33, 6, 31, 19, 32, 25]
    with pytest.raises(ValueError, match="'31'"):
        modular.encode("BOS 31", words)


# --- loss and accuracy ----------------------------------------------------------------------------
def mixed():
    """One binary and one ternary equation mod 2, with the code's mask: 3 and 2 counted tokens."""
    data = modular.make(2, "+", (2, 3))
    return data.take(np.array([np.flatnonzero(data.order == k)[0] for k in (2, 3)]))


def test_loss_is_the_mean_over_samples_of_the_mean_over_tokens():
    data = mixed()
    batch = objective.batch_of(data, dtype=np.float64)
    assert batch.start == 4
    rng = np.random.default_rng(0)
    logits = rng.standard_normal((2, 8, 7))
    logp = logits - np.log(np.exp(logits).sum(axis=-1, keepdims=True))
    wanted = [
        -np.mean([logp[i, j, data.targets[i, j]] for j in places])
        for i, places in enumerate([(4, 5, 6), (6, 7)])
    ]
    part = mg.tensor(logits[:, 4:])
    # a dozen rounded operations on numbers below 10: 12 * 10 * eps
    found = objective.loss(part, batch, "none").numpy()
    np.testing.assert_allclose(found, wanted, rtol=0, atol=120 * np.finfo(float).eps)
    for reduction, value in (("mean", np.mean(wanted)), ("sum", np.sum(wanted))):
        found = objective.loss(part, batch, reduction).item()
        assert found == pytest.approx(value, rel=0, abs=120 * np.finfo(float).eps)


def test_a_sample_is_right_if_all_of_its_right_hand_side_is():
    data = mixed().take(np.array([0, 0, 0, 1]))
    batch = objective.batch_of(data)
    logits = np.zeros((4, 4, 7), dtype=np.float32)
    np.put_along_axis(logits, batch.targets[..., None], 1.0, axis=-1)
    logits[1, 2] = -logits[1, 2]  # the PAD that the code's mask counts
    logits[2, 3] = -logits[2, 3]  # the PAD after it, which counts for nothing
    logits[3, 0] = -logits[3, 0]  # before "=" of the ternary equation
    part = mg.tensor(logits)
    assert objective.accuracy(part, batch, "none").tolist() == [True, False, True, True]
    assert objective.accuracy(part, batch, "sum") == 3
    assert objective.accuracy(part, batch) == 3 / 4
    for reduced in (objective.accuracy, objective.loss):
        with pytest.raises(ValueError, match="reduction"):
            reduced(part, batch, "average")


def test_evaluation_in_parts_is_that_of_the_whole(monkeypatch):
    data = modular.make(5)
    batch = objective.batch_of(data)
    table = np.random.default_rng(0).standard_normal((25, 2, 10)).astype(np.float32)
    rows = {data.inputs[i].tobytes(): i for i in range(25)}

    def model(ids, start):
        assert start == 4
        return mg.tensor(table[[rows[row.tobytes()] for row in ids.numpy()]])

    whole = objective.evaluate(model, batch)
    monkeypatch.setattr(objective, "EVALUATION_BATCH", 7)
    parts = objective.evaluate(model, batch)
    assert parts[1] == whole[1]
    # a float32 sum of 25 losses
    assert parts[0] == pytest.approx(whole[0], rel=25 * 2**-23)
    wanted = objective.loss(mg.tensor(table), batch).item()
    assert whole[0] == pytest.approx(wanted, rel=25 * 2**-23)
