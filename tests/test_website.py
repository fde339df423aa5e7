"""The site says when it is not whole, and docstrings become Markdown that can be read."""

from textwrap import dedent

import pytest

from website import check, docstrings

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
