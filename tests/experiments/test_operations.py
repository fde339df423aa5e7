"""Metrics by the number of operands, and the experiment `operations`."""

import math

import numpy as np
import pytest
from by_hand import write_trial

import minigrad as mg
from experiments.data import modular
from experiments.grokking import objective, operations, task
from experiments.grokking.task import Grokking
from experiments.sweep import folder as sweep
from experiments.sweep.experiment import main
from experiments.train import records
from experiments.train.loop import run
from experiments.train.replicas import run_replicas
from minigrad import nn

MODELS = ["lstm", "gpt"]
MIXED = {"p": 5, "d": 8, "orders": (2, 3), "split_each_order": True}


def command(args):
    """`python -m experiments.grokking.operations` with these arguments."""
    return main(operations.EXPERIMENT, args, description=operations.__doc__)


# --- metrics by the number of operands ------------------------------------------------------------
def plain_metrics(model, equations):
    """Loss and accuracy by their definition, equation by equation, in float64."""
    losses, right = [], []
    for i in range(len(equations)):
        with mg.no_grad():
            logits = model(mg.tensor(equations.inputs[i : i + 1])).numpy()[0].astype(np.float64)
        counted = np.flatnonzero(equations.rhs[i])
        targets = equations.targets[i, counted]
        p = np.exp(logits[counted] - logits[counted].max(axis=1, keepdims=True))
        p /= p.sum(axis=1, keepdims=True)
        losses.append(-np.log(p[np.arange(len(counted)), targets]).mean())
        right.append((logits[counted].argmax(axis=1) == targets).all())
    return np.array(losses), np.array(right)


@pytest.mark.parametrize("mask", ["code", "handout"])
@pytest.mark.parametrize("kind", MODELS)
def test_metrics_by_order_are_those_of_each_equation(kind, mask):
    trial = Grokking(model=kind, mask=mask, **MIXED)
    sets = task.data_of(trial)
    mg.random.seed(0)
    model = task.model_of(trial, sets[0])
    batches = [objective.batch_of(part, share_prefixes=True) for part in sets]
    found = task.measure(model, *batches)
    for name, equations, batch in zip(("train", "val"), sets, batches, strict=True):
        assert batch.orders.tolist() == equations.order.tolist()
        losses, right = plain_metrics(model, equations)
        groups = {"": equations.order > 0, "binary_": equations.order == 2}
        groups["ternary_"] = equations.order == 3
        for head, group in groups.items():
            # logits in float32: some 100 roundings of 6e-8
            assert found[f"{head}{name}_loss"] == pytest.approx(losses[group].mean(), rel=6e-6)
            assert found[f"{head}{name}_accuracy"] == right[group].mean()
    assert found["binary_train_loss"] != found["ternary_train_loss"]
    assert list(found)[:5] == [
        "train_loss", "train_accuracy", "val_loss", "val_accuracy", "norm",
    ]  # fmt: skip


@pytest.mark.parametrize("orders", [(2,), (3,)])
def test_records_of_one_kind_of_equation_name_no_kind(orders, tmp_path):
    run(Grokking(model="gpt", p=5, d=8, orders=orders, steps=1), tmp_path)
    assert [list(r) for r in records.read_records(tmp_path / "metrics.jsonl")] == [
        ["step", "train_loss", "train_accuracy", "val_loss", "val_accuracy", "norm"]
    ] * len(records.read_records(tmp_path / "metrics.jsonl"))


def test_replicas_measure_orders_each_for_itself(tmp_path):
    """`split` leaves replicas with different numbers of binary equations."""
    trials = [Grokking(model="gpt", p=4, d=8, orders=(2, 3), steps=2, seed=s) for s in (0, 1, 2)]
    together = [tmp_path / f"together{t.seed}" for t in trials]
    counts = {int((task.data_of(t)[0].order == 2).sum()) for t in trials}
    assert len(counts) > 1
    run_replicas(trials, together)
    for trial, folder in zip(trials, together, strict=True):
        run(trial, tmp_path / f"alone{trial.seed}")
        alone = records.read_records(tmp_path / f"alone{trial.seed}" / "metrics.jsonl")
        found = records.read_records(folder / "metrics.jsonl")
        assert len(found) == len(alone) == 3
        for a, b in zip(found, alone, strict=True):
            assert a == pytest.approx(b, rel=1e-4)  # two steps of Adam in float32


def test_where_a_kind_is_missing_from_a_set_it_is_unknown():
    equations = modular.make(3, orders=(2, 3))
    train = objective.batch_of(equations.take(equations.order == 2))
    val = objective.batch_of(equations)
    trial = Grokking(model="gpt", p=3, d=8, orders=(2, 3))
    model = task.model_of(trial, equations)
    found = task.measure(model, train, val)
    assert math.isnan(found["ternary_train_loss"])
    assert math.isnan(found["ternary_train_accuracy"])
    assert found["binary_train_loss"] == pytest.approx(found["train_loss"], rel=1e-12)
    stacked = nn.stack([model, model])
    found = task.measure(stacked, *(objective.stacked([b, b]) for b in (train, val)))
    assert list(map(math.isnan, found["ternary_train_loss"])) == [True, True]
    empty = task.measure(model, val, val.take(slice(0)))
    assert math.isnan(empty["binary_val_loss"])
    assert math.isnan(empty["val_loss"])


# --- results from records written by hand ---------------------------------------------------------
def fake(folder, model, mask, seed, binary, ternary, **changes):
    """A finished trial whose validation accuracies at four steps are given; all else follows."""
    folder = folder / f"{model}-{mask}-seed{seed}"
    settings = Grokking(
        model=model, mask=mask, seed=seed, p=11, orders=(2, 3), split_each_order=True
    )
    lines = []
    for step, two, three in zip((0, 100, 200, 400), binary, ternary, strict=True):
        line = {"step": step}
        for head, accuracy in (("", (two + three) / 2), ("binary_", two), ("ternary_", three)):
            line |= {f"{head}train_loss": 1 - accuracy, f"{head}train_accuracy": 1.0}
            line |= {f"{head}val_loss": 2 - accuracy, f"{head}val_accuracy": accuracy}
        lines.append(line | {"norm": 1.0})
    write_trial(folder, settings.settings() | changes, lines)


def fake_sweep(folder):
    """Under the code's mask the GPT learns ternary sums first; the LSTM both at once."""
    for seed in (0, 42):
        for mask, late in (("code", 0.0), ("handout", 0.2)):
            more = seed / 300  # 0 or 0.14
            binary = (0.0, 0.2 + late, 0.6 + more + late, 0.92)
            fake(folder, "gpt", mask, seed, binary, (0.0, 0.6, 0.94, 1.0))
            fake(folder, "lstm", mask, seed, (0.0, 0.5, 0.8, 0.8), (0.0, 0.5, 0.8, 0.84))
    return operations.results(records.read_trials(folder))


def test_the_tables_are_those_of_the_records_by_hand(tmp_path):
    found = fake_sweep(tmp_path)
    best, mask = found.tables
    rows = {tuple(row[:3]): row[3:] for row in best.rows}
    assert len(rows) == 12
    # least losses 1 - .92 and 2 - .92; accuracy .92 at the last step, where it passes .9
    assert rows["GPT", "code", "binary"] == [
        "0.08 ± 0", "1.08 ± 0", "1.0000 ± 0.0000", "0.9200 ± 0.0000", "400 ± 0", "400 ± 0",
        "400 ± 0",
    ]  # fmt: skip
    assert rows["GPT", "code", "ternary"][-1] == "200 ± 0"
    assert rows["LSTM", "code", "ternary"][-1] == "in 0 of 2"
    # with the text's mask seed 42 has .6 + .14 + .2 = .94 at step 200, seed 0 only .8
    assert rows["GPT", "handout", "binary"][-1] == "300 ± 100"
    assert best.data["gpt-code-binary"]["A_val"] == [0.92, 0.92]
    rows = {tuple(row[:2]): row[2:] for row in mask.rows}
    # code less text: 400 - 400 and 400 - 200; between seeds 0 and 100, mean 50
    assert rows["GPT", "binary"][-1] == "+100 ± 100 (50)"
    assert rows["GPT", "ternary"][-1] == "+0 ± 0 (0)"
    assert rows["LSTM", "binary"][-1] == "not reached"
    assert mask.data["gpt-binary"][operations.FIRST] == [0, 200]


def test_the_claims_are_decided_by_the_records(tmp_path):
    more, alike, sooner, unrest, overfit, mask = fake_sweep(tmp_path).claims
    # ternary less binary, each for the steps since the one before: of seed 0
    # (100 (.6 - .2) + 100 (.94 - .6) + 200 (1 - .92)) / 400 = .225, of seed 42 .19
    assert more.ours.endswith("gpt-code-seed0: +0.225; gpt-code-seed42: +0.190")
    assert more.verdict == "agrees"
    assert "lstm-code-seed0: +0.020" in alike.ours  # 200 (.84 - .8) / 400
    assert alike.verdict == "agrees"
    assert "lstm-code-seed0: never and never" in sooner.ours
    assert "gpt-code-seed0: 400 and 200" in sooner.ours
    assert sooner.verdict == "agrees"  # by the GPT alone: of the LSTM nothing is known
    assert unrest.verdict == "undecided"  # binary curves end where they pass .9
    assert overfit.verdict == "agrees"
    assert "60 binary and 665 ternary" in mask.ours
    # the text's mask gives .2 more at 100 and at 200; seeds differ by .14 at 200 under each
    assert (
        "GPT: the code's mask changes binary A_val, averaged over the run, by -0.100 ± 0.000"
        in (mask.ours)
    )
    assert "LSTM: the code's mask changes binary A_val, averaged over the run, by +0.000" in (
        mask.ours
    )
    assert mask.verdict == "undecided"  # an effect on the GPT, none on the LSTM


def test_claims_of_the_opposite_differ(tmp_path):
    """Binary sums first, and by far; unstable ternary curves."""
    for model in MODELS:
        fake(tmp_path, model, "code", 0, (0.0, 1.0, 1.0, 1.0), (0.0, 0.95, 0.1, 0.94))
    *claims, mask = operations.results(records.read_trials(tmp_path)).claims
    assert [claim.verdict for claim in claims] == [
        "differs", "differs", "undecided", "differs", "differs",
    ]  # fmt: skip
    assert "0.0000 and 0.8400" in claims[3].ours  # (.85 + .84 - .01) / 2
    assert mask.verdict == "not run"


def test_without_a_trial_of_a_model_its_claims_were_not_run(tmp_path):
    fake(tmp_path, "gpt", "handout", 0, (0.0, 1.0, 1.0, 1.0), (0.0, 0.9, 0.9, 0.9))
    found = operations.results(records.read_trials(tmp_path))
    assert {claim.verdict for claim in found.claims} == {"not run"}
    assert len(found.tables[0].rows) == 3
    assert not found.tables[1].rows


@pytest.mark.parametrize("change", [{"p": 7}, {"steps": 400}, {"d": 32}])
def test_trials_with_other_settings_decide_no_claim(change, tmp_path):
    for mask in ("code", "handout"):
        fake(tmp_path, "gpt", mask, 0, (0.0, 0.2, 0.6, 0.9), (0.0, 0.9, 0.9, 0.9), **change)
    found = operations.results(records.read_trials(tmp_path))
    assert {claim.verdict for claim in found.claims} == {"not run"}
    assert len(found.tables[0].rows) == 6


# --- the command ----------------------------------------------------------------------------------
def test_the_whole_pipeline(tmp_path):
    out = tmp_path / "run"
    args = ["--scale", "small", "--steps", "2", "--p", "3", "--seeds", "0", "--workers", "1"]
    args += ["--model", "gpt"]
    assert command([*args, "--device", "cpu", "--out", str(out)]) == 0
    figures = {path.stem for path in out.glob("*.png")}
    assert figures == {
        "overall_code", "overall_handout", "masks", "orders_gpt_code", "orders_gpt_handout",
    }  # fmt: skip
    assert {path.stem for path in out.glob("*.pdf")} == figures
    text = (out / "results.md").read_text()
    assert "SMALL SCALE" in text
    assert text.count("| GPT | code |") == 3
    folders = {path.parent.name for path in out.glob("*/metrics.jsonl")}
    assert folders == {"gpt-code-seed0", "gpt-handout-seed0"}
    line = records.read_records(out / "gpt-code-seed0" / "metrics.jsonl")[-1]
    assert {"binary_val_loss", "ternary_train_accuracy"} <= set(line)
    before = {path.name: path.read_bytes() for path in out.glob("*.*")}
    for path in out.glob("*/checkpoint.safetensors"):  # results need records alone
        path.unlink()
    sweep.report(operations.EXPERIMENT, out)
    assert {path.name: path.read_bytes() for path in out.glob("*.*")} == before


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["--p", "1"], "p: expected an integer of at least 2"),
        (["--p", "x"], "--p"),
        (["--mask", "code"], "--mask"),
        (["--model", "rnn"], "rnn"),
        (["--seeds", "0", "0"], "--seeds"),
    ],
)
def test_mistakes_are_one_line_and_status_2(args, said, tmp_path, refused):
    assert said in refused(command, [*args, "--out", tmp_path / "run"])
    assert not (tmp_path / "run").exists()
