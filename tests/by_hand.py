"""Records of trials that were written by hand, for tests of what comes of records."""

from experiments.train import records


def write_trial(folder, settings, lines, **status):
    """A trial with these settings and lines of metrics, finished after the last of them."""
    folder.mkdir(parents=True, exist_ok=True)
    records.write_json(folder / "settings.json", {"version": records.VERSION, **settings})
    records.rewrite(folder / "metrics.jsonl", lines)
    last = lines[-1]["step"]
    whole = {"step": last, "steps": last, "finished": True, "diverged": False, "seconds": 1.0}
    records.write_json(folder / "status.json", whole | status)
    return records.read_trial(folder)
