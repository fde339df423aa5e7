// The attention of a small GPT, which gpt.js computes, to an equation that is typed.
"use strict";

async function startAttention() {
  const gpt = await loadModel(GPT, "gpt", (bytes) => new Float32Array(bytes));
  if (!gpt) return null;
  const form = document.getElementById("equation");
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    read(gpt, form.elements.text.value);
  });
  read(gpt, form.elements.text.value);
  return gpt;
}

// Show what the model makes of an equation, or what is wrong with the equation.
function read(gpt, text) {
  const [said, predictions, maps] =
    ["said", "predictions", "maps"].map((id) => document.getElementById(id));
  let ids;
  try {
    ids = gpt.encode(text);
  } catch (error) {
    said.textContent = error.message;
    said.className = "error";
    predictions.replaceChildren();
    maps.replaceChildren();
    return;
  }
  const { logits, attentions } = gpt.forward(ids), tokens = ids.map((id) => gpt.words[id]);
  const next = continued(gpt, ids);
  said.className = "";
  said.textContent = next.length
    ? `After “${tokens.join(" ")}” it says: ` +
      next.map(({ word, chance }) => `${word} (${percent(chance)})`).join(", ") + "."
    : `After “${tokens.join(" ")}” it says nothing: the equation is over.`;
  predictions.replaceChildren(predictionTable(gpt, tokens, logits));
  maps.replaceChildren(...attentions.flatMap((heads, layer) => heads.map((weights, head) =>
    attentionMap(`Layer ${layer + 1}, head ${head + 1}`, tokens, weights))));
}

// The most likely word, then the most likely after that, up to EOS or as far as the model reads.
function continued(gpt, ids) {
  const found = [];
  let last = gpt.words[ids[ids.length - 1]];
  while (last !== "EOS" && last !== "PAD" && ids.length <= gpt.length) {
    const { logits } = gpt.forward(ids);
    const [best] = likely(gpt, logits[ids.length - 1]);
    found.push(best);
    last = best.word;
    ids = [...ids, gpt.ids.get(last)];
  }
  return found;
}

function predictionTable(gpt, tokens, logits) {
  const head = ["having read", "most likely next", "second", "third"];
  const rows = tokens.map((_, i) => element("tr", {},
    element("th", { scope: "row", textContent: tokens.slice(0, i + 1).join(" ") }),
    ...likely(gpt, logits[i]).slice(0, 3).map(({ word, chance }) =>
      element("td", { textContent: `${word}: ${percent(chance)}` }))));
  const table = element("table", { className: "numbers" },
    element("thead", {}, element("tr", {},
      ...head.map((text) => element("th", { scope: "col", textContent: text })))),
    element("tbody", {}, ...rows));
  return element("div", { className: "scroll", tabIndex: 0 }, table);
}

// Rows read, columns are read; what comes later is hidden from a query.
function attentionMap(title, tokens, weights) {
  const rows = weights.map((row, i) => element("tr", {},
    element("th", { scope: "row", textContent: tokens[i] }),
    ...row.map((weight, j) =>
      j > i ? element("td") : weightCell(weight, `${tokens[i]} reads ${tokens[j]}`))));
  return element("table", { className: "map" }, element("caption", { textContent: title }),
    element("tbody", {}, ...rows),
    element("tfoot", {}, element("tr", {}, element("td"),
      ...tokens.map((token) => element("th", { scope: "col", textContent: token })))));
}

started.push(startAttention());
