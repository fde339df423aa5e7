"""What the CPU kernels are tried with: the cases of their ops, and more, where a kernel might err.

One row, ragged sizes, all options that a kernel takes, long sums; and arrays without elements.
"""

import numpy as np

from reference.cases import CASES, TARGET, Values, case, ids, x


def wide(*shape):
    """Evenly from -14 to 14 in random order: where tanh and exp bend, are flat, and stop."""

    def draw(rng, s):
        return rng.permutation(np.linspace(-14.0, 14.0, int(np.prod(s)))).reshape(s)

    return Values(draw, shape)


def small(*shape):
    """Normal numbers times 0.3: weights that do not saturate the gates."""
    return Values(lambda rng, s: 0.3 * rng.standard_normal(s), shape)


def summed(*args, longest, **kwargs):
    """A case whose longest sum, in value or gradient, has so many terms: a rounding for each."""
    return case(*args, terms=8 + longest, **kwargs)


def linear(*shape, out, bias=True):
    weights = (x(out, shape[-1]), x(out)) if bias else (x(out, shape[-1]),)
    rows = int(np.prod(shape[:-1]))
    return summed(x(*shape), *weights, longest=max(rows, shape[-1], out))


def matmul(*shape, out):
    rows = int(np.prod(shape[:-1]))
    return summed(x(*shape), x(shape[-1], out), longest=max(rows, shape[-1], out))


def heads(batch, h, queries, keys, d, e, **kwargs):
    """Products with sums over d and keys; on the way back over e and queries too."""
    shapes = (batch, h, queries, d), (batch, h, keys, d), (batch, h, keys, e)
    return case(*(x(*s) for s in shapes), terms=32 + d + e + queries + keys, **kwargs)


def masked(mask, *sizes, **kwargs):
    """As `heads`, with a boolean mask of that shape."""
    attention = heads(*sizes, **kwargs)
    mask = Values(lambda rng, s: rng.random(s) < 0.7, mask)
    return case(*attention.args, mask, terms=attention.terms, **kwargs)


def listed(queries, h, rows, keys, d, e, **kwargs):
    """As `heads`; every query lists at most `keys` of the rows, the first one none."""

    def draw(rng, s):
        lengths = np.concatenate([[0], rng.integers(1, s[1] + 1, s[0] - 1)])
        return np.where(np.arange(s[1]) < lengths[:, None], rng.integers(0, rows, s), -1)

    arrays = x(queries, h, d), x(rows, h, d), x(rows, h, e)
    terms = 32 + d + e + queries + keys
    return case(*arrays, Values(draw, (queries, keys)), terms=terms, **kwargs)


def cell(batch, width, size, biases=2):
    weights = x(4 * size, width), x(4 * size, size), *[x(4 * size)] * biases
    terms = 32 + width + size + batch
    return case(x(batch, width), x(batch, size), x(batch, size), *weights, terms=terms)


def sequence(steps, batch, width, size, layers=1, state="hc", biases=2, products=False):
    """Every step adds its roundings; the gradients of weights sum over steps and batch.

    products: with W_ih, in the place of inputs.
    """
    weights = []
    for n in range(layers):
        weights += [small(4 * size, size if n else width), small(4 * size, size)]
        weights += [small(4 * size)] * biases + [None] * (2 - biases)
    h0, c0 = (x(layers, batch, size) if name in state else None for name in "hc")
    terms = 32 + layers * steps * (8 + width + size) + steps * batch
    if products:
        return case(x(steps, batch, 4 * size), h0, c0, [None, *weights[1:]], terms=terms)
    return case(x(steps, batch, width), h0, c0, weights, terms=terms)


def rows_and_table(rows, width, classes, *bias, target=None, **kwargs):
    """Sums over D for logits, classes for x, rows for weight and bias; softmax and loss."""
    target = ids(classes, *rows) if target is None else target
    longest = max(width, classes, int(np.prod(rows)))
    return case(*(x(*rows, width), x(classes, width), target, *bias), terms=40 + longest, **kwargs)


CLASS_WEIGHTS = np.array([0.5, 1.0, 2.0, 0.0, 1.5])
HOW = ("none", "sum", "mean")
EXTRA = {  # beside those of `reference.cases`: one row, ragged sizes, all that a kernel takes
    "gelu": [case(x(1)), case(x(37)), case(x(3, 1, 13)), case(wide(2, 1001))],
    "layer_norm": [
        summed(x(1, 5), x(5), x(5), longest=5),
        summed(x(37, 17), x(17), x(17), longest=37),
        summed(x(3, 130), longest=130),
        summed(x(2, 3, 24), x(24), longest=24),
        summed(x(2, 3, 24), None, x(24), longest=24),
        summed(x(7), x(7), x(7), eps=1e-3, longest=7),
        summed(x(5, 1), longest=5),
    ],
    "linear": [
        linear(1, 3, out=5),
        linear(2, 16, out=1),
        linear(3, 1, out=9, bias=False),
        linear(37, 33, out=17),
        linear(23, out=7),
        linear(2, 3, 1, 19, out=11),
        linear(5, 7, 40, out=24, bias=False),
    ],
    "matmul": [
        matmul(1, 1, out=1),
        matmul(37, 19, out=23),
        matmul(2, 5, 7, out=9),
        matmul(3, 1, 2, 17, out=1),
    ],
    "scaled_dot_product_attention": [
        heads(1, 1, 1, 1, 1, 1),
        heads(37, 2, 3, 3, 5, 5, causal=True),
        heads(2, 3, 1, 9, 8, 5, causal=True),
        heads(2, 1, 3, 9, 8, 5, causal=True),
        heads(1, 2, 7, 3, 4, 5, causal=True),  # the first four queries see nothing
        heads(3, 1, 17, 17, 4, 8, scale=0.3),
        heads(1, 2, 70, 70, 24, 24),  # long enough for BLAS
        heads(3, 1, 70, 90, 24, 20),
        heads(2, 1, 70, 90, 24, 20, causal=True),
        heads(1, 1, 90, 70, 24, 24, causal=True),
        masked((3, 1, 1, 9), 3, 2, 5, 9, 4, 6),  # padding
        masked((5, 9), 3, 2, 5, 9, 4, 6, causal=True, alibi=True),
        masked((3, 2, 5, 1), 3, 2, 5, 9, 4, 6, return_weights=True),
        heads(2, 3, 4, 4, 5, 5, causal=True, alibi=True, return_weights=True),
    ],
    "relu": [case(x(1)), case(x(37)), case(x(3, 1, 13)), case(wide(2, 1001))],
    "path_attention": [
        listed(1, 1, 1, 1, 1, 1),
        listed(37, 2, 5, 3, 5, 5),
        listed(3, 4, 9, 17, 8, 3),
        listed(70, 1, 90, 20, 24, 20),
    ],
    "lstm_cell": [cell(1, 3, 5), cell(2, 8, 4, 0), cell(3, 1, 17, 1), cell(37, 24, 9)],
    "lstm": [
        sequence(1, 1, 3, 5),
        sequence(1, 37, 5, 8, state=""),
        sequence(3, 2, 16, 1, layers=2, state="", biases=0),
        sequence(5, 3, 7, 11, layers=3, biases=1),
        sequence(4, 37, 6, 9, layers=2, state="h"),
        sequence(4, 2, 6, 9, state="c", biases=0),
        sequence(30, 3, 8, 16, layers=2),
        sequence(1, 1, 1, 3, products=True),
        sequence(5, 37, 7, 9, layers=2, state="", biases=1, products=True),
    ],
    "cross_entropy": [
        case(x(1, 1), ids(1, 1), terms=32),
        case(x(37, 36), ids(36, 37), terms=32 + 37),
        case(x(3, 5, 11), ids(11, 3, 5), reduction="sum", terms=32 + 15),
        *(case(x(4, 5), TARGET, weight=CLASS_WEIGHTS, reduction=how, terms=32) for how in HOW),
        *(case(x(2, 5), np.full(2, -100), reduction=how, terms=32) for how in HOW),
        case(wide(7, 9), ids(3, 7), ignore_index=1, terms=32),
        case(x(5), np.array(3, dtype=np.int32), terms=32),
    ],
    "linear_cross_entropy": [
        rows_and_table((1,), 1, 1),
        rows_and_table((37,), 19, 23, x(23), reduction="sum"),
        rows_and_table((3, 2), 5, 1100, x(1100)),  # three tiles
        rows_and_table((37,), 3, 600, reduction="none", label_smoothing=0.1),
        rows_and_table((), 8, 7, target=np.array(3, dtype=np.int32)),
        *(
            rows_and_table((4,), 6, 5, x(5), target=TARGET, class_weight=CLASS_WEIGHTS, **options)
            for how in HOW
            for options in ({"reduction": how}, {"reduction": how, "label_smoothing": 0.2})
        ),
        *(rows_and_table((2,), 6, 5, target=np.full(2, -100), reduction=how) for how in HOW),
    ],
}
EMPTY = {
    "gelu": [case(x(0)), case(x(2, 0, 3))],
    "layer_norm": [case(x(2, 0), x(0), x(0)), case(x(0, 4))],
    "relu": [case(x(0)), case(x(2, 0, 3))],
    "linear": [case(x(0, 4), x(3, 4), x(3)), case(x(2, 0), x(3, 0), x(3)), case(x(2, 4), x(0, 4))],
    "matmul": [case(x(0, 4), x(4, 2)), case(x(2, 4), x(4, 0)), case(x(2, 0), x(0, 4))],
    "scaled_dot_product_attention": [
        heads(0, 2, 3, 3, 4, 4),
        heads(2, 0, 3, 3, 4, 4),
        heads(2, 2, 0, 3, 4, 4),
        heads(2, 2, 3, 0, 4, 4),
        heads(2, 2, 3, 3, 4, 0),
    ],
    "path_attention": [
        listed(3, 2, 4, 2, 0, 4),
        listed(3, 2, 4, 2, 4, 0),
        case(x(3, 2, 4), x(2, 2, 4), x(2, 2, 5), np.zeros((3, 0), np.int64)),
        case(x(0, 2, 4), x(2, 2, 4), x(2, 2, 5), np.zeros((0, 3), np.int64)),
    ],
    "lstm_cell": [cell(0, 3, 2), cell(2, 0, 3), cell(2, 3, 0)],
    "lstm": [
        sequence(2, 0, 3, 2),
        sequence(2, 3, 0, 2),
        sequence(0, 3, 2, 2),
        sequence(2, 0, 3, 2, products=True),
        sequence(0, 2, 3, 2, products=True),
    ],
    "cross_entropy": [case(x(0, 3), np.zeros(0, np.int64), reduction=how) for how in HOW],
    "linear_cross_entropy": [
        *(rows_and_table((0,), 3, 4, x(4), reduction=how) for how in HOW),
        *(rows_and_table((2,), 0, 4, x(4), reduction=how) for how in HOW),
        rows_and_table((2,), 3, 0, target=np.full(2, -100)),
    ],
}
for _first, _table in ((100, EXTRA), (200, EMPTY)):
    for _name, _cases in _table.items():
        for _number, _case in enumerate(_cases, _first):
            _case.name, _case.number = _name, _number

ALL = [c for name in EXTRA for c in (*CASES[name], *EXTRA[name])]

# What a kernel leaves to the plain op, and the reason that it gives.
DECLINED = {
    "gelu-3": "not the exact gelu",
    "layer_norm-3": "shapes",  # no rows
    "linear-3": "small",  # no rows
    "matmul-1": "not a product with one matrix",
    "matmul-2": "not a product with one matrix",
    "matmul-3": "not a product with one matrix",
    "matmul-5": "not a product with one matrix",
    "matmul-6": "not a product with one matrix",
    "matmul-7": "small",  # no rows
    "matmul-8": "small",  # an empty sum
    "scaled_dot_product_attention-0": "not (B, H, T, d)",
    "scaled_dot_product_attention-2": "not (B, H, T, d)",
    "scaled_dot_product_attention-5": "a mask of numbers",
    "scaled_dot_product_attention-6": "not (B, H, T, d)",
    "cross_entropy-2": "label smoothing",
    "cross_entropy-4": "label smoothing",
    "cross_entropy-6": "label smoothing",
    "cross_entropy-7": "label smoothing",
    **{
        f"cross_entropy-{i}": "label smoothing" if i % 2 == 0 else "probabilities"
        for i in range(9, 22)
    },
}
TAKEN = [c for c in ALL if c.id not in DECLINED]
FIRST = [next(c for c in CASES[name] if c.id not in DECLINED) for name in EXTRA]
