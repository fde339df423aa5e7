"""The site says when it is not whole, and docstrings become Markdown that can be read."""

from pathlib import Path
from textwrap import dedent

import pytest
from chromium import Chromium, needs_chromium

from website import check, docstrings

ASSETS = Path(__file__).parents[1] / "docs" / "assets"

PAGE = """<h1 id="top">A</h1> <a href="b.html#end">b</a> <a href="#top">up</a> <img src="a.png">
<a href="https://example.org/">elsewhere</a> <a href="mailto:a@example.org">letter</a>"""


@pytest.fixture
def site(tmp_path):
    (tmp_path / "a.html").write_text(PAGE)
    (tmp_path / "b.html").write_text('<p id="end">b</p> <a href="/a.html">a</a>')
    (tmp_path / "a.png").touch()
    return tmp_path


def test_a_whole_site_has_no_faults(site):
    assert check.broken(site) == []


@pytest.mark.parametrize(
    ("before", "after", "fault"),
    [
        ("b.html#end", "c.html", "c.html does not exist"),
        ("b.html#end", "b.html#start", "b.html#start has no such anchor"),
        ("#top", "#bottom", "#bottom has no such anchor"),
        ("a.png", "b.png", "b.png does not exist"),
        ("a.png", "//cdn.org/a.png", "//cdn.org/a.png would be loaded from a network"),
    ],
)
def test_faults_are_named(site, before, after, fault):
    (site / "a.html").write_text(PAGE.replace(f'="{before}"', f'="{after}"'))
    assert check.broken(site) == [f"a.html: {fault}"]


def test_formulas_are_code_and_arguments_a_list():
    text = """\
        y = a_i * b_i.    ga = g b    gb = g a

        With `scale` [1]:
            s  = q kᵀ
            gs = p (gp - D)
        mask, bias: of shape (T,
              S), a < b
        eps: a small number
        Kept: p.
        Source: Somebody (2017)."""
    assert docstrings.markdown(dedent(text)).split("\n") == [
        "",
        "```{.text .formulas}",
        "y = a_i * b_i.",
        "ga = g b",
        "gb = g a",
        "```",
        "",
        "",
        "",
        r"With `scale` \[1\]:",
        "",
        "```{.text .aligned}",
        "s  = q kᵀ",
        "gs = p (gp - D)",
        "```",
        "- `mask, bias`: of shape (T, S), a &lt; b",
        "- `eps`: a small number",
        "",
        "Kept: p.",
        "",
        "Source: Somebody (2017).",
        "",
    ]


@needs_chromium
def test_a_page_from_a_folder_has_workers(tmp_path):
    """Search runs in one. Without the script a browser refuses it."""
    script = (ASSETS / "iframe-worker.js").read_text(encoding="utf-8")
    (tmp_path / "page.html").write_text(f"<script>{script}</script>")
    (tmp_path / "double.js").write_text("onmessage = (e) => postMessage(2 * e.data)")
    answer = """new Promise((resolve, reject) => {
      const worker = new Worker("double.js");
      worker.onmessage = (e) => { worker.terminate(); resolve(e.data); };
      worker.onerror = () => reject(new Error("refused"));
      worker.postMessage(21);
    })"""
    with Chromium(tmp_path / "profile") as browser:
        browser.open(tmp_path / "page.html")
        assert browser.run(answer) == 42
        assert not browser.run("document.querySelector('iframe')")
