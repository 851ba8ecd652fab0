// The connection: opens it again when it breaks, keeps the server's clock, answers each moment.

import { parse } from "./wire.js";

const FIRST_WAIT = 250;
const LONGEST_WAIT = 4000;
const PING_MS = 1500;
const FIRST_PINGS_MS = [0, 60, 150, 300, 600];
const REMEMBER = 20; // as many pings

/**
 * The server's clock, from below and from above: what it has stamped is past when it comes
 * here, and what was sent from here is past when it stamps. Each way keeps its quickest
 * message, so a page that was busy once does not spoil it.
 */
class Clock {
  constructor() {
    this.spans = [];
    this.open();
  }

  /** Begin another span; the oldest is forgotten, for clocks drift. */
  open() {
    this.spans.push({ low: -Infinity, high: Infinity });
    if (this.spans.length > REMEMBER) this.spans.shift();
  }

  /** The server stamped this (seconds), and it is here. */
  came(stamp) {
    const span = this.spans[this.spans.length - 1];
    span.low = Math.max(span.low, stamp - performance.now() / 1000);
  }

  /** It was sent then (ms), and the server stamped it. */
  went(sent, stamp) {
    const span = this.spans[this.spans.length - 1];
    span.high = Math.min(span.high, stamp - sent / 1000);
  }

  /** Seconds that the server's clock is ahead, and the bare round trip; or null. */
  get offset() {
    const low = Math.max(...this.spans.map((span) => span.low));
    const high = Math.min(...this.spans.map((span) => span.high));
    if (!Number.isFinite(low) || !Number.isFinite(high)) return null;
    return { ahead: (low + high) / 2, trip: Math.max(0, high - low) };
  }
}

export class Link {
  /** handlers: {open, close, hello, stats, page, problem, ended, moment}. */
  constructor(handlers) {
    this.handlers = handlers;
    this.wait = FIRST_WAIT;
    this.clock = new Clock();
    this.socket = null;
    this.timers = [];
  }

  connect() {
    const scheme = location.protocol === "https:" ? "wss" : "ws";
    const socket = new WebSocket(`${scheme}://${location.host}/ws`);
    socket.binaryType = "arraybuffer";
    this.socket = socket;
    this.clock = new Clock();
    socket.addEventListener("open", () => {
      this.wait = FIRST_WAIT;
      this.timers = FIRST_PINGS_MS.map((after) => setTimeout(() => this.ping(), after));
      this.timers.push(setInterval(() => {
        this.clock.open();
        this.ping();
      }, PING_MS));
      this.handlers.open();
    });
    socket.addEventListener("message", (event) => this.receive(event.data));
    socket.addEventListener("close", (event) => {
      for (const timer of this.timers) clearTimeout(timer);
      this.handlers.close(event.code);
      setTimeout(() => this.connect(), this.wait);
      this.wait = Math.min(LONGEST_WAIT, this.wait * 2);
    });
  }

  receive(data) {
    if (typeof data !== "string") {
      const moment = parse(data);
      this.clock.came(moment.encoded);
      moment.received = this.now();
      this.handlers.moment(moment);
      return;
    }
    const message = JSON.parse(data);
    if (message.now !== undefined) this.clock.came(message.now);
    if (message.t === "pong") this.clock.went(message.c, message.now);
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
    const { offset } = this.clock;
    if (offset) message.rtt = Math.round(offset.trip * 10000) / 10;
    this.send(message);
  }

  ping() {
    this.send({ t: "ping", c: performance.now() });
  }

  /** Seconds of the server's clock; NaN before the first answer. */
  now() {
    const { offset } = this.clock;
    return offset === null ? NaN : performance.now() / 1000 + offset.ahead;
  }
}
