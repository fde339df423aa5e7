"""The frozen tables of seed 002: a vector for each token, at both ends of a model, and positions.

    python -m experiments.wikitext.embeddings --data DATA --of minilm --out embeddings.npz
    read(Path("embeddings.npz"))

The seed has those of OpenAI's GPT, 40,479 × 768 and 256 × 768 in embeddings.npz, which come with no
package. `read` reads such a file. Two substitutes, in any width:

minilm   the words of MiniLM, a BERT that others have trained, and its positions. 93.8 % of the
         training tokens are words of its vocabulary, 2.7 % more are pieces of words; the others,
         and the token that is unknown, are made of WordPieces.
text     from the training text alone: the singular vectors of its positive pointwise mutual
         information (PPMI), and sinusoids.

Both have one scale. The mean norm of the rows of the training text is NORMS[kind], with which the
first loss of the seed's GPT with one layer is the seed's, 47.94 (`first_loss.py` measures it). That
of positions is POSITIONS times as much: the ratio in MiniLM, where both were trained.
"""

from __future__ import annotations

import io
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np

from experiments.data import wikitext
from experiments.data.chunks import PADDING
from experiments.data.minilm import checkpoint_folder, checkpoint_in
from experiments.data.place import arrays_in, data_folder, data_in
from experiments.data.wikitext import END, VOCABULARY, Decoder, Ints, Kept
from experiments.sweep import cli
from minigrad import nn
from minigrad.files import write_file
from models.hugging_face import read_config, read_state, read_tokenizer

PROG = "python -m experiments.wikitext.embeddings"
Floats = np.ndarray[tuple[int, ...], np.dtype[np.float32]]
Kind = Literal["minilm", "text"]

LENGTH = 256  # positions
D = 768
SOURCE = "embeddings of seed 002 as those of GPT-1"
NORMS: dict[Kind, float] = {"minilm": 2.19, "text": 2.21}
POSITIONS = 0.416  # 0.458 / 1.103 in MiniLM: its first 256 positions, and its words in the text

WITHOUT_ID = "<unk>"  # the piece for letters that GPT-1 does not know; MiniLM has one too

WINDOW = 2  # tokens on each side
CONTEXTS = 8_000
SMOOTHING = 0.75


class Embeddings(NamedTuple):
    """tokens: (V, d) float32, the row of PADDING zeros. positions: (LENGTH, d) float32."""

    tokens: Floats
    positions: Floats


# --- files ----------------------------------------------------------------------------------------
def read(path: Path, d: int = D) -> Embeddings:
    """The tables of a file with the arrays `tokens` (40,479, d) and `position` (256, d).

    ValueError, in one line, for anything else.
    """
    arrays = arrays_in(path, ("tokens", "position"), SOURCE)
    for (name, array), rows in zip(arrays.items(), (VOCABULARY, LENGTH), strict=True):
        if array.shape != (rows, d) or array.dtype != np.float32:
            got = f"{array.shape} {array.dtype}"
            raise ValueError(f"{path}: {name}: expected ({rows}, {d}) float32, got {got}")
        if not np.isfinite(array).all():
            raise ValueError(f"{path}: {name}: expected finite numbers, got NaN or infinity")
    return Embeddings(arrays["tokens"], arrays["position"])


def write(path: Path, embeddings: Embeddings) -> None:
    """A file for `read`, complete or not at all."""
    buffer = io.BytesIO()
    np.savez(buffer, tokens=embeddings.tokens, position=embeddings.positions)
    write_file(path, buffer.getvalue())


# --- MiniLM's -------------------------------------------------------------------------------------
def of_minilm(folder: Path, decoder: Decoder, d: int) -> Embeddings:
    """Vectors of MiniLM, whose folder this is, for the tokens of the whole vocabulary.

    Its width is 384. Others come by a 384 × d matrix whose rows are orthonormal, so that inner
    products stay, or whose columns are, where d is smaller. The matrix is drawn once.
    """
    if (got := len(decoder)) != VOCABULARY:
        raise ValueError(f"of_minilm: decoder: expected all ids, {VOCABULARY:,}, got {got:,}")
    config = read_config(folder)
    if config.positions < LENGTH:
        raise ValueError(f"{folder}: expected {LENGTH} positions or more, got {config.positions}")
    state, tokenizer = read_state(folder, config), read_tokenizer(folder, config)
    words, positions = (state[f"embeddings.{name}.weight"] for name in ("words", "positions"))
    names = tokenizer.get_vocab()
    ids = wordpieces(decoder, tokenizer)
    starts = np.cumsum([0, *map(len, ids[:-1])])
    sums = np.add.reduceat(words[np.concatenate(ids)], starts, axis=0)
    means = sums / np.array([[len(each)] for each in ids], dtype=np.float32)

    # "x" that a word goes on after, and "x" that ends one, must not be the same vector: no model
    # could tell which of them comes next. The first is moved the way from words to pieces inside.
    inner = np.array([name.startswith("##") for name in names])
    at = np.fromiter(names.values(), dtype=np.int64)
    way = words[at[inner]].mean(axis=0) - words[at[~inner]].mean(axis=0)
    ends = [piece.endswith(END) or piece == WITHOUT_ID for piece in decoder.pieces[1:]]
    taken = {tuple(each) for each, end in zip(ids, ends, strict=True) if end}
    moved = [not end and tuple(each) in taken for each, end in zip(ids, ends, strict=True)]
    means[moved] += way

    tokens = np.concatenate([np.zeros_like(means[:1]), means])
    turn = rotation(config.d, d)
    return Embeddings(tokens @ turn, positions[:LENGTH] @ turn)


def wordpieces(decoder: Decoder, tokenizer: Any) -> list[list[int]]:
    """MiniLM's ids for each token but padding: one where it has the same string, "##string" if that
    does not end a word; or else those that the string falls into."""
    names = tokenizer.get_vocab()
    found: list[list[int]] = []
    for piece in decoder.pieces[1:]:
        text = "[UNK]" if piece == WITHOUT_ID else piece.removesuffix(END)
        both = (text, f"##{text}") if piece.endswith(END) else (f"##{text}", text)
        same = [names[form] for form in both if form in names][:1]
        cut = same or tokenizer.encode(text, add_special_tokens=False).ids
        found.append(cut or [names["[UNK]"]])
    return found


def rotation(old: int, new: int) -> Floats:
    """(old, new) with orthonormal rows, or columns if new is smaller; the identity if equal."""
    if old == new:
        return np.eye(old, dtype=np.float32)
    normal = np.random.default_rng([old, new]).standard_normal((max(old, new), min(old, new)))
    basis = np.linalg.qr(normal).Q.astype(np.float32)
    return basis if old > new else basis.T


# --- of the text ----------------------------------------------------------------------------------
def of_text(tokens: Ints, d: int, vocabulary: int = VOCABULARY) -> Embeddings:
    """Vectors from a text (n,) alone, those of ids that do not occur zero; sinusoids as positions.

    With n_wc how often c stands at most WINDOW tokens from w, a pair at distance s counted
    (WINDOW + 1 - s) / WINDOW times,

        PPMI_wc = max(0, log(n_wc / (n_w P(c)))),   P(c) ∝ (Σ_w n_wc)^SMOOTHING,   n_w = Σ_c n_wc

    and with U Σ Vᵀ its d largest singular values, the vectors are U √Σ. Contexts c are the CONTEXTS
    most frequent ids. d = 768 takes a minute.

    Source: Levy and Goldberg, Neural Word Embedding as Implicit Matrix Factorization (2014); the
    choices, weights by distance, the smoothing and √Σ, are those of Levy, Goldberg and Dagan,
    Improving Distributional Similarity with Lessons Learned from Word Embeddings (2015).
    """
    try:
        from scipy.sparse.linalg import svds
    except ImportError as error:
        raise ImportError(f"{error}: pip install 'minigrad[wikitext]'") from None
    table = ppmi(tokens, vocabulary)
    contexts = table.shape[1]
    if not 1 <= d < contexts or d % 2:
        expected = f"expected an even number below {contexts:,}, that of contexts"
        raise ValueError(f"of_text: d: {expected}, got {d:,}")
    u, s, _ = svds(table, k=d, v0=np.ones(contexts, dtype=np.float32))
    vectors = u[:, ::-1] * np.sqrt(s[::-1])
    vectors *= np.where(vectors.sum(axis=0) < 0, -1.0, 1.0)  # a singular vector has no sign
    vectors[np.diff(table.indptr) == 0] = 0.0  # and not only to rounding
    return Embeddings(vectors.astype(np.float32), nn.SinusoidalPositions(LENGTH, d).table.numpy())


def ppmi(tokens: Ints, vocabulary: int) -> Any:
    """(vocabulary, contexts) the sparse matrix of `of_text`, its most frequent contexts first."""
    from scipy.sparse import coo_array, csr_array

    shape = (vocabulary, vocabulary)
    counts = csr_array(shape, dtype=np.float32)
    for distance in range(1, WINDOW + 1):
        weight = np.float32((WINDOW + 1 - distance) / WINDOW)
        pair = (tokens[:-distance], tokens[distance:])
        counts += coo_array((np.full(len(pair[0]), weight), pair), shape=shape).tocsr()
    counts = (counts + counts.T).tocsc()
    totals = counts.sum(axis=0)
    smoothed = totals**SMOOTHING / (totals**SMOOTHING).sum()
    contexts = np.argsort(-totals, kind="stable")[: min(CONTEXTS, np.count_nonzero(totals))]
    part = counts[:, contexts].tocoo()
    pmi = np.log(part.data / (totals[part.row] * smoothed[contexts][part.col]))
    table = csr_array((np.maximum(pmi, 0), (part.row, part.col)), shape=part.shape)
    table.eliminate_zeros()
    return table


# --- of both --------------------------------------------------------------------------------------
def scaled(embeddings: Embeddings, tokens: Ints, norm: float) -> Embeddings:
    """The same, with a mean norm of the rows of the tokens of a text (n,), and of positions
    POSITIONS times as much."""
    table, positions = embeddings
    rows, counts = np.unique(tokens, return_counts=True)
    mean = np.average(np.linalg.norm(table[rows], axis=1), weights=counts)
    of_positions = np.linalg.norm(positions, axis=1).mean()
    return Embeddings(
        table * np.float32(norm / mean), positions * np.float32(norm * POSITIONS / of_positions)
    )


def restricted(embeddings: Embeddings, kept: Kept, tokens: Ints) -> Embeddings:
    """The tables of a smaller vocabulary: what is not kept shares the mean of its rows, weighted by
    their frequency in the text (n,), which has old ids."""
    table = embeddings.tokens
    rare, counts = np.unique(tokens[kept.new_id[tokens] == kept.rare], return_counts=True)
    if rare.size:
        mean = np.average(table[rare], axis=0, weights=counts).astype(np.float32)
    else:
        mean = np.zeros_like(table[PADDING])
    return Embeddings(np.stack([table[PADDING], *table[kept.ids], mean]), embeddings.positions)


def make(kind: Kind, folder: Path, d: int = D, norm: float | None = None) -> Embeddings:
    """A substitute, scaled; `folder` has the data, and MiniLM is where `checkpoint_folder` says."""
    train = wikitext.read(folder)["train"]
    if kind == "minilm":
        made = of_minilm(checkpoint_folder(), Decoder(folder), d)
    else:
        made = of_text(train, d)
    return scaled(made, train, NORMS[kind] if norm is None else norm)


# --- the command ----------------------------------------------------------------------------------
@dataclass(frozen=True)
class Options:
    """Embeddings in the place of GPT-1's."""

    out: Path
    """File to write. Replaces an existing one."""
    data: Path | None = None
    """Folder of WikiText-2, or the variable MINIGRAD_DATA."""
    of: Kind = "minilm"
    """MiniLM's words and positions, or vectors of the training text and sinusoids."""
    checkpoint: Path | None = None
    """Folder of MiniLM, or the variable MINIGRAD_MINILM, or else the installed package."""
    d: int = D
    """Width."""

    def __post_init__(self) -> None:
        if self.d < 2 or self.d % 2:
            raise ValueError(f"--d: expected an even number, got {self.d}")


def main(args: Sequence[str] | None = None) -> int:
    options = cli.parse(Options, args, prog=PROG, description=__doc__)
    with cli.one_line(PROG), data_in(options.data), checkpoint_in(options.checkpoint):
        embeddings = make(options.of, data_folder(wikitext.SOURCE), options.d)
        write(options.out, embeddings)
        print(options.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
