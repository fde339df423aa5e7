"""The measurements of seed 004's written part: derivatives in chains, and relative attention."""

import json
import math
from importlib import import_module

import numpy as np
import pytest

from experiments.attention import gradients, relative_attention
from experiments.attention.relative_attention import Layer
from experiments.report import report
from experiments.sweep.experiment import main


def test_the_derivative_of_a_chain_is_the_product_of_its_weights_or_zero():
    weights = np.array([[2.0, 0.5, 3.0], [2.0, -0.5, 3.0], [-2.0, -0.5, 3.0], [-2.0, 1.0, 1.0]])
    slopes, on = gradients.chain_gradients(weights, np.array([1.0, 1.0, 1.0, -1.0]))
    assert slopes.tolist() == [3.0, 0.0, 0.0, 2.0]
    assert on.tolist() == [True, False, False, True]


@pytest.mark.parametrize("n", [2, 5])
def test_jacobians_are_those_of_finite_differences(n, rng):
    w, x = rng.normal(size=(3, 4, 4)), rng.uniform(size=(3, 4))

    def iterate(x):
        for _ in range(n - 1):
            x = 1 / (1 + np.exp(-np.einsum("kij,kj->ki", w, x)))
        return x

    h = 1e-6
    jacobian = np.stack(
        [(iterate(x + h * e) - iterate(x - h * e)) / (2 * h) for e in np.eye(4)], axis=-1
    )
    wanted = np.linalg.svd(jacobian, compute_uv=False)[:, 0]
    found = gradients.jacobian_norms(w, x, longest=n)
    assert found.shape == (n - 1, 3)
    # central differences are off by h² times a third derivative of order 1, and by eps / h
    np.testing.assert_allclose(found[-1], wanted, atol=10 * (h**2 + 2.2e-16 / h))


def test_one_matrix_meets_the_bound():
    found = gradients.jacobian_norms(*gradients.tight())[:, 0]
    np.testing.assert_allclose(found, gradients.bound(0.25), rtol=1e-12)


def test_the_right_parameters_are_the_convolution_and_the_maximum():
    x = relative_attention.inputs()
    wanted = 2 * x[:, :-2] + x[:, 2:]
    np.testing.assert_allclose(relative_attention.convolved(x), wanted)
    found = relative_attention.convolution(math.inf)(x)[:, 1:-1]
    np.testing.assert_allclose(found, wanted, rtol=1e-14)
    x = np.maximum(x, 0.05)  # a query of 0 reads evenly
    maxima = np.stack([x[:, i : x.shape[1] - 4 + i] for i in range(5)]).max(axis=0)
    np.testing.assert_array_equal(relative_attention.pooled(x), maxima)
    found = relative_attention.pooling(1e9)(x)[:, 2:-2]
    np.testing.assert_allclose(found, maxima, atol=1e-6)


def test_a_layer_weighs_by_the_distance_from_the_query():
    """x_(i-1) is at distance 1: a delta at place 3 is seen by place 4 with the weight of p_1."""
    layer = Layer({1: 0.0}, w_v=5.0)
    assert layer(np.eye(7)[3:4])[0].tolist() == [0.0, 0.0, 0.0, 0.0, 5.0, 0.0, 0.0]
    p = {1: math.log(4.0), -1: math.log(3.0)}
    assert relative_attention.weights_of(Layer(p)) == pytest.approx((4 / 7, 3 / 7), rel=1e-15)


@pytest.mark.parametrize(
    ("name", "differs"),
    [
        ("gradients", ["If all weights are greater than 1, it cannot vanish", "W^i = U Σ^i Vᵀ"]),
        (
            "relative_attention",
            [
                "Its parameters give the weights 2/3 and 1/3",
                "They are the convolution",
                "W_Q = W_K = 1 approximate max-pooling",
            ],
        ),
    ],
)
def test_a_command_without_trials_leaves_results_and_a_chapter(name, differs, tmp_path, capsys):
    experiment = import_module(f"experiments.attention.{name}").EXPERIMENT
    out = tmp_path / name
    assert main(experiment, ["--out", str(out)], description="") == 0
    text = (out / "results.md").read_text()
    assert "Computed when this was written: no training is needed." in text
    assert text.count("![") == len([*out.glob("*.png")]) >= 1
    claims = json.loads((out / "results.json").read_text())["claims"]
    assert [c["said"] for c in claims if c["verdict"] == "differs"] == differs
    assert {c["verdict"] for c in claims} == {"agrees", "differs"}
    chapter = report.read_chapter(experiment, out)
    assert chapter.answer is not None
    assert not chapter.failed
    capsys.readouterr()


def test_a_pipe_in_a_cell_does_not_end_it(tmp_path):
    table = gradients.chain_table(gradients.chain_rows()[:1])
    lines = table.markdown().splitlines()[-3:]
    assert len({line.replace("\\|", "").count("|") for line in lines}) == 1
    assert "\\|df/dx\\|" in lines[0]
