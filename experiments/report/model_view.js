// A page and its model: how it is unpacked, and how chances of words and attention are shown.
"use strict";

// The model that is packed as NAME-about and NAME-numbers; null where there is none.
// numbers: makes an array of the bytes of all tensors.
async function loadModel(kind, name, numbers) {
  if (!document.getElementById(`${name}-about`)) return null;
  const about = JSON.parse(await unpackText(`${name}-about`));
  return new kind(about, numbers(await unpack(`${name}-numbers`)));
}

const CIVIDIS = [[0, 34, 78], [67, 78, 108], [125, 124, 120], [188, 175, 111], [254, 232, 56]];

// Words with their chances, the most likely first.
function likely(model, logits) {
  const chances = softmax(logits).map((chance, id) => ({ word: model.words[id], chance }));
  return chances.sort((a, b) => b.chance - a.chance);
}

function percent(chance) {
  return `${(100 * chance).toFixed(chance > 0.9995 || chance < 0.0005 ? 3 : 1)} %`;
}

// A cell of a map: an attention weight on its colour; title says whose it is.
function weightCell(weight, title) {
  const cell = element("td", { textContent: weight.toFixed(2).replace(/^0/, "") });
  cell.title = `${title}: ${weight.toFixed(6)}`;
  cell.style.background = shade(weight);
  cell.style.color = weight > 0.5 ? "black" : "white";
  return cell;
}

function shade(weight) {
  const place = weight * (CIVIDIS.length - 1), i = Math.min(Math.floor(place), CIVIDIS.length - 2);
  const mixed = CIVIDIS[i].map((low, k) => low + (place - i) * (CIVIDIS[i + 1][k] - low));
  return `rgb(${mixed.map(Math.round).join(" ")})`;
}
