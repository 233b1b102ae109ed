// How results look, live or kept. Labels are text, never HTML.

export const byId = (id) => document.getElementById(id);

/** Returns the URL of a path on the device, without a password: fetch() refuses a URL with one. */
export function at(path) {
  const url = new URL(path, location.href);
  url.username = url.password = "";
  return url;
}

export function element(name, fields = {}, ...children) {
  const made = Object.assign(document.createElement(name), fields);
  made.append(...children);
  return made;
}

export const percent = (score) => `${(score * 100).toFixed(score < 0.0995 ? 1 : 0)} %`;

export const clock = (when) =>
  when.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" });

export const ago = (seconds) => new Date(Date.now() - seconds * 1000);

/** Splits a label into the name of the class and its other names. */
export function names({ name, label }) {
  return [name, label.startsWith(name) ? label.slice(name.length).replace(/^[\s,]+/, "") : ""];
}

export function setText(target, text) {
  if (target.textContent !== text) target.textContent = text;
}

/** Draws the three labels into a list, reusing its rows. */
export function showLabels(list, predictions) {
  while (list.children.length > predictions.length) list.lastElementChild.remove();
  while (list.children.length < predictions.length) {
    const bar = element("div", { className: "bar" }, element("div", { className: "fill" }));
    bar.setAttribute("aria-hidden", "true");
    list.append(
      element(
        "li",
        {},
        element("span", { className: "name", dir: "auto" }),
        element("span", { className: "score" }),
        bar,
        element("span", { className: "rest", dir: "auto" }),
      ),
    );
  }
  predictions.forEach((prediction, index) => {
    const [name, value, bar, rest] = list.children[index].children;
    const [short, others] = names(prediction);
    setText(name, short);
    setText(rest, others);
    setText(value, percent(prediction.score));
    list.children[index].title = prediction.label;
    bar.firstElementChild.style.width = `${Math.min(100, prediction.score * 100)}%`;
  });
}

/** Draws the square over a picture of `size`; the numbers of `crop` are fractions of it. */
export function showSquare(svg, crop, [width, height]) {
  const [x, y, across, down] = [crop[0] * width, crop[1] * height, crop[2] * width, crop[3] * height];
  const [shade, ...rects] = svg.children;
  const path = `M0 0H${width}V${height}H0zM${x} ${y}v${down}h${across}v${-down}z`;
  if (svg.classList.contains("known") && shade.getAttribute("d") === path) return;
  svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
  shade.setAttribute("d", path);
  for (const rect of rects) {
    for (const [name, value] of Object.entries({ x, y, width: across, height: down })) rect.setAttribute(name, value);
  }
  svg.classList.add("known");
}

/** Speaks to a screen reader, not faster than a person can listen. */
export class Voice {
  #target;
  #pauseMs;
  #next = null;
  #waiting = false;

  constructor(target, pauseMs) {
    this.#target = target;
    this.#pauseMs = pauseMs;
  }

  say(text) {
    this.#next = text;
    if (!this.#waiting) this.#speak();
  }

  #speak() {
    this.#waiting = this.#next !== null;
    if (!this.#waiting) return;
    this.#target.textContent = this.#next;
    this.#next = null;
    setTimeout(() => this.#speak(), this.#pauseMs);
  }
}

/** Sends a POST; returns the data of the answer, or throws an Error with a text for people. */
export async function post(path, body) {
  let response;
  try {
    response = await fetch(at(path), { method: "POST", body });
  } catch {
    throw new Error("The device does not answer.");
  }
  const text = await response.text();
  let answer;
  try {
    answer = JSON.parse(text);
  } catch {
    answer = { error: text.trim() || `The device answered ${response.status}.` };
  }
  if (answer.status !== "ok") throw new Error(answer.error);
  return answer.data;
}

/** Runs an action of a control once at a time, and says what went wrong. */
export async function busy(control, message, action) {
  if (control.getAttribute("aria-busy") === "true") return;
  control.setAttribute("aria-busy", "true");
  report(message, "");
  try {
    await action();
  } catch (error) {
    report(message, error.message);
  } finally {
    control.removeAttribute("aria-busy");
  }
}

export function report(message, text, kind = "bad") {
  message.dataset.kind = kind;
  message.textContent = text;
}
