"""Ops that work on each element separately, so their derivative is one number per element.

For y_i = f(x_i) the chain rule is gx_i = gy_i f'(x_i). Ops of two arguments broadcast as NumPy
does. The gradient then needs a sum over repeated elements: `graph.unbroadcast` computes it for all
ops, and no rule here mentions it.

At kinks and ties the conventions are PyTorch's: relu, abs and sign give 0 at 0, `maximum` gives
half to each of two equal arguments, `clip` passes the gradient at its bounds.
"""

from __future__ import annotations

import math

import numpy as np

from minigrad.dtypes import check_fit
from minigrad.graph import Array
from minigrad.op import Result, op
from minigrad.ops.special import erf_array, erfc_array
from minigrad.tensor import Tensor, raw
from minigrad.wide import wide

SQRT_PI, SQRT_2PI = math.sqrt(math.pi), math.sqrt(2 * math.pi)


# --- arithmetic -------------------------------------------------------------------------------
@op(broadcast=True, numpy=np.add)
def add(a: Array, b: Array) -> Result:
    """y = a + b.    dy/da = dy/db = 1"""
    return a + b, (lambda g: g, lambda g: g)


@op(broadcast=True, numpy=np.subtract)
def sub(a: Array, b: Array) -> Result:
    """y = a - b.    dy/da = 1    dy/db = -1"""
    return a - b, (lambda g: g, lambda g: -g)


@op(broadcast=True, numpy=np.multiply)
def mul(a: Array, b: Array) -> Result:
    """y = a b.    dy/da = b    dy/db = a"""
    return a * b, (lambda g: g * b, lambda g: g * a)


@op(broadcast=True, numpy=np.true_divide)
def div(a: Array, b: Array) -> Result:
    """y = a / b.    dy/da = 1 / b    dy/db = -a / b² = -y / b"""
    with np.errstate(divide="ignore", invalid="ignore"):
        y = a / b
    return y, (lambda g: _quiet_div(g, b), lambda g: _quiet_div(-g * y, b))


def _quiet_div(a: Array, b: Array) -> Array:
    with np.errstate(divide="ignore", invalid="ignore"):
        return a / b


@op(broadcast=True, numpy=np.power)
def pow(x: Array, p: Array) -> Result:
    """y = x^p.    dy/dx = p x^(p-1)    dy/dp = y log x

    With p = 0 the first is 0 everywhere, also at x = 0; with x = 0 and p >= 0 the second is 0:
    where a factor is 0, the comparison moves the other one away from its pole.
    """

    def pull_x(g: Array) -> Array:
        with np.errstate(divide="ignore", invalid="ignore"):
            return g * p * x ** (p - 1.0 + (p == 0))

    def pull_p(g: Array) -> Array:
        with np.errstate(divide="ignore", invalid="ignore"):
            log_x = np.log(x + (x == 0))
            return g * y * (float(log_x) if isinstance(x, (int, float)) else log_x)

    with np.errstate(divide="ignore", invalid="ignore"):
        y = x**p
    return y, (pull_x, pull_p)


@op(numpy=np.negative)
def neg(x: Array) -> Result:
    """y = -x.    dy/dx = -1"""
    return -x, lambda g: -g


@op(numpy=np.absolute)
def abs(x: Array) -> Result:
    """y = |x|.    dy/dx = sign x, 0 at 0"""
    return np.absolute(x), lambda g: g * np.sign(x)


@op(numpy=np.sign)
def sign(x: Array) -> Result:
    """y = -1, 0 or 1.    dy/dx = 0"""
    return np.sign(x), lambda g: g * 0.0


@op(numpy=np.floor)
def floor(x: Array) -> Result:
    """y = the largest whole number that is at most x.    dy/dx = 0"""
    return np.floor(x), lambda g: g * 0.0


@op(numpy=np.ceil)
def ceil(x: Array) -> Result:
    """y = the smallest whole number that is at least x.    dy/dx = 0"""
    return np.ceil(x), lambda g: g * 0.0


@op(numpy=(np.round, np.around))
def round(x: Array, decimals: int = 0) -> Result:
    """y = x rounded to `decimals` places, halves to the even side.    dy/dx = 0"""
    return np.round(x, decimals), lambda g: g * 0.0


@op(broadcast=True, numpy=np.floor_divide)
def floor_divide(a: Array, b: Array) -> Result:
    """y = a // b, the floor of a / b.    dy/da = dy/db = 0

    ZeroDivisionError for integers over 0, on the CPU.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        y = refuse_zero(b, a // b)
    return y, (lambda g: g * 0.0, lambda g: g * 0.0)


@op(broadcast=True, numpy=np.remainder)
def remainder(a: Array, b: Array) -> Result:
    """y = a % b = a - b (a // b), with the sign of b.    dy/da = 1    dy/db = -(a // b)

    ZeroDivisionError for integers over 0, on the CPU.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        y = refuse_zero(b, a % b)
    return y, (lambda g: g, lambda g: -g * np.floor_divide(a, b))


def refuse_zero(b: Array, y: Array) -> Array:
    """y, a quotient or remainder by b. ZeroDivisionError for integers by 0, where NumPy gives 0."""
    if isinstance(y, np.ndarray) and y.dtype.kind != "f" and not np.all(b):
        raise ZeroDivisionError("integers over 0")
    return y


@op(numpy=np.square)
def square(x: Array) -> Result:
    """y = x².    dy/dx = 2 x"""
    return x * x, lambda g: 2.0 * g * x


@op(numpy=np.sqrt)
@wide
def sqrt(x: Array) -> Result:
    """y = √x.    dy/dx = 1 / (2 y), infinite at 0"""
    with np.errstate(invalid="ignore"):
        y = np.sqrt(x)
    return y, lambda g: _quiet_div(0.5 * g, y)


@op
@wide
def rsqrt(x: Array) -> Result:
    """y = 1 / √x.    dy/dx = -y³ / 2"""
    with np.errstate(divide="ignore", invalid="ignore"):
        y = 1.0 / np.sqrt(x)
    return y, lambda g: -0.5 * g * y * y * y


@op(numpy=np.reciprocal)
@wide
def reciprocal(x: Array) -> Result:
    """y = 1 / x.    dy/dx = -y²"""
    with np.errstate(divide="ignore"):
        y = 1.0 / x
    return y, lambda g: -g * y * y


# --- exponentials and logarithms ----------------------------------------------------------------
@op(numpy=np.exp)
@wide
def exp(x: Array) -> Result:
    """y = eˣ.    dy/dx = y"""
    with np.errstate(over="ignore"):
        y = np.exp(x)
    return y, lambda g: g * y


@op(numpy=np.expm1)
@wide
def expm1(x: Array) -> Result:
    """y = eˣ - 1, exact also for small x.    dy/dx = eˣ, of which y + 1 would lose the digits"""
    with np.errstate(over="ignore"):
        return np.expm1(x), lambda g: g * np.exp(x)


@op(numpy=np.log)
@wide
def log(x: Array) -> Result:
    """y = log x.    dy/dx = 1 / x"""
    with np.errstate(divide="ignore", invalid="ignore"):
        y = np.log(x)
    return y, lambda g: _quiet_div(g, x)


@op(numpy=np.log1p)
@wide
def log1p(x: Array) -> Result:
    """y = log(1 + x), exact also for small x.    dy/dx = 1 / (1 + x)"""
    with np.errstate(divide="ignore", invalid="ignore"):
        y = np.log1p(x)
    return y, lambda g: _quiet_div(g, 1.0 + x)


@op(broadcast=True, numpy=np.logaddexp)
@wide
def logaddexp(a: Array, b: Array) -> Result:
    """y = log(eᵃ + eᵇ).    dy/da = eᵃ / (eᵃ + eᵇ) = σ(a - b)    dy/db = σ(b - a)

    As in logsumexp: if a and b are both inf, each gets half the gradient; if both are -inf, none.
    """

    def share(a: Array, b: Array) -> Array:
        same = np.isinf(raw(a)) & (raw(a) == raw(b))  # their difference would be NaN
        with np.errstate(invalid="ignore"):
            difference = np.where(same, 0.0, a - b)
        return logistic(difference) * ~(same & (raw(a) < 0.0))

    with np.errstate(invalid="ignore"):  # of NaN
        y = np.logaddexp(a, b)
    return y, (lambda g: g * share(a, b), lambda g: g * share(b, a))


# --- smooth functions ---------------------------------------------------------------------------
@op(numpy=np.sin)
@wide
def sin(x: Array) -> Result:
    """y = sin x.    dy/dx = cos x"""
    return np.sin(x), lambda g: g * np.cos(x)


@op(numpy=np.cos)
@wide
def cos(x: Array) -> Result:
    """y = cos x.    dy/dx = -sin x"""
    return np.cos(x), lambda g: -g * np.sin(x)


@op(numpy=np.tanh)
@wide
def tanh(x: Array) -> Result:
    """y = tanh x.    dy/dx = 1 - y² = 4 σ(2x) σ(-2x), exact also where y is nearly ±1"""
    return np.tanh(x), lambda g: 4.0 * g * logistic(2.0 * x) * logistic(-2.0 * x)


def logistic(x: Array) -> Array:
    """σ(x) = 1 / (1 + e⁻ˣ), with all its digits where it is small, and 0 where e⁻ˣ is infinite.

    (1 + tanh(x/2)) / 2 has no digits left where tanh is -1. For the same reason 1 - σ(x) is to be
    written as σ(-x).
    """
    if isinstance(x, Tensor):  # in a higher derivative
        return sigmoid(x)
    with np.errstate(over="ignore"):
        return 1.0 / (1.0 + np.exp(-x))


@op
@wide
def sigmoid(x: Array) -> Result:
    """y = σ(x) = 1 / (1 + e⁻ˣ).    dy/dx = y (1 - y) = σ(x) σ(-x)"""
    y = logistic(x)
    return y, lambda g: g * y * logistic(-x)


@op
@wide
def erf(x: Array) -> Result:
    """y = (2/√π) ∫₀ˣ e^(-t²) dt.    dy/dx = (2/√π) e^(-x²)"""
    return erf_array(x), lambda g: g * (2.0 / SQRT_PI) * np.exp(-x * x)


@op
@wide
def erfc(x: Array) -> Result:
    """y = 1 - erf x, with all its digits where it is small.    dy/dx = -(2/√π) e^(-x²)

    Relative error in float32: below (4 + 2 x²) eps for x > 0, below 2 eps elsewhere.
    """
    return erfc_array(x), lambda g: g * (-2.0 / SQRT_PI) * np.exp(-x * x)


# --- choices ------------------------------------------------------------------------------------
def chosen_part(g: Array, wins: Array, ties: Array) -> Array:
    """g where the argument was chosen, half of g at a tie."""
    return g * (wins + 0.5 * ties).astype(g.dtype)


def check_choices(a: Array, b: Array) -> None:
    """OverflowError for an integer that the other's dtype cannot hold: np.where would wrap it."""
    for number, others in ((a, b), (b, a)):
        if isinstance(number, int) and hasattr(others, "dtype"):
            check_fit(number, others.dtype)


@op(broadcast=True, numpy=np.maximum)
def maximum(a: Array, b: Array) -> Result:
    """y = the larger.    The gradient goes to the larger, half to each where they are equal."""
    return np.maximum(a, b), (
        lambda g: chosen_part(g, a > b, a == b),
        lambda g: chosen_part(g, b > a, a == b),
    )


@op(broadcast=True, numpy=np.minimum)
def minimum(a: Array, b: Array) -> Result:
    """y = the smaller.    The gradient goes to the smaller, half to each where they are equal."""
    return np.minimum(a, b), (
        lambda g: chosen_part(g, a < b, a == b),
        lambda g: chosen_part(g, b < a, a == b),
    )


@op(broadcast=True, numpy=np.where)
def where(condition: Array, a: Array, b: Array) -> Result:
    """y = a where the condition holds, else b.    Each gets the gradient of its own elements.

    The side not taken gets exactly 0, but 0 times an infinite derivative of an earlier op is NaN:
    `where(x > 0, sqrt(x), 0)` at x = 0. Make the argument safe as well:
    `where(x > 0, sqrt(where(x > 0, x, 1)), 0)`.
    """
    check_choices(a, b)
    return np.where(condition, a, b), (
        None,
        lambda g: np.where(condition, g, 0.0),
        lambda g: np.where(condition, 0.0, g),
    )


@op(broadcast=True)
def masked_fill(x: Array, mask: Array, value: Array) -> Result:
    """y = value where the mask holds, else x.    Each gets the gradient of its own elements"""
    if mask.dtype.kind != "b":
        raise TypeError(f"expected a boolean mask, got {mask.dtype}")
    check_choices(x, value)
    return np.where(mask, value, x), (
        lambda g: np.where(mask, 0.0, g),
        None,
        lambda g: np.where(mask, g, 0.0),
    )


@op(broadcast=True, numpy=np.clip)
def clip(x: Array, min: Array = None, max: Array = None) -> Result:
    """y = x, but at least min and at most max; None is no bound.

    dy/dx = 1 within the bounds and on them; outside, the gradient goes to the bound
    """
    if min is None and max is None:
        raise ValueError("expected a bound")

    def within() -> Array:
        if min is None or max is None:
            return x <= max if min is None else x >= min
        return np.logical_and(x >= min, x <= max)

    def below() -> Array:
        return x < min if max is None else np.logical_and(x < min, min <= max)

    def above() -> Array:
        return x > max if min is None else np.logical_or(x > max, min > max)

    pulls = (lambda g: g * within(), lambda g: g * below(), lambda g: g * above())
    return np.clip(x, min, max), pulls


@op(broadcast=True)
@wide
def lerp(a: Array, b: Array, weight: Array) -> Result:
    """y = a + w (b - a): a at w = 0, b at w = 1.    dy/da = 1 - w    dy/db = w    dy/dw = b - a"""
    y = a + weight * (b - a)
    return y, (lambda g: g * (1.0 - weight), lambda g: g * weight, lambda g: g * (b - a))


# --- questions: the answers are boolean and carry no gradient -------------------------------------
@op(broadcast=True, numpy=np.equal)
def equal(a: Array, b: Array) -> Result:
    """y = a == b, element by element"""
    return np.equal(a, b), None


@op(broadcast=True, numpy=np.not_equal)
def not_equal(a: Array, b: Array) -> Result:
    """y = a != b"""
    return np.not_equal(a, b), None


@op(broadcast=True, numpy=np.less)
def less(a: Array, b: Array) -> Result:
    """y = a < b"""
    return np.less(a, b), None


@op(broadcast=True, numpy=np.less_equal)
def less_equal(a: Array, b: Array) -> Result:
    """y = a <= b"""
    return np.less_equal(a, b), None


@op(broadcast=True, numpy=np.greater)
def greater(a: Array, b: Array) -> Result:
    """y = a > b"""
    return np.greater(a, b), None


@op(broadcast=True, numpy=np.greater_equal)
def greater_equal(a: Array, b: Array) -> Result:
    """y = a >= b"""
    return np.greater_equal(a, b), None


@op(numpy=np.isnan)
def isnan(x: Array) -> Result:
    """y = whether x is NaN"""
    return np.isnan(x), None


@op(numpy=np.isinf)
def isinf(x: Array) -> Result:
    """y = whether x is infinite, of either sign"""
    return np.isinf(x), None


@op(numpy=np.isfinite)
def isfinite(x: Array) -> Result:
    """y = whether x is neither NaN nor infinite"""
    return np.isfinite(x), None


@op(numpy=np.logical_not)
def logical_not(x: Array) -> Result:
    """y = whether x is 0"""
    return np.logical_not(x), None


@op(broadcast=True, numpy=np.logical_and)
def logical_and(a: Array, b: Array) -> Result:
    """y = whether both are other than 0"""
    return np.logical_and(a, b), None


@op(broadcast=True, numpy=np.logical_or)
def logical_or(a: Array, b: Array) -> Result:
    """y = whether one is other than 0"""
    return np.logical_or(a, b), None


# --- bits: of integers, or masks ------------------------------------------------------------------
@op(numpy=np.invert)
def invert(x: Array) -> Result:
    """y = ~x, bit by bit; of a boolean, not x"""
    return np.invert(x), None


@op(broadcast=True, numpy=np.bitwise_and)
def bitwise_and(a: Array, b: Array) -> Result:
    """y = a & b, bit by bit"""
    return np.bitwise_and(a, b), None


@op(broadcast=True, numpy=np.bitwise_or)
def bitwise_or(a: Array, b: Array) -> Result:
    """y = a | b, bit by bit"""
    return np.bitwise_or(a, b), None


@op(broadcast=True, numpy=np.bitwise_xor)
def bitwise_xor(a: Array, b: Array) -> Result:
    """y = a ^ b, bit by bit"""
    return np.bitwise_xor(a, b), None
