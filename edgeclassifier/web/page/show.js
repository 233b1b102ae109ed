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
      element("li", {}, element("span", { className: "name" }), element("span", { className: "score" }), bar),
    );
  }
  predictions.forEach(({ name, score }, index) => {
    const [called, value, bar] = list.children[index].children;
    setText(called, name);
    setText(value, percent(score));
    bar.firstElementChild.style.width = `${Math.min(100, score * 100)}%`;
  });
}

/** Draws the square over a picture; its numbers are fractions of the picture. */
export function showSquare(svg, crop) {
  const [x, y, width, height] = crop.map((share) => share * 1000);
  const [shade, ...rects] = svg.children;
  const hole = `M${x} ${y}v${height}h${width}v${-height}z`;
  const path = `M0 0H1000V1000H0z${hole}`;
  if (svg.classList.contains("known") && shade.getAttribute("d") === path) return;
  shade.setAttribute("d", path);
  for (const rect of rects) {
    for (const [name, value] of Object.entries({ x, y, width, height })) rect.setAttribute(name, value);
  }
  svg.classList.add("known");
}

export function setSize(frame, [width, height]) {
  frame.style.setProperty("--w", width);
  frame.style.setProperty("--h", height);
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
