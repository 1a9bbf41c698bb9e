// The sha256 of some bytes in hexadecimal: the browser's own where it has one, which is on https and localhost alone.

const K = new Int32Array(64);
const START = new Int32Array(8);

(function constants() {
  // The first 32 bits of the fractional parts of the cube (and square) roots of the first primes, FIPS 180-4.
  const fraction = (value) => ((value - Math.floor(value)) * 2 ** 32) | 0;
  for (let number = 2, found = 0; found < 64; number++) {
    let prime = true;
    for (let by = 2; by * by <= number; by++) if (number % by === 0) prime = false;
    if (!prime) continue;
    if (found < 8) START[found] = fraction(Math.sqrt(number));
    K[found++] = fraction(Math.cbrt(number));
  }
})();

/** Return the digest of an ArrayBuffer. */
export async function sha256(buffer) {
  const digest = globalThis.crypto?.subtle
    ? new Uint8Array(await crypto.subtle.digest("SHA-256", buffer))
    : plainSha256(new Uint8Array(buffer));
  return Array.from(digest, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** FIPS 180-4 in plain script, for pages on http. */
export function plainSha256(bytes) {
  const length = bytes.length;
  const whole = length - (length % 64);
  const rest = new Uint8Array(length % 64 < 56 ? 64 : 128);
  rest.set(bytes.subarray(whole));
  rest[length % 64] = 0x80;
  const end = new DataView(rest.buffer);
  end.setUint32(rest.length - 8, Math.floor(length / 2 ** 29));
  end.setUint32(rest.length - 4, (length * 8) >>> 0);
  const state = START.slice();
  const words = new Int32Array(64);
  blocks(state, words, new DataView(bytes.buffer, bytes.byteOffset, whole));
  blocks(state, words, end);
  const digest = new DataView(new ArrayBuffer(32));
  state.forEach((word, at) => digest.setInt32(4 * at, word));
  return new Uint8Array(digest.buffer);
}

function blocks(state, words, view) {
  for (let start = 0; start < view.byteLength; start += 64) {
    for (let at = 0; at < 16; at++) words[at] = view.getInt32(start + 4 * at);
    for (let at = 16; at < 64; at++) {
      const x = words[at - 15];
      const y = words[at - 2];
      const s0 = ((x >>> 7) | (x << 25)) ^ ((x >>> 18) | (x << 14)) ^ (x >>> 3);
      const s1 = ((y >>> 17) | (y << 15)) ^ ((y >>> 19) | (y << 13)) ^ (y >>> 10);
      words[at] = (words[at - 16] + s0 + words[at - 7] + s1) | 0;
    }
    let a = state[0], b = state[1], c = state[2], d = state[3], e = state[4], f = state[5], g = state[6], h = state[7];
    for (let at = 0; at < 64; at++) {
      const s1 = ((e >>> 6) | (e << 26)) ^ ((e >>> 11) | (e << 21)) ^ ((e >>> 25) | (e << 7));
      const one = (h + s1 + ((e & f) ^ (~e & g)) + K[at] + words[at]) | 0;
      const s0 = ((a >>> 2) | (a << 30)) ^ ((a >>> 13) | (a << 19)) ^ ((a >>> 22) | (a << 10));
      const two = (s0 + ((a & b) ^ (a & c) ^ (b & c))) | 0;
      h = g; g = f; f = e; e = (d + one) | 0; d = c; c = b; b = a; a = (one + two) | 0;
    }
    state[0] += a; state[1] += b; state[2] += c; state[3] += d; state[4] += e; state[5] += f; state[6] += g; state[7] += h;
  }
}
