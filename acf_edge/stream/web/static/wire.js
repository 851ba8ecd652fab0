// Reads the binary messages; the table is in wire.py.

const VERSION = 1;
const text = new TextDecoder();
export const BEFORE = 0;
export const AFTER = 1;

const even = (offset) => (offset + 3) & ~3;

/** Returns {number, sequence, pts, captured, inferred, encoded, key, held, codec, rung, pictures}. */
export function parse(buffer) {
  const view = new DataView(buffer);
  if (view.getUint8(0) !== VERSION) throw new Error("another version of the page is needed");
  const flags = view.getUint8(1);
  const count = view.getUint8(3);
  const length = view.getUint8(44);
  const message = {
    key: (flags & 1) !== 0,
    held: (flags & 2) !== 0,
    codec: view.getUint8(2) === 1 ? "h264" : "jpeg",
    number: view.getUint32(4, true),
    pts: view.getFloat64(8, true),
    captured: view.getFloat64(16, true),
    inferred: view.getFloat64(24, true),
    encoded: view.getFloat64(32, true),
    sequence: view.getUint32(40, true),
    rung: text.decode(new Uint8Array(buffer, 45, length)),
    pictures: [],
  };
  let at = even(45 + length);
  for (let i = 0; i < count; i += 1) {
    const size = view.getUint32(at + 8, true);
    message.pictures.push({
      kind: view.getUint8(at),
      width: view.getUint16(at + 4, true),
      height: view.getUint16(at + 6, true),
      data: new Uint8Array(buffer, at + 12, size),
    });
    at = even(at + 12 + size);
  }
  return message;
}

/** The WebCodecs name of the H.264 in a key frame, from its SPS. */
export function codecOf(data) {
  for (let i = 0; i + 6 < data.length && i < 256; i += 1) {
    if (data[i] === 0 && data[i + 1] === 0 && data[i + 2] === 1 && (data[i + 3] & 31) === 7) {
      const hex = [data[i + 4], data[i + 5], data[i + 6]].map((byte) =>
        byte.toString(16).padStart(2, "0"),
      );
      return `avc1.${hex.join("").toUpperCase()}`;
    }
  }
  return null;
}
