"""The report as one HTML file that needs nothing else: no network, no files beside it.

What is large (the plotting library, the curves) is in it as gzip in base64, which page.js unpacks;
everything else can be read without a script. Text is escaped where it enters.
"""

from __future__ import annotations

import base64
import gzip
import io
import json
import re
from html import escape
from importlib.resources import files
from pathlib import Path
from typing import Any, get_args

from experiments.report.curves import MOST, curves_of
from experiments.report.report import Chapter, Contents, plain
from experiments.results.claims import Verdict
from experiments.results.figures import picture
from experiments.results.results import Drawing, Table
from experiments.sweep.folder import SMALL_SAID
from minigrad.files import write_file

DPI = 144  # of figures: sharp on a screen of two dots a pixel at the width of the text
LONG = 60  # characters of a cell from which a table is one of words, stacked on a narrow screen
# nothing from outside is loaded, even if something in the page asked for it
POLICY = "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data:"


def write(contents: Contents, path: Path) -> Path:
    """Write the page."""
    write_file(path, html(contents).encode())
    return path


def html(contents: Contents) -> str:
    """The page: what was found, and below it what that rests on."""
    report, chapters = contents
    errata = contents.errata()
    links = [(each.name, each.title) for each in (*chapters, *report.sections, errata)]
    toc = "".join(f'<li><a href="#{name}">{escape(text)}</a></li>' for name, text in links)
    body = [
        f"<header><h1>{escape(report.title)}</h1>",
        *([f'<p class="small" role="note">{escape(SMALL_SAID)}</p>'] if contents.small else []),
        f"{answers(contents)}</header><main>",
        f'<p class="about">{escape(report.about)}</p>',
        f'<nav aria-label="Contents"><ol>{toc}</ol></nav>',
        *map(section, chapters),
        *(
            f'<section id="{each.name}"><h2>{escape(each.title)}</h2>{each.html(chapters)}'
            f"</section>"
            for each in report.sections
        ),
        f'<section id="errata">{table(errata, heading="h2")}</section></main>',
    ]
    curves = {c.name: curves_of(c.trials, c.results.groups) for c in chapters if c.trials}
    own = [path.read_text(encoding="utf-8") for each in report.sections for path in each.scripts]
    scripts = [packed("plotly", library()), packed("curves", in_json(curves))]
    scripts += [f"<script>{script}</script>" for script in (asset("page.js"), *own)]
    return "\n".join(
        [
            '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">',
            f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            '<meta name="color-scheme" content="light dark">',
            f"<title>{escape(report.title)}</title><style>{asset('page.css')}</style></head><body>",
            *body,
            *scripts,
            "</body></html>\n",
        ]
    )


# --- what was found -------------------------------------------------------------------------------
def answers(contents: Contents) -> str:
    """What each experiment found, linked to its table, and how many claims of texts agree."""
    content = contents.answers()
    items = []
    for chapter in contents.chapters:
        name, answer = escape(chapter.name), cell("not run")
        if found := chapter.answer:
            said = escape(found.text.replace(" ± ", "\u00a0±\u00a0"))
            answer = f'<a href="#{name}-{found.table}">{said}</a>'
        counts = " ".join(
            f'<span class="verdict {dashed(verdict)}">{n} {verdict}</span>'
            for verdict, n in chapter.verdicts.items()
        )
        badges = f' <a class="counts" href="#{name}-claims">{counts}</a>' if counts else ""
        items.append(
            f'<li><a class="chapter" href="#{name}">{escape(chapter.title)}</a> '
            f"<span>{answer}{badges}</span></li>"
        )
    return (
        f'<div id="answers"><h2>{content.title}</h2><ul>{"".join(items)}</ul>'
        f'<p class="note">{text(content.note)}</p></div>'
    )


# --- chapters -------------------------------------------------------------------------------------
def section(chapter: Chapter) -> str:
    name = escape(chapter.name)
    parts = [
        f"<h2>{escape(chapter.title)}</h2>",
        f'<p class="protocol">{text(chapter.protocol)}</p>',
    ]
    if chapter.trials:
        parts.append(live(chapter))
    parts += [figure(drawing) for drawing in chapter.results.drawings]
    parts += [table(each, f"{name}-{each.name}") for each in chapter.results.all_tables()]
    return f'<section id="{name}">{"".join(parts)}</section>'


def live(chapter: Chapter) -> str:
    """The place where page.js draws the curves of all runs, and what is said of it."""
    lines = ", ".join(f"{group.label} {group.dash}" for group in chapter.results.groups)
    note = (
        f"Every run. Colour: what the experiment varies{'; ' if lines else ''}{lines}. Point at a "
        f"curve to read it, press a name to hide or show it. A logarithmic axis leaves out step 0."
    )
    if thinned := [t.folder.name for t in chapter.trials if len(t.records) > MOST]:
        note += f" Of {', '.join(thinned)} {MOST} evaluated steps are drawn, evenly chosen."
    return (
        f'<figure class="curves" data-chapter="{escape(chapter.name)}"><div class="controls"></div>'
        f'<div class="plot" role="img" aria-label="Curves of every run, interactive"></div>'
        f'<div class="runs"></div><figcaption>{escape(note)}</figcaption>'
        f"<noscript>The curves need JavaScript; the figures below do not.</noscript></figure>"
    )


def figure(drawing: Drawing) -> str:
    """A figure as an image. WebP without loss is smaller than PNG."""
    data, caption = io.BytesIO(), drawing.caption
    picture(drawing.figure, DPI).convert("RGB").save(data, "webp", lossless=True, quality=100)
    width, height = (round(inches * DPI / 2) for inches in drawing.figure.get_size_inches())
    return (
        f"<figure{' class=paper' * drawing.live}>"
        f'<img src="data:image/webp;base64,{base64.b64encode(data.getvalue()).decode()}" '
        f'width="{width}" height="{height}" alt="{escape(plain(caption))}">'
        f"<figcaption>{text(caption)}</figcaption></figure>"
    )


# --- tables ---------------------------------------------------------------------------------------
def table(content: Table, name: str = "", heading: str = "h3") -> str:
    """A table under its title; one of words can be stacked on a narrow screen."""
    long = any(len(cell) > LONG for row in content.rows for cell in row)
    kind = "words" if long else "numbers"
    head = "".join(f'<th scope="col">{text(column)}</th>' for column in content.columns)
    rows = []
    for row in content.rows:
        cells = [
            f'<td{" class=spread" * (" ± " in value)} data-label="{escape(plain(column))}">'
            f"{cell(value)}</td>"
            for column, value in zip(content.columns, row, strict=True)
        ]
        rows.append(f"<tr>{''.join(cells)}</tr>")
    note = f"<p>{text(content.note)}</p>" if content.note else ""
    place = f' id="{name}"' if name else ""
    return (
        f"<{heading}{place}>{text(content.title)}</{heading}>{note}"
        f'<div class="scroll {kind}" tabindex="0"><table class="{kind}">'
        f"<thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table></div>"
    )


def cell(value: str) -> str:
    """A cell: a verdict as a badge; a mean and its ± may stand on two lines, each whole."""
    if value in get_args(Verdict):
        return f'<span class="verdict {dashed(value)}">{value}</span>'
    return re.sub(r" (± \S+?)(</strong>|$)", r" <span>\1</span>\2", text(value))


def dashed(verdict: str) -> str:
    return verdict.replace(" ", "-")


def text(value: str) -> str:
    """Text of results, which may have **bold** in it."""
    return re.sub(r"\*\*(.+?)\*\*", r"<strong>\1</strong>", escape(value))


# --- what is packed into the page -----------------------------------------------------------------
def packed(name: str, data: bytes) -> str:
    """Data in a script element that is not run. Without a time inside: same data, same page."""
    code = base64.b64encode(gzip.compress(data, mtime=0)).decode()
    return f'<script type="application/gzip" id="{name}">{code}</script>'


def in_json(value: Any) -> bytes:
    return json.dumps(value, allow_nan=False, separators=(",", ":")).encode()


def library() -> bytes:
    """plotly.js, as the package plotly brings it."""
    return (files("plotly") / "package_data" / "plotly.min.js").read_bytes()


def asset(name: str) -> str:
    return (files("experiments.report") / name).read_text(encoding="utf-8")
