"""The two trainings on speeches, on a corpus that is made here."""

import json
from itertools import pairwise

import numpy as np
import pytest
import toy
from speech_corpus import write_corpus

import minigrad as mg
from experiments.data.place import data_in
from experiments.speeches.task import BANDS, Classify, Predict, data, unpacked
from experiments.train import records
from experiments.train.loop import Interrupted, run
from minigrad.tensor import Tensor

SIZES = {"layers": 1, "d": 8, "heads": 2, "hidden": 12, "block": 8, "batch_size": 4}


@pytest.fixture
def speeches(tmp_path, rng):
    with data_in(write_corpus(tmp_path / "data", rng)):
        yield data(8)


def last(folder):
    return json.loads((folder / "metrics.jsonl").read_text().splitlines()[-1])


# --- the classifier -------------------------------------------------------------------------------
def test_a_trial_of_the_classifier_records_what_the_seed_tables(speeches, tmp_path):
    trial = Classify(steps=24, lr=0.01, **SIZES)
    run(trial, tmp_path / "trial")
    lines = records.read_records(tmp_path / "trial" / "metrics.jsonl")
    assert [r["step"] for r in lines] == [0, 8, 16, 24]  # 30 sentences in batches of 4: 8 an epoch
    assert lines[-1]["train_loss"] < lines[1]["train_loss"]
    record = lines[-1]
    counts = np.array([[record[f"{a}_as_{b}"] for b in ("obama", "wbush", "hbush")]
                       for a in ("obama", "wbush", "hbush")])  # fmt: skip
    assert counts.sum(axis=1).tolist() == [20, 20, 20]
    right = unpacked("right", record, 60)
    assert np.trace(counts) == right.sum() == round(60 * record["test_accuracy"])
    assert "right_2" not in record


def test_running_accuracy_is_that_of_the_batches_before_each_update(speeches):
    """By hand: with a rate of 0 nothing is learnt, so it is the accuracy of the first weights."""
    mg.random.seed(0)
    task = Classify(lr=0.0, **SIZES).task("cpu")
    task.model.eval()
    sums = np.sum([
        [float(v.item() if isinstance(v, Tensor) else v) for v in task.loss(mg.tensor(rows))[1]]
        for rows in task.order(0)
    ], axis=0)  # fmt: skip
    measured = task.measure()
    assert sums[2] == 30
    assert sums[1] / 30 == measured["learnt_accuracy"]
    assert sums[0] / 30 == pytest.approx(measured["learnt_loss"], rel=1e-5)


# --- the language model ---------------------------------------------------------------------------
def test_every_window_comes_once_in_a_pass(speeches):
    task = Predict(every=3, **SIZES).task("cpu")
    assert task.size == 91 - 8
    seen = np.concatenate([rows for epoch in range(7) for rows in task.order(epoch)])
    assert sorted(seen.tolist()) == list(range(83))  # 21 batches of 4, the last of 3
    later = np.concatenate([rows for epoch in range(7, 14) for rows in task.order(epoch)])
    assert sorted(later.tolist()) == list(range(83))
    assert not np.array_equal(seen, later)


def by_hand(model, text, starts, length, places=None):
    """Losses (n, length) of windows, one window at a time."""
    losses = []
    for start in starts:
        window = mg.tensor(text[None, start : start + length])
        logits = model(window, places and mg.tensor(places)).detach().numpy()[0]
        logits = logits.astype(np.float64)
        logp = logits - np.log(np.exp(logits).sum(axis=-1, keepdims=True))
        targets = text[start + 1 : start + length + 1]
        losses.append(-logp[np.arange(length), targets])
    return np.array(losses)


@pytest.mark.parametrize("positions", ["learned", "alibi", "none"])
def test_measured_losses_are_those_of_windows_one_by_one(speeches, positions):
    lengths = (8, 16)
    task = Predict(positions=positions, lengths=lengths, **SIZES).task("cpu")
    task.model.eval()
    record, text = task.measure(), speeches.tests["Obama"]
    losses = by_hand(task.model, text, range(91 - 8), 8)
    close = {"rel": 1e-5}  # float32 logits of a sum of eight terms of size one
    assert record["obama_loss"] == pytest.approx(losses.mean(), **close)
    unknown = text[np.arange(83)[:, None] + np.arange(1, 9)] == 1
    assert unknown.sum() == 1  # the last word, at the last place of the last window
    assert record["obama_known"] == pytest.approx(losses[~unknown].mean(), **close)
    assert record["obama_sampled"] == pytest.approx(record["obama_loss"])  # there are but 83
    longest = max(lengths)
    kinds = [("8", None), ("16", None)]
    if positions == "learned":  # of eight places; beyond there are two ways to go on
        kinds[1:] = [("16_last", [*range(8), *[7] * 8]), ("16_again", [*range(8)] * 2)]
    for kind, places in kinds:
        length = int(kind.split("_")[0])
        starts = range(0, 91 - length, 8)
        losses = by_hand(task.model, text, starts, length, places)
        at = {
            (start + place + 1, place): losses[i, place]
            for i, start in enumerate(starts)
            for place in range(length)
        }
        inside = {k: v for k, v in at.items() if longest < k[0] < 91 - longest}
        for low, high in pairwise(BANDS):
            band = {k: v for k, v in inside.items() if low <= k[1] < high}
            name = f"obama_{kind}_{low}_{high}"
            assert (name in record) == (high <= length)
            if name in record:
                assert {token for token, _ in band} == set(range(longest + 1, 91 - longest))
                assert record[name] == pytest.approx(np.mean([*band.values()]), **close)


@pytest.mark.parametrize(
    "trial",
    [
        Classify(steps=16, dropout=0.2, batch_norm=True, **SIZES),
        Predict(steps=12, every=3, positions="alibi", **SIZES),
    ],
)
def test_a_trial_that_is_interrupted_goes_on_bit_for_bit(speeches, tmp_path, trial):
    run(trial, tmp_path / "whole")
    for at in (5, 7):
        with pytest.raises(Interrupted):
            run(trial, tmp_path / "parts", watcher=toy.StopAt(at))
    run(trial, tmp_path / "parts")
    assert toy.left(tmp_path / "parts") == toy.left(tmp_path / "whole")


# --- mistakes -------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: Classify(block=0), "block: expected at least 1, got 0"),
        (lambda: Classify(dropout=1.0), r"dropout: expected a rate in \[0, 1\)"),
        (lambda: Classify(d=9), "d: 9 cannot be divided among 2 heads"),
        (lambda: Predict(every=0), "every: expected at least 1, got 0"),
        (lambda: Predict(lengths=(0,)), "lengths: expected at least 1, got 0"),
    ],
)
def test_settings_that_no_trial_has(make, text):
    with pytest.raises(ValueError, match=text):
        make()


def test_a_length_that_is_longer_than_the_text(speeches):
    trial = Predict(positions="none", lengths=(64,), **SIZES)
    with pytest.raises(ValueError, match="the text: 91 tokens are too few for windows of 128"):
        trial.task("cpu")


def test_without_a_folder_of_data_the_command_says_how_to_name_one(monkeypatch):
    monkeypatch.delenv("MINIGRAD_DATA", raising=False)
    with pytest.raises(
        ValueError, match=r"no data: give the folder of .* by --data or MINIGRAD_DATA"
    ):
        Classify().task("cpu")
