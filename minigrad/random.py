"""Random numbers that depend only on seed, stream and draw, not on when or where they are drawn.

Every draw is a fresh Philox counter sequence keyed by (seed, stream) and started at the number of
the draw. The whole state is therefore one seed and one count per stream: a resumed run draws the
same numbers as an uninterrupted one. The host draws the numbers, so every device gets the same.
Source: Salmon et al., Parallel Random Numbers: As Easy as 1, 2, 3 (2011).

    mg.random.seed(0)
    x = mg.random.normal((2, 3))
    state = mg.random.get_state()      # plain integers, for a checkpoint

A stream has a name. The key contains 64 bits of a cryptographic hash of the name, so that no two
names share their numbers. The streams in `KEPT` use the CRC-32 of published results.
"""

from __future__ import annotations

import functools
import operator
import threading
import zlib
from typing import Any

import numpy as np

from minigrad import device as devices
from minigrad.dtypes import DEFAULT_DTYPE, dtype_of
from minigrad.tensor import Tensor

KEPT = ("values", "order", "init", "dropout")  # the streams that minigrad draws from

_seed = 0
_draws: dict[str, int] = {}
_counting = threading.Lock()


def seed(value: int) -> None:
    """Start all streams again under a new seed, an integer of at most 64 bits."""
    global _seed
    value = operator.index(value)
    if not 0 <= value < 2**64:
        raise ValueError(f"seed: expected 0 <= seed < 2**64, got {value}")
    _seed = value
    _draws.clear()


def get_state() -> dict[str, Any]:
    """The state as plain integers; JSON can hold it."""
    return {"seed": _seed, "draws": dict(_draws)}


def set_state(state: dict[str, Any]) -> None:
    """Continue from a state of `get_state`. ValueError, with no change, for any other value."""
    check_state(state)
    seed(state["seed"])
    _draws.update(state["draws"])


def check_state(state: Any) -> None:
    """ValueError for a value that `get_state` does not return."""
    draws = state.get("draws") if isinstance(state, dict) else None
    numbers = [state.get("seed"), *draws.values()] if isinstance(draws, dict) else []
    if not numbers or len(state) != 2 or any(type(n) is not int or n >> 64 for n in numbers):
        raise ValueError(f"random state: expected a seed and draws of streams, got {state!r:.80}")


def draw(stream: str) -> tuple[int, int, int]:
    """The key of the next draw of a stream: the seed, the stream, the number of the draw."""
    with _counting:
        number = _draws.get(stream, 0)
        _draws[stream] = number + 1
    return _seed, key_of(stream), number


@functools.cache
def key_of(stream: str) -> int:
    """The number that stands for a stream in the key."""
    if stream in KEPT:
        return zlib.crc32(stream.encode())
    import hashlib

    return int.from_bytes(hashlib.blake2b(stream.encode(), digest_size=8).digest(), "little")


def philox(seed: int, stream: int, number: int) -> np.random.Generator:
    """The NumPy generator of a draw."""
    key = np.array([seed, stream], dtype=np.uint64)
    return np.random.Generator(np.random.Philox(key=key, counter=[0, 0, number, 0]))


def generator(stream: str) -> np.random.Generator:
    """A NumPy generator for the next draw of a stream."""
    return philox(*draw(stream))


def uniform(
    shape: tuple[int, ...],
    low: float = 0.0,
    high: float = 1.0,
    *,
    dtype: Any = DEFAULT_DTYPE,
    device: str | None = None,
    stream: str = "values",
) -> Tensor:
    """Numbers uniform in [low, high): never high, however they are rounded; low if it is high.

    ValueError unless low <= high, and if `dtype` cannot represent high - low or has no number in
    [low, high).
    """
    dtype = dtype_of(dtype, "uniform", "f")
    if not 0.0 <= high - low <= float(np.finfo(dtype).max):
        raise ValueError(f"uniform: expected low <= high, finite in {dtype}, got {low} and {high}")
    values = generator(stream).random(shape, dtype=drawn(dtype)) * (high - low) + low
    return _tensor(within(values, low, high, dtype), dtype, device)


def within(values: Any, low: float, high: float, dtype: Any, closed: bool = False) -> Any:
    """Values in a dtype, moved back within the bounds where rounding has carried them out.

    The bounds are [low, high), or [low, high] if closed. ValueError if the dtype has no number
    within.
    """
    with np.errstate(over="ignore"):
        least, most = dtype.type(low), dtype.type(high)
    least = np.nextafter(least, dtype.type(np.inf)) if float(least) < low else least
    beyond = float(most) > high or (float(most) == high and not closed and low < high)
    most = np.nextafter(most, dtype.type(-np.inf)) if beyond else most
    if not least <= most:
        raise ValueError(f"expected bounds with a number of {dtype} between, got {low} and {high}")
    return np.clip(np.asarray(values, dtype), least, most)


def normal(
    shape: tuple[int, ...],
    mean: float = 0.0,
    std: float = 1.0,
    *,
    dtype: Any = DEFAULT_DTYPE,
    device: str | None = None,
    stream: str = "values",
) -> Tensor:
    """Numbers from a normal distribution."""
    dtype = dtype_of(dtype, "normal", "f")
    values = generator(stream).standard_normal(shape, dtype=drawn(dtype)) * std + mean
    return _tensor(values, dtype, device)


def permutation(n: int, *, stream: str = "order") -> np.ndarray[Any, Any]:
    """The integers 0..n-1 in random order, as a NumPy array for indexing."""
    return generator(stream).permutation(n)


def drawn(dtype: np.dtype[Any]) -> Any:
    """The dtype in which NumPy draws numbers for `dtype`: it draws no float16."""
    return np.float64 if dtype == np.float64 else np.float32


def _tensor(array: Any, dtype: Any, device: str | None) -> Tensor:
    return Tensor(devices.move(np.asarray(array, dtype=dtype), devices.parse(device)))
