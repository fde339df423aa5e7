"""A Markdown extension: `minigrad/graph.py: walk` becomes a link to that name in the reference."""

from __future__ import annotations

import re
from typing import Any
from xml.etree.ElementTree import Element, SubElement

from markdown import Markdown
from markdown.extensions import Extension
from markdown.inlinepatterns import InlineProcessor
from markdown.util import AtomicString


class Reference(InlineProcessor):
    def handleMatch(self, m: re.Match[str], data: str) -> Any:
        module = m[1].removesuffix("/__init__").replace("/", ".")
        link = Element("autoref", {"identifier": f"{module}.{m[2]}", "optional": ""})
        SubElement(link, "code").text = AtomicString(m[0].strip("`"))
        return link, m.start(0), m.end(0)


class References(Extension):
    def extendMarkdown(self, md: Markdown) -> None:
        # before code in backticks, which has 190
        md.inlinePatterns.register(Reference(r"`(minigrad/[\w/]+)\.py: ([\w.]+)`"), "source", 195)


def makeExtension(**_: Any) -> References:
    return References()
