"""The source of a function of the library, with lines taken out or with a mistake put in.

    function = find("minigrad/ops/nn.py: softmax")
    function.with_holes(["pullback"], says="y_i = e^(x_i) / Σ_j e^(x_j)")
    function.with_mistake([("g - np.sum(g * y, axis=axis, keepdims=True)", "g")])

Places are found in the source as it is now. One that is no longer there is an error, which the
tests would show, so no exercise can be out of date.

What is taken out is named by
    "pullback"         what the function returns beside its value
    "def NAME"         the body of a function in it
    "START"            the statements that begin so
    "START ... END"    the statements from the first that begins with START to the one with END
"""

from __future__ import annotations

import ast
import importlib
import inspect
import sys
import textwrap
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from minigrad.kernel import Routine

HOLE = "...  # your lines"
SETUP = ("op", "Routine")  # the decorators that an exercise keeps
OURS = ("minigrad", "models", "experiments")
NOT_ASKED = ("numpy", "stacked")  # arguments of @op that only the library's own op can have

Definition = ast.FunctionDef | ast.ClassDef
Span = tuple[int, int, int, int]  # first line, column in bytes, last line, column in bytes


@dataclass(frozen=True)
class Function:
    """A function, method or class of the library."""

    module: Any
    name: str  # "softmax", "SGD.update"
    text: str  # dedented, without decorators of which an exercise knows nothing

    @property
    def tree(self) -> Definition:
        return definition(ast.parse(self.text))

    @property
    def short(self) -> str:
        return self.name.rpartition(".")[2]

    def with_holes(self, places: Sequence[str], says: str) -> str:
        """The text with a hole in each place, and with `says` as its docstring."""
        tree = self.tree
        spans = {span: hole for place in places for span, hole in holes(self, tree, place)}
        first = tree.body[0]
        quoted = f'"""{says}"""' if "\n" not in says else f'"""{says}\n"""'
        spans[span_of(first)] = textwrap.indent(quoted, " " * first.col_offset).lstrip()
        return replaced(self.text, spans)

    def with_mistake(self, changes: Sequence[tuple[str, str]]) -> str:
        """The text with each (right, wrong) changed. LookupError if the right one is not there."""
        text = self.text
        for right, wrong in changes:
            if right not in text:
                raise LookupError(f"{self.name} has no {right!r} to change")
            text = text.replace(right, wrong)
        return text

    def imports(self) -> str:
        """Import statements for all names of the module that the function uses."""
        used = set(reads(self.tree))
        modules: dict[str, set[str]] = {"numpy as np": set()}  # whole modules have no names
        for node in ast.parse(inspect.getsource(self.module)).body:
            if isinstance(node, ast.Import | ast.ImportFrom):
                for alias in node.names:
                    if (alias.asname or alias.name).partition(".")[0] in used:
                        home = getattr(node, "module", None) or ast.unparse(alias)
                        names = {ast.unparse(alias)} if isinstance(node, ast.ImportFrom) else set()
                        modules.setdefault(home, set()).update(names)
            elif names := bound(node) & used - {self.short}:
                modules.setdefault(self.module.__name__, set()).update(names)
        lines: dict[int, list[str]] = {0: [], 1: [], 2: []}
        for home in sorted(modules):
            names = ", ".join(sorted(modules[home]))
            line = f"from {home} import {names}" if names else f"import {home}"
            lines[origin(home)].append(line)
        return "\n\n".join("\n".join(group) for group in lines.values() if group)

    def given(self, places: Sequence[str]) -> list[str]:
        """The library's functions that the lines taken out call: signature, and what each does."""
        left = reads(definition(ast.parse(self.with_holes(places, ""))))
        lines = []
        for name in sorted(reads(self.tree) - left):
            value = vars(self.module).get(name)
            value = value.body if isinstance(value, Routine) else value
            if inspect.isfunction(value) and value.__module__.partition(".")[0] in OURS:
                arguments = ", ".join(inspect.signature(value).parameters)
                about = (inspect.getdoc(value) or "").partition("\n")[0]
                lines.append(f"{name}({arguments}){': ' if about else ''}{about}")
        return lines

    def made_from(self, text: str) -> Any:
        """The object that `text`, a variant of this function, defines."""
        names = dict(vars(self.module), __name__=__name__)  # its ops are none of minigrad
        exec(compile(text, f"<{self.name}>", "exec"), names)  # the library's lines, no student's
        return names[self.short]


def find(place: str) -> Function:
    """The function at a place such as "minigrad/graph.py: walk". LookupError if there is none."""
    path, _, name = place.partition(": ")
    module = importlib.import_module(path.removesuffix(".py").replace("/", "."))
    text = inspect.getsource(module)
    node: Any = ast.parse(text)
    for part in name.split("."):
        named = [n for n in node.body if getattr(n, "name", None) == part]
        if not named:
            raise LookupError(f"{path} has no {name}")
        node = named[-1]
    lines = text.split("\n")[node.lineno - 1 : node.end_lineno]
    above = [ast.unparse(d) for d in map(kept, node.decorator_list) if d is not None]
    body = textwrap.dedent("\n".join(lines))
    return Function(module, name, "\n".join([f"@{line}" for line in above] + [body]) + "\n")


def kept(decorator: ast.expr) -> ast.expr | None:
    """The decorator as an exercise has it; None if it has none."""
    call = decorator if isinstance(decorator, ast.Call) else None
    target = call.func if call else decorator
    if not isinstance(target, ast.Name) or target.id not in SETUP:
        return None
    options = [k for k in call.keywords if k.arg not in NOT_ASKED] if call else []
    return ast.Call(target, [], options) if options else target


def definition(tree: ast.Module) -> Definition:
    node = tree.body[0]
    assert isinstance(node, Definition)
    return node


def origin(module: str) -> int:
    """0 for Python's own modules, 1 for other libraries, 2 for this one."""
    top = module.split(" ")[0].partition(".")[0]
    return 0 if top in sys.stdlib_module_names else 2 if top in OURS else 1


def reads(tree: ast.AST) -> Counter[str]:
    """How often each name stands in a definition, but for those of its parameters."""
    nodes = list(ast.walk(tree))
    parameters = {node.arg for node in nodes if isinstance(node, ast.arg)}
    names = (node.id for node in nodes if isinstance(node, ast.Name))
    return Counter(name for name in names if name not in parameters)


def bound(node: ast.stmt) -> set[str]:
    """The names that a statement of a module defines."""
    if isinstance(node, Definition):
        return {node.name}
    targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
    return {t.id for target in targets if target for t in ast.walk(target) if type(t) is ast.Name}


# --- holes ----------------------------------------------------------------------------------------
def holes(function: Function, tree: Definition, place: str) -> list[tuple[Span, str]]:
    """Spans of the text, and what takes the place of each. LookupError if there is none."""
    found = list(spans(function.text, tree, place))
    if not found:
        raise LookupError(f"{function.name} has no {place!r} to take out")
    return found


def spans(text: str, tree: Definition, place: str) -> Iterator[tuple[Span, str]]:
    if place == "pullback":
        returned = tree.body[-1]
        assert isinstance(returned, ast.Return)
        assert isinstance(returned.value, ast.Tuple)
        yield span_of(returned.value.elts[1]), "..."
    elif place.startswith("def "):
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef) and node.name == place[4:]:
                yield span_of(node.body[0], node.body[-1]), HOLE
    else:
        start, _, end = place.partition(" ... ")
        for block in blocks(tree):
            yield from ((span_of(*ends), HOLE) for ends in runs(text, block, start, end))


def runs(
    text: str, block: list[ast.stmt], start: str, end: str
) -> Iterator[tuple[ast.stmt, ast.stmt]]:
    """First and last of the statements from one with `start` to the next with `end`.

    Without an `end`, neighbours that all begin with `start` are one run.
    """
    said = [ast.get_source_segment(text, node) or "" for node in block]
    i = 0
    while i < len(block):
        last = i if said[i].startswith(start) else None
        if last is not None and end:
            last = next((j for j in range(i, len(block)) if said[j].startswith(end)), None)
        elif last is not None:
            while last + 1 < len(block) and said[last + 1].startswith(start):
                last += 1
        if last is not None:
            yield block[i], block[last]
            i = last
        i += 1


def blocks(tree: ast.AST) -> Iterator[list[ast.stmt]]:
    """Every list of statements in a definition."""
    for node in ast.walk(tree):
        for name in ("body", "orelse"):
            block = getattr(node, name, None)
            if isinstance(block, list):
                yield block


def span_of(first: Any, last: Any = None) -> Span:
    """Of one node, or from one to another."""
    last = first if last is None else last
    return first.lineno, first.col_offset, last.end_lineno, last.end_col_offset


def replaced(text: str, spans: dict[Span, str]) -> str:
    """The text with each span replaced, from the last to the first. Columns count bytes."""
    lines = [line.encode() for line in text.split("\n")]
    for (top, left, bottom, right), new in sorted(spans.items(), reverse=True):
        line = lines[top - 1][:left] + new.encode() + lines[bottom - 1][right:]
        lines[top - 1 : bottom] = [line]
    return b"\n".join(lines).decode()


def open_holes(text: str) -> list[int]:
    """The lines of a file that have holes. The dots in x[..., 0] and tuple[int, ...] are none."""
    nodes = list(ast.walk(ast.parse(text)))
    inside = {n for node in nodes if isinstance(node, ast.Subscript) for n in ast.walk(node.slice)}
    holes = (n for n in nodes if isinstance(n, ast.Constant) and n.value is Ellipsis)
    return sorted(n.lineno for n in holes if n not in inside)
