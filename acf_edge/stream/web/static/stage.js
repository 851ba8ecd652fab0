// The picture: two canvases, one over the other, and the divider between them.

import { upsampler } from "./upsample.js";
import { AFTER, BEFORE } from "./wire.js";

const STEP = 1;
const STRIDE = 10;

export class Stage {
  /**
   * onshown(pair) is called once a pair is drawn; the pair stays open until the next one.
   * software: up-sample with WebGL even without a GPU.
   */
  constructor(onshown, software = false) {
    this.onshown = onshown;
    this.root = document.getElementById("stage");
    this.after = document.getElementById("after");
    this.before = document.getElementById("before");
    this.divider = document.getElementById("divider");
    // What stands in the canvas is only ever drawn over: no transparency to blend.
    this.afterContext = this.after.getContext("2d", { alpha: false });
    this.upsampler = upsampler(this.before, software);
    this.shown = null;
    this.next = null;
    this.request = 0;
    this.aspect = 1;
    this.dragging = null;
    this.grab = () => true;
    this.set(50);
    this.listen();
  }

  /** Draw this pair with the next frame of the screen, unless a newer one comes before. */
  show(pair) {
    if (this.next) this.next.close();
    this.next = pair;
    if (!this.request) this.request = requestAnimationFrame(() => this.draw());
  }

  /** Forget what waits to be drawn. */
  hold() {
    if (this.next) this.next.close();
    this.next = null;
  }

  draw() {
    this.request = 0;
    const pair = this.next;
    if (!pair) return;
    this.next = null;
    const after = pair.get(AFTER);
    const before = pair.get(BEFORE);
    if (this.after.width !== after.width || this.after.height !== after.height) {
      this.resize(after.width, after.height);
    }
    const { width, height } = after;
    this.afterContext.drawImage(after.image, 0, 0, width, height, 0, 0, width, height);
    if (before) this.upsampler.draw(before);
    if (this.shown) this.shown.close();
    this.shown = pair;
    this.onshown(pair);
  }

  /** Make room for pictures of this size; nothing around moves if the shape is the same. */
  resize(width, height) {
    for (const canvas of [this.after, this.before]) {
      canvas.width = width;
      canvas.height = height;
    }
    this.shape(width, height);
  }

  shape(width, height) {
    const ratio = (width * this.aspect) / height;
    document.documentElement.style.setProperty("--ratio", ratio.toFixed(5));
  }

  /** Put the divider at this percentage of the width. */
  set(percent) {
    this.split = Math.min(100, Math.max(0, percent));
    this.root.style.setProperty("--split", `${this.split}%`);
    const rounded = Math.round(this.split);
    this.divider.setAttribute("aria-valuenow", String(rounded));
    this.divider.setAttribute(
      "aria-valuetext", `${rounded} % captured, ${100 - rounded} % enhanced`,
    );
  }

  /** Where an event is, in pixels of the enhanced picture. */
  locate(event) {
    const box = this.root.getBoundingClientRect();
    return {
      x: ((event.clientX - box.left) / box.width) * this.after.width,
      y: ((event.clientY - box.top) / box.height) * this.after.height,
    };
  }

  listen() {
    const move = (event) => {
      const box = this.root.getBoundingClientRect();
      this.set(((event.clientX - box.left) / box.width) * 100);
    };
    this.root.addEventListener("pointerdown", (event) => {
      if (event.button !== 0 || !this.grab(event)) return;
      this.dragging = event.pointerId;
      this.root.setPointerCapture(event.pointerId);
      this.root.classList.add("dragging");
      this.divider.focus({ preventScroll: true });
      event.preventDefault();
      move(event);
    });
    this.root.addEventListener("pointermove", (event) => {
      if (event.pointerId === this.dragging) move(event);
    });
    const drop = (event) => {
      if (event.pointerId !== this.dragging) return;
      this.dragging = null;
      this.root.classList.remove("dragging");
    };
    this.root.addEventListener("pointerup", drop);
    this.root.addEventListener("pointercancel", drop);
    this.divider.addEventListener("dblclick", () => this.set(50));
    this.divider.addEventListener("keydown", (event) => {
      const step = event.shiftKey ? STRIDE : STEP;
      const to = {
        ArrowLeft: this.split - step,
        ArrowDown: this.split - step,
        ArrowRight: this.split + step,
        ArrowUp: this.split + step,
        PageDown: this.split - STRIDE,
        PageUp: this.split + STRIDE,
        Home: 0,
        End: 100,
      }[event.key];
      if (to === undefined || event.altKey || event.ctrlKey || event.metaKey) return;
      event.preventDefault();
      this.set(to);
    });
  }
}
