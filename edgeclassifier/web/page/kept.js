// Pictures that stay on the page with their results: taken with the camera, or the visitor's own.

import { at, busy, byId, clock, element, names, post, report, showLabels, showSquare } from "./show.js";

const MOST_KEPT = 12;
const MOST_AT_ONCE = 6;
const MAX_BYTES = 20_000_000;

export class Kept {
  #list = byId("kept");
  #voice;
  #views;

  constructor(voice, views) {
    this.#voice = voice;
    this.#views = views;
    const take = byId("take");
    take.addEventListener("click", () => busy(take, byId("message"), () => this.#take()));
    const choose = byId("choose");
    choose.addEventListener("change", async () => {
      await this.#classify([...choose.files]);
      choose.value = "";
    });
    document.addEventListener("paste", (event) => this.#classify([...event.clipboardData.files]));
    this.#acceptDrops();
  }

  #acceptDrops() {
    const target = document.documentElement;
    const isOurs = (event) => event.dataTransfer?.types.includes("Files");
    const over = (event) => {
      if (!isOurs(event)) return;
      event.preventDefault();
      target.classList.add("dropping");
    };
    document.addEventListener("dragenter", over);
    document.addEventListener("dragover", over);
    document.addEventListener("dragleave", (event) => {
      if (event.relatedTarget === null) target.classList.remove("dropping");
    });
    document.addEventListener("drop", (event) => {
      target.classList.remove("dropping");
      if (!isOurs(event)) return;
      event.preventDefault();
      this.#classify([...event.dataTransfer.files]);
    });
  }

  async #take() {
    const data = await post(`api/take?view=${this.#views.chosen}`);
    const card = this.#card(data.picture, data.origin);
    showSquare(card.square, data.crop, data.size);
    this.#show(card, data.predictions);
  }

  async #classify(files) {
    const message = byId("message");
    report(message, files.length > MOST_AT_ONCE ? `Only the first ${MOST_AT_ONCE} pictures are taken.` : "");
    for (const file of files.slice(0, MOST_AT_ONCE)) {
      try {
        await this.#classifyOne(file);
      } catch (error) {
        report(message, `${file.name || "The picture"}: ${error.message}`);
      }
    }
  }

  async #classifyOne(file) {
    if (file.size > MAX_BYTES) throw new Error(`it is larger than ${MAX_BYTES / 1e6} MB`);
    const { predictions } = await post(`api/classify?view=${this.#views.chosen}`, file);
    const card = this.#card(URL.createObjectURL(file), file.name || "pasted picture");
    this.#show(card, predictions);
    try {
      await card.image.decode();
    } catch {
      card.image.hidden = true;
      card.frame.append(element("p", { className: "stage-note", textContent: "This browser cannot show it." }));
      return;
    }
    const size = [card.image.naturalWidth, card.image.naturalHeight];
    const response = await fetch(at(`api/crop?width=${size[0]}&height=${size[1]}&view=${this.#views.chosen}`));
    if (response.ok) showSquare(card.square, (await response.json()).data.crop, size);
  }

  #card(source, origin) {
    const image = element("img", { src: source, alt: "" });
    const square = byId("square").cloneNode(true);
    square.removeAttribute("id");
    square.classList.remove("known");
    const frame = element("div", { className: "frame" }, image, square);
    const labels = element("ol", { className: "labels" });
    const when = clock(new Date());
    const remove = element("button", { type: "button", textContent: "Remove" });
    const footer = element("footer", {}, element("p", { className: "hint", textContent: `${when} · ${origin}` }), remove);
    const item = element(
      "li",
      { className: "card" },
      element("figure", { className: "stage" }, frame),
      element("div", { className: "text" }, labels, footer),
    );
    remove.addEventListener("click", () => this.#remove(item));
    return { item, frame, image, square, labels, remove, when };
  }

  #show(card, predictions) {
    showLabels(card.labels, predictions);
    const [best] = predictions.length > 0 ? names(predictions[0]) : ["unknown"];
    card.image.alt = `Picture of ${card.when}: ${best}`;
    card.remove.setAttribute("aria-label", `Remove the picture of ${card.when}, ${best}`);
    if (predictions.length === 0) {
      card.labels.replaceWith(element("p", { textContent: "No label reaches the threshold of the model." }));
    }
    byId("kept-section").hidden = false;
    this.#list.prepend(card.item);
    while (this.#list.children.length > MOST_KEPT) this.#drop(this.#list.lastElementChild);
    card.item.scrollIntoView({ block: "nearest" });
    this.#voice.say(`Kept: ${best}`);
  }

  #remove(item) {
    const next = item.nextElementSibling ?? item.previousElementSibling;
    this.#drop(item);
    byId("kept-section").hidden = this.#list.children.length === 0;
    (next?.querySelector("button") ?? byId("take")).focus();
  }

  #drop(item) {
    const { src } = item.querySelector("img");
    if (src.startsWith("blob:")) URL.revokeObjectURL(src);
    item.remove();
  }
}
