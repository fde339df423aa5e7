"""Is the site whole? Every link leads somewhere, nothing comes from a network, no name is missing.

    python -m website.check build/site

Zensical checks the links between its own pages. This also looks at pictures, raw HTML, records, the
pages of reports and anchors in all of them.
"""

from __future__ import annotations

import inspect
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import minigrad as mg


class Page(HTMLParser):
    """The anchors of a page, and what it points to: (tag, address)."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.anchors: set[str] = set()
        self.targets: list[tuple[str, str]] = []
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for key, value in attrs:
            if key in ("id", "name") and value:
                self.anchors.add(value)
            elif key in ("href", "src") and value is not None:
                self.targets.append((tag, value))


def broken(site: Path) -> list[str]:
    """What is wrong with the links of a site."""
    pages = {path: Page(path) for path in sorted(site.rglob("*.html"))}
    faults = []
    for path, page in pages.items():
        for tag, address in page.targets:
            parts, where = urlsplit(address), f"{path.relative_to(site)}: {address:.100}"
            if parts.scheme in ("http", "https") or parts.netloc:
                if tag != "a":
                    faults.append(f"{where} would be loaded from a network")
            elif not parts.scheme:
                root = site if parts.path.startswith("/") else path.parent
                place = unquote(parts.path).lstrip("/")
                target = (root / place).resolve() if place else path
                anchor = unquote(parts.fragment)
                if not target.exists():
                    faults.append(f"{where} does not exist")
                elif anchor and target in pages and anchor not in pages[target].anchors:
                    faults.append(f"{where} has no such anchor")
    return faults


def unnamed(inventory: Path) -> list[str]:
    """Public names that the reference lacks, and those without a docstring."""
    from mkdocstrings import Inventory

    with inventory.open("rb") as file:
        shown = set(Inventory.parse_sphinx(file))
    exported = (getattr(p, name) for p in (mg, mg.nn, mg.optim) for name in p.__all__)
    public = {f"{x.__module__}.{x.__qualname__}": x for x in exported if not inspect.ismodule(x)}
    missing = [f"{name} is not in the reference" for name in public if name not in shown]
    return missing + [f"{name} has no docstring" for name, x in public.items() if not x.__doc__]


def main() -> int:
    site = Path(sys.argv[1]).resolve()
    faults = broken(site) + unnamed(site / "objects.inv")
    print("\n".join(faults) or "every link leads somewhere, and every public name is there")
    return int(bool(faults))


if __name__ == "__main__":
    sys.exit(main())
