"""Nested tuples, lists and dicts, mostly of tensors."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any


def leaves(tree: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Paths, such as "[0]['weight']", and the values that are no tuple, list or dict."""
    if isinstance(tree, dict):
        for key, item in tree.items():
            yield from leaves(item, f"{path}[{key!r}]")
    elif isinstance(tree, (tuple, list)):
        for i, item in enumerate(tree):
            yield from leaves(item, f"{path}[{i}]")
    else:
        yield path, tree


def mapped(fn: Callable[[Any], Any], tree: Any) -> Any:
    """The same structure with fn(leaf) for every leaf, called in the order of `leaves`."""
    if isinstance(tree, dict):
        return {key: mapped(fn, item) for key, item in tree.items()}
    if isinstance(tree, tuple) and hasattr(tree, "_fields"):  # a NamedTuple
        return type(tree)(*(mapped(fn, item) for item in tree))
    if isinstance(tree, (tuple, list)):
        return type(tree)(mapped(fn, item) for item in tree)
    return fn(tree)
