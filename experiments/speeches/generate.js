// Text that a language model, which decoder.js computes, writes after a prompt that is typed.
"use strict";

async function startWriting() {
  const decoder = await loadModel(Decoder, "decoder", halves);
  if (!decoder) return null;
  const form = document.getElementById("prompt");
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    write(decoder, form);
  });
  await write(decoder, form);
  return decoder;
}

let latest = 0; // the number of the last text that was begun: it replaces one that is being written

// Continue the prompt, token by token, or say what is wrong with the form.
async function write(decoder, form) {
  const number = ++latest;
  let asked;
  try {
    asked = read(decoder, form);
  } catch (error) {
    say(error.message, "error");
    for (const id of ["continuation", "next-words", "looks"]) {
      document.getElementById(id).replaceChildren();
    }
    return;
  }
  const { prompt, count, temperature, seed } = asked;
  say("Writing …");
  for (const step of decoder.continued(prompt.ids, count, temperature, seed)) {
    if (number !== latest) return;
    show(decoder, prompt, step);
    await new Promise((paint) => setTimeout(paint));
  }
  const how = temperature ? `temperature ${temperature}, seed ${seed}` : "the most likely each time";
  say(`${count} ${count === 1 ? "token" : "tokens"} added: ${how}.`);
}

function say(text, kind = "") {
  Object.assign(document.getElementById("written"), { textContent: text, className: kind });
}

// What the form asks for.    An Error says, for people, what is wrong with it.
function read(decoder, form) {
  const field = (name) => form.elements[name].value.trim();
  const whole = (name, least, most) => {
    const text = field(name), value = Number(text);
    if (/^\d+$/.test(text) && value >= least && value <= most) return value;
    const label = name === "count" ? "Tokens" : "Seed";
    throw new Error(`${label}: expected a whole number from ${least} to ${most}, got “${text}”.`);
  };
  const prompt = decoder.encode(field("prompt"));
  const text = field("temperature"), temperature = Number(text);
  if (!text || !(temperature >= 0 && temperature < Infinity)) {
    throw new Error(`Temperature: expected a number of at least 0, got “${text}”.`);
  }
  const count = whole("count", 1, decoder.most), seed = whole("seed", 0, 2 ** 32 - 1);
  return { prompt, count, temperature, seed };
}

// The text so far, and what its last token makes of it.
function show(decoder, prompt, { ids, logits, attention }) {
  const tokens = ids.map((id) => id === UNKNOWN ? "unk" : decoder.words[id]);
  const text = spaced(tokens).flatMap(([space, token], i) => {
    const typed = i < prompt.ids.length, unknown = ids[i] === UNKNOWN;
    const shown = element("span", { textContent: token });
    shown.classList.toggle("given", typed);
    shown.classList.toggle("unknown", unknown);
    if (typed && unknown) shown.title = `“${prompt.tokens[i]}” is no word of the model`;
    return [space, shown];
  });
  document.getElementById("continuation").replaceChildren(...text);
  document.getElementById("next-words").replaceChildren(nextTable(decoder, tokens.at(-1), logits));
  document.getElementById("looks").replaceChildren(lookTable(tokens.slice(-decoder.block), attention));
}

function nextTable(decoder, last, logits) {
  const rows = likely(decoder, logits).slice(0, 5).map(({ word, chance }) => element("tr", {},
    element("th", { scope: "row", textContent: word }),
    element("td", { textContent: percent(chance) })));
  return element("table", { className: "numbers" },
    element("caption", { textContent: `After “${last}”, at temperature 1` }),
    element("tbody", {}, ...rows));
}

// A row for each token that is read, a column for each head of each layer.
function lookTable(tokens, attention) {
  const heads = attention.flatMap((of, layer) => of.map((weights, head) =>
    ({ name: `${layer + 1}.${head + 1}`, weights })));
  const rows = tokens.map((token, i) => element("tr", {},
    element("th", { scope: "row", textContent: token }),
    ...heads.map(({ name, weights }) => weightCell(weights[i], `layer and head ${name} reads ${token}`))));
  return element("table", { className: "map low" },
    element("caption", { textContent: `“${tokens.at(-1)}”, by layer and head` }),
    element("thead", {}, element("tr", {}, element("td"),
      ...heads.map(({ name }) => element("th", { scope: "col", textContent: name })))),
    element("tbody", {}, ...rows));
}

started.push(startWriting());
