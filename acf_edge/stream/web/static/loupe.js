// The loupe: the same spot of both pictures, pixel for pixel, with their values.

import { AFTER, BEFORE } from "./wire.js";

const ZOOMS = [2, 4, 6, 8, 12, 16, 24, 32];
const PANE = 152; // CSS pixels, each side
const GAP = 2;

export class Loupe {
  constructor(stage) {
    this.stage = stage;
    this.root = document.getElementById("loupe");
    this.canvas = document.getElementById("loupe-canvas");
    this.spot = document.getElementById("spot");
    this.text = document.getElementById("loupe-text");
    this.zoomText = document.getElementById("zoom-text");
    this.context = this.canvas.getContext("2d", { alpha: false });
    // Of its own, and read often: reading the large canvases back would slow them down.
    this.probe = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
    this.zoom = 3;
    this.at = null;
    this.listen();
  }

  get on() {
    return !this.root.hidden;
  }

  toggle(on = !this.on) {
    this.root.hidden = this.spot.hidden = !on;
    if (on && !this.at) this.at = { x: this.stage.after.width / 2, y: this.stage.after.height / 2 };
    if (on) this.draw();
    return on;
  }

  moveTo({ x, y }) {
    this.at = {
      x: Math.min(this.stage.after.width - 1, Math.max(0, Math.floor(x))),
      y: Math.min(this.stage.after.height - 1, Math.max(0, Math.floor(y))),
    };
    this.draw();
  }

  step(by) {
    this.zoom = Math.min(ZOOMS.length - 1, Math.max(0, this.zoom + by));
    this.draw();
  }

  draw() {
    const pair = this.stage.shown;
    if (!this.on || !this.at) return;
    const dot = Math.max(1, Math.round(window.devicePixelRatio || 1));
    const zoom = ZOOMS[this.zoom] * dot; // device pixels of the loupe per enhanced pixel
    const cells = Math.ceil((PANE * dot) / zoom);
    const pane = cells * zoom;
    if (this.canvas.width !== 2 * pane + GAP * dot || this.canvas.height !== pane) {
      this.canvas.width = 2 * pane + GAP * dot;
      this.canvas.height = pane;
    }
    const context = this.context;
    context.fillStyle = "#000";
    context.fillRect(0, 0, this.canvas.width, this.canvas.height);
    context.imageSmoothingEnabled = false;
    const left = this.at.x - Math.floor(cells / 2);
    const top = this.at.y - Math.floor(cells / 2);
    const after = pair && pair.get(AFTER);
    this.place(after);
    for (const [kind, offset] of [[BEFORE, 0], [AFTER, pane + GAP * dot]]) {
      const picture = pair && pair.get(kind);
      if (!picture || !after) continue;
      // How many enhanced pixels one pixel of this picture spans.
      const spanX = after.width / picture.width;
      const spanY = after.height / picture.height;
      context.save();
      context.beginPath();
      context.rect(offset, 0, pane, pane);
      context.clip();
      context.drawImage(
        picture.image, 0, 0, picture.width, picture.height,
        offset - left * zoom, -top * zoom,
        picture.width * spanX * zoom, picture.height * spanY * zoom,
      );
      context.restore();
      this.cross(offset + (this.at.x - left) * zoom, (this.at.y - top) * zoom, zoom, dot);
    }
    this.zoomText.value = `${ZOOMS[this.zoom]}×`;
    this.text.value = this.words(pair);
  }

  cross(x, y, zoom, dot) {
    const context = this.context;
    context.lineWidth = dot;
    for (const [colour, grow] of [["#000", dot], ["#fff", 0]]) {
      context.strokeStyle = colour;
      context.strokeRect(
        x - dot / 2 - grow, y - dot / 2 - grow, zoom + dot + 2 * grow, zoom + dot + 2 * grow,
      );
    }
  }

  words(pair) {
    const values = [BEFORE, AFTER].map((kind) => {
      const picture = pair && pair.get(kind);
      const after = pair && pair.get(AFTER);
      if (!picture || !after) return "–";
      const x = Math.floor((this.at.x * picture.width) / after.width);
      const y = Math.floor((this.at.y * picture.height) / after.height);
      this.probe.drawImage(picture.image, x, y, 1, 1, 0, 0, 1, 1);
      return [...this.probe.getImageData(0, 0, 1, 1).data.slice(0, 3)]
        .map((value) => String(value).padStart(3, "\u2007"))
        .join(" ");
    });
    return `${this.at.x}, ${this.at.y}\n${values[0]} → ${values[1]}`;
  }

  /** Keep out of the way: the corner farther from the spot. */
  place(after) {
    if (!after) return;
    this.root.classList.toggle("at-left", this.at.x > after.width / 2);
    this.root.classList.toggle("at-top", this.at.y > after.height / 2);
    this.spot.style.left = `${(100 * (this.at.x + 0.5)) / after.width}%`;
    this.spot.style.top = `${(100 * (this.at.y + 0.5)) / after.height}%`;
  }

  listen() {
    const root = this.stage.root;
    root.addEventListener("pointermove", (event) => {
      if (!this.on || this.stage.dragging !== null) return;
      if (event.pointerType === "mouse" || event.buttons) this.moveTo(this.stage.locate(event));
    });
    // With a finger, the loupe follows; the divider is moved by its handle.
    this.stage.grab = (event) => {
      if (!this.on || event.pointerType === "mouse" || event.target.closest(".divider")) {
        return true;
      }
      this.moveTo(this.stage.locate(event));
      return false;
    };
    document.getElementById("zoom-in").addEventListener("click", () => this.step(1));
    document.getElementById("zoom-out").addEventListener("click", () => this.step(-1));
    this.root.addEventListener("keydown", (event) => {
      const far = event.shiftKey ? 10 : 1;
      const move = {
        ArrowLeft: [-far, 0], ArrowRight: [far, 0], ArrowUp: [0, -far], ArrowDown: [0, far],
      }[event.key];
      if (move) this.moveTo({ x: this.at.x + move[0], y: this.at.y + move[1] });
      else if (event.key === "+" || event.key === "=") this.step(1);
      else if (event.key === "-") this.step(-1);
      else return;
      event.preventDefault();
    });
  }
}
