"""Loops in processes of their own: rounds, ratios, and a record that keeps several machines."""

import json
import os
from multiprocessing import Pipe
from threading import Thread

import pytest

import minigrad as mg
from benchmarks import loops, problems, rounds, sides
from benchmarks.sides import EAGER, FUSED, SHARED


@pytest.fixture(autouse=True)
def kernels_off():
    yield
    mg.use_kernels(False)


@pytest.mark.parametrize("name", ["minigrad, plain", f"{loops.KERNEL_FLOOR}{SHARED}", loops.FLOOR])
def test_a_side_is_served_until_it_is_told_to_stop(name, monkeypatch):
    monkeypatch.setattr(loops, "problem_of", problems.tiny_problem)
    here, there = Pipe()
    server = Thread(target=loops.serve, args=(there, "gpt", name))
    server.start()
    assert here.recv() is None
    for asked in (0.0, 0.1):
        here.send(asked)
        steps, seconds = here.recv()
        assert steps >= 2
        assert seconds >= asked
    here.send(None)
    server.join(timeout=10)
    assert not server.is_alive()


class Stand:
    """Stands for a process: two sides at the speeds of a machine that slows down."""

    made = ()
    now = 0

    def __init__(self, model, name, threads=None):
        self.name, self.threads = name, threads
        Stand.made = (*Stand.made, self)

    def ready(self):
        return "not here" if self.name == FUSED else None

    def begin(self, seconds):
        assert not any(other.running for other in Stand.made if other.name != self.name)
        self.running = True

    def end(self):
        self.running = False
        Stand.now += 1
        return (3.0 if self.name == EAGER else 2.0) * (1 + Stand.now // 3)

    def close(self):
        self.closed = True

    running = closed = False


def test_sides_run_one_after_the_other_and_all_are_ended(monkeypatch, capsys):
    monkeypatch.setattr(loops, "Runner", Stand)
    monkeypatch.setattr(loops, "PAUSE", 0.0)
    monkeypatch.setattr(Stand, "made", ())
    times = loops.rounds_of("lstm", loops.names_of("lstm"), loops.Settings(rounds=4))
    assert FUSED not in times
    assert "lstm: torch.nn.LSTM is left out: not here" in capsys.readouterr().err
    assert {len(own) for own in times.values()} == {4}
    assert all(stand.closed and stand.threads is None for stand in Stand.made)


def test_two_processes_of_one_thread_end_twice_as_many_steps(monkeypatch):
    monkeypatch.setattr(loops, "Runner", Stand)
    monkeypatch.setattr(loops, "PAUSE", 0.0)
    monkeypatch.setattr(Stand, "made", ())
    monkeypatch.setattr(Stand, "end", lambda self: setattr(self, "running", False) or 4.0)
    times = loops.rounds_of("gpt", loops.names_of("gpt"), loops.Settings(rounds=3), workers=2)
    assert {stand.threads for stand in Stand.made} == {1}
    assert set(times[EAGER]) == {2.0}
    assert loops.an_hour(times[EAGER]) == pytest.approx(180.0)  # 20 s a trial


def test_ratios_compare_what_ran_in_one_round():
    times = {"minigrad": [1.0, 2.0, 4.0], EAGER: [2.0, 4.0, 8.0]}  # a machine that slows down
    assert loops.ratios(times, EAGER)["minigrad"] == {"median": 2.0, "low": 2.0, "high": 2.0}
    assert loops.ratios(times, FUSED) == {}
    floors = {name: [2.0, 4.0, 8.0] for name in loops.FLOORS}
    floors[loops.KERNEL_FLOOR] = [0.5, 1.0, 2.0]
    times |= floors
    record = {"model": "gpt", "times": times, "eager": loops.ratios(times, EAGER), "fused": {}}
    record |= {"over_products": loops.over_products(times), "gflop": dict.fromkeys(floors, 0.1)}
    assert "| minigrad | 2.00 | 2.00 (2.00–2.00) | 2.00 (2.00–2.00) |" in loops.table(record)
    assert f"| {loops.KERNEL_FLOOR}, 100 GFLOP/s | 1.00 |  |  |" in loops.table(record)
    sweep = {name: own for name, own in times.items() if name not in floors}
    with_sweep = loops.table({**record, "sweep": sweep})
    assert "| minigrad | 2.00 | 2.00 (2.00–2.00) | 2.00 (2.00–2.00) | 180.0 | 2.00 |" in with_sweep


def test_a_record_keeps_each_machine_once(tmp_path):
    path = tmp_path / "loops.json"
    for name, number in (("A", 1), ("B", 2), ("A", 3)):
        rounds.add_machine(path, {"environment": {"processor": name}, "number": number})
    found = json.loads(path.read_text())
    assert {name: entry["number"] for name, entry in found.items()} == {"A": 3, "B": 2}


def test_threads_are_set_for_processes_that_start_and_put_back(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    monkeypatch.delenv("NUMBA_NUM_THREADS", raising=False)
    with loops.threads_of(1):
        assert os.environ["OMP_NUM_THREADS"] == os.environ["NUMBA_NUM_THREADS"] == "1"
    assert os.environ["OMP_NUM_THREADS"] == "7"
    assert "NUMBA_NUM_THREADS" not in os.environ


def test_the_processor_is_named():
    found = sides.processor()
    assert found["processor"]
    assert found["vector_bits"] in (None, 128, 256, 512)


@pytest.mark.parametrize(
    ("args", "says"),
    [(["--rounds", "2"], "at least 3, got 2"), (["--seconds", "0"], "more than 0")],
)
def test_wrong_options_are_told_in_a_line(args, says, capsys):
    with pytest.raises(SystemExit):
        loops.main(args)
    assert says in capsys.readouterr().err
