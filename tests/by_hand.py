"""Records of trials: written by hand, and looked at."""

from experiments.train import records
from minigrad.files import read_file


def write_trial(folder, settings, lines, **status):
    """A trial with these settings and lines of metrics, finished after the last of them."""
    folder.mkdir(parents=True, exist_ok=True)
    records.write_json(folder / "settings.json", {"version": records.VERSION, **settings})
    records.rewrite(folder / "metrics.jsonl", lines)
    last = lines[-1]["step"]
    whole = {"step": last, "steps": last, "finished": True, "diverged": False, "seconds": 1.0}
    records.write_json(folder / "status.json", whole | status)
    return records.read_trial(folder)


def left(folder):
    """What must be the same however often a trial was interrupted: metrics and the checkpoint.

    The library that writes checkpoints gives the keys of their metadata no order.
    """
    arrays, metadata = read_file(folder / records.CHECKPOINT, checked=True)
    values = {name: (a.dtype, a.shape, a.tobytes()) for name, a in arrays.items()}
    return (folder / "metrics.jsonl").read_bytes(), values, metadata
