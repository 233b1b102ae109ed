// The rectangle that a view looks at: drawn on the picture by mouse or touch, or set in numbers.

import { busy, byId, post, report } from "./show.js";
import { setAll } from "./views.js";

const LEAST = 0.02;
const HANDLE_PIXELS = 11;
const CORNERS = [[0, 0], [1, 0], [0, 1], [1, 1]];

const between = (value, least, most) => Math.min(Math.max(value, least), most);

export class Rectangle {
  #views;
  #drawing = byId("drawing");
  #box = this.#drawing.querySelector("rect");
  #handles = [...this.#drawing.querySelectorAll("circle")];
  #form = byId("rectangle");
  #message = byId("rectangle-message");
  #inputs = ["left", "top", "across", "down"].map(byId);
  #region = [0, 0, 1, 1];
  #before = "";
  #drag = null;

  constructor(views) {
    this.#views = views;
    byId("draw").addEventListener("click", () => this.#begin());
    byId("rectangle-cancel").addEventListener("click", () => this.end());
    byId("rectangle-configured").addEventListener("click", ({ currentTarget }) => this.#send(currentTarget, null));
    byId("rectangle-copy").addEventListener("click", () => this.#copy());
    this.#form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#send(byId("rectangle-save"), this.#region.map((share) => Number(share.toFixed(4))));
    });
    for (const input of this.#inputs) input.addEventListener("change", () => this.#take());
    this.#drawing.addEventListener("pointerdown", (event) => this.#grasp(event));
    this.#drawing.addEventListener("pointermove", (event) => this.#move(event));
    for (const name of ["pointerup", "pointercancel"]) {
      this.#drawing.addEventListener(name, () => {
        this.#drag = null;
      });
    }
  }

  /** Notes what the device says; a change from elsewhere is told to whoever draws here. */
  update() {
    const now = JSON.stringify(this.#views.current?.region ?? []);
    if (!this.#form.hidden && now !== this.#before) {
      report(this.#message, "It was changed elsewhere meanwhile: saving takes yours.");
      this.#before = now;
    }
  }

  end() {
    this.#form.hidden = true;
    byId("draw").hidden = false;
    this.#drawing.classList.remove("known");
  }

  #begin() {
    const newest = this.#views.newest;
    if (newest === null) {
      report(byId("message"), "There is no picture to draw on yet.");
      return;
    }
    this.#before = JSON.stringify(this.#views.current?.region ?? []);
    this.#drawing.setAttribute("viewBox", `0 0 ${newest.size[0]} ${newest.size[1]}`);
    this.#form.hidden = false;
    byId("draw").hidden = true;
    report(this.#message, "");
    this.#drawing.classList.add("known");
    this.#set(newest.crop);
    byId("frame").scrollIntoView({ block: "nearest" });
    this.#inputs[0].focus({ preventScroll: true });
  }

  #set([left, top, across, down]) {
    const width = between(across, LEAST, 1);
    const height = between(down, LEAST, 1);
    this.#region = [between(left, 0, 1 - width), between(top, 0, 1 - height), width, height];
    this.#inputs.forEach((input, index) => {
      input.value = Math.round(this.#region[index] * 1000) / 10;
    });
    const [w, h] = this.#size;
    const [x, y] = [this.#region[0] * w, this.#region[1] * h];
    setAll(this.#box, { x, y, width: width * w, height: height * h });
    const scale = this.#drawing.getScreenCTM()?.a || 1;
    this.#handles.forEach((handle, index) => {
      const [right, below] = CORNERS[index];
      setAll(handle, { cx: x + right * width * w, cy: y + below * height * h, r: HANDLE_PIXELS / scale });
    });
  }

  /** Takes the numbers as they are: those that do not fit are moved to where they do. */
  #take() {
    const values = this.#inputs.map((input, index) => (input.value === "" ? this.#region[index] : Number(input.value) / 100));
    this.#set(values);
  }

  get #size() {
    const { width, height } = this.#drawing.viewBox.baseVal;
    return [width, height];
  }

  #where({ clientX, clientY }) {
    const { x, y } = new DOMPoint(clientX, clientY).matrixTransform(this.#drawing.getScreenCTM().inverse());
    const [w, h] = this.#size;
    return [between(x / w, 0, 1), between(y / h, 0, 1)];
  }

  #grasp(event) {
    event.preventDefault();
    this.#drawing.setPointerCapture(event.pointerId);
    const [x, y] = this.#where(event);
    const [left, top, across, down] = this.#region;
    const corner = this.#handles.indexOf(event.target);
    if (corner >= 0) {
      const [right, below] = CORNERS[corner];
      this.#drag = { fixed: [right ? left : left + across, below ? top : top + down] };
    } else if (event.target === this.#box) {
      this.#drag = { offset: [x - left, y - top] };
    } else {
      this.#drag = { fixed: [x, y] };
    }
  }

  #move(event) {
    if (this.#drag === null) return;
    const [x, y] = this.#where(event);
    const { fixed, offset } = this.#drag;
    const [, , across, down] = this.#region;
    if (offset) {
      this.#set([x - offset[0], y - offset[1], across, down]);
    } else {
      this.#set([Math.min(x, fixed[0]), Math.min(y, fixed[1]), Math.abs(x - fixed[0]), Math.abs(y - fixed[1])]);
    }
  }

  #send(button, region) {
    return busy(button, this.#message, async () => {
      await post("api/request/set_region", JSON.stringify({ region, ...this.#views.named() }));
      this.end();
      report(byId("message"), region ? "The rectangle is saved." : "The rectangle is the configured one.", "good");
      byId("draw").focus();
    });
  }

  async #copy() {
    const table = this.#views.chosen ? `views.${this.#views.chosen}` : "preprocess";
    const text = `[${table}]\nregion = [${this.#region.map((share) => Number(share.toFixed(4))).join(", ")}]\n`;
    try {
      await navigator.clipboard.writeText(text);
      report(this.#message, "Copied.", "good");
    } catch {
      // Browsers give the clipboard to https and localhost only.
      report(this.#message, text, "good");
    }
  }
}
