"""The results of an experiment: figures, tables, and verdicts on the seeds' claims.

All is made from the records of trials only, so the same records always give the same results.
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
    """A table as it is printed."""

    name: str  # of its place in files: lower case, with underscores
    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]  # cells as text, each row as long as `columns`
    note: str = ""  # what the columns mean, and over what was averaged
    data: dict[str, Any] = field(default_factory=dict)  # the numbers behind it, for results.json

    def __post_init__(self) -> None:
        n = len(self.columns)
        if wrong := [list(row) for row in self.rows if len(row) != n]:
            raise ValueError(f"table {self.name}: expected {n} cells, got {wrong[0]}")

    def markdown(self) -> str:
        lines = [self.columns, ["---"] * len(self.columns), *self.rows]
        table = "\n".join("| " + " | ".join(cells) + " |" for cells in lines)
        return "\n\n".join(part for part in (f"## {self.title}", self.note, table) if part)


@dataclass(frozen=True)
class Drawing:
    """A figure, its name in files, and what is seen in it."""

    name: str
    caption: str
    figure: Figure
    live: bool = False  # whether a report's page draws the same curves, and this is for print


class Answer(NamedTuple):
    """The answer in a sentence with numbers, and the name of the table that shows it."""

    text: str
    table: str


@dataclass(frozen=True)
class Results:
    """In the order in which they are shown."""

    tables: Sequence[Table] = ()
    drawings: Sequence[Drawing] = ()
    claims: Sequence[Claim] = ()
    answer: Answer | None = None  # for the head of a report
    groups: Sequence[Group] = ()  # such as models, which a report's live curves tell apart
    shown: Sequence[str] = ()  # numbers in the records that the page draws, if not all

    def all_tables(self) -> list[Table]:
        """The tables, and last that of the claims."""
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
    """Write results.md and results.json and every drawing as .png and .pdf; the files written.

    protocol: what was run, exactly, and what was not: it stands at the head.
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
