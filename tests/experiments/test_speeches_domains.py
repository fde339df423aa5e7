"""How far test texts are from the text learnt from."""

import math

import pytest
from speech_corpus import write_corpus

from experiments.data import speeches
from experiments.data.chunks import chunks
from experiments.data.ngrams import NGrams
from experiments.speeches import domains


def test_texts_are_measured_by_n_grams_of_the_text_learnt_from(tmp_path, rng, capsys):
    folder = write_corpus(tmp_path, rng, 300)
    assert domains.main(["--data", str(folder)]) == 0
    rows = [line.split(" | ") for line in capsys.readouterr().out.splitlines() if " | " in line]
    data = speeches.read(folder, domains.BLOCK)
    assert [row[0].strip("| ") for row in rows[2:]] == [*data.tests]
    model = NGrams(chunks(data.text, domains.BLOCK), 2, len(data.vocabulary))
    for row, text in zip(rows[2:], data.tests.values(), strict=True):
        perplexity = model.perplexity(chunks(text, domains.BLOCK))
        assert float(row[4]) == pytest.approx(perplexity, abs=0.5)
        unknown = sum(token == speeches.UNKNOWN for token in text) / len(text)
        assert float(row[2].rstrip("%")) == pytest.approx(100 * unknown, abs=0.05)


def test_known_tokens_are_the_others(tmp_path, rng):
    """Where every token is known, both perplexities are the same."""
    data = speeches.read(write_corpus(tmp_path, rng, 300), domains.BLOCK)
    name, text = next(iter(data.tests.items()))
    known = text[text != speeches.UNKNOWN]
    (row,) = domains.domains(
        speeches.Speeches(data.vocabulary, data.train, data.test, data.text, {name: known})
    ).rows
    assert row[2] == "0.0%"
    assert row[3:6] == row[6:]
    assert all(math.isfinite(float(value)) for value in row[3:])
