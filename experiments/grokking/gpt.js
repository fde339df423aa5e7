// The GPT of models/gpt.py in float64, with the float32 weights of a checkpoint.
//
// It does not use the page, so that tests can compare its numbers with minigrad's.
"use strict";

class GPT {
  // about: see pack in live.py.    numbers: Float32Array, all tensors one after the other
  constructor(about, numbers) {
    Object.assign(this, about);
    this.tensor = {};
    for (const [name, { at, shape }] of Object.entries(about.tensors)) {
      const size = shape.reduce((a, b) => a * b, 1);
      this.tensor[name] = { values: numbers.subarray(at, at + size), shape };
    }
    this.ids = new Map(this.words.map((word, id) => [word, id]));
  }

  // The ids of the typed text, BOS first. The message of an Error is for the reader of the page.
  encode(text) {
    const words = text.match(/\d+|[A-Za-z]+|\S/g) || [];
    if (words[0] !== "BOS") words.unshift("BOS");
    const unknown = words.find((word) => !this.ids.has(word));
    if (unknown !== undefined) {
      throw new Error(
        `“${unknown}” is no token of this model. It knows the numbers 0 to ${this.p - 1}, ` +
        `${this.words.slice(this.p).join(" ")}.`);
    }
    if (words.length > this.length) {
      throw new Error(
        `These are ${words.length} tokens, BOS among them; the model reads ${this.length} at most.`);
    }
    return words.map((word) => this.ids.get(word));
  }

  // ids (S) -> logits (S, V) and attentions (L, heads, S, S), as nested arrays
  forward(ids) {
    const embedding = this.tensor["embedding.weight"], positions = this.tensor["positions.table"];
    const d = embedding.shape[1];
    let x = ids.map((id, t) => Float64Array.from(
      { length: d }, (_, i) => embedding.values[id * d + i] + positions.values[t * d + i]));
    const attentions = [];
    for (let layer = 0; layer < this.layers; layer++) {
      const block = `blocks.${layer}.`;
      const [a, weights] = this.attention(x, block + "attention.");
      attentions.push(weights);
      const y = x.map((row, t) => this.layerNorm(added(row, a[t]), block + "attention_norm."));
      x = y.map((row) => {
        const hidden = this.linear(row, block + "ffn.0.weight").map(gelu);
        return this.layerNorm(added(row, this.linear(hidden, block + "ffn.2.weight")), block + "ffn_norm.");
      });
    }
    const logits = x.map((row) => this.linear(row, "classifier.weight", "classifier.bias"));
    return { logits: logits.map((row) => [...row]), attentions };
  }

  // Causal attention of every head: softmax(q k / √size) v, then the output projection.
  attention(x, name) {
    const d = x[0].length, size = d / this.heads;
    const qkv = x.map((row) => this.linear(row, name + "in_proj_weight", name + "in_proj_bias"));
    const y = x.map(() => new Float64Array(d)), weights = [];
    for (let head = 0; head < this.heads; head++) {
      const at = head * size;
      weights.push(x.map((_, i) => {
        const scores = x.slice(0, i + 1).map((_, j) => {
          let sum = 0;
          for (let k = at; k < at + size; k++) sum += qkv[i][k] * qkv[j][d + k];
          return sum / Math.sqrt(size);
        });
        const row = softmax(scores);
        row.forEach((weight, j) => {
          for (let k = at; k < at + size; k++) y[i][k] += weight * qkv[j][2 * d + k];
        });
        return [...row, ...Array(x.length - 1 - i).fill(0)];
      }));
    }
    return [y.map((row) => this.linear(row, name + "out_proj.weight", name + "out_proj.bias")), weights];
  }

  // x (in) -> W x + b (out)
  linear(x, weight, bias) {
    const { values, shape: [rows, columns] } = this.tensor[weight];
    const y = new Float64Array(rows);
    for (let i = 0; i < rows; i++) {
      let sum = 0;
      for (let j = 0; j < columns; j++) sum += values[i * columns + j] * x[j];
      y[i] = bias ? sum + this.tensor[bias].values[i] : sum;
    }
    return y;
  }

  layerNorm(x, name) {
    const gain = this.tensor[name + "weight"].values, bias = this.tensor[name + "bias"].values;
    const mean = x.reduce((a, b) => a + b, 0) / x.length;
    const variance = x.reduce((a, b) => a + (b - mean) ** 2, 0) / x.length;
    return x.map((value, i) => (value - mean) / Math.sqrt(variance + 1e-5) * gain[i] + bias[i]);
  }
}

function added(a, b) {
  return a.map((value, i) => value + b[i]);
}

function softmax(scores) {
  const top = Math.max(...scores);
  const powers = Array.from(scores, (score) => Math.exp(score - top));
  const sum = powers.reduce((a, b) => a + b, 0);
  return powers.map((power) => power / sum);
}

function gelu(x) {
  return 0.5 * x * (1 + erf(x * Math.SQRT1_2));
}

// erf x = 2/√π e^(-x²) Σ (2x²)^n x / (1·3·5 ... (2n+1)): all terms have one sign, so none cancel.
function erf(x) {
  if (Math.abs(x) > 6) return Math.sign(x); // 1 - erf 6 is below half a unit in the last place
  let term = x, sum = x;
  for (let n = 1; Math.abs(term) > 1e-17 * Math.abs(sum); n++) {
    term *= (2 * x * x) / (2 * n + 1);
    sum += term;
  }
  return (2 / Math.sqrt(Math.PI)) * Math.exp(-x * x) * sum;
}
