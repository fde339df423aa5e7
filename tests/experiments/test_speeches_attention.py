"""What the models of speeches attend to: the numbers that stand for a map of attention."""

import json
import math

import numpy as np
import pytest

from experiments.speeches import attention_maps
from experiments.speeches.attention import even, statistics
from experiments.train.records import TrialRecord

# one layer, one sequence of two tokens and a padding, one head; the third query is padding
WEIGHTS = np.array([[0.5, 0.25, 0.25], [0.75, 0.25, 0.0], [0.0, 0.0, 1.0]])


def of(weights, *lengths):
    found = statistics(weights[None, None, None], np.array(lengths))
    return {name: value[0, :, 0] for name, value in found.items()}


def test_numbers_of_a_map_by_hand():
    found = of(WEIGHTS, 2)
    half, quarter = 0.5 * math.log(2), 0.25 * math.log(4)
    wanted = {
        "distance": ((0.25 * 1 + 0.25 * 2) + 0.75 * 1) / 2,
        "within_1": (0.75 + 1.0) / 2,
        "within_2": 1.0,
        "entropy": ((half + 2 * quarter) + (-0.75 * math.log(0.75) + quarter)) / 2,
        "most_read": (0.5 + 0.75) / 2,  # the first token; padding does not count
        "before": 1.0,  # the second query reads the first token most; the first has none before
        "padding": 0.25 / 2,
    }
    assert found.keys() == wanted.keys()
    for name, value in wanted.items():
        assert found[name][0] == pytest.approx(value, rel=1e-12), name


def test_without_padding_all_three_queries_count():
    found = of(WEIGHTS, 3)
    assert found["padding"][0] == 0.0
    assert found["before"][0] == 0.5  # not the third, which reads itself
    assert found["most_read"][0] == pytest.approx(1.25 / 3)


def test_sequences_are_apart_and_even_attention_serves_all():
    found = of(even(4, causal=False)[0, 0, 0], 4, 1)
    np.testing.assert_allclose(found["padding"], [0.0, 0.75])
    np.testing.assert_allclose(found["entropy"], math.log(4))
    np.testing.assert_allclose(found["distance"], [(6 + 4 + 4 + 6) / 16, 6 / 4])
    causal = of(even(3, causal=True)[0, 0, 0], 3)
    assert causal["most_read"][0] == pytest.approx((1 + 1 / 2 + 1 / 3) / 3)
    assert causal["entropy"][0] == pytest.approx((math.log(2) + math.log(3)) / 3)


def test_the_most_read_token_of_the_seeds_sentence(tmp_path):
    def trial(name, tokens, columns):
        folder = tmp_path / name
        folder.mkdir()
        weights = np.tile(np.array(columns), (2, 2, len(columns), 1))
        weights[0] = weights[0, :, :, ::-1]  # the first layer reads other tokens
        maps = [{"set": "training", "tokens": tokens, "weights": weights.tolist()}]
        (folder / "attention.json").write_text(json.dumps({"maps": maps}))
        return TrialRecord(folder, {}, [], {"finished": True})

    words = ["an", "unshakable", "faith"]
    yes, no = trial("yes", words, [0.2, 0.7, 0.1]), trial("no", words, [0.2, 0.1, 0.7])
    other = trial("other", ["w1", "w2", "w3"], [0.2, 0.7, 0.1])
    assert attention_maps.unshakable([yes, yes, yes, no]).verdict == "agrees"
    finding = attention_maps.unshakable([yes, no, no, no, other])
    assert finding.verdict == "differs"
    assert finding.ours == "the most read token, models: “faith” 3, “unshakable” 1"
    assert attention_maps.unshakable([other]).verdict == "not run"
