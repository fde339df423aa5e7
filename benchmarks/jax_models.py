"""A whole training step of both models in plain JAX, compiled as one program, for comparison.

The equations and the names of the weights are minigrad's. As in minigrad, the last block of the GPT
and the classifier compute only the positions with a loss. The time steps of the LSTM are unrolled,
which XLA runs faster than `lax.scan` on two cores (37 against 56 to 67 ms at the sanity settings).
The padding token is not handled: it must not occur.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import jax
from jax import numpy as jnp

Weights = dict[str, jax.Array]
State = tuple[Weights, Weights, Weights, jax.Array]  # weights, Adam's m and v, steps done


def lstm(w: Weights, ids: jax.Array, start: int) -> jax.Array:
    """Logits of positions start..S-1.    ids (B, S) -> (B, S - start, V)"""
    x = list(w["embedding.weight"][ids.T])
    for layer in range(sum(name.startswith("lstm.bias_ih") for name in w)):
        weight = jnp.concatenate([w[f"lstm.weight_{kind}_l{layer}"] for kind in ("ih", "hh")], 1)
        h = c = jnp.zeros((len(ids), weight.shape[0] // 4))
        for t, x_t in enumerate(x):
            z = jnp.concatenate([x_t, h], axis=1) @ weight.T + w[f"lstm.bias_ih_l{layer}"]
            i, f, g, o = jnp.split(z, 4, axis=1)
            c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
            x[t] = h = jax.nn.sigmoid(o) * jnp.tanh(c)
    return jnp.stack(x[start:], axis=1) @ w["classifier.weight"].T + w["classifier.bias"]


def gpt(w: Weights, ids: jax.Array, start: int, heads: int) -> jax.Array:
    """Logits of positions start..S-1.    ids (B, S) -> (B, S - start, V)"""
    x = w["embedding.weight"][ids]
    batch, length, d = x.shape
    x = x + positions(length, d)
    layers = sum(name.endswith("ffn_norm.bias") for name in w)
    for n in range(layers):
        first = start if n == layers - 1 else 0
        b = {k.removeprefix(f"blocks.{n}."): v for k, v in w.items() if k.startswith(f"blocks.{n}")}
        late = x[:, first:]
        weight, bias = b["attention.in_proj_weight"], b["attention.in_proj_bias"]
        q = late @ weight[:d].T + bias[:d]
        k, v = jnp.split(x @ weight[d:].T + bias[d:], 2, axis=-1)
        q, k, v = (t.reshape(batch, -1, heads, d // heads).swapaxes(1, 2) for t in (q, k, v))
        scores = q @ k.swapaxes(-1, -2) / math.sqrt(d // heads)
        visible = jnp.arange(length) <= jnp.arange(first, length)[:, None]
        a = jax.nn.softmax(jnp.where(visible, scores, -jnp.inf)) @ v
        a = a.swapaxes(1, 2).reshape(late.shape)
        a = a @ b["attention.out_proj.weight"].T + b["attention.out_proj.bias"]
        y = layer_norm(late + a, b["attention_norm.weight"], b["attention_norm.bias"])
        wide = jax.nn.gelu(y @ b["ffn.0.weight"].T, approximate=False)
        x = layer_norm(y + wide @ b["ffn.2.weight"].T, b["ffn_norm.weight"], b["ffn_norm.bias"])
    return x @ w["classifier.weight"].T + w["classifier.bias"]


def positions(length: int, d: int) -> jax.Array:
    rows = [
        [(math.cos if i % 2 else math.sin)(t / 10000 ** (i // 2 * 2 / d)) for i in range(d)]
        for t in range(length)
    ]
    return jnp.array(rows)


def layer_norm(x: jax.Array, weight: jax.Array, bias: jax.Array, eps: float = 1e-5) -> jax.Array:
    centered = x - x.mean(axis=-1, keepdims=True)
    variance = (centered * centered).mean(axis=-1, keepdims=True)
    return centered / jnp.sqrt(variance + eps) * weight + bias


def initial(weights: Mapping[str, Any]) -> State:
    """The state before the first step."""
    w = {name: jnp.array(value) for name, value in weights.items()}
    m, v = ({name: jnp.zeros_like(value) for name, value in w.items()} for _ in "mv")
    return w, m, v, jnp.zeros(())


def training_step(
    logits: Callable[[Weights, jax.Array], jax.Array], lr: float, decay: float, clip: float
) -> Callable[[State, jax.Array, jax.Array], tuple[State, jax.Array]]:
    """A compiled function: state, ids (B, S), targets (B, k) -> the next state, the loss before.

    The loss is the mean of -log p; gradients are clipped at the norm `clip`; AdamW is minigrad's.
    The new state reuses the memory of the old.
    """

    def loss_of(w: Weights, ids: jax.Array, targets: jax.Array) -> jax.Array:
        logp = jax.nn.log_softmax(logits(w, ids))
        return -jnp.take_along_axis(logp, targets[..., None], axis=-1).mean()

    def step(state: State, ids: jax.Array, targets: jax.Array) -> tuple[State, jax.Array]:
        w, m, v, t = state
        loss, g = jax.value_and_grad(loss_of)(w, ids, targets)
        norm = jnp.sqrt(sum((x * x).sum() for x in g.values()))
        scale, t = jnp.minimum(clip / (norm + 1e-6), 1.0), t + 1
        g = {k: x * scale for k, x in g.items()}
        m = {k: 0.9 * m[k] + 0.1 * x for k, x in g.items()}
        v = {k: 0.999 * v[k] + 0.001 * x * x for k, x in g.items()}
        c1, c2 = 1 - 0.9**t, 1 - 0.999**t
        w = {
            k: p - lr * ((m[k] / c1) / (jnp.sqrt(v[k] / c2) + 1e-8) + decay * p)
            for k, p in w.items()
        }
        return (w, m, v, t), loss

    return jax.jit(step, donate_argnums=0)
