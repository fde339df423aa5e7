"""The two translators against PyTorch, their parameter counts, and greedy decoding."""

import numpy as np
import pytest
import reference_translation as reference
import torch

import minigrad as mg
from models import DecoderOnly, EncoderDecoder, TranslationConfig, count
from models.translation import greedy

SMALL = TranslationConfig(vocabulary_size=11, d=8, layers=2, max_length=40)
KINDS = {"EncoderDecoder": EncoderDecoder, "DecoderOnly": DecoderOnly}
# A number of a gradient is a sum over at most 5 * 7 positions of products of two factors, each a
# sum of at most 11 terms, in a chain of four blocks of some ten ops: relative to the greatest of a
# tensor, fewer than 35 * 11 * 2 * 40 roundings of 2.2e-16.
TOLERANCE = 35 * 11 * 2 * 40 * 2.2e-16


def twins(name):
    theirs = getattr(reference, name)(SMALL).double()
    for p in theirs.parameters():
        torch.nn.init.normal_(p, 0.0, 0.4)
    model = KINDS[name](SMALL).astype(np.float64)
    # the table of positions is computed in float64 and rounded to float32: here it is not
    model.positions.table = mg.tensor(reference.positions(40, SMALL.d).numpy())
    model.load_state_dict(reference.ours(theirs, theirs.state_dict()))
    return model, theirs


def inputs(name, rng):
    ids = [rng.integers(0, 11, (5, 6)), rng.integers(0, 11, (5, 7))]
    return ids if name == "EncoderDecoder" else ids[1:]


def close(found, wanted, what):
    found, wanted = np.asarray(found), np.asarray(wanted)
    assert found.shape == wanted.shape, what
    assert np.abs(found - wanted).max() <= TOLERANCE * max(1e-3, np.abs(wanted).max()), what


@pytest.mark.parametrize("name", KINDS)
def test_logits_attentions_and_every_gradient_agree_with_pytorch(name, rng):
    model, theirs = twins(name)
    ids = inputs(name, rng)
    logits, attentions = model(*map(mg.tensor, ids), return_weights=True)
    expected, weights = theirs(*map(torch.tensor, ids))
    close(logits.detach().numpy(), expected.detach(), "logits")
    close(model(*map(mg.tensor, ids)).detach().numpy(), expected.detach(), "without weights")
    if name == "DecoderOnly":
        attentions, weights = {"decoder": attentions}, {"decoder": weights}
    assert attentions.keys() == weights.keys()
    for kind, of_kind in weights.items():
        for ours, wanted in zip(attentions[kind], of_kind, strict=True):
            close(ours.detach().numpy()[:, 0], wanted.detach(), kind)
    cotangent = rng.normal(size=expected.shape)
    (logits * mg.tensor(cotangent)).sum().backward()
    (expected * torch.tensor(cotangent)).sum().backward()
    wanted = reference.ours(theirs, {n: p.grad for n, p in theirs.named_parameters()})
    found = {n: p.grad.numpy() for n, p in model.named_parameters()}
    assert found.keys() == wanted.keys()
    for parameter, gradient in wanted.items():
        close(found[parameter], gradient, parameter)


@pytest.mark.parametrize("d", [16, 32, 128])
@pytest.mark.parametrize("layers", [3, 4])
def test_the_counts_are_those_of_real_models(d, layers):
    config = TranslationConfig(d=d, layers=layers)
    decoder = DecoderOnly(config).count_parameters()
    assert decoder - 30 * d == count.translation_decoder(d, layers, 30)
    assert EncoderDecoder(config).count_parameters() == count.encoder_decoder(d, layers, 30)
    if layers == 4:
        assert count.translation_decoder(d, 4, 30) == 16 * d * d + 46 * d + 30  # of the seed


def readers(model, source, cached):
    """A reader of each kind, and what it begins with."""
    if isinstance(model, EncoderDecoder):
        return model.reader(source, cached=cached), np.full((len(source), 1), 3)
    return model.reader(cached=cached), source.numpy()


@pytest.mark.parametrize("name", KINDS)
def test_greedy_decoding_gives_the_same_with_and_without_a_cache(name, rng):
    model, _ = twins(name)
    source = mg.tensor(rng.integers(0, 11, (5, 6)))
    for end in range(11):  # some row ends early with one of them
        both = []
        for cached in (True, False):
            read, first = readers(model, source, cached)
            both.append(greedy(read, first, end, limit=9))
        np.testing.assert_array_equal(*both)
        for row in both[0]:
            after = row[np.argmax(row == end) :] if end in row else row[:0]
            assert (after == end).all()


@pytest.mark.parametrize("name", KINDS)
def test_the_cached_logits_are_those_of_the_whole_sequence(name, rng):
    model, _ = twins(name)
    source, target = (mg.tensor(rng.integers(0, 11, (5, n))) for n in (6, 7))
    whole = model(source, target) if name == "EncoderDecoder" else model(target)
    read, _ = readers(model, source, cached=True)
    parts = [read(target[:, i:j]).detach().numpy() for i, j in ((0, 3), (3, 4), (4, 7))]
    close(np.concatenate(parts, axis=1), whole.detach().numpy(), "logits")


@pytest.mark.parametrize(
    ("sizes", "problem"),
    [
        ({"d": 7}, "d: sinusoidal positions need an even number, got 7"),
        ({"layers": 0}, "layers: expected at least 1, got 0"),
    ],
)
def test_impossible_sizes_are_refused(sizes, problem):
    with pytest.raises(ValueError, match=problem):
        TranslationConfig(**sizes)


def test_a_sequence_longer_than_the_table_of_positions_is_refused():
    with pytest.raises(ValueError, match=r"T <= 40, got \(1, 41, 8\)"):
        DecoderOnly(SMALL)(mg.tensor(np.zeros((1, 41), dtype=int)))
    with pytest.raises(ValueError, match=r"T <= 1 from position 39 on, got \(1, 2, 8\)"):
        DecoderOnly(SMALL).positions(mg.zeros((1, 2, 8)), 39)
