"""Inspection of a computation: where NaN comes from, where time goes, what the graph looks like.

    with mg.debug.find_nan():               # FloatingPointError at the first op that makes one
        loss = f(x)
        loss.backward()

    with mg.debug.profile() as profile:     # a table of ops: calls, time, memory
        train_step()
    print(profile)

    print(mg.debug.memory())                # what a GPU's memory holds

    mg.debug.draw(loss, w=w).save("graph.html")

All of it is built on `minigrad.observers`, functions called after each op. Outside of these blocks
there are no observers, and an op only checks that the list is empty.
"""

from __future__ import annotations

import contextlib
import gc
import inspect
import itertools
import os
import sys
from collections.abc import Generator, Iterable
from pathlib import Path
from time import perf_counter
from typing import Any, NamedTuple

import numpy as np

from minigrad import device as devices
from minigrad import graph
from minigrad.graph import Node
from minigrad.inplace import saved_arrays
from minigrad.kernel import KERNELS
from minigrad.lines import line_of, user_place
from minigrad.memory import memory_of
from minigrad.observers import OBSERVERS, Event
from minigrad.tensor import Tensor


@contextlib.contextmanager
def observing(observer: Any) -> Generator[Any]:
    OBSERVERS.append(observer)
    try:
        yield observer
    finally:
        OBSERVERS.remove(observer)


# --- NaN and Inf --------------------------------------------------------------------------------
def find_nan() -> contextlib.AbstractContextManager[Any]:
    """Context manager: FloatingPointError at the first op whose result is NaN or Inf.

    The message names the op, says whether its value or its gradient is wrong, and gives the line
    that called the op, so the forward pass must be inside the block too. An infinity that an op
    passes on (a mask of -inf, say) is no fault. A NaN that no op made is reported at its first use.
    Slow: every result is searched.
    """
    return observing(raise_on_nan)


def raise_on_nan(event: Event) -> None:
    """The observer that `find_nan` installs."""
    node = event.node  # an Op, where the forward pass is not recorded
    recorded = isinstance(node, Node)
    if event.phase == "forward":
        line = line_of(user_place())
        if recorded:
            node.where = line
        subject, place = "its result contains", f"at {line}"
    else:
        subject = "its gradient contains"
        place = f"backward of the op at {node.where or '?: run its forward pass in find_nan() too'}"
    before, after = worst(event.inputs), worst(event.outputs)
    if before == "nan" and after == "nan":
        what = "argument" if event.phase == "forward" else "gradient of its result"
        raise FloatingPointError(f"{node.name}: the {what} already contains nan ({place})")
    if after == "nan" or (after == "inf" and before == ""):
        raise FloatingPointError(f"{node.name}: {subject} {after} ({place})")


def worst(values: Iterable[Any]) -> str:
    """ "nan", "inf" or "": the worst of arrays, numbers, and lists of them."""
    result = ""
    for value in values:
        if isinstance(value, (tuple, list)):
            kind = worst(value)
        elif isinstance(value, float) or getattr(getattr(value, "dtype", None), "kind", "") == "f":
            kind = "nan" if np.isnan(value).any() else "inf" if np.isinf(value).any() else ""
        else:
            continue
        if kind == "nan":
            return kind
        result = result or kind
    return result


# --- time and memory ------------------------------------------------------------------------------
class Row:
    """The totals of one op in a profile."""

    def __init__(self) -> None:
        self.calls = 0
        self.forward = self.backward = 0.0  # seconds
        self.bytes = 0  # of new arrays; views cost nothing
        self.flops = 0  # of matrix products: see `products`

    @property
    def seconds(self) -> float:
        return self.forward + self.backward


class Profile:
    """Time and memory by op. `rows` maps the name of an op to its `Row`; print() shows the table.

    GFLOP are those of matrix products, two for each multiplication, whatever a mask leaves out; the
    way back has as many for each of two operands that get a gradient. Counts the time of bodies and
    pullbacks, and not the work of Python between them (recording, the walk, adding up gradients):
    compare `seconds` with the time of the whole step. On a GPU it waits for each op, so a step
    takes longer than without a profile.
    """

    def __init__(self) -> None:
        self.rows: dict[str, Row] = {}
        self._products: dict[int, int] = {}  # FLOPs of recorded nodes, by their numbers
        self._ended: list[tuple[float, float]] = []  # (start, seconds) of ops, innermost first

    @property
    def seconds(self) -> float:
        return sum(row.seconds for row in self.rows.values())

    def __call__(self, event: Event) -> None:
        row = self.rows.setdefault(event.node.name, Row())
        seconds = self._without_inner(event.seconds)
        if event.phase == "forward":
            row.calls += 1
            row.forward += seconds
            row.flops += (flops := products(event))
            if isinstance(event.node, Node):
                self._products[event.node.number] = flops
        else:
            row.backward += seconds
            matrices = sum(g is not None and g.ndim > 1 for g in event.outputs)
            row.flops += min(2, matrices) * self._products.pop(event.node.number, 0)
        arrays = [a for a in event.outputs if a is not None and getattr(a, "base", None) is None]
        row.bytes += sum(a.nbytes for a in arrays)

    def _without_inner(self, seconds: float) -> float:
        """The time without that of ops that ran inside this one, as in a checkpoint."""
        start = perf_counter() - seconds
        inner = 0.0
        while self._ended and self._ended[-1][0] >= start:
            inner += self._ended.pop()[1]
        self._ended.append((start, seconds))
        return seconds - inner

    def __repr__(self) -> str:
        total = self.seconds or 1.0
        lines = [
            f"{'op':<24}{'calls':>8}{'forward ms':>13}{'backward ms':>13}{'MB':>10}{'GFLOP':>9}"
            f"{'share':>9}"
        ]
        for name, row in sorted(self.rows.items(), key=lambda item: -item[1].seconds):
            lines.append(
                f"{name:<24}{row.calls:>8}{row.forward * 1e3:>13.3f}{row.backward * 1e3:>13.3f}"
                f"{row.bytes / 1e6:>10.2f}{row.flops / 1e9:>9.3f}{row.seconds / total:>9.1%}"
            )
        return "\n".join(lines)


def products(event: Event) -> int:
    """FLOPs of the matrix products of an op on its way forward; 0 for one without."""
    if not event.inputs:
        return 0
    a, *others = event.inputs
    match event.node.name:
        case "linear" | "linear_cross_entropy":
            return 2 * a.size * len(others[0])
        case "matmul" | "dot":
            return 2 * event.outputs[0].size * a.shape[-1]
        case "scaled_dot_product_attention":
            k, v = others[:2]  # scores, then weighted means
            rows = event.outputs[0].size // max(1, v.shape[-1])
            return 2 * rows * k.shape[-2] * (k.shape[-1] + v.shape[-1])
        case "lstm" | "lstm_cell":
            rows = a.size // max(1, a.shape[-1])
            return 2 * rows * sum(w.size for w in others[2:] if w is not None and w.ndim == 2)
        case _:
            return 0


def profile() -> contextlib.AbstractContextManager[Profile]:
    """Context manager that gives a `Profile` of every op run inside."""
    return observing(Profile())


# --- kernels --------------------------------------------------------------------------------------
def kernels() -> str:
    """A table of the loaded kernels: how often each ran, and why it left calls to the plain op."""
    if not KERNELS:
        return "no kernels are loaded; mg.use_kernels() loads them"
    lines = [f"{'op':<30} {'device':<7} {'state':<6} {'used':>8}   left to the plain op"]
    for k in sorted(KERNELS, key=lambda k: (-k.used, k.routine.name)):
        state = "off" if k.routine.run is k.routine.body else "on"
        why = ", ".join(f"{n} x {reason}" for reason, n in k.declined.most_common()) or "-"
        lines.append(f"{k.routine.name:<30} {k.device:<7} {state:<6} {k.used:>8}   {why}")
    return "\n".join(lines)


# --- memory ---------------------------------------------------------------------------------------
def memory() -> str:
    """A table of the memory that is in use, device by device.

    For a GPU: memory in arrays, memory that CuPy's pool keeps for the next arrays, and free memory;
    recorded steps and other programs use the rest. NumPy does not count its memory, so for the CPU
    there is only the most that the process has ever used.
    """
    lines = [f"{'device':<8} {'arrays GB':>10} {'kept GB':>10} {'free GB':>10} {'of GB':>10}"]
    if "cupy" in sys.modules and devices.available():  # do not start a GPU that was not used
        for gpu in range(devices.gpu_count()):
            numbers = " ".join(f"{n / 1e9:>10.3f}" for n in memory_of(gpu))
            lines.append(f"{f'cuda:{gpu}':<8} {numbers}")
    return "\n".join(
        [*lines, f"{'cpu':<8} at most {peak() / 1e9:.3f} GB so far, not only in arrays"]
    )


def peak() -> int:
    """The most bytes that the process has had in memory."""
    status = Path("/proc/self/status")
    if status.exists():  # on Linux the number below begins with that of the parent process
        (line,) = (each for each in status.read_text().splitlines() if each.startswith("VmHWM"))
        return int(line.split()[1]) << 10
    import resource  # which Windows does not have

    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most << 10


def restart_peak() -> bool:
    """Let `peak` begin again from what is in memory now; whether it does, which only Linux can."""
    switch = Path("/proc/self/clear_refs")
    if not switch.exists():
        return False
    switch.write_text("5")  # see proc(5)
    return True


# --- memory leaks ---------------------------------------------------------------------------------
def live_tensors() -> int:
    """How many tensors exist in this process. Looks at every object: for tests, not for loops."""
    return sum(issubclass(type(item), Tensor) for item in gc.get_objects())


def live_nodes() -> int:
    """How many nodes of graphs exist in this process."""
    return sum(type(item) is Node for item in gc.get_objects())


# --- a picture of the graph -----------------------------------------------------------------------
WIDTH, HEIGHT, GAP_X, GAP_Y = 168, 58, 26, 44  # of a box and between boxes, in pixels


class Box(NamedTuple):
    """The text about one node in the picture."""

    title: str
    output: str  # shape and dtype
    saved: str  # what the pullback keeps alive
    step: int | None  # number in the order of the backward pass; None for a leaf
    rule: str  # the docstring of the op


def draw(y: Tensor, **names: Tensor) -> Drawing:
    """A picture of the graph from which `y` was computed: only tensors that need a gradient.

    names: the names of leaves in the picture, `draw(loss, weight=layer.weight)`.
    Boxes show the op, the shape and dtype of its result, the arrays that its pullback keeps for
    the backward pass, and the number of its step in that pass.
    """
    if y.node is None:
        raise RuntimeError("draw: the tensor has no graph: it does not require a gradient")
    return Drawing(y.node, {t.node: name for name, t in names.items() if t.node is not None})


class Drawing:
    """The graph behind a node: `dot()`, `svg()`, `html()`, or `save(path)` as one of them."""

    def __init__(self, root: Node, names: dict[Node, str]) -> None:
        order = graph.reachable([root], None)
        steps = (n for n in order if n.pull is not None and n.index is None)
        step_of = {node: i for i, node in enumerate(steps, 1)}
        self.boxes = {n: box(n, names.get(n, n.name), step_of.get(n)) for n in reversed(order)}
        self.edges = [(p, n) for n in self.boxes for p in n.parents if p is not None]

    def dot(self) -> str:
        """The graph in the language of Graphviz."""
        lines = ["digraph {", "  node [shape=box, fontname=Helvetica]"]
        for node, b in self.boxes.items():
            step = [f"step {b.step}"] if b.step else []
            text = "\\n".join([b.title, b.output, b.saved, *step]).replace('"', "'")
            lines.append(f'  n{node.number} [label="{text}"]')
        lines += [f"  n{p.number} -> n{n.number}" for p, n in self.edges]
        return "\n".join([*lines, "}", ""])

    def svg(self) -> str:
        """Inputs at the top, the result at the bottom; numbers are steps of the backward pass."""
        rows, paths = layers(list(self.boxes), self.edges)
        across = max(len(row) for row in rows)
        width = across * (WIDTH + GAP_X) + GAP_X
        height = len(rows) * (HEIGHT + GAP_Y) + GAP_Y

        at: dict[Any, tuple[float, float]] = {}  # the upper left corner of each box
        for depth, row in enumerate(rows):
            left = (width - len(row) * (WIDTH + GAP_X) + GAP_X) / 2
            for i, vertex in enumerate(row):
                at[vertex] = left + i * (WIDTH + GAP_X), GAP_Y + depth * (HEIGHT + GAP_Y)
        parts = [
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
            f'viewBox="0 0 {width} {height}" font-family="Helvetica, Arial, sans-serif" '
            f'font-size="12">',
            f'<rect width="{width}" height="{height}" fill="white"/>',
        ]
        for path in paths:
            parts.append(f'<path d="{curve([at[v] for v in path])}" fill="none" stroke="#889"/>')
        for node, b in self.boxes.items():
            parts.append(rectangle(*at[node], b))
        return "\n".join([*parts, "</svg>", ""])

    def html(self) -> str:
        """A page with the SVG; rest the mouse on a box to read the op's rule."""
        head = '<!doctype html>\n<meta charset="utf-8">\n<title>graph</title>\n'
        return head + self.svg()

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write to a file ending in .dot, .svg or .html."""
        forms = {".dot": self.dot, ".svg": self.svg, ".html": self.html}
        suffix = os.path.splitext(path)[1]
        if suffix not in forms:
            raise ValueError(f"draw: expected a name ending in .dot, .svg or .html, got {path}")
        with open(path, "w", encoding="utf-8") as file:
            file.write(forms[suffix]())

    def _repr_svg_(self) -> str:  # shown by notebooks
        return self.svg()


def box(node: Node, title: str, step: int | None) -> Box:
    if node.index is not None:
        return Box(f"{title}, output {node.index}", brief(node), "", None, "")
    if node.pull is None:
        return Box(title, brief(node), "leaf", None, "")
    used = node.pull is graph.freed
    arrays = [f"{a.shape} {a.dtype}" for a in saved_arrays(node.pull)]
    saved = "used" if used else "keeps " + (", ".join(arrays) or "nothing")
    return Box(title, brief(node), saved, step, inspect.getdoc(node.op.body) or "")


def brief(node: Node) -> str:
    several = isinstance(node.dtype, tuple)
    return f"{len(node.dtype)} outputs" if several else f"{node.shape} {node.dtype}"


def layers(nodes: list[Node], edges: list[tuple[Node, Node]]) -> tuple[list[Any], list[list[Any]]]:
    """Rows of vertices, and for each edge the vertices that it passes.

    A node stands below all its parents, a leaf just above its first use. An edge over several rows
    has its own vertex (p, n, row) in each row between, so that it goes around boxes. Within a row,
    vertices are sorted by the mean position of their neighbours; a few passes over the rows are
    enough. Source: Sugiyama, Tagawa, Toda, Methods for Visual Understanding of Hierarchical
    System Structures (1981).
    """
    depth: dict[Any, int] = {}
    for node in nodes:  # oldest first
        depth[node] = 1 + max((depth[p] for p in node.parents if p is not None), default=-1)
    for leaf in (n for n in nodes if n.pull is None):
        depth[leaf] = min((depth[n] for p, n in edges if p is leaf), default=1) - 1
    paths: list[list[Any]] = []
    for p, n in edges:
        between = [(p, n, row) for row in range(depth[p] + 1, depth[n])]
        depth.update({vertex: vertex[2] for vertex in between})
        paths.append([p, *between, n])
    rows: list[list[Any]] = [[] for _ in range(max(depth.values()) + 1)]
    for vertex, row in depth.items():
        rows[row].append(vertex)
    neighbours: dict[Any, list[Any]] = {vertex: [] for vertex in depth}
    for path in paths:
        for a, b in itertools.pairwise(path):
            neighbours[a].append(b)
            neighbours[b].append(a)
    for i_pass in range(6):
        place = {v: i - len(row) / 2 for row in rows for i, v in enumerate(row)}
        for row in rows if i_pass % 2 else reversed(rows):
            mean = {
                v: sum(place[n] for n in neighbours[v]) / max(len(neighbours[v]), 1) for v in row
            }
            row.sort(key=lambda v: mean[v])
            place.update({v: i - len(row) / 2 for i, v in enumerate(row)})
    return rows, paths


def curve(corners: list[tuple[float, float]]) -> str:
    """An SVG path from the bottom of the first box to the top of the last."""
    x, y = corners[0][0] + WIDTH / 2, corners[0][1] + HEIGHT
    path = f"M {x} {y}"
    for left, top in corners[1:]:
        to_x = left + WIDTH / 2
        path += f" C {x} {y + GAP_Y / 2} {to_x} {top - GAP_Y / 2} {to_x} {top}"
        x, y = to_x, top + HEIGHT
        path += f" L {x} {y}" if (left, top) != corners[-1] else ""
    return path


def rectangle(left: float, top: float, b: Box) -> str:
    """One box of the SVG."""
    fill = "#e6f2e6" if b.saved == "leaf" else "#eef0fa"
    tip = "\n\n".join(filter(None, [b.rule or b.title, b.saved]))
    from html import escape  # here: it would take a tenth of the time of `import minigrad`

    lines = [f"<g><title>{escape(tip)}</title>"]
    lines.append(
        f'<rect x="{left}" y="{top}" width="{WIDTH}" height="{HEIGHT}" rx="6" fill="{fill}" '
        f'stroke="#667"/>'
    )
    for i, text in enumerate((b.title, b.output, b.saved)):
        shown = text if len(text) <= 27 else text[:26] + "…"
        weight = ' font-weight="bold"' if i == 0 else ""
        lines.append(f'<text x="{left + 8}" y="{top + 17 + 17 * i}"{weight}>{escape(shown)}</text>')
    if b.step is not None:
        lines.append(
            f'<text x="{left + WIDTH - 8}" y="{top + 17}" text-anchor="end" fill="#c33">'
            f"{b.step}</text>"
        )
    return "\n".join([*lines, "</g>"])
