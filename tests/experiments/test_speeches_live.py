"""The language model in the page: its numbers and its text are minigrad's; a prompt is typed."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from chromium import Chromium, needs_chromium
from page_models import differences
from speech_corpus import write_corpus

import minigrad as mg
from experiments.data.place import data_in
from experiments.report import report
from experiments.report.report import Chapter, Contents, Report
from experiments.report.weights import in_a_row
from experiments.speeches import language_model, live
from experiments.speeches import trained as left
from experiments.speeches.attention import PredictAndLook
from experiments.speeches.options import Options
from experiments.speeches.task import VOCABULARY, Predict
from experiments.sweep import launch
from experiments.train import records
from experiments.train.loop import run
from experiments.train.records import CHECKPOINT, TrialRecord
from models import SpeechLanguageModel
from models.generate import continued, drawn, next_logits

pytest.importorskip("plotly", reason="the page needs plotly")
pytest.importorskip("jinja2", reason="the page needs jinja2")

from experiments.report import page

REPORT = Report(
    "speeches", "Speeches", "About.", Options, [language_model.EXPERIMENT], sections=[live.SECTION]
)
SIZES = {"layers": 2, "d": 8, "heads": 2, "hidden": 12, "block": 8, "batch_size": 4, "steps": 2}
POSITIONS = ("learned", "alibi", "signed", "none")
PROMPTS = ([7], [2, 3, 1, 5], [*range(2, 10)], [*range(30, 42), 1])  # the last ones fill the block


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_corpus(tmp_path_factory.mktemp("corpus"), np.random.default_rng(0))


@pytest.fixture(scope="module")
def folder(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report's folder: the language model of the smallest size, trained for two steps."""
    folder = tmp_path_factory.mktemp("report")
    out = folder / "language_model"
    options = language_model.Options(
        scale="small", steps=2, seeds=(0,), data=corpus, out=out, kernels=False
    )
    assert launch.run(language_model.EXPERIMENT, options, out, "cpu") == 0
    return folder


@pytest.fixture(scope="module")
def contents(folder: Path) -> Contents:
    return report.read(REPORT, folder)


@pytest.fixture(scope="module")
def trained(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The folder of a trial for each kind of positions."""
    folder = tmp_path_factory.mktemp("trained")
    with data_in(corpus):
        for kind in POSITIONS:
            run(Predict(positions=kind, lr=0.1, **SIZES), folder / kind)
    return {kind: folder / kind for kind in POSITIONS}


# --- which model, and what there is without it ----------------------------------------------------
def chapter_of(trials: list[TrialRecord]) -> Chapter:
    return Chapter("language_model", "", "", trials=trials)


def test_what_is_missing_is_said_in_one_sentence(
    contents: Contents, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a checkpoint, and without the words."""
    monkeypatch.delenv("MINIGRAD_DATA", raising=False)
    (chapter,) = contents.chapters
    assert 'id="decoder-numbers"' in live.html([chapter])
    trial = chapter.trials[0]
    bare = TrialRecord(tmp_path, trial.settings, trial.records, trial.status)
    assert "No checkpoint of a language model lies" in live.html([chapter_of([bare])])
    assert "No checkpoint of a language model lies" in live.html([])
    for name in (CHECKPOINT, "settings.json", "status.json"):
        (tmp_path / name).write_bytes((trial.folder / name).read_bytes())
    text = live.html([chapter_of([bare])])
    assert "cannot be shown" in text
    assert "vocabulary.json is missing, and MINIGRAD_DATA names no folder of the speeches" in text
    records.write_json(tmp_path / VOCABULARY, ["PAD", "UNK", "w00"])  # of other data
    assert "cannot be shown" in live.html([chapter_of([bare])])


def test_before_a_trial_has_ended_the_words_are_those_of_the_data(
    folder: Path, corpus: Path, tmp_path: Path
) -> None:
    trial = folder / "language_model" / "hidden256-seed0"
    words = records.read_json(trial / VOCABULARY, list)
    assert words == ["PAD", "UNK", *(f"w{i:02}" for i in range(40))]
    with data_in(corpus):
        assert left.words_of(tmp_path, 32) == words


def test_a_trial_that_leaves_attention_leaves_the_words_too(corpus: Path, tmp_path: Path) -> None:
    with data_in(corpus):
        run(PredictAndLook(**SIZES), tmp_path)
    assert {VOCABULARY, "attention.json"} <= {path.name for path in tmp_path.iterdir()}


def test_the_model_has_the_least_mean_loss_of_those_of_the_seeds_sizes(tmp_path: Path) -> None:
    def trial(name: str, *losses: float | None, checkpoint: bool = True, **settings: Any):
        folder = tmp_path / name
        folder.mkdir()
        if checkpoint:
            (folder / CHECKPOINT).touch()
        keys = ("obama_loss", "hbush_loss", "wbush_loss")
        last = {"step": 500, **dict(zip(keys, losses, strict=True))}
        return TrialRecord(folder, Predict(**settings).settings(), [last], {"finished": True})

    small = trial("small", 1.0, 1.0, 1.0, d=16)
    usual = [
        trial("first", 6.0, 6.0, 6.0),
        trial("best", 5.5, 6.0, 6.3, positions="alibi"),
        trial("one", 4.0, 7.0, 7.5),
        trial("diverged", 1.0, None, 1.0),
        trial("gone", 1.0, 1.0, 1.0, checkpoint=False),
    ]
    chosen = live.choose([chapter_of([small]), chapter_of(usual[:1]), chapter_of(usual[1:])])
    assert chosen is usual[1]
    assert live.choose([chapter_of([small, usual[3]])]) is small
    assert live.choose([chapter_of(usual[3:])]) is None


# --- text, in Python ------------------------------------------------------------------------------
def test_tokens_are_drawn_with_the_chances_of_a_temperature() -> None:
    logits = np.log([0.1, 0.4, 0.4, 0.1])
    us = (np.arange(1000) + 0.5) / 1000
    counts = np.bincount([drawn(logits, 1.0, u) for u in us])
    assert counts.tolist() == [100, 400, 400, 100]
    counts = np.bincount([drawn(logits, 0.5, u) for u in us])  # squares: 1, 16, 16, 1 of 34
    np.testing.assert_allclose(counts, np.array([1, 16, 16, 1]) / 34 * 1000, atol=1)
    assert {drawn(logits, 0.0, u) for u in us} == {1}
    assert {drawn(logits, 1e-310, u) for u in us} == {1, 2}
    assert drawn(np.array([0.0, 0.0, -800.0]), 1.0, 1 - 2.0**-53) == 1


def test_a_model_reads_the_last_tokens_of_its_block(trained: dict[str, Path]) -> None:
    _, model, words = left.load_model(trained["learned"])
    ids = [int(i) for i in np.random.default_rng(1).integers(2, len(words), 20)]
    whole = model(mg.tensor(np.array(ids[-8:])[None])).detach().numpy()[0, -1]
    np.testing.assert_array_equal(next_logits(model, ids, 8), whole)
    text = continued(model, ids, 5, length=8)
    assert text[:20] == ids
    assert text[20] == int(whole.argmax())
    assert text[21] == int(next_logits(model, text[:21], 8).argmax())


def test_a_seed_gives_a_text(trained: dict[str, Path]) -> None:
    _, model, _ = left.load_model(trained["alibi"])
    texts = [continued(model, [5], 20, length=8, temperature=1.0, seed=seed) for seed in (0, 0, 1)]
    assert texts[0] == texts[1] != texts[2]


@pytest.mark.parametrize("temperature", [-1.0, float("inf"), float("nan")])
def test_what_is_no_temperature(trained: dict[str, Path], temperature: float) -> None:
    _, model, _ = left.load_model(trained["none"])
    with pytest.raises(ValueError, match="temperature: expected a number of at least 0"):
        continued(model, [5], 1, length=8, temperature=temperature)
    with pytest.raises(ValueError, match="ids: expected at least one token"):
        continued(model, [], 1, length=8)


# --- in a browser ---------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def browser(contents: Contents, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chromium]:
    """The page, opened, with its model as `decoder`, when the first text is written."""
    path = page.write(contents, tmp_path_factory.mktemp("page") / "report.html")
    with Chromium(tmp_path_factory.mktemp("profile")) as found:
        found.open(path)
        found.run("Promise.all(started).then(([, decoder]) => { window.decoder = decoder; })")
        yield found


class Exact(NamedTuple):
    """What minigrad computes in float64, and how many terms go into a logit in a row."""

    logits: Any  # (V,)
    attention: Any  # (L, heads, T) of the last token
    terms: int


def rounded(folder: Path) -> SpeechLanguageModel:
    """The model in float64, on the weights of the page."""
    _, model, _ = left.load_model(folder)
    state = {name: np.asarray(a, np.float16) for name, a in model.state_dict().items()}
    model = model.astype(np.float64)
    model.load_state_dict({name: a.astype(np.float64) for name, a in state.items()})
    return model


def exact(folder: Path, ids: list[int]) -> Exact:
    model = rounded(folder)
    c, read = model.config, ids[-model.config.block :]
    with mg.no_grad():
        logits, attentions = model(mg.tensor(np.array(read)[None]), return_weights=True)
    rows = [each.numpy()[0, :, -1] for each in attentions]
    # sums that follow each other: norm, q k, softmax and v, output, norm, feed-forward
    block = c.d + c.d // c.heads + len(read) + c.d + c.d + c.d + c.hidden
    return Exact(logits.numpy()[0, -1], np.stack(rows), c.layers * block + c.d)


def in_page(browser: Chromium, folder: Path) -> None:
    """Make the model of a folder in the page, as `model`."""
    about, numbers = live.pack(folder)
    code = base64.b64encode(numbers).decode()
    browser.run(
        f"window.model = new Decoder({json.dumps(about)}, halves(Uint8Array.from("
        f"atob('{code}'), (letter) => letter.charCodeAt(0)).buffer)); 0"
    )


def difference(browser: Chromium, folder: Path, ids: list[int]) -> float:
    """Of the page from minigrad: see `page_models.differences`."""
    found = browser.run(f"model.forward({ids}.slice(-model.block))")
    return differences(found["logits"], found["attention"], exact(folder, ids))


@needs_chromium
@pytest.mark.parametrize("kind", POSITIONS)
def test_it_computes_what_minigrad_does(
    browser: Chromium, trained: dict[str, Path], kind: str
) -> None:
    in_page(browser, trained[kind])
    for ids in PROMPTS:
        assert difference(browser, trained[kind], ids) < 1


@needs_chromium
@pytest.mark.parametrize("kind", POSITIONS)
def test_it_writes_what_python_does(browser: Chromium, trained: dict[str, Path], kind: str) -> None:
    in_page(browser, trained[kind])
    model = rounded(trained[kind])
    for ids in PROMPTS:
        for temperature, seed in ((0.0, 0), (0.7, 0), (1.0, 3), (5.0, 2**32 - 1)):
            texts = browser.run(
                f"[...model.continued({ids}, 20, {temperature}, {seed})].map((each) => each.ids)"
            )
            wanted = continued(
                model, ids, 20, length=model.config.block, temperature=temperature, seed=seed
            )
            assert texts == [wanted[:n] for n in range(len(ids), len(ids) + 21)]


@needs_chromium
@pytest.mark.parametrize(
    "planted",
    [
        "relu = (x) => Math.max(1e-9 * x, x)",
        "softmax = ((right) => (scores) => right(scores.map((s) => s * 1.0000001)))(softmax)",
        "model.slopes = model.slopes.map((slope) => slope * 1.0000001)",
        "model.tensor['classifier.bias'].values[3] += 1e-6",
    ],
)
def test_wrong_arithmetic_is_found(
    browser: Chromium, trained: dict[str, Path], planted: str
) -> None:
    in_page(browser, trained["alibi"])
    browser.run("window.kept = [relu, softmax]; 0")
    browser.run(f"{planted}; 0")
    try:
        assert difference(browser, trained["alibi"], PROMPTS[2]) > 1
    finally:
        browser.run("[relu, softmax] = kept; 0")


@needs_chromium
def test_half_precision_is_numpys(browser: Chromium) -> None:
    """Every finite one, by its bits."""
    bits = np.arange(2**16, dtype=np.uint16)
    halves = bits.view(np.float16)
    halves = halves[np.isfinite(halves)]
    _, data = in_a_row({"all": halves}, "<f2")
    code = base64.b64encode(data).decode()
    found = browser.run(
        f"[...halves(Uint8Array.from(atob('{code}'), (letter) => letter.charCodeAt(0)).buffer)]"
    )
    np.testing.assert_array_equal(np.array(found), halves.astype(np.float64))


@needs_chromium
@pytest.mark.parametrize("seed", [0, 1, 12345, 2**32 - 1])
def test_uniform_numbers_are_numpys(browser: Chromium, seed: int) -> None:
    random = np.random.Generator(np.random.Philox(key=np.array([seed, 0], dtype=np.uint64)))
    found = browser.run(f"Array.from({{ length: 60 }}, (_, i) => uniform({seed}, i))")
    assert found == random.random(60).tolist()


KNOWN = ["I", "do", "n't", "America", "is", "can", "not", "Mr.", "lot", "lot.", "U.S.", "'s", "70"]


@needs_chromium
@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("  I don't,  America! ", "I do n't , America !"),
        ("America's lot.", "America 's lot ."),
        ("Mr. America cannot. (U.S.)", "Mr. America can not . ( U.S. )"),
        ('I "do" is. "Not"', "I `` do '' is . `` Not ''"),
        ("$1,200 billion: 70%--no...", "$ 1,200 billion : 70 % -- no ..."),
        ("unheard. is he's? years' 'em", "unheard . is he 's ? years ' 'em"),
        ("<b>it’s</b>", "< b > it ’ s < /b >"),
        ("", ""),
    ],
)
def test_typed_text_is_cut_as_nltk_cuts_it(browser: Chromium, text: str, tokens: str) -> None:
    known = f"((word) => {json.dumps(KNOWN)}.includes(word))"
    assert browser.run(f"tokenize({json.dumps(text)}, {known}).join(' ')") == tokens


@needs_chromium
def test_tokens_are_written_as_people_write_them(browser: Chromium) -> None:
    tokens = "I do n't , `` we can '' ( America 's ) $ 70 it ’ s a 70 % lot ."
    text = browser.run(f"spaced({json.dumps(tokens)}.split(' ')).flat().join('')")
    assert text == "I don't, “we can” (America's) $70 it’s a 70% lot."


def press(browser: Chromium, **fields: str) -> None:
    """Fill in the form and press the button."""
    values = {"prompt": "w01 w02", "temperature": "0.8", "count": "5", "seed": "0", **fields}
    for name, value in values.items():
        browser.run(f"document.querySelector('#prompt [name={name}]').value = {json.dumps(value)}")
    browser.run("document.querySelector('#prompt button').click()")


def type_in(browser: Chromium, **fields: str) -> str:
    """Press the button, and read what is said when it is done."""
    press(browser, **fields)
    return browser.run(
        """new Promise((done) => {
          const said = document.getElementById("written");
          const look = () =>
            said.textContent.startsWith("Writing") ? setTimeout(look) : done(said.textContent);
          look();
        })"""
    )


def text_of(browser: Chromium) -> str:
    return browser.run("document.getElementById('continuation').textContent")


@needs_chromium
def test_a_typed_prompt_is_continued(browser: Chromium, folder: Path) -> None:
    _, _, words = left.load_model(folder / "language_model" / "hidden256-seed0")
    assert type_in(browser) == "5 tokens added: temperature 0.8, seed 0."
    first = text_of(browser)
    assert first.startswith("w01 w02 ")
    assert len(first.split()) == 7
    chances = [
        float(text.removesuffix(" %"))
        for text in browser.run(
            "[...document.querySelectorAll('#next-words td')].map((each) => each.textContent)"
        )
    ]
    assert len(chances) == 5
    assert chances == sorted(chances, reverse=True)
    assert browser.run("document.querySelectorAll('#looks tbody tr').length") == 7
    cells = "[...document.querySelectorAll('#looks tbody td')].map((each) => each.title)"
    weights = [float(title.split(": ")[1]) for title in browser.run(cells)]
    np.testing.assert_allclose(np.reshape(weights, (7, -1)).sum(axis=0), 1.0, atol=7e-6)
    type_in(browser, seed="1")
    assert text_of(browser) != first
    type_in(browser)
    assert text_of(browser) == first
    assert (
        type_in(browser, temperature="0", count="1") == "1 token added: the most likely each time."
    )
    assert len(text_of(browser).split()) == 3
    type_in(browser, prompt="w01 unheard <b>")
    assert text_of(browser).startswith("w01 unk unk unk unk ")
    unknown = "[...document.querySelectorAll('#continuation .unknown')].map((each) => each.title)"
    assert browser.run(unknown)[0] == "“unheard” is no word of the model"
    assert set(words) >= set(text_of(browser).replace("unk", "UNK").split())


@needs_chromium
@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"prompt": "  "}, "Prompt: type a few words to be continued."),
        ({"prompt": "who is"}, "Prompt: the model knows none of its words: who is."),
        ({"prompt": "PAD UNK"}, "Prompt: the model knows none of its words: PAD UNK."),
        ({"temperature": "hot"}, "Temperature: expected a number of at least 0, got “hot”."),
        ({"temperature": ""}, "Temperature: expected a number of at least 0, got “”."),
        ({"temperature": "-1"}, "Temperature: expected a number of at least 0, got “-1”."),
        ({"temperature": "Infinity"}, "expected a number of at least 0, got “Infinity”."),
        ({"count": "61"}, "Tokens: expected a whole number from 1 to 60, got “61”."),
        ({"count": "0"}, "Tokens: expected a whole number from 1 to 60, got “0”."),
        ({"count": "1.5"}, "Tokens: expected a whole number from 1 to 60, got “1.5”."),
        ({"seed": "a"}, "Seed: expected a whole number from 0 to 4294967295, got “a”."),
        ({"seed": "4294967296"}, "from 0 to 4294967295, got “4294967296”."),
    ],
)
def test_what_cannot_be_continued_is_said(
    browser: Chromium, fields: dict[str, str], text: str
) -> None:
    type_in(browser)
    assert text in type_in(browser, **fields)
    assert text_of(browser) == ""
    assert browser.run("document.querySelectorAll('#text table').length") == 0
    assert browser.run("document.getElementById('written').className") == "error"
    assert type_in(browser).startswith("5 tokens")
    assert browser.run("document.getElementById('written').className") == ""


@needs_chromium
def test_a_new_text_replaces_one_that_is_being_written(browser: Chromium) -> None:
    press(browser, count="60")
    assert type_in(browser, prompt="w05", count="3") == "3 tokens added: temperature 0.8, seed 0."
    # as long as the first would have taken: a timer each token
    browser.run("(async () => { for (let i = 0; i < 80; i++) await new Promise(setTimeout); })()")
    assert len(text_of(browser).split()) == 4
    assert browser.run("document.getElementById('written').textContent").startswith("3 tokens")
    assert browser.errors == []


@needs_chromium
def test_a_page_asks_for_nothing_and_fits_a_phone(browser: Chromium) -> None:
    assert {address.split(":")[0] for address in browser.requests} <= {"file", "data", "blob"}
    size = {"width": 390, "height": 844, "deviceScaleFactor": 1, "mobile": True}
    type_in(browser, count="60")
    browser.call("Emulation.setDeviceMetricsOverride", **size)
    try:
        assert browser.run("document.documentElement.scrollWidth") <= 390
    finally:
        browser.call("Emulation.clearDeviceMetricsOverride")
