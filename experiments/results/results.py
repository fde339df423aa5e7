"""What an experiment comes to: figures, tables, and what they say of the seeds' claims.

Everything is made from the records of trials alone (`experiments.train.records`), so the same
records always give the same results, also those of a sweep that is not finished.
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
    """A table as it is printed.

    name:  of its place in files: lower case, with underscores.
    rows:  cells as text, each row as long as `columns`.
    note:  what the columns mean, and over what was averaged.
    data:  the numbers behind the cells, for results.json.
    """

    name: str
    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    note: str = ""
    data: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for row in self.rows:
            if len(row) != len(self.columns):
                raise ValueError(
                    f"table {self.name}: expected {len(self.columns)} cells, got {list(row)}"
                )

    def markdown(self) -> str:
        lines = [self.columns, ["---"] * len(self.columns), *self.rows]
        table = "\n".join("| " + " | ".join(cells) + " |" for cells in lines)
        return "\n\n".join(part for part in (f"## {self.title}", self.note, table) if part)


@dataclass(frozen=True)
class Drawing:
    """A figure, its name in files, and what is seen in it.

    live: whether the page of a report draws the same curves live, so that this is for print.
    """

    name: str
    caption: str
    figure: Figure
    live: bool = False


class Answer(NamedTuple):
    """What was found, in a sentence with numbers, and the name of the table that shows it."""

    text: str
    table: str


@dataclass(frozen=True)
class Results:
    """In the order in which they are shown.

    answer: for the head of a report.
    groups: of trials, such as models, which a report's live curves tell apart.
    """

    tables: Sequence[Table] = ()
    drawings: Sequence[Drawing] = ()
    claims: Sequence[Claim] = ()
    answer: Answer | None = None
    groups: Sequence[Group] = ()

    def all_tables(self) -> list[Table]:
        """The tables, and last that of the claims."""
        return [*self.tables, *([self.claims_table()] if self.claims else [])]

    def claims_table(self) -> Table:
        numbers = [f" (erratum {c.erratum})" if c.erratum else "" for c in self.claims]
        rows = [
            [c.source + number, c.said, c.ours, c.verdict]
            for c, number in zip(self.claims, numbers, strict=True)
        ]
        columns = ["seed, question", "it says", "our runs", "verdict"]
        return Table("claims", "What the seeds say, and what we find", columns, rows)


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
