"""Frozen tables of seed 002: files, MiniLM's words, vectors of a text, scale, commands."""

import json
import math
import os
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import wikitext_corpus
from arithmetic_corpus import write_checkpoint
from wikitext_corpus import write_npz, write_wikitext

import minigrad as mg
from experiments.data import wikitext
from experiments.data.chunks import PADDING, chunks
from experiments.data.minilm import MINILM, PACKAGE, checkpoint_folder
from experiments.data.wikitext import VOCABULARY, Decoder, frequent
from experiments.wikitext import embeddings, first_loss
from experiments.wikitext.embeddings import (
    LENGTH,
    POSITIONS,
    of_minilm,
    of_text,
    ppmi,
    restricted,
    rotation,
    scaled,
)
from minigrad import nn
from models.hugging_face import SPECIAL, read_config, read_tokenizer

WORDS = [*SPECIAL, "the", "of", "un", "##un", "s", "##ing", "word", *(f"##{i}" for i in range(10))]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_wikitext(tmp_path_factory.mktemp("data"), np.random.default_rng(0))


@pytest.fixture(scope="module")
def train(folder):
    return wikitext.read(folder)["train"]


@pytest.fixture(scope="module")
def minilm(tmp_path_factory):
    pytest.importorskip("tokenizers")
    return write_checkpoint(tmp_path_factory.mktemp("minilm"), WORDS)


@pytest.fixture(scope="module")
def words(minilm):
    """By word, its row of the checkpoint."""
    table = mg.load(minilm / "model.safetensors")["embeddings.word_embeddings.weight"].numpy()
    return dict(zip(WORDS, table, strict=True))


@pytest.fixture(scope="module")
def made(folder, minilm):
    return of_minilm(minilm, Decoder(folder), 12)


# --- files ----------------------------------------------------------------------------------------
def test_tables_come_back_from_a_file(tmp_path, made):
    embeddings.write(tmp_path / "e.npz", made)
    again = embeddings.read(tmp_path / "e.npz", 12)
    for one, other in zip(made, again, strict=True):
        np.testing.assert_array_equal(one, other)


TOKENS, POSITION = np.zeros((VOCABULARY, 4), np.float32), np.ones((LENGTH, 4), np.float32)
DAMAGES = {
    "another name": ({"tokens": TOKENS, "positions": POSITION},
                     "expected arrays tokens, position, got positions, tokens"),
    "a row less": ({"tokens": TOKENS[1:], "position": POSITION},
                   r"tokens: expected \(40479, 4\) float32, got \(40478, 4\) float32"),
    "GPT-1's 512 positions": ({"tokens": TOKENS, "position": np.concatenate([POSITION] * 2)},
                              r"position: expected \(256, 4\) float32, got \(512, 4\) float32"),
    "float64": ({"tokens": TOKENS, "position": POSITION.astype(float)}, r"got \(256, 4\) float64"),
    "NaN": ({"tokens": TOKENS, "position": POSITION * np.nan}, "position: expected finite numbers"),
}  # fmt: skip


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_file_of_something_else_is_refused_in_one_line(tmp_path, damage):
    arrays, text = DAMAGES[damage]
    write_npz(tmp_path / "e.npz", **arrays)
    with pytest.raises(ValueError, match=text) as error:
        embeddings.read(tmp_path / "e.npz", 4)
    assert "\n" not in str(error.value)
    assert str(error.value).startswith(str(tmp_path / "e.npz"))


def test_a_file_is_as_wide_as_that_of_the_seed_if_nothing_else_is_said(tmp_path, made):
    with pytest.raises(ValueError, match="no such file; it belongs to embeddings of seed 002"):
        embeddings.read(tmp_path / "e.npz")
    embeddings.write(tmp_path / "e.npz", made)
    with pytest.raises(ValueError, match=r"expected \(40479, 768\) float32, got \(40479, 12\)"):
        embeddings.read(tmp_path / "e.npz")


# --- MiniLM's -------------------------------------------------------------------------------------
def test_a_token_is_the_word_or_the_piece_of_the_same_string_or_a_mean_of_pieces(made, words):
    wanted = {
        "<unk>": words["[UNK]"],
        "the</w>": words["the"],
        "un": words["##un"],  # a word goes on after it
        "un</w>": words["un"],
        "ing</w>": words["##ing"],  # there is no other
        "word17</w>": (words["word"] + words["##1"] + words["##7"]) / 3,
        ".</w>": words["[UNK]"],  # of letters that the vocabulary lacks
    }
    table = dict(zip(wikitext_corpus.pieces(), made.tokens[1:], strict=True))
    for piece, vector in wanted.items():
        np.testing.assert_allclose(table[piece], vector, rtol=1e-6, atol=1e-8)  # sums of three
    assert not made.tokens[0].any()
    assert made.tokens.shape == (VOCABULARY, 12)
    assert {table.dtype for table in made} == {np.dtype(np.float32)}


def test_positions_are_the_first_of_minilm(made, minilm):
    file = mg.load(minilm / "model.safetensors")["embeddings.position_embeddings.weight"].numpy()
    np.testing.assert_array_equal(made.positions, file[:LENGTH])


def test_a_token_that_ends_a_word_differs_from_one_that_does_not(folder, minilm, words):
    decoder = Decoder(folder)
    pieces = list(decoder.pieces)
    pieces[3] = "the"  # beside the</w>; there is no ##the
    decoder.pieces = tuple(pieces)
    tokens = of_minilm(minilm, decoder, 12).tokens
    inner = [name for name in WORDS if name.startswith("##")]
    others = [name for name in WORDS if not name.startswith("##")]
    way = np.mean([words[n] for n in inner], axis=0) - np.mean([words[n] for n in others], axis=0)
    np.testing.assert_array_equal(tokens[6], words["the"])
    np.testing.assert_allclose(tokens[3], words["the"] + way, rtol=1e-5, atol=1e-7)  # two means


def test_another_width_keeps_inner_products_where_it_can(folder, minilm, made):
    wider = of_minilm(minilm, Decoder(folder), 24)
    assert wider.tokens.shape == (VOCABULARY, 24)
    for old, new in zip(made, wider, strict=True):
        old, new = old[:50].astype(float), new[:50].astype(float)
        # 24 products, of numbers that are rounded to float32
        bound = 24 * 1.2e-7 * np.linalg.norm(old, axis=1).max() ** 2
        np.testing.assert_allclose(new @ new.T, old @ old.T, rtol=0, atol=bound)
    narrow = of_minilm(minilm, Decoder(folder), 6)
    turn = rotation(12, 6)
    np.testing.assert_allclose(turn.T @ turn, np.eye(6), atol=12 * 1.2e-7)
    np.testing.assert_allclose(narrow.tokens, made.tokens @ turn, rtol=1e-6, atol=1e-8)
    np.testing.assert_array_equal(rotation(12, 12), np.eye(12))


def test_what_does_not_fit_is_refused(folder, minilm, train, tmp_path):
    with pytest.raises(ValueError, match="decoder: expected all ids, 40,479, got 20"):
        of_minilm(minilm, Decoder(folder, frequent(train, 20)), 12)
    short = write_checkpoint(tmp_path, WORDS)
    config = json.loads((short / "config.json").read_text())
    (short / "config.json").write_text(json.dumps({**config, "max_position_embeddings": 9}))
    with pytest.raises(ValueError, match="expected 256 positions or more, got 9"):
        of_minilm(short, Decoder(folder), 12)


# --- of the text ----------------------------------------------------------------------------------
def by_hand(tokens, size):
    """The matrix of PPMI, pair by pair."""
    counts = np.zeros((size, size))
    for i, w in enumerate(tokens):
        for distance in (1, 2):
            for j in (i - distance, i + distance):
                if 0 <= j < len(tokens):
                    counts[w, tokens[j]] += (3 - distance) / 2
    totals = counts.sum(axis=0)
    smoothed = totals**0.75 / (totals**0.75).sum()
    with np.errstate(divide="ignore", invalid="ignore"):
        table = np.log(counts / (totals[:, None] * smoothed))
    return np.where(counts > 0, np.maximum(table, 0), 0), np.argsort(-totals, kind="stable")


def test_information_of_pairs_is_that_by_hand(train):
    pytest.importorskip("scipy")
    kept = frequent(train, 30)
    text = kept.new_id[train[:300]]
    table, contexts = by_hand(text, 31)
    found = ppmi(text, 31)
    occurring = len(np.unique(text))
    # logarithms of sums in float32 of numbers up to 300, below 10
    np.testing.assert_allclose(found.toarray(), table[:, contexts[:occurring]], atol=1e-5)


def test_vectors_of_a_text_are_its_largest_singular_vectors(train):
    pytest.importorskip("scipy")
    kept = frequent(train, 30)
    text = kept.new_id[train]
    made = of_text(text, 8, vocabulary=32)
    u, s, _ = np.linalg.svd(by_hand(text, 32)[0])
    wanted = (u[:, :8] * s[:8]) @ u[:, :8].T
    # singular vectors in float32, whose error the next singular value magnifies
    bound = 100 * 1.2e-7 * s[0] ** 2 / (s[7] - s[8])
    np.testing.assert_allclose(made.tokens @ made.tokens.T, wanted, atol=bound)
    norms = np.linalg.norm(made.tokens, axis=0)
    np.testing.assert_allclose(norms, np.sqrt(s[:8]), rtol=1e-4)  # the largest first
    assert (made.tokens.sum(axis=0) >= 0).all()
    assert not made.tokens[[0, 30, 31]].any()  # which do not occur
    again = of_text(text, 8, vocabulary=32)
    np.testing.assert_array_equal(made.tokens, again.tokens)
    x = mg.zeros((LENGTH, 8))
    np.testing.assert_array_equal(made.positions, nn.SinusoidalPositions(LENGTH, 8)(x).numpy())


def test_vectors_of_a_text_are_no_wider_than_its_contexts(train):
    pytest.importorskip("scipy")
    text = frequent(train, 10).new_id[train]
    for d in (0, 5, 9, 10):
        with pytest.raises(ValueError, match=f"of_text: d: expected an even number .* 9, .* {d}$"):
            of_text(text, d, vocabulary=12)


def test_without_scipy_the_remedy_is_told(train, monkeypatch):
    monkeypatch.setitem(sys.modules, "scipy.sparse.linalg", None)
    with pytest.raises(ImportError, match=r"pip install 'minigrad\[wikitext\]'"):
        of_text(train, 8)


# --- of both --------------------------------------------------------------------------------------
def test_the_scale_is_the_mean_norm_over_the_tokens_of_a_text(made):
    text = np.array([6, 6, 6, 10, 17])
    tokens, positions = scaled(made, text, 2.0)
    norms = np.linalg.norm(tokens[text], axis=1)
    assert math.isclose(norms.mean(), 2.0, rel_tol=1e-6)  # float32
    assert math.isclose(np.linalg.norm(positions, axis=1).mean(), 2 * POSITIONS, rel_tol=1e-6)
    ratio = np.linalg.norm(tokens[6]) / np.linalg.norm(tokens[17])
    before = np.linalg.norm(made.tokens[6]) / np.linalg.norm(made.tokens[17])
    assert math.isclose(ratio, before, rel_tol=1e-6)


def test_in_a_smaller_vocabulary_the_rare_token_is_the_mean_of_what_it_stands_for(made):
    text = np.array([6, 6, 6, 2, 2, 10, 17, 17])
    kept = frequent(np.array([6, 6, 2]), 4)
    tokens, positions = restricted(made, kept, text)
    assert tokens.shape == (4, 12)
    assert tokens.dtype == np.float32
    np.testing.assert_array_equal(tokens[:3], made.tokens[[0, 6, 2]])
    mean = (made.tokens[10] + 2 * made.tokens[17]) / 3
    np.testing.assert_allclose(tokens[3], mean, rtol=1e-6, atol=1e-8)  # sums of three
    np.testing.assert_array_equal(positions, made.positions)
    assert not restricted(made, kept, np.array([6, 2])).tokens[3].any()  # nothing is rare


# --- commands -------------------------------------------------------------------------------------
def test_the_command_writes_tables_of_both_kinds(folder, minilm, train, tmp_path, capsys):
    pytest.importorskip("scipy")
    for kind in ("minilm", "text"):
        out = tmp_path / f"{kind}.npz"
        place = ["--checkpoint", str(minilm)] if kind == "minilm" else []
        args = ["--data", str(folder), "--of", kind, "--d", "12", "--out", str(out), *place]
        assert embeddings.main(args) == 0
        assert capsys.readouterr().out == f"{out}\n"
        tables = embeddings.read(out, 12)
        norms = np.linalg.norm(tables.tokens[train], axis=1)
        assert math.isclose(norms.mean(), embeddings.NORMS[kind], rel_tol=1e-5)  # float32


def test_mistakes_of_the_commands_are_one_line(folder, tmp_path, monkeypatch, refused):
    out = ["--out", tmp_path / "e.npz"]
    monkeypatch.delenv("MINIGRAD_DATA", raising=False)
    monkeypatch.delenv(MINILM.variable, raising=False)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert "--d: expected an even number, got 7" in refused(embeddings.main, [*out, "--d", 7])
    assert "no data: give the folder of WikiText-2" in refused(embeddings.main, out)
    assert "no MiniLM: give its folder" in refused(embeddings.main, [*out, "--data", folder])
    args = ["--data", folder, "--file", tmp_path / "none.npz"]
    assert "none.npz: no such file" in refused(first_loss.main, args)
    assert "--window: expected" in refused(first_loss.main, ["--window", 0])
    assert not (tmp_path / "e.npz").exists()


def test_first_losses_are_shown_beside_those_of_the_seed(folder, capsys):
    pytest.importorskip("scipy")
    args = ["--data", str(folder), "--of", "text", "--d", "12", "--norm", "0.01", "--seeds", "0"]
    assert first_loss.main([*args, "--vocabulary", "30", "--window", "16"]) == 0
    head, *lines = capsys.readouterr().out.splitlines()
    assert head.split() == ["model", "seed", "002", "here", "from", "to"]
    rows = [line.split() for line in lines]
    assert [row[:3] for row in rows] == [
        ["gpt", "L1", "47.94"], ["gpt", "L2", "46.67"], ["gpt", "L4", "44.00"],
        ["lstm", "L1", "10.61"], ["lstm", "L2", "10.62"], ["lstm", "L4", "10.64"],
    ]  # fmt: skip
    # logits are at most √12 · 0.01 · 2 in size, so that losses are log 30 to 0.07
    assert all(abs(float(row[3]) - math.log(30)) < 0.1 for row in rows)


def test_the_first_loss_is_that_of_a_batch_of_whole_chunks(train):
    """And of a GPT it grows with the norm, for each token predicts itself."""
    pytest.importorskip("scipy")
    text = frequent(train, 30).new_id[train]
    data = chunks(text, 16)
    made = of_text(text, 12, 30)
    losses = [
        first_loss.first_loss("gpt", 1, scaled(made, text, norm), data) for norm in (0.01, 1, 4)
    ]
    assert losses == sorted(losses)
    assert losses[2] > 2 * losses[0]
    mg.random.seed(3)
    tables = scaled(made, text, 1.0)
    model = first_loss.model_of("lstm", 2, tables)
    rows = np.random.default_rng(3).permutation(len(data.inputs))[:16]
    targets = data.targets[rows]
    logits = model(mg.tensor(data.inputs[rows])).detach().numpy().astype(float)
    right = np.take_along_axis(logits, targets[..., None], axis=-1)[..., 0]
    losses = np.log(np.exp(logits).sum(axis=-1)) - right
    counted = targets != PADDING
    assert not counted.all()  # the last chunk is among them: the seed's loss is a mean of means
    wanted = np.mean((losses * counted).sum(axis=1) / counted.sum(axis=1))
    found = first_loss.first_loss("lstm", 2, tables, data, seed=3)
    assert math.isclose(found, wanted, rel_tol=1e-5)  # 256 losses in float32


# --- the real MiniLM ------------------------------------------------------------------------------
REAL = os.environ.get("MINIGRAD_DATA")


@pytest.mark.skipif(
    not REAL or not (os.environ.get(MINILM.variable) or find_spec(PACKAGE)),
    reason="WikiText-2 or MiniLM: MINIGRAD_DATA or MINIGRAD_MINILM names no folder",
)
def test_most_real_tokens_are_words_of_minilm():
    folder, place = checkpoint_folder(), Path(REAL)
    tokenizer = read_tokenizer(folder, read_config(folder))
    names, decoder = tokenizer.get_vocab(), Decoder(place)
    counts = np.bincount(wikitext.read(place)["train"], minlength=VOCABULARY)[1:]
    texts = [piece.removesuffix("</w>") for piece in decoder.pieces[1:]]
    word = np.array([text in names for text in texts])
    piece = np.array([f"##{text}" in names for text in texts])
    share = [100 * counts[same].sum() / counts.sum() for same in (word, ~word & piece)]
    assert [round(each, 1) for each in share] == [93.8, 2.7]
    # all that occur differ, so that a model can tell which is next
    tokens = of_minilm(folder, decoder, 384).tokens[1:][counts > 0]
    assert len(np.unique(tokens, axis=0)) == len(tokens) == 30_447
