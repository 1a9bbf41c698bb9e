// A zip of loose files, stored and not deflated: pictures are packed already. It is a Blob made of headers and of the
// files themselves, which the browser reads when a part of it is sent, so that memory holds a hundred bytes a file.
// The same files make the same bytes, whenever and however they are dropped.

const UTF8 = 0x0800;
const DATE = 0x21; // 1980-01-01: nothing of the time or the host
const SMALL = 4 << 20;
const AT_ONCE = 16;
const FULL = 0xffffffff;
const CRC = new Uint32Array(256).map((_, byte) => {
  let value = byte;
  for (let bit = 0; bit < 8; bit++) value = value & 1 ? 0xedb88320 ^ (value >>> 1) : value >>> 1;
  return value;
});

function crc(bytes, before) {
  let value = before;
  for (let at = 0; at < bytes.length; at++) value = CRC[(value ^ bytes[at]) & 0xff] ^ (value >>> 8);
  return value;
}

async function checksum(blob) {
  if (!blob.size) return 0;
  let value = -1;
  if (blob.size <= SMALL) value = crc(new Uint8Array(await blob.arrayBuffer()), value);
  else {
    const reader = blob.stream().getReader();
    for (let piece = await reader.read(); !piece.done; piece = await reader.read()) value = crc(piece.value, value);
  }
  return ~value >>> 0;
}

/** Write little-endian numbers: [bytes, value] each. */
function numbers(...fields) {
  const view = new DataView(new ArrayBuffer(fields.reduce((sum, [bytes]) => sum + bytes, 0)));
  let at = 0;
  for (const [bytes, value] of fields) {
    if (bytes === 2) view.setUint16(at, value, true);
    else if (bytes === 4) view.setUint32(at, value, true);
    else view.setBigUint64(at, BigInt(value), true);
    at += bytes;
  }
  return view.buffer;
}

/** Put pieces of bytes into one. */
function joined(pieces) {
  const whole = new Uint8Array(pieces.reduce((sum, piece) => sum + piece.byteLength, 0));
  let at = 0;
  for (const piece of pieces) {
    whole.set(piece instanceof Uint8Array ? piece : new Uint8Array(piece), at);
    at += piece.byteLength;
  }
  return whole;
}

const about = (one) => [[2, UTF8], [2, 0], [2, 0], [2, DATE], [4, one.crc], [4, one.size], [4, one.size], [2, one.name.length]];

function local(one) {
  return [numbers([4, 0x04034b50], [2, 20], ...about(one), [2, 0]), one.name];
}

function central(one) {
  const far = one.offset >= FULL; // zip64: the offset stands in a field of its own
  return [
    numbers(
      [4, 0x02014b50], [2, (3 << 8) | 45], [2, far ? 45 : 20], ...about(one), [2, far ? 12 : 0], [2, 0], [2, 0], [2, 0],
      [4, 0o100644 * 65536], [4, far ? FULL : one.offset],
    ),
    one.name,
    ...(far ? [numbers([2, 1], [2, 8], [8, one.offset])] : []),
  ];
}

function ending(count, size, offset) {
  const far = count >= 0xffff || offset >= FULL || size >= FULL;
  const extra = far
    ? [
        numbers([4, 0x06064b50], [8, 44], [2, 45], [2, 45], [4, 0], [4, 0], [8, count], [8, count], [8, size], [8, offset]),
        numbers([4, 0x07064b50], [4, 0], [8, offset + size], [4, 1]),
      ]
    : [];
  const most = (value, limit) => (far ? limit : value);
  const end = numbers(
    [4, 0x06054b50], [2, 0], [2, 0], [2, most(count, 0xffff)], [2, most(count, 0xffff)], [4, most(size, FULL)],
    [4, most(offset, FULL)], [2, 0],
  );
  return [...extra, end];
}

/** Return a zip of [{path, blob}], in the order of their paths; `told(done)` hears of each file that was read. */
export async function packed(files, { told = () => {}, signal } = {}) {
  const letters = new TextEncoder();
  const ordered = [...files].sort((one, other) => (one.path < other.path ? -1 : one.path > other.path ? 1 : 0));
  const pieces = [];
  const bytes = []; // headers that no file's content has followed yet
  const directory = [];
  let offset = 0;
  for (let start = 0; start < ordered.length; start += AT_ONCE) {
    signal?.throwIfAborted();
    const some = ordered.slice(start, start + AT_ONCE);
    const sums = await Promise.all(some.map(({ blob }) => checksum(blob)));
    for (const [at, { path, blob }] of some.entries()) {
      if (blob.size >= FULL) throw new Error(`${path} is larger than 4 GB: no picture is.`);
      const one = { name: letters.encode(path.normalize("NFC")), crc: sums[at], size: blob.size, offset };
      bytes.push(...local(one));
      directory.push(...central(one));
      if (blob.size) pieces.push(joined(bytes.splice(0)), blob);
      offset += 30 + one.name.length + one.size;
    }
    told(start + some.length);
  }
  const size = directory.reduce((sum, piece) => sum + piece.byteLength, 0);
  pieces.push(joined([...bytes, ...directory, ...ending(ordered.length, size, offset)]));
  return new Blob(pieces, { type: "application/zip" });
}
