"""Nested tuples, lists and dicts, of tensors for the most part."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any


def leaves(tree: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """What is no tuple, list or dict in a nested structure, with its path, "[0]['weight']" say."""
    if isinstance(tree, dict):
        for key, item in tree.items():
            yield from leaves(item, f"{path}[{key!r}]")
    elif isinstance(tree, (tuple, list)):
        for i, item in enumerate(tree):
            yield from leaves(item, f"{path}[{i}]")
    else:
        yield path, tree


def mapped(fn: Callable[[Any], Any], tree: Any) -> Any:
    """The same structure with fn(leaf) in the place of every leaf, in the order of `leaves`."""
    if isinstance(tree, dict):
        return {key: mapped(fn, item) for key, item in tree.items()}
    if isinstance(tree, tuple) and hasattr(tree, "_fields"):  # a NamedTuple
        return type(tree)(*(mapped(fn, item) for item in tree))
    if isinstance(tree, (tuple, list)):
        return type(tree)(mapped(fn, item) for item in tree)
    return fn(tree)
