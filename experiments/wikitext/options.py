"""What the command lines of the experiments on WikiText-2 have in common."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args

from experiments.data import wikitext
from experiments.data.place import data_folder
from experiments.sweep import with_data
from experiments.wikitext import tables
from experiments.wikitext.embeddings import Kind
from experiments.wikitext.seed import DECAY, RUNS
from experiments.wikitext.tables import table_file
from experiments.wikitext.task import EPOCHS, PER_EPOCH, LanguageModel

T = TypeVar("T", bound=LanguageModel)
Scale = Literal["full", "reduced", "small"]
# The seed's batches, rate, updates and epochs, and a fifth of its vocabulary, half its width and a
# quarter of its window: a thirtieth of its arithmetic.
REDUCED = {"d": 384, "hidden": 256, "vocabulary": 8_000, "window": 64}
SMALL = {"d": 24, "heads": 4, "hidden": 16, "vocabulary": 500, "window": 16, "batch_size": 32}


@dataclass(frozen=True)
class Options(with_data.Options):
    """Options of an experiment on WikiText-2."""

    scale: Scale = "full"  # type: ignore[assignment]
    """full: the seed's, some hundred hours on two cores for its twelve models, so for a GPU.
    reduced: the same batches, rates and epochs with narrower models, a smaller vocabulary and a
    shorter window, some 20 minutes each. small: shows in minutes that everything works."""
    data: Path | None = None
    """Folder of WikiText-2 in GPT-1's byte pairs; MINIGRAD_DATA if not given."""
    embeddings: str = ""
    """What the tables of embeddings are: minilm, text, or a file embeddings.npz with GPT-1's. If
    not given, minilm where MINIGRAD_MINILM names its folder or it is installed, else text."""

    def language_model(self, kind: type[T] = LanguageModel, **settings: Any) -> T:
        """A trial of a kind with these settings; sizes, and steps if not given, are the scale's."""
        sizes = {"full": {}, "reduced": REDUCED, "small": SMALL}[self.scale]
        steps = self.steps or self.pick(EPOCHS * PER_EPOCH, PER_EPOCH)
        named = tables.named(self.embeddings)
        return kind(**{**sizes, "embeddings": named, "steps": steps, **settings})

    def of_seed(
        self, n: int, seed: int, kind: type[T] = LanguageModel, **settings: Any
    ) -> tuple[str, T]:
        """A trial of experiment n of the seed's twelve, and its name."""
        r = RUNS[n]
        decay = 0.0 if r.optimizer == "adam" else DECAY
        own = {"model": r.model, "layers": r.layers, "optimizer": r.optimizer, "seed": seed}
        trial = self.language_model(kind, weight_decay=decay, **own, **settings)
        return f"{n:02}-{r.model}{r.layers}-{r.optimizer}-seed{seed}", trial

    def find(self) -> None:
        wikitext.find(data_folder(wikitext.SOURCE))
        with self.tables():
            trials = self.trials().values()
            for setting, d in {(t.embeddings, t.d) for t in trials if isinstance(t, LanguageModel)}:
                tables.find(setting, d)

    @contextmanager
    def how(self) -> Iterator[None]:
        with super().how(), self.tables():
            yield

    def tables(self) -> AbstractContextManager[None]:
        """Inside, trials find the file of embeddings, if one is given."""
        is_file = self.embeddings not in ("", *get_args(Kind))
        return table_file(Path(self.embeddings) if is_file else None)
