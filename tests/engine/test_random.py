"""Random numbers: within their bounds, of their distribution, in bounded time, and repeated."""

import math
import zlib

import numpy as np
import pytest
from small import leaf, training

import minigrad as mg
from minigrad import nn

DTYPES = [np.float16, np.float32, np.float64]


# --- streams --------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("stream", "crc"),
    [
        ("values", 0x3AA74CE6),
        ("order", 0xF5299398),
        ("init", 0xC674E474),
        ("dropout", 0x9289EFC9),
    ],
)
def test_streams_of_published_records_keep_their_numbers(stream, crc):
    """Philox under (seed, CRC-32 of the name), started at the number of the draw."""
    mg.random.seed(5)
    for number in range(3):
        philox = np.random.Philox(key=np.array([5, crc], np.uint64), counter=[0, 0, number, 0])
        wanted = np.random.Generator(philox).random(4)
        assert np.array_equal(mg.random.generator(stream).random(4), wanted)


def test_names_with_one_checksum_are_different_streams():
    """Of both names CRC-32 is 0x4DDB0C25."""
    names = "plumless", "buckeroo"
    assert [zlib.crc32(name.encode()) for name in names] == [0x4DDB0C25] * 2
    first, second = (mg.random.normal((1000,), stream=name).numpy() for name in names)
    assert not (first == second).any()
    mg.random.seed(0)
    assert np.array_equal(mg.random.normal((1000,), stream="buckeroo").numpy(), second)


@pytest.mark.parametrize(
    "state",
    [
        None,
        [],
        {},
        {"seed": 1},
        {"seed": 1, "draws": [1]},
        {"seed": 1, "draws": {}, "more": 1},
        {"seed": -1, "draws": {}},
        {"seed": 2**64, "draws": {}},
        {"seed": True, "draws": {}},
        {"seed": 1, "draws": {"init": "x"}},
        {"seed": 1, "draws": {"init": -1}},
        {"draws": {"init": 1}},
    ],
)
def test_a_state_that_is_none_changes_nothing(state):
    mg.random.seed(5)
    mg.random.normal((2,))
    before = mg.random.get_state()
    with pytest.raises(ValueError, match="random state: expected a seed and draws of streams, got"):
        mg.random.set_state(state)
    assert mg.random.get_state() == before == {"seed": 5, "draws": {"values": 1}}


# --- uniform --------------------------------------------------------------------------------------
class Largest:
    """In the place of a generator: the largest number below 1 that it can draw, or 0."""

    def __init__(self, number):
        self.number = number

    def random(self, shape, dtype=np.float64):
        below = 1.0 - (2.0**-24 if dtype is np.float32 else 2.0**-53)
        return np.full(shape, below if self.number else 0.0, dtype)


BOUNDS = [
    (0.0, 1.0),
    (1.0, 2.0),
    (-2.0, -1.0),
    (1e3, 1e3 + 1),
    (0.1, 0.3),
    (-0.7, 0.7),
    (-1.0, 3.0),
]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("bounds", BOUNDS)
@pytest.mark.parametrize("largest", [False, True])
def test_uniform_numbers_are_below_high_and_not_below_low(bounds, dtype, largest, monkeypatch):
    """As Python compares them, which is exactly; 1 + (1 - 2^-24) is 2 in float32.

    A distance, a product and a sum are rounded, or the number is moved back by a spacing.
    """
    monkeypatch.setattr(mg.random, "generator", lambda stream: Largest(largest))
    low, high = bounds
    (number,) = mg.random.uniform((1,), low, high, dtype=dtype).tolist()
    assert low <= number < high
    spacing = float(np.spacing(np.abs(np.array(bounds, dtype)).max()))
    assert abs(number - (high if largest else low)) <= 3.0 * spacing


def test_thirty_million_uniform_numbers():
    """One in 2^24 is 2 - 2^-24 before it is rounded, and there is one of these among them."""
    numbers = np.concatenate([mg.random.uniform((1 << 20,), 1.0, 2.0).numpy() for _ in range(30)])
    assert numbers.max() == np.nextafter(np.float32(2.0), np.float32(0.0))
    assert numbers.min() >= 1.0


def test_bounds_without_a_number_between_them():
    assert mg.random.uniform((2,), 0.7, 0.7, dtype=np.float64).tolist() == [0.7, 0.7]
    assert mg.random.uniform((2,), 0.5, 0.5).tolist() == [0.5, 0.5]
    assert mg.random.uniform((2,), 1.0, 1.0 + 1e-9).tolist() == [1.0, 1.0]
    for low, high in ((1.0, 0.0), (0.0, math.inf), (math.nan, 1.0), (-3e38, 3e38)):
        with pytest.raises(ValueError, match="uniform: expected low <= high, finite in float32"):
            mg.random.uniform((2,), low, high)
    with pytest.raises(ValueError, match="expected bounds with a number of float32 between"):
        mg.random.uniform((2,), 0.7, 0.7 + 1e-9)


@pytest.mark.parametrize("draw", [mg.random.uniform, mg.random.normal])
def test_float16_is_drawn_and_integers_are_not(draw):
    numbers = draw((1000,), dtype=np.float16)
    assert numbers.dtype == np.float16
    mg.random.seed(0)
    assert np.array_equal(numbers.numpy(), draw((1000,)).numpy().astype(np.float16))
    with pytest.raises(TypeError, match=r"(uniform|normal): expected a floating .*, got int64"):
        draw((3,), dtype=np.int64)


# --- truncated normal -----------------------------------------------------------------------------
INTERVALS = {  # mean, std, low, high
    "PyTorch's": (0.0, 1.0, -2.0, 2.0),
    "half": (0.0, 1.0, 0.0, math.inf),
    "around the mean": (0.0, 1.0, -1.2, 1.2),
    "beside the mean": (0.0, 1.0, 0.1, math.inf),
    "from 0.1 to 0.8": (0.0, 1.0, 0.1, 0.8),
    "narrow": (0.0, 1.0, -1e-3, 2e-3),
    "narrow at the end": (0.0, 1.0, 0.0, 1e-3),
    "a tail": (0.0, 1.0, 3.0, math.inf),
    "a far tail": (0.0, 1.0, 30.0, 31.0),
    "a far lower tail": (1.0, 0.5, -math.inf, -15.0),
    "beyond all probability": (0.0, 1.0, 1e4, 2e4),
    "a piece of a tail": (5.0, 2.0, -1.0, -0.5),
    "everything": (3.0, 2.0, -math.inf, math.inf),
}


def distribution(z, mean, std, low, high):
    """P(Z <= z), from the logarithm of the tail beyond z: ratios of tails do not vanish."""
    if mean > 0.5 * (max(low, -1e300) + min(high, 1e300)):  # from the other end
        return 1.0 - distribution(-z, -mean, std, -high, -low)
    first, z, end = (log_tail((x - mean) / std) for x in (low, z, high))
    return -math.expm1(z - first) / -math.expm1(end - first)


def log_tail(x):
    """log P(N > x); beyond 25 by Mills' ratio as a continued fraction, 1/(x + 1/(x + 2/(x + ..."""
    if x == math.inf:
        return -math.inf
    if x < 25.0:
        return math.log(0.5 * math.erfc(x / math.sqrt(2.0)))
    fraction = x
    for n in range(40, 0, -1):
        fraction = x + n / fraction
    return -0.5 * x * x - 0.5 * math.log(2.0 * math.pi) - math.log(fraction)


@pytest.mark.parametrize("interval", INTERVALS.values(), ids=INTERVALS)
def test_truncated_normal_numbers_follow_their_distribution(interval):
    """Kolmogorov and Smirnov: of n numbers, the empirical distribution is nowhere more than
    1.95 / √n from the right one, but for a chance of 2 e^(-2 · 1.95²), which is one in a thousand.
    """
    n = 40_000
    _, _, low, high = interval
    numbers = np.sort(nn.init.trunc_normal_(mg.tensor(np.zeros(n)), *interval).numpy())
    assert low <= numbers[0]
    assert numbers[-1] <= high
    assert len(np.unique(numbers)) > 0.99 * n
    exact = np.array([distribution(z, *interval) for z in numbers])
    steps = np.arange(n + 1) / n
    assert max((steps[1:] - exact).max(), (exact - steps[:-1]).max()) < 1.95 / math.sqrt(n)


class Counting:
    """A generator that counts the numbers it draws."""

    def __init__(self, generator):
        self.generator, self.drawn = generator, 0

    def random(self, n):
        self.drawn += n
        return self.generator.random(n)

    def normal(self, mean, std, n):
        self.drawn += 2 * n  # as many as the others need for a proposal
        return self.generator.normal(mean, std, n)


@pytest.mark.parametrize("interval", INTERVALS.values(), ids=INTERVALS)
def test_no_interval_is_too_improbable(interval, monkeypatch):
    """At least .49 of the proposals are kept: 10,000 numbers need 20,400, give or take 3 × 144."""
    source = Counting(np.random.default_rng(0))
    monkeypatch.setattr(mg.random, "generator", lambda stream: source)
    nn.init.trunc_normal_(mg.tensor(np.zeros(10_000)), *interval)
    assert source.drawn / 2 < 20_400 + 3 * 144


@pytest.mark.parametrize("dtype", DTYPES)
def test_truncated_normal_numbers_are_between_the_bounds_in_every_dtype(dtype):
    """0.1 rounded to float16 or float32 is not 0.1."""
    for low, high in ((-0.1, 0.1), (0.1, 0.3), (-0.7, -0.1)):
        numbers = nn.init.trunc_normal_(
            mg.tensor(np.zeros(5000, dtype)), 0.0, 5.0, low, high
        ).tolist()
        assert low <= min(numbers)
        assert max(numbers) <= high


def test_the_usual_interval_gives_the_numbers_that_it_gave():
    """Normal ones, drawn again where they are outside."""
    t = nn.init.trunc_normal_(mg.tensor(np.zeros((40, 50), np.float32)))
    mg.random.seed(0)
    generator = mg.random.generator("init")
    wanted = generator.normal(0.0, 1.0, (40, 50))
    while (outside := np.abs(wanted) > 2.0).any():
        wanted[outside] = generator.normal(0.0, 1.0, int(outside.sum()))
    assert np.array_equal(t.numpy(), wanted.astype(np.float32))


# --- state ----------------------------------------------------------------------------------------
def test_a_seed_gives_the_same_bytes():
    def run():
        mg.random.seed(7)
        step = training()
        losses = [step().item() for _ in range(5)]
        x = leaf(np.ones((4, 4)))
        mg.dropout(x, 0.5, training=True).sum().backward()
        return losses, x.grad.data.tobytes(), mg.random.normal((3,)).data.tobytes()

    assert run() == run()


def test_the_random_state_is_plain_numbers_that_continue_a_run():
    mg.random.seed(1)
    mg.random.normal((3,))
    state = mg.random.get_state()
    expected = [mg.random.normal((3,)).tolist(), mg.random.permutation(5).tolist()]
    mg.random.seed(99)
    mg.random.set_state(state)
    assert [mg.random.normal((3,)).tolist(), mg.random.permutation(5).tolist()] == expected
