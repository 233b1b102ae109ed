// The kept pictures: which there are, and what a person says of each.

import { at, busy, byId, element, percent, post, report, setText } from "./show.js";

const AT_A_TIME = 24;
const SURE_MS = 4000;
const UNKNOWN = "unknown";
const FILTERS = ["view", "kind", "label", "labelled"];

const list = byId("pictures");
const message = byId("message");
const known = new Set();
let before = null;
let turn = 0;

function say(text) {
  setText(byId("say"), text);
}

function request(command, data) {
  return post(`api/request/${command}`, JSON.stringify(data));
}

/** Returns what the visitor has chosen, as the request has it. */
function wanted() {
  const chosen = Object.fromEntries(FILTERS.map((name) => [name, byId(name).value.trim()]).filter(([, value]) => value));
  if ("labelled" in chosen) chosen.labelled = chosen.labelled === "true";
  return chosen;
}

async function start() {
  turn += 1;
  before = null;
  list.replaceChildren();
  byId("none").hidden = byId("more").hidden = true;
  await more(turn);
}

async function refresh() {
  report(message, "");
  try {
    await start();
  } catch (error) {
    report(message, error.message);
  }
}

async function more(mine) {
  const first = list.children.length;
  // An answer may be empty although there are older ones: it looks only so far.
  do {
    const asked = { ...wanted(), limit: AT_A_TIME, ...(before === null ? {} : { before }) };
    const data = await request("kept", asked);
    if (mine !== turn) return;
    before = data.before;
    list.append(...data.pictures.map((picture) => new Card(picture).item));
    if (data.damaged > 0) report(message, `${data.damaged} lines on the disk are damaged: their pictures are left out.`);
  } while (before !== null && list.children.length < first + AT_A_TIME);
  byId("more").hidden = before === null;
  byId("none").hidden = list.children.length > 0;
}

/** Offers a label for the next picture, and in the filter. */
function learn(label) {
  if (!label || known.has(label)) return;
  known.add(label);
  byId("known").append(element("option", { value: label }));
}

function learnView(view) {
  const views = byId("view");
  if ([...views.options].some((option) => option.value === view)) return;
  views.append(element("option", { value: view, textContent: view }));
}

class Card {
  #picture;
  #said = element("p", { className: "said", dir: "auto" });
  #right = element("button", { type: "button", textContent: "Right" });
  #other = element("button", { type: "button", textContent: "It is …" });
  #bin = element("button", { type: "button", textContent: "Throw away" });
  #choices = element("div", { className: "choices" });
  #message = element("p", { className: "message" });
  #form = null;

  constructor(picture) {
    this.#picture = picture;
    const { id, name, kind, view, score } = picture;
    const image = element("img", { src: at(`kept/${id}.jpg`).href, alt: `Picture ${id}: ${name}`, loading: "lazy" });
    image.width = image.height = 260;
    const shown = new Date(picture.timestamp).toLocaleString([], { dateStyle: "medium", timeStyle: "short" });
    const when = picture.clock_synchronized ? shown : `${shown} (clock not set)`;
    this.#choices.append(this.#right, this.#other, this.#bin);
    this.#message.setAttribute("role", "alert");
    for (const [button, what] of [[this.#right, "Right"], [this.#other, "It is something else"], [this.#bin, "Throw away"]]) {
      button.setAttribute("aria-label", `${what}: picture ${id}, ${name}`);
    }
    this.item = element(
      "li",
      { className: "card", tabIndex: -1 },
      element("figure", { className: "stage" }, image),
      element(
        "div",
        { className: "text" },
        element(
          "p",
          { className: "taken", title: name },
          element("span", { textContent: name, dir: "auto" }),
          element("span", { textContent: percent(score) }),
        ),
        element("p", { className: "hint", textContent: `${kind} · ${view} · ${when}` }),
        this.#said,
        this.#choices,
        this.#message,
      ),
    );
    this.#right.addEventListener("click", () => this.#label(this.#right, this.#isRight() ? null : name));
    this.#other.addEventListener("click", () => this.#ask());
    this.#bin.addEventListener("click", () => this.#throwAway());
    this.item.addEventListener("keydown", (event) => this.#key(event));
    learn(name === UNKNOWN ? "" : name);
    learnView(view);
    this.#show();
  }

  #isRight() {
    return this.#picture.label === this.#picture.name;
  }

  #show() {
    const { label, name } = this.#picture;
    setText(this.#said, label === null ? "" : this.#isRight() ? "✓ right" : `It is: ${label}`);
    this.#said.title = label ?? "";
    this.#right.hidden = name === UNKNOWN;
    this.#right.setAttribute("aria-pressed", String(this.#isRight()));
    learn(label);
  }

  async #label(control, label) {
    await busy(control, this.#message, async () => {
      const row = await request("label", { id: this.#picture.id, label });
      this.#picture.label = row.label;
      this.#close();
      this.#show();
      say(row.label === null ? "Label taken back" : `Labelled: ${row.label}`);
    });
  }

  #ask() {
    if (this.#form !== null) return this.#close();
    const input = element("input", { maxLength: 500, autocomplete: "off", value: this.#picture.label ?? "" });
    input.setAttribute("list", "known");
    input.setAttribute("aria-label", `What picture ${this.#picture.id} shows`);
    const save = element("button", { type: "submit", className: "primary", textContent: "Save" });
    const cancel = element("button", { type: "button", textContent: "Cancel" });
    const form = element("form", { className: "naming" }, input, save, cancel);
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      const label = input.value.trim();
      // Nothing takes the label back.
      this.#label(save, label === "" ? null : label);
    });
    cancel.addEventListener("click", () => this.#close());
    this.#form = form;
    this.#choices.hidden = true;
    this.#choices.after(form);
    input.focus();
    input.select();
  }

  #close() {
    if (this.#form === null) return;
    const hadFocus = this.#form.contains(document.activeElement);
    this.#form.remove();
    this.#form = null;
    this.#choices.hidden = false;
    if (hadFocus) this.#other.focus();
  }

  async #throwAway() {
    if (!this.#bin.classList.contains("sure")) {
      this.#bin.classList.add("sure");
      setText(this.#bin, "Sure?");
      setTimeout(() => {
        this.#bin.classList.remove("sure");
        setText(this.#bin, "Throw away");
      }, SURE_MS);
      return;
    }
    await busy(this.#bin, this.#message, async () => {
      await post(`api/kept/${this.#picture.id}/throw_away`);
      const next = this.item.nextElementSibling ?? this.item.previousElementSibling;
      this.item.remove();
      byId("none").hidden = list.children.length > 0;
      (next ?? byId("kind")).focus();
      say("Thrown away");
    });
  }

  #key(event) {
    if (event.target.matches("input")) {
      if (event.key === "Escape") this.#close();
      return;
    }
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const action = {
      r: () => this.#right.hidden || this.#right.click(),
      i: () => this.#ask(),
      Delete: () => this.#throwAway(),
    }[event.key.length === 1 ? event.key.toLowerCase() : event.key];
    if (action === undefined) return;
    event.preventDefault();
    action();
  }
}

/** Lets the arrows go from picture to picture, from wherever the focus is among them. */
function move(event) {
  if (event.target.matches("input, select") || event.ctrlKey || event.metaKey || event.altKey) return;
  const cards = [...list.children];
  if (cards.length === 0) return;
  const across = cards.filter((card) => card.offsetTop === cards[0].offsetTop).length;
  const step = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: across, ArrowUp: -across }[event.key];
  if (step === undefined) return;
  const now = cards.findIndex((card) => card.contains(document.activeElement));
  const next = now < 0 ? 0 : now + step;
  if (cards[next] === undefined) return;
  event.preventDefault();
  cards[next].focus();
  cards[next].scrollIntoView({ block: "nearest" });
}

document.addEventListener("keydown", move);
byId("filters").addEventListener("change", refresh);
byId("filters").addEventListener("submit", (event) => event.preventDefault());
byId("more").addEventListener("click", () => busy(byId("more"), message, () => more(turn)));
refresh();
