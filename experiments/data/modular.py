"""Modular arithmetic as a language: BOS a + b = r EOS, for every pair (or triple) of numbers.

The data of seeds 000 and 001 (IFT6135 W2025, assignment 2), Problem 4. Every ordered tuple of
operands is one equation; a part of them is shown in training and the rest is held out, so a model
that gets the held-out ones right has learnt the operation and not a list.

    data = make(p=31)                        # all 961 sums, shuffled
    train, val = split(data, r_train=0.5)    # 480 and 481
    train.inputs, train.targets              # (480, 6): the same tokens, one place apart
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

Ints = np.ndarray[tuple[int, ...], np.dtype[np.int64]]
Bools = np.ndarray[tuple[int, ...], np.dtype[np.bool_]]
OPERATORS = ("+", "-", "*", "/")
ORDERS = (2, 3)


def vocabulary(p: int, operator: str) -> tuple[str, ...]:
    """The tokens in the order of their ids: the numbers, the operator, =, BOS, EOS, PAD.

    p + 5 tokens; the number n has the id n.
    """
    return (*map(str, range(p)), operator, "=", "BOS", "EOS", "PAD")


@dataclass(frozen=True)
class Equations:
    """N equations as sequences of S + 1 tokens, shorter ones padded at the end.

    tokens:      (N, S + 1) ids in `vocabulary`.
    order:       (N,) the number of operands of each, 2 or 3.
    eq_position: (N,) where "=" stands in the *targets*: 3 for binary, 5 for ternary equations.
    mask:        (N, S) which targets count as part of the equation; see `make`.
    vocabulary:  the tokens by id.
    """

    tokens: Ints
    order: Ints
    eq_position: Ints
    mask: Bools
    vocabulary: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.tokens)

    @property
    def inputs(self) -> Ints:
        """(N, S): all tokens but the last."""
        return self.tokens[:, :-1]

    @property
    def targets(self) -> Ints:
        """(N, S): all tokens but the first; the model predicts targets[:, i] at position i."""
        return self.tokens[:, 1:]

    @property
    def rhs(self) -> Bools:
        """(N, S): the targets on the right-hand side, after "=" and inside the mask."""
        return (np.arange(self.mask.shape[1]) > self.eq_position[:, None]) & self.mask

    def take(self, index: Ints | Bools | slice) -> Equations:
        """The equations at an index, in its order."""
        names = ("tokens", "order", "eq_position", "mask")
        return replace(self, **{name: getattr(self, name)[index] for name in names})

    def text(self, i: int) -> str:
        """Equation i in words, for example "BOS 6 + 19 = 25 EOS"."""
        return " ".join(self.vocabulary[t] for t in self.tokens[i])


def encode(text: str, words: tuple[str, ...]) -> Ints:
    """The ids of tokens separated by spaces. ValueError names a token outside `words`."""
    ids = {word: i for i, word in enumerate(words)}
    unknown = [word for word in text.split() if word not in ids]
    if unknown:
        raise ValueError(f"token {unknown[0]!r} is not in the vocabulary")
    return np.array([ids[word] for word in text.split()], dtype=np.int64)


def make(
    p: int = 31,
    operator: str = "+",
    orders: tuple[int, ...] = (2,),
    *,
    seed: int = 0,
    mask: Literal["code", "handout"] = "code",
) -> Equations:
    """All equations modulo p in random order.

    p:        the numbers are 0..p-1; the seeds use 31, and 11 in experiment 4.4.
    operator: "+", "-", "*" or "/". Division is exact: the divisors run over 1..p-1 and the left
              operand is the product, so the quotient is the number that was enumerated. It needs
              a prime p, without which a number has no single quotient.
    orders:   numbers of operands, from (2,), (3,), (2, 3). Sequences are padded to the longest.
    seed:     of NumPy's RandomState, which shuffles the list a-major, binary before ternary.
    mask:     matters to binary equations among ternary ones only. "handout": the right-hand side
              is {r, EOS}, as the assignment text says. "code": it is {r, EOS, PAD}, for the
              released code builds the mask one token too long; what the seeds ran.

    ValueError for anything else.
    """
    check(p, operator, orders, seed, mask)
    words = vocabulary(p, operator)
    length = 2 * max(orders) + 3
    parts = [sequences(p, operator, order) for order in sorted(orders)]
    pad = words.index("PAD")
    tokens = np.concatenate(
        [np.pad(s, ((0, 0), (0, length - s.shape[1])), constant_values=pad) for s in parts]
    )
    order = np.repeat(np.array(sorted(orders), dtype=np.int64), [len(s) for s in parts])
    real = 2 * order + 2  # targets that are not padding: an equation has 2 * order + 3 tokens
    counted = real if mask == "handout" else np.minimum(real + 1, length - 1)
    inside = np.arange(length - 1) < counted[:, None]
    equations = Equations(tokens, order, 2 * order - 1, inside, words)
    shuffled = np.arange(len(equations))
    np.random.RandomState(seed).shuffle(shuffled)
    return equations.take(shuffled)


def sequences(p: int, operator: str, order: int) -> Ints:
    """(n, 2 * order + 3): every equation with `order` operands, the first operand slowest."""
    low = 1 if operator == "/" else 0
    axes = [np.arange(p)] + [np.arange(low, p)] * (order - 1)
    operands = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, order)
    first, rest = operands[:, 0], operands[:, 1:]
    if operator == "+":
        result = operands.sum(axis=1)
    elif operator == "-":
        result = first - rest.sum(axis=1)
    elif operator == "*":
        result = operands.prod(axis=1)
    else:
        result = first.copy()
        operands[:, 0] = operands.prod(axis=1) % p
    op, equals, bos, eos, _ = range(p, p + 5)
    tokens = np.empty((len(operands), 2 * order + 3), dtype=np.int64)
    tokens[:, 0] = bos
    tokens[:, 1:-3:2] = operands
    tokens[:, 2:-3:2] = op
    tokens[:, -3] = equals
    tokens[:, -2] = result % p
    tokens[:, -1] = eos
    return tokens


def split(equations: Equations, r_train: float) -> tuple[Equations, Equations]:
    """The first round(N * r_train) equations for training, the rest for validation.

    round() goes to the even neighbour: half of 961 is 480. ValueError unless 0 < r_train <= 1 and
    at least one equation is left for training.
    """
    return split_parts(equations, [np.arange(len(equations))], r_train, round)


def split_each_order(equations: Equations, r_train: float) -> tuple[Equations, Equations]:
    """`split` within the binary and within the ternary equations, int() instead of round().

    Experiment 4.4: for p = 11 and r_train = 0.5, 60 + 665 equations to train, 61 + 666 to validate.
    The seeds draw this split from PyTorch's generator; here it follows the shuffled order.
    """
    parts = [np.flatnonzero(equations.order == order) for order in np.unique(equations.order)]
    return split_parts(equations, parts, r_train, int)


def split_parts(
    equations: Equations, parts: list[Ints], r_train: float, to_int: Callable[[float], int]
) -> tuple[Equations, Equations]:
    """A fraction of each part, given as rows; to_int: of a number of equations."""
    if not 0 < r_train <= 1:
        raise ValueError(f"r_train: expected a fraction in (0, 1], got {r_train}")
    counts = [to_int(len(rows) * r_train) for rows in parts]
    if not any(counts):
        raise ValueError(
            f"r_train: {r_train} of {len(equations)} equations leaves none to train on"
        )
    train = np.concatenate([rows[:n] for rows, n in zip(parts, counts, strict=True)])
    val = np.concatenate([rows[n:] for rows, n in zip(parts, counts, strict=True)])
    return equations.take(train), equations.take(val)


def check(p: int, operator: str, orders: tuple[int, ...], seed: int, mask: str) -> None:
    """ValueError, in one line, for settings that describe no data."""
    if p < 2:
        raise ValueError(f"p: expected an integer of at least 2, got {p}")
    if operator not in OPERATORS:
        raise ValueError(f"operator: expected one of {' '.join(OPERATORS)}, got {operator!r}")
    if operator == "/" and any(p % d == 0 for d in range(2, int(p**0.5) + 1)):
        raise ValueError(f"p: division needs a prime modulus, and {p} is not prime")
    if not orders or len(set(orders)) != len(orders) or not set(orders) <= set(ORDERS):
        raise ValueError(f"orders: expected (2,), (3,) or (2, 3), got {tuple(orders)}")
    if not 0 <= seed < 2**32:
        raise ValueError(f"seed: expected 0 <= seed < 2**32, got {seed}")
    if mask not in ("code", "handout"):
        raise ValueError(f'mask: expected "code" or "handout", got {mask!r}')
