"""A checkpoint of BERT in a folder with the files and names of Hugging Face's library.

    config = read_config(folder)                            # config.json
    bert = BERT(config)
    bert.load_state_dict(read_state(folder, config))        # model.safetensors
    tokenizer = read_tokenizer(folder, config)              # vocab.txt or tokenizer.json
    tokenizer.encode("three plus four").tokens              # [CLS], three, plus, four, [SEP]

Every error is one that names the file and all that is wrong with it.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from minigrad.files import CheckpointError, read_file
from minigrad.state import problems, report
from models.bert import BertConfig

Array = np.ndarray[Any, Any]

# config.json: the sizes by our names, and what a BERT must have besides
SIZES = {
    "vocabulary_size": "vocab_size",
    "d": "hidden_size",
    "layers": "num_hidden_layers",
    "heads": "num_attention_heads",
    "hidden": "intermediate_size",
    "positions": "max_position_embeddings",
    "types": "type_vocab_size",
}
REQUIRED = {"model_type": "bert", "hidden_act": "gelu", "position_embedding_type": "absolute"}

# model.safetensors: our names of the tensors of a block and of the rest; q, k and v are one of ours
PARTS = ("query", "key", "value")
IN_A_BLOCK = {
    "attention.heads.out_proj": "attention.output.dense",
    "attention_norm": "attention.output.LayerNorm",
    "ffn.0": "intermediate.dense",
    "ffn.2": "output.dense",
    "ffn_norm": "output.LayerNorm",
}
TABLES = {"words": "word", "positions": "position", "types": "token_type"}
HEADS = ("cls.", "classifier.")  # of other tasks, beside an encoder that is named "bert."
BUFFER = "embeddings.position_ids"  # 0, 1, 2 ..., which older files hold

SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")


# --- the sizes ------------------------------------------------------------------------------------
def read_config(folder: Path) -> BertConfig:
    """The sizes in config.json, without dropout. ValueError that names all that is wrong."""
    path = folder / "config.json"
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ValueError(f"{path}: no such file; expected a checkpoint of BERT") from None
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path}: expected JSON: {error}") from None
    if not isinstance(content, dict):
        raise ValueError(f"{path}: expected an object, got {type(content).__name__}")
    usual = {"position_embedding_type": "absolute", "layer_norm_eps": 1e-12}
    values: dict[str, Any] = {**usual, **content}
    wrong = [
        f"{name}: expected {wanted!r}, got {values.get(name)!r:.40}"
        for name, wanted in REQUIRED.items()
        if values.get(name) != wanted
    ]
    wrong += [
        f"{name}: expected a whole number, got {values.get(name)!r:.40}"
        for name in SIZES.values()
        if type(values.get(name)) is not int
    ]
    if not isinstance(eps := values["layer_norm_eps"], float):
        wrong.append(f"layer_norm_eps: expected a number, got {eps!r:.40}")
    if wrong:
        raise ValueError(f"{path}: {'; '.join(wrong)}")
    try:
        return BertConfig(**{ours: values[theirs] for ours, theirs in SIZES.items()}, eps=eps)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


# --- the weights ----------------------------------------------------------------------------------
def read_state(folder: Path, config: BertConfig, pooler: bool = True) -> dict[str, Array]:
    """The weights of a `BERT` of these sizes, by its names, from model.safetensors.

    Names may begin with "bert.", as they do where the encoder is a part of a model; the heads of
    that model are then left out. CheckpointError that lists every tensor that is missing, that is
    no part of a BERT, or has another shape or dtype.
    """
    path = folder / "model.safetensors"
    try:
        arrays, _ = read_file(path)
    except FileNotFoundError:
        raise ValueError(f"{path}: no such file; expected a checkpoint of BERT") from None
    if any(name.startswith("bert.") for name in arrays):
        arrays = {n.removeprefix("bert."): a for n, a in arrays.items() if not n.startswith(HEADS)}
    # in the first files layer norms have TensorFlow's names
    ends = {".gamma": ".weight", ".beta": ".bias"}
    given = {next((n.removesuffix(e) + w for e, w in ends.items() if n.endswith(e)), n): a
             for n, a in arrays.items() if n != BUFFER}  # fmt: skip
    if wrong := [*problems(expected(config, pooler), given)]:
        raise CheckpointError(report(str(path), wrong))
    return {
        ours: given[theirs[0]] if len(theirs) == 1 else np.concatenate([given[n] for n in theirs])
        for ours, theirs in names_of(config, pooler).items()
    }


def names_of(config: BertConfig, pooler: bool = True) -> dict[str, list[str]]:
    """By our name of a tensor, theirs: one, or three whose rows follow each other."""
    names = {
        f"embeddings.{ours}.weight": [f"embeddings.{theirs}_embeddings.weight"]
        for ours, theirs in TABLES.items()
    }
    for kind in ("weight", "bias"):
        names[f"embeddings.norm.{kind}"] = [f"embeddings.LayerNorm.{kind}"]
        for i in range(config.layers):
            block = f"encoder.layer.{i}"
            names[f"blocks.{i}.attention.heads.in_proj_{kind}"] = [
                f"{block}.attention.self.{part}.{kind}" for part in PARTS
            ]
            for ours, theirs in IN_A_BLOCK.items():
                names[f"blocks.{i}.{ours}.{kind}"] = [f"{block}.{theirs}.{kind}"]
        if pooler:
            names[f"pooler.{kind}"] = [f"pooler.dense.{kind}"]
    return names


def expected(config: BertConfig, pooler: bool) -> dict[str, Array]:
    """Arrays of the shapes that a file must have, by its names; each takes a number of memory."""
    c = config
    rows = {"words": c.vocabulary_size, "positions": c.positions, "types": c.types}
    shapes: dict[str, tuple[int, ...]] = {}
    for ours, theirs in names_of(config, pooler).items():
        outputs = c.hidden if ".ffn.0." in ours else c.d
        inputs = c.hidden if ".ffn.2." in ours else c.d
        table = ours.split(".")[1] if ours.startswith("embeddings") else ""
        matrix = ours.endswith("weight") and "norm" not in ours
        shape = (rows.get(table, outputs), inputs) if matrix else (outputs,)
        shapes |= dict.fromkeys(theirs, shape)
    return {name: np.broadcast_to(np.float32(0.0), shape) for name, shape in shapes.items()}


# --- the tokenizer --------------------------------------------------------------------------------
def read_tokenizer(folder: Path, config: BertConfig) -> Any:
    """WordPiece for lower-cased text, by the library `tokenizers`, without padding or truncation.

    From vocab.txt, a token a line, or else from tokenizer.json. ValueError for a vocabulary that
    does not fit the table of word embeddings, or lacks a special token.
    """
    try:
        import tokenizers
    except ImportError as error:
        raise ImportError(f"{error}: pip install 'minigrad[attention]'") from None
    path = folder / "vocab.txt"
    if path.exists():
        tokenizer = tokenizers.BertWordPieceTokenizer(vocabulary_of(path), lowercase=True)
    elif (path := folder / "tokenizer.json").exists():
        try:
            tokenizer = tokenizers.Tokenizer.from_str(path.read_text(encoding="utf-8"))
        except Exception as error:  # the library raises nothing more special
            raise ValueError(f"{path}: expected a tokenizer: {error}") from None
        tokenizer.no_padding()
        tokenizer.no_truncation()
    else:
        raise ValueError(f"{folder}: expected the vocabulary in vocab.txt or tokenizer.json")
    size, rows = tokenizer.get_vocab_size(), config.vocabulary_size
    if size != rows:
        raise ValueError(f"{path}: {size:,} tokens for a table of {rows:,} word embeddings")
    if missing := [token for token in SPECIAL if tokenizer.token_to_id(token) is None]:
        raise ValueError(f"{path}: no token {', '.join(missing)}")
    return tokenizer


def vocabulary_of(path: Path) -> dict[str, int]:
    """The tokens of a file, a token a line, and their numbers."""
    try:
        lines = path.read_text(encoding="utf-8").removesuffix("\n").split("\n")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: expected UTF-8, got another byte at {error.start}") from None
    ids = {token: i for i, token in enumerate(lines)}
    if len(ids) != len(lines) or "" in ids:
        raise ValueError(f"{path}: expected different tokens, one a line, none of them empty")
    if missing := [token for token in SPECIAL if token not in ids]:
        raise ValueError(f"{path}: no token {', '.join(missing)}")
    return ids
