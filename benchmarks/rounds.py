"""What benchmarks in rounds share: their options, and a record that keeps several machines."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks.sides import environment, processor
from experiments.train import records


@dataclass(frozen=True)
class Rounds:
    """Options of a benchmark in which sides take turns."""

    rounds: int = 9
    """Rounds, in each of which everything runs once."""
    seconds: float = 2.0
    """Of each side in a round."""
    out: Path | None = None
    """A JSON file, to which this machine is added."""

    def __post_init__(self) -> None:
        if self.rounds < 3:
            raise ValueError(f"--rounds: expected at least 3, got {self.rounds}")
        if self.seconds <= 0.0:
            raise ValueError(f"--seconds: expected more than 0, got {self.seconds}")

    def check_out(self) -> None:
        """OSError unless the file can be written."""
        if self.out is not None:
            records.fit_for_writing(self.out.parent)

    def save(self, measured_on: Mapping[str, Any], found: Mapping[str, Any]) -> None:
        """Add what was found to the file, beside these options and the machine; see `machine`."""
        if self.out is not None:
            options = {k: v for k, v in asdict(self).items() if k != "out"}
            add_machine(self.out, {"settings": options, "environment": measured_on, **found})


def machine() -> dict[str, Any]:
    """The environment and the processor, for a record that keeps several machines."""
    found = processor()
    return {**environment(), **found, "processor": found["processor"] or "unknown"}


def add_machine(path: Path, entry: Mapping[str, Any]) -> None:
    """Put an entry into a record, in place of an older one of this processor."""
    machines = records.read_json(path, dict) if path.exists() else {}
    records.write_json(path, {**machines, entry["environment"]["processor"]: entry})
