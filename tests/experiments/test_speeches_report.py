"""The report of seed 003: its errata, and page and PDF from the command."""

import json
from pathlib import Path

import pytest
from speech_corpus import write_corpus

from experiments.report.command import main
from experiments.speeches import attention_maps, errata, report
from experiments.speeches.errata import ERRATA, is_share
from experiments.train.records import TrialRecord


def test_the_command_runs_every_experiment_and_writes_page_and_pdf(tmp_path, rng, capsys):
    data, out = write_corpus(tmp_path / "data", rng, 300), tmp_path / "out"
    args = ["--scale", "small", "--seeds", "3", "--steps", "4", "--no-kernels"]
    args += ["--data", str(data), "--out", str(out)]
    assert main(report.REPORT, args, description="") == 0
    made = [each.name for each in report.REPORT.experiments]
    assert sorted(p.name for p in out.iterdir() if p.is_dir()) == sorted(made)
    page = (out / "report.html").read_text()
    assert (out / "report.pdf").read_bytes().startswith(b"%PDF")
    for erratum in ERRATA:
        assert f"{erratum.number}: " in page
    assert "no experiment that decides it was run" not in page
    sweep = json.loads((out / "timing" / "sweep.json").read_text())
    assert len(sweep["trials"]) == 6
    capsys.readouterr()


def test_an_experiment_of_one_command_lies_where_its_report_looks(monkeypatch):
    experiment, options = attention_maps.EXPERIMENT, attention_maps.Options
    assert experiment.folder(options()) == Path("runs/speeches/attention_maps")
    small = experiment.folder(options(scale="small"))
    assert small == Path("runs/speeches-small/attention_maps")
    assert experiment.folder(options(out=Path("here"))) == Path("here")


# --- errata ---------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("percent", "of", "so"),
    [
        (33.33, 750, True),  # 250, rounded or cut off
        (85.4666, 750, True),  # 641 is 85.46666...
        (60.5333, 750, True),
        (87.1333, 750, False),  # 653.5
        (87.1333, 1500, True),
        (89.67, 750, False),  # 672 is 89.6, 673 is 89.733
        (87.8, 750, False),  # 658.5
        (87.2, 750, True),
        (100.0, 3, True),
    ],
)
def test_a_percentage_is_that_of_whole_sentences_or_not(percent, of, so):
    assert is_share(percent, of) == so


def test_a_constant_answer_after_the_first_epoch_is_seen():
    def trial(*said):
        record = {f"obama_as_{who}": n for who, n in zip(errata.SHORT, said, strict=True)}
        rest = {f"{a}_as_{b}": 0 for a in errata.SHORT[1:] for b in errata.SHORT}
        lines = [{"step": 0}, {"step": 1, "test_accuracy": 0.5, **record, **rest}]
        return TrialRecord(Path("t"), {"padding": "seen"}, lines, {"finished": True})

    constant, mixed = trial(0, 7, 0), trial(1, 6, 0)
    assert errata.one_class_at_first([constant] * 3 + [mixed]).verdict == "agrees"
    assert errata.one_class_at_first([constant] + [mixed] * 3).verdict == "differs"
    assert errata.one_class_at_first([]).verdict == "not run"
