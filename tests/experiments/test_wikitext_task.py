"""The training on WikiText-2, on a text that is made here."""

import json

import numpy as np
import pytest
import toy
from wikitext_corpus import write_wikitext

import minigrad as mg
from experiments.data import ngrams
from experiments.data.chunks import PADDING, Chunks
from experiments.data.place import data_in
from experiments.train import records
from experiments.train.loop import Interrupted, run
from experiments.wikitext import samples, tables
from experiments.wikitext.embeddings import Embeddings, write
from experiments.wikitext.task import (
    YARDSTICKS,
    LanguageModel,
    LanguageModelTask,
    Text,
    data,
    layers_of,
)

SIZES = {"d": 12, "hidden": 8, "heads": 2, "vocabulary": 30, "window": 8, "batch_size": 4}
TOKENS = {"train": 5_000, "validation": 900, "test": 600}


@pytest.fixture
def folder(tmp_path, rng):
    with data_in(write_wikitext(tmp_path / "data", rng, tokens=TOKENS)):
        yield tmp_path / "trial"


@pytest.mark.parametrize("model", ["lstm", "gpt"])
def test_a_trial_records_each_epoch_and_leaves_texts_and_yardsticks(model, folder):
    trial = LanguageModel(model=model, steps=15, lr=0.01, **SIZES)
    run(trial, folder)
    lines = records.read_records(folder / "metrics.jsonl")
    assert [r["step"] for r in lines] == [0, 5, 10, 15]  # 20 chunks, four a batch
    for name in ("train", "val", "test", "learnt"):
        assert lines[-1][f"{name}_loss"] < lines[1][f"{name}_loss"], name
    assert lines[-1]["gradient_0"] > 0
    assert "gradient_1" not in lines[-1]
    yardsticks = json.loads((folder / YARDSTICKS).read_text())
    text = data(trial)
    wanted = ngrams.yardsticks(text.train, {"val": text.val}, SIZES["vocabulary"])
    assert yardsticks == wanted["val"]
    left = json.loads((folder / samples.FILE).read_text())
    assert left["temperature"] == samples.TEMPERATURE
    assert len(left["samples"]) == len(samples.CHUNKS)
    assert all("<pad>" not in each["continued"] for each in left["samples"])


def text_of(train, val=None):
    """Chunks of ids, the targets of which are the inputs."""
    chunks = lambda ids: Chunks(np.array(ids), np.array(ids))
    return Text(chunks(train), chunks(val or train), chunks(val or train), None)


def task_of(text, **settings):
    """A task on this text; its vocabulary is the whole, with vectors that are random."""
    mg.random.seed(0)
    trial = LanguageModel(**{**SIZES, "vocabulary": 40_479, "window": 3, **settings})
    return LanguageModelTask(trial, "cpu", text)


@pytest.mark.parametrize("model", ["lstm", "gpt"])
def test_a_loss_is_the_mean_over_chunks_of_means_over_tokens(model, folder):
    """By hand: of a chunk of three tokens and one of one, the single token counts threefold."""
    text = text_of([[4, 5, 6], [7, PADDING, PADDING]])
    task = task_of(text, model=model)
    loss, (total, count) = task.loss(mg.tensor([0, 1]))
    logits = task.model(mg.tensor(text.train.inputs)).detach().numpy().astype(np.float64)
    logp = logits - np.log(np.exp(logits).sum(axis=-1, keepdims=True))
    of = [-logp[0, 0, 4], -logp[0, 1, 5], -logp[0, 2, 6], -logp[1, 0, 7]]
    # logits of a few units in float32, and sums of 40,479 exponentials
    assert loss.item() == pytest.approx((np.mean(of[:3]) + of[3]) / 2, rel=1e-5)
    assert total.item() == pytest.approx(sum(of), rel=1e-5)
    assert count.item() == 4
    record = task.measure()
    for name in ("val", "test", "learnt"):
        assert record[f"{name}_loss"] == pytest.approx(sum(of) / 4, rel=1e-5)


def test_norms_of_gradients_are_those_of_each_layer_and_leave_none_behind(folder):
    task = task_of(text_of([[4, 5, 6], [7, 8, 9]]), model="gpt", layers=2)
    with mg.no_grad():
        record = task.measure()
    assert all(p.grad is None for p in task.model.parameters())
    task.loss(mg.tensor([0, 1]))[0].backward()
    for k, weights in enumerate(layers_of(task.model)):
        assert len(weights) == 12
        norm = np.linalg.norm(np.concatenate([p.grad.numpy().ravel() for p in weights]))
        assert record[f"gradient_{k}"] == pytest.approx(norm, rel=1e-5)
    lstm = task_of(text_of([[4, 5, 6]]), layers=2).model
    assert [len(weights) for weights in layers_of(lstm)] == [4, 4]


@pytest.mark.parametrize("model", ["lstm", "gpt"])
def test_the_tables_are_those_that_were_loaded_and_stay(model, folder):
    trial = LanguageModel(model=model, steps=5, lr=0.1, **SIZES)
    task = trial.task("cpu")
    kept = data(trial).kept
    wanted = tables.load("text", 12, kept)
    np.testing.assert_array_equal(task.model.table.numpy(), wanted.tokens)
    task.loss(mg.tensor([0]))[0].backward()
    assert task.model.table.grad is None
    if model == "gpt":
        np.testing.assert_array_equal(task.model.positions.weight.numpy(), wanted.positions[:8])


def test_an_interrupted_trial_goes_on_bit_for_bit(folder, tmp_path):
    trial = LanguageModel(model="gpt", steps=10, dropout=0.1, **SIZES)
    run(trial, tmp_path / "whole")
    with pytest.raises(Interrupted):
        run(trial, folder, watcher=toy.StopAt(7))
    run(trial, folder)
    for name in ("metrics.jsonl", samples.FILE):
        assert (folder / name).read_bytes() == (tmp_path / "whole" / name).read_bytes(), name


# --- settings -------------------------------------------------------------------------------------
def test_rates_rise_and_fall():
    rates = lambda **settings: [
        LanguageModel(steps=100, lr=1.0, **settings).rate(step, 10) for step in (0, 1, 3, 50, 99)
    ]
    assert rates() == [1.0] * 5
    assert rates(warmup=4) == [0.25, 0.5, 1.0, 1.0, 1.0]
    falling = rates(schedule="cosine")
    assert falling[0] == 1.0
    assert falling == sorted(falling, reverse=True)
    assert falling[3] == pytest.approx(0.5)
    assert falling[4] < 0.001


def test_patience_ends_a_trial_that_gets_no_better():
    trial = LanguageModel(patience=2)
    losses = lambda *values: [{"val_loss": value} for value in values]
    assert not trial.stop(losses(5.0, 4.0, 3.9, 3.95))
    assert trial.stop(losses(5.0, 4.0, 3.9, 3.95, 3.92))
    assert not LanguageModel().stop(losses(5.0, 6.0, 7.0, 8.0))


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"window": 257}, "window: expected at most 256, got 257"),
        ({"vocabulary": 40_480}, "vocabulary: expected at most 40479, got 40480"),
        ({"vocabulary": 2}, "vocabulary: expected at least 3, got 2"),
        ({"warmup": -1}, "warmup: expected at least 0, got -1"),
        ({"pre_norm": True}, "pre_norm: an LSTM has no norms"),
        ({"model": "gpt", "heads": 5}, "d: 768 cannot be divided among 5 heads"),
        ({"dropout": 1.0}, r"dropout: expected a rate in \[0, 1\), got 1.0"),
    ],
)
def test_settings_that_no_trial_has(settings, text):
    with pytest.raises(ValueError, match=text):
        LanguageModel(**settings)


# --- tables that a trial names --------------------------------------------------------------------
def test_a_file_of_embeddings_is_known_by_its_digest(tmp_path, monkeypatch):
    path, other = tmp_path / "embeddings.npz", tmp_path / "other.npz"
    for file, value in ((path, 1.0), (other, 2.0)):
        write(file, Embeddings(np.full((40_479, 4), value, "f4"), np.full((256, 4), value, "f4")))
    setting = tables.named(str(path))
    assert setting.startswith("file-")
    assert len(setting) == len("file-") + tables.DIGITS
    monkeypatch.delenv("MINIGRAD_EMBEDDINGS", raising=False)
    with pytest.raises(ValueError, match=f"expected the file {setting}.*none is named"):
        tables.find(setting, 4)
    with tables.table_file(path):
        tables.find(setting, 4)
    with tables.table_file(other), pytest.raises(ValueError, match=r"other\.npz is file-"):
        tables.find(setting, 4)
    with pytest.raises(ValueError, match="nowhere: expected minilm or text, or a file of embedd"):
        tables.named(str(tmp_path / "nowhere"))


def test_without_minilm_the_text_itself_gives_the_tables(monkeypatch, tmp_path):
    monkeypatch.setenv("MINIGRAD_MINILM", str(tmp_path))
    assert tables.named("") == "minilm"
    monkeypatch.delenv("MINIGRAD_MINILM")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert tables.named("") == "text"
    with pytest.raises(ValueError, match="no MiniLM"):
        tables.find("minilm", 4)


# --- what a task refuses --------------------------------------------------------------------------
def test_a_chunk_of_padding_and_tables_of_another_shape_are_refused(folder):
    empty = text_of([[4, 5, 6], [PADDING] * 3])
    with pytest.raises(ValueError, match="train: expected a target in every chunk, got one of pad"):
        task_of(empty)
    trial = LanguageModel(**{**SIZES, "vocabulary": 30, "window": 3})
    text = text_of([[4, 5, 6]])
    for shapes in (((1, 12), (3, 12)), ((30, 8), (3, 8)), ((30, 12), (2, 12))):
        made = Embeddings(*(np.zeros(shape, np.float32) for shape in shapes))
        with pytest.raises(ValueError, match="embeddings: expected tokens and positions"):
            LanguageModelTask(trial, "cpu", text, made)
