"""The linear baseline of the classifier of speeches, against scikit-learn's logistic regression."""

import os

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from speech_corpus import write_corpus

import minigrad as mg
from experiments.data.place import data_in
from experiments.data.speeches import PAD
from experiments.speeches.bag import Bag
from experiments.speeches.task import data
from experiments.train import records
from experiments.train.loop import run
from minigrad.files import load_checkpoint


def counts(ids, words):
    table = np.zeros((len(ids), words))
    for row, sentence in zip(table, ids, strict=True):
        np.add.at(row, sentence[sentence != PAD], 1.0)
    return table


def regression(source, penalty):
    """scikit-learn's C weighs the sum of the losses, our penalty is beside their mean."""
    train, words = source.train, len(source.vocabulary)
    C = 1 / (penalty * len(train))
    model = LogisticRegression(C=C, tol=1e-8, max_iter=10_000)
    return model.fit(counts(train.ids, words), train.labels)


def test_it_comes_to_rest_where_scikit_learn_does(tmp_path, rng):
    """There is one minimum, and Adam at a rate that falls to 0 stops near it."""
    trial = Bag(block=8, steps=1_000, penalty=1 / 30)
    with data_in(write_corpus(tmp_path / "data", rng)):
        source = data(8)
        run(trial, tmp_path / "trial")
        task = trial.task("cpu")
        load_checkpoint(tmp_path / "trial" / "checkpoint.safetensors", model=task.model)
        theirs = regression(source, trial.penalty)
        wanted = theirs.predict_log_proba(counts(source.test.ids, len(source.vocabulary)))
        found = mg.log_softmax(task.model(mg.tensor(source.test.ids))).detach().numpy()
    np.testing.assert_allclose(found, wanted, atol=2e-3)
    last = records.read_trial(tmp_path / "trial").records[-1]
    right = (wanted.argmax(axis=1) == source.test.labels).mean()
    assert last["test_accuracy"] == pytest.approx(right)
    assert right > 0.6  # of three speakers; each has words of its own


def test_order_and_padding_make_no_difference(tmp_path, rng):
    with data_in(write_corpus(tmp_path / "data", rng)):
        task = Bag(block=8).task("cpu")
    mg.nn.init.normal_(task.model.votes.weight)
    task.model.votes.weight.data[PAD] = 0.0
    sentence = np.array([[5, 7, 7, 2, PAD, PAD]])
    other = np.array([[PAD, 7, 2, PAD, 5, 7]])
    a, b = (task.model(mg.tensor(ids)).detach().numpy() for ids in (sentence, other))
    np.testing.assert_allclose(a, b, rtol=1e-6)


@pytest.mark.skipif(
    not os.environ.get("MINIGRAD_DATA"), reason="the real data: MINIGRAD_DATA names no folder"
)
def test_on_the_real_sentences_it_is_right_as_often_as_scikit_learn(tmp_path):
    run(Bag(), tmp_path)
    source = data(32)
    theirs = regression(source, Bag.penalty)
    predicted = theirs.predict(counts(source.test.ids, len(source.vocabulary)))
    record = records.read_trial(tmp_path).records[-1]
    # a sentence or two may lie on the border
    assert abs(record["test_accuracy"] - (predicted == source.test.labels).mean()) <= 2 / 750


def test_a_penalty_below_zero_is_refused():
    with pytest.raises(ValueError, match="penalty: expected at least 0, got -1"):
        Bag(penalty=-1)
