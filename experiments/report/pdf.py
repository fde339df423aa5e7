"""The report as a PDF: all figures and tables of the page, with contents and page numbers."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, get_args

import matplotlib as mpl
from fpdf import FPDF
from fpdf.fonts import FontFace
from fpdf.outline import TableOfContents

from experiments.report.report import Chapter, Contents, plain, unbroken
from experiments.results.claims import Verdict
from experiments.results.figures import picture
from experiments.results.results import Drawing, Table
from experiments.sweep.folder import SMALL_SCALE
from minigrad.files import write_file

DPI = 200  # of figures, enough for print
SIZE = 9.0  # of the font, in points
READABLE_SIZE = 7.0  # least font size on a portrait page; other tables get a landscape page
LEAST_SIZE = 6.0
MARGIN = 18  # mm, left and right
PORTRAIT_WIDTH = 210 - 2 * MARGIN
DARK, SOFT, LIGHT = (36, 39, 43), (98, 104, 111), (205, 205, 200)
COLORS = {"agrees": (20, 104, 63), "differs": (163, 58, 18), "undecided": (107, 89, 0)}
EPOCH = datetime(2000, 1, 1, tzinfo=UTC)  # a fixed date: the same records give the same file


def write(contents: Contents, path: Path) -> Path:
    """Write the PDF."""
    write_file(path, pages(contents))
    return path


def pages(contents: Contents) -> bytes:
    report, chapters = contents
    pdf = Document(report.title)
    pdf.add_page()
    pdf.lines(report.title, size=20, height=9, style="B")
    if contents.small:
        pdf.paragraph(f"**{SMALL_SCALE}**")
    pdf.heading(contents.answers().title)
    pdf.add_table(contents.answers())
    pdf.paragraph(report.about)
    pdf.insert_toc_placeholder(list_of_sections, allow_extra_pages=True)
    for chapter in chapters:
        pdf.add_chapter(chapter)
    pdf.add_page()
    pdf.heading(contents.errata().title)
    pdf.add_table(contents.errata())
    return bytes(pdf.output())


def list_of_sections(pdf: FPDF, sections: list[Any]) -> None:
    """The sections with their pages, each a link."""
    pdf.ln(4)
    pdf.set_font(style="B", size=12)
    pdf.cell(0, 8, "Contents", new_x="LMARGIN", new_y="NEXT")
    pdf.set_font(style="", size=SIZE)
    TableOfContents(ignore_pages_before_toc=False).render_toc(pdf, sections)


class Document(FPDF):
    """An empty document with the font of figures, which has Greek letters and arrows."""

    def __init__(self, title: str) -> None:
        super().__init__()
        fonts = Path(mpl.get_data_path()) / "fonts" / "ttf"
        self.add_font("DejaVu", "", fonts / "DejaVuSans.ttf")
        self.add_font("DejaVu", "B", fonts / "DejaVuSans-Bold.ttf")
        self.set_font("DejaVu", size=SIZE)
        self.set_text_color(*DARK)
        self.set_margins(MARGIN, 16)
        self.set_auto_page_break(True, margin=18)
        self.set_creation_date(EPOCH)
        self.set_title(title)
        self.set_lang("en")

    def footer(self) -> None:
        self.set_y(-12)
        self.set_font(style="", size=8)
        self.set_text_color(*SOFT)
        self.cell(0, 5, f"{self.page_no()}", align="C")
        self.set_text_color(*DARK)

    def add_chapter(self, chapter: Chapter) -> None:
        if chapter.trials:
            self.add_page()
        else:  # only a line on what was not run
            self.turn("portrait")
            self.keep_together(40)
        self.heading(chapter.title)
        self.paragraph(chapter.protocol)
        for drawing in chapter.results.drawings:
            self.add_drawing(drawing)
        for table in chapter.results.all_tables():
            size, _ = self.columns(table, PORTRAIT_WIDTH)
            self.turn("portrait" if size >= READABLE_SIZE else "landscape")
            self.keep_together(40)
            self.lines(table.title, size=10, height=6, style="B")
            self.add_table(table)

    def heading(self, title: str) -> None:
        """A heading that is also in the table of contents."""
        self.set_font(style="B", size=14)
        self.start_section(plain(title))
        self.lines(title, size=14, height=8, style="B")
        self.ln(1)

    def lines(self, text: str, *, size: float, height: float, style: str = "") -> None:
        """Text in one font size and line height, below the last content."""
        self.set_font(style=style, size=size)
        self.multi_cell(0, height, plain(text), align="L", new_x="LMARGIN", new_y="NEXT")

    def paragraph(self, text: str) -> None:
        self.set_font(style="", size=SIZE)
        self.set_text_color(*SOFT)
        for i, part in enumerate(text.split("**")):  # every second part is bold
            self.set_font(style="B" if i % 2 else "")
            self.write(5, part)
        self.set_text_color(*DARK)
        self.set_font(style="")
        self.ln(8)

    def add_drawing(self, drawing: Drawing) -> None:
        """A figure with its caption, as wide as the text or as high as the page."""
        width, height = drawing.figure.get_size_inches()
        caption = plain(drawing.caption)
        self.set_font(style="", size=8)
        below = self.multi_cell(0, 4.2, caption, dry_run=True, output="HEIGHT")
        room = self.eph - below - 14  # so that a heading fits above
        scale = min(self.epw / width, room / height, 25.4 * 1.1)  # mm/inch; up to 10 % larger
        self.keep_together(height * scale + below + 4)
        image = picture(drawing.figure, DPI)
        self.image(image, w=width * scale, h=height * scale, alt_text=caption)
        self.set_text_color(*SOFT)
        self.lines(caption, size=8, height=4.2)
        self.set_text_color(*DARK)
        self.ln(4)

    # --- tables -----------------------------------------------------------------------------------
    def add_table(self, content: Table) -> None:
        """A table with its note, and columns of the widths of `columns`."""
        if content.note:
            self.paragraph(content.note)
        size, widths = self.columns(content, self.epw)
        self.set_font(style="", size=size)
        self.set_draw_color(*LIGHT)
        self.set_line_width(0.15)
        with self.table(
            col_widths=widths, width=min(sum(widths), self.epw), line_height=size * 0.5,
            align="L", text_align="L", v_align="TOP", padding=(0.8, 1.2),
            headings_style=FontFace(emphasis="B", color=SOFT), borders_layout="HORIZONTAL_LINES",
        ) as table:  # fmt: skip
            table.row([unbroken(column) for column in content.columns])
            for cells in content.rows:
                row = table.row()
                for cell in cells:
                    bold = cell.startswith("**") or cell in get_args(Verdict)
                    style = FontFace(emphasis="B" if bold else "", color=COLORS.get(cell, DARK))
                    row.cell(unbroken(cell), style=style)
        self.ln(5)

    def columns(self, content: Table, width: float) -> tuple[float, list[float]]:
        """(font size, widths of columns in mm) for a page of this width.

        The largest readable size with every cell on one line. If there is none, the largest size
        with no word broken; the remaining width is divided by how much more the columns need.
        """
        columns = [
            [unbroken(c) for c in column]
            for column in zip(content.columns, *content.rows, strict=True)
        ]
        sizes = [SIZE - 0.5 * i for i in range(round(2 * (SIZE - LEAST_SIZE)) + 1)]
        for size in (size for size in sizes if size >= READABLE_SIZE):
            unwrapped = [self.widest(size, column) for column in columns]
            if sum(unwrapped) <= width:
                return size, unwrapped
        for size in sizes:
            words = [self.widest(size, " ".join(column).split(" ")) for column in columns]
            if sum(words) <= width:
                break
        unwrapped = [self.widest(size, column) for column in columns]
        shares = [(full - word) ** 0.5 for full, word in zip(unwrapped, words, strict=True)]
        spare = max(width - sum(words), 0.0) / (sum(shares) or 1.0)
        return size, [word + share * spare for word, share in zip(words, shares, strict=True)]

    def widest(self, size: float, texts: Iterable[str]) -> float:
        """The width of the widest text in bold, in mm, with padding."""
        self.set_font(style="B", size=size)
        return max((self.get_string_width(text) for text in texts), default=0.0) + 3.4

    # --- pages ------------------------------------------------------------------------------------
    def turn(self, orientation: str) -> None:
        """Begin a new page unless this one is "portrait" or "landscape" as asked."""
        if orientation != ("landscape" if self.w > self.h else "portrait"):
            self.add_page(orientation=orientation)

    def keep_together(self, height: float) -> None:
        """Begin a new page if this one has less than `height` mm left."""
        if self.will_page_break(height):
            self.add_page(same=True)
