"""The experiment `regularization`: what is measured of the norm, on planted curves."""

import math

import numpy as np
import pytest
from by_hand import write_trial

from experiments.grokking import regularization
from experiments.grokking.norm import REACH, medians, norm_of
from experiments.grokking.task import Grokking
from experiments.sweep import folder as sweep
from experiments.sweep.experiment import main
from experiments.train import records

DECAY = (1 - 1e-3) ** 100  # what weight decay 1 leaves of the norm between two evaluations


def command(args):
    """`python -m experiments.grokking.regularization` with these arguments."""
    return main(regularization.EXPERIMENT, args, description=regularization.__doc__)


def fake(folder, model="lstm", decay=1.0, seed=0, *, norm, val, loss=None, steps=40_001):
    """A finished trial with these values at the evaluations 0, 100, 200, ..."""
    name = f"{model}-wd{decay:g}-seed{seed}"
    loss = [0.1] * len(norm) if loss is None else loss
    settings = Grokking(model=model, weight_decay=decay, seed=seed, steps=steps)
    lines = [
        {
            "step": 100 * i,
            "train_loss": loss[i],
            "train_accuracy": 0.0 if i == 0 else 1.0,
            "val_loss": 2.0 - val[i],
            "val_accuracy": val[i],
            "norm": float(norm[i]),
        }
        for i in range(len(norm))
    ]
    return write_trial(folder / name, settings.settings(), lines, steps=steps)


def learnt_at(i, n=101):
    """A validation accuracy that is above .9 from evaluation i on."""
    return [0.1] * i + [0.95] * (n - i)


# --- statistics -----------------------------------------------------------------------------------
def test_the_running_median_leaves_spikes_out():
    values = np.linspace(2.0, 1.0, 40)
    spiky = values.copy()
    spiky[[7, 20, 21]] = 99.0
    running = medians(spiky, REACH, REACH)
    assert np.abs(running - values).max() <= 6 / 39  # moved by six places at most
    for before, after in ((5, 5), (4, 0)):  # by its definition
        for i, median in enumerate(medians(spiky, before, after)):
            assert median == np.median(spiky[max(0, i - before) : i + after + 1])


def test_the_norm_is_flat_where_it_hardly_changes_until_a_model_generalizes(tmp_path):
    """Down by 1 an evaluation from 80 to 40, then still: 5 evaluations on, the last fall is far."""
    norm = [80 - min(i, 40) for i in range(101)]
    found = norm_of(fake(tmp_path, norm=norm, val=learnt_at(30)))
    assert found.flat is None
    assert found.learnt == 3000
    assert found.greatest == 0
    # from 80 - 25 to 80 - 35 in 1,000 steps
    assert found.trend == pytest.approx(math.log(45 / 55), rel=1e-12)
    found = norm_of(fake(tmp_path, seed=1, norm=norm, val=learnt_at(60)))
    assert (found.flat, found.trend) == (4500, 0.0)
    spiky = list(norm)
    spiky[55] = spiky[56] = 70
    assert norm_of(fake(tmp_path, seed=2, norm=spiky, val=learnt_at(60))).flat == 4500
    spiky[50:62] = [70] * 12  # too long for a spike
    assert norm_of(fake(tmp_path, seed=3, norm=spiky, val=learnt_at(60))).flat is None
    assert norm_of(fake(tmp_path, seed=4, norm=spiky, val=learnt_at(90))).flat > 6200
    still = norm_of(fake(tmp_path, seed=5, norm=[40.0] * 20, val=learnt_at(5, 20)))
    assert still.flat == 0


def test_a_jump_of_the_loss_that_lasts_is_a_burst(tmp_path):
    """From 0, which is rounding in float32, and from there on as high: half of it is no spike."""
    norm, loss = np.full(101, 40.0), np.zeros(101)
    norm[60], loss[60:] = 50.0, 1e-3
    found = norm_of(fake(tmp_path, norm=norm, loss=loss, val=learnt_at(30)))
    assert (found.rises, found.bursts) == (1, 1)
    # 2 to 100 but for 60: the median before 63 and later is of the jump, so 59, 61, 62 and 63 burst
    assert found.calm == 4 / 98
    loss[60:] = 1e-6  # less than 10 times the least that counts
    assert norm_of(fake(tmp_path, seed=1, norm=norm, loss=loss, val=learnt_at(30))).bursts == 0


def test_falls_are_those_that_weight_decay_alone_cannot_make(tmp_path):
    norm = 80 * DECAY ** np.arange(20.0)
    slow = norm_of(fake(tmp_path, norm=norm * 1.0001 ** np.arange(20), val=learnt_at(5, 20)))
    assert slow.falls == 0
    fast = norm.copy()
    fast[12:] *= 0.999
    assert norm_of(fake(tmp_path, seed=1, norm=fast * 1.0001 ** np.arange(20),
                        val=learnt_at(5, 20))).falls == 1  # fmt: skip
    # with half the decay all 19 are too fast
    assert norm_of(fake(tmp_path, decay=0.5, norm=norm, val=learnt_at(5, 20))).falls == 19


def test_rises_and_the_bursts_beside_them(tmp_path):
    norm, loss = np.full(101, 40.0), np.full(101, 0.1)
    norm[[20, 40, 60]] *= 1.03  # three spikes
    norm[80] *= 1.01  # too small for one
    loss[41] = 2.0  # beside the second
    loss[90] = 2.0  # and one alone
    found = norm_of(fake(tmp_path, norm=norm, loss=loss, val=learnt_at(30)))
    assert (found.rises, found.bursts) == (3, 1)
    # evaluations 2 to 100 but for three: of 96, those beside 41 but for 40, and beside 90
    assert found.calm == (2 + 3) / 96
    # coming down from a spike is a fall of 3 %: weight decay 1 could do it, 1/4 could not
    assert found.falls == 0
    assert norm_of(fake(tmp_path, decay=0.25, norm=norm, val=learnt_at(30))).falls == 3


def test_rises_before_the_training_set_is_learnt_are_no_spikes(tmp_path):
    trial = fake(tmp_path, norm=np.linspace(40, 80, 101) ** 4, val=learnt_at(30))
    assert norm_of(trial).rises > 10
    assert norm_of(trial).greatest == 10_000
    for line in trial.records:
        line["train_accuracy"] = 0.5
    assert norm_of(trial).rises == 0


def test_a_norm_that_never_generalizes_has_no_trend(tmp_path):
    found = norm_of(fake(tmp_path, norm=[40.0] * 20, val=[0.1] * 20))
    assert found.learnt is found.trend is None


# --- results --------------------------------------------------------------------------------------
def fake_sweep(folder, models=("lstm",)):
    """More decay: learnt sooner, at evaluation 80, 60, 40; flat from 45 on, at 40 still falling.

    The GPT's norm has three spikes with bursts of the loss.
    """
    fall = np.array([80 - min(i, 40) for i in range(101)], dtype=float)
    for model in models:
        norm, loss = fall.copy(), np.full(101, 0.1)
        if model == "gpt":
            norm[[50, 70, 90]] *= 1.1
            loss[[50, 70, 90]] = 9.0
        for decay, at in ((0.25, 80), (0.5, 60), (1.0, 40)):
            val = np.array(learnt_at(at)) + decay / 100
            for seed in (0, 42):
                fake(folder, model, decay, seed, norm=norm, loss=loss, val=val.tolist())
    return regularization.results(records.read_trials(folder))


def test_the_tables_are_those_of_the_records_by_hand(tmp_path):
    best, norm = fake_sweep(tmp_path, ("lstm", "gpt")).tables
    assert best.rows[0][:7] == [
        "LSTM", "0.25", "0, 42", "0.1 ± 0", "1.05 ± 0", "1.0000 ± 0.0000", "0.9525 ± 0.0000",
    ]  # fmt: skip
    assert best.rows[0][7:] == [
        "0 ± 0", "8,000 ± 0", "100 ± 0", "8,000 ± 0", "8,000 ± 0", "7,900 ± 0",
    ]  # fmt: skip
    assert [row[:2] for row in best.rows] == [
        [model, decay] for model in ("LSTM", "GPT") for decay in ("0.25", "0.5", "1")
    ]
    rows = {tuple(row[:3]): row[3:] for row in norm.rows}
    assert len(rows) == 12
    # at 40 ± 5: log(40 / 45) = -11.8 %
    assert rows["LSTM", "1", "42"] == [
        "0", "4,000", "-11.8%", "not flat", "0", "0 (0%)", "0",
    ]  # fmt: skip
    assert rows["LSTM", "0.25", "0"][2:4] == ["+0.0%", "4,500"]
    # 3 rises of 10 %, beside each two other evaluations with a burst, of 96
    assert rows["GPT", "1", "0"][4:6] == ["3", "3 (6%)"]
    assert norm.data["gpt-wd1-seed0"]["bursts"] == 3


def test_the_claims_are_decided_by_the_records(tmp_path):
    found = fake_sweep(tmp_path, ("lstm", "gpt"))
    value, sooner, lower, _, flat, grows, falls, spikes, unstable = found.claims
    assert [c.verdict for c in (value, sooner, lower)] == ["agrees"] * 3
    assert "LSTM: L_val in 3 of 3; LSTM: A_val in 3 of 3; GPT: L_val in 3 of 3" in value.ours
    assert "LSTM: in 4 of 6 trials; GPT: in 4 of 6 trials" in flat.ours
    assert "LSTM: by then for 2,500 steps" in flat.ours  # (3,500 + 1,500) / 2
    assert flat.verdict == "undecided"
    assert grows.verdict == "differs"
    assert "LSTM: in 2 of 6 trials" in falls.ours
    assert falls.verdict == "undecided"
    assert "GPT: 18 rises, 18 of them with a burst of the training loss" in spikes.ours
    assert (spikes.verdict, unstable.verdict) == ("undecided", "undecided")  # no LSTM has any
    assert "GPT: in 6 of 6 trials" in unstable.ours


def test_without_the_lstm_its_claims_were_not_run(tmp_path):
    found = fake_sweep(tmp_path, ("gpt",))
    assert {claim.verdict for claim in found.claims} == {"not run"}


def test_shorter_trials_decide_no_claim(tmp_path):
    fake(tmp_path, norm=[40.0] * 101, val=learnt_at(60), steps=10_001)
    found = regularization.results(records.read_trials(tmp_path))
    assert {claim.verdict for claim in found.claims} == {"not run"}
    assert len(found.tables[1].rows) == 1


def test_spikes_of_the_lstm_are_no_weight_decay(tmp_path):
    norm, loss = np.full(101, 40.0), np.full(101, 0.1)
    norm[50], loss[50] = 50, 9.0
    fake(tmp_path, norm=norm, loss=loss, val=learnt_at(60))
    *_, spikes, unstable = regularization.results(records.read_trials(tmp_path)).claims
    assert (spikes.verdict, unstable.verdict) == ("differs", "agrees")
    assert "LSTM: 1 rises, 1 of them with a burst" in spikes.ours


def test_trials_that_diverged_or_are_not_finished_stand_in_no_table(tmp_path):
    for seed, change in ((0, {}), (1, {"diverged": True}), (2, {"finished": False})):
        trial = fake(tmp_path, seed=seed, norm=[40.0] * 20, val=[0.1] * 20)
        records.write_json(trial.folder / "status.json", trial.status | change)
    found = regularization.results(records.read_trials(tmp_path))
    assert [row[2] for row in found.tables[1].rows] == ["0"]


# --- the command ----------------------------------------------------------------------------------
def test_the_whole_pipeline(tmp_path):
    out = tmp_path / "run"
    args = ["--scale", "small", "--steps", "2", "--seeds", "0", "--workers", "1"]
    args += ["--weight-decays", "0.5", "1", "--device", "cpu", "--out", str(out)]
    assert command(args) == 0
    assert {path.stem for path in out.glob("*.png")} == {
        "curves_lstm",
        "curves_gpt",
        "best",
        "norm",
    }
    folders = {path.parent.name for path in out.glob("*/metrics.jsonl")}
    assert folders == {f"{m}-wd{d}-seed0" for m in ("lstm", "gpt") for d in ("0.5", "1")}
    before = {path.name: path.read_bytes() for path in out.glob("*.*") if path.is_file()}
    for path in out.glob("*/checkpoint.safetensors"):
        path.unlink()
    sweep.report(regularization.EXPERIMENT, out)
    assert {path.name: path.read_bytes() for path in out.glob("*.*") if path.is_file()} == before


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["--weight-decays", "-0.5"], "weight_decay: expected at least 0"),
        (["--weight-decays", "nan"], "weight_decay: expected at least 0"),
        (["--weight-decays", "inf"], "weight_decay: expected at least 0"),
        (["--weight-decays", "much"], "--weight-decays"),
        (["--weight-decays", "1", "1"], "--weight-decays: expected one or more different numbers"),
        (["--weight-decay", "1"], "--weight-decay"),
    ],
)
def test_mistakes_are_one_line_and_status_2(args, said, tmp_path, refused):
    assert said in refused(command, ["--out", tmp_path / "run", *args])
    assert not (tmp_path / "run").exists()
