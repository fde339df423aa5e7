"""N-grams by Kneser and Ney: a case by hand, probabilities that sum to 1, chunks, the real text."""

import math
import os
from pathlib import Path

import numpy as np
import pytest
from wikitext_corpus import write_wikitext

from experiments.data import wikitext
from experiments.data.chunks import Chunks, chunks
from experiments.data.ngrams import ORDERS, NGrams, yardsticks
from experiments.data.wikitext import frequent

REAL = os.environ.get("MINIGRAD_DATA")
SMALL = chunks(np.array([1, 2, 1, 2, 1, 3]), 5)  # one chunk
BEGIN = 4  # before it, in a vocabulary of four


def number(gram, base=5):
    return sum(token * base**n for n, token in enumerate(reversed(gram)))


BY_HAND = {  # c and D of each order are written out; sums of 3 or 2 below are those of c
    # 1 and 2 occur twice, 3 once: D = 1 / (1 + 2 * 2), and D n / V = 0.2 * 3 / 4
    1: {(1,): 1.95 / 5, (2,): 1.95 / 5, (3,): 0.95 / 5, (0,): 0.15 / 5},
    # (1 2) and (2 1) occur twice, (1 3) once: D = 0.2; each token follows one: D = 1, so all 1/4
    2: {(1, 2): (1.8 + 0.2 * 2 / 4) / 3, (1, 3): (0.8 + 0.2 * 2 / 4) / 3, (1, 1): 0.1 / 3,
        (2, 1): (1.8 + 0.2 / 4) / 2, (3, 1): 0.25},
    # (1 2 1) occurs twice, (BEGIN 1 2), (2 1 2) and (2 1 3) once: D = 0.6; (1 2) follows two,
    # (2 1) and (1 3) one: D = 0.5, and P(2 | 1) = (1.5 + 0.5 * 2 / 4) / 3 = 1.75 / 3
    3: {(2, 1, 2): (0.4 + 0.6 * 2 * 1.75 / 3) / 2, (2, 1, 3): (0.4 + 0.6 * 2 * 0.75 / 3) / 2,
        (1, 2, 1): (1.4 + 0.6 * 0.625) / 2, (BEGIN, 1, 2): 0.4 + 0.6 * 1.75 / 3,
        (3, 1, 2): 1.75 / 3, (3, 3, 1): 0.25},
}  # fmt: skip


@pytest.mark.parametrize("order", BY_HAND)
def test_probabilities_of_a_small_text_by_hand(order):
    model = NGrams(SMALL, order, vocabulary=4)
    grams = np.array([number(gram) for gram in BY_HAND[order]])
    wanted = [*BY_HAND[order].values()]
    np.testing.assert_allclose(model.probabilities(grams), wanted, rtol=1e-14)  # some ten roundings


def test_a_perplexity_is_of_all_targets_but_padding():
    model = NGrams(SMALL, 2, vocabulary=4)
    p = BY_HAND[2]
    # chunks (3 1) and (1 2 with padding): targets 1, 2 and 1
    data = chunks(np.array([3, 1, 2, 1]), 2)
    assert data.targets.tolist() == [[1, 2], [1, 0]]
    wanted = (p[3, 1] * p[1, 2] * p[2, 1]) ** (-1 / 3)
    assert math.isclose(model.perplexity(data), wanted, rel_tol=1e-13)


@pytest.fixture(scope="module")
def texts(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wikitext")
    return wikitext.read(write_wikitext(folder, np.random.default_rng(0)))


@pytest.mark.parametrize("order", ORDERS.values())
def test_probabilities_sum_to_1_after_every_context(texts, order):
    kept = frequent(texts["train"], 30)
    data = {split: chunks(kept.new_id[text], 64, 16) for split, text in texts.items()}
    model = NGrams(data["train"], order, kept.size)
    seen = model.grams_of(data["train"])[:20] // model.base
    unseen = np.array([number((kept.rare, 0), model.base), number((0, kept.rare), model.base)])
    for context in [*seen, *unseen % model.base ** (order - 1)]:
        p = model.probabilities(context * model.base + np.arange(kept.size))
        assert (p > 0).all()
        assert math.isclose(p.sum(), 1, rel_tol=1e-13)  # 30 terms of some ten roundings each


def test_no_chunk_is_predicted_from_another(texts):
    data = chunks(texts["validation"], 10)
    model = NGrams(chunks(texts["train"], 10), 3)
    order = np.random.default_rng(1).permutation(len(data.inputs))
    shuffled = Chunks(*(each[order] for each in data))
    assert math.isclose(model.perplexity(shuffled), model.perplexity(data), rel_tol=1e-12)


def test_longer_n_grams_know_more_of_a_text_with_an_order(texts):
    data = {split: chunks(text, 200) for split, text in texts.items()}
    found = yardsticks(data["train"], {"train": data["train"], "test": data["test"]})
    assert found.keys() == {"train", "test"}
    assert found["test"]["bigram"] < 0.5 * found["test"]["unigram"]  # 3 of 40 follow a token
    assert found["train"]["trigram"] < found["train"]["bigram"]
    counts = np.bincount(data["train"].targets.ravel())
    p = counts[1:][counts[1:] > 0] / counts[1:].sum()
    entropy = -(p * np.log(p)).sum()
    # the training text's own frequencies predict it best; smoothing costs little with 2,000 tokens
    assert 1 <= found["train"]["unigram"] / math.exp(entropy) < 1.02


def test_what_is_no_order_or_no_id_is_refused():
    with pytest.raises(ValueError, match="NGrams: order: expected 1, 2 or 3, got 4"):
        NGrams(SMALL, 4)
    with pytest.raises(ValueError, match="targets: expected ids from 0 to 2, got 1 to 3"):
        NGrams(SMALL, 2, vocabulary=3)
    with pytest.raises(ValueError, match="inputs: expected ids from 0 to 3, got -1 to 0"):
        NGrams(SMALL._replace(inputs=SMALL.inputs - 2), 2, 4)
    model = NGrams(SMALL, 2, vocabulary=4)
    with pytest.raises(ValueError, match="inputs: expected ids from 0 to 3, got 4 to 8"):
        model.perplexity(chunks(np.arange(4, 10), 5))


def has_real():
    try:
        return bool(REAL) and wikitext.find(Path(REAL)) is not None
    except ValueError:
        return False


@pytest.mark.skipif(
    not has_real(), reason="the real data: MINIGRAD_DATA has no folder wikitext-2-gpt1bpe"
)
def test_yardsticks_of_the_real_text():
    texts = wikitext.read(Path(REAL))
    train, validation = (chunks(texts[split]) for split in ("train", "validation"))
    found = yardsticks(train, {"validation": validation})["validation"]
    assert {name: round(value, 1) for name, value in found.items()} == {
        "unigram": 1378.0, "bigram": 349.8, "trigram": 278.1,
    }  # fmt: skip
