"""The page of a report: the curves that it draws, and how it looks, in a headless Chromium."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from chromium import Chromium, needs_chromium
from toys import REPORT

from experiments.grokking.seeds import MODELS
from experiments.report.report import Chapter, Contents
from experiments.results.results import Table
from experiments.train import records
from experiments.train.records import TrialRecord

pytest.importorskip("plotly", reason="the page needs plotly")
pytest.importorskip("jinja2", reason="the page needs jinja2")

from experiments.report import curves, page


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
    found = curves.curves_of(trials, MODELS)
    assert [run["name"] for run in found["runs"]] == ["c", "b", "a", "d"]
    assert [run["setting"] for run in found["runs"]] == ["d 8", "d 8", "d 16", "d 8"]
    colors = [run["colors"] for run in found["runs"]]
    assert colors[0] == colors[1] == colors[3] != colors[2]
    assert [run["dash"] for run in found["runs"]] == ["solid", "solid", "solid", "dash"]
    assert found["quantities"][0] == ["val_accuracy", "validation accuracy"]
    assert found["panels"] == ["val_accuracy", "val_loss", "norm"]
    assert [run["group"] for run in found["runs"]] == ["LSTM", "LSTM", "LSTM", "GPT"]
    assert found["runs"][0]["values"] == {
        "step": [0, 1, 2, 3],
        "val_accuracy": [0.0, 0.33333, 0.66667, 1.0],
        "val_loss": [1.0, 0.5, 0.33333, 0.25],
        "norm": [None] * 4,
    }


def test_models_have_their_colours_where_nothing_else_is_varied() -> None:
    found = curves.curves_of([trial_record("a"), trial_record("b", model="gpt", seed=1)], MODELS)
    assert len({tuple(run["colors"]) for run in found["runs"]}) == 2


def test_trials_of_several_kinds_are_told_apart_by_what_each_varies() -> None:
    def trial(name: str, number: str, **settings: Any) -> TrialRecord:
        settings = {"seed": 0, "steps": 1, **settings}
        return TrialRecord(Path(name), settings, [{"step": 0, number: 0.5, "more": 1}], {})

    trials = [
        trial("c", "right", d=8, padding="seen"),
        trial("a", "right", d=8, padding="left out"),
        trial("b", "loss", d=8, lengths=[32, 64]),
    ]
    found = curves.curves_of(trials, (), ("right", "loss"))
    assert [run["name"] for run in found["runs"]] == ["b", "a", "c"]
    assert [run["setting"] for run in found["runs"]] == ["", "padding left out", "padding seen"]
    assert found["quantities"] == [["right", "right"], ["loss", "loss"]]
    assert found["runs"][0]["values"] == {"step": [0], "right": [None], "loss": [0.5]}
    assert [name for name, _ in curves.curves_of(trials, ())["quantities"]] == [
        "right", "more", "loss",
    ]  # fmt: skip


def test_long_runs_are_thinned_and_it_is_said() -> None:
    trial = trial_record("long", steps=5000)
    (run,) = curves.curves_of([trial], MODELS)["runs"]
    steps = run["values"]["step"]
    assert len(steps) == curves.MOST
    assert (steps[0], steps[-1]) == (0, 5000)
    assert max(np.diff(steps)) <= 9
    chapter = Chapter("sanity", "Long", "", trials=[trial])
    assert "Of long 600 evaluated steps are drawn" in page.html(Contents(REPORT, [chapter]))


# --- in a browser ---------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def browser(toy_page: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chromium]:
    """The page, opened, when it has done all that it does on its own."""
    with Chromium(tmp_path_factory.mktemp("profile")) as found:
        found.open(toy_page)
        found.run("Promise.all(started).then(() => 0)")
        yield found


@needs_chromium
def test_curves_can_be_read_hidden_and_rescaled(browser: Chromium, toy_folder: Path) -> None:
    browser.run("window.plot = document.querySelector('#sanity .plot'); 0")
    n = curves.PANELS
    assert browser.run("plot.data.map((run) => run.name)") == ["lstm-seed0", "gpt-seed0"] * n
    assert browser.run("plot.data.map((run) => run.yaxis)") == [
        f"y{i}".removesuffix("1") for i in range(1, n + 1) for _ in range(2)
    ]
    show(browser, "val_accuracy")
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
    show(browser, "train_loss")
    lines = records.read_records(toy_folder / "sanity" / "lstm-seed0" / "metrics.jsonl")
    assert browser.run("plot.data[0].y") == pytest.approx(
        [line["train_loss"] for line in lines], rel=5e-5
    )


def show(browser: Chromium, quantity: str) -> None:
    """Choose what `plot` shows."""
    browser.run(
        f"{{const menu = document.querySelector('#sanity select'); menu.value = '{quantity}';"
        "menu.dispatchEvent(new Event('change'))}"
    )


@needs_chromium
def test_no_request_and_no_error(browser: Chromium) -> None:
    assert browser.errors == []
    asked = [address.split(":")[0] for address in browser.requests]
    assert set(asked) <= {"file", "data", "blob"}
    assert asked.count("file") == 1


# --- how it looks, on a desk and on a phone -------------------------------------------------------
WIDE = [f"{i}.000{i} ± 0.0012" for i in range(10)]


@pytest.fixture(scope="module")
def long_page(toy_contents: Contents, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of runs of 10,001 steps, with a table as wide as the widest that is published."""
    heads = ["model", "r", "seeds", *(f"t_f(L_{i}) ↓" for i in range(10))]
    table = Table("best", "Best", heads, [["LSTM", "0.1", "0, 42", *WIDE]])
    toy = toy_contents.chapters[0]
    long = [replace(claim, ours=" ".join(WIDE)) for claim in toy.results.claims]
    results = replace(toy.results, tables=[table], claims=long)
    chapter = toy._replace(trials=[trial_record("long", steps=10_001)], results=results)
    path = tmp_path_factory.mktemp("long") / "report.html"
    return page.write(toy_contents._replace(chapters=[chapter, *toy_contents.chapters[1:]]), path)


@pytest.fixture(params=[(1280, 800), (390, 844)], ids=["desk", "phone"])
def look(
    request: pytest.FixtureRequest, long_page: Path, tmp_path: Path
) -> Iterator[tuple[int, Chromium]]:
    """The width of a window, and the page in it."""
    width, height = request.param
    with Chromium(tmp_path) as found:
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500}
        found.call("Emulation.setDeviceMetricsOverride", **size)
        found.open(long_page)
        found.run("Promise.all(started).then(() => 0)")
        yield width, found


@needs_chromium
def test_the_page_is_as_wide_as_the_window(look: tuple[int, Chromium]) -> None:
    width, browser = look
    assert browser.run("document.documentElement.scrollWidth") <= width
    right = browser.run("document.querySelector('.plot .main-svg').getBoundingClientRect().right")
    assert right <= width


@needs_chromium
def test_curves_show_all_steps(look: tuple[int, Chromium]) -> None:
    _, browser = look
    ticks = "[...document.querySelectorAll('.plot .xtick text')].map((each) => each.textContent)"
    assert browser.run(ticks)[:5] == ["1", "10", "100", "1,000", "10,000"]
    last = "document.querySelector('.plot')._fullLayout.xaxis.range[1]"
    assert browser.run(last) >= math.log10(10_001)


@needs_chromium
def test_no_column_is_hidden_without_a_sign(look: tuple[int, Chromium]) -> None:
    width, browser = look
    over = "[...document.querySelectorAll('.scroll')].map((x) => x.scrollWidth - x.clientWidth)"
    assert browser.run("document.querySelectorAll('.scroll.words').length") > 0
    hidden = [n > 0 for n in browser.run(over)]
    assert not any(hidden) if width > 1000 else any(hidden)
    shadows = "getComputedStyle(document.querySelector('.scroll')).backgroundAttachment"
    assert browser.run(shadows) == "local, local, scroll, scroll"


@needs_chromium
def test_no_word_of_a_heading_is_broken(look: tuple[int, Chromium]) -> None:
    """A word whose letters stand below each other has more lines than words."""
    _, browser = look
    script = """[...document.querySelectorAll('th')].filter((th) => th.offsetParent).map((th) => {
      const range = document.createRange();
      range.selectNodeContents(th);
      return [new Set([...range.getClientRects()].map((line) => line.top)).size, th.textContent];
    })"""
    headings = browser.run(script)
    assert headings
    for lines, text in headings:
        assert lines <= len(text.split()), text


@needs_chromium
def test_the_first_screen_begins_with_the_answers(look: tuple[int, Chromium]) -> None:
    width, browser = look
    bottom = browser.run("document.querySelector('#answers li').getBoundingClientRect().bottom")
    assert 0 < bottom < (300 if width > 1000 else 400)


@needs_chromium
def test_what_is_live_is_not_shown_twice_but_printed(look: tuple[int, Chromium]) -> None:
    _, browser = look
    shown = "['.paper', '.curves'].map((x) => getComputedStyle(document.querySelector(x)).display)"
    assert browser.run(shown) == ["none", "block"]
    browser.call("Emulation.setEmulatedMedia", media="print")
    assert browser.run(shown) == ["block", "none"]
