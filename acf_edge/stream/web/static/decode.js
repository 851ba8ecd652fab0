// Moments into pairs of drawable pictures. Both pictures of a pair are of the same instant.

import { codecOf } from "./wire.js";

// As encoders.py writes it, and why.
const COLOUR = { primaries: "bt709", transfer: "bt709", matrix: "smpte170m", fullRange: false };

/** Whether this browser can take H.264, and if not, why. */
export async function transportFor(query) {
  if (query.get("transport") === "jpeg") return { codec: "jpeg", why: "asked for" };
  if (!window.isSecureContext) {
    return { codec: "jpeg", why: "the address is not secure: H.264 needs localhost or HTTPS" };
  }
  if (typeof VideoDecoder === "undefined") {
    return { codec: "jpeg", why: "this browser has no WebCodecs" };
  }
  try {
    const config = { codec: "avc1.42C01F", optimizeForLatency: true };
    const { supported } = await VideoDecoder.isConfigSupported(config);
    if (supported) return { codec: "h264", why: "" };
  } catch {
    // Falls through: the same answer.
  }
  return { codec: "jpeg", why: "this browser does not decode H.264" };
}

/** One instant, ready to be drawn. */
export class Pair {
  constructor(moment) {
    this.moment = moment;
    this.pictures = new Map();
  }

  get whole() {
    return this.pictures.size === this.moment.pictures.length;
  }

  /** {image, width, height} of a kind, or undefined. */
  get(kind) {
    return this.pictures.get(kind);
  }

  close() {
    for (const { image } of this.pictures.values()) image.close();
    this.pictures.clear();
  }
}

/** Two WebCodecs decoders, one for each kind of picture. */
export class H264Decoder {
  /** onpair(pair), onskip(number): it cannot be shown, onfail(reason). */
  constructor(onpair, onskip, onfail) {
    this.onpair = onpair;
    this.onskip = onskip;
    this.onfail = onfail;
    this.decoders = new Map();
    this.waiting = new Map();
  }

  feed(moment) {
    if (!moment.key && this.decoders.size === 0) {
      this.onskip(moment.number);
      return;
    }
    try {
      this.waiting.set(moment.number, new Pair(moment));
      for (const picture of moment.pictures) {
        const decoder = this.decoderFor(picture, moment.key);
        const type = moment.key ? "key" : "delta";
        decoder.decode(
          new EncodedVideoChunk({ type, timestamp: moment.number, data: picture.data }),
        );
      }
    } catch (error) {
      this.onfail(String(error.message || error));
    }
  }

  decoderFor(picture, key) {
    let entry = this.decoders.get(picture.kind);
    const size = `${picture.width}x${picture.height}`;
    const codec = key ? codecOf(picture.data) : null;
    if (entry && (!key || (entry.codec === codec && entry.size === size))) return entry.decoder;
    if (!key) throw new Error("a picture came before its key frame");
    if (!entry) {
      const decoder = new VideoDecoder({
        output: (frame) => this.output(picture.kind, frame),
        error: (error) => this.onfail(error.message),
      });
      entry = { decoder };
      this.decoders.set(picture.kind, entry);
    }
    entry.codec = codec;
    entry.size = size;
    entry.decoder.configure({ codec, optimizeForLatency: true, colorSpace: COLOUR });
    return entry.decoder;
  }

  output(kind, frame) {
    const pair = this.waiting.get(frame.timestamp);
    const picture = pair && pair.moment.pictures.find((each) => each.kind === kind);
    if (!picture) {
      frame.close();
      return;
    }
    const { width, height } = picture;
    pair.pictures.set(kind, { image: frame, width, height });
    if (!pair.whole) return;
    for (const [number, older] of this.waiting) {
      if (number > frame.timestamp) continue;
      this.waiting.delete(number);
      if (older !== pair) older.close();
    }
    this.onpair(pair);
  }

  close() {
    for (const { decoder } of this.decoders.values()) {
      if (decoder.state !== "closed") decoder.close();
    }
    for (const pair of this.waiting.values()) pair.close();
    this.decoders.clear();
    this.waiting.clear();
  }
}

/** JPEG for browsers without WebCodecs. */
export class JpegDecoder {
  constructor(onpair, onskip) {
    this.onpair = onpair;
    this.onskip = onskip;
    this.newest = 0;
    this.closed = false;
  }

  async feed(moment) {
    const pair = new Pair(moment);
    const decode = async (picture) => {
      const image = await createImageBitmap(new Blob([picture.data], { type: "image/jpeg" }));
      const { width, height } = picture;
      pair.pictures.set(picture.kind, { image, width, height });
    };
    try {
      await Promise.all(moment.pictures.map(decode));
    } catch {
      pair.close();
    }
    if (this.closed) {
      pair.close();
      return;
    }
    if (pair.whole && moment.number > this.newest) {
      this.newest = moment.number;
      this.onpair(pair);
    } else {
      pair.close();
      this.onskip(moment.number);
    }
  }

  close() {
    this.closed = true;
  }
}
