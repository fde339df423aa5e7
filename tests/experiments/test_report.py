"""A report: its command, what it says, and page and PDF from the same records."""

from __future__ import annotations

import html
import io
import re
import sys
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from toys import EVIL, REPORT, TOY, Toy

from experiments.report import command
from experiments.report.report import Contents, read, read_chapter
from experiments.results.results import Results, Table
from experiments.sweep import folder as folders
from experiments.sweep import launch
from experiments.train.records import TrialRecord

pytest.importorskip("plotly", reason="the page needs plotly")
pytest.importorskip("jinja2", reason="the page needs jinja2")
pytest.importorskip("fpdf", reason="the PDF needs fpdf2")

from experiments.report import page, pdf

# --- the command ----------------------------------------------------------------------------------
MAIN = partial(command.main, REPORT, description="")


def run(*args: Any) -> int:
    return MAIN([str(arg) for arg in args])


def test_command_runs_everything_and_keeps_what_did_not_fail(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    args = ("--out", out, "--seeds", 0, "--model", "gpt", "--no-kernels")
    args += ("--only", "sanity", "data_size")
    assert run(*args) == 1
    said = capsys.readouterr()
    assert "data_size: No results: KeyError: 'no such setting'" in said.err
    assert {path.name for path in out.iterdir()} == {
        "sanity", "data_size", "report.html", "report.pdf"
    }  # fmt: skip
    assert (out / "sanity" / "results.json").exists()
    assert (out / "data_size" / "trials.jsonl").exists()
    with pytest.raises(SystemExit, match="2"):
        run(*args)
    assert "holds trials: go on with --resume" in capsys.readouterr().err
    before = (out / "sanity" / "gpt-seed0" / "metrics.jsonl").stat().st_mtime_ns
    assert run(*args, "--resume") == 1
    assert (out / "sanity" / "gpt-seed0" / "metrics.jsonl").stat().st_mtime_ns == before


def test_the_command_stops_with_an_interrupted_experiment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    ran: list[str] = []
    monkeypatch.setattr(launch, "run", lambda experiment, *_: ran.append(experiment.name) or 130)
    assert run("--out", tmp_path / "out") == 130
    assert ran == ["sanity"]
    assert "stopped; go on with --resume" in capsys.readouterr().err
    assert not (tmp_path / "out" / "report.html").exists()


def test_an_error_of_a_launcher_is_said_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, refused: Any
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    said = refused(MAIN, ["--launcher", "ray", "--out", tmp_path / "out"])
    assert 'pip install "minigrad[ray]"' in said
    assert not (tmp_path / "out").exists()


def test_an_error_in_training_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(*args: Any) -> int:
        raise RuntimeError("out of luck")

    monkeypatch.setattr(launch, "run", broken)
    assert run("--out", tmp_path / "out", "--only", "sanity") == 1
    assert "sanity: RuntimeError: out of luck" in capsys.readouterr().err


def test_command_reads_what_is_there(
    toy_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("--read", toy_folder, "--out", tmp_path, "--only", "sanity", "operations") == 0
    assert capsys.readouterr().out.split() == [
        str(tmp_path / "report.html"),
        str(tmp_path / "report.pdf"),
    ]
    assert "Not run." in (tmp_path / "report.html").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["--read", "/nowhere"], "holds no folder of an experiment"),
        (["--only", "nothing"], "nothing"),
        (["--steps", "0"], "--steps: expected at least 1"),
        (["--device", "tpu"], "tpu"),
        (["--seeds", "1", "1"], "different numbers"),
    ],
)
def test_mistakes_are_one_line(args: list[str], said: str, tmp_path: Path, refused: Any) -> None:
    assert said in refused(MAIN, [*args, "--out", tmp_path / "out"])
    assert not (tmp_path / "out").exists()


# --- what the report says -------------------------------------------------------------------------
def test_a_chapter_says_whether_it_was_run_and_whether_it_failed(toy_contents: Contents) -> None:
    toy, broken, absent = toy_contents.chapters
    assert [trial.folder.name for trial in toy.trials] == ["gpt-seed0", "lstm-seed0"]
    assert toy.protocol.startswith("2 of 2 trials, run to the end")
    assert not toy.failed
    assert broken.failed
    assert absent.protocol == "Not run."
    assert not absent.failed


def test_trials_of_a_sweep_that_were_not_run_are_named(toy_folder: Path, tmp_path: Path) -> None:
    """Trials that are not begun are named; a sweep without any has a chapter without results."""
    options = Toy(out=tmp_path / "sanity", seeds=(0, 1))
    folders.prepare(TOY, options, options.out)
    nothing = read_chapter(TOY, tmp_path / "sanity")
    assert "Not run: lstm-seed0, gpt-seed0, lstm-seed1, gpt-seed1" in nothing.protocol
    (tmp_path / "sanity" / "gpt-seed0").symlink_to(toy_folder / "sanity" / "gpt-seed0")
    part = read_chapter(TOY, tmp_path / "sanity")
    assert "1 of 4 trials" in part.protocol
    assert "Not run: lstm-seed0, lstm-seed1, gpt-seed1" in part.protocol
    both = page.html(Contents(REPORT, [nothing, part]))
    assert "gpt-seed1" in both


def test_small_scale_is_said_at_the_head(toy_contents: Contents) -> None:
    small = toy_contents._replace(chapters=[toy_contents.chapters[0]._replace(scale="small")])
    assert folders.SMALL_SCALE in page.html(small)
    assert folders.SMALL_SCALE not in page.html(toy_contents)
    assert folders.SMALL_SCALE.split(":")[0] in " ".join(words(pdf.pages(small)))


class Text(HTMLParser):
    """All text of a page that is seen, tags, and whatever an address is in."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[str] = []
        self.tags: list[str] = []
        self.links: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.links += [value or "" for name, value in attrs if name in ("src", "href", "srcset")]
        self.seen += [value or "" for name, value in attrs if name == "alt"]

    def handle_data(self, data: str) -> None:
        if self.tags[-1:] != ["script"]:
            self.seen.append(data)


def parsed(text: str) -> Text:
    parser = Text()
    parser.feed(text)
    return parser


def pages_of(data: bytes) -> list[str]:
    """The text of each page of a PDF."""
    pypdf = pytest.importorskip("pypdf", reason="reading a PDF needs pypdf")
    return [each.extract_text() for each in pypdf.PdfReader(io.BytesIO(data)).pages]


def words(data: bytes) -> list[str]:
    return " ".join(pages_of(data)).split()


def all_texts(toy_contents: Contents) -> Iterator[str]:
    """Every text of every table, figure and claim."""
    for chapter in toy_contents.chapters:
        yield chapter.title
        yield chapter.protocol
        yield from (drawing.caption for drawing in chapter.results.drawings)
        for table in chapter.results.all_tables():
            yield from (table.title, table.note, *table.columns)
            yield from (cell for row in table.rows for cell in row)
    yield from (cell for row in toy_contents.errata().rows for cell in row)


def test_page_and_pdf_have_everything(toy_contents: Contents, toy_page: Path) -> None:
    squeezed = "".join("".join(parsed(toy_page.read_text(encoding="utf-8")).seen).split())
    printed = "".join(words(pdf.pages(toy_contents)))
    for text in all_texts(toy_contents):
        bare = "".join(text.replace("**", "").split())
        assert bare in squeezed, text
        # a PDF breaks long cells wherever it must, and hyphens it not
        assert bare in printed or all(word in printed for word in text.replace("**", "").split())
    assert toy_page.stat().st_size < 8e6


def test_contents_of_the_pdf_and_page_numbers(toy_contents: Contents) -> None:
    pages = pages_of(pdf.pages(toy_contents))
    listed = re.findall(r"^(.+?)[ .]*(\d+)$", pages[0].split("Contents")[1], re.M)
    titles = [
        "What was found",
        *(c.title for c in toy_contents.chapters),
        toy_contents.errata().title,
    ]
    assert [title for title, _ in listed][: len(titles)] == titles
    for title, number in listed[: len(titles)]:
        assert title in pages[int(number) - 1]
        assert pages[int(number) - 1].split()[-1] == number or number in pages[int(number) - 1]


def test_what_fits_on_a_page_of_the_pdf_stands_on_it(toy_contents: Contents) -> None:
    pages = pages_of(
        pdf.pages(
            toy_contents._replace(chapters=[toy_contents.chapters[0], toy_contents.chapters[2]])
        )
    )
    (on,) = [text for text in pages if "A note on steps" in text]
    assert "A line that falls" in on  # its figure
    assert "Toys learn" in on  # its second table
    assert "An absent one" in on  # the next chapter, of which there is nothing but a line


def test_wide_table_of_the_pdf_is_not_broken(toy_contents: Contents) -> None:
    """Twelve columns of means ± std: upright their letters would be too small."""
    cells = [f"{i}.1234 ± 0.0012" for i in range(12)]
    wide = Table("wide", "A wide one", [f"column {i}" for i in range(12)], [cells] * 2)
    toy = toy_contents.chapters[0]
    chapter = toy._replace(results=Results([wide, toy.results.tables[0]]))
    pages = pages_of(pdf.pages(toy_contents._replace(chapters=[chapter])))
    (on,) = [text for text in pages if "A wide one" in text]
    lines = [" ".join(line.split()) for line in on.splitlines()]
    assert all(any(cell in line for line in lines) for cell in cells)
    assert "Steps of toys" not in on


def test_the_same_records_give_the_same_files(toy_contents: Contents, toy_folder: Path) -> None:
    again = read(REPORT, toy_folder)
    assert page.html(again) == page.html(toy_contents)
    assert pdf.pages(again) == pdf.pages(toy_contents)


def test_the_page_begins_with_answers_that_are_linked_to_their_evidence(toy_page: Path) -> None:
    text = toy_page.read_text(encoding="utf-8")
    first, broken, absent = re.findall(r"<li>(.*?)</li>", text[: text.index("</ul>")])
    assert '<a href="#sanity-steps">2 toys learn &lt;script&gt;' in first
    assert re.findall(r">(\d \w+)</span>", first) == ["1 agrees", "1 undecided"]
    assert 'href="#sanity-claims"' in first
    for each in (broken, absent):
        assert '<span class="verdict not-run">not run</span>' in each
    assert text.index("</ul>") < text.index("All about toys") < text.index("<nav")


def test_nothing_is_found_before_a_trial_has_ended(toy_contents: Contents) -> None:
    toy = toy_contents.chapters[0]
    begun = [TrialRecord(t.folder, t.settings, t.records, {}) for t in toy.trials]
    rows = toy_contents._replace(chapters=[toy, toy._replace(trials=begun)]).answers().rows
    assert [row[1] for row in rows] == [f"2 toys learn {EVIL}", "not run"]
    assert rows[0][2:] == ["1", "", "1", ""]


def test_errata_are_decided_by_tests_and_by_claims_that_name_them(toy_contents: Contents) -> None:
    assert [row[2:] for row in toy_contents.errata().rows] == [
        ["Of all toys", "", "not run"],
        ["Noise decides", "it does", "undecided"],
        ["", "no experiment that decides it was run", "not run"],
    ]


def test_what_is_drawn_live_stands_on_paper_only(toy_contents: Contents) -> None:
    toy = toy_contents.chapters[0]
    (drawing,) = toy.results.drawings
    printed = replace(toy.results, drawings=[replace(drawing, live=False)])
    for results, figure in ((toy.results, '<figure class="paper"><img'), (printed, "<figure><img")):
        chapters = [toy._replace(results=results)]
        assert page.html(toy_contents._replace(chapters=chapters)).count(figure) == 1


def test_text_is_escaped(toy_contents: Contents, toy_page: Path) -> None:
    evil = toy_contents.chapters[0]._replace(title=EVIL, protocol=EVIL)
    trial = evil.trials[0]
    renamed = TrialRecord(Path(EVIL), trial.settings, trial.records, trial.status)
    text = page.html(Contents(REPORT, [evil._replace(trials=[renamed])]))
    for each in (text, toy_page.read_text(encoding="utf-8")):
        assert "<script>alert" not in each
        assert html.escape("<script>alert(1)</script>") in each
    ours = ["application/gzip"] * 2 + [""] * 5  # library, curves; page.js, and those of the GPT
    assert re.findall(r'<script(?: type="([^"]*)" id="\w+")?>', text) == ours


def test_a_cell_of_the_page_is_bold_or_may_break_before_its_spread() -> None:
    assert page.spread("1.5 ± 0.2") == "1.5 <span>± 0.2</span>"
    assert page.spread("**<1 ± 2**") == "<strong>&lt;1 <span>± 2</span></strong>"
    assert page.bold("a & **b** **c**") == "a &amp; <strong>b</strong> <strong>c</strong>"


def test_page_asks_for_nothing_outside(toy_page: Path) -> None:
    links = parsed(toy_page.read_text(encoding="utf-8")).links
    assert links
    assert all(link.startswith(("data:", "#")) for link in links)


def test_contents_lead_to_sections(toy_page: Path) -> None:
    text = toy_page.read_text(encoding="utf-8")
    targets = [link[1:] for link in parsed(text).links if link.startswith("#")]
    answers = ["sanity", "sanity-steps", "sanity-claims", "data_size", "operations"]
    contents = ["sanity", "data_size", "operations", "attention", "errata"]
    assert targets == answers + contents
    assert all(text.count(f' id="{target}"') == 1 for target in targets)
