"""The chapters of the texts as notebooks, made from the same Markdown and executed.

    python -m exercises.notebooks --out build/notebooks

A chapter begins at a heading of level two. Its notebook begins with the code that stands before the
first chapter. Blocks of Python become cells; blocks in other languages, and those below
`<!-- not run: why -->`, stay text.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import jupytext
import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError
from traitlets.config import Config

from minigrad.files import write_file

DOCS = Path(__file__).parents[1] / "docs"
DOCUMENTS = ("reading.md", "mistakes.md")


def main(args: Sequence[str] | None = None) -> int:
    """Write every notebook with its outputs; 1 if a cell fails, with what it raised on stderr."""
    parser = argparse.ArgumentParser(prog="python -m exercises.notebooks", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--out", type=Path, required=True, help="the folder for the notebooks")
    out = parser.parse_args(args).out
    out.mkdir(parents=True, exist_ok=True)
    for document in DOCUMENTS:
        texts = chapters((DOCS / document).read_text(encoding="utf-8"))
        for number, (title, text) in enumerate(texts.items(), 1):
            path = out / name_of(document, number, title)
            try:
                notebook = executed(notebook_of(links_from(text, out)))
            except CellExecutionError as error:
                print(f"{document}, {title}: {error}", file=sys.stderr)
                return 1
            write_file(path, nbformat.writes(notebook).encode())
            print(path)
    return 0


def chapters(text: str) -> dict[str, str]:
    """The Markdown of each chapter by its title, with the code that is run before each."""
    before, *parts = re.split(r"^## (.*)$", as_cells(text), flags=re.M)
    shared = "\n".join(re.findall(r"^```python\n.*?^```$", before, flags=re.M | re.S))
    titles, texts = parts[::2], parts[1::2]
    return {t: f"{shared}\n\n## {t}{text}" for t, text in zip(titles, texts, strict=True)}


def as_cells(text: str) -> str:
    """Markdown with ``` around the blocks to run and ~~~ around others: jupytext takes ``` only."""
    blocks = r"^(<!-- not run: [^\n]*\n)?```([^\n]*)\n(.*?)^```$"

    def fenced(block: re.Match[str]) -> str:
        if block[2] == "python" and not block[1]:
            return block[0]
        return f"{block[1] or ''}~~~{block[2]}\n{block[3]}~~~"

    return re.sub(blocks, fenced, text, flags=re.M | re.S)


def links_from(text: str, folder: Path) -> str:
    """Markdown with the relative links of docs/ as they are from a folder."""
    docs = Path(os.path.relpath(DOCS, folder)).as_posix()
    return re.sub(r"\]\((?![a-z]+:|#)", f"]({docs}/", text)


def notebook_of(text: str) -> nbformat.NotebookNode:
    """Markdown as a notebook for Python."""
    notebook = jupytext.reads(text, fmt="md")
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    notebook.metadata = nbformat.from_dict({"kernelspec": kernel})
    return notebook


def executed(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """A notebook with its outputs. What its cells write is gone: they run in an empty folder."""
    with tempfile.TemporaryDirectory() as folder:
        place = {"metadata": {"path": folder}}
        sockets = Config(KernelManager={"transport": "ipc", "ip": f"{folder}/kernel"})  # no ports
        return NotebookClient(notebook, config=sockets, resources=place, timeout=120).execute()


def name_of(document: str, number: int, title: str) -> str:
    """The file of a chapter, such as "reading-01-the-diamond.ipynb"."""
    words = re.sub(r"\W+", "-", re.sub(r"^\d+\.", "", title).lower()).strip("-")
    return f"{Path(document).stem}-{number:02}-{words}.ipynb"


if __name__ == "__main__":
    sys.exit(main())
