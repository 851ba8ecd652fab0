// Buttons that ask something of the server: snapshot, record, engine.

async function post(path, body = {}) {
  const answer = await fetch(path, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(body),
  });
  const result = await answer.json().catch(() => ({}));
  if (!answer.ok) {
    const problem = result.problem || `The server said ${answer.status}.`;
    throw new Error([problem, result.remedy].filter(Boolean).join(" "));
  }
  return result;
}

function download(url, name) {
  const link = document.createElement("a");
  link.href = url;
  link.download = name || "";
  document.body.append(link);
  link.click();
  link.remove();
}

export class Toast {
  constructor() {
    this.root = document.getElementById("toast");
    this.timer = 0;
  }

  say(text, bad = false) {
    this.root.textContent = text;
    this.root.classList.toggle("bad", bad);
    this.root.classList.add("shown");
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.root.classList.remove("shown"), bad ? 8000 : 4000);
  }
}

/** Give a button another face. */
export function face(button, icon, label, pressed) {
  const use = button.querySelector("use");
  const words = button.querySelector("span");
  if (use.getAttribute("href") !== `#i-${icon}`) use.setAttribute("href", `#i-${icon}`);
  if (words.textContent !== label) words.textContent = label;
  if (pressed !== undefined) button.setAttribute("aria-pressed", String(pressed));
}

export class Snapshot {
  /** number(): of the moment on the screen. */
  constructor(toast, number) {
    this.toast = toast;
    this.number = number;
    this.folder = null;
    this.button = document.getElementById("snapshot");
    this.button.addEventListener("click", () => this.take());
  }

  async take() {
    const number = this.number();
    if (!number) {
      this.toast.say("There is no picture yet.", true);
      return;
    }
    try {
      if (this.folder) {
        const saved = await post("/api/snapshot", { number });
        this.toast.say(`Saved ${saved.names.join(" and ")} in ${saved.folder}.`);
        return;
      }
      for (const picture of ["before", "after"]) await this.fetch(picture, number);
      this.toast.say("Both pictures are among your downloads, as PNG.");
    } catch (error) {
      this.toast.say(error.message, true);
    }
  }

  async fetch(picture, number) {
    const answer = await fetch(`/snapshot.png?picture=${picture}&number=${number}`);
    if (!answer.ok) throw new Error((await answer.text()).trim());
    const name = /filename="([^"]+)"/.exec(answer.headers.get("Content-Disposition") || "");
    const url = URL.createObjectURL(await answer.blob());
    download(url, name ? name[1] : `acf-${number}-${picture}.png`);
    setTimeout(() => URL.revokeObjectURL(url), 60000);
  }
}

export class Record {
  constructor(toast) {
    this.toast = toast;
    this.button = document.getElementById("record");
    this.clock = document.getElementById("clock");
    this.time = document.getElementById("clock-text");
    this.running = null;
    this.busy = false;
    this.button.addEventListener("click", () => this.toggle());
  }

  /** recording: {name, seconds} or null, as the server tells. */
  update(recording) {
    this.running = recording;
    const label = recording ? "Stop" : "Record";
    face(this.button, recording ? "stop" : "record", label, Boolean(recording));
    this.button.classList.toggle("recording", Boolean(recording));
    this.clock.hidden = !recording;
    if (recording) {
      const seconds = Math.floor(recording.seconds);
      const minutes = String(Math.floor(seconds / 60)).padStart(2, "0");
      this.time.textContent = `${minutes}:${String(seconds % 60).padStart(2, "0")}`;
    }
  }

  async toggle() {
    if (this.busy) return;
    this.busy = true;
    try {
      if (this.running) {
        const done = await post("/api/record/stop");
        if (done.url) download(done.url, done.name);
        const where = done.folder ? `in ${done.folder}` : "among your downloads";
        this.toast.say(`${done.name} is ${where}.`);
      } else {
        const begun = await post("/api/record/start");
        this.toast.say(`Recording ${begun.name}.`);
      }
    } catch (error) {
      this.toast.say(error.message, true);
    }
    this.busy = false;
  }
}

export class Engines {
  constructor(toast) {
    this.toast = toast;
    this.root = document.getElementById("engines");
    this.reason = document.getElementById("reason");
    this.rows = new Map();
    this.quietUntil = 0;
  }

  /** rungs: names, best first; held: the name that was chosen, or null. */
  build(rungs, held) {
    this.root.replaceChildren();
    this.rows.clear();
    if (rungs.length > 1) this.row(null, "Automatic", held === null);
    for (const name of rungs) this.row(name, name, held === name || rungs.length === 1);
  }

  row(name, words, checked) {
    const label = document.createElement("label");
    const input = document.createElement("input");
    input.type = "radio";
    input.name = "engine";
    input.checked = checked;
    input.addEventListener("change", () => this.hold(name));
    const text = document.createElement("span");
    text.className = "name";
    text.textContent = words;
    text.title = words;
    const share = document.createElement("output");
    label.append(input, text, share);
    this.root.append(label);
    this.rows.set(name, { label, input, share });
  }

  async hold(name) {
    // Figures that were on their way before the server knew must not take the choice back.
    this.quietUntil = Infinity;
    try {
      await post("/api/hold", { rung: name });
      this.toast.say(name ? `Staying with ${name}.` : "The governor chooses the engine again.");
    } catch (error) {
      this.toast.say(error.message, true);
    }
    this.quietUntil = performance.now() + 1000;
  }

  /** Show which engine runs, what share each had, and why. */
  update(rung, governor, held) {
    const frames = (governor && governor.frames) || {};
    const all = Object.values(frames).reduce((sum, count) => sum + count, 0);
    for (const [name, row] of this.rows) {
      const active = name !== null && name === rung;
      row.label.classList.toggle("active", active);
      row.input.setAttribute("aria-description", active ? "in use" : "");
      const share = name !== null && all ? (100 * (frames[name] || 0)) / all : null;
      row.share.value = share === null ? "" : `${share >= 99.95 ? 100 : share.toFixed(1)} %`;
      if (performance.now() > this.quietUntil && this.rows.size > 1) {
        row.input.checked = (held ?? null) === name;
      }
    }
    const reason = (governor && governor.reason) || "";
    if (this.reason.textContent !== reason) this.reason.textContent = reason;
  }
}
