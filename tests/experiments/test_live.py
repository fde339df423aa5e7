"""The GPT in the page: its numbers are minigrad's, and an equation can be typed."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from chromium import Chromium, needs_chromium
from page_models import differences

import minigrad as mg
from experiments.data import modular
from experiments.grokking import live
from experiments.grokking.task import load_model
from experiments.report.report import Contents
from experiments.train.records import TrialRecord

pytest.importorskip("plotly", reason="the page needs plotly")
pytest.importorskip("jinja2", reason="the page needs jinja2")

EQUATIONS = ("2 + 3 =", "4 + 4 = 3", "1", "0+0=0")


def test_a_missing_checkpoint_is_named(toy_contents: Contents, tmp_path: Path) -> None:
    toy = toy_contents.chapters[0]
    bare = [TrialRecord(tmp_path, t.settings, t.records, t.status) for t in toy.trials]
    assert "No checkpoint of a small GPT" in live.html([toy._replace(trials=bare)])
    assert 'id="gpt-numbers"' in live.html([toy])


# --- in a browser ---------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def browser(toy_page: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chromium]:
    """The page, opened, with its GPT as `gpt`."""
    with Chromium(tmp_path_factory.mktemp("profile")) as found:
        found.open(toy_page)
        found.run("Promise.all(started).then(([, gpt]) => { window.gpt = gpt; })")
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


def difference(browser: Chromium, folder: Path, equation: str) -> float:
    """Of the page from minigrad: see `page_models.differences`."""
    found = browser.run(f"gpt.forward(gpt.encode({json.dumps(equation)}))")
    return differences(found["logits"], found["attentions"], exact(folder, equation))


@needs_chromium
@pytest.mark.parametrize("equation", EQUATIONS)
def test_it_computes_what_minigrad_does(browser: Chromium, toy_folder: Path, equation: str) -> None:
    assert difference(browser, toy_folder / "sanity" / "gpt-seed0", equation) < 1


@needs_chromium
@pytest.mark.parametrize(
    "planted",
    [
        "gelu = (x) => 0.5 * x * (1 + Math.tanh(0.7978845608 * (x + 0.044715 * x ** 3)))",
        "gelu = ((right) => (x) => Math.fround(right(x)))(gelu)",
        "softmax = ((right) => (scores) => right(scores.map((s) => s * 1.0000001)))(softmax)",
    ],
)
def test_wrong_arithmetic_is_found(browser: Chromium, toy_folder: Path, planted: str) -> None:
    browser.run("window.kept = [gelu, softmax]; 0")
    browser.run(f"{planted}; 0")
    try:
        assert difference(browser, toy_folder / "sanity" / "gpt-seed0", EQUATIONS[0]) > 1
    finally:
        browser.run("[gelu, softmax] = kept; 0")


@needs_chromium
def test_erf_of_the_page_is_pythons(browser: Chromium) -> None:
    """Against Python's own: a sum of up to 120 terms of one sign, each with two roundings."""
    xs = [0.0, 1e-9, 0.3, -0.5, 1.0, -2.0, 3.5, 5.9, 6.1, 40.0]
    found = browser.run(f"{xs}.map(erf)")
    np.testing.assert_allclose(found, [math.erf(x) for x in xs], rtol=240 * 2.3e-16)


@needs_chromium
def test_a_typed_equation_is_completed_or_refused(browser: Chromium) -> None:
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
