"""The classifier and the language model of speeches against PyTorch, and their parameter counts."""

import numpy as np
import pytest
import reference_models as reference
import torch

import minigrad as mg
from minigrad import nn
from models import SpeechClassifier, SpeechConfig, SpeechLanguageModel, count

SMALL = {"vocabulary_size": 23, "d": 12, "layers": 2, "heads": 2, "hidden": 20, "block": 9,
         "head": 10}  # fmt: skip
POSITIONS = ("learned", "alibi", "signed", "none")
# Numbers of a gradient are sums over at most 7 * 9 positions of products of two factors, each of
# which is a sum of at most 36 terms, in a chain of two blocks of some ten ops: relative to the
# greatest of a tensor, fewer than 63 * 36 * 2 * 20 roundings of 2.2e-16 with random signs.
TOLERANCE = 63 * 36 * 2 * 20 * 2.2e-16


def twins(kind, **settings):
    """Our model and PyTorch's in float64 with the same weights, and their names."""
    config = SpeechConfig(**{**SMALL, **settings})
    theirs = getattr(reference, kind.__name__)(config).double()
    names = reference.speech_names(theirs)
    for name, p in theirs.named_parameters():
        if name.endswith("norm.weight"):
            torch.nn.init.uniform_(p, 0.5, 1.5)
        else:
            torch.nn.init.normal_(p, 0.0, 0.4)
    ours = kind(config).astype(np.float64)
    ours.load_state_dict({names[n]: v.numpy() for n, v in theirs.state_dict().items()})
    return ours, theirs, names


def close(found, wanted, what):
    found, wanted = np.asarray(found), np.asarray(wanted)
    assert found.shape == wanted.shape, what
    assert np.abs(found - wanted).max() <= TOLERANCE * max(1e-3, np.abs(wanted).max()), what


def check_gradients(ours, theirs, names):
    found = {name: p.grad.numpy() for name, p in ours.named_parameters()}
    wanted = {names[name]: p.grad.numpy() for name, p in theirs.named_parameters()}
    assert found.keys() == wanted.keys()
    for name, gradient in wanted.items():
        close(found[name], gradient, name)


def sentences(rng):
    """Seven of up to nine words, padded with 0."""
    lengths = np.array([9, 4, 1, 7, 9, 2, 5])
    ids = rng.integers(2, 23, (7, 9)) * (np.arange(9) < lengths[:, None])
    return ids, lengths


@pytest.mark.parametrize("positions", POSITIONS)
@pytest.mark.parametrize(("attend", "pool"), [(a, p) for a in (True, False) for p in (True, False)])
@pytest.mark.parametrize("batch_norm", [False, True])
def test_the_classifier_agrees_with_pytorch_in_training(positions, attend, pool, batch_norm, rng):
    """Logits, attentions, every gradient, and what a batch norm remembers of a batch."""
    ours, theirs, names = twins(
        SpeechClassifier, positions=positions, attend_to_padding=attend, pool_padding=pool,
        batch_norm=batch_norm,
    )  # fmt: skip
    ids, lengths = sentences(rng)
    labels = rng.integers(0, 3, 7)
    logits, attentions = ours(mg.tensor(ids), mg.tensor(lengths), return_weights=True)
    expected, weights = theirs(torch.tensor(ids), torch.tensor(lengths))
    close(logits.detach().numpy(), expected.detach(), "logits")
    for found, wanted in zip(attentions, weights, strict=True):
        close(found.detach().numpy(), wanted.detach(), "attention")
    mg.cross_entropy(logits, mg.tensor(labels)).backward()
    torch.nn.functional.cross_entropy(expected, torch.tensor(labels)).backward()
    check_gradients(ours, theirs, names)
    if batch_norm:
        for buffer in ("running_mean", "running_var"):
            close(getattr(ours.norm, buffer).numpy(), getattr(theirs.norm, buffer), buffer)
        ours.eval(), theirs.eval()
        logits = ours(mg.tensor(ids), mg.tensor(lengths))
        expected, _ = theirs(torch.tensor(ids), torch.tensor(lengths))
        close(logits.detach().numpy(), expected.detach(), "logits in evaluation")


@pytest.mark.parametrize("positions", POSITIONS)
@pytest.mark.parametrize("hidden", [20, 7])
def test_the_language_model_agrees_with_pytorch(positions, hidden, rng):
    ours, theirs, names = twins(SpeechLanguageModel, positions=positions, hidden=hidden)
    ids, targets = rng.integers(0, 23, (2, 7, 9))
    logits, attentions = ours(mg.tensor(ids), return_weights=True)
    expected, weights = theirs(torch.tensor(ids))
    close(logits.detach().numpy(), expected.detach(), "logits")
    for found, wanted in zip(attentions, weights, strict=True):
        close(found.detach().numpy(), wanted.detach(), "attention")
    mg.cross_entropy(logits.reshape((-1, 23)), mg.tensor(targets.ravel())).backward()
    torch.nn.functional.cross_entropy(
        expected.flatten(0, 1), torch.tensor(targets.ravel())
    ).backward()
    check_gradients(ours, theirs, names)


def test_padding_that_is_not_looked_at_changes_nothing(rng):
    ours, _, _ = twins(SpeechClassifier, attend_to_padding=False, pool_padding=False)
    ids, lengths = sentences(rng)
    before = ours(mg.tensor(ids), mg.tensor(lengths)).detach().numpy()
    padded = np.where(np.arange(9) < lengths[:, None], ids, 22)  # another word, where padding was
    after = ours(mg.tensor(padded), mg.tensor(lengths)).detach().numpy()
    np.testing.assert_array_equal(before, after)
    seen, _, _ = twins(SpeechClassifier)
    assert np.abs(
        (seen(mg.tensor(ids), mg.tensor(lengths)) - seen(mg.tensor(padded), mg.tensor(lengths)))
        .detach().numpy()
    ).max() > 1e-3  # fmt: skip


def test_texts_longer_than_the_block_need_a_model_without_learned_positions(rng):
    ids = mg.tensor(rng.integers(0, 23, (2, 15)))
    for positions in ("alibi", "none"):
        assert twins(SpeechLanguageModel, positions=positions)[0](ids).shape == (2, 15, 23)
    with pytest.raises(ValueError, match="T <= 9, got"):
        twins(SpeechLanguageModel)[0](ids)


def test_weights_start_small_and_norms_at_one():
    model = SpeechClassifier(SpeechConfig(batch_norm=True))
    for name, p in model.named_parameters():
        if p.ndim > 1:  # at least 300 numbers; a deviation of n numbers is off by 1/√(2 n) of it
            spread = float(p.detach().numpy().std())
            assert abs(spread / 0.02 - 1) < 5 / (2 * p.size) ** 0.5, name
        else:
            assert set(p.tolist()) == {0.0 if name.endswith("bias") else 1.0}, name


def test_dropout_acts_in_training_only(rng):
    model = SpeechClassifier(SpeechConfig(**SMALL, dropout=0.5))
    ids, lengths = map(mg.tensor, sentences(rng))
    first, second = (model(ids, lengths).detach().numpy() for _ in range(2))
    assert np.abs(first - second).max() > 0
    model.eval()
    first, second = (model(ids, lengths).detach().numpy() for _ in range(2))
    np.testing.assert_array_equal(first, second)
    kinds = {type(m).__name__ for _, m in model.named_modules() if getattr(m, "p", 0) == 0.5}
    assert kinds == {"Dropout"}
    assert all(b.attention.heads.dropout == 0.5 for b in model.trunk.blocks)


# --- counts ---------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("kind", "settings", "wanted"),
    [
        (SpeechClassifier, {}, 576_339),
        (SpeechClassifier, {"batch_norm": True}, 576_539),
        (SpeechClassifier, {"positions": "alibi"}, 574_291),
        (SpeechClassifier, {"positions": "none"}, 574_291),
        (SpeechLanguageModel, {}, 943_611),
        (SpeechLanguageModel, {"hidden": 100}, 863_115),
        (SpeechLanguageModel, {"positions": "alibi"}, 941_563),
    ],
)
def test_counts_are_those_of_the_seed_by_formula_and_by_construction(kind, settings, wanted):
    config = SpeechConfig(**settings)
    vocabulary = config.vocabulary_size
    last = (
        count.speech_head(config) if kind is SpeechClassifier
        else count.classifier(config.d, vocabulary)
    )  # fmt: skip
    assert count.speech_trunk(config) + last == wanted
    assert kind(config).count_parameters() == wanted


@pytest.mark.parametrize("model", ["speech-classifier", "speech-language-model"])
def test_the_count_command_derives_them(model, capsys):
    count.main(["--model", model])
    text = capsys.readouterr().out
    wanted = {
        "speech-classifier": ("576,339", "576,539", "574,291", "49,792", "Erratum"),
        "speech-language-model": ("943,611", "863,115", "941,563"),
    }
    for number in wanted[model]:
        assert number in text


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"block": 0}, "block: expected at least 1, got 0"),
        ({"d": 63}, "d: 63 cannot be divided among 2 heads"),
        ({"dropout": 1.0}, r"dropout: expected a rate in \[0, 1\), got 1.0"),
        ({"positions": "sinusoidal"}, "positions: expected 'learned' or 'alibi' or 'signed'"),
        ({"attention_drops": "all"}, "attention_drops: expected 'weights and output' or"),
    ],
)
def test_sizes_that_no_model_has(settings, text):
    with pytest.raises(ValueError, match=text):
        SpeechConfig(**settings)


# --- the attention that they are made of ----------------------------------------------------------
def test_attention_without_a_bias_or_without_an_output_projection(rng):
    plain = nn.MultiHeadAttention(8, 2, bias=False, out_bias=True)
    assert {n for n, _ in plain.named_parameters()} == {
        "in_proj_weight", "out_proj.weight", "out_proj.bias",
    }  # fmt: skip
    bare = nn.MultiHeadAttention(8, 2, out_proj=False).astype(np.float64)
    assert {n for n, _ in bare.named_parameters()} == {"in_proj_weight", "in_proj_bias"}
    whole = nn.MultiHeadAttention(8, 2).astype(np.float64)
    state = whole.state_dict()
    bare.load_state_dict({n: state[n] for n in ("in_proj_weight", "in_proj_bias")})
    x = mg.tensor(rng.standard_normal((3, 5, 8)))
    np.testing.assert_array_equal(
        whole.out_proj(bare(x, causal=True)).detach().numpy(),
        whole(x, causal=True).detach().numpy(),
    )
