"""Translation into Pig Latin, from the files to tables and figures, on words that are made here."""

import json
import os
import re
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
from pig_latin_corpus import latin, write_words

import minigrad as mg
from experiments.attention import flops, isoflop
from experiments.attention.measures import BEST_EPOCH, EPOCHS, LEAST, early
from experiments.attention.translate import LIMIT, Translate, split
from experiments.data import pig_latin
from experiments.data.pig_latin import END, END_OF_PROMPT, START
from experiments.data.place import data_in
from experiments.sweep.experiment import main
from experiments.train.records import TrialRecord

REAL = os.environ.get("MINIGRAD_DATA")
real = pytest.mark.skipif(
    not REAL or not (Path(REAL) / "pig_latin").is_dir(),
    reason="the real words: MINIGRAD_DATA names no folder that has pig_latin",
)
TINY = {"d": 8, "layers": 1, "batch_size": 4}


# --- the files ------------------------------------------------------------------------------------
def write(folder, small, large="a away\n"):
    for name, text in (("small", small), ("large", large)):
        content = text if isinstance(text, bytes) else text.encode()
        (folder / f"pig_latin_{name}.txt").write_bytes(content)
    return folder


def test_pairs_are_read_once_in_lower_case_without_what_is_no_word(tmp_path):
    text = "The ethay\n47 47\ndon't onday'tay\n \nthe ethay\nair-dry airway-ydray\n"
    assert pig_latin.read(write(tmp_path, text), "small") == [
        ("the", "ethay"), ("air-dry", "airway-ydray"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("the ethay\nairway\n", "line 2: expected a word and its Pig Latin, got 'airway'"),
        ("the ethay of\n", "line 1: expected a word and its Pig Latin"),
        (b"the ethay\n\xff\n", "expected UTF-8, got another byte at 10"),
    ],
)
def test_a_damaged_file_is_named_with_its_line(text, problem, tmp_path):
    with pytest.raises(ValueError, match=r"pig_latin_small\.txt") as error:
        pig_latin.read(write(tmp_path, text), "small")
    assert problem in str(error.value)
    assert "\n" not in str(error.value)


def test_a_folder_without_the_files_is_refused(tmp_path):
    with pytest.raises(ValueError, match="no such folder; expected the Pig Latin words of CSC413"):
        pig_latin.read(tmp_path / "none", "small")
    (tmp_path / "pig_latin_small.txt").write_text("a away\n")
    with pytest.raises(ValueError, match=r"pig_latin_small.txt and pig_latin_large.txt"):
        pig_latin.read(tmp_path, "small")


@real
def test_the_real_words_have_the_counts_of_the_assignment():
    small, large = (pig_latin.read(Path(REAL), size) for size in ("small", "large"))
    assert (len(small), len(large)) == (3_198, 22_402)
    assert set(small) < set(large)
    assert [len(part) for part in pig_latin.split(small, 0)] == [2_558, 640]
    assert [len(part) for part in pig_latin.split(large, 0)] == [17_921, 4_481]
    longest = [max(len(pair[i]) for pair in pairs) for pairs in (small, large) for i in (0, 1)]
    assert longest == [18, 22, 20, 23]


def test_a_split_keeps_every_pair_once_and_depends_on_the_seed():
    pairs = [(c, f"{c}ay") for c in pig_latin.ALPHABET]
    train, held_out = pig_latin.split(pairs, 0)
    assert (len(train), len(held_out)) == (21, 6)
    assert sorted([*train, *held_out]) == sorted(pairs)
    assert pig_latin.split(pairs, 0) == (train, held_out) != pig_latin.split(pairs, 1)


def test_words_become_ids_and_ids_words():
    ids = pig_latin.encode("a-z")
    assert ids.tolist() == [1, 0, 26]
    assert pig_latin.decode([*ids, END, 3, END]) == "a-z"
    assert pig_latin.decode([1, START]) == "a?"


@pytest.mark.parametrize(
    ("word", "problem"),
    [
        ("", "expected 1 to 100 characters, got 0"),
        ("a" * 101, "expected 1 to 100 characters, got 101"),
        ("naïve", "expected letters a to z and hyphens, got 'ï' in 'naïve'"),
        ("two words", "got ' '"),
    ],
)
def test_what_is_no_word_is_refused(word, problem):
    with pytest.raises(ValueError, match=r"^word: ") as error:
        pig_latin.encode(word)
    assert problem in str(error.value)


def test_every_word_has_a_rule():
    examples = {
        "air": "vowel", "dog": "consonant", "stop": "cluster", "try": "cluster", "quiet": "qu",
        "square": "qu", "qatar": "consonant", "year": "y", "by": "consonant", "air-dry": "hyphen",
        "mr": "cluster",
    }  # fmt: skip
    assert {word: pig_latin.rule(word) for word in examples} == examples


# --- the task -------------------------------------------------------------------------------------
@pytest.fixture
def words(tmp_path, rng):
    folder = write_words(tmp_path / "data", rng)
    with data_in(folder):
        yield folder


def task_of(**settings):
    mg.random.seed(0)
    return Translate(**TINY | settings).task("cpu")


@pytest.mark.parametrize("model", ["encoder-decoder", "decoder-only"])
def test_batches_hold_words_of_equal_lengths_and_are_never_shuffled(model, words):
    task = task_of(model=model)
    batches = task.order(0)
    assert sorted(np.concatenate(batches)) == [*range(task.size)] == [*range(48)]
    for rows in batches:
        assert len({tuple(task.train.lengths[i]) for i in rows}) == 1
        assert len(rows) <= 4
    assert all((a == b).all() for a, b in zip(batches, task.order(7), strict=True))


@pytest.mark.parametrize("model", ["encoder-decoder", "decoder-only"])
def test_a_model_predicts_every_character_and_the_end_of_a_translation(model, words):
    task = task_of(model=model)
    rows = task.order(0)[0]
    logits, wanted = task.predict(task.train, mg.tensor(rows))
    for row, i in zip(wanted.numpy().tolist(), rows, strict=True):
        word, translation = task.train.pairs[i]
        assert pig_latin.decode(row) == translation == latin(word)
        assert row[-1] == END
    assert logits.shape == (*wanted.shape, 30)


def test_what_a_model_reads_is_the_word_and_the_translation_before(words, monkeypatch):
    """The ids of the assignment: word END and START latin; START word END_OF_PROMPT latin."""
    read = []
    for model in ("encoder-decoder", "decoder-only"):
        task = task_of(model=model)
        kind = type(task.model)
        forward = kind.forward
        monkeypatch.setattr(
            kind, "forward",
            lambda self, *ids, forward=forward: read.append([i.numpy() for i in ids])
            or forward(self, *ids),
        )  # fmt: skip
        rows = task.order(0)[0]
        task.predict(task.train, mg.tensor(rows))
        word, translation = (pig_latin.encode(w).tolist() for w in task.train.pairs[rows[0]])
        found = [ids[0].tolist() for ids in read.pop()]
        if model == "encoder-decoder":
            assert found == [[*word, END], [START, *translation]]
        else:
            assert found == [[START, *word, END_OF_PROMPT, *translation]]


@pytest.mark.parametrize("model", ["encoder-decoder", "decoder-only"])
def test_losses_weigh_batches_equally_or_characters_equally(model, words):
    task = task_of(model=model)
    with mg.no_grad():
        record = task.measure()
    of_batches = []
    for rows in task.held_out.batches:
        logits, wanted = task.predict(task.held_out, mg.tensor(rows))
        of_batches.append(mg.cross_entropy(logits, wanted, reduction="none").detach().numpy())
    by_batch = np.mean([losses.mean(dtype=np.float64) for losses in of_batches])
    by_character = np.concatenate([each.ravel() for each in of_batches]).mean(dtype=np.float64)
    assert record["val_loss"] == pytest.approx(by_batch, rel=1e-6)  # means of float32
    assert record["val_token_loss"] == pytest.approx(by_character, rel=1e-6)
    assert len({len(each) for each in of_batches}) > 1
    assert abs(by_batch - by_character) > 1e-4


@pytest.mark.parametrize("model", ["encoder-decoder", "decoder-only"])
def test_a_word_counts_as_exact_if_greedy_decoding_finds_it(model, words):
    task = task_of(model=model, d=32)
    task.held_out = task.train  # which it can learn here
    optimizer = mg.optim.Adam(task.model.parameters(), lr=5e-3)
    for epoch in range(40):
        for rows in task.order(epoch):
            optimizer.zero_grad()
            task.loss(mg.tensor(rows))[0].backward()
            optimizer.step()
    pairs = task.held_out.pairs
    found = task.translate([word for word, _ in pairs])
    assert found == task.translate([word for word, _ in pairs], cached=False)
    right = [given == wanted for given, (_, wanted) in zip(found, pairs, strict=True)]
    with mg.no_grad():
        record = task.measure()
    assert 0 < sum(right) < len(right)  # it learns, and has not learnt all
    assert all(len(wanted) < LIMIT for _, wanted in pairs)
    assert record["exact"] == np.mean(right)
    assert sum(record[f"{rule}_right"] for rule in ("vowel", "consonant", "cluster")) == sum(right)


def test_the_same_words_are_held_out_of_small_and_large_data(words):
    trials = [Translate(seed=3, data=data, validate="small") for data in ("small", "large")]
    (small, held_out), (large, others) = map(split, trials)
    assert held_out == others
    assert (len(small), len(large)) == (48, 160)  # 80 % of either file
    assert not set(held_out) & set(large)
    own, _ = split(Translate(seed=3, data="large"))
    assert len(own) == 160


def test_the_rate_decays_at_the_start_of_every_epoch_the_first_too():
    trial = Translate()
    assert trial.rate(0, 80) == 5e-4 * 0.99
    assert trial.rate(79, 80) == 5e-4 * 0.99
    assert trial.rate(80, 80) == pytest.approx(5e-4 * 0.99**2, rel=1e-15)
    assert Translate(every=10).rate(80, 300) == pytest.approx(5e-4 * 0.99**9, rel=1e-15)
    assert [n for n in range(25) if Translate(every=10).due(n, 300)] == [0, 10, 20]


def test_training_ends_after_its_epochs():
    records = [{"step": n} for n in range(4)]
    assert not Translate(epochs=4).stop(records)
    assert Translate(epochs=3).stop(records)


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"epochs": 0}, "epochs: expected at least 1, got 0"),
        ({"every": 0}, "every: expected at least 1, got 0"),
        ({"decay": 0.0}, "decay: expected more than 0 and at most 1, got 0.0"),
        ({"d": 9}, "d: sinusoidal positions need an even number, got 9"),
    ],
)
def test_impossible_settings_are_refused(settings, problem):
    with pytest.raises(ValueError, match=problem):
        Translate(**settings)


# --- FLOPs ----------------------------------------------------------------------------------------
@pytest.mark.parametrize(("d", "layers"), [(8, 1), (16, 4)])
def test_the_profiler_counts_the_products_of_the_formula(d, layers, words):
    task = task_of(model="decoder-only", d=d, layers=layers)
    total = 0
    for rows in task.order(0):
        with mg.debug.profile() as profile:
            task.loss(mg.tensor(rows))[0].backward()
        total += sum(row.flops for row in profile.rows.values())
    lengths = task.train.lengths.sum(axis=1) + 2
    # the formula has logits at all places, the model as well: the loss reads the last of them
    products = sum(flops.products_per_example(int(n), d, layers, 30) for n in lengths)
    softmax = sum(9 * layers * int(n) ** 2 for n in lengths)
    assert total == products
    assert task.epoch_costs() == {
        "epoch_tokens": int(lengths.sum()), "epoch_flops": products + softmax,
    }  # fmt: skip


def test_the_formula_gives_the_numbers_of_the_assignment():
    """Its log of the small data: .866 and 33.74 million FLOPs an example, of 19.55 ids in mean."""
    for d, logged in ((16, 0.866e6), (128, 33.74e6)):
        costs = [flops.flops_per_example(n, d, 4, 30) for n in (19, 20)]
        assert costs[0] < logged < costs[1] * 1.02  # the mean of squares is above that of lengths


# --- early stopping -------------------------------------------------------------------------------
def trial_of(losses, **settings):
    records = [{"step": 10 * i, "val_loss": loss} for i, loss in enumerate([9.0, *losses])]
    return TrialRecord(Path("trial-seed0"), {"seed": 0, **settings}, records, {"finished": True})


def test_a_run_ends_once_more_epochs_than_its_patience_brought_nothing():
    trial = trial_of([3.0, 2.0, 2.5, 2.1, 2.0, 1.0])
    ended = early(trial, patience=2)
    assert ended.records[-1]["step"] == 50  # the third without a lower loss
    assert (LEAST.of(ended), BEST_EPOCH.of(ended), EPOCHS.of(ended)) == (2.0, 2, 5)
    assert early(trial, patience=3) == trial
    assert LEAST.of(trial) == 1.0


# --- IsoFLOP --------------------------------------------------------------------------------------
def curves(noise=0.0, seed=0):
    """Models for which log loss is a parabola in log N whose vertex is at N² = C / 6, so that the
    best number of parameters is known: the square root of a sixth of the FLOPs."""
    rng = np.random.default_rng(seed)
    found = []
    for n in (2e4, 5e4, 1e5, 2e5, 5e5, 1e6):
        c = np.arange(1, 101) * 6 * n * 5e4
        away = np.log10(n) - np.log10(c / 6) / 2
        loss = 10 ** (away**2 - 0.1 * np.log10(c)) * np.exp(noise * rng.normal(size=100))
        found.append(isoflop.Curve(int(n), 50_000, c, loss))
    return found


def test_the_fits_find_the_optimum_of_a_known_law():
    """A polynomial of the fifth degree has this law as a case, so only rounding is left."""
    best = isoflop.optima(curves())
    assert len(best) == len(isoflop.TARGETS)
    for each in best:
        assert each.parameters == pytest.approx((each.flops / 6) ** 0.5, rel=1e-6)
        assert each.tokens == pytest.approx(each.flops / 6 / each.parameters, rel=1e-6)
    found = isoflop.answer(curves(), 1e15)
    assert found.exponent == pytest.approx(0.5, rel=1e-6)
    assert found.parameters == pytest.approx((1e15 / 6) ** 0.5, rel=1e-5)


def test_an_optimum_outside_of_all_sizes_is_none():
    assert np.isnan(isoflop.minimum(np.array([0.0, 1.0, 2.0]), np.array([3.0, 2.0, 1.5])))
    assert np.isnan(isoflop.minimum(np.array([0.0, 1.0, 2.0]), np.array([1.0, 2.0, 1.0])))
    assert isoflop.minimum(np.array([0.0, 1.0, 3.0]), np.array([1.0, 0.0, 4.0])) == pytest.approx(1)


def test_the_interval_of_a_bootstrap_widens_with_noise():
    spans = []
    for noise in (0.001, 0.02):
        by_seed = {seed: curves(noise, seed) for seed in range(4)}
        low, high = isoflop.interval([a.exponent for a in isoflop.bootstrap(by_seed, 1e15)])
        spans.append(high - low)
    assert spans[1] > 3 * spans[0] > 0


# --- the commands ---------------------------------------------------------------------------------
TABLES = {
    "translation": {"table_1", "equal", "effects", "rules", "sentence", "mistakes"},
    "decoder_only": {"table_2", "against", "optima", "budget", "rules", "sentence", "mistakes"},
}


@pytest.mark.parametrize("name", TABLES)
def test_a_command_leaves_its_tables_figures_and_claims(name, tmp_path, rng, capsys):
    data, out = write_words(tmp_path / "data", rng), tmp_path / "out"
    experiment = import_module(f"experiments.attention.{name}").EXPERIMENT
    args = ["--scale", "small", "--seeds", "3", "4", "--no-kernels"]
    args += ["--data", str(data), "--out", str(out)]
    assert main(experiment, args, description="") == 0
    results = json.loads((out / "results.json").read_text())
    text = (out / "results.md").read_text()
    assert results["tables"].keys() == TABLES[name]
    for table in TABLES[name] - {"budget"}:  # of few epochs there may be no optimum
        assert results["tables"][table], table
    assert {c["verdict"] for c in results["claims"]} == {"not run"}  # not the seed's epochs
    assert text.count("![") == len([*out.glob("*.png")]) >= 4
    assert not re.search(r"\bnan\b", text)
    left = json.loads(next(out.glob("*-seed3/translations.json")).read_text())
    assert [*left["sentence"]] == ["the", "air", "conditioning", "is", "working"]
    capsys.readouterr()


def test_without_data_the_command_says_so_before_anything_is_written(tmp_path, monkeypatch, capsys):
    monkeypatch.delenv("MINIGRAD_DATA", raising=False)
    experiment = import_module("experiments.attention.translation").EXPERIMENT
    with pytest.raises(SystemExit) as stop:
        main(experiment, ["--scale", "small", "--out", str(tmp_path / "out")], description="")
    assert stop.value.code == 2
    assert "no data: give the folder of the Pig Latin words" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
