// The stream of events, and the pictures that go with it.

import { at } from "./show.js";

const SILENCE_MS = 7000;
const FIRST_PAUSE_MS = 500;
const LONGEST_PAUSE_MS = 5000;
const PICTURE_MS = 100;

/** Calls handlers.<event>(data) for every event, and handlers.gone(why) if there are none. */
export class LiveStream {
  #handlers;
  #abort = null;
  #silence = 0;
  #pauseMs = FIRST_PAUSE_MS;
  #retry = 0;

  constructor(handlers) {
    this.#handlers = handlers;
    document.addEventListener("visibilitychange", () => this.#look());
    window.addEventListener("online", () => this.#look());
    window.addEventListener("pageshow", () => this.#look());
    this.#look();
  }

  /** A hidden page costs the device nothing. */
  #look() {
    if (document.visibilityState === "hidden") {
      this.#stop();
    } else if (this.#abort === null) {
      this.#connect();
    }
  }

  #stop() {
    clearTimeout(this.#retry);
    clearTimeout(this.#silence);
    this.#abort?.abort();
    this.#abort = null;
  }

  async #connect() {
    clearTimeout(this.#retry);
    const abort = new AbortController();
    this.#abort = abort;
    let why = "it does not answer";
    try {
      this.#listen();
      const response = await fetch(at("live"), { signal: abort.signal, cache: "no-store" });
      if (response.ok) {
        await this.#read(response.body);
      } else {
        why = (await response.text()).trim();
      }
    } catch (error) {
      if (this.#abort !== abort) return;
    }
    if (this.#abort !== abort) return;
    this.#stop();
    this.#handlers.gone(why);
    this.#retry = setTimeout(() => this.#look(), this.#pauseMs);
    this.#pauseMs = Math.min(this.#pauseMs * 1.6, LONGEST_PAUSE_MS);
  }

  #listen() {
    clearTimeout(this.#silence);
    this.#silence = setTimeout(() => {
      // A device without power says nothing at all, not even goodbye.
      const abort = this.#abort;
      this.#stop();
      abort?.abort();
      this.#handlers.gone("it is silent");
      this.#retry = setTimeout(() => this.#look(), this.#pauseMs);
    }, SILENCE_MS);
  }

  async #read(body) {
    const reader = body.pipeThrough(new TextDecoderStream()).getReader();
    let rest = "";
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      this.#listen();
      this.#pauseMs = FIRST_PAUSE_MS;
      const events = (rest + value).split("\n\n");
      rest = events.pop();
      for (const event of events) this.#handle(event);
    }
  }

  #handle(event) {
    const lines = event.split("\n");
    const field = (name) => lines.find((line) => line.startsWith(`${name}: `))?.slice(name.length + 2);
    this.#handlers[field("event")]?.(JSON.parse(field("data")));
  }
}

/** Shows the newest picture in an <img>: never two at a time, so a slow phone gets fewer. */
export class LivePicture {
  #image;
  #busy = false;
  #wanted = false;

  constructor(image) {
    this.#image = image;
  }

  async show() {
    this.#wanted = true;
    if (this.#busy) return;
    this.#busy = true;
    while (this.#wanted) {
      this.#wanted = false;
      const pause = new Promise((resolve) => setTimeout(resolve, PICTURE_MS));
      await this.#fetch();
      await pause;
    }
    this.#busy = false;
  }

  async #fetch() {
    let url;
    try {
      const response = await fetch(at("live/picture"), { cache: "no-store", signal: AbortSignal.timeout(SILENCE_MS) });
      if (!response.ok) return;
      url = URL.createObjectURL(await response.blob());
      const before = this.#image.src;
      this.#image.src = url;
      await this.#image.decode();
      this.#image.hidden = false;
      if (before) URL.revokeObjectURL(before);
    } catch {
      // The stream says what is the matter; the last picture stays.
    }
  }
}
