// The connection: opens it again when it breaks, keeps the server's clock, answers each moment.

import { parse } from "./wire.js";

const FIRST_WAIT = 250;
const LONGEST_WAIT = 4000;
const PING_MS = 1500;
const REMEMBER_MS = 30000;

export class Link {
  /** handlers: {open, close, hello, stats, page, problem, ended, moment}. */
  constructor(handlers) {
    this.handlers = handlers;
    this.wait = FIRST_WAIT;
    this.trips = [];
    this.socket = null;
    this.timer = 0;
  }

  connect() {
    const scheme = location.protocol === "https:" ? "wss" : "ws";
    const socket = new WebSocket(`${scheme}://${location.host}/ws`);
    socket.binaryType = "arraybuffer";
    this.socket = socket;
    this.trips = [];
    socket.addEventListener("open", () => {
      this.wait = FIRST_WAIT;
      this.ping();
      this.timer = setInterval(() => this.ping(), PING_MS);
      this.handlers.open();
    });
    socket.addEventListener("message", (event) => this.receive(event.data));
    socket.addEventListener("close", (event) => {
      clearInterval(this.timer);
      this.handlers.close(event.code);
      setTimeout(() => this.connect(), this.wait);
      this.wait = Math.min(LONGEST_WAIT, this.wait * 2);
    });
  }

  receive(data) {
    if (typeof data !== "string") {
      const moment = parse(data);
      moment.received = this.now();
      this.handlers.moment(moment);
      return;
    }
    const message = JSON.parse(data);
    if (message.t === "pong") this.pong(message);
    else if (message.t in this.handlers) this.handlers[message.t](message);
  }

  send(message) {
    if (this.socket !== null && this.socket.readyState === WebSocket.OPEN) {
      this.socket.send(JSON.stringify(message));
    }
  }

  /** Tell the server that a moment has been drawn, or never will be, and all before it. */
  answer(number) {
    const message = { t: "ack", n: number };
    const best = this.best();
    if (best) message.rtt = Math.round(best.trip * 10) / 10;
    this.send(message);
  }

  ping() {
    this.send({ t: "ping", c: performance.now() });
  }

  pong(message) {
    const now = performance.now();
    const trip = now - message.c;
    // The shortest trip was disturbed least: half of it each way.
    this.trips.push({ at: now, trip, offset: message.now - (message.c + trip / 2) / 1000 });
    this.trips = this.trips.filter((each) => now - each.at < REMEMBER_MS);
  }

  best() {
    let best = null;
    for (const each of this.trips) if (best === null || each.trip < best.trip) best = each;
    return best;
  }

  /** Seconds of the server's clock; NaN before the first answer. */
  now() {
    const best = this.best();
    return best === null ? NaN : performance.now() / 1000 + best.offset;
  }
}
