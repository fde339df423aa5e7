"""WikiText-2: a small text in its files, what is wrong with files, chunks, a smaller vocabulary,
decoding, and the real files where MINIGRAD_DATA names their folder."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
import wikitext_corpus
from wikitext_corpus import write_npz, write_wikitext

from experiments.data import wikitext
from experiments.data.chunks import chunks
from experiments.data.wikitext import Decoder, frequent

REAL = os.environ.get("MINIGRAD_DATA")


@pytest.fixture
def folder(tmp_path, rng):
    return write_wikitext(tmp_path, rng)


# --- files ----------------------------------------------------------------------------------------
@pytest.mark.parametrize("place", ["", "wikitext-2-gpt1bpe"])
def test_the_text_of_each_split_is_ids(tmp_path, rng, place):
    texts = wikitext.read(tmp_path) if write_wikitext(tmp_path / place, rng) else {}
    assert {split: text.shape for split, text in texts.items()} == {
        split: (n,) for split, n in wikitext_corpus.PER_SPLIT.items()
    }
    with np.load(tmp_path / place / "wiki.test.npz") as file:
        np.testing.assert_array_equal(texts["test"], file["tokens"])
    assert {text.dtype for text in texts.values()} == {np.dtype(np.int64)}
    assert texts["train"].max() == wikitext.VOCABULARY - 1  # in uint16 it is no smaller number


SIZES, TOKENS = np.array([2, 1]), np.array([5, 40_478, 1], dtype=np.uint16)
DAMAGES = {
    "no sizes": ({"tokens": TOKENS}, "expected arrays tokens, sizes, got tokens$"),
    "another array": ({"tokens": TOKENS, "sizes": SIZES, "more": SIZES}, "got more, sizes, tokens"),
    "no array": ({}, "got none"),
    "floats": ({"tokens": TOKENS * 1.0, "sizes": SIZES},
               r"tokens: expected \(n,\) whole numbers, got \(3,\) float64"),
    "two axes": ({"tokens": TOKENS[None], "sizes": SIZES}, r"tokens: .* got \(1, 3\) uint16"),
    "sizes of two axes": ({"tokens": TOKENS, "sizes": SIZES[None]}, r"sizes: .* got \(1, 2\)"),
    "no token": ({"tokens": TOKENS[:0], "sizes": SIZES[:0]}, "all lines, 0, got 0"),
    "a part": ({"tokens": TOKENS[:2], "sizes": SIZES}, "tokens of all lines, 3, got 2"),
    "an id beyond": ({"tokens": TOKENS + np.uint16(1), "sizes": SIZES},
                     "expected ids between 1 and 40,478, got 40,479 at 1"),
    "padding": ({"tokens": TOKENS - np.uint16(1), "sizes": SIZES}, "got 0 at 2"),
    "a negative id": ({"tokens": -TOKENS.astype(int), "sizes": SIZES}, "got -5 at 0"),
    "objects": ({"tokens": np.array([{}, 1, 2]), "sizes": SIZES}, r"not a complete .npz file of"),
}  # fmt: skip


@pytest.mark.parametrize("damage", DAMAGES)
def test_what_is_wrong_with_a_file_is_one_line_that_says_where(folder, damage):
    arrays, text = DAMAGES[damage]
    path = folder / "wiki.validation.npz"
    write_npz(path, **arrays)
    with pytest.raises(ValueError, match=text) as error:
        wikitext.read(folder)
    assert "\n" not in str(error.value)
    assert str(error.value).startswith(str(path))


def test_what_is_missing_or_cut_off_is_named(folder, rng):
    with pytest.raises(ValueError, match="no such folder; expected WikiText-2 in the byte-pair"):
        wikitext.read(folder / "nowhere")
    for name in ("wiki.validation.npz", "wiki.test.npz"):
        whole = (folder / name).read_bytes()
        for part in (b"", whole[:-30], whole[:100], b"no archive"):
            (folder / name).write_bytes(part)
            with pytest.raises(ValueError, match=f"{name}: not a complete .npz file"):
                wikitext.read(folder)
        np.save(folder / "alone", TOKENS)
        (folder / "alone.npy").rename(folder / name)
        with pytest.raises(
            ValueError, match="expected arrays tokens, sizes, got one without a name"
        ):
            wikitext.read(folder)
        (folder / name).unlink()
        with pytest.raises(ValueError, match=f"{name}: no such file; it belongs to WikiText-2"):
            wikitext.read(folder)
        (folder / name).write_bytes(whole)
    (folder / "wiki.train.npz").unlink()  # by which the folder is known
    with pytest.raises(ValueError, match=r"expected WikiText-2 .*, wiki\.train\.npz$"):
        wikitext.read(folder)


# --- chunks ---------------------------------------------------------------------------------------
def test_neighbouring_chunks_share_a_token_and_the_last_is_padded():
    inputs, targets = chunks(np.arange(1, 10), 3)
    assert inputs.tolist() == [[1, 2, 3], [4, 5, 6], [7, 8, 9]]
    assert targets.tolist() == [[2, 3, 4], [5, 6, 7], [8, 9, 0]]
    inputs, targets = chunks(np.arange(1, 9), 5)
    assert inputs.tolist() == [[1, 2, 3, 4, 5], [6, 7, 8, 0, 0]]
    assert targets.tolist() == [[2, 3, 4, 5, 6], [7, 8, 0, 0, 0]]


def test_a_last_token_alone_makes_no_chunk_for_it_has_no_target():
    inputs, targets = chunks(np.arange(1, 8), 3)
    assert inputs.tolist() == [[1, 2, 3], [4, 5, 6]]
    assert targets.tolist() == [[2, 3, 4], [5, 6, 7]]
    assert chunks(np.array([4, 5, 0, 0, 0, 0, 0]), 3).targets.tolist() == [[5, 0, 0]]


def test_a_window_keeps_the_first_targets_of_each_chunk():
    inputs, targets = chunks(np.arange(1, 10), 4, window=2)
    assert inputs.tolist() == [[1, 2], [5, 6]]
    assert targets.tolist() == [[2, 3], [6, 7]]
    whole = chunks(np.arange(1, 10), 4, window=4)
    np.testing.assert_array_equal(whole, chunks(np.arange(1, 10), 4))


@pytest.mark.parametrize("n", [2, 3, 7, 8, 9, 100])
def test_every_token_but_the_first_is_a_target_once(rng, n):
    text = rng.integers(1, 50, n)
    for length in (1, 2, 7, n):
        if length <= n:
            inputs, targets = chunks(text, length)
            assert targets[targets != 0].tolist() == text[1:].tolist()
            assert inputs[targets != 0].tolist() == text[:-1].tolist()
            assert len(targets) == -(-(n - 1) // length)


def test_chunks_that_cannot_be_are_refused():
    text = np.arange(1, 10)
    for length in (0, -1, 10):
        with pytest.raises(ValueError, match=f"length: expected 1 to 9, .* got {length}"):
            chunks(text, length)
    for window in (0, -1, 5):
        with pytest.raises(ValueError, match=f"window: expected 1 to .* of 4, got {window}"):
            chunks(text, 4, window)
    for text in ([0, 0, 0], [3], [3, 0, 0]):
        with pytest.raises(ValueError, match="expected a text, got one without a target"):
            chunks(np.array(text), 1)


# --- a smaller vocabulary -------------------------------------------------------------------------
def test_the_most_frequent_ids_keep_one_of_their_own():
    text = np.array([7, 7, 7, 9, 9, 4, 4, 40_478])
    kept = frequent(text, 5)
    assert kept.ids.tolist() == [7, 4, 9]  # 4 and 9 are equally frequent
    assert (kept.size, kept.rare) == (5, 4)
    assert kept.new_id[text].tolist() == [1, 1, 1, 3, 3, 2, 2, 4]
    assert kept.new_id[[0, 1, 5]].tolist() == [0, 4, 4]
    assert kept.new_id.shape == (wikitext.VOCABULARY,)
    assert frequent(text, 4).ids.tolist() == [7, 4]
    assert frequent(np.arange(1, 5_000), 3_000).ids.tolist() == [*range(1, 2_999)]
    assert frequent(np.array([0, 0, 0, 5]), 3).ids.tolist() == [5]  # padding is never counted


@pytest.mark.parametrize("size", [2, 7, -1])
def test_a_vocabulary_is_no_larger_than_the_ids_that_occur(size):
    with pytest.raises(ValueError, match=f"size: expected 3 to 6, for 4 ids occur, got {size}"):
        frequent(np.array([7, 7, 9, 4, 1]), size)


# --- text -----------------------------------------------------------------------------------------
def test_pieces_are_joined_to_words(folder):
    decoder = Decoder(folder)
    assert len(decoder) == wikitext.VOCABULARY
    assert decoder.text_of([6, 2, 3, 4, 9]) == "the unreing ."
    assert decoder.text_of(np.array([1, 1, 5, 11, 0])) == "<unk><unk>s word10 <pad>"
    assert decoder.text_of([6, 2]) == "the un"
    assert decoder.text_of([]) == ""
    for i in (-1, wikitext.VOCABULARY):
        with pytest.raises(ValueError, match=f"expected 0 to 40,478, got {i:,}"):
            decoder.text_of([6, i])


def test_in_a_smaller_vocabulary_what_is_rare_can_be_seen(folder):
    text = np.array([6, 6, 6, 2, 2, 4, 4, 9, 0])
    kept = frequent(text, 5)
    decoder = Decoder(folder, kept)
    assert decoder.text_of(kept.new_id[text]) == "the the the ununing ing <rare> <pad>"
    with pytest.raises(ValueError, match="expected 0 to 4, got 5"):
        decoder.text_of([5])


ENCODERS = {
    "no JSON": ("{", "with the numbers from 0, got no JSON: Expecting"),
    "nested": ("[" * 100_000, "got no JSON"),
    "a list": ("[]", "got list"),
    "few": (json.dumps({"a": 0, "b": 1}), "each once, got 2 others"),
    "texts": (json.dumps({"a": "0"}), "got something else than a number"),
    "twice": (json.dumps({p: max(i, 1) for i, p in enumerate(wikitext_corpus.pieces())}),
              "each once, got 40,478 others"),
}  # fmt: skip


@pytest.mark.parametrize("damage", ENCODERS)
def test_a_file_that_is_no_encoder_is_refused_in_one_line(folder, damage):
    content, text = ENCODERS[damage]
    (folder / wikitext.ENCODER).write_text(content)
    with pytest.raises(ValueError, match=text) as error:
        Decoder(folder)
    assert "\n" not in str(error.value)
    assert str(error.value).startswith(f"{folder / wikitext.ENCODER}: expected 40,478 pieces")
    (folder / wikitext.ENCODER).unlink()
    with pytest.raises(ValueError, match=r"encoder_bpe_40000\.json: no such file; it belongs to W"):
        Decoder(folder)


# --- the real data --------------------------------------------------------------------------------
def real_folder():
    try:
        return wikitext.find(Path(REAL)) if REAL else None
    except ValueError:
        return None


real = pytest.mark.skipif(
    real_folder() is None, reason="the real data: MINIGRAD_DATA has no folder wikitext-2-gpt1bpe"
)


@pytest.fixture(scope="module")
def texts():
    return wikitext.read(Path(REAL))


@real
def test_the_real_texts_have_the_sizes_of_the_seed(texts):
    sizes = {"train": 2_356_376, "validation": 245_046, "test": 279_023}
    assert {split: len(text) for split, text in texts.items()} == sizes
    assert len(np.unique(texts["train"])) == 30_447
    cut = {split: chunks(text) for split, text in texts.items()}
    assert {split: len(each.inputs) for split, each in cut.items()} == {
        "train": 9_205, "validation": 958, "test": 1_090,
    }  # fmt: skip
    for split, n in sizes.items():
        assert np.count_nonzero(cut[split].targets) == n - 1


@real
def test_with_8000_ids_most_of_the_real_text_is_kept(texts):
    kept = frequent(texts["train"], 8_000)
    share = {split: np.mean(kept.new_id[text] != kept.rare) for split, text in texts.items()}
    assert [round(100 * share[split], 1) for split in wikitext.SPLITS] == [93.0, 92.1, 91.5]


@real
def test_the_real_ids_are_text(texts):
    decoder, text = Decoder(Path(REAL)), texts["train"]
    assert (
        decoder.text_of(text[:17]) == "= valkyria chronicles iii = senjo no valkyria 3 : unrecorded"
    )
    assert decoder.text_of([1]) == "<unk>"
