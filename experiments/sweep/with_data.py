"""Options of experiments whose data do not come with the code."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from experiments.data.place import data_in
from experiments.sweep import experiment


@dataclass(frozen=True)
class Options(experiment.Options):
    """Subclasses say in the documentation of `data` which these are, and look for them."""

    data: Path | None = None
    """Folder of the data; MINIGRAD_DATA if not given."""

    def find(self) -> None:
        """ValueError if the data are not in the folder (`data_folder`)."""
        raise NotImplementedError

    def check(self) -> None:
        with data_in(self.data):
            self.find()

    @contextmanager
    def how(self) -> Iterator[None]:
        with super().how(), data_in(self.data):
            yield
