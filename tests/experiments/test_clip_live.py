"""Captions find pictures in the page: its numbers and its pieces are minigrad's."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from chromium import Chromium, needs_chromium
from page_models import differences
from picture_folder import COLORS, write_pictures

import minigrad as mg
from experiments.attention import clip, clip_live, prompts
from experiments.attention.prompts import GALLERY
from experiments.report import report
from experiments.report.report import Chapter, Contents, Report
from experiments.sweep import launch
from experiments.train.records import CHECKPOINT, TrialRecord

pytest.importorskip("plotly", reason="the page needs plotly")
pytest.importorskip("jinja2", reason="the page needs jinja2")
pytest.importorskip("PIL", reason="pictures need pillow")

from experiments.report import page

REPORT = Report(
    "attention", "CLIP", "About.", clip.Options, [clip.EXPERIMENT], sections=[clip_live.SECTION]
)
CAPTIONS = ("red", "two blue circles", "Piñata, 12 nemos!", "a bar in a ring: 日本 or ½")


@pytest.fixture(scope="module", autouse=True)
def columns() -> Iterator[None]:
    """Five pictures in a row of the gallery, so that there are three rows."""
    with pytest.MonkeyPatch.context() as patch:
        for module in (prompts, clip_live):
            patch.setattr(module, "COLUMNS", 5)
        yield


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report's folder: the smallest CLIP, trained for two epochs."""
    data = write_pictures(tmp_path_factory.mktemp("data"))
    out = tmp_path_factory.mktemp("report") / "clip"
    options = clip.Options(scale="small", steps=8, seeds=(0,), data=data, out=out, kernels=False)
    assert launch.run(clip.EXPERIMENT, options, out, "cpu") == 0
    return out.parent


@pytest.fixture(scope="module")
def contents(folder: Path) -> Contents:
    return report.read(REPORT, folder)


@pytest.fixture(scope="module")
def trial(contents: Contents) -> Path:
    chosen = clip_live.choose(contents.chapters)
    assert chosen is not None
    return chosen.folder


def chapter_of(trials: list[TrialRecord]) -> Chapter:
    return Chapter("clip", "", "", trials=trials)


# --- what there is without a browser --------------------------------------------------------------
def test_what_is_missing_is_said_in_one_sentence(contents: Contents, tmp_path: Path) -> None:
    trial = contents.chapters[0].trials[0]
    text = clip_live.html(contents.chapters)
    assert all(f'id="{name}"' in text for name in ("tower-numbers", "sheet", "caption", "found"))
    assert "Google&#x27;s emoji (Noto), Apache-2.0; Tux Paint&#x27;s stamps, GPL-2" in text
    bare = TrialRecord(tmp_path, trial.settings, trial.records, trial.status)
    assert "No CLIP with a checkpoint and a gallery" in clip_live.html([chapter_of([bare])])
    for name in (CHECKPOINT, "settings.json", "status.json"):
        (tmp_path / name).write_bytes((trial.folder / name).read_bytes())
    assert "No CLIP with a checkpoint and a gallery" in clip_live.html([chapter_of([bare])])
    damaged = bytearray((trial.folder / GALLERY).read_bytes())
    damaged[-1] ^= 1
    (tmp_path / GALLERY).write_bytes(damaged)
    text = clip_live.html([chapter_of([bare])])
    assert "CLIP cannot be shown" in text
    assert "damaged" in text
    mg.save({"vectors": np.zeros(3)}, tmp_path / GALLERY)
    assert "gallery.safetensors: not a gallery" in clip_live.html([chapter_of([bare])])


def test_the_model_is_the_one_that_finds_most_held_out_emoji(contents: Contents) -> None:
    first, second = contents.chapters[0].trials
    for best in (first, second):
        trials = [
            TrialRecord(t.folder, t.settings, [{"step": 1, clip_live.MEASURE: value}], t.status)
            for t, value in ((first, float(best is first)), (second, float(best is second)))
        ]
        chosen = clip_live.choose([chapter_of(trials)])
        assert chosen is not None
        assert chosen.folder == best.folder
    unknown = TrialRecord(first.folder, first.settings, [{"step": 1}], first.status)
    assert clip_live.choose([chapter_of([unknown])]) is None


# --- in a browser ---------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def browser(contents: Contents, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chromium]:
    """The page, opened, with its model as `tower`, when the first pictures are shown."""
    path = page.write(contents, tmp_path_factory.mktemp("page") / "report.html")
    with Chromium(tmp_path_factory.mktemp("profile")) as found:
        found.open(path)
        found.run("Promise.all(started).then(([, tower]) => { window.tower = tower; })")
        yield found


def exact(trial: Path, caption: str) -> tuple[list[int], Any, Any, int]:
    """Ids, vector and similarities in float64 on the weights of the page, and how many terms go
    into a number in a row."""
    model, words, _, tensors = clip_live.load_model(trial)
    state = {n: a.astype(np.float16).astype(np.float64) for n, a in model.state_dict().items()}
    model = model.astype(np.float64)
    model.load_state_dict(state)
    c, ids = model.config, words.encode(caption, model.config.context)
    with mg.no_grad():
        vector = model.embed_texts(mg.tensor(np.array(ids)[None])).numpy()[0]
    similarities = tensors["vectors"].astype(np.float64) @ vector
    # sums that follow each other: norm, q k, softmax and v, output, norm, feed-forward; the end:
    # norm, projection, length, similarity
    d = c.text_d
    block = d + d // c.text_heads + len(ids) + d + d + d + 4 * d
    return ids, vector, similarities, c.text_layers * block + 2 * d + 2 * c.embed


def difference(browser: Chromium, trial: Path, caption: str) -> float:
    """Of the page from minigrad: see `page_models.differences`."""
    ids, vector, similarities, terms = exact(trial, caption)
    code = json.dumps(caption)
    assert browser.run(f"tower.encode({code}).ids") == ids
    found = browser.run(f"[...tower.embed(tower.encode({code}).ids)]")
    near = browser.run(f"[...tower.similarities(tower.embed(tower.encode({code}).ids))]")
    return differences(found, near, (vector, similarities, terms))


@needs_chromium
@pytest.mark.parametrize("caption", CAPTIONS)
def test_it_computes_what_minigrad_does(browser: Chromium, trial: Path, caption: str) -> None:
    assert difference(browser, trial, caption) < 1


@needs_chromium
@pytest.mark.parametrize(
    "planted",
    [
        "quickGelu = (x) => x / (1 + Math.exp(-1.7020001 * x))",
        "softmax = ((right) => (scores) => right(scores.map((s) => s * 1.0000001)))(softmax)",
        "tower.tensor['projection.weight'].values[3] += 1e-6",
    ],
)
def test_wrong_arithmetic_is_found(browser: Chromium, trial: Path, planted: str) -> None:
    browser.run(
        "window.kept = [quickGelu, softmax, tower.tensor['projection.weight'].values[3]]; 0"
    )
    browser.run(f"{planted}; 0")
    try:
        assert difference(browser, trial, CAPTIONS[1]) > 1
    finally:
        browser.run("[quickGelu, softmax, tower.tensor['projection.weight'].values[3]] = kept; 0")


def type_in(browser: Chromium, caption: str) -> str:
    """Press the button, and read what is said."""
    browser.run(f"document.querySelector('#caption input').value = {json.dumps(caption)}")
    browser.run("document.querySelector('#caption button').click()")
    return browser.run("document.getElementById('searched').textContent")


def found(browser: Chromium, what: str) -> list[str]:
    return browser.run(
        f"[...document.querySelectorAll('#found {what}')].map((each) => each.textContent)"
    )


@needs_chromium
def test_a_typed_caption_ranks_the_pictures(browser: Chromium, trial: Path) -> None:
    _, _, gallery, _ = clip_live.load_model(trial)
    assert type_in(browser, "Red circle").startswith("Read as: ")
    _, _, similarities, _ = exact(trial, "Red circle")
    order = np.argsort(-similarities, kind="stable")[: clip_live.SHOWN]
    wanted = [f"{place}. {gallery['captions'][i]}" for place, i in enumerate(order, 1)]
    assert found(browser, "span") == wanted
    numbers = [float(text.split()[1].rstrip(",")) for text in found(browser, "small")]
    np.testing.assert_allclose(numbers, similarities[order], atol=5.001e-4)  # three digits
    titles = browser.run("[...document.querySelectorAll('#found li')].map((each) => each.title)")
    assert titles == [gallery["sources"][i] for i in order]
    chances = browser.run(
        "softmax(tower.similarities(tower.embed(tower.encode('Red circle').ids))"
        ".map((each) => tower.scale * each))"
    )
    assert sum(chances) == pytest.approx(1.0)


@needs_chromium
def test_the_pictures_are_those_of_the_captions(browser: Chromium) -> None:
    """The colour in the middle of every picture is that of its caption; rings are empty there."""
    colors = browser.run(
        """tower.captions.map((caption, i) => {
          const shown = pictureOf(tower, document.getElementById("sheet"), i);
          return [shown.ariaLabel, ...shown.getContext("2d").getImageData(20, 20, 1, 1).data];
        })"""
    )
    assert len(colors) == 14
    for caption, *rgb, _ in colors:
        named = [color for color in COLORS if color in caption.lower()] or ["orange"]  # clownfish
        wanted = (255, 255, 255) if "ring" in caption else COLORS[named[0]]
        # less than half of the distance between the two most similar ones, red and orange
        assert np.abs(np.subtract(rgb, wanted)).sum() < 70, caption


@needs_chromium
@pytest.mark.parametrize(
    ("caption", "text"),
    [
        ("  ", "Caption: type a few words."),
        ("z" * 300, "Caption: 302 pieces are more than the 128 that the model reads."),
    ],
)
def test_what_is_no_caption_is_said(browser: Chromium, caption: str, text: str) -> None:
    type_in(browser, "red")
    assert type_in(browser, caption) == text
    assert found(browser, "li") == []
    assert browser.run("document.getElementById('searched').className") == "error"
    assert type_in(browser, "<b>red").startswith("Read as: <")
    assert browser.run("document.getElementById('searched').className") == ""
    assert browser.errors == []


@needs_chromium
def test_a_page_asks_for_nothing_and_fits_a_phone(browser: Chromium) -> None:
    assert {address.split(":")[0] for address in browser.requests} <= {"file", "data", "blob"}
    size = {"width": 390, "height": 844, "deviceScaleFactor": 1, "mobile": True}
    browser.call("Emulation.setDeviceMetricsOverride", **size)
    try:
        assert browser.run("document.documentElement.scrollWidth") <= 390
    finally:
        browser.call("Emulation.clearDeviceMetricsOverride")


@needs_chromium
def test_pieces_are_unpacked_as_they_were_packed(browser: Chromium, trial: Path) -> None:
    about, numbers, sheet = clip_live.pack(trial)
    assert browser.run("tower.merges") == [list(pair) for pair in about["merges"]]
    assert browser.run("tower.words") == list(about["words"])
    source = browser.run("document.getElementById('sheet').src")
    assert base64.b64decode(source.split(",")[1]) == sheet
    assert len(numbers) == 2 * sum(np.prod(t["shape"]) for t in about["tensors"].values())
