"""Verbal arithmetic: its files, and the training of a BERT on it."""

import copy
import json
import math
import os
from pathlib import Path

import numpy as np
import pytest
import toy
from arithmetic_corpus import SMALL, VOCABULARY, write_arithmetic, write_checkpoint

import minigrad as mg
from experiments.attention.arithmetic import (
    GAPS,
    PER_EPOCH,
    Arithmetic,
    in_pieces,
    shares,
    whole_words,
)
from experiments.attention.head import Head
from experiments.data import arithmetic
from experiments.data.arithmetic import CLASSES, NUMBERS
from experiments.data.minilm import checkpoint_in
from experiments.data.place import data_in
from experiments.train import loop, records
from experiments.train.loop import Interrupted, run
from minigrad.tensor import Tensor
from models import BertClassifier

SCRATCH = {"checkpoint": "scratch", **SMALL}


def real_folder():
    """The folder of the real data, if there is one."""
    try:
        return arithmetic.find(Path(os.environ.get("MINIGRAD_DATA", "no data")))
    except ValueError:
        return None


@pytest.fixture
def data(tmp_path, rng):
    folder = write_arithmetic(tmp_path / "data", rng)
    with data_in(folder):
        yield folder


# --- the files ------------------------------------------------------------------------------------
def check_whole(data):
    """All 800 expressions with their signs, each once."""
    texts = [*data.train.texts, *data.test.texts]
    assert sorted(texts) == sorted(arithmetic.every_expression())
    assert (len(data.train), len(data.test)) == (640, 160)
    for part in (data.train, data.test):
        for text, label, gap, minus in zip(
            part.texts, part.labels, part.gaps, part.minus, strict=True
        ):
            a, operator, b = text.split()
            a, b = NUMBERS.index(a), NUMBERS.index(b)
            value = a + b if operator == "plus" else a - b
            assert CLASSES[label] == ("negative" if value < 0 else "positive" if value else "zero")
            assert (gap, minus) == (abs(a - b), operator == "minus")


def test_all_expressions_are_read_with_their_signs(data):
    check_whole(arithmetic.read(data))
    check_whole(arithmetic.read(data / "verbal_arithmetic"))


@pytest.mark.skipif(real_folder() is None, reason="the real data: MINIGRAD_DATA names no folder")
def test_the_real_files_are_those_of_the_seed():
    data = arithmetic.read(real_folder())
    check_whole(data)
    assert np.bincount(data.train.labels).tolist() == [143, 19, 478]
    assert np.bincount(data.test.labels).tolist() == [47, 2, 111]


def test_a_split_has_the_same_shares_of_the_classes_and_its_seed_decides_it(data):
    sklearn = pytest.importorskip("sklearn.model_selection")
    whole = arithmetic.read(data).train
    train, val = arithmetic.split(whole, seed=42)
    assert (len(train), len(val)) == (448, 192)
    assert sorted([*train.texts, *val.texts]) == sorted(whole.texts)
    _, theirs = sklearn.train_test_split(
        whole.labels, test_size=0.3, stratify=whole.labels, random_state=42
    )
    assert np.bincount(val.labels).tolist() == np.bincount(theirs).tolist()
    assert arithmetic.split(whole, seed=42)[1].texts == val.texts
    assert arithmetic.split(whole, seed=43)[1].texts != val.texts


TRAIN = arithmetic.FILES["train"]
DAMAGES = {
    "a wrong label": (",input,label\n7,one plus two,0\n", r"line 2: 'one plus two' is 3, so its "
                      "label is 2, got '0'"),
    "a label in words": (",input,label\n7,one plus two,positive\n", "got 'positive'"),
    "another word": (",input,label\n7,one plus two,2\n8,one plus twenty,2\n",
                     "line 3: expected zero .* got 'one plus twenty'"),
    "another operator": (",input,label\n7,one times two,2\n", "got 'one times two'"),
    "upper case": (",input,label\n7,One plus two,2\n", "got 'One plus two'"),
    "an empty text": (",input,label\n7,,2\n", "line 2: expected zero .* got ''"),
    "a column less": (",input,label\n7,one plus two\n", "line 2: expected index,input,label"),
    "another head": ("input,label\none plus two,2\n", "line 1: expected ,input,label"),
    "an expression twice": (",input,label\n7,one plus two,2\n8,one plus two,2\n",
                            "line 3: 'one plus two' is in line 2, too"),
    "nothing": ("", "line 1: expected ,input,label"),
    "only the head": (",input,label\n", "no expression"),
    "another encoding": (",input,label\n7,caf\xe9 plus two,2\n".encode("latin-1"),
                         "expected UTF-8, got another byte at 18"),
}  # fmt: skip


@pytest.mark.parametrize("damage", DAMAGES)
def test_what_is_wrong_with_a_file_is_one_line_that_says_where(data, damage):
    content, text = DAMAGES[damage]
    path = data / "verbal_arithmetic" / TRAIN
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(ValueError, match=text) as error:
        arithmetic.read(data)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


def test_what_is_missing_or_in_both_files_is_named(tmp_path, data):
    with pytest.raises(ValueError, match="no such folder; expected the verbal arithmetic"):
        arithmetic.read(tmp_path / "nowhere")
    with pytest.raises(ValueError, match="expected the verbal arithmetic of CSC413"):
        arithmetic.read(tmp_path)
    place = data / "verbal_arithmetic"
    test = place / arithmetic.FILES["test"]
    test.write_text(
        ",input,label\n0," + (place / TRAIN).read_text().split("\n")[1].split(",", 1)[1]
    )
    with pytest.raises(ValueError, match="' is in both files"):
        arithmetic.read(data)
    test.unlink()
    with pytest.raises(ValueError, match=f"{test.name}: no such file; it belongs to"):
        arithmetic.read(data)


# --- settings -------------------------------------------------------------------------------------
def test_the_rate_warms_up_in_a_tenth_of_the_steps_and_falls_to_nothing():
    """As Hugging Face's linear schedule: its first update has a rate of 0."""
    trial = Arithmetic()
    rates = [trial.rate(step, PER_EPOCH) / trial.lr for step in range(42)]
    wanted = [step / 4 if step < 4 else (42 - step) / 38 for step in range(42)]
    assert rates == pytest.approx(wanted, rel=1e-12)
    assert (trial.batch_size, trial.lr, trial.weight_decay, trial.clip) == (32, 5e-5, 0.01, 1.0)


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"checkpoint": "bertweet"}, r"checkpoint: expected 'minilm' or 'numbers' or .*'scratch'"),
        ({"way": "thawed"}, "way: expected 'fine-tuned' or 'frozen' or 'head', got 'thawed'"),
        ({**SCRATCH, "heads": 5}, "d: 12 cannot be divided among 5 heads"),
        ({**SCRATCH, "dropout": 1.0}, "dropout: expected a rate"),
    ],
)
def test_settings_that_no_trial_has(settings, text):
    with pytest.raises(ValueError, match=text):
        Arithmetic(**settings)
    with pytest.raises(ValueError, match="penalty: expected at least 0"):
        Head(**SCRATCH, penalty=-1.0)


def test_pieces_are_numbered_and_padded_or_refused_by_name():
    pieces, numbers = in_pieces(["one plus two", "two minus two"], whole_words)
    assert pieces == ["[PAD]", "[CLS]", "[SEP]", "minus", "one", "plus", "two"]
    assert numbers["one plus two"] == [1, 4, 5, 6, 2, 0, 0]

    def cut(text):
        return ["[CLS]", *("[UNK]" if w == "two" else w for w in text.split()), "[SEP]"]

    with pytest.raises(ValueError, match=r"the vocabulary has no pieces for two$"):
        in_pieces(["one plus two", "two minus two"], cut)
    letters = lambda text: ["[CLS]", *text.replace(" ", ""), "[SEP]"]
    with pytest.raises(ValueError, match=r"'one plus two' has 12 word pieces .* at most 7"):
        in_pieces(["one plus two"], letters)


# --- what is measured -----------------------------------------------------------------------------
def test_shares_that_are_right_are_those_counted_by_hand():
    part = arithmetic.expressions(
        ["one plus two", "two plus one", "zero plus zero", "two minus two", "one minus two",
         "nine minus seven", "nine minus one"]
    )  # fmt: skip
    right = np.array([True, False, True, False, True, True, False])
    found = shares(part, right)
    assert found["accuracy"] == 4 / 7
    assert (found["negative"], found["zero"], found["positive"]) == (1.0, 0.5, 0.5)
    assert found["balanced"] == 2 / 3
    assert found["plus"] == 0.5
    wanted = {(1, 1): 1.0, (2, 3): 1.0, (4, 6): math.nan, (7, 10): 0.0, (11, 19): math.nan}
    assert wanted.keys() == {*GAPS}
    for (low, high), share in wanted.items():
        assert found[f"minus_{low}_{high}"] == pytest.approx(share, nan_ok=True)
    assert math.isnan(shares(part.take(np.array([0])), right[:1])["negative"])
    assert shares(part.take(np.array([0])), right[:1])["balanced"] == 1.0


def test_the_validation_accuracy_is_the_mean_of_six_batches_as_in_the_seed(data):
    mg.random.seed(3)
    task = Arithmetic(**SCRATCH).task("cpu")
    for p in task.model.parameters():  # or it would give one answer to all
        mg.nn.init.normal_(p, 0.0, 0.5)
    task.model.eval()
    ids, labels = (each["val"].numpy() for each in (task.ids, task.labels))
    batches = [
        float((task.model(mg.tensor(i), mg.tensor(i != 0)).detach().numpy().argmax(-1) == y).mean())
        for i, y in zip(np.split(ids, 6), np.split(labels, 6), strict=True)
    ]
    assert len({*batches}) > 1
    assert task.measure()["val_accuracy"] == pytest.approx(np.mean(batches), rel=1e-12)


def test_running_accuracy_is_that_of_the_batches_before_each_update(data):
    """By hand, without dropout and with a rate of 0: it is the accuracy of the first weights."""
    mg.random.seed(0)
    task = Arithmetic(lr=0.0, dropout=0.0, **SCRATCH).task("cpu")
    sums = np.sum([
        [float(v.item() if isinstance(v, Tensor) else v) for v in task.loss(mg.tensor(rows))[1]]
        for rows in task.order(0)
    ], axis=0)  # fmt: skip
    ids = task.ids["train"]
    logits = task.model(ids, ids != 0).detach().numpy()
    assert sums[2] == 448
    assert sums[1] == (logits.argmax(-1) == task.parts["train"].labels).sum()


# --- training -------------------------------------------------------------------------------------
def test_a_small_encoder_learns_the_signs(data, tmp_path):
    sizes = {"checkpoint": "scratch", "layers": 2, "d": 64, "heads": 2, "hidden": 128}
    trial = Arithmetic(steps=14 * 15, lr=1e-3, dropout=0.0, **sizes)
    run(trial, tmp_path / "trial")
    first, *_, last = records.read_records(tmp_path / "trial" / "metrics.jsonl")
    assert last["step"] == 210
    assert last["val_accuracy"] > 0.85  # whoever says "positive" has .745
    assert last["val_balanced"] > 0.5 > 0.4 > first["val_balanced"]


@pytest.mark.parametrize(
    "trial",
    [
        Arithmetic(steps=28, **SCRATCH),
        Arithmetic(steps=28, way="frozen", **SCRATCH),
        Head(steps=400, **SCRATCH),
    ],
)
def test_a_trial_that_is_interrupted_goes_on_bit_for_bit(data, tmp_path, trial):
    run(trial, tmp_path / "whole")
    for at in (9, 21):
        with pytest.raises(Interrupted):
            run(trial, tmp_path / "parts", watcher=toy.StopAt(at))
    run(trial, tmp_path / "parts")
    assert toy.left(tmp_path / "parts") == toy.left(tmp_path / "whole")


@pytest.mark.parametrize("kind", [Arithmetic, Head])
def test_a_frozen_encoder_stays_as_it_is(data, kind):
    step = loop.step_of(kind(way="frozen", lr=0.01, **SCRATCH), "cpu")
    before = step.task.model.state_dict()
    for rows in step.task.order(0)[:3]:
        step(rows)
    after = step.task.model.state_dict()
    changed = {name for name in before if not np.array_equal(before[name], after[name])}
    assert changed == {"classifier.weight", "classifier.bias"}


def test_a_head_at_its_end_is_the_logistic_regression_of_scikit_learn(data, tmp_path):
    linear = pytest.importorskip("sklearn.linear_model")
    trial = Head(penalty=1e-2, **SCRATCH)
    run(trial, tmp_path / "trial")
    mg.random.seed(trial.seed)
    task = trial.task("cpu")
    mg.load_checkpoint(tmp_path / "trial" / records.CHECKPOINT, model=task.model)
    features = {name: f.numpy().astype(np.float64) for name, f in task.features.items()}
    labels = {name: part.labels for name, part in task.parts.items()}
    theirs = linear.LogisticRegression(C=1 / (trial.penalty * 448), tol=1e-10, max_iter=10_000)
    theirs.fit(features["train"], labels["train"])
    logits = features["train"] @ theirs.coef_.T + theirs.intercept_
    logs = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
    loss = -logs[np.arange(448), labels["train"]].mean()
    last = records.read_records(tmp_path / "trial" / "metrics.jsonl")[-1]
    # at a minimum the loss is flat: a difference of the weights counts by its square
    assert last["train_loss"] == pytest.approx(loss, abs=2e-4)
    assert last["test_accuracy"] == pytest.approx(theirs.score(features["test"], labels["test"]),
                                                  abs=1.5 / 160)  # fmt: skip


# --- a checkpoint ---------------------------------------------------------------------------------
@pytest.fixture
def minilm(tmp_path):
    """A folder like MiniLM's, whose encoder has the sizes of these tests."""
    with checkpoint_in(write_checkpoint(tmp_path / "minilm")):
        yield tmp_path / "minilm"


TABLE = "bert.embeddings.words.weight"


def test_with_the_pieces_that_occur_training_is_that_with_the_whole_table(data, minilm):
    """Six steps that clip, with dropout, in float64: weights differ by the rounding of norms.

    The rows that are cut off would only have decayed.
    """
    pytest.importorskip("tokenizers")
    trial = Arithmetic(lr=0.01, weight_decay=0.1, clip=0.5, **SMALL)
    mg.random.seed(0)
    task = trial.task("cpu")
    assert len(task.pieces) == 25
    rows = np.array([VOCABULARY.index(piece) for piece in task.pieces])
    whole = copy.copy(task)
    whole.model = BertClassifier(trial.config(len(VOCABULARY)))
    file = mg.load(minilm / "model.safetensors")
    table = file["embeddings.word_embeddings.weight"].numpy()
    whole.model.load_state_dict(task.model.state_dict() | {TABLE: table})
    whole.ids = {name: mg.tensor(rows[ids.numpy()]) for name, ids in task.ids.items()}
    losses, states = [], []
    for each in (task, whole):
        each.model.astype(np.float64)
        mg.random.seed(1)  # the same dropout
        step = loop.Step(each, loop.optimizer_of(trial, each.model), trial.clip)
        of_each = []
        for n, batch in enumerate(each.order(0)[:6]):
            step.optimizer.lr = trial.rate(n, PER_EPOCH)
            of_each.append(step(batch).item())
        losses.append(of_each)
        states.append(each.model.state_dict())
    # zeros in other places of a sum of squares change the norm by few of its roundings, of 2.2e-16;
    # a step of Adam is a ratio of gradients and changes by as much, and so does the next gradient
    np.testing.assert_allclose(*losses, rtol=1e-12)
    cut, all_rows = states[0].pop(TABLE), states[1].pop(TABLE)
    np.testing.assert_allclose(cut, all_rows[rows], rtol=1e-12, atol=1e-14)
    for name, value in states[0].items():
        np.testing.assert_allclose(value, states[1][name], rtol=1e-12, atol=1e-14)
    others = np.setdiff1d(np.arange(len(VOCABULARY)), rows)
    decay = np.prod([1 - trial.rate(n, PER_EPOCH) * trial.weight_decay for n in range(6)])
    np.testing.assert_allclose(all_rows[others], table[others] * decay, rtol=1e-14)
    assert np.abs(cut - table[rows] * decay).max() > 1e-3


def test_a_checkpoint_is_where_training_begins(data, minilm):
    pytest.importorskip("tokenizers")
    task = Arithmetic(**SMALL).task("cpu")
    file = {name: t.numpy() for name, t in mg.load(minilm / "model.safetensors").items()}
    bert = task.model.bert
    np.testing.assert_array_equal(bert.pooler.weight.detach().numpy(), file["pooler.dense.weight"])
    for row, piece in zip(bert.embeddings.words.weight.detach().numpy(), task.pieces, strict=True):
        wanted = file["embeddings.word_embeddings.weight"][VOCABULARY.index(piece)]
        np.testing.assert_array_equal(row, wanted)


def test_a_checkpoint_that_does_not_fit_is_refused_in_one_line(data, minilm):
    pytest.importorskip("tokenizers")
    (minilm / "vocab.txt").write_text("\n".join(VOCABULARY).replace("eighteen", "w10") + "\n")
    with pytest.raises(ValueError, match=r"the vocabulary has no pieces for eighteen$"):
        Arithmetic(**SMALL).task("cpu")
    config = json.loads((minilm / "config.json").read_text())
    (minilm / "config.json").write_text(json.dumps({**config, "num_hidden_layers": 2}))
    with pytest.raises(ValueError, match=r"expected MiniLM, layers 1, d 12, .*; got layers 2$"):
        Arithmetic(**SMALL).task("cpu")
