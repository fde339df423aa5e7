"""The models of seed 002 against PyTorch, their frozen tables and their parameter counts."""

import numpy as np
import pytest
import reference_tied as reference
import torch

import minigrad as mg
from models import TiedGPT, TiedGPTConfig, TiedLSTM, TiedLSTMConfig, count

LSTM = {"vocabulary_size": 23, "d": 12, "hidden": 10}
GPT = {"vocabulary_size": 23, "d": 12, "heads": 3, "hidden": 20, "length": 9}
# Numbers of a gradient are sums over at most 5 * 9 positions of products of two factors, each of
# which is a sum of at most 36 terms, in a chain of two layers of some ten ops (in the LSTM 9 steps
# of two layers): relative to the greatest of a tensor, fewer than 45 * 36 * 2 * 20 roundings of
# 2.2e-16 with random signs.
TOLERANCE = 45 * 36 * 2 * 20 * 2.2e-16


def twins(kind, config):
    """Our model and PyTorch's in float64 with the same weights."""
    theirs = getattr(reference, kind.__name__)(config).double()
    for name, p in theirs.named_parameters():
        if p.ndim == 1 and "norm" in name and name.endswith("weight"):
            torch.nn.init.uniform_(p, 0.5, 1.5)
        else:
            torch.nn.init.normal_(p, 0.0, 0.4)
    ours = kind(config).astype(np.float64)
    state = theirs.state_dict().items()
    ours.load_state_dict({reference.our_name(n): v.numpy() for n, v in state})
    return ours, theirs


@pytest.mark.parametrize(
    ("kind", "config"),
    [
        (TiedLSTM, TiedLSTMConfig(**LSTM)),
        (TiedLSTM, TiedLSTMConfig(**LSTM, layers=2)),
        (TiedGPT, TiedGPTConfig(**GPT)),
        (TiedGPT, TiedGPTConfig(**GPT, layers=2)),
        (TiedGPT, TiedGPTConfig(**GPT, layers=2, pre_norm=True)),
    ],
)
def test_outputs_and_every_gradient_agree_with_pytorch(kind, config, rng):
    ours, theirs = twins(kind, config)
    ids = rng.integers(0, 23, (5, 9))
    cotangent = rng.standard_normal((5, 9, 23))

    logits, expected = ours(mg.tensor(ids)), theirs(torch.tensor(ids))
    wanted = expected.detach().numpy()
    np.testing.assert_allclose(
        logits.detach().numpy(), wanted, rtol=0, atol=TOLERANCE * np.abs(wanted).max()
    )
    mg.sum(logits * mg.tensor(cotangent)).backward()
    (expected * torch.tensor(cotangent)).sum().backward()
    found = {n: p.grad.numpy() for n, p in ours.named_parameters() if p.requires_grad}
    gradients = {
        reference.our_name(n): p.grad.numpy()
        for n, p in theirs.named_parameters()
        if p.requires_grad
    }
    assert found.keys() == gradients.keys()
    for name, gradient in gradients.items():
        atol = TOLERANCE * max(1e-3, np.abs(gradient).max())
        np.testing.assert_allclose(found[name], gradient, rtol=0, atol=atol, err_msg=name)


@pytest.mark.parametrize(
    ("kind", "config"), [(TiedLSTM, TiedLSTMConfig(**LSTM)), (TiedGPT, TiedGPTConfig(**GPT))]
)
def test_the_tables_are_not_trained_and_weights_start_as_pytorch_has_them(kind, config):
    mg.random.seed(0)
    model = kind(config)
    frozen = {n for n, p in model.named_parameters() if not p.requires_grad}
    tables = {"embedding.weight"} | ({"positions.weight"} if kind is TiedGPT else set())
    assert frozen == tables
    fan_in = {"ffn.2": 20, "decoder": 10, "lstm": 10}  # d = 12 for all others
    for name, p in model.named_parameters():
        if name in tables or "norm" in name:
            continue
        bound = next((n for part, n in fan_in.items() if part in name), 12) ** -0.5
        largest = np.abs(p.detach().numpy()).max()
        assert 0.5 * bound < largest <= bound, name
    model(mg.tensor([[1, 2, 3]])).sum().backward()
    assert all((p.grad is None) == (n in tables) for n, p in model.named_parameters())


@pytest.mark.parametrize("kind", [TiedLSTM, TiedGPT])
def test_dropout_acts_in_training_only_and_places_see_only_those_before(kind, rng):
    config = TiedLSTMConfig(**LSTM, layers=2, dropout=0.3) if kind is TiedLSTM else TiedGPTConfig(
        **GPT, layers=2, dropout=0.3)  # fmt: skip
    model = kind(config)
    ids = rng.integers(0, 23, (2, 9))
    other = ids.copy()
    other[:, 5:] = (ids[:, 5:] + 1) % 23
    x = mg.tensor(ids)
    assert not np.array_equal(model(x).detach().numpy(), model(x).detach().numpy())
    model.eval()
    with mg.no_grad():
        before, after, again = (model(t).numpy() for t in (x, mg.tensor(other), x))
    np.testing.assert_array_equal(before, again)
    np.testing.assert_allclose(before[:, :5], after[:, :5], rtol=0, atol=1e-6 * abs(before).max())
    assert not np.allclose(before[:, 5:], after[:, 5:])


# --- counts ---------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("layers", "lstm", "gpt"),
    [
        (1, (3_019_520, 34_107_392), (7_087_872, 38_372_352)),
        (2, (5_120_768, 36_208_640), (14_175_744, 45_460_224)),
        (4, (9_323_264, 40_411_136), (28_351_488, 59_635_968)),
    ],
)
def test_counts_are_those_that_the_seeds_program_logged(layers, lstm, gpt, capsys):
    """Learnable and total, seed 002; by formula, by the command and by construction."""
    configs = TiedLSTMConfig(layers=layers), TiedGPTConfig(layers=layers)
    formulas = (count.tied_lstm, count.tied_gpt)
    names = ("tied-lstm", "tied-gpt")
    for config, formula, name, wanted in zip(configs, formulas, names, (lstm, gpt), strict=True):
        assert formula(config) == wanted[0]
        count.main(["--model", name, "--layers", str(layers)])
        printed = capsys.readouterr().out.split()
        assert all(f"{number:,}" in printed for number in wanted)
        model = (TiedLSTM if "lstm" in name else TiedGPT)(config)
        sizes = [(p.requires_grad, p.size) for p in model.parameters()]
        assert sum(n for trained, n in sizes if trained) == wanted[0]
        assert sum(n for _, n in sizes) == wanted[1]


def test_a_last_norm_comes_with_pre_norm():
    config = TiedGPTConfig(**GPT, layers=2, pre_norm=True)
    trained = [p.size for p in TiedGPT(config).parameters() if p.requires_grad]
    assert sum(trained) == count.tied_gpt(config)


@pytest.mark.parametrize(
    ("config", "settings", "text"),
    [
        (TiedLSTMConfig, {"hidden": 0}, "hidden: expected at least 1, got 0"),
        (TiedLSTMConfig, {"dropout": 1.0}, r"dropout: expected a rate in \[0, 1\), got 1.0"),
        (TiedGPTConfig, {"d": 770}, "d: 770 cannot be divided among 12 heads"),
        (TiedGPTConfig, {"length": 0}, "length: expected at least 1, got 0"),
    ],
)
def test_sizes_that_no_model_has(config, settings, text):
    with pytest.raises(ValueError, match=text):
        config(**settings)
