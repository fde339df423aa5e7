"""Docstrings as Markdown.

They are written to be read in the source: formulas are aligned with spaces, and `name: what it is`
lists the arguments. Markdown would run all of that together.
"""

from __future__ import annotations

import re

ITEM = re.compile(r"([a-z]\w*(?:, \w+)*): +(?=\S)(.*)")
GAP = re.compile(r"(?<=\S) {3,}(?=\S)")
NEW = re.compile(r"[A-Z][a-z]+: ")  # "Source: ", "Kept: "
CODE = re.compile(r"(`[^`]+`)")


def markdown(docstring: str) -> str:
    """A docstring with its formulas in code blocks and its arguments in a list.

    Indented lines are kept as they are. A line with wide gaps is several formulas, one below the
    other, so that they fit on a phone. Everything else is text.
    """
    blocks: list[tuple[str, list[str]]] = []  # (kind, lines)
    for line in docstring.splitlines():
        last = blocks[-1][0] if blocks else ""
        if not line.strip():
            if last not in ("aligned", "end"):
                blocks.append(("end", []))
            elif last == "aligned":
                blocks[-1][1].append("")
        elif line.startswith(" ") and last in ("item", "aligned"):
            blocks[-1][1].append(line if last == "aligned" else line.strip())
        elif line.startswith(" "):
            blocks.append(("aligned", [line]))
        elif last in ("", "end", "aligned", "item") and (item := ITEM.fullmatch(line)):
            blocks.append(("item", [f"`{item[1]}`: {item[2]}"]))
        elif GAP.search(line) and last == "formulas":
            blocks[-1][1].extend(GAP.split(line))
        elif GAP.search(line):
            blocks.append(("formulas", GAP.split(line)))
        elif last == "text" and not NEW.match(line):
            blocks[-1][1].append(line)
        else:
            blocks.append(("text", [line]))
    return "".join(form(kind, lines) for kind, lines in blocks)


def form(kind: str, lines: list[str]) -> str:
    """A block in Markdown."""
    if kind in ("aligned", "formulas"):
        indent = min(len(line) - len(line.lstrip()) for line in lines if line)
        code = "\n".join(line[indent:] for line in lines).rstrip()
        return f"\n```{{.text .{kind}}}\n{code}\n```\n"
    if kind == "item":
        return "- " + escaped(" ".join(lines)) + "\n"
    return "\n" + escaped("\n".join(lines)) + "\n"


def escaped(text: str) -> str:
    """Text without meaning to Markdown, except `code`."""
    parts = CODE.split(text)
    plain = [re.sub(r"([\\*_\[\]#])", r"\\\1", part).replace("<", "&lt;") for part in parts]
    return "".join(part if i % 2 else plain[i] for i, part in enumerate(parts))
