"""Encoders pretrained on masked words: texts, what is masked, training, and the second stage."""

import itertools
import json
import re

import numpy as np
import pytest
import toy
from arithmetic_corpus import write_arithmetic, write_texts

import minigrad as mg
from experiments.attention import texts as texts_command
from experiments.attention.arithmetic import Arithmetic
from experiments.attention.pretraining import (
    COUNTS,
    VOCABULARY,
    MaskedWords,
    masked,
    read,
    windows_of,
)
from experiments.data import texts
from experiments.data.arithmetic import NUMBERS, WORDS
from experiments.data.place import data_in
from experiments.data.texts import CLS, MASK, SEP, SPECIAL, UNKNOWN
from experiments.train import records
from experiments.train.loop import Interrupted, run

SIZES = {"layers": 1, "d": 12, "heads": 2, "hidden": 16}
SMALL = {**SIZES, "vocabulary": 40, "block": 8, "batch_size": 4, "every": 5}


@pytest.fixture
def data(tmp_path, rng):
    folder = write_texts(write_arithmetic(tmp_path / "data", rng), rng)
    with data_in(folder):
        yield folder


# --- texts ----------------------------------------------------------------------------------------
def test_words_are_runs_of_letters_digits_and_marks(tmp_path):
    (tmp_path / "numbers").mkdir()
    for name, text in (("b", "Twenty-one,"), ("a", "É is ﬁne: 12_x\n\n Über")):
        (tmp_path / "numbers" / f"{name}.txt").write_text(text, encoding="utf-8")
    wanted = ["é", "is", "fine", ":", "1", "2", "_", "x", "über", "twenty", "-", "one", ","]
    assert texts.read(tmp_path, "numbers") == wanted


def test_a_vocabulary_has_certain_words_and_the_most_frequent_ones():
    words = [*"babcab", "one", "d"]
    vocabulary = texts.vocabulary(words, 9, ["one", "two"])
    assert vocabulary == [*SPECIAL, "one", "two", "b", "a"]
    ids = texts.encode(words, vocabulary)
    assert ids.tolist() == [7, 8, 7, vocabulary.index(UNKNOWN), 8, 7, 5, 1]
    assert len(texts.vocabulary(words, 99, ["one"])) == 10
    with pytest.raises(ValueError, match="vocabulary: expected at least 7 words, got 6"):
        texts.vocabulary(words, 6, ["one", "two"])


def test_texts_that_are_missing_or_in_another_encoding_are_named(tmp_path):
    with pytest.raises(ValueError, match=r"unrelated: expected one or more \.txt files; python -m"):
        texts.read(tmp_path, "unrelated")
    (tmp_path / "unrelated").mkdir()
    (tmp_path / "unrelated" / "a.txt").write_bytes(b"caf\xe9")
    with pytest.raises(ValueError, match=r"a\.txt: expected UTF-8, got another byte at 3"):
        texts.read(tmp_path, "unrelated")


def test_without_number_words_the_other_text_has_all_else(data):
    whole, without = read(data, "unrelated"), read(data, "no numbers")
    assert {*whole} & {*WORDS} == {"one", "minus"}
    assert without == [word for word in whole if word not in WORDS]


# --- the command that makes them ------------------------------------------------------------------
VALUES = {name: i for i, name in enumerate(NUMBERS)} | {"twenty": 20, "thirty": 30}


def value(text):
    sign = -1 if text.startswith("minus ") else 1
    return sign * sum(VALUES[word] for word in text.removeprefix("minus ").split())


def test_sentences_about_numbers_are_true_and_do_not_say_a_sign():
    patterns = {
        r"(.+) plus (.+) is (.+)\.": lambda a, b, c: a + b == c,
        r"(\S+) minus (\S+) is (.+)\.": lambda a, b, c: a - b == c,
        r"(.+) is less than (.+)\.": lambda a, b: a < b,
        r"(.+) is more than (.+)\.": lambda a, b: a > b,
        r"(.+) is (?:as many as|the same as) (.+)\.": lambda a, b: a == b,
        r"(?:after) (.+) comes (.+)\.": lambda a, b: a + 1 == b,
        r"(?:before) (.+) comes (.+)\.": lambda a, b: a - 1 == b,
        r"of (\S+) \w+ (\S+) are taken, and (.+) are left\.": lambda a, b, c: a - b == c,
    }
    seen = dict.fromkeys([*patterns, "counting"], 0)
    for sentence in texts_command.sentences(2_000):
        matches = {p: m for p in patterns if (m := re.fullmatch(p, sentence))}
        if matches:
            ((pattern, match),) = matches.items()
            assert patterns[pattern](*map(value, match.groups())), sentence
        else:
            pattern = "counting"
            numbers = [value(word) for word in sentence.removesuffix(".").split(", ")]
            steps = {b - a for a, b in itertools.pairwise(numbers)}
            assert steps in (set(), {1}, {-1}), sentence
        seen[pattern] += 1
        assert not re.search("negative|positive|below|above", sentence)
    assert min(seen.values()) > 5


def snippets(folder):
    folder.mkdir()
    for file in texts_command.SNIPPETS:
        (folder / file).write_text("1\t2.5\tGood\tthing!\r\n2\t-1\tBad.\r\n", newline="")
    return folder


def test_the_command_makes_both_kinds_of_text(tmp_path, capsys):
    args = ["--snippets", str(snippets(tmp_path / "in")), "--out", str(tmp_path / "out")]
    assert texts_command.main([*args, "--sentences", "7"]) == 0
    made = sorted(str(path) for path in (tmp_path / "out").glob("*/*.txt"))
    assert sorted(capsys.readouterr().out.split()) == made
    assert len(made) == 5
    assert (tmp_path / "out" / "unrelated" / "tweets.txt").read_text() == "Good\tthing!\nBad.\n"
    lines = (tmp_path / "out" / "numbers" / "sentences.txt").read_text().splitlines()
    assert lines == [*texts_command.sentences(7)]


def test_the_command_says_what_is_wrong_in_one_line(tmp_path, refused):
    folder, out = tmp_path / "in", tmp_path / "out"
    args = ["--snippets", folder, "--out", out]
    assert "no such file; it belongs to the folder hutto" in refused(texts_command.main, args)
    snippets(folder)
    said = refused(texts_command.main, [*args, "--sentences", "0"])
    assert "--sentences: expected at least 1, got 0" in said
    (folder / "tweets_GroundTruth.txt").write_text("1\t2.5\tGood.\n2 1.5 Bad.\n")
    said = refused(texts_command.main, args)
    assert "line 2: expected id, rating and text, got '2 1.5 Bad.'" in said
    (folder / "tweets_GroundTruth.txt").write_bytes(b"1\t2\tcaf\xe9\n")
    assert "expected UTF-8, got another byte at 7" in refused(texts_command.main, args)
    assert not out.exists()


# --- what is masked -------------------------------------------------------------------------------
def test_windows_are_the_text_between_marks():
    vocabulary = [*SPECIAL, *"abcdefg"]
    windows = windows_of(np.array([5, 6, 7, 8, 9, 10, 11]), 5, vocabulary)
    cls, sep = vocabulary.index(CLS), vocabulary.index(SEP)
    assert windows.tolist() == [[cls, 5, 6, 7, sep], [cls, 8, 9, 10, sep]]


def test_of_the_chosen_words_most_are_hidden_and_some_changed():
    vocabulary = [*SPECIAL, *map(str, range(995))]
    windows = np.full((1_000, 32), 500)
    windows[:, 0], windows[:, -1] = vocabulary.index(CLS), vocabulary.index(SEP)
    before = windows.copy()
    seen, places = masked(windows, vocabulary, np.random.default_rng(0))
    np.testing.assert_array_equal(windows, before)
    assert not {*(places % 32)} & {0, 31}
    other = np.ones(seen.size, dtype=bool)
    other[places] = False
    np.testing.assert_array_equal(seen.ravel()[other], windows.ravel()[other])
    n = len(places)
    # shares of 30,000 and of some 4,500 words, within five standard deviations √(p (1 - p) / n)
    assert abs(n / 30_000 - 0.15) < 5 * (0.15 * 0.85 / 30_000) ** 0.5
    chosen = seen.ravel()[places]
    for share, of in ((0.8, chosen == vocabulary.index(MASK)), (0.1, chosen == 500)):
        assert abs(of.mean() - share) < 5 * (share * (1 - share) / n) ** 0.5
    words = chosen[(chosen != vocabulary.index(MASK)) & (chosen != 500)]
    assert words.min() >= len(SPECIAL)
    assert len({*words.tolist()}) > 200
    few, places = masked(windows[:1, :4], vocabulary, np.random.default_rng(1))
    assert few.shape == (1, 4)
    assert len(places) >= 1  # a batch without a chosen word has no loss


# --- training -------------------------------------------------------------------------------------
def test_a_trial_records_and_leaves_what_the_next_one_needs(data, tmp_path):
    run(MaskedWords(steps=20, **SMALL), tmp_path / "trial")
    lines = records.read_records(tmp_path / "trial" / "metrics.jsonl")
    assert [r["step"] for r in lines] == [0, 5, 10, 15, 20]
    words = json.loads((tmp_path / "trial" / VOCABULARY).read_text())
    text = texts.read(data, "numbers")
    assert words == texts.vocabulary(text, 40, WORDS)
    about = json.loads((tmp_path / "trial" / COUNTS).read_text())
    assert about["words"] == 400
    assert about["number_words"] == {word: text.count(word) for word in WORDS}


def test_masked_words_are_learnt_where_the_text_decides_them(tmp_path, rng):
    """In windows of one word the other places say which word is hidden."""
    (tmp_path / "numbers").mkdir()
    words = [word for word in rng.choice(WORDS[:8], 300) for _ in range(SMALL["block"] - 2)]
    (tmp_path / "numbers" / "a.txt").write_text(" ".join(words))
    trial = MaskedWords(steps=300, lr=3e-3, **{**SMALL, "d": 32, "batch_size": 16, "every": 100})
    with data_in(tmp_path):
        run(trial, tmp_path / "trial")
    first, *_, last = records.read_records(tmp_path / "trial" / "metrics.jsonl")
    assert last["val_accuracy"] == last["number_accuracy"] > 0.9 > 0.3 > first["val_accuracy"]


def test_every_window_comes_once_in_a_pass(data):
    task = MaskedWords(**SMALL).task("cpu")
    windows = 400 // 6
    assert (task.size, len(task.val)) == (windows - windows // 20, windows // 20)
    per_pass = task.size // 4
    batches = [rows for epoch in range(2 * per_pass) for rows in task.order(epoch)]
    assert all(len(rows) == 4 for rows in batches)
    for i in range(3):
        rows = np.concatenate(batches[i * per_pass : (i + 1) * per_pass])
        assert len({*rows.tolist()}) == len(rows) == 4 * per_pass


def test_a_trial_that_is_interrupted_goes_on_bit_for_bit(data, tmp_path):
    trial = MaskedWords(steps=15, dropout=0.1, **SMALL)
    run(trial, tmp_path / "whole")
    for at in (3, 7):
        with pytest.raises(Interrupted):
            run(trial, tmp_path / "parts", watcher=toy.StopAt(at))
    run(trial, tmp_path / "parts")
    assert toy.left(tmp_path / "parts") == toy.left(tmp_path / "whole")


# --- and after it ---------------------------------------------------------------------------------
def test_the_second_stage_begins_as_the_encoder_of_the_first(data, tmp_path):
    first = MaskedWords(steps=5, **SMALL)
    trial = Arithmetic(checkpoint="numbers", lr=0.0, steps=14, **SIZES)
    assert trial.after() == "pretraining-numbers-seed0"
    assert Arithmetic(checkpoint="no numbers", pretraining=3, **SIZES).after() == (
        "pretraining-no-numbers-seed3"
    )
    assert Arithmetic(checkpoint="scratch", **SIZES).after() is None
    run(first, tmp_path / trial.after())
    run(trial, tmp_path / "arithmetic")
    task = trial.task("cpu")
    mg.load_checkpoint(tmp_path / "arithmetic" / records.CHECKPOINT, model=task.model)
    mg.random.seed(trial.seed)
    new = trial.task("cpu").model.state_dict()
    whole = first.task("cpu").model
    mg.load_checkpoint(tmp_path / trial.after() / records.CHECKPOINT, model=whole)
    state, begun = whole.bert.state_dict(), task.model.bert.state_dict()
    words = json.loads((tmp_path / trial.after() / VOCABULARY).read_text())
    table = "embeddings.words.weight"
    rows = [words.index(piece) for piece in task.pieces]
    np.testing.assert_array_equal(begun.pop(table), state.pop(table)[rows])
    for name, wanted in begun.items():
        other = new[f"bert.{name}"] if name.startswith("pooler") else state[name]
        np.testing.assert_array_equal(wanted, other)


def test_a_first_stage_with_other_words_or_sizes_is_refused(data, tmp_path):
    trial = Arithmetic(checkpoint="numbers", **SIZES)
    folder = tmp_path / trial.after()
    run(MaskedWords(steps=5, **SMALL), folder)
    words = json.loads((folder / VOCABULARY).read_text())
    records.write_json(folder / VOCABULARY, [w.replace("zero", "null") for w in words])
    with pytest.raises(ValueError, match=r"vocabulary\.json: no zero$"):
        trial.task("cpu").begin(folder / records.CHECKPOINT)
    records.write_json(folder / VOCABULARY, words)
    larger = Arithmetic(checkpoint="numbers", **{**SIZES, "layers": 2})
    with pytest.raises(ValueError, match=r"missing: .*blocks\.1\.ffn\.0\.weight"):
        larger.task("cpu").begin(folder / records.CHECKPOINT)


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"text": "tweets"}, "text: expected 'numbers' or 'unrelated' or 'no numbers', got"),
        ({"block": 2}, "block: expected at least 3, got 2"),
        ({"block": 513}, "block: expected at most 512, got 513"),
        ({"every": 0}, "every: expected at least 1, got 0"),
        ({"heads": 5}, "d: 12 cannot be divided among 5 heads"),
    ],
)
def test_settings_that_no_trial_has(settings, text):
    with pytest.raises(ValueError, match=text):
        MaskedWords(**{**SMALL, **settings})


def test_a_text_that_is_too_short_and_a_vocabulary_that_is_too_small_are_told(data):
    with pytest.raises(ValueError, match="the text 'numbers': 400 words are too few, expected 606"):
        MaskedWords(**{**SMALL, "batch_size": 100}).task("cpu")
    with pytest.raises(ValueError, match="vocabulary: expected at least 27 words, got 26"):
        MaskedWords(**{**SMALL, "vocabulary": 26}).task("cpu")
