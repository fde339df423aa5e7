"""The page over all reports."""

import json

import pytest

from experiments.attention import gradients
from experiments.report import __main__ as reports
from experiments.sweep.experiment import main


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Records of one report, whose experiment needs no training."""
    out = tmp_path_factory.mktemp("runs")
    place = str(out / "attention" / "gradients")
    assert main(gradients.EXPERIMENT, ["--out", place], description="") == 0
    return out


def test_the_page_links_into_the_page_of_each_report(folder, capsys):
    assert reports.main(["--read", str(folder)]) == 0
    written = capsys.readouterr().out.split()
    assert written[-1] == str(folder / "index.html")
    page = (folder / "attention" / "report.html").read_text()
    index = (folder / "index.html").read_text()
    assert '<a href="attention/report.html">' in index
    for target in ("gradients", "gradients-claims", "errata"):
        assert f'href="attention/report.html#{target}"' in index
        assert f'id="{target}"' in page
    claims = json.loads((folder / "attention/gradients/results.json").read_text())["claims"]
    agreed = sum(claim["verdict"] == "agrees" for claim in claims)
    assert f'<span class="verdict agrees">{agreed} agrees</span>' in index
    assert "wikitext/report.html" not in index


STORY = [
    pytest.param(report, sentence, id=sentence.text[:40])
    for report in reports.REPORTS.values()
    for sentence in report.story
]


def test_the_story_has_twelve_sentences_and_tells_what_is_decided(folder, capsys):
    assert len(STORY) == 12
    assert reports.main(["--read", str(folder)]) == 0
    index = (folder / "index.html").read_text()
    story = index[index.index('class="story"') : index.index("<main>")]
    assert story.count("<li>") == 3  # of the one report that is there
    assert (
        'above 1. <a class="counts" href="attention/report.html#gradients-claims">'
        '<span class="verdict differs">differs</span> <span>16 weights of 1.5' in story
    )
    assert story.count('<span class="verdict not-run">not run</span>') == 2


@pytest.mark.filterwarnings("ignore:No artists with labels found")  # nothing was run
@pytest.mark.parametrize(("report", "sentence"), STORY)
def test_a_sentence_of_the_story_is_decided_by_one_claim(report, sentence):
    experiment = next(e for e in report.experiments if e.name == sentence.experiment)
    claims = [claim for claim in experiment.results([]).claims if claim.said == sentence.said]
    assert len(claims) == 1


def test_a_smaller_scale_is_shown_where_there_is_no_full_one_and_says_so(tmp_path, capsys):
    place = tmp_path / "attention-reduced" / "gradients"
    assert main(gradients.EXPERIMENT, ["--out", str(place)], description="") == 0
    sweep = json.loads((place / "sweep.json").read_text())
    (place / "sweep.json").write_text(json.dumps(sweep | {"scale": "reduced"}))
    assert reports.main(["--read", str(tmp_path)]) == 0
    index = (tmp_path / "index.html").read_text()
    assert 'href="attention-reduced/report.html#gradients"' in index
    assert "REDUCED SCALE" in index
    assert "SMALL SCALE" not in index


def test_reports_without_records_are_left_out_or_named(folder, tmp_path, capsys):
    for args, text in (
        (["--read", str(tmp_path)], "holds no folder of a report"),
        (["--read", str(folder), "--only", "speeches"], "holds no folder of a report"),
        (["--read", str(folder), "--only", "poems"], "--only: expected some of grokking, wikitext"),
    ):
        with pytest.raises(SystemExit) as stop:
            reports.main(args)
        assert stop.value.code == 2
        (line,) = capsys.readouterr().err.strip().splitlines()
        assert text in line
