// What models in a page compute with: float64, on weights that are packed into the page.
//
// It touches nothing of the page, so that tests can compare its numbers with minigrad's.
"use strict";

class Model {
  // about: its tensors as in weights.py, words by id, sizes.    numbers: of all tensors in a row
  constructor(about, numbers) {
    Object.assign(this, about);
    this.tensor = {};
    for (const [name, { at, shape }] of Object.entries(about.tensors)) {
      const size = shape.reduce((a, b) => a * b, 1);
      this.tensor[name] = { values: numbers.subarray(at, at + size), shape };
    }
    this.ids = new Map(this.words.map((word, id) => [word, id]));
  }

  // Row i of a table, such as the vector of a word.
  row(table, i) {
    const { values, shape: [, d] } = this.tensor[table];
    return Float64Array.from(values.subarray(i * d, (i + 1) * d));
  }

  // x (in) -> W x + b (out); without b where the model has none of this name
  linear(x, weight, bias) {
    const { values, shape: [rows, columns] } = this.tensor[weight];
    const y = new Float64Array(rows), b = this.tensor[bias]?.values;
    for (let i = 0; i < rows; i++) {
      let sum = 0;
      for (let j = 0; j < columns; j++) sum += values[i * columns + j] * x[j];
      y[i] = b ? sum + b[i] : sum;
    }
    return y;
  }

  layerNorm(x, name) {
    const gain = this.tensor[name + "weight"].values, bias = this.tensor[name + "bias"].values;
    const mean = x.reduce((a, b) => a + b, 0) / x.length;
    const variance = x.reduce((a, b) => a + (b - mean) ** 2, 0) / x.length;
    return x.map((value, i) => (value - mean) / Math.sqrt(variance + 1e-5) * gain[i] + bias[i]);
  }

  // Causal attention of every head: softmax(q k / √size - slope distance) v, then the output
  // projection.    x: S rows.    slopes: ALiBi's, one a head.    -> y: S rows, weights (heads, S, S)
  attention(x, name, slopes = Array(this.heads).fill(0)) {
    const d = x[0].length, size = d / this.heads;
    const qkv = x.map((row) => this.linear(row, name + "in_proj_weight", name + "in_proj_bias"));
    const y = x.map(() => new Float64Array(d));
    const weights = slopes.map((slope, head) => x.map((_, i) => {
      const at = head * size;
      const scores = x.slice(0, i + 1).map((_, j) => {
        let sum = 0;
        for (let k = at; k < at + size; k++) sum += qkv[i][k] * qkv[j][d + k];
        return sum / Math.sqrt(size) - slope * (i - j);
      });
      const row = softmax(scores);
      row.forEach((weight, j) => {
        for (let k = at; k < at + size; k++) y[i][k] += weight * qkv[j][2 * d + k];
      });
      return [...row, ...Array(x.length - 1 - i).fill(0)];
    }));
    return [y.map((row) => this.linear(row, name + "out_proj.weight", name + "out_proj.bias")), weights];
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

// The numbers that a buffer holds in IEEE 754's half precision, all of them finite.
function halves(buffer) {
  return Float32Array.from(new Uint16Array(buffer), (bits) => {
    const exponent = (bits >> 10) & 31, fraction = bits & 1023;
    const size = exponent ? (1024 + fraction) * 2 ** (exponent - 25) : fraction * 2 ** -24;
    return bits >> 15 ? -size : size;
  });
}
