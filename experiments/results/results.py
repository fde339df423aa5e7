"""What an experiment comes to: figures, tables, and what they say of the seeds' claims.

Everything is made from the records of trials alone (`experiments.train.records`), so the same
records always give the same results, also those of a sweep that is not finished.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from experiments.train import records
from minigrad.files import write_file

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Verdict = Literal["agrees", "differs", "undecided", "not run"]


def verdict_of(held: Sequence[bool], *, ran: bool = True) -> Verdict:
    """How a claim fares that held in some trials, heads or models and not in others.

    "agrees" if it held in three quarters of them or more, "differs" if in a quarter or less,
    "undecided" between, and if there are none, that is where trials ran and tell nothing.

    ran: whether any trial did; if not, "not run".
    """
    if not held:
        return "undecided" if ran else "not run"
    share = sum(held) / len(held)
    return "agrees" if share >= 0.75 else "differs" if share <= 0.25 else "undecided"


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
    """A figure, its name in files, and what is seen in it."""

    name: str
    caption: str
    figure: Figure


@dataclass(frozen=True)
class Claim:
    """Something that a seed says, beside our measurement of it.

    source:  seed document and question, such as "000, 4.3 (d)".
    said:    what it says, in our words.
    ours:    what we measured, with numbers.
    verdict: whether that agrees; "undecided" where our runs cannot tell, "not run" where there are
             none.
    erratum: the number of the erratum that it decides (`experiments.grokking.errata`), if it does.
    """

    source: str
    said: str
    ours: str
    verdict: Verdict
    erratum: str | None = None


@dataclass(frozen=True)
class Results:
    """In the order in which they are shown."""

    tables: Sequence[Table] = ()
    drawings: Sequence[Drawing] = ()
    claims: Sequence[Claim] = ()

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
    tables = [*results.tables, *([results.claims_table()] if results.claims else [])]
    parts += [table.markdown() for table in tables]
    data = {
        "protocol": protocol,
        "tables": {table.name: table.data for table in results.tables},
        "claims": [asdict(claim) for claim in results.claims],
    }
    write_file(folder / "results.md", ("\n\n".join(parts) + "\n").encode())
    records.write_json(folder / "results.json", data)
    return [folder / "results.md", folder / "results.json", *written]
