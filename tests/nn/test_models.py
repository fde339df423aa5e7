"""The LSTM language model and the GPT against PyTorch, and the parameter counts."""

import math
import re

import numpy as np
import pytest
import reference_models as reference
import torch

import minigrad as mg
from experiments.data import modular
from experiments.grokking import objective
from minigrad import nn, optim
from models import GPT, GPTConfig, LSTMConfig, LSTMLanguageModel, count

EPS = np.finfo(np.float64).eps
MODELS = ["lstm", "gpt"]


def configuration(kind, words, layers=2, d=16):
    pad = words.index("PAD")
    if kind == "lstm":
        return LSTMConfig(len(words), d, d + 8, layers, padding_id=pad)
    return GPTConfig(len(words), d, layers, heads=4, max_length=8, padding_id=pad)


def pair(kind, words, **sizes):
    """Our model and PyTorch's in float64 with the same weights."""
    config = configuration(kind, words, **sizes)
    ours = (LSTMLanguageModel if kind == "lstm" else GPT)(config).astype(np.float64)
    theirs = getattr(reference, type(ours).__name__)(config).double()
    return ours, theirs


def equations(n=24):
    """Binary and ternary equations mixed, so that inputs and right-hand sides hold PAD."""
    data = modular.make(5, "+", (2, 3), seed=1)
    binary, ternary = (np.flatnonzero(data.order == k)[: n // 2] for k in (2, 3))
    return data.take(np.concatenate([binary, ternary]))


def load_theirs(ours, theirs):
    ours.load_state_dict(reference.trained_state(theirs))


def tolerance(expected):
    """Rounding of a gradient entry, relative to the greatest of its tensor.

    It is a sum over B S = 24 * 8 positions of products with two factors, each a sum of at most
    4 d = 64 terms: fewer than 192 * 2 * 64 rounded operations, each off by at most eps.
    """
    return 192 * 2 * 64 * EPS * max(1e-3, float(abs(expected).max()))


# --- against PyTorch ----------------------------------------------------------------------------
@pytest.mark.parametrize("kind", MODELS)
def test_outputs_loss_and_every_gradient_agree_with_pytorch(kind):
    data = equations()
    ours, theirs = pair(kind, data.vocabulary)
    load_theirs(ours, theirs)
    batch = objective.batch_of(data, dtype=np.float64)
    ids = torch.tensor(data.inputs)

    logits, expected = ours(mg.tensor(data.inputs)), theirs(ids)
    wanted = expected.detach().numpy()
    np.testing.assert_allclose(logits.detach().numpy(), wanted, rtol=0, atol=tolerance(wanted))
    loss = objective.loss(ours(batch.ids, start=batch.start), batch)
    expected_loss = reference.rhs_loss(expected, data.targets, data.rhs)
    assert loss.item() == pytest.approx(expected_loss.item(), rel=192 * 2 * 64 * EPS)

    loss.backward()
    expected_loss.backward()
    wanted = {n: p.grad.numpy() for n, p in theirs.named_parameters() if p.requires_grad}
    found = {name: p.grad.numpy() for name, p in ours.named_parameters()}
    assert found.keys() == wanted.keys()
    for name, gradient in wanted.items():
        assert np.abs(found[name] - gradient).max() <= tolerance(gradient), name


@pytest.mark.parametrize("kind", MODELS)
def test_twenty_steps_of_clipped_adamw_agree_with_pytorch(kind):
    data = equations()
    ours, theirs = pair(kind, data.vocabulary)
    load_theirs(ours, theirs)
    batch = objective.batch_of(data, dtype=np.float64)
    mine = optim.AdamW(ours.parameters(), lr=1e-3, weight_decay=1.0)
    trained = [p for p in theirs.parameters() if p.requires_grad]
    adamw = torch.optim.AdamW(trained, lr=1e-3, weight_decay=1.0)
    clipped = 0
    for _ in range(20):
        mine.zero_grad()
        objective.loss(ours(batch.ids, start=batch.start), batch).backward()
        clipped += optim.clip_grad_norm(ours.parameters(), 0.1).item() > 0.1
        mine.step()
        adamw.zero_grad()
        reference.rhs_loss(theirs(torch.tensor(data.inputs)), data.targets, data.rhs).backward()
        torch.nn.utils.clip_grad_norm_(trained, 0.1)
        adamw.step()
    assert clipped  # or the test would not see clipping
    # An update lr m / (√v + 1e-8) turns a rounding error δ of the gradient into at most
    # lr δ / 1e-8. Gradients are at most 0.1 and their errors, of random sign over n = 192 * 2 * 64
    # operations, about √n eps: in 20 steps 20 * 1e-3 * √n eps / 1e-8.
    bound = 20 * 1e-3 * 0.1 * math.sqrt(192 * 2 * 64) * EPS / 1e-8
    wanted = reference.trained_state(theirs)
    for name, value in ours.state_dict().items():
        assert np.abs(value - wanted[name].numpy()).max() <= bound, name


@pytest.mark.parametrize("kind", MODELS)
def test_state_dict_loads_into_pytorch(kind):
    words = modular.vocabulary(5, "+")
    ours, theirs = pair(kind, words)
    state = {name: torch.tensor(value) for name, value in ours.state_dict().items()}
    missing, unexpected = theirs.load_state_dict(state, strict=False)
    assert unexpected == []
    assert all("bias_hh" in name for name in missing)
    ids = equations().inputs
    expected = theirs(torch.tensor(ids)).detach().numpy()
    np.testing.assert_allclose(
        ours(mg.tensor(ids)).detach().numpy(), expected, rtol=0, atol=tolerance(expected)
    )


@pytest.mark.parametrize("exponent", ["vaswani", "halved"])
def test_gpt_hidden_states_and_attentions_agree_with_pytorch(exponent):
    data = equations()
    config = GPTConfig(len(data.vocabulary), 16, 3, exponent=exponent)
    ours, theirs = GPT(config).astype(np.float64), reference.GPT(config).double()
    load_theirs(ours, theirs)
    logits, hidden, attentions = ours(mg.tensor(data.inputs), return_hidden=True)
    expected = theirs(torch.tensor(data.inputs), return_hidden=True)
    assert len(hidden) == 3 + 1
    assert attentions.shape == (24, 3, 4, 8, 8)
    pairs = [
        (logits, expected[0]),
        *zip(hidden, expected[1], strict=True),
        (attentions, expected[2]),
    ]
    for found, wanted in pairs:
        wanted = wanted.detach().numpy()
        assert np.abs(found.detach().numpy() - wanted).max() <= tolerance(wanted)


# --- positions, hidden states -------------------------------------------------------------------
@pytest.mark.parametrize("kind", MODELS)
@pytest.mark.parametrize("start", [0, 3, 7])
def test_start_leaves_out_earlier_positions_and_changes_nothing_else(kind, start):
    data = equations()
    ours, _ = pair(kind, data.vocabulary)
    ids = mg.tensor(data.inputs)
    cotangent = mg.tensor(np.random.default_rng(0).standard_normal((24, 8 - start, 10)))
    found = []
    for logits in (lambda: ours(ids)[:, start:], lambda: ours(ids, start=start)):
        ours.zero_grad()
        y = logits()
        y.backward(cotangent)
        found.append([y.detach().numpy(), *(p.grad.numpy() for p in ours.parameters())])
    for whole, part in zip(*found, strict=True):
        assert np.abs(whole - part).max() <= tolerance(whole)


def test_gpt_attention_rows_sum_to_one_and_see_no_future():
    data = equations()
    gpt, _ = pair("gpt", data.vocabulary)
    _, hidden, attentions = gpt(mg.tensor(data.inputs), return_hidden=True)
    weights = attentions.detach().numpy()
    np.testing.assert_allclose(weights.sum(axis=-1), 1, rtol=0, atol=2 * 8 * EPS)  # 8 terms
    assert not np.triu(weights, 1).any()
    embedded = gpt.positions(gpt.embedding(mg.tensor(data.inputs)))
    assert np.array_equal(hidden[0].detach().numpy(), embedded.detach().numpy())


@pytest.mark.parametrize("kind", MODELS)
def test_prediction_does_not_depend_on_the_future(kind):
    data = equations()
    ours, _ = pair(kind, data.vocabulary)
    changed = data.inputs.copy()
    changed[:, 5:] = (changed[:, 5:] + 1) % len(data.vocabulary)
    a, b = (ours(mg.tensor(ids)).detach().numpy() for ids in (data.inputs, changed))
    assert np.array_equal(a[:, :5], b[:, :5])
    assert not np.array_equal(a[:, 5:], b[:, 5:])


def test_lstm_returns_hidden_states():
    data = equations()
    lstm, theirs = pair("lstm", data.vocabulary)
    load_theirs(lstm, theirs)
    logits, hidden, (h, c) = lstm(mg.tensor(data.inputs), start=2, return_hidden=True)
    assert (logits.shape, hidden.shape) == ((24, 6, 10), (24, 8, 24))
    _, (wanted_h, wanted_c) = theirs.lstm(theirs.embedding(torch.tensor(data.inputs)))
    for found, wanted in ((h, wanted_h), (c, wanted_c)):
        wanted = wanted.detach().numpy()
        assert np.abs(found.detach().numpy() - wanted).max() <= tolerance(wanted)
    assert np.array_equal(hidden.detach().numpy()[:, -1], h.detach().numpy()[-1])


# --- initialization -----------------------------------------------------------------------------
def test_lstm_starts_xavier_uniform_per_gate_with_zero_biases():
    lstm = LSTMLanguageModel(LSTMConfig(d=32, d_hidden=64, layers=2))
    for layer, d_x in enumerate((32, 64)):
        bound = math.sqrt(6 / (d_x + 64 + 64))
        for kind in ("ih", "hh"):
            w = getattr(lstm.lstm, f"weight_{kind}_l{layer}").detach().numpy()
            # n uniform draws reach beyond (1 - 20/n) of the bound but for a chance of e^-20
            assert (1 - 20 / w.size) * bound < np.abs(w).max() <= bound * (1 + 2**-23)
            # the mean square has a standard error of bound²/3 * √(4/5n); 6 of them
            assert np.mean(w**2) == pytest.approx(bound**2 / 3, rel=6 * math.sqrt(0.8 / w.size))
        assert not getattr(lstm.lstm, f"bias_ih_l{layer}").detach().numpy().any()
    assert not any("bias_hh" in name for name, _ in lstm.named_parameters())


def test_gpt_attention_starts_like_linear_layers():
    gpt = GPT(GPTConfig(d=64))
    for name, p in gpt.blocks[0].attention.named_parameters():
        w = p.detach().numpy()
        assert (1 - 20 / w.size) / 8 < np.abs(w).max() <= 1 / 8 * (1 + 2**-23), name


@pytest.mark.parametrize("kind", MODELS)
def test_padding_stays_exactly_zero_in_training(kind):
    data = equations()
    words = data.vocabulary
    model, _ = pair(kind, words)
    before = model.embedding.weight.detach().numpy().copy()
    batch = objective.batch_of(data, dtype=np.float64)
    optimizer = optim.AdamW(model.parameters(), lr=1e-2, weight_decay=1.0)
    for _ in range(3):
        optimizer.zero_grad()
        objective.loss(model(batch.ids, start=batch.start), batch).backward()
        optimizer.step()
    after = model.embedding.weight.detach().numpy()
    pad = words.index("PAD")
    assert (data.inputs == pad).any()
    assert not after[pad].any()
    assert (after[:pad] != before[:pad]).any(axis=1).all()


def test_configurations_refuse_what_cannot_be_built():
    for config, name in (
        (lambda: LSTMConfig(layers=0), "layers"),
        (lambda: GPTConfig(d=0), "d"),
        (lambda: GPTConfig(d=10, heads=4), "heads"),
        (lambda: GPTConfig(d=9, heads=3), "even"),
    ):
        with pytest.raises(ValueError, match=name):
            config()


# --- parameter counts -----------------------------------------------------------------------------
# (layers, d): LSTM without embedding, with it; GPT without, with; V = 36, m = 4
TABLE = {
    (1, 64): (35_364, 37_668, 52_004, 54_308),
    (1, 128): (136_228, 140_836, 202_276, 206_884),
    (1, 256): (534_564, 543_780, 797_732, 806_948),
    (2, 64): (68_388, 70_692, 101_668, 103_972),
    (2, 128): (267_812, 272_420, 399_908, 404_516),
    (2, 256): (1_059_876, 1_069_092, 1_586_212, 1_595_428),
    (3, 64): (101_412, 103_716, 151_332, 153_636),
    (3, 128): (399_396, 404_004, 597_540, 602_148),
    (3, 256): (1_585_188, 1_594_404, 2_374_692, 2_383_908),
}


@pytest.mark.parametrize(("layers", "d"), TABLE)
def test_parameters_of_every_size_of_the_scaling_experiment_are_those_of_the_table(layers, d):
    lstm, gpt = LSTMConfig(36, d, d, layers), GPTConfig(36, d, layers)
    found = [count.count_parameters(c, embeddings=e) for c in (lstm, gpt) for e in (False, True)]
    assert tuple(found) == TABLE[layers, d]


@pytest.mark.parametrize(("layers", "d"), [(1, 8), (2, 12), (3, 64)])
def test_counts_are_those_of_real_models(layers, d):
    for model in (
        LSTMLanguageModel(LSTMConfig(19, d, d + 4, layers)),
        GPT(GPTConfig(19, d, layers, multiplier=3)),
    ):
        real = sum(p.size for p in model.parameters())
        assert count.count_parameters(model.config) == real == model.count_parameters()
        without = real - model.embedding.weight.size
        assert count.count_parameters(model.config, embeddings=False) == without


@pytest.mark.parametrize("bias", [True, False])
def test_formulas_of_the_layers_count_the_parameters_of_real_ones(bias):
    lstm = nn.LSTM(12, 20, 3, bias=bias, recurrent_bias=False)
    assert count.lstm_core(12, 20, 3, bias) == lstm.count_parameters()
    assert count.attention(20, bias) == nn.MultiHeadAttention(20, 5, bias=bias).count_parameters()
    # question 2.10: blocks differ from ours in the biases of attention alone
    gpt = GPT(GPTConfig(19, 20, 3))
    biases = sum(
        p.size for n, p in gpt.blocks.named_parameters() if re.search("attention.*bias", n)
    )
    biases -= 3 * 20  # that of the layer norm
    real = gpt.blocks.count_parameters() - (0 if bias else biases)
    assert count.decoder(20, 3, 4, bias) == real


def test_count_command_prints_the_derivation(capsys):
    count.main(["--model", "lstm"])
    lstm = capsys.readouterr().out
    count.main(["--model", "gpt", "--d", "128", "--layers", "2"])
    gpt = capsys.readouterr().out
    for number in ("263,168", "262,144", "267,812", "272,420", "115,712", "1.3", "Erratum"):
        assert number in lstm
    for number in ("66,048", "65,536", "395,264", "394,240", "399,908", "404,516", "2.6", "2.10"):
        assert number in gpt


@pytest.mark.parametrize(
    ("args", "numbers"),
    [
        (["bert"], ("22,713,216", "10,646,784")),
        (["encoder-decoder"], ("143,070", "49,920", "87,360")),
        (["decoder-only", "--d", "128", "--layers", "4"], ("268,062", "271,902")),
    ],
)
def test_count_command_derives_the_models_of_seed_004(args, numbers, capsys):
    count.main(["--model", *args])
    derived = capsys.readouterr().out
    assert all(number in derived for number in numbers)


@pytest.mark.parametrize(
    "args",
    [
        ["--model", "rnn"],
        ["--model", "gpt", "--layers", "0"],
        ["--model", "gpt", "--d", "3"],
        ["--mod", "gpt"],
        [],
    ],
)
def test_count_command_refuses_in_one_line(args, capsys):
    with pytest.raises(SystemExit) as stop:
        count.main(args)
    assert stop.value.code == 2
    assert len(capsys.readouterr().err.splitlines()) == 1
