// The parts of the report that move: curves of every run, and the attention of a small GPT.
"use strict";

const dark = matchMedia("(prefers-color-scheme: dark)");

// --- what is packed into the page ---------------------------------------------------------------
async function unpack(id) {
  const code = document.getElementById(id).textContent;
  const bytes = Uint8Array.from(atob(code), (letter) => letter.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Response(stream).arrayBuffer();
}

async function unpackText(id) {
  return new TextDecoder().decode(await unpack(id));
}

function element(tag, properties = {}, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  return made;
}

// --- curves -------------------------------------------------------------------------------------
async function drawCurves() {
  const figures = [...document.querySelectorAll(".curves")];
  if (!figures.length) return;
  const curves = JSON.parse(await unpackText("curves"));
  document.head.append(element("script", { textContent: await unpackText("plotly") }));
  for (const figure of figures) await new Curves(figure, curves[figure.dataset.chapter]).draw();
}

class Curves {
  constructor(figure, { quantities, runs }) {
    this.runs = runs;
    this.labels = Object.fromEntries(quantities);
    this.plot = figure.querySelector(".plot");
    this.hidden = new Set();
    this.axis = { x: "log", y: "linear" };
    this.choose(quantities[0][0]);
    figure.querySelector(".controls").append(
      this.menu(quantities), this.switch("x", "step"), this.switch("y", "value"));
    figure.querySelector(".runs").append(...this.legend());
    dark.addEventListener("change", () => this.draw());
  }

  choose(quantity) {
    this.quantity = quantity;
    this.axis.y = quantity.endsWith("loss") ? "log" : "linear";
  }

  menu(quantities) {
    const options = quantities.map(([value, label]) => element("option", { value, textContent: label }));
    const select = element("select", { name: "quantity" }, ...options);
    select.addEventListener("change", () => { this.choose(select.value); this.draw(); });
    return element("label", {}, "Show ", select);
  }

  // A pair of buttons, of which one is pressed.
  switch(axis, name) {
    const buttons = ["linear", "log"].map((type) => {
      const button = element("button", { type: "button", textContent: type });
      Object.assign(button.dataset, { axis, type });
      button.addEventListener("click", () => { this.axis[axis] = type; this.draw(); });
      return button;
    });
    const group = element("span", { className: "switch" }, `${name}: `, ...buttons);
    this.switches = [...(this.switches || []), ...buttons];
    return group;
  }

  // A line a model: a button for all its runs, then one for each.
  legend() {
    const models = [...new Set(this.runs.map((run) => run.model))];
    return models.map((model) => {
      const runs = this.runs.filter((run) => run.model === model);
      const all = element("button", { type: "button", className: "all", textContent: model });
      all.title = `Hide or show all runs of the ${model}`;
      all.addEventListener("click", () => {
        const hide = runs.some((run) => !this.hidden.has(run));
        runs.forEach((run) => this.hidden[hide ? "add" : "delete"](run));
        this.draw();
      });
      return element("div", {}, all, ...runs.map((run) => this.chip(run)));
    });
  }

  chip(run) {
    const swatch = element("span", { className: "swatch" });
    run.button = element("button", { type: "button", className: "run" }, swatch, run.name);
    run.button.title = run.setting;
    run.button.addEventListener("click", () => {
      this.hidden[this.hidden.has(run) ? "delete" : "add"](run);
      this.draw();
    });
    return run.button;
  }

  draw() {
    const scheme = dark.matches ? 1 : 0;
    const ink = getComputedStyle(document.body).color, grid = scheme ? "#3a3f45" : "#e3e3df";
    const label = this.labels[this.quantity];
    for (const run of this.runs) {
      run.button.setAttribute("aria-pressed", !this.hidden.has(run));
      run.button.firstChild.style.background = run.colors[scheme];
    }
    for (const button of this.switches) {
      button.setAttribute("aria-pressed", this.axis[button.dataset.axis] === button.dataset.type);
    }
    const traces = this.runs.map((run) => ({
      x: run.values.step,
      y: run.values[this.quantity],
      name: safe(run.name),
      visible: !this.hidden.has(run),
      mode: "lines",
      line: { color: run.colors[scheme], dash: run.dash, width: 1.4 },
      hovertemplate: `<b>${safe(run.name)}</b><br>step %{x:,}<br>${label} %{y:.4g}<extra></extra>`,
    }));
    const axis = { gridcolor: grid, zeroline: false, linecolor: grid, automargin: true };
    const layout = {
      xaxis: { ...axis, type: this.axis.x, title: { text: "training step" } },
      yaxis: { ...axis, type: this.axis.y, title: { text: label }, exponentformat: "power" },
      font: { color: ink, family: getComputedStyle(document.body).fontFamily, size: 12 },
      modebar: { bgcolor: "transparent", color: "#9ea5ad", activecolor: ink },
      paper_bgcolor: "transparent", plot_bgcolor: "transparent",
      margin: { l: 10, r: 10, t: 10, b: 10 },
      height: 400, hovermode: "closest", showlegend: false,
    };
    // a log axis shows powers of ten alone, or numbers would stand on each other on a phone
    if (this.axis.x === "log") Object.assign(layout.xaxis, { dtick: 1 });
    const buttons = ["toImage", "zoom2d", "pan2d", "resetScale2d"]; // none that asks a server
    return Plotly.react(this.plot, traces, layout, {
      responsive: true, displaylogo: false, modeBarButtons: [buttons],
    });
  }
}

// Plotly reads a few tags in its texts.
function safe(text) {
  return text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");
}

// --- attention ----------------------------------------------------------------------------------
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

// Words with their chances, the most likely first.
function likely(gpt, logits) {
  const found = softmax(logits).map((chance, id) => ({ word: gpt.words[id], chance }));
  return found.sort((a, b) => b.chance - a.chance);
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

// Rows read, columns are read; what comes later is hidden from a query.
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

// --- start --------------------------------------------------------------------------------------
const ready = Promise.all([startAttention(), drawCurves()]);
