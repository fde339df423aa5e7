"""The experiments on speeches, from the command to their tables, on a corpus that is made here."""

import json
import math
from importlib import import_module
from pathlib import Path

import pytest
from speech_corpus import write_corpus

from experiments.results.claims import mean_of, one_of, paired
from experiments.results.curves import Quantity
from experiments.results.trials import Having
from experiments.speeches import measures, regularization
from experiments.speeches.accuracies import accuracies, mcnemar
from experiments.speeches.task import Classify, Predict
from experiments.sweep import launch
from experiments.sweep.experiment import main
from experiments.train.records import TrialRecord

NAMES = ("classifier", "language_model", "alibi", "regularization", "timing", "attention_maps")


@pytest.mark.parametrize("name", NAMES)
def test_a_command_leaves_its_tables_figures_and_claims(name, tmp_path, rng, capsys):
    data, out = write_corpus(tmp_path / "data", rng, 300), tmp_path / "out"
    experiment = import_module(f"experiments.speeches.{name}").EXPERIMENT
    args = ["--scale", "small", "--seeds", "3", "4", "--steps", "4", "--no-kernels"]
    args += ["--data", str(data), "--out", str(out)]
    assert main(experiment, args, description="") == 0
    results = json.loads((out / "results.json").read_text())
    text = (out / "results.md").read_text()
    tables = {
        "classifier": {"epochs", "confusion", "padding", "baseline"},
        "language_model": {"hidden256", "hidden100", "whole", "dropout"},
        "alibi": {"classifier", "language_model", "lengths", "places"},
        "regularization": {"kinds"},
        "attention_maps": {"classifier", "language_model"},
        "timing": {"classifier", "language_model"},
    }
    assert results["tables"].keys() == tables[name]
    for table in tables[name]:
        assert results["tables"][table], table
    assert {c["verdict"] for c in results["claims"]} == {"not run"}  # not the seed's sizes
    assert text.count("![") == len([*out.glob("*.png")]) >= (name != "timing")
    assert "nan" not in text.lower()
    assert "[575.3]" not in text  # of iteration 100, and here are others
    capsys.readouterr()


def test_without_data_the_command_says_so_before_anything_is_written(tmp_path, monkeypatch, capsys):
    monkeypatch.delenv("MINIGRAD_DATA", raising=False)
    experiment = import_module("experiments.speeches.classifier").EXPERIMENT
    with pytest.raises(SystemExit) as stop:
        main(experiment, ["--scale", "small", "--out", str(tmp_path / "out")], description="")
    assert stop.value.code == 2
    assert "no data: give the folder of" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_wrong_folder_is_told_before_kernels_are_compiled(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(launch, "use_kernels", lambda on: pytest.fail("kernels were compiled"))
    experiment = import_module("experiments.speeches.alibi").EXPERIMENT
    with pytest.raises(SystemExit) as stop:
        main(experiment, ["--data", str(tmp_path), "--out", str(tmp_path / "out")], description="")
    assert stop.value.code == 2
    assert f"{tmp_path}: expected the speeches of CSE256" in capsys.readouterr().err


# --- tests of claims ------------------------------------------------------------------------------
Y = Quantity("y", lambda t: t.records[-1]["y"])
A, B = Having("a", {"kind": "a"}), Having("b", {"kind": "b"})


def trial_of(settings, *lines):
    return TrialRecord(Path("trial"), settings, lines, {"finished": True})


def trials_of(**values):
    """A trial for each number, of the kind of its name and with its place as the seed."""
    return [
        trial_of({"kind": kind, "seed": seed}, {"step": 1, "y": y})
        for kind, numbers in values.items()
        for seed, y in enumerate(numbers)
    ]


@pytest.mark.parametrize(
    ("numbers", "margin", "verdict"),
    [
        # mean 0, standard error .1/√12; Student's t for 3 degrees of freedom is 3.182: ± .0919
        ((-0.05, 0.05, -0.05, 0.05), 0.1, "agrees"),
        ((-0.05, 0.05, -0.05, 0.05), 0.09, "undecided"),
        ((0.95, 1.05, 0.95, 1.05), 0.9, "differs"),
        ((0.95, 1.05, 0.95, 1.05), 1.0, "undecided"),
        ((0.0,), 1.0, "undecided"),  # one trial has no interval
        ((), 1.0, "not run"),
    ],
)
def test_something_is_nearly_zero_if_its_interval_lies_within_a_margin(numbers, margin, verdict):
    assert mean_of(Y, A).within(margin)(trials_of(a=numbers)).verdict == verdict
    both = trials_of(a=numbers, b=[0.0] * len(numbers))
    assert paired(Y, A, B).within(margin)(both).verdict == verdict


@pytest.mark.parametrize(
    ("value", "verdict"),
    # mean 2.5, standard deviation √(5/3): 3.182 · √(5/3) · √(1 + 1/4) = 4.593, and the quantile is
    # right to 0.2 %
    [(2.5 + 4.58, "agrees"), (2.5 + 4.61, "differs"), (2.5 - 4.58, "agrees"), (-2.11, "differs")],
)
def test_a_single_run_is_one_of_ours_within_the_interval_of_single_runs(value, verdict):
    trials = trials_of(a=(1.0, 2.0, 3.0, 4.0))
    assert one_of(Y, A, value)(trials).verdict == verdict
    assert one_of(Y, B, value)(trials).verdict == "not run"


@pytest.mark.parametrize(
    ("gained", "lost", "p"),
    [(0, 0, 1.0), (1, 0, 1.0), (5, 5, 1.0), (6, 0, 2 / 2**6), (1, 7, 2 * (1 + 8) / 2**8)],
)
def test_mcnemars_exact_test_is_a_sum_of_binomial_coefficients(gained, lost, p):
    assert mcnemar(gained, lost) == mcnemar(lost, gained) == p


def test_sentences_that_changed_are_counted_in_pairs_of_a_seed():
    """Of three sentences, bits 0, 1 and 2; the trial of another seed has no partner."""
    trials = [
        trial_of(
            {"padding": padding, "seed": seed},
            {"step": 1, "obama_as_obama": 2, "obama_as_hbush": 1, "right_0": right,
             "test_accuracy": accuracy, "learnt_accuracy": 1.0},
        )
        for padding, seed, right, accuracy in (
            ("seen", 0, 0b011, 0.5), ("left out", 0, 0b110, 0.75), ("left out", 1, 0b111, 1.0)
        )
    ]  # fmt: skip
    kinds = [Having(name, {"padding": name}) for name in ("seen", "left out", "unpooled")]
    table = accuracies("kinds", "Kinds", trials, kinds)
    (_, _, *first), (label, seeds, *_, difference, gained, lost, apart) = table.rows
    assert first[3:] == [""] * 4
    assert (label, seeds, gained, lost, apart) == ("left out", "2", "1.0", "1.0", "0 of 1")
    assert difference.startswith("+25")
    assert table.data["left out"]["changed"] == [(1, 1)]


def test_the_best_rate_is_counted_seed_by_seed():
    def trials(*accuracies):
        return [
            trial_of({**kind.settings, "seed": seed}, {"step": 1, "test_accuracy": accuracy})
            for seed, of_seed in enumerate(accuracies)
            for kind, accuracy in zip(regularization.BOTH, of_seed, strict=True)
        ]

    most = regularization.best_rate(trials((0.9, 0.8, 0.7, 0.6), (0.9, 0.8, 0.7, 0.6)))
    assert most.verdict == "agrees"
    assert most.ours.endswith("best: 0.2: 2, 0.3: 0, 0.4: 0, 0.5: 0")
    assert regularization.best_rate(trials((0.8, 0.9, 0.7, 0.6))).verdict == "differs"
    assert regularization.best_rate([]).verdict == "not run"


def test_claims_are_decided_by_trials_of_the_seeds_sizes_only():
    usual, padding, predict = Classify(), Classify(padding="left out"), Predict()
    others = [Classify(d=32), Classify(steps=131), Predict(lr=0.01)]
    trials = [trial_of(t.settings(), {"step": t.steps}) for t in (usual, padding, predict, *others)]
    assert measures.as_the_seed(trials) == trials[:3]
    assert math.isnan(measures.perplexity("obama_loss", "").of(trials[2]))
