"""The report of all experiments: one page and one PDF from the same records."""

from __future__ import annotations

import html
import io
import json
import math
import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import minigrad as mg
from experiments.data import modular
from experiments.grokking import errata
from experiments.grokking import report as grokking_report
from experiments.grokking.options import Options
from experiments.grokking.task import Grokking, load_model
from experiments.results.results import Claim, Drawing, Results, Table
from experiments.sweep import folder as sweep
from experiments.sweep import launch
from experiments.sweep.experiment import Experiment
from experiments.train import records
from experiments.train.records import TrialRecord

pytest.importorskip("plotly", reason="the page needs plotly")
pytest.importorskip("fpdf", reason="the PDF needs fpdf2")

from chromium import PATH, Chromium

from experiments.report import content, curves, page, pdf

EVIL = "<script>alert(1)</script> & **bold**"


# --- toy experiments ------------------------------------------------------------------------------
@dataclass(frozen=True)
class Toy(Options):
    """Two steps of two tiny models."""

    def trials(self) -> dict[str, Grokking]:
        sizes = {"p": 5, "d": 8, "layers": 2, "heads": 4, "steps": 2}
        return {
            f"{model}-seed{seed}": Grokking(model=model, seed=seed, **sizes)
            for seed in self.seeds
            for model in self.models
        }


def toy_results(trials: Sequence[TrialRecord]) -> Results:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(3, 2))
    figure.subplots().plot([0, 1], [1, 0])
    steps = [[trial.folder.name, str(trial.records[-1]["step"])] for trial in trials]
    return Results(
        tables=[Table("steps", "Steps of toys", ["trial", EVIL], steps, "A note on steps")],
        drawings=[Drawing("toy", "A line that falls, " + EVIL, figure)],
        claims=[
            Claim("000, 4.1", "Toys learn", f"{len(trials)} did", "agrees"),
            Claim("001, 4.3 (d)", "Noise decides", "it does", "undecided", erratum="001.4"),
        ],
    )


def broken_results(trials: Sequence[TrialRecord]) -> Results:
    raise KeyError("no such setting")


TOY = Experiment("sanity", "A toy <of> its own", Toy, toy_results)
BROKEN = Experiment("data_size", "A broken one", Toy, broken_results)
ABSENT = Experiment("operations", "An absent one", Toy, toy_results)


@pytest.fixture
def toys(monkeypatch: pytest.MonkeyPatch) -> None:
    """The command sees toy experiments in the place of the real ones."""
    found = {each.name: each for each in (TOY, BROKEN, ABSENT)}
    monkeypatch.setattr(grokking_report, "NAMES", tuple(found))
    monkeypatch.setattr(grokking_report, "experiment_of", found.__getitem__)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The records of the toy, run once, with a trial of an evil name, and of the broken one."""
    folder = tmp_path_factory.mktemp("report")
    for experiment in (TOY, BROKEN):
        options = Toy(out=folder / experiment.name, seeds=(0,), kernels=False)
        assert launch.run(experiment, options, options.out, "cpu") == 0  # type: ignore[arg-type]
    return folder


@pytest.fixture(scope="module")
def report(folder: Path) -> content.Report:
    return content.read_report([TOY, BROKEN, ABSENT], folder)


@pytest.fixture(scope="module")
def made(report: content.Report, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page."""
    return page.write(report, tmp_path_factory.mktemp("page") / "report.html")


# --- the command ----------------------------------------------------------------------------------
def run(*args: Any) -> int:
    return grokking_report.main([str(arg) for arg in args])


@pytest.mark.usefixtures("toys")
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


@pytest.mark.usefixtures("toys")
def test_command_stops_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    ran: list[str] = []
    monkeypatch.setattr(launch, "run", lambda experiment, *_: ran.append(experiment.name) or 130)
    assert run("--out", tmp_path / "out") == 130
    assert ran == ["sanity"]
    assert "stopped; go on with --resume" in capsys.readouterr().err
    assert not (tmp_path / "out" / "report.html").exists()


@pytest.mark.usefixtures("toys")
def test_an_error_of_a_launcher_is_said_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, refused: Any
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    said = refused(grokking_report.main, ["--launcher", "ray", "--out", tmp_path / "out"])
    assert 'pip install "minigrad[ray]"' in said
    assert not (tmp_path / "out").exists()


@pytest.mark.usefixtures("toys")
def test_an_error_in_training_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(*args: Any) -> int:
        raise RuntimeError("out of luck")

    monkeypatch.setattr(launch, "run", broken)
    assert run("--out", tmp_path / "out", "--only", "sanity") == 1
    assert "sanity: RuntimeError: out of luck" in capsys.readouterr().err


@pytest.mark.usefixtures("toys")
def test_command_reads_what_is_there(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("--read", folder, "--out", tmp_path, "--only", "sanity", "operations") == 0
    assert capsys.readouterr().out.split() == [
        str(tmp_path / "report.html"),
        str(tmp_path / "report.pdf"),
    ]
    assert "Not run." in (tmp_path / "report.html").read_text(encoding="utf-8")


@pytest.mark.usefixtures("toys")
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
    assert said in refused(grokking_report.main, [*args, "--out", tmp_path / "out"])
    assert not (tmp_path / "out").exists()


# --- what the report says -------------------------------------------------------------------------
def test_chapters(report: content.Report) -> None:
    toy, broken, absent = report.chapters
    assert [trial.folder.name for trial in toy.trials] == ["gpt-seed0", "lstm-seed0"]
    assert toy.protocol.startswith("2 of 2 trials, run to the end")
    assert not toy.failed
    assert broken.failed
    assert absent.protocol == "Not run."
    assert not absent.failed


def test_part_of_a_sweep(folder: Path, tmp_path: Path) -> None:
    """Trials that are not begun are named; a sweep without any has a chapter without results."""
    options = Toy(out=tmp_path / "sanity", seeds=(0, 1))
    sweep.prepare(TOY, options, options.out)
    nothing = content.read_chapter(TOY, tmp_path / "sanity")
    assert "Not run: lstm-seed0, gpt-seed0, lstm-seed1, gpt-seed1" in nothing.protocol
    (tmp_path / "sanity" / "gpt-seed0").symlink_to(folder / "sanity" / "gpt-seed0")
    part = content.read_chapter(TOY, tmp_path / "sanity")
    assert "1 of 4 trials" in part.protocol
    assert "Not run: lstm-seed0, lstm-seed1, gpt-seed1" in part.protocol
    both = page.html(content.Report([nothing, part], content.errata_table([])))
    assert "gpt-seed1" in both


def test_small_scale_is_said_at_the_head(report: content.Report) -> None:
    small = report._replace(chapters=[report.chapters[0]._replace(small=True)])
    assert sweep.SMALL_SAID in page.html(small)
    assert sweep.SMALL_SAID not in page.html(report)
    assert sweep.SMALL_SAID.split(":")[0] in " ".join(words(pdf.pages(small)))


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


def read(text: str) -> Text:
    parser = Text()
    parser.feed(text)
    return parser


def pages_of(data: bytes) -> list[str]:
    """The text of each page of a PDF."""
    pypdf = pytest.importorskip("pypdf", reason="reading a PDF needs pypdf")
    return [each.extract_text() for each in pypdf.PdfReader(io.BytesIO(data)).pages]


def words(data: bytes) -> list[str]:
    return " ".join(pages_of(data)).split()


def all_texts(report: content.Report) -> Iterator[str]:
    """Every text of every table, figure and claim."""
    for chapter in report.chapters:
        yield chapter.title
        yield chapter.protocol
        yield from (drawing.caption for drawing in chapter.results.drawings)
        for table in content.tables_of(chapter.results):
            yield from (table.title, table.note, *table.columns)
            yield from (cell for row in table.rows for cell in row)
    yield from (cell for row in report.errata.rows for cell in row)


def test_page_and_pdf_have_everything(report: content.Report, made: Path) -> None:
    squeezed = "".join("".join(read(made.read_text(encoding="utf-8")).seen).split())
    printed = "".join(words(pdf.pages(report)))
    for text in all_texts(report):
        bare = "".join(text.replace("**", "").split())
        assert bare in squeezed, text
        # a PDF breaks long cells wherever it must, and hyphens it not
        assert bare in printed or all(word in printed for word in text.replace("**", "").split())
    assert made.stat().st_size < 8e6


def test_contents_of_the_pdf_and_page_numbers(report: content.Report) -> None:
    pages = pages_of(pdf.pages(report))
    listed = re.findall(r"^(.+?) ?(\d+)$", pages[0].split("Contents")[1], re.M)
    titles = ["At a glance", *(c.title for c in report.chapters), report.errata.title]
    assert [title for title, _ in listed][: len(titles)] == titles
    for title, number in listed[: len(titles)]:
        assert title in pages[int(number) - 1]
        assert pages[int(number) - 1].split()[-1] == number or number in pages[int(number) - 1]


def test_what_fits_on_a_page_of_the_pdf_stands_on_it(report: content.Report) -> None:
    pages = pages_of(pdf.pages(report._replace(chapters=[report.chapters[0], report.chapters[2]])))
    (on,) = [text for text in pages if "A note on steps" in text]
    assert "A line that falls" in on  # its figure
    assert "Toys learn" in on  # its second table
    assert "An absent one" in on  # the next chapter, of which there is nothing but a line


def test_wide_table_of_the_pdf_is_not_broken(report: content.Report) -> None:
    """Twelve columns of means ± std: upright their letters would be too small."""
    cells = [f"{i}.1234 ± 0.0012" for i in range(12)]
    wide = Table("wide", "A wide one", [f"column {i}" for i in range(12)], [cells] * 2)
    chapter = report.chapters[0]._replace(results=Results([wide, chapter_table(report)]))
    pages = pages_of(pdf.pages(report._replace(chapters=[chapter])))
    (on,) = [text for text in pages if "A wide one" in text]
    lines = [" ".join(line.split()) for line in on.splitlines()]
    assert all(any(cell in line for line in lines) for cell in cells)
    assert "Steps of toys" not in on


def chapter_table(report: content.Report) -> Table:
    return report.chapters[0].results.tables[0]


def test_the_same_records_give_the_same_files(report: content.Report, folder: Path) -> None:
    again = content.read_report([TOY, BROKEN, ABSENT], folder)
    assert page.html(again) == page.html(report)
    assert pdf.pages(again) == pdf.pages(report)


def test_text_is_escaped(report: content.Report, made: Path) -> None:
    evil = report.chapters[0]._replace(title=EVIL, protocol=EVIL)
    trial = evil.trials[0]
    renamed = TrialRecord(Path(EVIL), trial.settings, trial.records, trial.status)
    text = page.html(content.Report([evil._replace(trials=[renamed])], report.errata))
    for each in (text, made.read_text(encoding="utf-8")):
        assert "<script>alert" not in each
        assert html.escape("<script>alert(1)</script>") in each
    ours = ["application/gzip"] * 2 + ["", ""]  # library and curves, gpt.js and page.js
    assert re.findall(r'<script(?: type="([^"]*)" id="\w+")?>', text) == ours


def test_page_asks_for_nothing_outside(made: Path) -> None:
    links = read(made.read_text(encoding="utf-8")).links
    assert links
    assert all(link.startswith(("data:", "#")) for link in links)


def test_contents_lead_to_sections(made: Path) -> None:
    text = made.read_text(encoding="utf-8")
    targets = [link[1:] for link in read(text).links if link.startswith("#")]
    assert targets == ["overview", "sanity", "data_size", "operations", "attention", "errata"]
    assert all(text.count(f' id="{target}"') == 1 for target in targets)


def test_no_checkpoint_is_said(report: content.Report, tmp_path: Path) -> None:
    toy = report.chapters[0]
    bare = [
        TrialRecord(tmp_path, trial.settings, trial.records, trial.status) for trial in toy.trials
    ]
    assert "No checkpoint of a small GPT" in page.html(
        report._replace(chapters=[toy._replace(trials=bare)])
    )


# --- curves ---------------------------------------------------------------------------------------
def trial_record(name: str, steps: int = 3, **settings: Any) -> TrialRecord:
    """A record made by hand: loss 1 / (step + 1), accuracy step / steps."""
    known = {"model": "lstm", "seed": 0, "d": 8, "orders": [2], **settings}
    lines = [
        {"step": s, "val_accuracy": s / steps, "val_loss": 1 / (s + 1), "norm": None}
        for s in range(steps + 1)
    ]
    return TrialRecord(Path(name), known, lines, {"finished": True})


def test_curves_are_coloured_by_what_is_varied() -> None:
    trials = [
        trial_record("a", d=16),
        trial_record("b", d=8, seed=1),
        trial_record("c", d=8),
        trial_record("d", d=8, model="gpt"),
    ]
    found = curves.curves_of(trials)
    assert [run["name"] for run in found["runs"]] == ["c", "b", "a", "d"]
    assert [run["setting"] for run in found["runs"]] == ["d 8", "d 8", "d 16", "d 8"]
    colors = [run["colors"] for run in found["runs"]]
    assert colors[0] == colors[1] == colors[3] != colors[2]
    assert [run["dash"] for run in found["runs"]] == ["solid", "solid", "solid", "dash"]
    assert found["quantities"][0] == ["val_accuracy", "validation accuracy"]
    assert found["runs"][0]["values"] == {
        "step": [0, 1, 2, 3],
        "val_accuracy": [0.0, 0.33333, 0.66667, 1.0],
        "val_loss": [1.0, 0.5, 0.33333, 0.25],
        "norm": [None] * 4,
    }


def test_models_have_their_colours_where_nothing_else_is_varied() -> None:
    found = curves.curves_of([trial_record("a"), trial_record("b", model="gpt", seed=1)])
    assert len({tuple(run["colors"]) for run in found["runs"]}) == 2


def test_long_runs_are_thinned_and_it_is_said() -> None:
    trial = trial_record("long", steps=5000)
    (run,) = curves.curves_of([trial])["runs"]
    steps = run["values"]["step"]
    assert len(steps) == curves.MOST
    assert (steps[0], steps[-1]) == (0, 5000)
    assert max(np.diff(steps)) <= 9
    chapter = content.Chapter("sanity", "Long", "", trials=[trial])
    assert "Of long 600 evaluated steps are drawn" in page.section(chapter)


# --- errata ---------------------------------------------------------------------------------------
def test_errata_are_those_of_both_seeds() -> None:
    numbers = [erratum.number for erratum in errata.ERRATA]
    assert numbers == [f"000.{i}" for i in range(1, 7)] + [f"001.{i}" for i in range(1, 6)]


def test_counts_of_the_printed_formulas() -> None:
    """By hand, d = 128, L = 2, four heads of 32.

    LSTM, box: 4·128² + 128² + 2·128² + 4·2·128 = 7·16,384 + 1,024 = 115,712, and rightly
    4·128 (128 + 128 + 1 + 257) = 512·514 = 263,168. Attention: 4·16,384 + 512 = 66,048. Decoder
    2 (66,048 + 8·16,384) = 394,240, with layer norms of 4·128·2 = 1,024 it is 395,264.
    """
    assert errata.lstm_count({})[0].ours == "gives 115,712; the model has 263,168"
    shapes, formula = errata.attention_count({})
    assert (shapes.ours, shapes.verdict) == ("gives 1,024; the model has 66,048", "differs")
    assert (formula.ours, formula.verdict) == ("gives 66,048; the model has 66,048", "agrees")
    multiplier, width, without = errata.decoder_count({})
    assert multiplier.ours.startswith("gives 394,240; the model has 395,264; the difference is")
    assert width.ours.startswith("gives 8,520,704;")
    assert without.ours == "gives 65,536; the model has 394,240"


def test_samples_seen_by_batches() -> None:
    """32: 15 steps an epoch of 480, 1,334 epochs. 512: one step an epoch, 20,001 epochs."""
    size, seen = errata.batch_of_512({})
    assert size.ours == "the training set holds 480"
    assert "640,320 samples at B = 32 and 9,600,480 at “512”, 15 times" in seen.ours


def long_trial(name: str, losses: dict[int, float], **settings: Any) -> TrialRecord:
    lines = [
        {"step": s, "train_loss": x, "val_loss": x, "train_accuracy": 1.0, "val_accuracy": 1.0}
        for s, x in losses.items()
    ]
    usual = Grokking().settings()
    return TrialRecord(Path(name), {**usual, **settings}, lines, {"finished": True})


def test_still_falling() -> None:
    falling = long_trial("a", {0: 3.0, 9_000: 1.0, 10_001: 0.5})
    risen = long_trial("b", {0: 3.0, 9_000: 0.4, 10_001: 0.5})
    (found,) = errata.still_falling({"sanity": [falling, risen]})
    assert "a: 10,001 and 10,001 of 10,001; b: 9,000 and 9,000 of 10,001" in found.ours
    assert found.verdict == "undecided"
    assert errata.still_falling({"sanity": [falling]})[0].verdict == "agrees"
    assert errata.still_falling({"sanity": [risen]})[0].verdict == "differs"
    short = long_trial("c", {0: 3.0, 200: 0.5}, steps=200)
    assert errata.still_falling({"sanity": [short]})[0].verdict == "undecided"
    assert errata.still_falling({}) == []


def test_spread_of_best_steps() -> None:
    """t_f of 9,000 and 9,400: 9,200 ± 200, more than the 100 steps between evaluations."""
    trials = [
        long_trial(f"s{seed}", {0: 3.0, at: 0.1, 10_001: 0.5}, seed=seed)
        for seed, at in enumerate((9_000, 9_400))
    ]
    _, spread = errata.validation_and_spread({"sanity": trials})
    assert spread.ours == "LSTM t_f(L_val) 9,200 ± 200; LSTM t_f(A_val) 0 ± 0"
    assert spread.verdict == "undecided"


def test_losses_that_are_no_numbers_leave_an_erratum_undecided() -> None:
    lost = long_trial("a", {0: None, 10_001: None})  # type: ignore[dict-item]
    rows = content.errata_table([content.Chapter("sanity", "", "", trials=[lost])]).rows
    (row,) = [row for row in rows if row[0].startswith("000.4")]
    assert row[2:] == ["", "no measurement: train_loss: no evaluated step", "undecided"]


def test_claims_of_experiments_decide_errata(report: content.Report) -> None:
    rows = {row[0][:5]: row[2:] for row in report.errata.rows if row[0]}
    assert rows["001.4"] == ["Noise decides", "it does", "undecided"]
    assert rows["001.2"] == ["", "no experiment that decides it was run", "not run"]


# --- in a browser ---------------------------------------------------------------------------------
needs_chromium = pytest.mark.skipif(PATH is None, reason="no Chromium here")
EQUATIONS = ("2 + 3 =", "4 + 4 = 3", "1", "0+0=0")


@pytest.fixture(scope="module")
def browser(made: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chromium]:
    """The page, opened, when it has done all that it does on its own."""
    with Chromium(tmp_path_factory.mktemp("profile")) as found:
        found.open(made)
        found.run("ready.then(([gpt]) => { window.gpt = gpt; })")
        yield found


def exact(folder: Path, equation: str) -> tuple[Any, Any, int]:
    """minigrad's logits and attentions in float64, and how many terms go into a logit in a row."""
    _, model, words = load_model(folder)
    ids = modular.encode("BOS " + " ".join(re.findall(r"\d+|\S", equation)), words)
    model = model.astype(np.float64)
    with mg.no_grad():
        logits, _, attentions = model(mg.tensor(ids[None]), return_hidden=True)
    d = model.config.d
    block = d + d // model.config.heads + len(ids) + d + d + 4 * d  # sums that follow each other
    return logits.numpy()[0], attentions.numpy()[0], model.config.layers * block + d


def differences(browser: Chromium, folder: Path, equation: str) -> float:
    """The greatest difference from minigrad in units of what float64 can promise.

    A chain of sums of n terms in all is off by at most n ulps of its largest numbers: terms x eps
    x the largest logit, and eps x terms for attention, which is at most 1.
    """
    logits, attentions, terms = exact(folder, equation)
    found = browser.run(f"gpt.forward(gpt.encode({json.dumps(equation)}))")
    eps = float(np.finfo(np.float64).eps)
    of_logits = np.abs(np.array(found["logits"]) - logits).max() / np.abs(logits).max()
    of_attention = np.abs(np.array(found["attentions"]) - attentions).max()
    return float(max(of_logits, of_attention)) / (terms * eps)


@needs_chromium
@pytest.mark.parametrize("equation", EQUATIONS)
def test_page_computes_what_minigrad_does(browser: Chromium, folder: Path, equation: str) -> None:
    assert differences(browser, folder / "sanity" / "gpt-seed0", equation) < 1


@needs_chromium
@pytest.mark.parametrize(
    "planted",
    [
        "gelu = (x) => 0.5 * x * (1 + Math.tanh(0.7978845608 * (x + 0.044715 * x ** 3)))",
        "gelu = ((right) => (x) => Math.fround(right(x)))(gelu)",
        "softmax = ((right) => (scores) => right(scores.map((s) => s * 1.0000001)))(softmax)",
    ],
)
def test_wrong_arithmetic_is_found(browser: Chromium, folder: Path, planted: str) -> None:
    browser.run("window.kept = [gelu, softmax]; 0")
    browser.run(f"{planted}; 0")
    try:
        assert differences(browser, folder / "sanity" / "gpt-seed0", EQUATIONS[0]) > 1
    finally:
        browser.run("[gelu, softmax] = kept; 0")


@needs_chromium
def test_erf(browser: Chromium) -> None:
    """Against Python's own: a sum of up to 120 terms of one sign, each with two roundings."""
    xs = [0.0, 1e-9, 0.3, -0.5, 1.0, -2.0, 3.5, 5.9, 6.1, 40.0]
    found = browser.run(f"{xs}.map(erf)")
    np.testing.assert_allclose(found, [math.erf(x) for x in xs], rtol=240 * 2.3e-16)


@needs_chromium
def test_equation_that_is_typed(browser: Chromium) -> None:
    said = type_in(browser, "2 + 3 = 0")
    assert re.fullmatch(r"After “BOS 2 \+ 3 = 0” it says: \w+ \([\d.]+ %\)\.", said)
    assert browser.run("document.querySelectorAll('#maps table').length") == 8
    assert browser.run("document.querySelectorAll('#predictions tbody tr').length") == 6
    assert "“7” is no token" in type_in(browser, "7 + 1 =")
    assert "“<” is no token" in type_in(browser, "<b>1</b>")
    assert "These are 7 tokens" in type_in(browser, "1 + 1 = 2 EOS")
    assert browser.run("document.querySelectorAll('#maps table').length") == 0
    assert "the equation is over" in type_in(browser, "1 + 1 EOS")


def type_in(browser: Chromium, text: str) -> str:
    """Type an equation, press the button, and read what is said."""
    return browser.run(
        f"document.querySelector('#equation input').value = {json.dumps(text)};"
        "document.querySelector('#equation button').click();"
        "document.getElementById('said').textContent"
    )


@needs_chromium
def test_curves_can_be_read_hidden_and_rescaled(browser: Chromium, folder: Path) -> None:
    browser.run("window.plot = document.querySelector('#sanity .plot'); 0")
    assert browser.run("plot.data.map((run) => run.name)") == ["lstm-seed0", "gpt-seed0"]
    hover = "Plotly.Fx.hover(plot, [{curveNumber: 1, pointNumber: 2}]);"
    seen = browser.run(hover + "plot.querySelector('.hoverlayer').textContent")
    assert seen.startswith("gpt-seed0step 2validation accuracy")
    press = "document.querySelector(`#sanity {}`).click(); plot.{}"
    assert browser.run(press.format(".run", "data[0].visible")) is False
    assert browser.run(press.format(".run", "data[0].visible")) is True
    for axis in "xy":
        for kind in ("linear", "log"):
            button = f"button[data-axis={axis}][data-type={kind}]"
            assert browser.run(press.format(button, f"layout.{axis}axis.type")) == kind
            assert browser.run(f"document.querySelector('#sanity {button}').ariaPressed") == "true"
    menu = "{const menu = document.querySelector('#sanity select'); menu.value = 'train_loss';"
    browser.run(menu + "menu.dispatchEvent(new Event('change'))}")
    lines = records.read_records(folder / "sanity" / "lstm-seed0" / "metrics.jsonl")
    assert browser.run("plot.data[0].y") == pytest.approx(
        [line["train_loss"] for line in lines], rel=5e-5
    )


@needs_chromium
def test_no_request_and_no_error(browser: Chromium) -> None:
    assert browser.errors == []
    asked = [address.split(":")[0] for address in browser.requests]
    assert set(asked) <= {"file", "data", "blob"}
    assert asked.count("file") == 1
