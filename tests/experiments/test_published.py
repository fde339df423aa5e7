"""What stands under docs/results: it must be what the records beside it come to."""

import json
from importlib import import_module
from pathlib import Path

import pytest

from experiments.sweep import folder
from experiments.train import records

RESULTS = Path(__file__).parents[2] / "docs" / "results"
# by their folders there: those of grokking lie at the top
SWEEPS = sorted(str(path.parent.relative_to(RESULTS)) for path in RESULTS.rglob("sweep.json"))


@pytest.mark.parametrize("name", SWEEPS)
def test_results_are_those_of_their_records(name, tmp_path):
    published = RESULTS / name
    for path in [*published.glob("*/*.json*"), published / "sweep.json"]:
        copy = tmp_path / path.relative_to(published)
        copy.parent.mkdir(exist_ok=True)
        copy.write_bytes(path.read_bytes())
    module = name.replace("/", ".") if "/" in name else f"grokking.{name}"
    folder.report(import_module(f"experiments.{module}").EXPERIMENT, tmp_path)
    for file in ("results.md", "results.json", "trials.jsonl"):
        assert (tmp_path / file).read_text() == (published / file).read_text(), file


def test_trials_published_twice_are_the_same():
    """Of the same settings, on the same kind of machine; a commit and hours lie between them."""
    found = {}
    for path in sorted(RESULTS.rglob("metrics.jsonl")):
        settings = records.read_json(path.with_name("settings.json")) | {"version": records.VERSION}
        sessions = records.read_json(path.with_name("environment.json"), list)
        for each in sessions:
            del each["started"], each["commit"], each["from_step"]
        how = {json.dumps(each, sort_keys=True) for each in sessions}
        key = json.dumps(settings, sort_keys=True), *sorted(how)
        found.setdefault(key, []).append(path)
    twice = [paths for paths in found.values() if len(paths) > 1]
    assert twice
    for first, *others in twice:
        assert {path.read_bytes() for path in others} == {first.read_bytes()}, [first, *others]
