"""Products of vectors and matrices.

All follow from y_nm = Σ_k a_nk b_km, where a_nk meets every y_nm with the factor b_km:

    ga_nk = Σ_m g_nm b_km, so ga = g bᵀ        gb_km = Σ_n a_nk g_nm, so gb = aᵀ g

The rules are separate pullbacks, so if one side needs no gradient, the backward pass has one
product less.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from minigrad.graph import Array, unbroadcast
from minigrad.op import Result, op
from minigrad.ops import products
from minigrad.ops.products import column_sum, mT, product
from minigrad.ops.shape import diagonal
from minigrad.rules import floating_dtypes


def one_dtype(*arrays: Array) -> tuple[Array, ...]:
    """Integers take the dtype of the floating point arrays: NumPy would make float64."""
    first = arrays[0].dtype
    if all(a is None or a.dtype == first for a in arrays):
        return arrays
    floating = floating_dtypes(a.dtype for a in arrays if a is not None)
    dtype = floating.pop() if floating else np.result_type(*(a for a in arrays if a is not None))
    return tuple(a if a is None or a.dtype == dtype else a.astype(dtype) for a in arrays)


# --- matmul -----------------------------------------------------------------------------------
@op(numpy=np.matmul)
def matmul(a: Array, b: Array) -> Result:
    """y = a b.    a (..., n, k), b (..., k, m) -> y (..., n, m)        ga = g bᵀ    gb = aᵀ g

    Leading axes broadcast. A vector on the left is a row, a vector on the right a column; y does
    not have the added axis of length 1.
    """
    return any_product(a, b)


def any_product(a: Array, b: Array) -> Result:
    """The body of matmul and dot."""
    if a.ndim == 0 or b.ndim == 0:
        raise ValueError("expected at least one axis; numbers multiply with *")
    a, b = one_dtype(a, b)
    left = a if a.ndim > 1 else a.reshape(1, -1)
    right = b if b.ndim > 1 else b.reshape(-1, 1)
    if left.shape[-1] != right.shape[-2]:
        raise ValueError(
            f"expected as many columns on the left as rows on the right, "
            f"got {left.shape[-1]} and {right.shape[-2]}"
        )
    batch = left.shape[:-1]
    if right.ndim == 2:  # one large product is faster than many small ones
        left = shaped(left, (math.prod(batch), left.shape[-1]))
    y = product(left, right)
    full, left_shape, right_shape, a_shape, b_shape = (
        array.shape for array in (y, left, right, a, b)
    )
    y = shaped(y, batch + full[-1:]) if right.ndim == 2 else y
    shape = y.shape[:-2] + y.shape[-2:-1] * (a.ndim > 1) + y.shape[-1:] * (b.ndim > 1)
    return shaped(y, shape), (
        lambda g: shaped(unbroadcast(product(shaped(g, full), mT(right)), left_shape), a_shape),
        lambda g: shaped(unbroadcast(product(mT(left), shaped(g, full)), right_shape), b_shape),
    )


def shaped(x: Array, shape: tuple[int, ...]) -> Array:
    return x if x.shape == shape else x.reshape(shape)


@op(numpy=np.dot)
def dot(a: Array, b: Array) -> Result:
    """y = a b of vectors and matrices; of two vectors, Σ a_i b_i.    For more axes use matmul"""
    if a.ndim > 2 or b.ndim > 2:
        raise ValueError("expected vectors or matrices; for more axes use matmul or einsum")
    return any_product(a, b)


@op(numpy=np.outer)
def outer(a: Array, b: Array) -> Result:
    """y_ij = a_i b_j.    a (n,), b (m,) -> y (n, m)        ga = g b    gb = gᵀ a"""
    if a.ndim != 1 or b.ndim != 1:
        raise ValueError("expected two vectors")
    a, b = one_dtype(a, b)
    return a.reshape(-1, 1) * b, (lambda g: product(g, b), lambda g: product(a, g))


# --- linear -----------------------------------------------------------------------------------
def linear_composite(x: Any, weight: Any, bias: Any = None) -> Any:
    """`linear` in smaller ops."""
    y = matmul(x, mT(weight))
    return y if bias is None else y + bias


@op(stacked=("weight", 2), composite=linear_composite)
def linear(x: Array, weight: Array, bias: Array = None) -> Result:
    """y = x Wᵀ + b.    x (..., in), weight (out, in), bias (out,) -> y (..., out)

    Over all rows:    gx = g W        gW = gᵀ x        gb = Σ g
    """
    if weight.ndim != 2 or x.shape[-1:] != weight.shape[1:]:
        raise ValueError("expected x (..., in) and weight (out, in)")
    if bias is not None and bias.shape != weight.shape[:1]:
        raise ValueError(f"expected bias {weight.shape[:1]}")
    x, weight, bias = one_dtype(x, weight, bias)
    shape = x.shape
    rows = shaped(x, (math.prod(shape[:-1]), shape[-1]))
    y = product(rows, mT(weight))
    if bias is not None:
        y += bias
    flat = y.shape
    return shaped(y, (*shape[:-1], flat[-1])), (
        lambda g: shaped(product(shaped(g, flat), weight), shape),
        lambda g: product(mT(shaped(g, flat)), rows),
        lambda g: column_sum(shaped(g, flat)),
    )


# --- einsum -----------------------------------------------------------------------------------
@op(numpy=np.einsum)
def einsum(subscripts: str, *operands: Array, optimize: Any = True) -> Result:
    """Σ over the letters that the output does not have, of the product of the operands.

    Example: einsum("bqd,bkd->bqk", q, k). Without "->", the output has the letters that occur
    once, sorted. "..." stands for leading axes that broadcast. A letter twice in one operand stands
    for its diagonal: "iji->j". The gradient of an operand is again an einsum, with the operand's
    letters and the output's swapped.
    """
    if not isinstance(subscripts, str):
        raise TypeError('expected subscripts as a string, like "ij,jk->ik"')
    terms, output = parse(subscripts, [x.ndim for x in operands])
    reduced = [diagonals(x, term) for x, term in zip(one_dtype(*operands), terms, strict=True)]
    operands, inputs, backs = zip(*reduced, strict=True)
    y = products.einsum(",".join(inputs) + "->" + output, *operands, optimize=optimize)

    def pull_of(i: int) -> Any:
        others = [j for j in range(len(operands)) if j != i]
        names = [output, *(inputs[j] for j in others)]

        def pull(g: Array) -> Array:
            x, known = operands[i], set("".join(names))
            kept = "".join(c for c in inputs[i] if c in known)
            arrays = [g, *(operands[j] for j in others)]
            gx = products.einsum(",".join(names) + "->" + kept, *arrays, optimize=optimize)
            full = iter(gx.shape)  # a letter of this operand only was summed: repeat g along it
            gx = gx.reshape(tuple(next(full) if c in known else 1 for c in inputs[i]))
            shape = np.broadcast_shapes(gx.shape, x.shape)
            return backs[i](unbroadcast(np.broadcast_to(gx, shape), x.shape))

        return pull

    return y, (None, *(pull_of(i) for i in range(len(operands))))


def diagonals(x: Array, letters: str) -> tuple[Array, str, Callable[[Array], Array]]:
    """x with the diagonal for each repeated letter; the letters left; the pullback."""
    pulls: list[Callable[[Array], Array]] = []
    while len(set(letters)) < len(letters):
        letter = next(c for c in letters if letters.count(c) > 1)
        i = letters.index(letter)
        j = letters.index(letter, i + 1)
        if x.shape[i] != x.shape[j]:
            raise ValueError(
                f"{letter!r} in {letters!r} has the lengths {x.shape[i]}, {x.shape[j]}"
            )
        x, pull = diagonal.op.body(x, 0, i, j)
        letters = letters[:i] + letters[i + 1 : j] + letters[j + 1 :] + letter
        pulls.append(pull)

    def back(g: Array) -> Array:
        for pull in reversed(pulls):
            g = pull(g)
        return g

    return x, letters, back


def parse(subscripts: str, ndims: list[int]) -> tuple[list[str], str]:
    """The letters of each operand and of the output; "..." becomes capital letters from the end."""
    left, arrow, output = subscripts.replace(" ", "").partition("->")
    terms = left.split(",")
    if len(terms) != len(ndims):
        raise ValueError(f"{len(terms)} terms in {subscripts!r} for {len(ndims)} operands")
    free = [c for c in "ZYXWVUTSRQPONMLKJIHGFEDCBA" if c not in subscripts]
    hidden = [
        n - len(t.replace("...", "")) if "..." in t else 0
        for t, n in zip(terms, ndims, strict=True)
    ]
    widest = max(hidden)
    dots = "".join(reversed(free[:widest]))
    for term, count, n in zip(terms, hidden, ndims, strict=True):
        if count < 0 or ("..." not in term and len(term) != n):
            raise ValueError(f"the term {term!r} does not fit an operand with {n} axes")
    inputs = [
        t.replace("...", dots[widest - count :]) for t, count in zip(terms, hidden, strict=True)
    ]
    if arrow:
        return inputs, output.replace("...", dots)
    once = sorted(c for c in set("".join(terms)) - {"."} if "".join(terms).count(c) == 1)
    return inputs, dots + "".join(once)
