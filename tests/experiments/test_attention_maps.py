"""The experiment `attention_maps`: what is read from a model, and what is said of it."""

import numpy as np
import pytest

import minigrad as mg
from experiments.data import modular
from experiments.grokking import attention, attention_maps, task
from experiments.grokking.attention import (
    attention_of,
    look,
    mean_over,
    shares,
    write_attention,
)
from experiments.grokking.task import Grokking
from experiments.sweep.experiment import main
from experiments.train import records
from experiments.train.loop import run

SMALL = {"model": "gpt", "p": 7, "d": 8, "heads": 2, "steps": 2}


def command(args):
    """`python -m experiments.grokking.attention_maps` with these arguments."""
    return main(attention_maps.EXPERIMENT, args, description=attention_maps.__doc__)


def model_and_data(**settings):
    trial = Grokking(**SMALL | settings)
    data = task.data_of(trial)
    mg.random.seed(0)
    model = task.model_of(trial, data[0])
    return model.eval(), data


# --- what is read ---------------------------------------------------------------------------------
def test_a_model_is_shown_what_its_data_hold():
    model, data = model_and_data()
    texts = [{part.text(i).removesuffix(" EOS") for i in range(len(part))} for part in data]
    sets = set()
    for a in range(7):
        equation = f"{a} + 3 = {(a + 3) % 7}"
        found = look(model, equation, data)
        assert found["tokens"] == f"BOS {equation}".split()
        holds = [f"BOS {equation}" in part for part in texts]
        assert holds == [found["set"] == "training", found["set"] == "validation"]
        sets.add(found["set"])
        ids = modular.encode(f"BOS {equation}", data[0].vocabulary)
        logits, _, attended = model(mg.tensor(ids[None]), return_hidden=True)
        weights = np.array(found["weights"])
        assert weights.shape == (2, 2, 6, 6)
        np.testing.assert_allclose(weights, attended.detach().numpy()[0], atol=5e-7)  # six decimals
        assert not np.triu(weights, 1).any()  # the future is hidden
        words = data[0].vocabulary
        assert found["predicted"].split() == [
            words[i] for i in logits.detach().numpy()[0, 4:].argmax(-1)
        ]
    assert sets == {"training", "validation"}
    assert look(model, "1 + 1 = 3", data)["set"] == "neither"


def test_the_answer_is_predicted_before_it_is_read():
    model, data = model_and_data()
    said = {look(model, f"2 + 3 = {r}", data)["predicted"].split()[0] for r in range(7)}
    assert len(said) == 1


def test_among_longer_equations_the_shorter_are_padded():
    model, data = model_and_data(orders=(2, 3), split_each_order=True)
    found = look(model, "0 + 3 = 3", data)
    assert found["tokens"] == ["BOS", "0", "+", "3", "=", "3", "EOS", "PAD"]
    assert found["set"] in ("training", "validation")
    mean = mean_over(model, data)
    assert mean["equations"] == 49
    assert mean["tokens"] == ["BOS", "a", "+", "b", "=", "r", "EOS", "PAD"]


def test_a_word_outside_the_vocabulary_is_named():
    model, data = model_and_data()
    with pytest.raises(ValueError, match="token '19' is not in the vocabulary"):
        look(model, "6 + 19 = 25", data)


def test_the_mean_is_that_of_every_equation():
    model, data = model_and_data(p=3)
    each = [
        look(model, part.text(i).removeprefix("BOS ").removesuffix(" EOS"), data)["weights"]
        for part in data
        for i in range(len(part))
    ]
    assert len(each) == 9
    mean = np.array(mean_over(model, data)["weights"])
    np.testing.assert_allclose(mean, np.mean(each, axis=0), atol=2e-6)


def test_attention_is_kept_beside_the_checkpoint(tmp_path):
    run(Grokking(**SMALL), tmp_path)
    trial = records.read_trial(tmp_path)
    assert write_attention(trial)
    found = attention_of(trial)
    assert found["step"] == 2
    assert [each["tokens"][1:4] for each in found["inputs"]] == [["0", "+", "3"]]  # of three
    (tmp_path / "checkpoint.safetensors").unlink()
    assert write_attention(trial)
    assert attention_of(trial) == found
    (tmp_path / "attention.json").unlink()
    assert not write_attention(trial)


# --- results from attention written by hand -------------------------------------------------------
def fake(folder, name, heads, accuracy=0.95):
    """A trial of one layer whose heads at "=" and at r give these parts to a and to b."""
    (folder / name).mkdir(parents=True)
    settings = Grokking(model="gpt", layers=1, heads=len(heads), d=8 * len(heads))
    records.write_json(folder / name / "settings.json", settings.settings())
    parts = ("train_loss", "train_accuracy", "val_loss", "val_accuracy")
    line = {"step": 0, **dict.fromkeys(parts, accuracy), "norm": 1.0}
    records.rewrite(folder / name / "metrics.jsonl", [line])
    weights = np.zeros((1, len(heads), 6, 6))
    weights[..., 0] = 1.0  # all else reads BOS
    for head, queries in enumerate(heads):
        for query, (a, b) in zip((4, 5), queries, strict=True):
            weights[0, head, query, [0, 1, 3]] = 1 - a - b, a, b
    maps = {"weights": weights.tolist()}
    equation = ["BOS", "6", "+", "19", "=", "25"]
    inputs = [maps | {"tokens": equation, "set": "training", "predicted": "24 EOS"}]
    mean = maps | {"tokens": ["BOS", "a", "+", "b", "=", "r"], "equations": 961}
    kept = {"step": 400, "inputs": inputs, "mean": mean}
    records.write_json(folder / name / "attention.json", kept)


EVEN = ((0.4, 0.5), (0.3, 0.6))  # of a head: a and b at "=", a and b at r
FIRST = ((0.9, 0.05), (0.6, 0.1))
NEITHER = ((0.1, 0.2), (0.2, 0.2))


def test_shares_are_those_of_the_two_numbers():
    weights = np.arange(36.0).reshape(1, 1, 6, 6)
    found = {key: value.item() for key, value in shares(weights).items()}
    assert found == {
        "= a": 25, "= b": 27, "= both": 52, "r a": 31, "r b": 33, "r both": 64,
    }  # fmt: skip


def test_the_tables_are_those_of_the_attention_by_hand(tmp_path):
    fake(tmp_path, "sanity-seed0", [EVEN, NEITHER])
    inputs, heads = attention_maps.results(records.read_trials(tmp_path)).tables
    assert inputs.rows == [
        ["sanity-seed0", "BOS 6 + 19 = 25", "from the training set", "“24 EOS”, which is wrong"]
    ]
    assert heads.rows == [
        ["sanity-seed0", "1", "1", "0.40", "0.50", "0.10", "0.30", "0.60", "0.10"],
        ["sanity-seed0", "1", "2", "0.10", "0.20", "0.70", "0.20", "0.20", "0.60"],
    ]


@pytest.mark.parametrize(
    ("heads", "verdicts"),
    [
        ([EVEN] * 4, ["agrees", "agrees", "differs"]),
        ([FIRST] * 4, ["agrees", "differs", "differs"]),
        ([EVEN, EVEN, NEITHER, FIRST], ["agrees", "agrees", "agrees"]),
        ([NEITHER] * 3 + [FIRST], ["differs", "agrees", "agrees"]),
        ([EVEN, FIRST, NEITHER, NEITHER], ["undecided", "agrees", "agrees"]),
    ],
)
def test_the_claims_are_decided_by_the_heads(heads, verdicts, tmp_path):
    fake(tmp_path, "sanity-seed0", heads)
    claims = attention_maps.results(records.read_trials(tmp_path)).claims
    assert [claim.verdict for claim in claims] == verdicts


def test_a_claim_names_every_model_with_its_numbers(tmp_path):
    fake(tmp_path, "sanity-seed0", [EVEN, NEITHER])
    fake(tmp_path, "large-seed0", [FIRST])
    most, second, _ = attention_maps.results(records.read_trials(tmp_path)).claims
    # (.9 + .3) / 2 at "=", (.9 + .4) / 2 at r
    assert "sanity-seed0: mean 0.60 at “=” and 0.65 at r, more than half at both in 1 of 2" in (
        most.ours
    )
    assert "large-seed0: at “=” a 0.90 and b 0.05 on average, b more in 0 of 1" in second.ours
    assert most.verdict == "undecided"  # 2 of 3


def test_models_that_have_not_understood_decide_nothing(tmp_path):
    fake(tmp_path, "sanity-seed0", [EVEN], accuracy=0.89)
    found = attention_maps.results(records.read_trials(tmp_path))
    assert {claim.verdict for claim in found.claims} == {"not run"}
    assert len(found.tables[1].rows) == 1
    assert len(found.drawings) == 2


# --- the command ----------------------------------------------------------------------------------
def test_the_whole_pipeline(tmp_path, monkeypatch):
    monkeypatch.setattr(attention, "EQUATIONS", ("8 + 8 = 16", "0 + 3 = 3"))
    out = tmp_path / "run"
    args = ["--scale", "small", "--steps", "2", "--workers", "1", "--device", "cpu"]
    assert command([*args, "--out", str(out)]) == 0
    figures = {path.stem for path in out.glob("*.png")}
    own = ("8_8", "0_3", "mean")
    assert figures == {
        *(f"attention_{model}-seed0_{name}" for model in ("sanity", "large") for name in own),
        "attention_mixed-seed0_0_3",
        "attention_mixed-seed0_mean",
    }
    text = (out / "results.md").read_text()
    assert "BOS 0 + 3 = 3 EOS PAD" in text
    # a row a head: two models of two layers and one of three, with four heads each
    assert len([line for line in text.splitlines() if "-seed0 | " in line]) == 5 + 4 * (2 + 2 + 3)


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["--model", "lstm"], "--model: expected gpt"),
        (["--model", "both"], "--model: expected gpt"),
        (["--equations", "6 + 19 = 25"], "--equations"),
    ],
)
def test_mistakes_are_one_line_and_status_2(args, said, tmp_path, refused):
    assert said in refused(command, [*args, "--out", tmp_path / "run"])
    assert not (tmp_path / "run").exists()
