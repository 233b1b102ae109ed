// Joins the stream, the controls and what is shown.

import { Kept } from "./kept.js";
import { LivePicture, LiveStream } from "./live.js";
import { Rectangle } from "./rectangle.js";
import { Settings } from "./settings.js";
import { Voice, ago, busy, byId, clock, element, names, post, report, setText, showLabels, showSquare } from "./show.js";
import { Views } from "./views.js";

const RATE_S = 3;
const FACTS_MS = 1000;
const SILENT_S = 5;
const SILENT_PERIODS = 3;
const CHANGES_SHOWN = 8;
const VOICE_MS = 5000;

const voice = new Voice(byId("say"), VOICE_MS);
const picture = new LivePicture(byId("picture"));
const views = new Views(byId("views"), byId("outlines"), showChosen);
const rectangle = new Rectangle(views);
const settings = new Settings(views);
new Kept(voice, views);

let instance = null;
let version = null;
let status = {};
let newest = null;
let frames = [];
let changes = [];
let heardAt = new Date();
let goneAt = null;
let goneWhy = "";

new LiveStream({
  hello(data) {
    if (goneAt !== null) voice.say("Connected again");
    goneAt = null;
    if (data.instance !== instance) frames = [];
    instance = data.instance;
    heardAt = new Date();
    byId("frame").classList.remove("stale");
    showState();
  },

  status(data) {
    status = data;
    if (version !== null && data.version !== version) takeNewPage();
    version = data.version;
    setText(byId("device"), data.device ?? "edgeclassifier");
    document.title = `${data.device ?? "edgeclassifier"} – edgeclassifier`;
    views.set(data.views ?? []);
    rectangle.update();
    settings.show(status);
    showState();
    showFacts();
  },

  changes(data) {
    changes = data;
    views.changes(data);
    showChanges();
  },

  result(data) {
    views.result(data);
    heardAt = new Date();
    picture.show();
    if (data.view === views.chosen) showResult(data);
  },

  gone(why) {
    goneAt ??= new Date();
    byId("frame").classList.add("stale");
    goneWhy = why;
    showState();
  },
});

function showResult(data) {
  const isFirst = newest === null;
  newest = data;
  frames.push([data.at_s, data.seq]);
  while (frames.length > 2 && data.at_s - frames[0][0] > RATE_S) frames.shift();
  showLabels(byId("labels"), data.predictions);
  byId("nothing").hidden = data.predictions.length > 0;
  showSquare(byId("square"), data.crop, data.size);
  if (isFirst) showState();
}

/** Another view was chosen: the page is about that one now. */
function showChosen() {
  rectangle.end();
  frames = [];
  newest = null;
  if (views.newest) showResult(views.newest);
  showChanges();
  settings.show(status);
}

function showChanges() {
  const shown = changes.slice(0, CHANGES_SHOWN).map((change) => {
    const when = ago(change.age_s);
    const time = element("time", { dateTime: when.toISOString(), textContent: clock(when) });
    const [name] = names(change);
    const text = change.view && views.several ? `${change.view}: ${name}` : name;
    return element("li", { title: change.label }, element("span", { textContent: text, dir: "auto" }), time);
  });
  byId("changes").replaceChildren(...shown);
  const last = changes.find(({ view }) => view === views.chosen);
  if (!last) return;
  const [name, rest] = names(last);
  if (byId("stable").textContent !== name) voice.say(name);
  setText(byId("stable"), name);
  setText(byId("rest"), last.known ? rest : "no label is sure enough");
  byId("stable").parentElement.title = last.label;
  setText(byId("since"), `Since ${clock(ago(last.age_s))}.`);
}

/** The device was updated, and its page with it. What was kept would be lost. */
function takeNewPage() {
  if (byId("kept").children.length === 0) location.reload();
  report(byId("message"), "The device was updated: reload this page when you like.", "good");
}

const LINKS = {
  gone: "not connected",
  paused: "paused",
  silent: "no new picture",
  unsent: "live here, not sent",
  live: "live",
  waiting: "connecting",
};

function linkState() {
  if (goneAt !== null) return "gone";
  if (status.paused) return "paused";
  if (newest === null) return "waiting";
  if (isSilent()) return "silent";
  return status.connected === false ? "unsent" : "live";
}

/** The camera may be lost long before the device gives it up: that must not look live. */
function isSilent() {
  const rate = currentRate();
  return (Date.now() - heardAt) / 1000 > SILENT_S + (rate ? SILENT_PERIODS / rate : 0);
}

/** What keeps the device from its work: said at the top, and read aloud when it changes. */
function problem() {
  if (goneAt !== null) return `No connection since ${clock(goneAt)}: ${goneWhy}. Trying again.`;
  const said = [];
  if (status.camera_problem) said.push(`Camera: ${status.camera_problem}`);
  if (status.connected === false) {
    said.push(`Nothing is sent: ${status.mqtt_problem ?? `there is no connection to the broker ${status.broker ?? ""} yet`}`);
  }
  return said.map((each) => (/[.?!]$/.test(each) ? each : `${each}.`)).join(" ");
}

function showState() {
  const state = linkState();
  const gone = state === "gone";
  byId("link").dataset.state = state;
  setText(byId("link"), LINKS[state]);
  const said = problem();
  byId("notice").hidden = said === "";
  setText(byId("notice"), said);
  byId("delivery").hidden = said !== "";
  setText(byId("delivery"), status.connected ? `Predictions go to the broker${status.broker ? ` ${status.broker}` : ""}.` : "");
  setText(byId("pause"), status.paused ? "Resume" : "Pause");
  byId("pause").classList.toggle("primary", Boolean(status.paused));
  const silent = state === "silent";
  setText(byId("answer-title"), gone || silent || status.paused ? "It saw" : "It sees");
  setText(byId("holds"), describeHolding());
  const note = gone ? "Not connected" : status.paused ? "Paused" : silent ? `No new picture since ${clock(heardAt)}`
    : newest ? "" : "Waiting for the first picture";
  setText(byId("stage-note"), note);
}

function describeHolding() {
  if (status.source === "replay") {
    return "The label that lasts. In this replay each picture may be another scene, so they can differ.";
  }
  return "The label that lasts; single pictures may differ.";
}

function showFacts() {
  const rows = [];
  const row = (name, value, warn = false) => value && rows.push([name, value, warn]);
  if (newest) {
    const rate = views.several ? (views.current?.rate_hz ?? null) : currentRate();
    row("Rate", status.paused ? "paused" : rate === null ? "–" : `${rate.toFixed(rate < 10 ? 1 : 0)} pictures/s`);
    const { inference, total } = newest.latency_ms;
    row("Latency", newest.repeated ? "the scene is still: answers are repeated"
      : `${inference.toFixed(1)} ms in the model, ${total.toFixed(1)} ms in all`);
    row("Runs on", newest.degraded_reason ? `${newest.backend}: ${newest.degraded_reason}` : newest.backend, newest.degraded_reason);
  }
  row("Runtime", status.runtime);
  const { temperature_c: temperature, throttling = [] } = status;
  if (typeof temperature === "number") {
    row("Temperature", [`${temperature.toFixed(0)} °C`, ...throttling].join(", ").replaceAll("_", " "), throttling.length > 0);
  }
  row("MQTT", describeBroker(), status.connected === false);
  row("Camera", status.view && status.view !== "clear" ? `${status.camera}, ${status.view}` : status.camera,
    status.camera !== "ok" || (status.view ?? "clear") !== "clear");
  if (typeof status.uptime_s === "number") row("Running since", ago(status.uptime_s).toLocaleString([], { hourCycle: "h23" }));
  row("Version", status.version);
  const list = byId("facts");
  if (list.children.length !== rows.length * 2) {
    list.replaceChildren(...rows.flatMap(() => [element("dt"), element("dd")]));
  }
  rows.forEach(([name, value, warn], index) => {
    setText(list.children[index * 2], name);
    setText(list.children[index * 2 + 1], String(value));
    list.children[index * 2 + 1].classList.toggle("warn", Boolean(warn));
  });
}

function currentRate() {
  const [[firstS, first], [lastS, last]] = [frames.at(0) ?? [0, 0], frames.at(-1) ?? [0, 0]];
  return lastS > firstS ? (last - first) / (lastS - firstS) : null;
}

function describeBroker() {
  const waiting = status.waiting > 0 ? `, ${status.waiting} messages wait` : "";
  const where = status.broker ? ` to ${status.broker}` : "";
  if (status.connected === true) return `connected${where}${waiting}`;
  if (status.connected === false) return `not connected${where}: ${status.mqtt_problem ?? "trying"}${waiting}`;
  return "";
}

byId("pause").addEventListener("click", () =>
  busy(byId("pause"), byId("message"), async () => {
    await post(`api/request/${status.paused ? "resume" : "pause"}`);
  }),
);

setInterval(() => {
  showFacts();
  showState();
}, FACTS_MS);
