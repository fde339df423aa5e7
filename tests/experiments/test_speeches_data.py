"""The presidents' speeches: a small corpus as files of both kinds, what is wrong with files, and
the real ones where MINIGRAD_DATA names their folder."""

import os
import sys
import types
from pathlib import Path

import numpy as np
import pytest

from experiments.data import speeches
from experiments.speeches import tokenize

REAL = os.environ.get("MINIGRAD_DATA")
real = pytest.mark.skipif(not REAL, reason="the real data: MINIGRAD_DATA names no folder")

TOKENIZED = {
    "train_CLS.tok.tsv": "0\tYes , we can .\n1\tFreedom .\n2\tRead my lips .\n2\tRead .\n",
    "test_CLS.tok.tsv": "2\tRead my freedom .\n0\tYes !\n1\tcan we\n",
    "train_LM.tok": "Yes\n,\nwe\nRead\n.\n",
    "test_LM_obama.tok": "Yes\nwe\nmay\n",
    "test_LM_hbush.tok": "my\nlips\n",
    "test_LM_wbush.tok": "Freedom\n.\n",
    "vocab.txt": ",\n.\n0\n1\n2\nFreedom\nRead\nYes\ncan\nlips\nmy\nwe\n",
}
ORIGINAL = {
    "train_CLS.tsv": "0\tYes, we can.\n1\tFreedom.\n2\tRead my lips.\n2\tRead.\n",
    "test_CLS.tsv": "2\tRead my freedom.\n0\tYes!\n1\tcan we\n",
    "train_LM.txt": "Yes, we\nRead.\n",
    "test_LM_obama.txt": "Yes we\nmay\n",
    "test_LM_hbush.txt": "my lips\n",
    "test_LM_wbush.txt": "Freedom.\n",
}
WORDS = ["PAD", "UNK", *TOKENIZED["vocab.txt"].split()]


def write(folder, files):
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / name).write_bytes(text if isinstance(text, bytes) else text.encode())
    return folder


def ids(text):
    return [WORDS.index(w) if w in WORDS else speeches.UNKNOWN for w in text.split()]


def same(a, b):
    assert a.vocabulary == b.vocabulary
    for one, other in ((a.train, b.train), (a.test, b.test)):
        assert one.tokens == other.tokens
        for name in ("ids", "lengths", "labels"):
            np.testing.assert_array_equal(getattr(one, name), getattr(other, name))
    np.testing.assert_array_equal(a.text, b.text)
    assert a.tests.keys() == b.tests.keys()
    for name, text in a.tests.items():
        np.testing.assert_array_equal(text, b.tests[name])


@pytest.fixture
def nltk(monkeypatch):
    """In the place of NLTK, whose tables are not here: words, and marks that follow them."""
    module, package = types.ModuleType("nltk.tokenize"), types.ModuleType("nltk")

    def word_tokenize(text):
        for mark in ",.!":
            text = text.replace(mark, f" {mark} ")
        return text.split()

    module.word_tokenize = word_tokenize
    monkeypatch.setitem(sys.modules, "nltk", package)
    monkeypatch.setitem(sys.modules, "nltk.tokenize", module)
    return module


# --- a small corpus -------------------------------------------------------------------------------
@pytest.mark.parametrize("place", ["", "cse256_speeches_tokens"])
def test_sentences_and_texts_are_ids_in_the_order_of_the_vocabulary(tmp_path, place):
    write(tmp_path / place, TOKENIZED)
    data = speeches.read(tmp_path)
    assert data.vocabulary == tuple(WORDS)
    assert data.train.labels.tolist() == [0, 1, 2, 2]
    assert data.train.lengths.tolist() == [5, 2, 4, 2]
    assert data.train.ids.shape == (4, 32)
    assert data.train.ids[0, :5].tolist() == ids("Yes , we can .")
    assert not data.train.ids[0, 5:].any()
    assert data.train.tokens[2] == ["Read", "my", "lips", "."]
    assert data.test.ids[0, :4].tolist() == ids("Read my freedom .")
    assert data.test.ids[1, :2].tolist() == [WORDS.index("Yes"), speeches.UNKNOWN]
    assert data.text.tolist() == ids("Yes , we Read .")
    assert {name: t.tolist() for name, t in data.tests.items()} == {
        "Obama": ids("Yes we may"), "H. Bush": ids("my lips"), "W. Bush": ids("Freedom ."),
    }  # fmt: skip


def test_the_assignments_files_give_the_same_as_tokenized_ones(tmp_path, nltk, capsys):
    original = write(tmp_path / "original", ORIGINAL)
    wanted = speeches.read(write(tmp_path / "tokenized", TOKENIZED))
    same(speeches.read(original), wanted)
    made = tmp_path / "made" / "here"
    assert tokenize.main(["--data", str(original), "--out", str(made)]) == 0
    assert sorted(capsys.readouterr().out.split()) == sorted(str(made / n) for n in TOKENIZED)
    same(speeches.read(made), wanted)


def test_a_sentence_that_is_longer_than_the_block_is_cut(tmp_path):
    long = "0\t" + "Yes " * 40 + "\n"
    write(tmp_path, TOKENIZED | {"train_CLS.tok.tsv": TOKENIZED["train_CLS.tok.tsv"] + long})
    train = speeches.read(tmp_path).train
    assert train.lengths[-1] == 32
    assert set(train.ids[-1].tolist()) == {WORDS.index("Yes")}
    assert len(train.tokens[-1]) == 40


# --- mistakes -------------------------------------------------------------------------------------
DAMAGES = {
    "a label that is none": ("test_CLS.tok.tsv", "3\tYes\n", "line 1: expected a label of 0 to 2"),
    "a label in words": ("train_CLS.tok.tsv", "Obama\tYes\n", r"line 1: .* got 'Obama\\tYes'"),
    "no tab": ("train_CLS.tok.tsv", "0\tYes\n0 Yes\n", r"line 2: expected a label .*, a tab"),
    "no sentence": ("train_CLS.tok.tsv", "0\t \n", "line 1: expected a label .* a sentence"),
    "an empty line": ("train_LM.tok", "Yes\n\nwe\n", "line 2: expected text, got an empty line"),
    "an empty file": ("test_LM_obama.tok", "", "line 1: expected text, got an empty line"),
    "Latin-1": ("vocab.txt", b"Yes\ncaf\xe9\n", "expected UTF-8, got another byte at 7"),
    "a class in one file only": ("test_CLS.tok.tsv", "0\tYes\n2\tRead\n",
                                 r"no sentence of W. Bush \(label 1\) in test_CLS"),
}  # fmt: skip


@pytest.mark.parametrize("damage", DAMAGES)
def test_what_is_wrong_with_a_file_is_one_line_that_says_where(tmp_path, damage):
    name, content, text = DAMAGES[damage]
    write(tmp_path, TOKENIZED | {name: content})
    with pytest.raises(ValueError, match=text) as error:
        speeches.read(tmp_path)
    assert "\n" not in str(error.value)
    assert str(tmp_path) in str(error.value)


def test_what_is_missing_is_named(tmp_path):
    with pytest.raises(ValueError, match="no such folder; expected the speeches of CSE256"):
        speeches.read(tmp_path / "nowhere")
    with pytest.raises(ValueError, match=r"expected the speeches of CSE256.*train_CLS\.tok\.tsv"):
        speeches.read(tmp_path)
    for name in TOKENIZED:
        write(tmp_path, TOKENIZED)
        (tmp_path / name).unlink()
        if name != "train_CLS.tok.tsv":  # by which the folder is known
            with pytest.raises(
                ValueError, match=f"{name}: no such file; it belongs to the speeches"
            ):
                speeches.read(tmp_path)


def test_without_nltk_or_its_tables_the_remedy_is_told(tmp_path, monkeypatch, nltk, refused):
    write(tmp_path, ORIGINAL)

    def no_tables(text):
        raise LookupError("Resource punkt_tab not found.\nPlease use the NLTK Downloader")

    nltk.word_tokenize = no_tables
    args = ["--data", str(tmp_path), "--out", str(tmp_path / "out")]
    assert "NLTK lacks its Punkt tables: python -m nltk.downloader" in refused(tokenize.main, args)
    monkeypatch.setitem(sys.modules, "nltk.tokenize", None)
    assert "NLTK is not installed: install minigrad[speeches]" in refused(tokenize.main, args)
    assert not (tmp_path / "out").exists()


# --- the real data --------------------------------------------------------------------------------
@real
def test_the_real_data_are_those_of_the_seed():
    data = speeches.read(Path(REAL))
    assert len(data.vocabulary) == 5_755
    assert np.bincount(data.train.labels).tolist() == [934, 539, 619]
    assert np.bincount(data.test.labels).tolist() == [250, 250, 250]
    assert data.train.lengths.max() == 30
    assert [(data.train.ids == speeches.UNKNOWN).sum(), (data.test.ids == 1).sum()] == [3, 137]
    assert len(data.text) == 32_071
    assert {name: (len(t), (t == 1).sum()) for name, t in data.tests.items()} == {
        "Obama": (5_534, 113), "H. Bush": (4_728, 108), "W. Bush": (4_780, 105),
    }  # fmt: skip
    sentence = "These virtues give me an unshakable faith in America ."  # the seed's attention maps
    assert data.train.tokens[8] == sentence.split()
    assert data.train.labels[8] == speeches.SPEAKERS.index("W. Bush")
