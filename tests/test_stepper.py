"""docs/stepper.html has minigrad's numbers, keeps what its pullbacks keep, and can be used.

Programs in the page's language are drawn as Python's syntax trees. `ast.unparse` writes the text
for the page; `computed` applies minigrad's ops to the same tree.
"""

from __future__ import annotations

import ast
import json
import operator
import re
import weakref
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from chromium import Chromium, needs_chromium

import minigrad as mg
from minigrad.graph import Node, checked, contributions_of
from minigrad.inplace import saved_arrays
from minigrad.op import OPS

PAGE = Path(__file__).parents[1] / "docs" / "stepper.html"
SOURCE = PAGE.read_text(encoding="utf-8")
DIAMOND = "a = 3.0\nb = a + a\nb * b + b"
OPERATORS: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.Pow: operator.pow,
}
FUNCTIONS = ("exp", "log", "sqrt", "sin", "cos", "tanh", "sigmoid", "relu", "sum", "mean")
ROUNDING = 16 * 2.0**-53


# --- programs, drawn and computed -----------------------------------------------------------------
class Computed(NamedTuple):
    """A program in minigrad: tensors of all nodes in order, the variables, the result."""

    tensors: list[mg.Tensor]
    names: dict[str, Any]
    result: mg.Tensor


@mg.op
def nudged(x: Any, value: float, gradient: float) -> Any:
    """x, with relative errors in the value and in the gradient."""
    return x * (1.0 + value), lambda g: g * (1.0 + gradient)


def computed(tree: ast.Module, nudge: tuple[int, float] = (-1, 0.0), keep: bool = True) -> Computed:
    """The program in float64.

    nudge: (site, relative error). Sites are numbered: each op's value, each gradient it passes on.
    keep:  whether the tensors of all nodes are returned, which keeps them alive.
    """
    tensors: list[Any] = []
    names: dict[str, Any] = {}
    sites = iter(range(1_000_000))

    def error() -> float:
        return nudge[1] if next(sites) == nudge[0] else 0.0

    def disturbed(x: Any, *, backward: bool) -> Any:
        e = error()
        return nudged(x, 0.0, e) if e and backward else nudged(x, e, 0.0) if e else x

    def value(e: ast.expr) -> Any:
        if isinstance(e, ast.Constant):
            return e.value
        if isinstance(e, ast.Name):
            return names[e.id]
        if isinstance(e, ast.List):
            return [value(item) for item in e.elts]
        if isinstance(e, ast.BinOp):
            f, parts = OPERATORS[type(e.op)], [e.left, e.right]
        elif isinstance(e, ast.UnaryOp):
            f, parts = operator.neg, [e.operand]
        else:
            assert isinstance(e, ast.Call)
            f, parts = getattr(mg, e.func.id), e.args  # type: ignore[attr-defined]
        args = [value(part) for part in parts]
        if not any(isinstance(a, mg.Tensor) for a in args):
            return f(*args)
        y = f(*(disturbed(a, backward=True) if isinstance(a, mg.Tensor) else a for a in args))
        tensors.append(y if keep else (weakref.ref(y.data), y.shape))
        return disturbed(y, backward=False)

    for statement in tree.body:
        assert isinstance(statement, (ast.Assign, ast.Expr))
        found = value(statement.value)
        if isinstance(statement, ast.Expr):
            return Computed(tensors, names, found)
        if not isinstance(found, mg.Tensor):
            found = mg.tensor(found, requires_grad=True, dtype="float64")
            tensors.append(found if keep else (weakref.ref(found.data), found.shape))
        names[statement.targets[0].id] = found  # type: ignore[attr-defined]
    raise AssertionError("the last line is no expression")


def drawn(rng: np.random.Generator) -> ast.Module:
    """A random program: up to three leaves, some of them lists, up to three names, and a result."""
    names = list[str]()
    body = list[ast.stmt]()

    def number() -> float:
        return float(np.round(rng.uniform(0.2, 2.0), 2))

    def call(name: str, argument: ast.expr) -> ast.expr:
        return ast.Call(ast.Name(name), [argument], [])

    def expression(depth: int) -> ast.expr:
        if depth == 0 or rng.random() < 0.1:
            return ast.Name(names[rng.integers(len(names))])
        draw = rng.random()
        if draw < 0.3:
            return call(FUNCTIONS[rng.integers(len(FUNCTIONS))], expression(depth - 1))
        if draw < 0.45:
            return ast.UnaryOp(ast.USub(), expression(depth - 1))
        one, two = expression(depth - 1), expression(depth - 1)
        if rng.random() < 0.2:
            one, two = ast.Constant(number()), one
        elif rng.random() < 0.2:
            two = ast.Constant(number())
        return ast.BinOp(one, list(OPERATORS)[rng.integers(len(OPERATORS))](), two)

    def assign(name: str, e: ast.expr) -> None:
        body.append(ast.Assign([ast.Name(name)], e, lineno=0))
        names.append(name)

    for name in "abc"[: rng.integers(1, 4)]:
        one = ast.Constant(number())
        several = ast.List([ast.Constant(number()) for _ in range(3)])
        assign(name, several if rng.random() < 0.5 else one)
    for name in "uau"[: rng.integers(0, 4)]:  # which hide a leaf, and an op
        assign(name, expression(3))
    body.append(ast.Expr(call("sum", expression(5))))
    return ast.Module(body, [])


@cache
def programs() -> list[ast.Module]:
    """Forty random programs, always the same, whose values and gradients are moderate."""
    rng, found = np.random.default_rng(0), list[ast.Module]()
    while len(found) < 40:
        tree = drawn(rng)
        with np.errstate(all="ignore"):
            tensors, _, result = computed(tree)
            result.backward()
        grads = [t.grad.data for t in tensors if t.grad is not None]
        numbers = np.hstack([np.ravel(a) for a in (*grads, *(t.data for t in tensors))])
        if np.all(np.abs(numbers) < 1e3) and len(tensors) > 8 and len(grads) > 1:
            found.append(tree)
    return found


def outcome(run: Computed) -> np.ndarray[Any, Any]:
    """The result and the gradients of all leaves, in one array; NaN where a leaf has none."""
    run.result.backward()
    grads = [t.grad for t in run.tensors if t.node.op is None]
    found = [np.nan if g is None else np.ravel(g.data) for g in grads]
    return np.hstack([run.result.data, *found])


def allowed(tree: ast.Module) -> np.ndarray[Any, Any]:
    """How far rounding can move each number of the outcome, to first order.

    Each op's value and each gradient that it passes on may be wrong by `ROUNDING` of itself, on
    either side: NumPy's functions by 4 units in the last place, the page's by 1, and no formula has
    more than five operations. The effects of all these errors, one by one, are added up.
    """
    exact, size = outcome(computed(tree)), 1e-6
    ops = sum(isinstance(e, (ast.BinOp, ast.UnaryOp, ast.Call)) for e in ast.walk(tree))
    moved = (outcome(computed(tree, (site, size))) for site in range(3 * ops))
    return ROUNDING / size * sum(np.abs(m - exact) for m in moved) + 2.0**-53 * np.abs(exact)


# --- the file -------------------------------------------------------------------------------------
def test_the_page_is_one_small_file_that_loads_nothing() -> None:
    assert len(SOURCE.encode()) < 100_000
    names = SOURCE.replace("http://www.w3.org/2000/svg", "")  # a name, which nothing loads
    assert not re.search(r"""(src|href)\s*=(?!"data:)|https?:|@import|url\(|fetch\(""", names)
    assert "default-src 'none'" in SOURCE


def test_colours_can_be_read_in_light_and_dark() -> None:
    """WCAG 2.2, 1.4.3: text has a contrast of at least 4.5; 1.4.11: what is drawn of at least 3."""

    def luminance(colour: str) -> float:
        parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    def contrast(one: str, two: str) -> float:
        low, high = sorted((luminance(one), luminance(two)))
        return (high + 0.05) / (low + 0.05)

    modes = re.findall(r":root \{(.*?)\}", SOURCE, flags=re.S)
    assert len(modes) == 2
    for mode in modes:
        colours = dict(re.findall(r"--([\w-]+): (#\w{6})", mode))
        for text in ("ink", "soft", "accent", "right", "wrong"):
            for ground in ("paper", "card", "tint"):
                assert contrast(colours[text], colours[ground]) >= 4.5, (text, ground, mode)
        assert contrast(colours["on-accent"], colours["accent"]) >= 4.5
        assert contrast(colours["ink"], colours["line"]) >= 4.5
        for ground in ("paper", "card", "tint"):
            assert contrast(colours["wire"], colours[ground]) >= 3.0, (ground, mode)


# --- in a browser ---------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chromium]:
    with Chromium(tmp_path_factory.mktemp("profile")) as found:
        found.open(PAGE)
        yield found
        assert found.errors == []
        assert {url.partition("#")[0] for url in found.requests} <= {PAGE.as_uri(), "data:,"}


@pytest.fixture(scope="module")
def examples(browser: Chromium) -> dict[str, ast.Module]:
    """The programs that the page offers."""
    return {name: ast.parse(text) for name, text in browser.run("EXAMPLES").items()}


WALKED = """(source, order) => {
  const graph = build(source), visits = walk(graph, order);
  const grads = gradients(graph, order, visits).map(([, g]) => g === null ? NaN : g);
  return {
    outcome: [graph.result.value, grads].flat(Infinity).map(String),
    nodes: graph.nodes.map((n) => ({
      name: n.op ?? "leaf", parents: n.args.map((v) => v.number ?? null),
      kept: n.op ? kept(n).map((k) => k.number) : [],
      held: holders(graph, n, new Map()).length > 0,
      left: holders(graph, n, new Map(visits.map((v) => [v.node, 1]))).length > 0,
    })),
    visits: visits.map((v) => v.node.number), counted: ORDERS[order].visits(graph),
  };
}"""


def walked(browser: Chromium, sources: list[str], order: str = "newest") -> list[Any]:
    return browser.run(f"{json.dumps(sources)}.map((source) => ({WALKED})(source, '{order}'))")


def numbers(found: Any) -> np.ndarray[Any, Any]:
    """The outcome of the page; it came as text, since JSON has neither NaN nor inf."""
    return np.array([float(x.replace("Infinity", "inf")) for x in found["outcome"]])


@needs_chromium
def test_values_and_gradients_are_minigrads(browser: Chromium, examples: Any) -> None:
    trees = [*examples.values(), *programs()]
    used = {getattr(e, "id", type(e)) for tree in trees for e in ast.walk(tree)}
    assert used >= {*FUNCTIONS, *OPERATORS, ast.USub, ast.List}
    for tree, found in zip(trees, walked(browser, [*map(ast.unparse, trees)]), strict=True):
        text, exact = ast.unparse(tree), outcome(computed(tree))
        np.testing.assert_array_equal(np.isnan(numbers(found)), np.isnan(exact), err_msg=text)
        differ = np.abs(numbers(found) - exact)
        assert np.all((differ <= allowed(tree)) | np.isnan(exact)), f"{text}\n{differ}"


@needs_chromium
def test_nodes_and_what_they_keep_are_minigrads(browser: Chromium, examples: Any) -> None:
    trees = [*examples.values(), *programs()]
    for tree, found in zip(trees, walked(browser, [*map(ast.unparse, trees)]), strict=True):
        run = computed(tree)
        first = run.tensors[0].node.number
        for t, n in zip(run.tensors, found["nodes"], strict=True):
            node = t.node
            assert n["name"] == node.name
            # leaves have no parents in the page and an empty list in minigrad
            assert n["parents"] == [p and p.number - first + 1 for p in node.parents or ()]
            kept = {run.tensors[k - 1].data.tobytes() for k in n["kept"]}
            assert kept == {a.tobytes() for a in saved_arrays(node.pull)}, ast.unparse(tree)
        order = sorted(found["visits"], reverse=True)
        assert found["visits"] == order
        assert len(order) == len({*order}) == found["counted"]


@needs_chromium
def test_arrays_live_as_long_as_the_page_says(browser: Chromium) -> None:
    """Of lists and the result: of other numbers, minigrad's tensors and pullbacks have copies."""
    trees = [t for t in programs() if any(isinstance(e, ast.List) for e in ast.walk(t))]
    compared = set[tuple[bool, bool]]()
    for tree, found in zip(trees, walked(browser, [*map(ast.unparse, trees)]), strict=True):
        run = computed(tree, keep=False)
        for key in ("held", "left"):  # before the walk, and behind it
            for (array, shape), n in zip(run.tensors, found["nodes"], strict=True):
                if shape or n is found["nodes"][-1]:
                    assert (array() is not None) == n[key], f"{ast.unparse(tree)}\n{n}"
                    compared.add((key, n[key]))
            if key == "held":
                run.result.backward()
    assert len(compared) == 4


@needs_chromium
def test_kinks_and_poles_are_minigrads(browser: Chromium) -> None:
    """Exactly, for each is one or two operations on numbers that float64 has."""
    sources = [
        f"a = {a}\n{e}"
        for a in ("0.0", "-1.0", "2.0")
        for e in ("relu(a)", "a ** 0", "a ** 2", "2 ** a", "1 / a", "log(a)", "sqrt(a)", "0 ** a")
    ]
    for source, found in zip(sources, walked(browser, sources), strict=True):
        tree = ast.parse(source)
        tree.body[0].value = ast.Constant(float(source.split()[2]))  # type: ignore[attr-defined]
        exact = outcome(computed(tree))
        np.testing.assert_allclose(numbers(found), exact, rtol=4 * 2.0**-53, err_msg=source)


def on_arrival(root: Node, total: bool) -> tuple[dict[Node, Any], int]:
    """The wrong walks of reading.md on minigrad's own nodes: gradients, and the visits."""
    sums: dict[Node, Any] = {}
    visits = 0

    def visit(node: Node, g: Any) -> None:
        nonlocal visits
        visits += 1
        sums[node] = sums[node] + g if node in sums else g
        if node.pull is None:
            return
        passed = contributions_of(node, sums[node] if total else g, {*node.parents}, False)
        for parent, c in zip(node.parents, passed, strict=True):
            if parent is not None:
                visit(parent, checked(node, parent, c))

    visit(root, np.ones(()))
    return sums, visits


@needs_chromium
@pytest.mark.parametrize("order", ["total", "paths"])
def test_walks_on_arrival_are_those_of_the_reading_path(
    browser: Chromium, examples: Any, order: str
) -> None:
    """The tolerance is far above rounding; a gradient passed on twice is wrong by all of itself."""
    found = walked(browser, [*map(ast.unparse, examples.values())], order)
    for tree, page in zip(examples.values(), found, strict=True):
        run = computed(tree)
        sums, visits = on_arrival(run.result.node, order == "total")
        grads = [sums[t.node] for t in run.tensors if t.node.op is None]
        np.testing.assert_allclose(numbers(page)[1:], np.hstack(grads), rtol=1e-9)
        assert len(page["visits"]) == page["counted"] == visits


@needs_chromium
def test_the_diamond_and_the_chain_of_reading_md(browser: Chromium) -> None:
    (right,), (wrong,), (path,) = (
        walked(browser, [DIAMOND], order) for order in ("newest", "total", "paths")
    )
    assert [numbers(f)[1] for f in (right, wrong, path)] == [26.0, 62.0, 26.0]
    doubled = "\n".join(["a = 1.0", *["a = a + a"] * 16, "a"])
    assert walked(browser, [doubled])[0]["counted"] == 17
    assert walked(browser, [doubled], "paths")[0]["counted"] == 131071
    counted = f"ORDERS.paths.visits(build({json.dumps(doubled)} + ' + a + a'))"
    assert browser.run(counted) > browser.run("MOST_VISITS")
    assert browser.run(counted.replace("ORDERS.paths.visits", "((g) => walk(g, 'paths'))")) is None


@needs_chromium
def test_rules_are_those_of_the_source_and_formulas_those_of_the_pullbacks(
    browser: Chromium,
) -> None:
    for name, rule in browser.run("Object.entries(OPS).map(([name, op]) => [name, op.rule])"):
        assert rule == (OPS[name].body.__doc__ or "").partition("\n")[0]
    # a formula, in the page's own language, for numbers: all but those of relu, sum and mean
    wrong = browser.run("""Object.entries(OPS).flatMap(([name, op]) =>
      op.pulls.filter(([says, f]) => {
      if (["relu", "sum", "mean"].includes(name)) return false;
      const code = says.replaceAll("·", "*").replaceAll("σ", "sigmoid").replaceAll("^", "**");
      const start = "g = 0.7; y = 1.3; a = 0.4; b = 1.9; x = 0.4; p = 1.9; ";
      const value = build(start + code).result.value;
      return !(Math.abs(value - f(0.7, 1.3, 0.4, 1.9)) < 1e-14);
    }))""")
    assert wrong == []


@needs_chromium
def test_the_python_beside_it_gives_the_same(browser: Chromium, examples: Any) -> None:
    for name, tree in examples.items():
        browser.run(f"write(EXAMPLES[{name!r}]); read(EXAMPLES[{name!r}]); start('newest')")
        text = browser.run("byId('python').textContent")
        names: dict[str, Any] = {}
        exec(re.sub(r"^print\(.*\)$", "", text, flags=re.M), names)  # as test_docs.py does
        for leaf, tensor in computed(tree).names.items():
            assert (f"print({leaf}.grad)" in text) == (names[leaf].node.op is None)
            assert names[leaf].dtype == tensor.dtype
        grads = [
            names[t].grad.data for t in re.findall(r"^print\((\w+)\.grad\)$", text, flags=re.M)
        ]
        np.testing.assert_array_equal(np.hstack(grads), outcome(computed(tree))[1:])


# --- using it -------------------------------------------------------------------------------------
def type_in(browser: Chromium, text: str) -> str:
    """Replace the program as a user would; what is said of it."""
    browser.run("byId('program').focus(); byId('program').select()")
    browser.call("Input.insertText", text=text)
    return browser.run("byId('mistake').firstChild?.textContent ?? ''")


MISTAKES = """
a = 3.0; b = a + * a
                 ^ expected a number, a name or “(”, got “*”.
a = 3.0; a +
            ^ expected a number, a name or “(”, got the end of the line.
a = 3.0; (a + a
               ^ expected “)”, got the end of the line.
a = 3.0; a a
           ^ expected an operator or the end of the line, got “a”.
a = b = 3.0
      ^ expected one name before “=”, got “=”.
a = 3.0; b * a
         ^ expected a name that is defined, got “b”.
lambda = 3.0
^ expected a name that is free, got “lambda”.
a = 3.0; a.grad
          ^ “.” is no part of the language.
eval(a)
^ expected one of exp, log, sqrt, sin, cos, tanh, sigmoid, relu, sum, mean, got “eval”.
a = [1.0, b]
          ^ expected a number, got “b”.
a = [1.0]
    ^ expected at least two numbers in a list, got one.
a = 2.0 * [1.0, 2.0]
          ^ expected a list only behind “name =”, got “[”.
a = [1.0, 2.0]; b = [1.0, 2.0, 3.0]; sum(a * b)
                                           ^ expected lists of one length, got 2 and 3.
a = [1.0, 2.0]; a * a
                ^ expected one number as the result, got a list of 2: sum(…) makes it one.
a = 1.0; a * a; a
         ^ expected “name =”, got a line without one that is not the last.
a = 1.0 / 0.0
        ^ expected a finite number, got inf.
a = 1.0; exp(2.0) * a
         ^ expected a variable in exp(…), got a number.
2.0
^ expected a variable in the last line, got a number.
# nothing
         ^ expected an expression, for example a = 3.0, got nothing.
<img src=x onerror=go(3)>
^ “<” is no part of the language.
"""


@needs_chromium
def test_a_mistake_is_placed_and_the_last_graph_stays(browser: Chromium) -> None:
    lines = MISTAKES.strip().split("\n")
    pairs = zip(lines[::2], lines[1::2], strict=True)
    cases = [(text, mark.index("^"), mark.strip("^ ")) for text, mark in pairs]
    cases += [("a = 1.0; " + "+".join(["a"] * 102), 9, "expected at most 100 nodes.")]
    drawn = "byId('rows').textContent + byId('python').textContent"
    invalid = "byId('program').getAttribute('aria-invalid')"
    assert type_in(browser, DIAMOND) == ""
    before = browser.run(drawn)
    for text, column, said in cases:
        # on its second line
        assert type_in(browser, f"\n{text}") == f"Line 2, column {column + 1}: {said}"
        assert browser.run(f"[{drawn}, {invalid}, document.images.length]") == [before, "true", 0]
    assert type_in(browser, DIAMOND) == ""
    assert browser.run(invalid) is None


def press(browser: Chromium, *keys: str) -> None:
    codes = {"Tab": 9, "Escape": 27, "PageUp": 33, "PageDown": 34, "End": 35, "Home": 36}
    codes |= {"ArrowLeft": 37, "ArrowUp": 38, "ArrowRight": 39, "ArrowDown": 40}
    for key in keys:
        for kind in ("rawKeyDown", "keyUp"):
            options = {"key": key, "code": key, "windowsVirtualKeyCode": codes[key]}
            browser.call("Input.dispatchKeyEvent", type=kind, **options)


@needs_chromium
def test_the_keyboard_alone_is_enough(browser: Chromium) -> None:
    browser.open(PAGE)
    seen = lambda: browser.run("[byId('count').textContent, byId('said').textContent]")
    focus = lambda: browser.run("document.activeElement.id || document.activeElement.value")
    press(browser, "ArrowRight", "PageDown", "PageUp", "ArrowRight")
    assert seen()[0] == "step 2 of 4"
    assert "Node #3, mul" in seen()[1]
    assert "g · b = 1 · 6 = 6; 2 of 3 arrived, it waits" in seen()[1]
    assert browser.run("document.querySelector('[aria-current] .op').textContent") == "mul"
    press(browser, "End")
    assert "The walk is over: a.grad = 26." in seen()[1]
    press(browser, "Tab", "Tab")
    assert focus() == "program"
    press(browser, "End", "ArrowLeft")  # of the text
    assert seen()[0] == "step 4 of 4"
    press(browser, "Tab", "Tab")
    assert focus() == "newest"
    press(browser, "ArrowDown")
    assert seen()[0] == "step 0 of 11"
    press(browser, "Tab")
    assert focus() == "first"
    press(browser, "End")
    assert "a.grad = 62. ✗ wrong: right is a.grad = 26" in seen()[1]
    press(browser, "ArrowLeft", "ArrowLeft")
    assert seen()[0] == "step 9 of 11"
    browser.run("byId('program').focus()")
    press(browser, "Escape", "Home")
    assert (focus(), seen()[0]) == ("slider", "step 0 of 11")


@needs_chromium
def test_the_drawing_shows_where_the_walk_is(browser: Chromium) -> None:
    """Of the diamond; wires from the newest node down, nodes from the oldest up."""
    kinds = "[...document.querySelectorAll('.{}')].map((e) => e.classList[1] ?? '')"
    type_in(browser, DIAMOND)
    browser.run("start('newest', 2)")
    assert browser.run(kinds.format("wire")) == ["visited", "visited", "now", "now", "", ""]
    assert browser.run(kinds.format("node")) == ["", "waiting", "now", "visited"]
    browser.run("start('total', 7)")  # #4 → #3 → #2 by the second factor → #1
    assert browser.run(kinds.format("wire")) == ["now", "", "visited", "now", "now", "visited"]
    assert browser.run(kinds.format("node")) == ["now", "visited", "visited", "visited"]
    type_in(browser, "a = 2.0\nunused = exp(a)\na * a")
    browser.run("start('newest', 2)")
    assert browser.run(kinds.format("node")) == ["now", "aside", "visited"]


@needs_chromium
def test_the_address_holds_what_is_shown(browser: Chromium) -> None:
    browser.open(PAGE)
    type_in(browser, "x = 2.0\nx * x")
    browser.run("document.querySelector('[value=paths]').click(); go(2)")
    address = browser.run("new Promise((done) => setTimeout(() => done(location.hash), 500))")
    shown = "byId('rows').textContent + byId('said').textContent + byId('program').value"
    before = browser.run(shown)
    for other in ("", "#program=%3Cimg%20src%3Dx%3E&order=constructor&step=-9"):
        visit(browser, other)
        assert browser.run("[view.order, view.step, document.images.length]") == ["newest", 0, 0]
    visit(browser, address)
    assert browser.run(shown) == before


def visit(browser: Chromium, address: str) -> None:
    """Go to another #address of the page, and wait until it shows that."""
    there = f"location.hash = {json.dumps(address)}"
    listen = "addEventListener('hashchange', () => done(0), { once: true })"
    browser.run(f"new Promise((done) => {{ {listen}; {there}; }})")


@needs_chromium
def test_nothing_is_wider_than_a_phone(browser: Chromium, examples: Any) -> None:
    size = {"width": 390, "height": 844, "deviceScaleFactor": 1, "mobile": True}
    browser.call("Emulation.setDeviceMetricsOverride", **size)
    try:
        browser.run("document.querySelectorAll('details').forEach((d) => { d.open = true; })")
        for name in examples:
            browser.run(f"write(EXAMPLES[{name!r}]); read(EXAMPLES[{name!r}]); start('total', 1)")
            assert browser.run("document.documentElement.scrollWidth") <= 390, name
            widest = "Math.max(...[...byId('rows').children].map((row) => row.scrollWidth))"
            assert browser.run(f"{widest} - byId('graph').clientWidth") <= 0, name
    finally:
        browser.call("Emulation.clearDeviceMetricsOverride")
