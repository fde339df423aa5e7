// The form for an equation, and the attention and predictions of a small GPT (gpt.js) for it.
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

// Show the model's predictions and attention for an equation, or what is wrong with the equation.
function read(gpt, text) {
  const [message, predictions, maps] =
    ["said", "predictions", "maps"].map((id) => document.getElementById(id));
  let ids;
  try {
    ids = gpt.encode(text);
  } catch (error) {
    message.textContent = error.message;
    message.className = "error";
    predictions.replaceChildren();
    maps.replaceChildren();
    return;
  }
  const { logits, attentions } = gpt.forward(ids), tokens = ids.map((id) => gpt.words[id]);
  const next = continued(gpt, ids);
  message.className = "";
  message.textContent = next.length
    ? `After “${tokens.join(" ")}” it says: ` +
      next.map(({ word, chance }) => `${word} (${percent(chance)})`).join(", ") + "."
    : `After “${tokens.join(" ")}” it says nothing: the equation is over.`;
  predictions.replaceChildren(predictionTable(gpt, tokens, logits));
  maps.replaceChildren(...attentions.flatMap((heads, layer) => heads.map((weights, head) =>
    attentionMap(`Layer ${layer + 1}, head ${head + 1}`, tokens, weights))));
}

// Greedy decoding: the most likely word, then the most likely after it, up to EOS or the length.
function continued(gpt, ids) {
  const words = [];
  let last = gpt.words[ids[ids.length - 1]];
  while (last !== "EOS" && last !== "PAD" && ids.length <= gpt.length) {
    const { logits } = gpt.forward(ids);
    const [best] = likely(gpt, logits[ids.length - 1]);
    words.push(best);
    last = best.word;
    ids = [...ids, gpt.ids.get(last)];
  }
  return words;
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

// Rows are queries, columns are keys; later keys are masked.
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
