// The part of every report that moves: curves of every run. Sections bring scripts of their own.
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

const NARROW = 700; // pixels of a plot, below which it shows one quantity

class Curves {
  constructor(figure, { quantities, panels, runs }) {
    this.runs = runs;
    this.labels = Object.fromEntries(quantities);
    this.panels = panels;
    this.plot = figure.querySelector(".plot");
    this.hidden = new Set();
    this.axis = { x: "log", y: "auto" };
    const narrow = this.plot.clientWidth < NARROW;
    this.quantities = narrow ? panels.slice(-1) : panels;
    figure.querySelector(".controls").append(
      this.menu(quantities), this.switch("x", "step", ["linear", "log"]),
      this.switch("y", "value", ["auto", "linear", "log"]));
    figure.querySelector(".runs").append(...this.legend());
    dark.addEventListener("change", () => this.draw());
  }

  // What to show: the first quantities side by side, or any of them.
  menu(quantities) {
    const all = this.panels.map((name) => this.labels[name]).join(", ");
    const options = [[this.panels.join(), all], ...quantities].map(
      ([value, label]) => element("option", { value, textContent: label }));
    const select = element("select", { name: "quantity" }, ...options);
    select.value = this.quantities.join();
    select.addEventListener("change", () => {
      this.quantities = select.value.split(",");
      this.draw();
    });
    return element("label", {}, "Show ", select);
  }

  // Buttons, of which one is pressed.
  switch(axis, name, types) {
    const buttons = types.map((type) => {
      const button = element("button", { type: "button", textContent: type });
      Object.assign(button.dataset, { axis, type });
      button.addEventListener("click", () => { this.axis[axis] = type; this.draw(); });
      return button;
    });
    const group = element("span", { className: "switch" }, `${name}: `, ...buttons);
    this.switches = [...(this.switches || []), ...buttons];
    return group;
  }

  // A line a group, such as a model: a button for all its runs, then one for each.
  legend() {
    const groups = [...new Set(this.runs.map((run) => run.group))];
    return groups.map((group) => {
      const runs = this.runs.filter((run) => run.group === group);
      const all = element("button", { type: "button", className: "all", textContent: group });
      all.title = `Hide or show all runs: ${group}`;
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
    for (const run of this.runs) {
      run.button.setAttribute("aria-pressed", !this.hidden.has(run));
      run.button.firstChild.style.background = run.colors[scheme];
    }
    for (const button of this.switches) {
      button.setAttribute("aria-pressed", this.axis[button.dataset.axis] === button.dataset.type);
    }
    const traces = this.quantities.flatMap((quantity, i) => this.runs.map((run) => ({
      x: run.values.step,
      y: run.values[quantity],
      xaxis: `x${i + 1}`, yaxis: `y${i + 1}`,
      name: safe(run.name),
      visible: !this.hidden.has(run),
      mode: "lines",
      line: { color: run.colors[scheme], dash: run.dash, width: 1.4 },
      hovertemplate: `<b>${safe(run.name)}</b><br>step %{x:,}<br>${this.labels[quantity]} ` +
        "%{y:.4g}<extra></extra>",
    })));
    const buttons = ["toImage", "zoom2d", "pan2d", "resetScale2d"]; // none that asks a server
    return Plotly.react(this.plot, traces, this.layout(scheme), {
      responsive: true, displaylogo: false, modeBarButtons: [buttons],
    });
  }

  layout(scheme) {
    const ink = getComputedStyle(document.body).color, grid = scheme ? "#3a3f45" : "#e3e3df";
    const axis = { gridcolor: grid, zeroline: false, linecolor: grid, automargin: true };
    const n = this.quantities.length, columns = n > 1 ? 2 : 1, rows = Math.ceil(n / columns);
    const layout = {
      grid: { rows, columns, pattern: "independent", ygap: 0.25 },
      font: { color: ink, family: getComputedStyle(document.body).fontFamily, size: 12 },
      modebar: { bgcolor: "transparent", color: "#9ea5ad", activecolor: ink },
      paper_bgcolor: "transparent", plot_bgcolor: "transparent",
      margin: { l: 10, r: 28, t: 10, b: 10 },
      height: rows > 1 ? 620 : 400, hovermode: "closest", showlegend: false,
    };
    this.quantities.forEach((quantity, i) => {
      const loss = quantity.endsWith("loss") ? "log" : "linear";
      layout[`xaxis${i + 1}`] = {
        ...axis, ...this.steps(), title: { text: i + columns >= n ? "training step" : "" },
      };
      layout[`yaxis${i + 1}`] = {
        ...axis, type: this.axis.y === "auto" ? loss : this.axis.y,
        title: { text: this.labels[quantity] }, exponentformat: "power",
      };
    });
    return layout;
  }

  // The axis of steps, up to the last: on a log axis with powers of ten alone, or numbers would
  // stand on each other on a phone.
  steps() {
    const last = Math.max(1, ...this.runs.map((run) => run.values.step.at(-1)));
    if (this.axis.x === "linear") return { type: "linear", range: [0, last * 1.02], nticks: 6 };
    const powers = Array.from({ length: Math.floor(Math.log10(last)) + 1 }, (_, i) => 10 ** i);
    return {
      type: "log", range: [0, Math.log10(last * 1.05)], tickvals: powers,
      ticktext: powers.map((step) => step.toLocaleString("en")),
    };
  }
}

// Plotly reads a few tags in its texts.
function safe(text) {
  return text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");
}

// --- start --------------------------------------------------------------------------------------
// What has begun: the curves here, and what the sections of a report add.
const started = [drawCurves()];
