"""mg.debug: who made the NaN, where the time goes, what the graph looks like, what is alive."""

import inspect
import subprocess
import sys
import xml.etree.ElementTree as ET

import numpy as np
import pytest
from small import leaf

import minigrad as mg
from minigrad import debug, graph
from minigrad.observers import OBSERVERS, Event


def here(offset=0):
    """The line of the caller, plus an offset, as messages spell it."""
    return f"test_debug.py:{inspect.currentframe().f_back.f_lineno + offset}"


# --- find_nan -------------------------------------------------------------------------------------
def test_find_nan_names_the_op_and_the_line_that_made_it():
    x = mg.tensor([-1.0, 1.0])
    with debug.find_nan():
        y = mg.exp(x) - 10.0
        with pytest.raises(FloatingPointError) as error:
            mg.log(y)
    assert "log: its result contains nan" in str(error.value)
    assert here(-2) in str(error.value)


def test_find_nan_names_the_backward_op_and_the_line_of_its_forward_pass():
    x = mg.tensor([0.0, 1.0], requires_grad=True)
    with debug.find_nan():
        y = mg.sqrt(x)
        line = here(-1)
        z = y * 2.0
        with pytest.raises(FloatingPointError) as error:
            z.backward(np.ones(2))
    assert "sqrt: its gradient contains inf (backward of the op at" in str(error.value)
    assert line in str(error.value)
    assert x.grad is None  # a failing walk leaves nothing half written


def test_find_nan_says_what_to_do_when_the_forward_pass_was_outside():
    x = mg.tensor([0.0], requires_grad=True)
    y = mg.sqrt(x)
    with debug.find_nan(), pytest.raises(FloatingPointError, match="run its forward pass"):
        y.backward()


def test_find_nan_blames_data_that_came_with_nan():
    with debug.find_nan(), pytest.raises(FloatingPointError, match="add: the argument already"):
        mg.tensor([np.nan]) + 1.0


def test_find_nan_lets_a_mask_of_infinities_pass():
    x = mg.tensor([1.0, 2.0], requires_grad=True)
    with debug.find_nan():
        y = mg.exp(mg.where(np.array([True, False]), x, -np.inf))
        y.backward(np.ones(2))
    assert x.grad.tolist() == [pytest.approx(np.e), 0.0]


def test_find_nan_ends_with_its_block_and_after_an_exception():
    with pytest.raises(KeyError), debug.find_nan():
        raise KeyError
    assert OBSERVERS == []
    x = mg.tensor([-1.0], requires_grad=True)
    y = mg.log(x)
    assert np.isnan(y.item())
    assert y.node.where == ""  # lines are recorded only while looking


# --- profile --------------------------------------------------------------------------------------
def test_profile_counts_calls_time_and_bytes_by_op():
    x = mg.tensor(np.ones((100, 100)), requires_grad=True)
    with debug.profile() as profile:
        y = mg.exp(mg.exp(x) * 1e-3)
        y.backward(np.ones((100, 100)))
    rows = profile.rows
    assert {name: row.calls for name, row in rows.items()} == {"exp": 2, "mul": 1}
    assert rows["exp"].bytes == 4 * 80_000  # two results, two gradients
    assert rows["exp"].forward > 0
    assert rows["exp"].backward > 0
    assert profile.seconds == pytest.approx(sum(r.forward + r.backward for r in rows.values()))
    assert OBSERVERS == []


def test_profile_prints_a_table_with_the_slowest_first():
    profile = debug.Profile()
    for name, seconds in (("small", 0.001), ("large", 0.002)):
        node = type("Node", (), {"name": name})
        profile(Event("forward", node, seconds, (), ()))
        profile._ended.clear()
    lines = str(profile).splitlines()
    assert lines[0].split() == [
        "op", "calls", "forward", "ms", "backward", "ms", "MB", "GFLOP", "share",
    ]  # fmt: skip
    assert lines[1].split() == ["large", "1", "2.000", "0.000", "0.00", "0.000", "66.7%"]
    assert lines[2].startswith("small")


def test_profile_counts_time_inside_a_checkpoint_once():
    x = mg.tensor(np.ones(1000), requires_grad=True)
    with debug.profile() as profile:
        y = mg.checkpoint(lambda t: mg.exp(mg.tanh(t)), x)
        y.backward(np.ones(1000))
    assert profile.rows["tanh"].calls == 2
    start = graph.perf_counter()
    assert all(row.backward >= 0 for row in profile.rows.values())
    assert profile.seconds < start  # a sum of disjoint intervals


def test_profile_without_recording():
    with debug.profile() as profile, mg.no_grad():
        mg.exp(mg.tensor([1.0]))
    assert profile.rows["exp"].calls == 1


# --- draw -----------------------------------------------------------------------------------------
@pytest.fixture
def drawing():
    x = mg.tensor(np.ones((2, 3)), requires_grad=True)
    w = mg.tensor(np.ones(3), requires_grad=True)
    h = mg.tanh(x * w)
    return debug.draw(h * h + w, x=x, w=w)


def test_drawing_shows_ops_shapes_saved_arrays_and_numbered_steps(drawing):
    boxes = list(drawing.boxes.values())
    assert [b.title for b in boxes] == ["x", "w", "mul", "tanh", "mul", "add"]
    assert [b.step for b in boxes] == [None, None, 4, 3, 2, 1]  # newest first
    by_step = {b.step: b for b in boxes}
    assert by_step[4].saved == "keeps (2, 3) float64, (3,) float64"
    assert by_step[1].saved == "keeps nothing"
    assert by_step[3].output == "(2, 3) float64"
    assert "1 - y²" in by_step[3].rule


def test_drawing_as_dot_has_every_node_and_edge(drawing):
    dot = drawing.dot()
    assert dot.startswith("digraph {")
    assert dot.count("label=") == 6
    assert dot.count("->") == 7
    assert "step 1" in dot


def test_drawing_as_svg_is_xml_with_a_box_for_each_node_and_no_overlap(drawing):
    svg = ET.fromstring(drawing.svg())
    space = "{http://www.w3.org/2000/svg}"
    boxes = svg.findall(f"{space}g/{space}rect")
    assert len(boxes) == 6
    assert len(svg.findall(f"{space}path")) == 7
    places = [(float(b.get("x")), float(b.get("y"))) for b in boxes]
    for i, (left, top) in enumerate(places):
        for other_left, other_top in places[:i]:
            assert abs(left - other_left) >= debug.WIDTH or abs(top - other_top) >= debug.HEIGHT


def test_drawing_saves_by_the_ending_of_the_name(drawing, tmp_path):
    for suffix in (".dot", ".svg", ".html"):
        drawing.save(tmp_path / f"graph{suffix}")
    page = (tmp_path / "graph.html").read_text(encoding="utf-8")
    assert page.startswith("<!doctype html>")
    assert "<script" not in page
    with pytest.raises(ValueError, match=r"\.dot, \.svg or \.html"):
        drawing.save(tmp_path / "graph.png")


def test_drawing_after_backward_says_that_arrays_were_used():
    x = mg.tensor([1.0], requires_grad=True)
    y = mg.exp(x)
    y.backward()
    assert [b.saved for b in debug.draw(y).boxes.values()] == ["used"]


def test_drawing_needs_a_graph():
    with pytest.raises(RuntimeError, match="does not require a gradient"):
        debug.draw(mg.tensor(1.0))


# --- live tensors ---------------------------------------------------------------------------------
def test_live_tensors_are_counted():
    before, nodes = debug.live_tensors(), debug.live_nodes()
    x = mg.tensor([1.0], requires_grad=True)
    y = x * 2.0
    assert debug.live_tensors() == before + 2
    assert debug.live_nodes() == nodes + 2
    del x, y
    assert debug.live_tensors() == before
    assert debug.live_nodes() == nodes


def test_the_first_op_that_makes_nan_is_named_with_its_line():
    x = leaf([0.0])
    with debug.find_nan():
        y = mg.sqrt(x)
        with pytest.raises(FloatingPointError, match=r"sqrt: .*inf.*test_debug\.py:\d+"):
            y.backward()


def test_a_profile_counts_the_flops_of_matrix_products():
    """Two a multiplication, and as many on the way back for each operand that gets a gradient."""
    x, w = mg.tensor(np.ones((5, 3))), mg.tensor(np.ones((4, 3)), requires_grad=True)
    with mg.debug.profile() as profile:
        mg.linear(x, w).sum().backward()
        with mg.no_grad():
            mg.linear(x, w)
    assert profile.rows["linear"].flops == (2 + 1) * 2 * 5 * 4 * 3  # x gets no gradient
    with mg.debug.profile() as profile:
        mg.linear_cross_entropy(x, w, np.zeros(5, int)).backward()
    assert profile.rows["linear_cross_entropy"].flops == 2 * 2 * 5 * 4 * 3
    q = mg.tensor(np.ones((2, 5, 3)), requires_grad=True)
    k, v = (mg.tensor(np.ones((2, 7, n)), requires_grad=True) for n in (3, 6))
    with mg.debug.profile() as profile:
        mg.scaled_dot_product_attention(q, k, v).sum().backward()
    scores, means = 2 * 2 * 5 * 7 * 3, 2 * 2 * 5 * 7 * 6
    assert profile.rows["scaled_dot_product_attention"].flops == 3 * (scores + means)
    assert profile.rows["sum"].flops == 0
    a, b = (mg.tensor(np.ones(shape), requires_grad=True) for shape in ((2, 4, 3), (3, 5)))
    with mg.debug.profile() as profile:
        (a @ b).sum().backward()
    assert profile.rows["matmul"].flops == 3 * 2 * 2 * 4 * 3 * 5
    lstm = mg.nn.LSTM(3, 4, 2)
    with mg.debug.profile() as profile:
        lstm(mg.tensor(np.ones((5, 2, 3), np.float32)))[0].sum().backward()
    products = 2 * 10 * 16 * (3 + 4 + 4 + 4)
    assert profile.rows["lstm"].flops == 3 * products
    assert "GFLOP" in repr(profile)


def test_the_peak_is_of_this_process_and_not_of_its_parent():
    """A parent that has had 400 MB starts a process that needs a tenth of it."""
    np.ones(50_000_000)
    assert mg.debug.peak() > 400e6
    code = "import minigrad as mg; print(mg.debug.peak())"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert 1e7 < int(found.stdout) < 3e8
