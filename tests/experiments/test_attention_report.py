"""The report of seed 004: all of its experiments at a small scale, one page and one PDF."""

import pytest
from arithmetic_corpus import write_arithmetic
from picture_folder import write_pictures
from pig_latin_corpus import write_words

from experiments.attention import report
from experiments.attention.errata import ERRATA, IN_LOGARITHMS, IN_PARAMETERS
from experiments.attention.seed import TABLE_2
from experiments.report.command import main


def test_the_report_runs_all_experiments_and_names_every_erratum(tmp_path, rng, capsys):
    data, out = write_words(tmp_path / "data", rng), tmp_path / "out"
    write_pictures(data)
    write_arithmetic(data, rng)
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
    capsys.readouterr()


def test_experiments_that_need_no_data_run_without(tmp_path, monkeypatch, capsys):
    monkeypatch.delenv("MINIGRAD_DATA", raising=False)
    out = tmp_path / "out"
    args = ["--only", "relative_attention", "--out", str(out)]
    assert main(report.REPORT, args, description="") == 0
    with pytest.raises(SystemExit) as stop:
        main(report.REPORT, ["--out", str(tmp_path / "other")], description="")
    assert stop.value.code == 2
    assert "no data: give the folder of the Pig Latin words" in capsys.readouterr().err
    assert not (tmp_path / "other").exists()


def test_two_ways_to_the_best_size_of_table_2_differ():
    """The vertex of a parabola through three points is known: here through all six, by hand."""
    sizes = [16 * d * d + 46 * d + 30 for d in TABLE_2]
    assert min(sizes) < IN_PARAMETERS < IN_LOGARITHMS
    assert max(sizes) < IN_LOGARITHMS  # outside of what was trained
