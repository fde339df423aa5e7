// The GPT of models/gpt.py in float64, with the float32 weights of a checkpoint; tensor.js has its
// parts.
"use strict";

class GPT extends Model {
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
    let x = ids.map((id, t) =>
      added(this.row("embedding.weight", id), this.row("positions.table", t)));
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
