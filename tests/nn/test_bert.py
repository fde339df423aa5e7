"""BERT against PyTorch, its counts, and checkpoints in Hugging Face's files: good ones and bad."""

import json
import os
from importlib.util import find_spec

import numpy as np
import pytest
import reference_bert as reference
import torch

import minigrad as mg
from experiments.data.minilm import MINILM, PACKAGE, checkpoint_folder
from minigrad.files import CheckpointError
from models import BERT, BertClassifier, BertConfig, BertForMaskedWords, count
from models.hugging_face import SPECIAL, names_of, read_config, read_state, read_tokenizer

SMALL = {"vocabulary_size": 23, "d": 12, "layers": 2, "heads": 3, "hidden": 20, "positions": 9}
CONFIG = BertConfig(**SMALL)
# Numbers of a gradient are sums over at most 7 * 9 positions of products of two factors, each of
# which is a sum of at most 36 terms, in a chain of two blocks of some ten ops: relative to the
# greatest of a tensor, fewer than 63 * 36 * 2 * 20 roundings of 2.2e-16 with random signs.
TOLERANCE = 63 * 36 * 2 * 20 * 2.2e-16

minilm = pytest.mark.skipif(
    not os.environ.get(MINILM.variable) and find_spec(PACKAGE) is None,
    reason=f"MiniLM: {MINILM.variable} names no folder, and {PACKAGE} is not installed",
)


# --- against PyTorch ------------------------------------------------------------------------------
def by_our_names(theirs, config, prefix=""):
    """Arrays by our names, from arrays by Hugging Face's below a prefix."""
    pooler = f"{prefix}pooler.dense.bias" in theirs
    return {
        f"{prefix}{ours}": np.concatenate([theirs[f"{prefix}{name}"] for name in names])
        for ours, names in names_of(config, pooler).items()
    }


def state_of(theirs, config):
    """The state of our model from PyTorch's, whose encoder is `bert`."""
    arrays = {name: value.detach().numpy() for name, value in theirs.items()}
    rest = {name: a for name, a in arrays.items() if not name.startswith("bert.")}
    return by_our_names(arrays, config, "bert.") | rest


def twins(kind, config=CONFIG):
    """Our model and PyTorch's in float64 with the same weights."""
    theirs = getattr(reference, kind.__name__)(config).double()
    for name, p in theirs.named_parameters():
        if name.endswith(("LayerNorm.weight", "norm.weight")):
            torch.nn.init.uniform_(p, 0.5, 1.5)
        else:
            torch.nn.init.normal_(p, 0.0, 0.4)
    ours = kind(config).astype(np.float64)
    ours.load_state_dict(state_of(theirs.state_dict(), config))
    return ours, theirs


def close(found, wanted, what):
    found, wanted = np.asarray(found), np.asarray(wanted)
    assert found.shape == wanted.shape, what
    assert np.abs(found - wanted).max() <= TOLERANCE * max(1e-3, np.abs(wanted).max()), what


def check_gradients(ours, theirs, config=CONFIG):
    found = {name: p.grad.numpy() for name, p in ours.named_parameters()}
    wanted = state_of({name: p.grad for name, p in theirs.named_parameters()}, config)
    assert found.keys() == wanted.keys()
    for name, gradient in wanted.items():
        close(found[name], gradient, name)


def sentences(rng):
    """Seven of up to nine tokens, padded with 0, and which are none."""
    real = np.arange(9) < np.array([9, 4, 1, 7, 9, 2, 5])[:, None]
    return rng.integers(1, 23, (7, 9)) * real, real


@pytest.mark.parametrize("padded", [True, False])
def test_the_encoder_and_the_classifier_agree_with_pytorch(padded, rng):
    """All hidden states, the pooled first token, logits, and every gradient."""
    ours, theirs = twins(BertClassifier)
    ids, real = sentences(rng)
    types, labels = rng.integers(0, 2, (7, 9)), rng.integers(0, 3, 7)
    ours_mask, mask = (mg.tensor(real), torch.tensor(real)) if padded else (None, None)
    for kinds in (None, types):
        states, pooled = ours.bert(
            mg.tensor(ids), ours_mask, None if kinds is None else mg.tensor(kinds)
        )
        wanted, first = theirs.bert(
            torch.tensor(ids), mask, None if kinds is None else torch.tensor(kinds)
        )
        assert len(states) == 3
        for i, (state, other) in enumerate(zip(states, wanted, strict=True)):
            close(state.detach().numpy(), other.detach(), f"state {i}")
        close(pooled.detach().numpy(), first.detach(), "pooled")
    states, again = ours.bert(mg.tensor(ids), ours_mask, mg.tensor(types), first=True)
    close(states[-1].detach().numpy(), wanted[-1][:, :1].detach(), "the first token")
    close(again.detach().numpy(), first.detach(), "pooled")
    logits, expected = ours(mg.tensor(ids), ours_mask), theirs(torch.tensor(ids), mask)
    close(logits.detach().numpy(), expected.detach(), "logits")
    mg.cross_entropy(logits, mg.tensor(labels)).backward()
    torch.nn.functional.cross_entropy(expected, torch.tensor(labels)).backward()
    check_gradients(ours, theirs)


def test_guessing_masked_words_agrees_with_pytorch(rng):
    """The table of words has gradients of what is read and of what is guessed."""
    ours, theirs = twins(BertForMaskedWords)
    ids, real = sentences(rng)
    places = np.array([0, 3, 9, 12, 40, 62])
    wanted = rng.integers(0, 23, 6)
    logits = ours(mg.tensor(ids), mg.tensor(places), mg.tensor(real))
    expected = theirs(torch.tensor(ids), torch.tensor(real)).flatten(0, 1)[places]
    close(logits.detach().numpy(), expected.detach(), "logits")
    mg.cross_entropy(logits, mg.tensor(wanted)).backward()
    torch.nn.functional.cross_entropy(expected, torch.tensor(wanted)).backward()
    check_gradients(ours, theirs)


def test_padding_changes_nothing(rng):
    ours, _ = twins(BertClassifier)
    ids, real = sentences(rng)
    other = np.where(real, ids, 22)  # another token, where padding was
    before, after = (ours(mg.tensor(i), mg.tensor(real)).detach().numpy() for i in (ids, other))
    np.testing.assert_array_equal(before, after)
    short = ours(mg.tensor(ids[1:2, :4])).detach().numpy()  # sums of fewer terms: rounding differs
    close(short, before[1:2], "without padding")


def test_dropout_acts_everywhere_and_in_training_only(rng):
    model = BertClassifier(BertConfig(**SMALL, dropout=0.5))
    ids, real = (mg.tensor(a) for a in sentences(rng))
    first, second = (model(ids, real).detach().numpy() for _ in range(2))
    assert np.abs(first - second).max() > 0
    model.eval()
    first, second = (model(ids, real).detach().numpy() for _ in range(2))
    np.testing.assert_array_equal(first, second)
    dropping = [name for name, m in model.named_modules() if getattr(m, "p", 0) == 0.5]
    assert dropping == [
        "bert.embeddings.dropout",
        *(f"bert.blocks.{i}.{part}" for i in range(2) for part in ("attention.dropout", "ffn.3")),
    ]
    assert all(b.attention.heads.dropout == 0.5 for b in model.bert.blocks)


def test_weights_start_small_and_norms_at_one():
    model = BertClassifier(BertConfig(vocabulary_size=500, d=64, layers=1, heads=4, hidden=96))
    for name, p in model.named_parameters():
        if p.ndim > 1:  # a deviation of n numbers is off by 1/√(2 n) of it
            spread = float(p.detach().numpy().std())
            assert abs(spread / 0.02 - 1) < 5 / (2 * p.size) ** 0.5, name
        else:
            assert set(p.tolist()) == {0.0 if name.endswith("bias") else 1.0}, name


@pytest.mark.parametrize(
    ("config", "wanted"),
    [
        (BertConfig(), 22_713_216),  # MiniLM's file, without its 512 numbers of positions
        (CONFIG, None),
        # BERT-base, as the paper's code has it
        (BertConfig(d=768, layers=12, hidden=3_072), 109_482_240),
    ],
)
def test_counts_by_formula_and_by_construction(config, wanted):
    model = BERT(config)
    assert model.count_parameters() == count.bert(config) == (wanted or model.count_parameters())


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"hidden": 0}, "hidden: expected at least 1, got 0"),
        ({"heads": 5}, "d: 12 cannot be divided among 5 heads"),
        ({"dropout": 1.0}, r"dropout: expected a rate in \[0, 1\), got 1.0"),
        ({"eps": 0.0}, "eps: expected more than 0, got 0.0"),
    ],
)
def test_sizes_that_no_model_has(settings, text):
    with pytest.raises(ValueError, match=text):
        BertConfig(**{**SMALL, **settings})


def test_a_text_that_is_too_long_or_has_an_unknown_id_is_one_clear_error():
    model = BERT(CONFIG)
    with pytest.raises(ValueError, match=r"positions: expected x .* T <= 9, got \(2, 10, 12\)"):
        model(mg.tensor(np.zeros((2, 10), dtype=np.int64)))
    with pytest.raises(IndexError, match="23"):
        model(mg.tensor(np.array([[0, 23]])))


# --- checkpoints ----------------------------------------------------------------------------------
def checkpoint(folder, arrays, **config):
    """A folder with Hugging Face's files."""
    folder.mkdir(exist_ok=True)
    about = {
        "model_type": "bert", "hidden_act": "gelu", "vocab_size": 23, "hidden_size": 12,
        "num_hidden_layers": 2, "num_attention_heads": 3, "intermediate_size": 20,
        "max_position_embeddings": 9, "type_vocab_size": 2, "layer_norm_eps": 1e-12,
    }  # fmt: skip
    (folder / "config.json").write_text(json.dumps({**about, **config}))
    mg.save(arrays, folder / "model.safetensors")
    return folder


def weights(prefix=""):
    """The float32 state of PyTorch's encoder under Hugging Face's names, and the encoder."""
    torch.manual_seed(0)
    theirs = reference.BERT(CONFIG)
    return {f"{prefix}{n}": v.numpy() for n, v in theirs.state_dict().items()}, theirs


def in_first_names(arrays):
    """As in the first files: TensorFlow's names of the layer norms, and the positions' numbers."""
    old = {n.replace("Norm.weight", "Norm.gamma").replace("Norm.bias", "Norm.beta"): a
           for n, a in arrays.items()}  # fmt: skip
    return old | {"embeddings.position_ids": np.arange(9)[None]}


HEADS = {"cls.predictions.bias": np.zeros(23, "f4"), "classifier.weight": np.zeros((3, 12), "f4")}
KINDS = {
    "an encoder": lambda: weights()[0],
    "the encoder of a model": lambda: weights("bert.")[0] | HEADS,
    "the first names": lambda: in_first_names(weights()[0]),
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_checkpoint_gives_the_model_that_it_was_made_of(kind, tmp_path, rng):
    folder = checkpoint(tmp_path / "model", KINDS[kind]())
    config = read_config(folder)
    assert config == CONFIG
    bert, theirs = BERT(config), weights()[1]
    bert.load_state_dict(read_state(folder, config))
    ids, real = sentences(rng)
    states, pooled = bert(mg.tensor(ids), mg.tensor(real))
    wanted, first = theirs(torch.tensor(ids), torch.tensor(real))
    # values of order one in float32; the chain of roundings is that of `TOLERANCE`, without the
    # sums over positions, of 1.2e-7 each
    for found, other in zip([*states, pooled], [*wanted, first], strict=True):
        np.testing.assert_allclose(
            found.detach().numpy(), other.detach(), atol=36 * 2 * 20 * 1.2e-7
        )


def test_all_that_does_not_fit_is_named_at_once(tmp_path):
    arrays, _ = weights()
    del arrays["encoder.layer.1.attention.self.key.bias"]
    arrays["encoder.layer.2.output.dense.bias"] = np.zeros(12, "f4")
    arrays["cls.predictions.bias"] = np.zeros(23, "f4")  # a head beside an encoder without prefix
    arrays["pooler.dense.weight"] = np.zeros((12, 11), "f4")
    arrays["embeddings.word_embeddings.weight"] = np.zeros((22, 12), "f4")
    arrays["embeddings.LayerNorm.bias"] = np.zeros(12, "f8")
    folder = checkpoint(tmp_path / "model", arrays)
    with pytest.raises(CheckpointError) as error:
        read_state(folder, read_config(folder))
    said = str(error.value)
    assert str(folder / "model.safetensors") in said
    assert "6 problem(s); nothing was changed" in said
    for line in (
        "missing:    encoder.layer.1.attention.self.key.bias",
        "unexpected: encoder.layer.2.output.dense.bias",
        "unexpected: cls.predictions.bias",
        "shape:      pooler.dense.weight expected (12, 12), got (12, 11)",
        "shape:      embeddings.word_embeddings.weight expected (23, 12), got (22, 12)",
        "dtype:      embeddings.LayerNorm.bias expected float32, got float64",
    ):
        assert line in said


def test_a_checkpoint_without_a_pooler_is_one_of_masked_words(tmp_path):
    arrays = {n: a for n, a in weights()[0].items() if not n.startswith("pooler")}
    folder = checkpoint(tmp_path / "model", arrays)
    BERT(CONFIG, pooler=False).load_state_dict(read_state(folder, CONFIG, pooler=False))
    with pytest.raises(CheckpointError, match=r"missing: +pooler\.dense\.weight"):
        read_state(folder, CONFIG)


def test_files_that_are_missing_or_damaged_are_named(tmp_path):
    with pytest.raises(ValueError, match=r"config\.json: no such file; expected a checkpoint"):
        read_config(tmp_path)
    with pytest.raises(ValueError, match=r"model\.safetensors: no such file"):
        read_state(tmp_path, CONFIG)
    folder = checkpoint(tmp_path, weights()[0])
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(CheckpointError, match="not a complete safetensors file"):
        read_state(folder, CONFIG)
    for text, said in (("{", "expected JSON"), ("[]", "expected an object, got list")):
        (folder / "config.json").write_text(text)
        with pytest.raises(ValueError, match=said):
            read_config(folder)


@pytest.mark.parametrize(
    ("config", "text"),
    [
        ({"model_type": "roberta"}, "model_type: expected 'bert', got 'roberta'"),
        ({"hidden_act": "relu"}, "hidden_act: expected 'gelu', got 'relu'"),
        ({"position_embedding_type": "relative_key"}, "position_embedding_type: expected"),
        ({"vocab_size": "23", "hidden_size": None}, "vocab_size: .* got '23'; hidden_size: "),
        ({"layer_norm_eps": "tiny"}, "layer_norm_eps: expected a number, got 'tiny'"),
        ({"num_attention_heads": 5}, r"config\.json: d: 12 cannot be divided among 5 heads"),
    ],
)
def test_another_kind_of_model_is_refused_by_its_config(config, text, tmp_path):
    folder = checkpoint(tmp_path, weights()[0], **config)
    with pytest.raises(ValueError, match=text) as error:
        read_config(folder)
    assert "\n" not in str(error.value)


# --- vocabularies ---------------------------------------------------------------------------------
WORDS = [*SPECIAL, "three", "plus", "fourteen", *"abcdefghijklmno"]


def with_vocabulary(folder, words=WORDS):
    text = words if isinstance(words, bytes) else ("\n".join(words) + "\n").encode()
    (folder / "vocab.txt").write_bytes(text)
    return folder


def test_text_is_cut_into_the_pieces_of_the_vocabulary(tmp_path):
    tokenizers = pytest.importorskip("tokenizers")
    assert len(WORDS) == 23
    pieces = [*WORDS[:-2], "##teen", "##s"]
    tokenizer = read_tokenizer(with_vocabulary(tmp_path, pieces), CONFIG)
    text = "Three plus threes?"
    wanted = ["[CLS]", "three", "plus", "three", "##s", "[UNK]", "[SEP]"]
    assert tokenizer.encode(text).tokens == wanted
    tokenizer.enable_padding(length=16)  # as some checkpoints have it
    tokenizer.enable_truncation(4)
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    (tmp_path / "vocab.txt").unlink()
    assert read_tokenizer(tmp_path, CONFIG).encode(text).tokens == wanted
    assert tokenizers.Tokenizer.from_file(str(tmp_path / "tokenizer.json")).encode(text).tokens != (
        wanted
    )


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (WORDS[:-1], r"vocab\.txt: 22 tokens for a table of 23 word embeddings"),
        ([*WORDS, "more"], "24 tokens for a table of 23"),
        (WORDS[1:2] + WORDS[3:], r"vocab\.txt: no token \[PAD\], \[CLS\]"),
        ([*WORDS[:-1], "three"], "expected different tokens, one a line"),
        ([*WORDS[:-1], "", "x"], "none of them empty"),
        (b"[PAD]\ncaf\xe9\n", "expected UTF-8, got another byte at 9"),
    ],
)
def test_a_vocabulary_that_does_not_fit_is_one_line(words, text, tmp_path):
    pytest.importorskip("tokenizers")
    with pytest.raises(ValueError, match=text) as error:
        read_tokenizer(with_vocabulary(tmp_path, words), CONFIG)
    assert "\n" not in str(error.value)


def test_without_a_vocabulary_or_with_a_broken_one_the_folder_is_named(tmp_path):
    pytest.importorskip("tokenizers")
    with pytest.raises(ValueError, match=r"expected the vocabulary in vocab\.txt or tokenizer"):
        read_tokenizer(tmp_path, CONFIG)
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(ValueError, match=r"tokenizer\.json: expected a tokenizer"):
        read_tokenizer(tmp_path, CONFIG)


# --- the real checkpoint --------------------------------------------------------------------------
@minilm
def test_hidden_states_of_minilm_are_those_of_pytorch():
    pytest.importorskip("tokenizers")
    folder = checkpoint_folder()
    config = read_config(folder)
    assert config == BertConfig()
    bert = BERT(config)
    bert.load_state_dict(read_state(folder, config))
    theirs = reference.BERT(config)
    file = mg.load(folder / "model.safetensors")
    theirs.load_state_dict(
        {n: torch.tensor(t.numpy()) for n, t in file.items() if n != "embeddings.position_ids"}
    )
    tokenizer = read_tokenizer(folder, config)
    texts = ["Eighteen minus nineteen.", "The encoder reads unbelievably long sentences, too!"]
    tokens = [tokenizer.encode(text).ids for text in texts]
    length = max(map(len, tokens))
    ids = np.array([t + [0] * (length - len(t)) for t in tokens])
    real = np.arange(length) < np.array([[len(t)] for t in tokens])
    with torch.no_grad(), mg.no_grad():
        states, pooled = bert(mg.tensor(ids), mg.tensor(real))
        wanted, first = theirs(torch.tensor(ids), torch.tensor(real))
    # float32: sums of at most 1,536 terms with random signs, √1536 ≈ 40 roundings of the greatest
    # value, in a chain of at most 6 blocks with four such sums
    for found, other in zip([*states, pooled], [*wanted, first], strict=True):
        at = real if found.ndim == 3 else ...
        a, b = found.numpy()[at], other.numpy()[at]
        assert np.abs(a - b).max() <= 40 * 24 * 1.2e-7 * np.abs(b).max()


def test_where_minilm_is_not_found_the_remedy_is_told(monkeypatch):
    monkeypatch.delenv(MINILM.variable, raising=False)
    monkeypatch.setattr("experiments.data.minilm.PACKAGE", "no_such_package")
    with pytest.raises(ValueError, match="no MiniLM: give its folder by --checkpoint or MINIGRAD"):
        checkpoint_folder()
