"""The results of an experiment: figures, tables, and verdicts on the seeds' claims.

They are made only from the records of trials, so the same records always give the same results.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from experiments.results.claims import Claim
from experiments.results.trials import Group
from experiments.train import records
from minigrad.files import write_file

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Table:
    """A table of text, with the numbers behind it."""

    name: str  # its key in results.json: lower case, with underscores
    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]  # cells as text, each row as long as `columns`
    note: str = ""  # the meaning of columns, and over what numbers are averaged
    data: dict[str, Any] = field(default_factory=dict)  # the numbers, for results.json

    def __post_init__(self) -> None:
        n = len(self.columns)
        if wrong := [list(row) for row in self.rows if len(row) != n]:
            raise ValueError(f"table {self.name}: expected {n} cells, got {wrong[0]}")

    def markdown(self) -> str:
        lines = [self.columns, ["---"] * len(self.columns), *self.rows]
        in_cells = [[cell.replace("|", "\\|") for cell in cells] for cells in lines]
        table = "\n".join("| " + " | ".join(cells) + " |" for cells in in_cells)
        return "\n\n".join(part for part in (f"## {self.title}", self.note, table) if part)


@dataclass(frozen=True)
class Drawing:
    """A figure, its file name without suffix, and its caption."""

    name: str
    caption: str
    figure: Figure
    live: bool = False  # whether a report's page draws these curves itself; this one is for print


class Answer(NamedTuple):
    """The answer of an experiment in a sentence with numbers, and the name of its table."""

    text: str
    table: str


@dataclass(frozen=True)
class Results:
    """All results of an experiment, each kind in the order in which it is shown."""

    tables: Sequence[Table] = ()
    drawings: Sequence[Drawing] = ()
    claims: Sequence[Claim] = ()
    answer: Answer | None = None  # for the top of a report
    groups: Sequence[Group] = ()  # such as models, with different styles in a report's live curves
    shown: Sequence[str] = ()  # numbers in the records that the page draws; () for all

    def all_tables(self) -> list[Table]:
        """The tables, and last the table of claims."""
        if not self.claims:
            return [*self.tables]
        rows = [
            [c.source + (f" (erratum {c.erratum})" if c.erratum else ""), c.said, c.ours, c.verdict]
            for c in self.claims
        ]
        columns = ["seed, question", "it says", "our runs", "verdict"]
        title = "What the seeds say, and what we find"
        return [*self.tables, Table("claims", title, columns, rows)]


def write_results(results: Results, folder: Path, *, title: str, protocol: str) -> list[Path]:
    """Write results.md, results.json, and every figure as .png and .pdf. Returns the files.

    protocol: a text on what was run and what was not, which is put at the top.
    """
    from experiments.results.figures import save

    written: list[Path] = []
    parts = [f"# {title}", protocol]
    for drawing in results.drawings:
        paths = [folder / f"{drawing.name}.{kind}" for kind in ("png", "pdf")]
        written += save(drawing.figure, *paths)
        parts.append(f"![{drawing.caption}]({drawing.name}.png)\n\n{drawing.caption}")
    parts += [table.markdown() for table in results.all_tables()]
    data = {
        "protocol": protocol,
        "tables": {table.name: table.data for table in results.tables},
        "claims": [asdict(claim) for claim in results.claims],
    }
    write_file(folder / "results.md", ("\n\n".join(parts) + "\n").encode())
    records.write_json(folder / "results.json", data)
    return [folder / "results.md", folder / "results.json", *written]
