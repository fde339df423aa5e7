"""The report as a PDF: every figure and table of the page, with contents and page numbers."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import matplotlib as mpl

from experiments.report.report import Chapter, Contents, plain
from experiments.results.claims import Verdict
from experiments.results.figures import picture
from experiments.results.results import Drawing, Table
from experiments.sweep.folder import SMALL_SAID
from minigrad.files import write_file

if TYPE_CHECKING:
    from fpdf import FPDF

DPI = 200  # of figures: what a printer shows of lines and letters
SIZE = 9.0  # points
READABLE_SIZE = 7.0  # of letters in a table; one that needs smaller ones gets a page on its side
LEAST_SIZE = 6.0
MARGIN = 18  # mm, left and right
PORTRAIT_WIDTH = 210 - 2 * MARGIN
DARK, SOFT, LIGHT = (36, 39, 43), (98, 104, 111), (205, 205, 200)
COLORS = {"agrees": (20, 104, 63), "differs": (163, 58, 18), "undecided": (107, 89, 0)}
EPOCH = datetime(2000, 1, 1, tzinfo=UTC)  # no date inside: the same records give the same file


def write(contents: Contents, path: Path) -> Path:
    """Write the PDF."""
    write_file(path, pages(contents))
    return path


def pages(contents: Contents) -> bytes:
    report, chapters = contents
    found, errata = contents.answers(), contents.errata()
    pdf = document(report.title)
    pdf.add_page()
    pdf.set_font(style="B", size=20)
    pdf.multi_cell(0, 9, report.title, align="L", new_x="LMARGIN", new_y="NEXT")
    if contents.small:
        paragraph(pdf, f"**{SMALL_SAID}**")
    heading(pdf, found.title)
    table(pdf, found)
    paragraph(pdf, report.about)
    pdf.insert_toc_placeholder(contents_list, allow_extra_pages=True)
    for chapter in chapters:
        write_chapter(pdf, chapter)
    pdf.add_page()
    heading(pdf, errata.title)
    table(pdf, errata)
    return bytes(pdf.output())


def document(title: str) -> FPDF:
    """An empty document with the font that figures are set in, which has Greek and arrows."""
    from fpdf import FPDF

    class Numbered(FPDF):
        def footer(self) -> None:
            self.set_y(-12)
            self.set_font(style="", size=8)
            self.set_text_color(*SOFT)
            self.cell(0, 5, f"{self.page_no()}", align="C")
            self.set_text_color(*DARK)

    pdf = Numbered()
    fonts = Path(mpl.get_data_path()) / "fonts" / "ttf"
    pdf.add_font("DejaVu", "", fonts / "DejaVuSans.ttf")
    pdf.add_font("DejaVu", "B", fonts / "DejaVuSans-Bold.ttf")
    pdf.set_font("DejaVu", size=SIZE)
    pdf.set_text_color(*DARK)
    pdf.set_margins(MARGIN, 16)
    pdf.set_auto_page_break(True, margin=18)
    pdf.set_creation_date(EPOCH)
    pdf.set_title(title)
    pdf.set_lang("en")
    return pdf


def contents_list(pdf: FPDF, outline: Sequence[Any]) -> None:
    """The list of sections with their pages, each a link."""
    pdf.ln(4)
    pdf.set_font(style="B", size=12)
    pdf.cell(0, 8, "Contents", new_x="LMARGIN", new_y="NEXT")
    pdf.set_font(style="", size=SIZE)
    for section in outline:
        link = pdf.add_link(page=section.page_number)
        pdf.cell(pdf.epw - 12, 6, section.name, link=link)
        pdf.cell(12, 6, str(section.page_number), align="R", link=link,
                 new_x="LMARGIN", new_y="NEXT")  # fmt: skip


# --- pieces ---------------------------------------------------------------------------------------
def write_chapter(pdf: FPDF, chapter: Chapter) -> None:
    if chapter.trials:
        pdf.add_page()
    else:  # a line that says why
        turn(pdf, "portrait")
        keep_together(pdf, 40)
    heading(pdf, chapter.title)
    paragraph(pdf, chapter.protocol)
    for drawing in chapter.results.drawings:
        figure(pdf, drawing)
    for each in chapter.results.all_tables():
        size, _ = columns(pdf, each, PORTRAIT_WIDTH)
        turn(pdf, "portrait" if size >= READABLE_SIZE else "landscape")
        keep_together(pdf, 40)
        pdf.set_font(style="B", size=10)
        pdf.multi_cell(0, 6, plain(each.title), new_x="LMARGIN", new_y="NEXT")
        table(pdf, each)


def heading(pdf: FPDF, title: str) -> None:
    """A heading that stands in the contents."""
    pdf.set_font(style="B", size=14)
    pdf.start_section(plain(title))
    pdf.multi_cell(0, 8, plain(title), new_x="LMARGIN", new_y="NEXT")
    pdf.ln(1)


def paragraph(pdf: FPDF, text: str) -> None:
    pdf.set_font(style="", size=SIZE)
    pdf.set_text_color(*SOFT)
    for i, part in enumerate(text.split("**")):  # every second part is bold
        pdf.set_font(style="B" if i % 2 else "")
        pdf.write(5, part)
    pdf.set_text_color(*DARK)
    pdf.set_font(style="")
    pdf.ln(8)


def figure(pdf: FPDF, drawing: Drawing) -> None:
    """A figure as wide as the text, or as high as what a page leaves for it, and its caption."""
    width, height = drawing.figure.get_size_inches()
    pdf.set_font(style="", size=8)
    caption = plain(drawing.caption)
    below = pdf.multi_cell(0, 4.2, caption, dry_run=True, output="HEIGHT")
    room = pdf.eph - below - 14  # so that a heading fits above
    scale = min(pdf.epw / width, room / height, 25.4 * 1.1)  # mm an inch; not much enlarged
    keep_together(pdf, height * scale + below + 4)
    pdf.image(picture(drawing.figure, DPI), w=width * scale, h=height * scale, alt_text=caption)
    pdf.set_text_color(*SOFT)
    pdf.multi_cell(0, 4.2, caption, align="L", new_x="LMARGIN", new_y="NEXT")
    pdf.set_text_color(*DARK)
    pdf.ln(4)


def table(pdf: FPDF, content: Table) -> None:
    """A table with its note: columns as wide as their text asks for, within limits."""
    from fpdf.fonts import FontFace

    if content.note:
        paragraph(pdf, content.note)
    size, widths = columns(pdf, content, pdf.epw)
    pdf.set_font(style="", size=size)
    pdf.set_draw_color(*LIGHT)
    pdf.set_line_width(0.15)
    head = FontFace(emphasis="B", color=SOFT)
    with pdf.table(
        col_widths=widths, width=min(sum(widths), pdf.epw), line_height=size * 0.5,
        align="L", text_align="L", v_align="TOP", padding=(0.8, 1.2),
        headings_style=head, borders_layout="HORIZONTAL_LINES",
    ) as made:  # fmt: skip
        made.row([unbroken(column) for column in content.columns])
        for cells in content.rows:
            row = made.row()
            for cell in cells:
                bold = cell.startswith("**") or cell in get_args(Verdict)
                color = COLORS.get(cell, DARK)
                row.cell(unbroken(cell), style=FontFace(emphasis="B" if bold else "", color=color))
    pdf.ln(5)


def columns(pdf: FPDF, content: Table, width: float) -> tuple[float, list[float]]:
    """(size of letters, widths in mm) on a page of that width.

    Letters become smaller until every cell is on one line. If for that they were unreadable, they
    become so small that no word is broken, and columns share what is left by their texts' lengths.
    """
    lines = [list(map(unbroken, line)) for line in (content.columns, *content.rows)]
    by_column = list(zip(*lines, strict=True))
    sizes = [SIZE - 0.5 * i for i in range(round(2 * (SIZE - LEAST_SIZE)) + 1)]
    for size in (size for size in sizes if size >= READABLE_SIZE):
        whole = [widest(pdf, size, column) for column in by_column]
        if sum(whole) <= width:
            return size, whole
    for size in sizes:
        words = [widest(pdf, size, " ".join(column).split(" ")) for column in by_column]
        if sum(words) <= width:
            break
    whole = [widest(pdf, size, column) for column in by_column]
    wanted = [(full - word) ** 0.5 for full, word in zip(whole, words, strict=True)]
    spare = max(width - sum(words), 0.0) / (sum(wanted) or 1.0)
    return size, [word + want * spare for word, want in zip(words, wanted, strict=True)]


def unbroken(text: str) -> str:
    """A cell's text, a mean and its ± on one line."""
    return plain(text).replace(" ± ", "\u00a0±\u00a0")


def widest(pdf: FPDF, size: float, texts: Iterable[str]) -> float:
    """The width of the widest text in bold, in mm, with the space around it."""
    pdf.set_font(style="B", size=size)
    return max((pdf.get_string_width(text) for text in texts), default=0.0) + 3.4


def turn(pdf: FPDF, orientation: str) -> None:
    """Go on upright or on the side, on a new page if this one is not so."""
    if orientation != ("landscape" if pdf.w > pdf.h else "portrait"):
        pdf.add_page(orientation=orientation)


def keep_together(pdf: FPDF, height: float) -> None:
    """Begin a new page if that many mm are not left on this one."""
    if pdf.will_page_break(height):
        pdf.add_page(same=True)
