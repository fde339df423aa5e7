"""Numbers that a model computes in a page, against those of minigrad."""

from typing import Any

import numpy as np


def differences(logits: Any, attention: Any, exact: tuple[Any, Any, int]) -> float:
    """The greatest difference from minigrad in units of what float64 can promise.

    exact: minigrad's logits and attention in float64, and how many terms go into a logit in a row.

    A chain of sums of n terms in all is off by at most n ulps of its largest numbers: terms x eps
    x the largest logit, and eps x terms for attention, which is at most 1.
    """
    exact_logits, exact_attention, terms = exact
    eps = float(np.finfo(np.float64).eps)
    of_logits = np.abs(np.array(logits) - exact_logits).max() / np.abs(exact_logits).max()
    of_attention = np.abs(np.array(attention) - exact_attention).max()
    return float(max(of_logits, of_attention)) / (terms * eps)
