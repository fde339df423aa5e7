// The language model of models/speech.py, on the float16 weights of a checkpoint; tensor.js has its
// parts. And text from it, token by token as in generate.py.
"use strict";

const UNKNOWN = 1; // the id of words that the vocabulary lacks

class Decoder extends Model {
  // The ids of typed text, and its tokens as they were typed.
  // An Error says, for people, what is wrong with it.
  encode(text) {
    const known = (word) => this.ids.get(word) > UNKNOWN;
    const tokens = tokenize(text, known);
    if (!tokens.length) throw new Error("Prompt: type a few words to be continued.");
    const ids = tokens.map((word) => known(word) ? this.ids.get(word) : UNKNOWN);
    if (ids.every((id) => id === UNKNOWN)) {
      throw new Error(`Prompt: the model knows none of its words: ${tokens.join(" ")}.`);
    }
    return { ids, tokens };
  }

  // ids (T), T <= block -> the logits (V) of the next token, and what the last of them attends to:
  // attention (L, heads, T)
  forward(ids) {
    let x = ids.map((id, t) => {
      const word = this.row("trunk.embedding.weight", id);
      return this.positions === "learned"
        ? added(word, this.row("trunk.positions.weight", t)) : word;
    });
    const attention = [];
    for (let layer = 0; layer < this.layers; layer++) {
      const block = `trunk.blocks.${layer}.`;
      const normed = x.map((row) => this.layerNorm(row, block + "attention_norm."));
      const [a, weights] = this.attention(normed, block + "attention.heads.", this.slopes);
      attention.push(weights.map((ofHead) => ofHead.at(-1)));
      x = x.map((row, t) => {
        const y = added(row, a[t]), z = this.layerNorm(y, block + "ffn_norm.");
        const hidden = this.linear(z, block + "ffn.0.weight", block + "ffn.0.bias").map(relu);
        return added(y, this.linear(hidden, block + "ffn.2.weight", block + "ffn.2.bias"));
      });
    }
    return { logits: [...this.linear(x.at(-1), "classifier.weight", "classifier.bias")], attention };
  }

  // What forward gives for the prompt, and again after each of `count` tokens, with all ids so far.
  *continued(ids, count, temperature, seed) {
    for (let i = 0; ; i++) {
      const read = this.forward(ids.slice(-this.block));
      yield { ids, ...read };
      if (i === count) return;
      ids = [...ids, drawn(read.logits, temperature, uniform(seed, i))];
    }
  }
}

function relu(x) {
  return Math.max(0, x);
}

// An id with the chances softmax(logits / temperature), for u uniform in [0, 1); at temperature 0
// the first of the most likely.
function drawn(logits, temperature, u) {
  const top = Math.max(...logits);
  if (temperature === 0) return logits.indexOf(top);
  const powers = logits.map((value) => Math.exp((value - top) / temperature));
  const at = u * powers.reduce((a, b) => a + b, 0);
  let sum = 0;
  return powers.findIndex((power) => (sum += power) > at);
}

// Number i of the stream of a seed, in [0, 1): that of NumPy's Philox with the key (seed, 0).
// Source: Salmon et al., Parallel Random Numbers: As Easy as 1, 2, 3 (2011), 4x64 with 10 rounds.
function uniform(seed, i) {
  const mask = (1n << 64n) - 1n;
  let key = [BigInt(seed), 0n], x = [BigInt(Math.floor(i / 4) + 1), 0n, 0n, 0n];
  for (let round = 0; round < 10; round++) {
    const a = x[0] * 0xd2e7470ee14c6c93n, b = x[2] * 0xca5a826395121157n;
    x = [(b >> 64n) ^ x[1] ^ key[0], b & mask, (a >> 64n) ^ x[3] ^ key[1], a & mask];
    key = [(key[0] + 0x9e3779b97f4a7c15n) & mask, (key[1] + 0xbb67ae8584caa73bn) & mask];
  }
  return Number(x[i % 4] >> 11n) * 2 ** -53;
}
