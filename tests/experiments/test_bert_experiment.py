"""The experiment of verbal arithmetic, from the command to its tables, on files made here."""

import json
from pathlib import Path

import numpy as np
import pytest
from arithmetic_corpus import (
    SMALL,
    VOCABULARY,
    write_arithmetic,
    write_checkpoint,
    write_texts,
)

import minigrad as mg
from experiments.attention.arithmetic import Arithmetic
from experiments.attention.arithmetic_measures import (
    LABELS,
    MAJORITY,
    OWN,
    OWN_RATE,
    SEED_RATE,
    VAL,
    Kind,
    as_the_seed,
    kinds,
    with_interval,
)
from experiments.attention.bert import (
    CLAIMS,
    CONVERGED,
    EXPERIMENT,
    FINE,
    FROZE,
    NUMBERS,
    OTHER,
    Options,
    times_as_fast,
)
from experiments.attention.head import Head
from experiments.attention.pretraining import MaskedWords
from experiments.results.claims import decide
from experiments.sweep import launch
from experiments.sweep.experiment import main
from experiments.train.records import TrialRecord


@pytest.fixture
def data(tmp_path, rng):
    return write_texts(write_arithmetic(tmp_path / "data", rng), rng, 700)


def command(*args):
    return main(EXPERIMENT, [str(arg) for arg in args], description="")


# --- the command ----------------------------------------------------------------------------------
OURS = ("numbers", "no numbers", "scratch")


def test_the_command_leaves_its_tables_figures_and_claims(data, tmp_path, capsys):
    out = tmp_path / "out"
    args = ["--scale", "small", "--seeds", 3, 4, "--no-kernels", "--data", data, "--out", out]
    assert command(*args, "--starts", *OURS, "--pretrainings", 1) == 0
    results = json.loads((out / "results.json").read_text())
    text = (out / "results.md").read_text()
    assert results["tables"].keys() == {"accuracies", "gaps", "speeds", "texts"}
    # fine-tuned at two rates, frozen, and the head
    assert len(results["tables"]["accuracies"]) == len(OURS) * 4
    assert len(results["tables"]["texts"]) == 2
    assert results["tables"]["texts"]["pretraining-no-numbers-seed0"]["number_words"]["one"] == 0
    assert {c["verdict"] for c in results["claims"]} == {"not run"}  # not the seed's sizes
    assert text.count("![") == len([*out.glob("*.png")]) == 2
    assert "nan" not in text.lower()
    capsys.readouterr()


def test_without_a_choice_the_small_scale_needs_no_texts_and_no_checkpoint(data, monkeypatch):
    monkeypatch.delenv("MINIGRAD_MINILM", raising=False)
    options = Options(scale="small", data=data, seeds=(0,))
    options.check()
    assert {t.checkpoint for t in options.trials().values()} == {"scratch"}


def test_the_full_scale_has_what_the_seed_says():
    """Twenty splits of each kind; encoders of ours are pretrained twice on each text."""
    trials = Options().trials()
    first = {n: t for n, t in trials.items() if isinstance(t, MaskedWords)}
    assert sorted(first) == sorted(
        f"pretraining-{text}-seed{n}"
        for text in ("numbers", "unrelated", "no-numbers") for n in (0, 1)
    )  # fmt: skip
    assert [*trials][: len(first)] == [*first]  # each before the trials that come after it
    seed = trials["minilm-fine-tuned-3-seed0"]
    assert seed == Arithmetic(steps=42)
    assert trials["minilm-frozen-10-seed7"] == Arithmetic(7, steps=140, way="frozen")
    assert trials["numbers-fine-tuned-lr0.0005-10-seed3"].after() == "pretraining-numbers-seed1"
    others = {n: t for n, t in trials.items() if n not in first}
    assert len(others) == 20 * (5 + 4 * 7)
    assert {t.seed for t in others.values()} == {*range(20)}
    named = {n for n, t in others.items() if isinstance(t, Head)}
    assert named == {f"{s.replace(' ', '-')}-head-seed{n}" for s in LABELS for n in range(20)}


# --- mistakes -------------------------------------------------------------------------------------
def test_what_is_missing_is_told_in_one_line_before_anything_is_written(
    data, tmp_path, monkeypatch, refused
):
    for name in ("MINIGRAD_DATA", "MINIGRAD_MINILM"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("experiments.data.minilm.PACKAGE", "no_such_package")
    monkeypatch.setattr(launch, "use_kernels", lambda on: pytest.fail("kernels were compiled"))
    out = tmp_path / "out"

    def said(*args):
        return refused(lambda given: command(*given), ["--out", out, *args])

    assert "no data: give the folder of the verbal arithmetic" in said("--starts", "scratch")
    assert "no such folder" in said("--starts", "scratch", "--data", tmp_path / "nowhere")
    assert "no MiniLM: give its folder by --checkpoint" in said("--data", data)
    folder = ("--data", data, "--checkpoint", tmp_path)
    assert "config.json: no such file; expected a checkpoint of BERT" in said(*folder)
    config = {
        "model_type": "bert", "hidden_act": "gelu", "vocab_size": 30, "hidden_size": 768,
        "num_hidden_layers": 12, "num_attention_heads": 12, "intermediate_size": 3_072,
        "max_position_embeddings": 512, "type_vocab_size": 2,
    }  # fmt: skip
    (tmp_path / "config.json").write_text(json.dumps(config))
    assert "expected MiniLM, layers 6, d 384, heads 12, hidden 1536; got layers 12" in said(*folder)
    (data / "numbers" / "made.txt").unlink()
    texts = ("--starts", "numbers", "--data", data)
    assert (
        "numbers: expected one or more .txt files; python -m experiments.attention.texts"
        in said(*texts)
    )
    assert not out.exists()


@pytest.mark.parametrize(
    ("args", "text"),
    [
        (["--starts", "scratch", "scratch"], "--starts: expected different ones"),
        (["--starts", "bertweet"], "bertweet"),
        (["--epochs", "3", "3"], "--epochs: expected different ones"),
        (["--epochs", "0"], "--epochs: expected at least 1, got 0"),
        (["--pretrainings", "0"], "--pretrainings: expected at least 1, got 0"),
    ],
)
def test_options_that_make_no_sweep_are_one_line(args, text, data, tmp_path, refused):
    out = tmp_path / "out"
    assert text in refused(lambda given: command(*given), ["--data", data, "--out", out, *args])
    assert not out.exists()


def test_a_checkpoint_that_does_not_fit_is_told_before_anything_is_written(
    data, tmp_path, monkeypatch, refused
):
    pytest.importorskip("tokenizers")
    monkeypatch.setattr(Options, "check", lambda _: None)  # which expects MiniLM's sizes
    monkeypatch.setattr(Options, "arithmetic", lambda *_: {"minilm": Arithmetic(**SMALL)})
    folder, out = write_checkpoint(tmp_path / "minilm"), tmp_path / "out"
    arrays = {name: t.numpy() for name, t in mg.load(folder / "model.safetensors").items()}
    del arrays["pooler.dense.bias"]
    mg.save(arrays | {"mean": np.zeros(3, "f4")}, folder / "model.safetensors")
    args = ["--data", data, "--checkpoint", folder, "--out", out, "--no-kernels"]
    said = refused(lambda given: command(*given, "--starts", "minilm"), args)
    for problem in ("missing: pooler.dense.bias", "unexpected: mean", "2 problem(s)"):
        assert problem in said
    write_checkpoint(tmp_path / "minilm", ["null" if w == "zero" else w for w in VOCABULARY])
    said = refused(lambda given: command(*given, "--starts", "minilm"), args)
    assert "the vocabulary has no pieces for zero" in said
    assert not out.exists()


# --- tables and claims ----------------------------------------------------------------------------
def trial_of(trial, seconds=1.0, **last):
    status = {"finished": True, "step": trial.steps, "seconds": seconds}
    return TrialRecord(Path("trial"), trial.settings(), [{"step": trial.steps, **last}], status)


def with_accuracies(kind, *shares):
    """A trial of the kind for each validation accuracy, with the seeds 0, 1, ..."""
    trial = Head if kind.way == "head" else Arithmetic
    sizes = {} if kind.start == "minilm" else OWN
    settings = {"checkpoint": kind.start, "way": kind.way, "lr": kind.lr, "steps": kind.steps}
    return [
        trial_of(trial(seed, **settings, **sizes), val_accuracy=share)
        for seed, share in enumerate(shares)
    ]


def test_kinds_are_trials_that_differ_in_their_seed_only():
    trials = [
        *with_accuracies(OTHER, 0.7, 0.8), *with_accuracies(FROZE, 0.7),
        *with_accuracies(CONVERGED, 0.9), *with_accuracies(FINE, 0.9, 0.8),
        *with_accuracies(FINE._replace(steps=140), 0.9), trial_of(MaskedWords()),
    ]  # fmt: skip
    there = kinds(trials)
    assert there == [FINE, FINE._replace(steps=140), FROZE, CONVERGED, OTHER]
    assert [len(kind.of(trials)) for kind in there] == [2, 1, 1, 1, 2]
    assert (FINE.label, FINE.epochs) == ("MiniLM, fine-tuned", "3 epochs")
    assert (CONVERGED.label, CONVERGED.epochs) == ("MiniLM, head", "to convergence")
    fast = Kind("scratch", "fine-tuned", OWN_RATE, 140)
    assert (fast.label, fast.epochs) == ("untrained, fine-tuned, rate 0.0005", "10 epochs")
    assert SEED_RATE == 5e-5


def test_an_interval_is_that_of_students_t():
    """Mean 80, standard deviation 10, of four: 3.182 · 10 / 2 = 15.9."""
    trials = with_accuracies(FINE, 0.7, 0.75, 0.85, 0.9)
    std = (250 / 3) ** 0.5
    half = 3.182 * std / 2
    assert with_interval(VAL, trials) == f"80.0 [{80 - half:.1f}, {80 + half:.1f}]"
    assert with_interval(VAL, trials[:1]) == "70.0"
    assert with_interval(VAL, []) == ""


def test_claims_are_decided_by_trials_of_the_seeds_sizes_only():
    usual = [*with_accuracies(FINE, 0.9), *with_accuracies(CONVERGED, 0.9),
             *with_accuracies(NUMBERS, 0.8)]  # fmt: skip
    small = Arithmetic(checkpoint="numbers", **SMALL)
    others = [trial_of(small), trial_of(Arithmetic(batch_size=16)), trial_of(MaskedWords())]
    found = as_the_seed([*usual, *others])
    assert sorted(map(id, found)) == sorted(map(id, usual))


def verdicts(trials):
    return {claim.said: claim.verdict for claim in decide(CLAIMS, as_the_seed(trials))}


def test_a_frozen_encoder_at_the_majority_rate_has_learnt_nothing():
    """Also where all heads say "positive", which has no spread at all."""
    said = next(c.said for c in CLAIMS if "classifier has learnt" in c.said)
    majority = 143 / 192
    assert 100 * majority < MAJORITY
    assert verdicts(with_accuracies(FROZE, *[majority] * 5))[said] == "differs"
    assert verdicts(with_accuracies(FROZE, 0.2, 0.7, 0.75, 0.74))[said] == "undecided"
    assert verdicts(with_accuracies(FROZE, 0.8, 0.81, 0.82, 0.8))[said] == "agrees"
    assert verdicts([])[said] == "not run"
    decided = [c.erratum for c in CLAIMS if c.erratum]
    assert decided == ["004.10"] * 2


def test_how_often_as_fast_is_counted_in_pairs_within_a_quarter():
    def of(kind, *seconds):
        return [trial_of(Arithmetic(seed, way=kind.way), each) for seed, each in enumerate(seconds)]

    test = times_as_fast(FROZE, FINE, 4.0)
    slow = of(FINE, 8.0, 8.4, 7.6)
    assert test([*slow, *of(FROZE, 2.0, 2.1, 1.9)]).verdict == "agrees"
    assert test([*slow, *of(FROZE, 2.0, 2.1, 1.9)]).ours.startswith("4.00 times, mean of 3 pairs")
    assert test([*slow, *of(FROZE, 1.0, 1.05, 0.95)]).verdict == "differs"
    assert test([*slow, *of(FROZE, 1.0, 4.0, 2.0)]).verdict == "undecided"
    assert test(slow).verdict == "not run"
