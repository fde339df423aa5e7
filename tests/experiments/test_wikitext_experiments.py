"""The experiments on WikiText-2, from the command to their tables, on a text that is made here."""

import json
import math
import re
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
from wikitext_corpus import write_wikitext

from experiments.data.place import data_in
from experiments.report import page
from experiments.report.report import read
from experiments.sweep.experiment import main
from experiments.train import records
from experiments.train.loop import run
from experiments.train.records import TrialRecord
from experiments.wikitext import comparison, cost, depth, measures, overfitting, samples
from experiments.wikitext.errata import ERRATA
from experiments.wikitext.report import REPORT
from experiments.wikitext.seed import RUNS, TRAIN_SHARE, VAL_SHARE, corrected
from experiments.wikitext.task import YARDSTICKS, LanguageModel

TOKENS = {"train": 10_000, "validation": 600, "test": 300}
TABLES = {
    "comparison": {"best", "time", "optimizers"},
    "depth": {"repairs"},
    "overfitting": {"remedies"},
}


@pytest.fixture(scope="module")
def out(tmp_path_factory):
    """A folder with the small scale of every experiment that runs in this process, by name."""
    folder = tmp_path_factory.mktemp("wikitext")
    random = np.random.default_rng(0)
    data = write_wikitext(folder / "data", random, words=600, tokens=TOKENS)
    for name in TABLES:
        experiment = import_module(f"experiments.wikitext.{name}").EXPERIMENT
        args = ["--scale", "small", "--seeds", "3", "--steps", "2", "--no-kernels"]
        args += ["--embeddings", "text", "--data", str(data), "--out", str(folder / name)]
        assert main(experiment, args, description="") == 0
    return folder


@pytest.mark.parametrize("name", TABLES)
def test_a_command_leaves_its_tables_figures_and_claims(name, out):
    results = json.loads((out / name / "results.json").read_text())
    text = (out / name / "results.md").read_text()
    assert results["tables"].keys() == TABLES[name]
    assert all(results["tables"].values())
    assert text.count("![") == len([*(out / name).glob("*.png")]) > 0
    assert "nan" not in text.lower()
    assert "**SMALL SCALE" in text
    assert not [c for c in results["claims"] if "full scale" in c["ours"]]


def test_the_page_shows_errata_and_what_the_best_models_write(out):
    contents = read(REPORT, out)
    assert not [chapter.protocol for chapter in contents.chapters if chapter.failed]
    html = page.html(read(REPORT, out, only=["comparison"]))
    assert "The best LSTM, 0" in html
    assert re.search("The best GPT, (0|11|12)", html)
    assert "CC BY-SA" in html
    assert "002.6: All perplexities." in html
    assert samples.html([]) == "<p>No trial of the comparison has left texts.</p>"


@pytest.mark.parametrize(
    ("args", "text"),
    [
        (["--data", "{}"], "expected WikiText-2 in the byte-pair encoding of GPT-1"),
        (
            ["--data", "{}", "--embeddings", "nowhere"],
            "nowhere: expected minilm or text, or a file",
        ),
        (["--data", "{}", "--scale", "tiny"], "expected full, reduced or small|invalid choice"),
    ],
)
def test_a_mistake_in_the_command_is_one_line(args, text, tmp_path, capsys):
    args = [each.format(tmp_path) for each in args]
    with pytest.raises(SystemExit) as stop:
        main(comparison.EXPERIMENT, [*args, "--out", str(tmp_path / "out")], description="")
    assert stop.value.code == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert any(each in line for each in text.split("|")), line
    assert not (tmp_path / "out").exists()


# --- numbers of the seed --------------------------------------------------------------------------
def test_perplexities_without_the_error_of_the_seeds_program():
    """A last batch of 5 of 16 training chunks, and 14 of validation: facts B4."""
    assert pytest.approx(0.99876, abs=5e-6) == TRAIN_SHARE
    assert pytest.approx(0.99709, abs=5e-6) == VAL_SHARE
    assert corrected(144.23, VAL_SHARE) == pytest.approx(146.34, abs=0.005)
    assert corrected(2173.4, VAL_SHARE) == pytest.approx(2222.7, abs=0.05)


def test_errata_have_numbers_in_order_and_what_decides_them():
    assert [erratum.number for erratum in ERRATA] == [f"002.{i}" for i in range(1, 9)]
    modules = (comparison, cost, depth)
    tagged = {claim.erratum for module in modules for claim in module.CLAIMS}
    for erratum in ERRATA:
        assert erratum.tests or erratum.number in tagged, erratum.number
    decided = {e.number: [test([]) for test in e.tests.values()] for e in ERRATA}
    assert [f.ours for f in decided["002.6"]] == ["146.34", "1510.7"]
    assert [f.ours for f in decided["002.8"]] == ["1.1%"]


def test_the_trials_are_those_of_the_seed():
    trials = comparison.Options(seeds=(42,), more_seeds=(), embeddings="text").trials()
    assert len(trials) == 12
    for trial, wanted in zip(trials.values(), RUNS.values(), strict=True):
        assert (trial.model, trial.layers, trial.optimizer) == wanted[:3]
        assert trial.weight_decay == (0.0 if trial.optimizer == "adam" else 5e-4)
        assert (trial.steps, trial.batch_size, trial.lr, trial.window) == (5_760, 16, 1e-3, 256)
    options = comparison.Options(
        scale="reduced", seeds=(42,), more_seeds=(0,), runs=(1, 12), embeddings="text"
    )
    reduced = options.trials()
    assert [*reduced] == [
        "01-lstm1-adam-seed42", "12-gpt4-adamw-seed42", "01-lstm1-adam-seed0"
    ]  # fmt: skip
    reduced.popitem()
    for name, trial in reduced.items():
        assert trial.apart_from("d", "hidden", "vocabulary", "window") == trials[name].apart_from(
            "d", "hidden", "vocabulary", "window"
        )


# --- claims on trials by hand ---------------------------------------------------------------------
def trial_of(folder, n, val, *, train=None, learnt=None, seed=0, **settings):
    """A trial of experiment n with these validation losses after its epochs."""
    r = RUNS[n]
    trial = LanguageModel(model=r.model, layers=r.layers, optimizer=r.optimizer, seed=seed)
    lines = [
        {"step": 576 * i, "val_loss": v, "test_loss": v, "train_loss": (train or val)[i],
         "learnt_loss": (learnt or val)[i]}
        for i, v in enumerate(val)
    ]  # fmt: skip
    status = {"finished": True, "seconds": 60.0}
    return TrialRecord(folder, {**trial.settings(), **settings}, lines, status)


def verdicts(trials, claims=comparison.CLAIMS):
    return {c.said: c.verdict for c in measures.decided(claims, trials)}


def test_early_stopping_is_where_patience_ends():
    val = lambda *values: comparison.used(trial_of(Path("a"), 5, [9.0, *values]))
    assert val(5.0, 4.0, 4.1, 4.2, *[4.3] * 6) == 0.4
    assert val(5.0, 4.0, 4.1, 4.2, *[3.9] * 6) == 1.0  # it would miss the best
    assert val(*(5.0 - 0.1 * i for i in range(10))) == 1.0


def test_what_is_said_of_overfitting_is_decided_by_the_best_epoch():
    falls = [9.0, *(5.0 - 0.1 * i for i in range(10))]
    rises = [9.0, 5.4, 5.2, 5.1, 5.0, 5.0 - 1e-3, *(5.1 + 0.1 * i for i in range(5))]
    trials = [trial_of(Path("a"), 1, falls), trial_of(Path("b"), 5, rises)]
    found = verdicts(trials)
    assert found["With Adam, the GPT is best after half of the epochs"] == "agrees"
    assert found["then it overfits: validation perplexity rises"] == "agrees"
    assert found["With Adam, the LSTM is best after the last epoch"] == "agrees"
    assert found["Early stopping halves the time of the GPT"] == "differs"  # 7 of 10 epochs
    assert found["The GPT of one layer overfits: validation perplexity rises"] == "not run"
    found = verdicts([trial_of(Path("a"), 1, rises), trial_of(Path("b"), 5, falls)])
    assert found["With Adam, the GPT is best after half of the epochs"] == "differs"
    assert found["then it overfits: validation perplexity rises"] == "differs"
    assert found["With Adam, the LSTM is best after the last epoch"] == "differs"
    assert found["Early stopping halves the time of the GPT"] == "differs"


def test_a_model_that_does_not_learn_is_measured_by_n_grams(tmp_path):
    (tmp_path / YARDSTICKS).write_text(json.dumps({"unigram": 1381.0, "bigram": 348.0}))
    said = (
        "The GPT of four layers learns from the training text: it gets further than the "
        "frequencies of tokens"
    )
    stuck = trial_of(tmp_path, 12, [9.0, *[math.log(1511)] * 10])
    learns = trial_of(tmp_path, 12, [9.0, *[math.log(300)] * 10])
    assert verdicts([trial_of(tmp_path, 12, [9.0, *[math.log(1300)] * 10])])[said] == "differs"
    assert verdicts([stuck])[said] == "differs"
    assert verdicts([learns])[said] == "agrees"
    assert verdicts([stuck, learns])[said] == "undecided"
    assert verdicts([trial_of(Path("none"), 12, [9.0] * 11)])[said] == "not run"


def test_numbers_of_the_seed_are_for_trials_of_its_size():
    usual = [trial_of(Path("a"), 1, [9.0, math.log(146 + seed)], seed=seed) for seed in (0, 1)]
    small = [trial_of(Path("a"), 1, [9.0, math.log(146 + s)], seed=s, d=384) for s in (0, 1)]
    said = next(c.said for c in comparison.CLAIMS if "144.2" in c.said)
    (claim,) = [c for c in measures.decided(comparison.CLAIMS, usual) if c.said == said]
    assert claim.verdict == "agrees"
    assert claim.ours.endswith("(full scale)")
    assert verdicts(small)[said] == "not run"
    smaller = measures.decided(comparison.CLAIMS, small)
    facts = {c.said for c in comparison.CLAIMS if c.test([]).ours}
    assert {c.ours[-15:] for c in smaller if c.ours and c.said not in facts} <= {"(smaller scale)"}
    short = [trial_of(Path("a"), 1, [9.0, 5.0], steps=576)]
    assert measures.decided(comparison.CLAIMS[-1:], short)[0].ours == ""


def test_only_the_seeds_protocol_decides_its_claims():
    dropped = trial_of(Path("a"), 1, [9.0, 5.0], dropout=0.1)
    slower = trial_of(Path("b"), 1, [9.0, 5.0], lr=1e-4)
    usual = trial_of(Path("c"), 1, [9.0, 5.0])
    assert measures.as_the_seed([dropped, slower, usual]) == [usual]


def test_the_best_of_each_architecture_is_bold():
    trials = [
        trial_of(Path("a"), 1, [9.0, 5.0]), trial_of(Path("b"), 9, [9.0, 4.9]),
        trial_of(Path("c"), 5, [9.0, 5.5]),
    ]  # fmt: skip
    rows = {row[0]: row for row in comparison.table_1(trials).rows}
    assert {number for number in rows if number.startswith("**")} == {"**9**", "**5**"}
    assert rows["**9**"][2] == f"**{math.exp(4.9):.1f}**"
    assert rows["1"][-4:] == ["146.3", "144.2", "81.5", "9"]
    assert rows["1"][7] == f"{math.exp(5.0 * VAL_SHARE):.1f}"
    assert rows["3"][2] == ""


def test_optimizers_are_compared_by_means_over_both_models():
    """The seed's means, from its text."""
    trials = [trial_of(Path("a"), 1, [9.0, 5.0]), trial_of(Path("b"), 5, [9.0, 6.0])]
    rows = {row[0]: row[1:] for row in comparison.table_4(trials).rows}
    assert [row[-1] for row in rows.values()] == ["145.45", "145.80", "1,837.14", "1,167.02"]
    assert [row[-2] for row in rows.values()] == ["394.74", "394.44", "391.02", "392.36"]
    assert rows["Adam"][1].startswith(f"{(math.exp(5.0) + math.exp(6.0)) / 2:.1f} ± ")
    assert rows["SGD"][:2] == ["", ""]


def test_repairs_are_compared_with_one_layer(tmp_path):
    def trial(layers, val, seed, **settings):
        usual = {**LanguageModel(model="gpt", layers=layers, seed=seed).settings(), **settings}
        line = {"step": 0, "val_loss": val, "learnt_loss": val}
        return TrialRecord(tmp_path, usual, [line], {"finished": True})

    shallow = [trial(1, 5.0, seed) for seed in (0, 1)]
    warmed = [trial(2, 5.01 + 0.001 * seed, seed, warmup=500) for seed in (0, 1)]
    worse = [trial(2, 5.2 + 0.001 * seed, seed, clip=1.0) for seed in (0, 1)]
    found = verdicts([*shallow, *warmed, *worse], depth.CLAIMS)
    as_good = "as good as one layer within 5 %, or better"
    assert found[f"two layers, warm-up of 500 steps: {as_good}"] == "agrees"
    assert found[f"two layers, gradients clipped at 1: {as_good}"] == "differs"
    assert found[f"two layers, pre-norm: {as_good}"] == "not run"
    plain = [trial(2, 5.5 + 0.001 * seed, seed) for seed in (0, 1)]
    found = verdicts([*shallow, *plain], depth.CLAIMS)
    overfits = "worse than one because it overfits, and so fits the training text better"
    assert found[f"two layers: {overfits}"] == "differs"


def test_cost_has_the_seeds_sizes_and_runs_apart():
    options = cost.Options(scale="reduced", launcher="ray", address="auto", embeddings="text")
    assert (options.launcher, options.workers, options.address) == ("processes", 1, None)
    sizes = {(t.d, t.vocabulary, t.window) for t in options.trials().values()}
    assert sizes == {(768, 40_479, 256)}


def test_early_stopping_and_others_are_variants_of_the_two_that_overfit():
    trials = overfitting.Options(seeds=(0,), embeddings="text").trials()
    assert len(trials) == 16
    assert {t.model: t.layers for t in trials.values()} == {"gpt": 1, "lstm": 2}
    kinds = [kind.of([TrialRecord(Path(n), t.settings(), [], {}) for n, t in trials.items()])
             for kind in overfitting.KINDS.values()]  # fmt: skip
    assert [len(of) for of in kinds] == [1] * 16


# --- time and memory ------------------------------------------------------------------------------
def test_a_trial_of_cost_takes_a_few_steps_and_times_all_but_the_first(tmp_path, rng):
    data = write_wikitext(tmp_path / "data", rng, words=600, tokens=TOKENS)
    with data_in(data):
        options = cost.Options(scale="small", seeds=(0,), embeddings="text")
        assert (options.launcher, options.workers) == ("processes", 1)
        trial = options.trials()["05-gpt1-adam-seed0"]
        run(trial, tmp_path / "trial")
    record = records.read_trial(tmp_path / "trial")
    assert {*trial.shown} <= record.records[-1].keys()
    assert not (tmp_path / "trial" / YARDSTICKS).exists()
    assert [r["step"] for r in record.records] == [1, 4]
    times = records.read_records(tmp_path / "trial" / "times.jsonl")
    assert cost.seconds(record) == (times[1]["seconds"] - times[0]["seconds"]) / 3
    assert cost.megabytes(record) == times[1]["peak_bytes"] / 1e6
    results = cost.results([record])
    assert [len(table.rows) for table in results.tables] == [12, 12]


def test_predicted_memory_of_weights_and_tables_is_that_of_the_counts():
    trial = lambda n: trial_of(Path("a"), n, [9.0])
    lstm, gpt = cost.predicted(trial(1)), cost.predicted(trial(5))
    assert lstm["tables"] + lstm["weights"] == pytest.approx(34_107_392 * 4 / 1e6)
    assert gpt["tables"] + gpt["weights"] == pytest.approx(38_372_352 * 4 / 1e6)
    assert gpt["optimizer"] == 2 * gpt["weights"]
    assert cost.predicted(trial(7))["optimizer"] == 0
    assert cost.predicted(trial(8))["optimizer"] == gpt["weights"]


def test_the_moments_of_adam_do_not_explain_the_memory_of_the_seed():
    """Facts: 23 and 54 MiB beside differences of 576 and 380 MB."""
    assert cost.moments(1) == pytest.approx(23.04 * 1.048576, abs=0.05)
    assert cost.moments(5) == pytest.approx(54.08 * 1.048576, abs=0.05)
    found = [cost.moments_explain(*pair)([]) for pair in ((1, 3), (5, 7))]
    assert [f.verdict for f in found] == ["differs", "differs"]
    assert "differ by 576" in found[0].ours
