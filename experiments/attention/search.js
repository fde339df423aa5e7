// A caption is typed, and the pictures of a gallery are ranked by it; clip.js computes.
"use strict";

async function startSearch() {
  const tower = await loadModel(TextTower, "tower", halves);
  if (!tower) return null;
  const sheet = document.getElementById("sheet");
  await sheet.decode();
  const form = document.getElementById("caption");
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    searchPictures(tower, sheet, form);
  });
  searchPictures(tower, sheet, form);
  return tower;
}

// Show the pictures that are most similar, or say what is wrong with the caption.
function searchPictures(tower, sheet, form) {
  const list = document.getElementById("found"), said = document.getElementById("searched");
  let caption;
  try {
    caption = tower.encode(form.elements.caption.value);
  } catch (error) {
    Object.assign(said, { textContent: error.message, className: "error" });
    list.replaceChildren();
    return;
  }
  const similarities = tower.similarities(tower.embed(caption.ids));
  const chances = softmax(similarities.map((each) => tower.scale * each));
  const order = [...similarities.keys()].sort((a, b) => similarities[b] - similarities[a]);
  const read = caption.pieces.map((piece) => piece.replace(TextTower.MARK, "")).join(" · ");
  Object.assign(said, { textContent: `Read as: ${read}`, className: "" });
  list.replaceChildren(...order.slice(0, tower.shown).map((i, place) => {
    const text = `${place + 1}. ${tower.captions[i]}`;
    const numbers = `cosine ${similarities[i].toFixed(3)}, chance ${percent(chances[i])}`;
    const shown = element("li", {}, pictureOf(tower, sheet, i),
      element("span", { textContent: text }), element("small", { textContent: numbers }));
    shown.title = tower.sources[i];
    return shown;
  }));
}

// Picture i of the sheet.
function pictureOf({ thumbnail: side, columns, captions }, sheet, i) {
  const canvas = element("canvas", { width: side, height: side });
  Object.assign(canvas, { role: "img", ariaLabel: captions[i] });
  const x = side * (i % columns), y = side * Math.floor(i / columns);
  canvas.getContext("2d").drawImage(sheet, x, y, side, side, 0, 0, side, side);
  return canvas;
}

started.push(startSearch());
