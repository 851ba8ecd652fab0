// window.acf: for measuring from outside (docs/web.md). Costs nothing until it is used.

import { AFTER } from "./wire.js";

const MOST = 20000;

/** Give the page's measuring points. shown(pair) is to be called for each pair drawn. */
export function install(stage, link, transport) {
  const context = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  const waiting = new Set();
  let samples = null;
  let area = {};

  /** Mean brightness, 0..255, of the middle of each block of a grid laid over a part. */
  function grid({ x = 0, y = 0, width = 1, height = 3 / 16, columns = 32, rows = 3 } = {}) {
    const picture = stage.shown && stage.shown.get(AFTER);
    if (!picture) return null;
    const box = {
      x: Math.round(x * picture.width),
      y: Math.round(y * picture.height),
      width: Math.max(1, Math.round(width * picture.width)),
      height: Math.max(1, Math.round(height * picture.height)),
    };
    if (context.canvas.width !== box.width || context.canvas.height !== box.height) {
      context.canvas.width = box.width;
      context.canvas.height = box.height;
    }
    context.drawImage(
      stage.after, box.x, box.y, box.width, box.height, 0, 0, box.width, box.height,
    );
    const { data } = context.getImageData(0, 0, box.width, box.height);
    const levels = [];
    for (let row = 0; row < rows; row += 1) {
      for (let column = 0; column < columns; column += 1) {
        levels.push(middle(data, box, column / columns, row / rows, 1 / columns, 1 / rows));
      }
    }
    return levels;
  }

  function middle(data, box, left, top, width, height) {
    const from = (start, size, length) => Math.floor((start + size * 0.3) * length);
    const to = (start, size, length) => Math.max(
      from(start, size, length) + 1, Math.ceil((start + size * 0.7) * length),
    );
    let sum = 0;
    let count = 0;
    for (let y = from(top, height, box.height); y < to(top, height, box.height); y += 1) {
      for (let x = from(left, width, box.width); x < to(left, width, box.width); x += 1) {
        const at = 4 * (y * box.width + x);
        sum += (data[at] + data[at + 1] + data[at + 2]) / 3;
        count += 1;
      }
    }
    return Math.round((10 * sum) / Math.max(1, count)) / 10;
  }

  function describe(moment, drawn) {
    return {
      number: moment.number,
      sequence: moment.sequence,
      pts: moment.pts,
      captured: moment.captured,
      rung: moment.rung,
      held: moment.held,
      // Microseconds since 1970, as the coded clock counts; and of the page's own clock.
      wall: drawn.wall,
      performance: drawn.performance,
      latency: 1000 * (drawn.server - moment.captured),
    };
  }

  const acf = {
    version: 1,
    canvas: stage.after,
    before: stage.before,
    transport,
    last: null,
    grid,
    serverNow: () => link.now(),
    /** Keep grid(area) of each frame drawn from now on. */
    record(where = {}) {
      area = where;
      samples = [];
    },
    /** What was kept since the last call. */
    take() {
      const taken = samples || [];
      if (samples) samples = [];
      return taken;
    },
    stop() {
      samples = null;
    },
    /** Resolves with the next frame that is drawn. */
    next: () => new Promise((resolve) => waiting.add(resolve)),
  };
  window.acf = acf;

  return (pair, drawn) => {
    acf.last = describe(pair.moment, drawn);
    if (samples && samples.length < MOST) samples.push({ ...acf.last, levels: grid(area) });
    for (const resolve of waiting) resolve(acf.last);
    waiting.clear();
  };
}
