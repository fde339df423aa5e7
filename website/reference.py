"""What the API reference shows: a Griffe extension, which mkdocstrings loads."""

from __future__ import annotations

import re
from typing import Any

import griffe

from website.docstrings import markdown


class Reference(griffe.Extension):
    """Chooses what is public, and turns the docstrings of all into Markdown."""

    def on_package(self, *, pkg: griffe.Module, **_: Any) -> None:
        """Public are exported names, and ops, also those that an exported function calls."""
        packages = (pkg, *(pkg[name] for name in ("ops", "nn", "optim")))
        exported = {str(name) for package in packages for name in package.exports or ()}
        for module in modules_of(pkg):
            for member in module.members.values():
                if member.is_alias or member.is_module:
                    continue
                member.public = member.name in exported or is_op(member)
                if member.is_class:
                    hide_fields(member)

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        if obj.docstring:
            obj.docstring.value = markdown(obj.docstring.value)


def modules_of(module: griffe.Module) -> list[griffe.Module]:
    """A module and all those below it."""
    below = [m for m in module.members.values() if not m.is_alias and m.is_module]
    return [module, *(each for m in below for each in modules_of(m))]


def is_op(member: griffe.Object) -> bool:
    return any(re.match(r"op\b", str(d.value)) for d in getattr(member, "decorators", ()))


def hide_fields(cls: griffe.Class) -> None:
    """Of a class only methods and properties are public, and what has a docstring."""
    for member in cls.members.values():
        if not member.is_alias:
            shown = member.is_function or "property" in member.labels or member.docstring
            member.public = bool(shown) and not member.name.startswith("_")
