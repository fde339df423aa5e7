"""The matrix products of a training step, and the time of only these products: the floor.

They are derived from the sizes of a model, as minigrad computes it: forward, the gradient of the
input and the gradient of the weight. Products with a state of zeros are not counted; in the last
block of the GPT and in the classifier, only positions with a loss are. Sums that minigrad computes
as products with ones are not counted either.

With shared prefixes a batch is several runs of chains (`experiments.grokking.prefix`); without, one
run. Over such a tree attention has no matrix products, because the keys of every query are
different. The first block of the GPT projects each pair of token and position once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from benchmarks.problems import Problem
from experiments.attention.arithmetic import Arithmetic
from experiments.data.arithmetic import CLASSES
from experiments.grokking.prefix import PrefixTree
from experiments.speeches.task import Classify, Speech
from experiments.wikitext.task import LanguageModel


class Product(NamedTuple):
    """`calls` products in sequence, each of `stack` matrices (m, k) by (k, n)."""

    what: str
    m: int
    n: int
    k: int
    calls: int = 1
    stack: int = 1

    @property
    def flops(self) -> int:
        return 2 * self.m * self.n * self.k * self.calls * self.stack


class Batch(NamedTuple):
    """The chains of a batch; with shared prefixes also its number of distinct (token, position)."""

    runs: Sequence[Run]
    inputs: int | None


class Run(NamedTuple):
    """`chains` chains of `length` tokens, after `depth` other tokens."""

    chains: int
    depth: int
    length: int

    def counted(self, start: int) -> int:
        """The number of positions from `start` on."""
        return min(self.length, max(0, self.depth + self.length - start))


def flops(products: Sequence[Product]) -> int:
    return sum(p.flops for p in products)


# --- the lists ------------------------------------------------------------------------------------
def products_of(problem: Problem, shared: bool = False) -> list[Product]:
    """The products of one training step."""
    if problem.source:
        return translator_products(problem)
    if problem.model == "tied-lstm":
        return tied_lstm_products(problem)
    batch, trial, start = batch_of(problem, shared), problem.trial, first_counted(problem)
    if problem.model == "lstm":
        products = lstm_products(trial.d, trial.layers, problem.words, batch.runs)
    else:
        hidden = trial.hidden if isinstance(trial, (Speech, Arithmetic)) else 4 * trial.d
        products = transformer_products(trial.d, hidden, trial.layers, batch, start)
        products += [] if shared else attention_products(problem)
    if isinstance(trial, Classify):
        sizes = trial.config(problem.words)
        products += linear("head", problem.batch, sizes.d, sizes.head)
        return products + linear("classifier", problem.batch, sizes.head, sizes.classes)
    if isinstance(trial, Arithmetic):
        products += linear("pooler", problem.batch, trial.d, trial.d)
        return products + linear("classifier", problem.batch, trial.d, len(CLASSES))
    if isinstance(trial, LanguageModel):  # what the first block reads is not trained
        frozen = next(i for i, p in enumerate(products) if "input gradient" in p.what)
        return products[:frozen] + products[frozen + 1 :] + output_products(problem)
    counted = sum(run.chains * run.counted(start) for run in batch.runs)
    return products + linear("classifier", counted, trial.d, problem.words)


def first_counted(problem: Problem) -> int:
    """The first position that counts; in BERT one does, which costs what the last would cost."""
    return problem.length - 1 if isinstance(problem.trial, Arithmetic) else problem.start


def batch_of(problem: Problem, shared: bool) -> Batch:
    if not shared:
        return Batch([Run(problem.batch, 0, problem.length)], None)
    tree = PrefixTree(problem.inputs)
    shapes = [(run.tokens.shape, run.depth) for run in tree.runs]
    runs = [Run(chains, depth, length) for (length, chains), depth in shapes]
    return Batch(runs, len(tree.inputs.tokens))


def linear(what: str, rows: int, inputs: int, outputs: int) -> list[Product]:
    """y = x Wᵀ, gx = g W, gW = gᵀ x."""
    return [
        Product(what, rows, outputs, inputs),
        Product(f"{what}, input gradient", rows, inputs, outputs),
        Product(f"{what}, weight gradient", outputs, inputs, rows),
    ]


def lstm_products(d: int, layers: int, words: int, runs: Sequence[Run]) -> list[Product]:
    """One product per time step for all gates, z = W u with u = [x; h]; du = Wᵀ dz; dW = dz uᵀ.

    In the first layer W_ih is multiplied by every word once, and u = h; see
    `experiments.grokking.prefix`.
    """
    products = linear("words", words, d, 4 * d)
    for run in runs:
        n, depth, length = run
        from_zero = int(depth == 0)  # the first step has no h
        sizes = [(d, from_zero), (2 * d, length - from_zero)] * (layers - 1)
        sizes.append((d, length - from_zero))
        for inputs, calls in sizes:
            products += [
                Product("gates", 4 * d, n, inputs, calls),
                Product("gates, input gradient", inputs, n, 4 * d, calls),
                Product("gates, weight gradient", 4 * d, inputs, n, calls),
            ]
    return [product for product in products if product.calls]


def transformer_products(
    d: int, hidden: int, layers: int, batch: Batch, start: int
) -> list[Product]:
    """The linear maps of each block; the last one answers from `start` on."""
    rows = sum(run.chains * run.length for run in batch.runs)
    products: list[Product] = []
    for layer in range(layers):
        first = start if layer == layers - 1 else 0
        late = sum(run.chains * run.counted(first) for run in batch.runs)
        if layer == 0 and batch.inputs is not None:
            products += linear("queries, keys, values", batch.inputs, d, 3 * d)
        elif late == rows:
            products += linear("queries, keys, values", rows, d, 3 * d)
        else:
            products += linear("queries", late, d, d) + linear("keys, values", rows, d, 2 * d)
        products += linear("attention out", late, d, d)
        products += linear("feed-forward in", late, d, hidden)
        products += linear("feed-forward out", late, hidden, d)
    return products


def attention_products(problem: Problem) -> list[Product]:
    """Of every block; the last one answers from the first position that counts on."""
    trial, keys = problem.trial, problem.length
    size, stack = trial.d // trial.heads, problem.batch * trial.heads
    products: list[Product] = []
    for layer in range(trial.layers):
        queries = keys - first_counted(problem) if layer == trial.layers - 1 else keys
        products += of_attention(queries, keys, size, stack)
    return products


def translator_products(problem: Problem) -> list[Product]:
    """Blocks with attention in one head without an output projection, and one layer d -> d."""
    d, layers, b = problem.trial.d, problem.trial.layers, problem.batch
    source = problem.source
    target = problem.length - source
    block = [
        *linear("queries, keys, values", b * source, d, 3 * d),
        *of_attention(source, source, d, b),
        *linear("feed-forward", b * source, d, d),
        *linear("queries, keys, values", b * target, d, 3 * d),
        *of_attention(target, target, d, b),
        *linear("queries of sources", b * target, d, d),
        *linear("keys, values of sources", b * source, d, 2 * d),
        *of_attention(target, source, d, b),
        *linear("feed-forward", b * target, d, d),
    ]
    return layers * block + linear("classifier", b * target, d, problem.words)


def tied_lstm_products(problem: Problem) -> list[Product]:
    """One layer, as in `lstm_products`, with every input at its step; the first step has no h."""
    trial, b, steps = problem.trial, problem.batch, problem.length
    d, h = trial.d, trial.hidden
    gates = [
        product
        for inputs, calls in ((d, 1), (d + h, steps - 1))
        for product in (
            Product("gates", 4 * h, b, inputs, calls),
            Product("gates, input gradient", inputs, b, 4 * h, calls),
            Product("gates, weight gradient", 4 * h, inputs, b, calls),
        )
    ]
    return [*gates, *linear("decoder", b * steps, h, d), *output_products(problem)]


def output_products(problem: Problem) -> list[Product]:
    """Of a frozen table there is no gradient."""
    rows, d = problem.batch * problem.length, problem.trial.d
    output = linear("output", rows, d, problem.words)
    return [p for p in output if "weight gradient" not in p.what]


def of_attention(queries: int, keys: int, size: int, stack: int) -> list[Product]:
    """s = q kᵀ and y = p v; then gp = g vᵀ, gq = gs k, gk = gsᵀ q, gv = pᵀ g."""
    return [
        Product("scores, and gradient of weights", queries, keys, size, 2, stack),
        Product("values, and gradient of queries", queries, size, keys, 2, stack),
        Product("gradients of keys and values", keys, size, queries, 2, stack),
    ]


# --- the floor ------------------------------------------------------------------------------------
def numpy_floor(products: Sequence[Product]) -> Callable[[], None]:
    """All products, computed by NumPy's BLAS."""
    triples = operands(products)

    def step() -> None:
        for a, b, y in triples:
            np.matmul(a, b, out=y)

    return step


def kernel_floor(products: Sequence[Product]) -> Callable[[], None]:
    """All products, divided among the cores as the kernels do it; those in stacks by NumPy."""
    from kernels.cpu import linear
    from kernels.cpu.compiled import parts_for

    triples = operands(products)

    def step() -> None:
        for a, b, y in triples:
            if a.ndim == 2:
                parts = parts_for(y.size * a.shape[1])
                linear.product(a, b, False, linear.NO_BIAS, y, parts)
            else:
                np.matmul(a, b, out=y)

    return step


def torch_floor(products: Sequence[Product]) -> Callable[[], None]:
    """All products, computed by `torch.mm` and, for stacks, `torch.bmm`."""
    import torch

    triples = [tuple(map(torch.from_numpy, triple)) for triple in operands(products)]

    def step() -> None:
        for a, b, y in triples:
            (torch.mm if a.ndim == 2 else torch.bmm)(a, b, out=y)

    return step


Matrices = np.ndarray[tuple[int, ...], np.dtype[np.float32]]


def operands(products: Sequence[Product]) -> list[tuple[Matrices, Matrices, Matrices]]:
    """Both factors and a result for each call, all separate arrays in C order.

    Repeated calls share their first factor: the weights, or the buffer of dz.
    """
    rng = np.random.default_rng(0)

    def matrices(*shape: int) -> Matrices:
        return rng.standard_normal(shape, dtype=np.float32)

    triples: list[tuple[Matrices, Matrices, Matrices]] = []
    for _, m, n, k, calls, stack in products:
        lead = (stack,) if stack > 1 else ()
        a = matrices(*lead, m, k)
        triples += [(a, matrices(*lead, k, n), matrices(*lead, m, n)) for _ in range(calls)]
    return triples
