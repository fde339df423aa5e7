"""The report as one HTML file that needs nothing else: no network, no files beside it.

page.html says how it is made. What is large (the plotting library, the curves) is in it as gzip in
base64, which page.js unpacks; everything else can be read without a script.
"""

from __future__ import annotations

import base64
import gzip
import io
import json
import re
from importlib.resources import files
from pathlib import Path
from typing import Any, get_args

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from experiments.report.curves import MOST, curves_of
from experiments.report.report import Chapter, Contents, plain, unbroken
from experiments.results.claims import Verdict
from experiments.results.figures import picture
from experiments.results.results import Drawing, Table
from experiments.sweep.folder import SMALL_SCALE
from minigrad.files import write_file

HERE = Path(__file__).parent
DPI = 144  # of figures: sharp on a screen of two dots a pixel at the width of the text
LONG = 60  # characters of a cell from which a table is one of words, stacked on a narrow screen


def write(contents: Contents, path: Path) -> Path:
    """Write the page."""
    write_file(path, html(contents).encode())
    return path


def html(contents: Contents) -> str:
    """The page: the answers, and below them the tables and figures behind them."""
    report, chapters = contents
    library = (files("plotly") / "package_data" / "plotly.min.js").read_bytes()
    curves = {
        c.name: curves_of(c.trials, c.results.groups, c.results.shown) for c in chapters if c.trials
    }
    # a script that several sections need stands there once
    paths = dict.fromkeys(path for each in report.sections for path in each.scripts)
    return rendered(
        "page.html",
        report=report,
        contents=contents,
        answers=contents.answers(),
        errata=contents.errata(),
        small=SMALL_SCALE,
        most=MOST,
        data=packed("plotly", library) + packed("curves", in_json(curves)),
        scripts=[path.read_text(encoding="utf-8") for path in (HERE / "page.js", *paths)],
    )


def rendered(template: str, **values: Any) -> str:
    """A template of this folder with these values, the style of pages and the filters below."""
    settings = {"autoescape": True, "trim_blocks": True, "lstrip_blocks": True}
    environment = Environment(loader=FileSystemLoader(HERE), undefined=StrictUndefined, **settings)
    environment.tests["wordy"] = wordy
    environment.globals["verdicts"] = get_args(Verdict)
    for function in (plain, unbroken, bold, spread, image, thinned):
        environment.filters[function.__name__] = function
    css = (HERE / "page.css").read_text(encoding="utf-8")
    return environment.get_template(template).render(css=css, **values)


# --- what page.html asks for ----------------------------------------------------------------------
def wordy(table: Table) -> bool:
    return any(len(cell) > LONG for row in table.rows for cell in row)


def bold(text: str) -> Markup:
    """Text of results, which may have **bold** in it."""
    return Markup(re.sub(r"\*\*(.+?)\*\*", r"<strong>\1</strong>", str(escape(text))))


def spread(text: str) -> Markup:
    """A cell, in which a mean and its ± may stand on two lines, each whole."""
    return Markup(re.sub(r" (± \S+?)(</strong>|$)", r" <span>\1</span>\2", str(bold(text))))


def image(drawing: Drawing) -> dict[str, Any]:
    """A figure for the width of the text. WebP without loss is smaller than PNG."""
    data = io.BytesIO()
    picture(drawing.figure, DPI).convert("RGB").save(data, "webp", lossless=True, quality=100)
    width, height = (round(inches * DPI / 2) for inches in drawing.figure.get_size_inches())
    code = base64.b64encode(data.getvalue()).decode()
    return {"data": code, "width": width, "height": height}


def thinned(chapter: Chapter) -> list[str]:
    """The trials of which not every step is drawn."""
    return [trial.folder.name for trial in chapter.trials if len(trial.records) > MOST]


# --- what is packed into the page -----------------------------------------------------------------
def packed(name: str, data: bytes) -> str:
    """Data in a script element that is not run. Without a time inside: same data, same page."""
    code = base64.b64encode(gzip.compress(data, mtime=0)).decode()
    return f'<script type="application/gzip" id="{name}">{code}</script>'


def in_json(value: Any) -> bytes:
    return json.dumps(value, allow_nan=False, separators=(",", ":")).encode()
