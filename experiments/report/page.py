"""The report as one HTML file that needs nothing else: no network, no files beside it.

What is large (the plotting library, the curves, the weights) is in it as gzip in base64, which
page.js unpacks; everything else can be read without a script. Text is escaped where it enters.
"""

from __future__ import annotations

import base64
import gzip
import io
import json
import re
from collections.abc import Sequence
from html import escape
from importlib.resources import files
from pathlib import Path
from typing import Any, get_args

from experiments.report import weights
from experiments.report.content import (
    ABOUT,
    TITLE,
    Chapter,
    Report,
    overview,
    picture,
    plain,
    tables_of,
)
from experiments.report.curves import MOST, curves_of
from experiments.results.results import Drawing, Table, Verdict
from experiments.sweep.folder import SMALL_SAID
from minigrad.files import write_file

DPI = 144  # of figures: sharp on a screen of two dots a pixel at the width of the text
LONG = 60  # characters of a cell from which a table is one of words, stacked on a narrow screen
# nothing from outside is loaded, even if something in the page asked for it
POLICY = "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data:"


def write(report: Report, path: Path) -> Path:
    """Write the page."""
    write_file(path, html(report).encode())
    return path


def html(report: Report) -> str:
    chapters = report.chapters
    links = [("overview", "At a glance"), *((c.name, c.title) for c in chapters)]
    links += [("attention", "Attention, live"), ("errata", report.errata.title)]
    toc = "".join(f'<li><a href="#{name}">{escape(text)}</a></li>' for name, text in links)
    body = [
        f"<header><h1>{escape(TITLE)}</h1><p>{escape(ABOUT)}</p>",
        *([f'<p class="small" role="note">{escape(SMALL_SAID)}</p>'] if report.small else []),
        f'<nav aria-label="Contents"><ol>{toc}</ol></nav></header><main>',
        f'<section id="overview">{table(overview(chapters), heading="h2")}</section>',
        *(section(chapter) for chapter in chapters),
        attention(chapters),
        f'<section id="errata">{table(report.errata, heading="h2")}</section>',
        "</main>",
    ]
    scripts = [
        packed("plotly", library()),
        packed("curves", in_json({c.name: curves_of(c.trials) for c in chapters if c.trials})),
        *(f"<script>{asset(name)}</script>" for name in ("gpt.js", "page.js")),
    ]
    return "\n".join(
        [
            '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">',
            f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            '<meta name="color-scheme" content="light dark">',
            f"<title>{escape(TITLE)}</title><style>{asset('page.css')}</style></head><body>",
            *body,
            *scripts,
            "</body></html>\n",
        ]
    )


# --- chapters -------------------------------------------------------------------------------------
def section(chapter: Chapter) -> str:
    parts = [
        f"<h2>{escape(chapter.title)}</h2>",
        f'<p class="protocol">{text(chapter.protocol)}</p>',
    ]
    if chapter.trials:
        parts.append(interactive(chapter))
    parts += [figure(drawing) for drawing in chapter.results.drawings]
    parts += [table(each) for each in tables_of(chapter.results)]
    return f'<section id="{escape(chapter.name)}">{"".join(parts)}</section>'


def interactive(chapter: Chapter) -> str:
    """The place where page.js draws the curves of all runs, and what is said of it."""
    note = (
        "Every run. Colour: what the experiment varies; LSTM solid, GPT dashed. Point at a curve "
        "to read it, press a name to hide or show it. A logarithmic axis leaves out step 0."
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
    picture(drawing, DPI).convert("RGB").save(data, "webp", lossless=True, quality=100)
    width, height = (round(inches * DPI / 2) for inches in drawing.figure.get_size_inches())
    return (
        f'<figure><img src="data:image/webp;base64,{base64.b64encode(data.getvalue()).decode()}" '
        f'width="{width}" height="{height}" alt="{escape(plain(caption))}">'
        f"<figcaption>{text(caption)}</figcaption></figure>"
    )


def table(content: Table, heading: str = "h3") -> str:
    """A table under its title; one of words can be stacked on a narrow screen."""
    words = any(len(cell) > LONG for row in content.rows for cell in row)
    head = "".join(f'<th scope="col">{text(column)}</th>' for column in content.columns)
    rows = []
    for row in content.rows:
        cells = [
            f'<td data-label="{escape(plain(column))}">{cell(value)}</td>'
            for column, value in zip(content.columns, row, strict=True)
        ]
        rows.append(f"<tr>{''.join(cells)}</tr>")
    note = f"<p>{text(content.note)}</p>" if content.note else ""
    return (
        f'<{heading}>{text(content.title)}</{heading}>{note}<div class="scroll" tabindex="0">'
        f'<table class="{"words" if words else "numbers"}"><thead><tr>{head}</tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table></div>"
    )


def cell(value: str) -> str:
    """A cell; a verdict as a badge."""
    if value in get_args(Verdict):
        return f'<span class="verdict {value.replace(" ", "-")}">{value}</span>'
    return text(value)


def text(value: str) -> str:
    """Text of results, which may have **bold** in it."""
    return re.sub(r"\*\*(.+?)\*\*", r"<strong>\1</strong>", escape(value))


def attention(chapters: Sequence[Chapter]) -> str:
    """The section in which an equation can be typed."""
    head = '<section id="attention"><h2>Attention, live</h2>'
    trial = weights.choose(chapters)
    if trial is None:
        return (
            f"{head}<p>No checkpoint of a small GPT lies beside the records, so there is nothing "
            f"to compute with. Train one with <code>python -m experiments.sanity</code>.</p>"
            f"</section>"
        )
    about, numbers = weights.pack(trial.folder)
    example = "6 + 19 =" if about["p"] > 19 else "6 + 9 ="
    example = example.replace("+", about["operator"])
    return (
        f"{head}<p>The GPT {escape(trial.folder.name)} after {about['step']:,} steps, computed in "
        f"this page. Type a sum, whole or cut off anywhere, and see where each head looks and what "
        f"the model says next. It knows the numbers from 0 to {about['p'] - 1} and reads at most "
        f"{about['length']} tokens, with the BOS that is put before them.</p>"
        f'<form id="equation"><label>Equation <input name="text" value="{escape(example)}" '
        f'autocomplete="off" spellcheck="false" inputmode="text"></label>'
        f"<button>Read it</button></form>"
        f'<p id="said" role="status"></p><div id="predictions"></div><div id="maps"></div>'
        f"<noscript>This needs JavaScript.</noscript>"
        f"{packed('gpt-about', in_json(about))}{packed('gpt-numbers', numbers)}</section>"
    )


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
