"""Chapter 1: the walk back over a graph in which values are used more than once."""

from __future__ import annotations

import contextlib

import numpy as np

import minigrad as mg
from exercises.exercise import Chapter, Exercise
from exercises.probes import Numbers, Program
from minigrad import graph


def leaf(x: float) -> mg.Tensor:
    return mg.tensor(x, requires_grad=True, dtype=np.float64)


def diamond(a: mg.Tensor) -> mg.Tensor:
    """4a² + 2a: at 3 the derivative is 26."""
    b = a + a
    return b * b + b


def curve(x: mg.Tensor) -> mg.Tensor:
    """eˣˣ + x: one way to x goes through other nodes, one does not."""
    return mg.exp(x * x) + x


def order_of_a_diamond() -> Numbers:
    """The nodes as `reachable` lists them, and the gradient that the walk then gives."""
    a = leaf(3.0)
    y = diamond(a)
    nodes = graph.reachable([y.node], None)
    oldest = min(node.number for node in nodes)
    y.backward()
    gradient = a.grad.numpy() if a.grad is not None else "none"
    x = leaf(1.0)
    for _ in range(16):
        x = x + x
    return {
        "nodes": " ".join(node.name for node in nodes),
        "their numbers": np.array([node.number - oldest for node in nodes]),
        "gradient of 4a² + 2a at 3": gradient,
        "nodes of 16 diamonds": len(graph.reachable([x.node], None)),
        "mg.grad of exp(x²) + x at 1, a walk with targets": mg.grad(curve)(1.0).numpy(),
        "nodes of a product with a constant": len(graph.reachable([(leaf(2.0) * 3.0).node], None)),
    }


def gradients_that_meet() -> Numbers:
    """Values used twice, and one array of gradients that two nodes share."""
    a, b = leaf(3.0), leaf(2.0)
    diamond(a).backward()
    y = b + (c := leaf(5.0))
    (y + b).backward()
    table, key, g = graph.Table(), leaf(0.0).node, np.ones(3)
    table.add(key, g)
    kept = table[key] is g
    table.add(key, g)
    own = table[key]
    table.add(key, g)
    weight = mg.tensor(np.ones((2, 3)), requires_grad=True)
    (weight.sum() + (2.0 * weight).sum() + (3.0 * weight).sum()).backward()
    return {
        "gradient of 4a² + 2a at 3": a.grad.numpy(),
        "gradient of b in (b + c) + b": b.grad.numpy(),
        "gradient of c in (b + c) + b": c.grad.numpy(),
        "gradient of what is used three times": weight.grad.numpy(),
        "the first gradient is kept as it is, not copied": kept,
        "the sum of two is added to in place": table[key] is own,
        "second derivative of x⁴ + x² + x at 2": mg.grad(mg.grad(power_sum))(2.0).numpy(),
    }


def power_sum(x: mg.Tensor) -> mg.Tensor:
    return x * x * x * x + x * x + x


def steps_of_a_walk() -> Numbers:
    """Gradients after a walk, whether it has freed the arrays, and what it does not reach."""
    a, frozen = leaf(3.0), mg.tensor(2.0, dtype=np.float64)
    y = diamond(a) * frozen
    y.backward()
    try:
        y.backward()
        again = "runs again"
    except RuntimeError as error:
        again = str(error).split(":")[0] + " says that it was used"
    row = mg.tensor(np.zeros(3), requires_grad=True)
    (row + np.ones((4, 3))).sum().backward()
    kept = diamond(b := leaf(3.0))
    kept.backward(retain_graph=True)
    with contextlib.suppress(RuntimeError):  # if the first one has freed it
        kept.backward()
    c, d = mg.tensor(np.ones(2), requires_grad=True), mg.tensor(np.ones(2), requires_grad=True)
    ((s := c + d) + c).backward(mg.tensor(np.array([1.0, 2.0])))
    rows = mg.tensor(np.ones((2, 2)), requires_grad=True)
    mg.where(np.array([True, False]), rows[np.array([0, 0])], 2.0).sum().backward()
    return {
        "gradient of d in (c + d) + c": d.grad.numpy(),
        "gradient of c in (c + d) + c": c.grad.numpy(),
        "the sum itself": s.detach().numpy(),
        "arguments that have no gradient": rows.grad.numpy(),
        "gradient of 2 (4a² + 2a) at 3": a.grad.numpy(),
        "a second walk": again,
        "gradient of a repeated row": row.grad.numpy(),
        "two walks with retain_graph": b.grad.numpy(),
    }


CHAPTER = Chapter(
    "The diamond",
    (
        Exercise(
            source="minigrad/graph.py: reachable",
            says="Nodes that can receive a gradient, newest first; with targets, "
            "only those on a way there.",
            cuts=["if parent is not None", "order = sorted", "order.reverse"],
            task="""
            `seen` begins with the roots and `todo` lists nodes whose parents are still to be looked
            at. A parent is None where no gradient is wanted, and with targets no node older than
            `oldest` matters. Collect every node once, then put them into the order of the walk. The
            filter for targets needs the oldest first, so the last line turns the order.

            Show first that an op's node always has a greater number than its parents' nodes. Why is
            the descending order of numbers then a topological order?
            """,
            hints=(
                "A node that two others use must be put on the list once only: `seen` knows.",
                "Three conditions: there is a parent, it was not seen, its number is at least "
                "`oldest`.",
                "sorted(seen, key=NUMBER) goes from the oldest to the newest; the walk goes the "
                "other way.",
            ),
            probe=Program(order_of_a_diamond),
            mistakes={
                "the filter for targets needs the oldest first: turn the order at the end": [
                    ("sorted(seen, key=NUMBER)", "sorted(seen, key=NUMBER, reverse=True)"),
                    ("    order.reverse()\n", ""),
                ],
                "the oldest target itself is left out: >= oldest": [
                    ("parent.number >= oldest", "parent.number > oldest")
                ],
                "a parent that wants no gradient is None, and has no number": [
                    ("parent is not None and ", "")
                ],
                "the nodes come oldest first: the walk then visits a node before its gradient is "
                "complete": [("    order.reverse()\n", "")],
            },
        ),
        Exercise(
            source="minigrad/graph.py: Table",
            says="The gradients that have arrived at nodes which the walk has not visited yet.\n\n"
            "unshared: nodes whose entry nothing else refers to: it may be added to in place.",
            cuts=["if node in self.unshared"],
            task="""
            A value that was used in several places gets several gradients. `add` adds one to what
            has arrived. An array that arrives may belong to another node as well (`a + b` passes
            the same g to both), so it must not be written to; a sum that was made here may be. Sums
            of 0-d arrays are NumPy scalars, which nothing can write to: np.asarray makes arrays of
            them. Within a higher derivative g is a Tensor: devices.is_array is False for it, and it
            is never written to.

            Three cases: the entry is in `unshared`; there is an entry; there is none. In the last
            one, `new` says that nothing else refers to g.
            """,
            hints=(
                "Without an entry, g itself becomes the entry. It is unshared only if it is new.",
                "With an entry that may be shared, self[node] + g is a new array: from then on "
                "the entry is "
                "unshared.",
                "A sum of 0-d arrays is a NumPy scalar; np.asarray makes it an array again. "
                "devices.is_array(total) is false for a Tensor, which is never added to in place.",
            ),
            probe=Program(gradients_that_meet),
            mistakes={
                "the last gradient replaces what has arrived before: they must be added": [
                    ("total = self[node] + g", "total = g"),
                    ("np.add(self[node], g, out=self[node])", "self[node] = g"),
                ],
                "a gradient is added in place into an array that another node uses too": [
                    ("total = self[node] + g", "total = self[node]; total += g")
                ],
            },
        ),
        Exercise(
            source="minigrad/graph.py: spread",
            says="Apply the pullback of a node, add the results to its parents that need "
            "one, free the node.",
            cuts=["if not keeping", "for parent, c in zip"],
            task="""
            `contributions` holds one gradient for each parent, or None. Give each parent that is
            `useful` its own, in the shape that the parent has (`checked` does that), and let go of
            what the node has saved unless the graph is kept: `freed` takes the place of the
            pullback.

            Which line makes a second backward() impossible, and what would be kept without it?
            """,
            hints=(
                "Free first, or a graph of a thousand layers is kept until the end: node.pull = "
                "freed.",
                "zip(parents, contributions, strict=False): a pullback may return fewer than "
                "there are parents.",
                "A contribution is new if the parent is a leaf without an entry, the graph is not "
                "kept, and "
                "is_new(c, g, contributions).",
            ),
            probe=Program(steps_of_a_walk),
            mistakes={
                "the node keeps its pullback: its saved arrays are not freed": [
                    ("node.pull, node.parents, node.inputs = freed, (), None", "pass")
                ],
                "every walk frees the node, also one that is to keep the graph": [
                    ("if not keeping:", "if True:")
                ],
                "graphs are freed only where they are to be kept": [
                    ("if not keeping:", "if keeping:")
                ],
                "each contribution is taken for a new array, so one that others use is added to in "
                "place": [("checked(node, parent, c), new)", "checked(node, parent, c), True)")],
                "a contribution replaces what has arrived before: table.add adds": [
                    ("table.add(parent, checked(node, parent, c), new)", "table[parent] = c")
                ],
                "a contribution is passed on without `checked`: the sum over the broadcast axis "
                "is missing": [("checked(node, parent, c)", "c")],
            },
        ),
    ),
)
