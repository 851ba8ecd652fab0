// Small plots of the last minute, and the bar of where the time goes.

const POINTS = 120;
const NICE = [1, 2, 5];

/** The smallest of 1, 2, 5 x 10^n that is not below a value. */
function nice(value) {
  const power = 10 ** Math.floor(Math.log10(Math.max(value, 1e-9)));
  for (const factor of NICE) if (factor * power >= value) return factor * power;
  return 10 * power;
}

export class Plot {
  /** style: "line" or "bar"; least: smallest top of the scale; words: (latest) => label. */
  constructor(canvas, { style = "line", least = 1, words }) {
    this.canvas = canvas;
    this.context = canvas.getContext("2d");
    this.style = style;
    this.least = least;
    this.words = words;
    this.rows = [];
    this.top = least;
    canvas.setAttribute("aria-label", words([null, null]));
    new ResizeObserver(() => this.draw()).observe(canvas);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.draw());
  }

  /** values: numbers, or null where nothing is known. */
  add(values) {
    this.rows.push(values);
    if (this.rows.length > POINTS) this.rows.shift();
    this.scale();
    this.draw();
    this.canvas.setAttribute("aria-label", this.words(values));
  }

  scale() {
    const sums = this.style === "bar" ? (row) => row.reduce((sum, value) => sum + (value || 0), 0)
      : (row) => Math.max(...row.map((value) => value || 0));
    const wanted = nice(Math.max(this.least, ...this.rows.map(sums)) * 1.05);
    // Growing is at once; shrinking waits until it is worth the jump.
    if (wanted > this.top || wanted * 2.4 < this.top) this.top = wanted;
  }

  draw() {
    const dot = window.devicePixelRatio || 1;
    const width = Math.round(this.canvas.clientWidth * dot);
    const height = Math.round(this.canvas.clientHeight * dot);
    if (!width || !height) return;
    if (this.canvas.width !== width || this.canvas.height !== height) {
      this.canvas.width = width;
      this.canvas.height = height;
    }
    const style = getComputedStyle(this.canvas);
    const colours = ["--one", "--two"].map((name) => style.getPropertyValue(name));
    const context = this.context;
    context.clearRect(0, 0, width, height);
    this.grid(width, height, dot, style);
    const stride = width / (POINTS - 1);
    const first = POINTS - this.rows.length;
    const y = (value) => height - dot - (Math.min(value, this.top) / this.top) * (height - 4 * dot);
    if (this.style === "bar") this.bars(first, stride, height, y, colours, dot);
    else for (const series of [1, 0]) this.line(series, first, stride, y, colours[series], dot);
  }

  grid(width, height, dot, style) {
    const context = this.context;
    context.strokeStyle = style.getPropertyValue("--hair");
    context.fillStyle = style.getPropertyValue("--quiet");
    context.lineWidth = dot;
    context.font = `${10 * dot}px ${style.fontFamily}`;
    context.textBaseline = "top";
    for (const part of [1, 0.5, 0]) {
      const line = Math.round(height - dot - part * (height - 4 * dot)) + dot / 2;
      context.beginPath();
      context.moveTo(0, line);
      context.lineTo(width, line);
      context.stroke();
      const label = this.top * part;
      if (part) context.fillText(String(Math.round(label * 100) / 100), 0, line + 2 * dot);
    }
  }

  line(series, first, stride, y, colour, dot) {
    const context = this.context;
    context.strokeStyle = colour;
    context.lineWidth = (series === 0 ? 1.75 : 1.25) * dot;
    context.lineJoin = "round";
    context.beginPath();
    let pen = false;
    this.rows.forEach((row, i) => {
      const value = row[series];
      if (value === null || !Number.isFinite(value)) {
        pen = false;
        return;
      }
      if (pen) context.lineTo((first + i) * stride, y(value));
      else context.moveTo((first + i) * stride, y(value));
      pen = true;
    });
    context.stroke();
  }

  bars(first, stride, height, y, colours, dot) {
    const context = this.context;
    this.rows.forEach((row, i) => {
      let below = 0;
      for (const series of [1, 0]) {
        const value = row[series] || 0;
        if (value <= 0) continue;
        const top = y(below + value);
        context.fillStyle = colours[series];
        context.fillRect(
          (first + i) * stride - stride / 2, top, Math.max(dot, stride - dot / 2), y(below) - top,
        );
        below += value;
      }
    });
  }
}

// How much a new figure moves the bar: less than all, or it would twitch.
const NEW = 0.5;

/** Where the milliseconds go, as one bar and a legend. */
export class PathBar {
  constructor() {
    this.root = document.getElementById("path");
    this.total = document.getElementById("path-total");
    this.pieces = [...this.root.children];
    const rows = [...document.getElementById("path-list").children];
    this.names = rows.map((row) => row.querySelector("dt").textContent);
    this.values = rows.map((row) => row.querySelector("dd"));
    this.shown = null;
  }

  /** milliseconds: one for each piece. */
  set(milliseconds) {
    if (!milliseconds.every(Number.isFinite)) return;
    const old = this.shown || milliseconds;
    this.shown = milliseconds.map((value, i) => NEW * value + (1 - NEW) * old[i]);
    this.total.value = `${this.shown.reduce((sum, value) => sum + value, 0).toFixed(0)} ms`;
    this.shown.forEach((value, i) => {
      this.pieces[i].style.flexGrow = String(value);
      this.values[i].textContent = value.toFixed(1);
    });
    const words = this.names.map((name, i) => `${name} ${this.shown[i].toFixed(1)} ms`);
    this.root.setAttribute("aria-label", words.join(", "));
  }
}
