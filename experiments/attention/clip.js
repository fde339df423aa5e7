// The text tower of models/clip.py, on the float16 weights of a checkpoint; tensor.js has its parts.
// Pieces of words are those of pieces.py.
"use strict";

class TextTower extends Model {
  static START = 1; // the id before a text; the last id of all comes after it
  static UNKNOWN = 2;
  static MARK = "</w>"; // of the piece that ends a word

  constructor(about, numbers) {
    super(about, numbers);
    this.rank = new Map(this.merges.map((pair, i) => [pair.join(" "), i]));
  }

  // The ids of a typed caption, and the pieces that they stand for.
  // An Error says, for people, what is wrong with it.
  encode(text) {
    const pieces = wordsOf(text).flatMap((word) => this.cut(word));
    if (!pieces.length) throw new Error("Caption: type a few words.");
    const known = pieces.map((each) => this.ids.get(each) ?? TextTower.UNKNOWN);
    const ids = [TextTower.START, ...known, this.words.length - 1];
    if (ids.length > this.context) {
      throw new Error(`Caption: ${ids.length} pieces are more than the ${this.context} that the ` +
        "model reads.");
    }
    return { ids, pieces };
  }

  // The pieces of a word: of all pairs of neighbours the first of the merges, again and again.
  cut(word) {
    const signs = [...word];
    let pieces = [...signs.slice(0, -1), signs.at(-1) + TextTower.MARK];
    for (;;) {
      let best = Infinity, pair = null;
      for (let i = 0; i + 1 < pieces.length; i++) {
        const rank = this.rank.get(`${pieces[i]} ${pieces[i + 1]}`) ?? Infinity;
        if (rank < best) [best, pair] = [rank, [pieces[i], pieces[i + 1]]];
      }
      if (!pair) return pieces;
      const joined = [];
      for (let i = 0; i < pieces.length; i++) {
        const here = pieces[i] === pair[0] && pieces[i + 1] === pair[1];
        joined.push(here ? pair[0] + pair[1] : pieces[i]);
        if (here) i++;
      }
      pieces = joined;
    }
  }

  // ids (T) -> the vector (embed), of length 1
  embed(ids) {
    let x = ids.map((id, t) =>
      added(this.row("embedding.weight", id), this.row("positions.weight", t)));
    for (let layer = 0; layer < this.layers; layer++) {
      const block = `blocks.${layer}.`;
      const normed = x.map((row) => this.layerNorm(row, block + "attention_norm."));
      const [a] = this.attention(normed, block + "attention.");
      x = x.map((row, t) => {
        const y = added(row, a[t]), z = this.layerNorm(y, block + "ffn_norm.");
        const hidden = this.linear(z, block + "ffn.0.weight", block + "ffn.0.bias").map(quickGelu);
        return added(y, this.linear(hidden, block + "ffn.2.weight", block + "ffn.2.bias"));
      });
    }
    const y = this.linear(this.layerNorm(x.at(-1), "norm."), "projection.weight");
    const length = Math.sqrt(y.reduce((sum, value) => sum + value * value, 0));
    return y.map((value) => value / length);
  }

  // Cosine similarities of a caption's vector with all pictures.
  similarities(vector) {
    return this.linear(vector, "vectors");
  }
}

function quickGelu(x) {
  return x / (1 + Math.exp(-1.702 * x));
}

// Words, digits and other signs of a text, in lower case without accents.
function wordsOf(text) {
  const plain = text.normalize("NFD").toLowerCase().replace(/\p{M}/gu, "");
  return plain.match(/[a-z]+|[0-9]|[^\sa-z0-9]/gu) || [];
}
