"""The comparison of first steps: equal training on both sides, exact tests, files."""

import json
import math
import shutil
from itertools import permutations
from pathlib import Path

import numpy as np
import pytest
import reference_models
import torch

import minigrad as mg
from benchmarks import first_steps, rank_tests
from experiments.grokking.task import Grokking, data_of, model_of
from experiments.train import loop, records
from models import LSTMConfig

INF = math.inf


# --- PyTorch's side -------------------------------------------------------------------------------
def test_pytorch_trains_as_minigrad_does(tmp_path):
    """From the same weights, with two batches an epoch, until some sums are learnt.

    Gradients are clipped down to the size of Adam's eps, for their common scale would not show.
    The tolerance is that of `sides.check_agreement`: 4 d eps of each value.
    """
    trial = Grokking(p=5, d=16, r_train=0.8, batch_size=12, steps=60, lr=0.02, clip=1e-6)
    loop.run(trial, tmp_path)
    ours = records.read_records(tmp_path / "metrics.jsonl")
    data, _ = data_of(trial)
    mg.random.seed(trial.seed)
    model = first_steps.initial_model(trial, len(data.vocabulary))
    model.load({k: v.copy() for k, v in model_of(trial, data).state_dict().items()})
    theirs = list(first_steps.train(trial, model))
    assert [r["step"] for r in theirs] == [r["step"] for r in ours] == list(range(61))
    for a, b in zip(theirs, ours, strict=True):
        assert a.keys() == b.keys()
        assert a == pytest.approx(b, rel=4 * trial.d * float(np.finfo(np.float32).eps))
    assert 0 < ours[-1]["train_accuracy"] < 1


def test_the_model_is_the_reference_and_starts_as_ours():
    trial = Grokking(seed=3)
    model = first_steps.initial_model(trial, 36)
    reference = reference_models.LSTMLanguageModel(LSTMConfig(padding_id=35))
    reference.load_state_dict(model.state_dict())
    data, _ = data_of(trial)
    ids = torch.tensor(data.inputs)
    assert torch.equal(model(ids), reference(ids))
    mg.random.seed(3)
    ours = model_of(trial, data).state_dict()
    for name, theirs in reference_models.trained_state(model).items():
        theirs = theirs.numpy()
        assert theirs.shape == ours[name].shape
        assert (theirs == 0).sum() == (ours[name] == 0).sum(), name
        if "weight" in name:  # 4,608 numbers or more: each standard deviation is within 1.1 %
            assert theirs.std() == pytest.approx(ours[name].std(), rel=0.06), name
            assert not np.array_equal(theirs, ours[name])
    again = first_steps.initial_model(trial, 36).state_dict()
    assert all(torch.equal(v, again[k]) for k, v in model.state_dict().items())


# --- tests by ranks -------------------------------------------------------------------------------
def test_equal_values_share_their_ranks_and_those_beyond_the_end_are_last():
    assert rank_tests.ranks([300, INF, 100, 300, INF]).tolist() == [2.5, 4.5, 1, 2.5, 4.5]


def test_an_exchange_test_by_hand():
    # Ranks 1 2 4 | 3 5 6: differences -2 -3 -2, sum -7. Of the 8 sums of ±2 ±3 ±2, two are as far.
    assert rank_tests.exchange_test([1, 2, 4], [3, 5, INF]) == (-7, 2 / 8)
    # Ranks 1 and 2.5 | 4 and 2.5: differences -3 and 0, sum -3. All four exchanges give ±3.
    assert rank_tests.exchange_test([1, 2], [INF, 2]) == (-3, 1.0)
    sides = np.arange(12.0), np.arange(12.0) + 12
    assert rank_tests.exchange_test(*sides) == (-144, 2 / 4096)
    stacked = rank_tests.exchange_test(np.stack(sides), np.stack(sides[::-1]))
    assert stacked[0].tolist() == [-144, 144]
    with pytest.raises(ValueError, match="two sides of 1 to 16 values each, got"):
        rank_tests.exchange_test([1, 2], [1, 2, 3])


def test_a_placement_test_by_hand():
    # Of the 10 pairs of ranks 1 to 5, {1, 2} and {4, 5} are as far from 6 as 3 is.
    assert rank_tests.placement_test([1, 2], [3, 4, INF]) == (3, 2 / 10)
    assert rank_tests.placement_test([1, INF], [3, 4, 5])[1] == 1


def test_holm_by_hand():
    assert rank_tests.holm([0.03, 0.01, 0.02, 0.9]) == pytest.approx([0.06, 0.04, 0.06, 0.9])
    assert rank_tests.holm([0.4, 0.6]) == [0.8, 0.8]


def test_equal_sides_are_found_different_as_often_as_the_level_says():
    """Pairs with much in common too. Ties make it rarer; the share's deviation is .0035."""
    generator = np.random.default_rng(0)
    pairs = generator.standard_normal((4000, 1, 8)) * 3 + generator.standard_normal((4000, 2, 8))
    pairs[pairs > 3] = INF
    _, p = rank_tests.exchange_test(pairs[:, 0], pairs[:, 1])
    assert 0.03 < (p < 0.05).mean() < 0.05 + 4 * 0.0035


def test_quantiles_of_steps_beyond_the_end():
    steps = [400, INF, 100, 300, 200, INF]
    assert [rank_tests.quantile(steps, q) for q in (0.1, 0.5, 0.66, 0.67, 1)] == [
        100, 300, 400, INF, INF,
    ]  # fmt: skip
    assert all(rank_tests.quantile(list(p), 0.5) == 2 for p in permutations([1, 2, 3]))


def test_power_grows_with_the_shift_and_is_the_level_without_one():
    powers = [first_steps.power(s, 7000, 1500, 0.05, repeats=400) for s in (0, 1500, 4000)]
    assert powers[0] < 0.1 < powers[1] < 0.95 < powers[2]


# --- files and results ----------------------------------------------------------------------------
def lines(seed, last=10_001, beyond=False):
    """A made-up run: accuracies .5, .9, .99 and 1 at 1,000 s, 2,000 s ... but for the last."""
    accuracies = [0.2, 0.5, 0.9, 0.995, 1.0]
    steps = [0, *(100 * (k * 10 + seed) for k in (1, 2, 3, 4))]
    found = [
        {"step": s, "val_accuracy": a}
        for s, a in zip(steps, accuracies, strict=True)
        if not (beyond and a == 1)
    ]
    return [*found, {"step": last, "val_accuracy": 0.7}]


def write(folder, seed, side, **changes):
    settings = Grokking(seed=seed).settings() | changes.pop("settings", {})
    if side == "torch":
        head = {"version": 1, "settings": settings, "environment": {}}
        (folder / "torch").mkdir(exist_ok=True)
        records.rewrite(folder / "torch" / f"seed{seed}.jsonl", [head, *lines(seed, **changes)])
    else:
        trial = folder / "minigrad" / f"lstm-seed{seed}"
        trial.mkdir(parents=True)
        records.write_json(trial / "settings.json", {**settings, "share_prefixes": True})
        finished = changes.pop("finished", True)
        metrics = lines(seed, **changes)
        status = {"step": metrics[-1]["step"], "steps": 10_001, "finished": finished}
        status |= {"diverged": False, "seconds": 0.0}
        records.write_json(trial / "status.json", status)
        records.rewrite(trial / "metrics.jsonl", metrics)


def test_a_seed_is_written_whole_and_not_trained_again(tmp_path, monkeypatch, capsys):
    trained = []

    def train(trial, model):
        trained.append(trial)
        yield from lines(trial.seed)

    monkeypatch.setattr(first_steps, "train", train)
    command = ["train", "--seeds", "4", "7", "--folder", str(tmp_path)]
    write(tmp_path, 7, "torch")
    first_steps.main(command)
    assert trained == [Grokking(seed=4)]
    assert capsys.readouterr().out.splitlines() == [str(tmp_path / "torch" / "seed4.jsonl")]
    head = json.loads((tmp_path / "torch" / "seed4.jsonl").read_text().splitlines()[0])
    assert head["version"] == 1
    assert head["environment"]["torch"] == torch.__version__
    assert head["settings"] == trained[0].settings()
    runs = first_steps.read_torch(tmp_path / "torch")
    assert {seed: run.records for seed, run in runs.items()} == {4: lines(4), 7: lines(7)}
    first_steps.main(command)
    assert len(trained) == 1


def test_other_settings_or_fewer_steps_are_refused(tmp_path):
    write(tmp_path, 3, "torch", settings={"lr": 0.01})
    with pytest.raises(ValueError, match=r"seed3.jsonl: expected lr 0.001, got 0.01"):
        first_steps.read_torch(tmp_path / "torch")
    write(tmp_path, 3, "minigrad", last=5000)
    with pytest.raises(ValueError, match=r"settings.json: expected 10001 steps, got 5000"):
        first_steps.read_minigrad(tmp_path / "minigrad")
    write(tmp_path, 4, "minigrad", last=5000, finished=False)
    (tmp_path / "minigrad" / "lstm-seed3" / "settings.json").unlink()
    assert first_steps.read_minigrad(tmp_path / "minigrad") == {}


def test_nothing_is_tested_before_all_runs_have_ended(tmp_path):
    for seed in first_steps.SEEDS:
        write(tmp_path, seed, "minigrad", beyond=seed == 3)
        if seed != 14:
            write(tmp_path, seed, "torch")
    write(tmp_path, 99, "torch")
    command = ["compare", "--folder", str(tmp_path)]
    first_steps.main(command)
    text = (tmp_path / "results.md").read_text()
    assert "Of 12 seeds a side, 12 of minigrad and 11 of PyTorch have ended." in text
    assert "## The test" not in text
    assert "| 1 | minigrad | 4,400 | 4,600 | 4,900 | 5,200 | > 10,001 | 11 of 12 |" in text
    assert "| 1 | PyTorch | 4,300 | 4,500 | 4,800 | 5,100 | 5,300 | 11 of 11 |" in text
    write(tmp_path, 14, "torch")
    first_steps.main(command)
    assert "## The test" in (tmp_path / "results.md").read_text()
    test = json.loads((tmp_path / "results.json").read_text())["tables"]["test"]
    assert test["0.9"] == {"difference": 0, "p": 1, "adjusted": 1}
    # Of accuracy 1, seed 3 is the only pair that differs: p is 1 whichever way it stands. Ranks of
    # the 24: 1, then eleven pairs with 2.5, 4.5 ... 22.5, and 26; the runs of seed 000 between.
    assert test["1"]["p"] == 1
    assert test["1"]["difference"] == 24 - 1  # without seed 000 the last rank is 24
    assert test["seed 000"]["rank_sum"] == 24 + 25
    # As far from 27: {24, 25}, {24, 26}, {25, 26}, {1, 2.5} twice and {2.5, 2.5}.
    assert test["seed 000"]["p"] == pytest.approx(6 / 325)


def test_published_results_are_those_of_their_records(tmp_path):
    published = Path(__file__).parent.parent / "docs" / "results" / "sanity" / "first_steps"
    for side in first_steps.SIDES:
        shutil.copytree(published / side, tmp_path / side)
    first_steps.main(["compare", "--folder", str(tmp_path)])
    for file in ("results.md", "results.json"):
        assert (tmp_path / file).read_text() == (published / file).read_text(), file
