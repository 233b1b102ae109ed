// The model and the threshold of the chosen view.

import { busy, byId, element, post, report, setText } from "./show.js";

const SETTLED_MS = 400;

export class Settings {
  #views;
  #message = byId("settings-message");
  #model = byId("model");
  #slider = byId("threshold");
  #settled = 0;

  constructor(views) {
    this.#views = views;
    byId("model-form").addEventListener("submit", (event) => {
      event.preventDefault();
      this.#useModel(this.#model.value);
    });
    this.#slider.addEventListener("input", () => this.#slide());
    byId("as-configured").addEventListener("click", ({ currentTarget }) =>
      busy(currentTarget, this.#message, async () => {
        await this.#send("set_threshold", { threshold: null });
        await this.#send("set_model", { model: null });
        report(this.#message, "Threshold and model are those of the configuration.", "good");
      }),
    );
  }

  /** Shows what is in use, but leaves a control alone while the visitor uses it. */
  show(status) {
    this.#showModels(this.#views.current?.model ?? status.model, status.models ?? []);
    this.#showThreshold(this.#views.current?.threshold ?? status.threshold);
  }

  #showModels(used, installed) {
    const select = this.#model;
    const names = [...new Set([...installed, used].filter(Boolean))];
    if (names.join("\n") !== select.dataset.names) {
      select.dataset.names = names.join("\n");
      select.replaceChildren(...names.map((name) => element("option", { value: name, textContent: name })));
      delete select.dataset.used;
    }
    if (select.dataset.used !== used) {
      select.dataset.used = used ?? "";
      select.value = used ?? "";
    }
  }

  #showThreshold(threshold) {
    if (typeof threshold !== "number" || this.#slider.dataset.moving) return;
    this.#slider.value = Math.round(threshold * 100);
    this.#showValue();
  }

  #showValue() {
    setText(byId("threshold-value"), `${this.#slider.value} %`);
  }

  #useModel(name) {
    return busy(byId("use-model"), this.#message, async () => {
      report(this.#message, `Loading ${name} …`, "good");
      await this.#send("set_model", { model: name });
      report(this.#message, `${name} is in use.`, "good");
    });
  }

  #slide() {
    this.#slider.dataset.moving = "yes";
    this.#showValue();
    clearTimeout(this.#settled);
    this.#settled = setTimeout(() => this.#sendThreshold(this.#slider.value), SETTLED_MS);
  }

  async #sendThreshold(value) {
    try {
      await this.#send("set_threshold", { threshold: value / 100 });
      report(this.#message, `The threshold is ${value} %.`, "good");
    } catch (error) {
      report(this.#message, error.message);
    }
    if (this.#slider.value === value) delete this.#slider.dataset.moving;
  }

  #send(command, data) {
    return post(`api/request/${command}`, JSON.stringify({ ...data, ...this.#views.named() }));
  }
}
