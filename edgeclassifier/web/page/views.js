// The views of the camera: what each of them sees, where it is, and which one the page is about.

import { element, names, percent, setText } from "./show.js";

const SVG = "http://www.w3.org/2000/svg";
const LETTERS_ACROSS = 36;

export class Views {
  #list;
  #outlines;
  #onChoice;
  #all = [];
  #chosen = "";
  #results = new Map();
  #stable = new Map();

  /** Shows the views in a list and as outlines; `onChoice` is called when another one is chosen. */
  constructor(list, outlines, onChoice) {
    this.#list = list;
    this.#outlines = outlines;
    this.#onChoice = onChoice;
  }

  /** The id of the chosen view, empty for the only one of a camera without views. */
  get chosen() {
    return this.#chosen;
  }

  /** What the device says of the chosen view. */
  get current() {
    return this.#all.find(({ view }) => view === this.#chosen);
  }

  get newest() {
    return this.#results.get(this.#chosen) ?? null;
  }

  get several() {
    return this.#all.length > 1;
  }

  /** Returns the arguments that say which view a request is about. */
  named() {
    return this.#chosen ? { view: this.#chosen } : {};
  }

  set(all) {
    this.#all = all;
    if (all.length > 0 && !this.current) this.choose(all[0].view);
    this.#show();
  }

  choose(view) {
    if (view === this.#chosen) return;
    this.#chosen = view;
    this.#show();
    this.#onChoice();
  }

  result(data) {
    this.#results.set(data.view, data);
    this.#show();
  }

  /** Takes the newest changes, newest first. */
  changes(data) {
    for (const change of [...data].reverse()) this.#stable.set(change.view, change);
    this.#show();
  }

  #show() {
    this.#list.hidden = !this.several;
    if (!this.several) {
      this.#outlines.replaceChildren();
      this.#list.replaceChildren();
      return;
    }
    while (this.#list.children.length > this.#all.length) this.#list.lastElementChild.remove();
    while (this.#list.children.length < this.#all.length) this.#list.append(this.#row());
    this.#all.forEach((view, index) => this.#showRow(this.#list.children[index].firstElementChild, view));
    this.#outline();
  }

  #row() {
    const button = element(
      "button",
      { type: "button" },
      element("strong", { dir: "auto" }),
      element("span", { className: "sees", dir: "auto" }),
      element("span", { className: "hint" }),
    );
    button.addEventListener("click", () => this.choose(button.dataset.view));
    return element("li", {}, button);
  }

  #showRow(button, { view, name, problem, rate_hz: rate }) {
    const [title, sees, hint] = button.children;
    const change = this.#stable.get(view);
    button.dataset.view = view;
    button.setAttribute("aria-pressed", String(view === this.#chosen));
    button.classList.toggle("bad", Boolean(problem));
    setText(title, name);
    setText(sees, problem ?? (change ? `${names(change)[0]} ${percent(change.score)}` : "–"));
    setText(hint, typeof rate === "number" ? `${rate.toFixed(1)}/s` : "");
    button.title = problem ?? "";
  }

  /** Draws the views that are not chosen: the chosen one is what the square shows. */
  #outline() {
    const shown = this.#all.filter(({ view }) => view !== this.#chosen && this.#results.has(view));
    while (this.#outlines.children.length > shown.length) this.#outlines.lastElementChild.remove();
    while (this.#outlines.children.length < shown.length) this.#outlines.append(this.#drawn());
    shown.forEach(({ view, name }, index) => {
      const { crop, size } = this.#results.get(view);
      const group = this.#outlines.children[index];
      const [x, y, width, height] = [crop[0] * size[0], crop[1] * size[1], crop[2] * size[0], crop[3] * size[1]];
      const letter = size[0] / LETTERS_ACROSS;
      group.dataset.view = view;
      this.#outlines.setAttribute("viewBox", `0 0 ${size[0]} ${size[1]}`);
      for (const rect of group.querySelectorAll("rect")) setAll(rect, { x, y, width, height });
      const text = group.lastElementChild;
      setAll(text, { x: x + letter / 3, y: y + letter * 1.1, "font-size": letter });
      setText(text, name);
    });
  }

  #drawn() {
    const group = document.createElementNS(SVG, "g");
    for (const className of ["edge", "line"]) {
      const rect = document.createElementNS(SVG, "rect");
      rect.setAttribute("class", className);
      group.append(rect);
    }
    group.append(document.createElementNS(SVG, "text"));
    group.addEventListener("click", () => this.choose(group.dataset.view));
    return group;
  }
}

export function setAll(target, attributes) {
  for (const [name, value] of Object.entries(attributes)) target.setAttribute(name, value);
}
