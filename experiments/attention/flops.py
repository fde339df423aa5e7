"""FLOPs of training the decoder of seed 004 (section 2.3), by formula.

The assignment counts, for a sequence of s ids, a hidden size of d and L layers,

    L (6 s d² + 4 s² d + 3 s² + 2 s d²) + 2 s V d

for the way forward: queries, keys and values; scores and weighted means, of which a causal model
needs half; three for each number of the softmax; the feed-forward part; the logits. The way back
counts as twice as much. Embeddings, sums and activations are left out. `mg.debug.profile` counts
the same products (`products_per_example`), which the tests show.
"""

from __future__ import annotations


def products_forward(length: int, d: int, layers: int, vocabulary_size: int) -> int:
    """FLOPs of the matrix products on the way forward, for one sequence."""
    block = 8 * length * d * d + 4 * length * length * d
    return layers * block + 2 * length * vocabulary_size * d


def products_per_example(length: int, d: int, layers: int, vocabulary_size: int) -> int:
    """FLOPs of the matrix products of a training step, for one sequence."""
    return 3 * products_forward(length, d, layers, vocabulary_size)


def flops_per_example(length: int, d: int, layers: int, vocabulary_size: int) -> int:
    """FLOPs of a training step for one sequence, as the assignment counts them."""
    softmax = 3 * layers * length * length
    return products_per_example(length, d, layers, vocabulary_size) + 3 * softmax
