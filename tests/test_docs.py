"""The documents are true: their code runs and prints what they say, their links lead somewhere.

- Every ```python block is run. The blocks of a chapter (a heading of level two) share their names,
  and what stands before the first chapter is run before each. `<!-- not run: why -->` on the line
  above a block exempts it.
- What a statement prints stands behind it as a comment, or on comment lines below it:

      print(b.grad)  # tensor([4., 4., 4.])

  Words must be the same. A number may differ by one in its last digit, for sums are rounded
  differently on other machines; one of more than six digits by 1e-6 of itself, or by 1e-9, ten
  times the rounding error of a difference quotient.
- Relative links, `file.py: symbol`, paths, `make` targets and `python -m` modules must exist.
"""

from __future__ import annotations

import ast
import contextlib
import importlib.util
import io
import re
import tokenize
from functools import cache
from itertools import zip_longest
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parent.parent
DOCUMENTS = (
    "README.md",
    "CONTRIBUTING.md",
    "docs/index.md",
    "docs/reading.md",
    "docs/attention.md",
    "docs/mistakes.md",
    "docs/exercises.md",
    "docs/lecture.md",
    "docs/course.md",
    "docs/design.md",
    "docs/gpu.md",
    "docs/experiments.md",
    "docs/performance.md",
    "docs/dependencies.md",
    "docs/results/sanity/README.md",
    "docs/results/sanity/first_steps.md",
    "docs/results/data_size/README.md",
    "docs/results/regularization/README.md",
    "docs/results/attention_maps/README.md",
    "docs/results/speeches/README.md",
)
PRELUDE = {  # what the file into which the reader writes the op has already imported
    "CONTRIBUTING.md": "import numpy as np\n"
    "from minigrad.graph import Array\n"
    "from minigrad.op import Result, op\n"
}
FOLDERS = (
    "minigrad",
    "kernels",
    "models",
    "experiments",
    "exercises",
    "reference",
    "benchmarks",
    "docs",
    "exercises",
    "website",
    "tests",
)


# --- reading Markdown -----------------------------------------------------------------------------
class Block(NamedTuple):
    """A fenced block of a document."""

    chapter: str  # the heading of level two above it, "" before the first
    line: int  # of its first line of code, from 1
    language: str
    code: str
    exempt: bool


@cache
def read(document: str) -> tuple[str, tuple[Block, ...]]:
    """The text outside of fenced blocks, and the blocks."""
    prose, blocks = [], []
    chapter = before = ""
    start, language, code = 0, "", list[str]()
    for number, line in enumerate((ROOT / document).read_text(encoding="utf-8").split("\n"), 1):
        if line.startswith("```") and not start:
            start, language, code = number + 1, line[3:].strip(), []
        elif line.startswith("```"):
            exempt = before.startswith("<!-- not run:")
            blocks.append(Block(chapter, start, language, "\n".join(code), exempt))
            start = 0
        elif start:
            code.append(line)
        else:
            prose.append(line)
            chapter = line[3:].strip() if line.startswith("## ") else chapter
            before = line
    assert not start, f"{document}:{start}: the block does not end"
    return "\n".join(prose), tuple(blocks)


def chapters() -> list[tuple[str, str]]:
    """(document, chapter) for all that hold Python."""
    found = [
        (document, block.chapter)
        for document in DOCUMENTS
        for block in read(document)[1]
        if block.language == "python" and not block.exempt
    ]
    alone = {document for document, _ in found} - {d for d, chapter in found if chapter}
    return list(dict.fromkeys(f for f in found if f[1] or f[0] in alone))


# --- running --------------------------------------------------------------------------------------
def run(block: Block, document: str, names: dict[str, object]) -> None:
    """Run a block statement by statement, and compare what each prints with its comment."""
    comments = comments_of(block)
    for statement in ast.parse(block.code).body:
        said, last = expected(comments, statement.end_lineno or 0)
        line = block.line - 1 + last
        ast.increment_lineno(statement, block.line - 1)
        module = ast.Module([statement], [])
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            exec(compile(module, str(ROOT / document), "exec", dont_inherit=True), names)
        if printed.getvalue().strip():
            assert same(said, printed.getvalue()), (
                f"{document}:{line}: the text says\n{said}\nand the code printed\n"
                f"{printed.getvalue()}"
            )


def comments_of(block: Block) -> dict[int, tokenize.TokenInfo]:
    """The comments of a block by line."""
    tokens = tokenize.generate_tokens(io.StringIO(block.code).readline)
    return {token.start[0]: token for token in tokens if token.type == tokenize.COMMENT}


def expected(comments: dict[int, tokenize.TokenInfo], line: int) -> tuple[str, int]:
    """What the text says a statement prints that ends on a line, and the last line of that."""
    if line in comments:
        return comments[line].string.removeprefix("#").strip(), line
    said = list[str]()
    while line + 1 in comments and comments[line + 1].line.startswith("#"):
        line += 1
        said.append(comments[line].string.removeprefix("#").strip())
    return "\n".join(said), line


NUMBER = re.compile(r"(?<![\w.])(-?\d+(?:\.\d*)?(?:e[+-]?\d+)?)(?![\w])")


def same(said: str, printed: str) -> bool:
    """Whether two texts agree, line breaks and spaces aside, and numbers to their last digit."""
    one, two = (NUMBER.split(" ".join(text.split())) for text in (said, printed))
    pairs = zip_longest(one, two)
    return all(close(a, b) if i % 2 else a == b for i, (a, b) in enumerate(pairs))


def close(said: str | None, printed: str | None) -> bool:
    if said is None or printed is None:
        return False
    mantissa, _, exponent = said.partition("e")
    if "." not in mantissa and not exponent:
        return said == printed
    unit = 10.0 ** (int(exponent or 0) - len(mantissa.partition(".")[2]))
    digits = len(re.sub(r"^-?[0.]*|\.", "", mantissa))
    allowed = unit if digits <= 6 else max(1e-6 * abs(float(said)), 1e-9)
    return abs(float(said) - float(printed)) <= 1.01 * allowed


@pytest.mark.usefixtures("registry")
@pytest.mark.parametrize(("document", "chapter"), chapters())
def test_code_runs_and_prints_what_the_text_says(document, chapter, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {"__name__": "document"}
    exec(PRELUDE.get(document, ""), names)
    for block in read(document)[1]:
        if block.language == "python" and not block.exempt and block.chapter in ("", chapter):
            run(block, document, names)


def test_a_wrong_text_is_refused():
    names: dict[str, object] = {}
    for code in ("print(0.5004)  # 0.500", "for i in 1, 2:\n    print(i, 'a')\n# 1 a\n# 2 a"):
        run(Block("", 1, "python", code, False), "README.md", names)
    for code in (
        "print(0.5004)  # 0.502",
        "print(3)  # 4",
        "print('a')",
        "print('a b')  # a c",
        "print(1.0, 2.0)  # 1.0",
        "print(1.23456789)  # 1.23456999",
        "print(1e-3)  # 1e-5",
    ):
        with pytest.raises(AssertionError, match=r"README\.md:1: the text says"):
            run(Block("", 1, "python", code, False), "README.md", names)


# --- notebooks ------------------------------------------------------------------------------------
def promised(block: Block) -> str:
    """What the text says that a block prints, all its statements together."""
    comments = comments_of(block)
    lines = []
    for statement in ast.parse(block.code).body:
        names = {node.id for node in ast.walk(statement) if isinstance(node, ast.Name)}
        if "print" in names and not isinstance(statement, (ast.FunctionDef, ast.ClassDef)):
            lines.append(expected(comments, statement.end_lineno or 0)[0])
    return "\n".join(lines)


@pytest.mark.parametrize(
    ("document", "chapter"),
    [(d, chapter) for d, chapter in chapters() if d in ("docs/reading.md", "docs/mistakes.md")],
)
def test_notebooks_print_what_the_text_says(document, chapter):
    pytest.importorskip("nbclient")
    from exercises import notebooks

    text = notebooks.chapters((ROOT / document).read_text(encoding="utf-8"))[chapter]
    notebook = notebooks.executed(notebooks.notebook_of(text))
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    blocks = [
        block
        for block in read(document)[1]
        if block.language == "python" and not block.exempt and block.chapter in ("", chapter)
    ]
    assert [cell.source for cell in cells] == [block.code for block in blocks]
    for cell, block in zip(cells, blocks, strict=True):
        printed = "".join(o.text for o in cell.outputs if o.get("name") == "stdout")
        assert same(promised(block), printed), (
            f"{document}:{block.line}: the text says\n{promised(block)}\nand the notebook printed\n"
            f"{printed}"
        )


TWO_CHAPTERS = """\
```python
x = 1
```
## 1. A
<!-- not run: why -->
```python
no()
```
```sh
ls
```
```python
print(x)
```
## 2. B
the end
"""


def test_what_is_not_to_be_run_stays_text():
    pytest.importorskip("nbclient")
    from exercises import notebooks

    first, second = (
        notebooks.notebook_of(part) for part in notebooks.chapters(TWO_CHAPTERS).values()
    )
    assert [(c.cell_type, c.source.split("\n")[0]) for c in first.cells] == [
        ("code", "x = 1"),
        ("markdown", "## 1. A"),
        ("code", "print(x)"),
    ]
    assert [c.source for c in second.cells] == ["x = 1", "## 2. B\nthe end"]


def test_links_of_notebooks_lead_to_the_texts():
    pytest.importorskip("nbclient")
    from exercises import notebooks

    text = "[a](mistakes.md) [b](https://example.org) [c](#d)"
    found = notebooks.links_from(text, ROOT / "build" / "notebooks")
    assert found == text.replace("mistakes.md", "../../docs/mistakes.md")


# --- links ----------------------------------------------------------------------------------------
def links(document: str) -> list[tuple[Path, str]]:
    """(file, anchor) of each relative link of a document."""
    targets = re.findall(r"\]\(([^)\s]+)\)", read(document)[0])
    pairs = [t.partition("#") for t in targets if not re.match(r"[a-z]+:", t)]
    folder = (ROOT / document).parent
    return [((folder / path).resolve() if path else ROOT / document, a) for path, _, a in pairs]


def anchors(path: Path) -> set[str]:
    """The anchors of a document's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.*)$", path.read_text(encoding="utf-8"), flags=re.M)
    return {re.sub(r"[^\w\- ]", "", h.lower()).replace(" ", "-") for h in headings}


@pytest.mark.parametrize("document", DOCUMENTS)
def test_links_lead_somewhere(document):
    for path, anchor in links(document):
        assert path.exists(), f"{document}: {path.relative_to(ROOT)} does not exist"
        assert not anchor or anchor in anchors(path), f"{document}: no heading for #{anchor}"


# --- symbols, paths, commands ---------------------------------------------------------------------
@cache
def symbols(path: str) -> set[str]:
    """Names that a file defines at its top level, and those of its classes as "Class.name"."""

    def defined(body: list[ast.stmt]) -> list[tuple[str, ast.stmt]]:
        found: list[tuple[str, ast.stmt]] = []
        for s in body:
            if isinstance(s, (ast.FunctionDef, ast.ClassDef)):
                found.append((s.name, s))
            elif isinstance(s, (ast.Assign, ast.AnnAssign)):
                targets = s.targets if isinstance(s, ast.Assign) else [s.target]
                names = [name for target in targets for name in ast.walk(target)]
                found += [(name.id, s) for name in names if isinstance(name, ast.Name)]
        return found

    found = set[str]()
    for name, s in defined(ast.parse((ROOT / path).read_text(encoding="utf-8")).body):
        found.add(name)
        if isinstance(s, ast.ClassDef):
            found |= {f"{name}.{inner}" for inner, _ in defined(s.body)}
    return found


@pytest.mark.parametrize("document", DOCUMENTS)
def test_symbols_and_paths_exist(document):
    prose = read(document)[0]
    for path, names in re.findall(r"`([\w/]+\.py): ([\w., ]+)`", prose):
        assert (ROOT / path).exists(), f"{document}: {path}"
        for name in names.split(", "):
            assert name in symbols(path), f"{document}: {path} does not define {name}"
    for path in re.findall(rf"`((?:{'|'.join(FOLDERS)})/[\w/.]*)[:`]", prose):
        assert (ROOT / path).exists(), f"{document}: {path}"


@pytest.mark.parametrize("document", DOCUMENTS)
def test_commands_exist(document):
    prose, blocks = read(document)
    text = "\n".join([*re.findall(r"`([^`]+)`", prose), *(b.code for b in blocks)])
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for target in re.findall(r"^make ([\w-]+)", text, flags=re.M):
        assert re.search(rf"^{target}:", makefile, flags=re.M), f"{document}: make {target}"
    for module in re.findall(r"python -m ([\w.]+)", text):
        assert importlib.util.find_spec(module) is not None, f"{document}: python -m {module}"
    extras = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    for extra in re.findall(r"'\.\[(\w+)\]'", text):
        assert re.search(rf"^{extra} = \[", extras, flags=re.M), f"{document}: extra {extra}"


def test_line_counts_of_the_reading_order_are_about_right():
    rows = re.findall(r"^\| `([\w/.]+)`[^|]*\| (\d+) \|", read("README.md")[0], flags=re.M)
    assert len(rows) >= 8
    for path, lines in rows:
        files = [ROOT / path] if path.endswith(".py") else sorted((ROOT / path).glob("*.py"))
        count = sum(len(f.read_text(encoding="utf-8").splitlines()) for f in files)
        assert abs(count - int(lines)) <= 0.2 * count, f"README.md: {path} has {count} lines"
