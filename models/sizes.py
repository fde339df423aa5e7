"""Checks of the sizes of models."""

from __future__ import annotations

from typing import Any


def check_positive(config: Any, *names: str) -> None:
    """ValueError for a size below 1."""
    for name in names:
        if getattr(config, name) < 1:
            raise ValueError(f"{name}: expected at least 1, got {getattr(config, name)}")


def check_heads(config: Any) -> None:
    """ValueError unless the number of heads divides d."""
    if config.d % config.heads:
        raise ValueError(f"d: {config.d} cannot be divided among {config.heads} heads")


def check_dropout(config: Any) -> None:
    """ValueError unless the rate is in [0, 1)."""
    if not 0.0 <= config.dropout < 1.0:
        raise ValueError(f"dropout: expected a rate in [0, 1), got {config.dropout}")
