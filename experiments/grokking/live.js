// The form for an equation, and the attention and predictions of a small GPT (gpt.js) for it.
"use strict";

const CIVIDIS = [[0, 34, 78], [67, 78, 108], [125, 124, 120], [188, 175, 111], [254, 232, 56]];

async function loadGPT() {
  if (!document.getElementById("gpt-about")) return null;
  const [about, numbers] = [JSON.parse(await unpackText("gpt-about")), await unpack("gpt-numbers")];
  return new GPT(about, new Float32Array(numbers));
}

async function startAttention() {
  const gpt = await loadGPT(), form = document.getElementById("equation");
  if (!gpt) return null;
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

// Words with their probabilities, the most likely first.
function likely(gpt, logits) {
  const words = softmax(logits).map((chance, id) => ({ word: gpt.words[id], chance }));
  return words.sort((a, b) => b.chance - a.chance);
}

function percent(chance) {
  return `${(100 * chance).toFixed(chance > 0.9995 || chance < 0.0005 ? 3 : 1)} %`;
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
    ...row.map((weight, j) => {
      if (j > i) return element("td");
      const cell = element("td", { textContent: weight.toFixed(2).replace(/^0/, "") });
      cell.title = `${tokens[i]} reads ${tokens[j]}: ${weight.toFixed(6)}`;
      cell.style.background = shade(weight);
      cell.style.color = weight > 0.5 ? "black" : "white";
      return cell;
    })));
  return element("table", { className: "map" }, element("caption", { textContent: title }),
    element("tbody", {}, ...rows),
    element("tfoot", {}, element("tr", {}, element("td"),
      ...tokens.map((token) => element("th", { scope: "col", textContent: token })))));
}

function shade(weight) {
  const place = weight * (CIVIDIS.length - 1), i = Math.min(Math.floor(place), CIVIDIS.length - 2);
  const mixed = CIVIDIS[i].map((low, k) => low + (place - i) * (CIVIDIS[i + 1][k] - low));
  return `rgb(${mixed.map(Math.round).join(" ")})`;
}

started.push(startAttention());
