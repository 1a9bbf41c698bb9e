// One file on its way, in parts of a few MB. The server keeps what has arrived, so that a lost connection or a reload
// undoes nothing: a part that is there already, by its sha256, is not sent again.
import { call, onceKey, Problem } from "./api.js";
import { patiently, postPart } from "./patience.js";
import { sha256 } from "./sha256.js";

const LEAST_PART = 4 << 20;
const MOST_PARTS = 8000;
const AT_ONCE = 3;
const WINDOW = 6000; // milliseconds over which speed is measured
const ALIVE = 2000;
const PREFIX = "spindle-upload:";

/** Uploads of a project that this browser has begun and not ended: {mark, id, name, size, seen}. */
export function remembered(project) {
  const found = [];
  for (const key of Object.keys(localStorage)) {
    if (!key.startsWith(`${PREFIX}${project}:`)) continue;
    try { found.push({ key, ...JSON.parse(localStorage.getItem(key)) }); } catch { localStorage.removeItem(key); }
  }
  return found;
}

export const forget = (key) => localStorage.removeItem(key);
export const keyOf = (project, mark) => `${PREFIX}${project}:${mark}`;

/** Tell whether a tab is sending it just now. */
export const isAlive = (entry) => Date.now() - entry.seen < 3 * ALIVE;

export class Upload {
  /** `mark` tells these bytes from others after a reload; `told` is called whenever something has changed. */
  constructor(blob, name, { project, mark, told = () => {} }) {
    Object.assign(this, { blob, name, told, key: keyOf(project, mark), mark });
    this.state = "sending";
    this.note = "";
    this.ready = 0;
    this.flying = new Map();
    this.history = [];
    this.stop = new AbortController();
    this.partBytes = Math.max(LEAST_PART, Math.ceil(blob.size / MOST_PARTS / LEAST_PART) * LEAST_PART);
  }

  get sent() {
    return Math.min(this.blob.size, [...this.flying.values()].reduce((sum, bytes) => sum + bytes, this.ready));
  }

  /** Bytes a second over the last seconds; 0 while it is not known. */
  get speed() {
    const [first, last] = [this.history[0], this.history.at(-1)];
    return first && last.at > first.at ? ((last.bytes - first.bytes) / (last.at - first.at)) * 1000 : 0;
  }

  get secondsLeft() {
    return this.speed > 0 ? (this.blob.size - this.sent) / this.speed : null;
  }

  change(state, note = "") {
    this.state = state;
    this.note = note;
    this.told();
  }

  moved() {
    const now = Date.now();
    this.history.push({ at: now, bytes: this.sent });
    while (now - this.history[0].at > WINDOW && this.history.length > 2) this.history.shift();
    this.told();
  }

  /** Send all of it and return the file that it has become; throws when it is cancelled or refused. */
  async run() {
    const leave = () => this.keep(0);
    addEventListener("pagehide", leave);
    const beat = setInterval(() => this.keep(Date.now()), ALIVE);
    try {
      this.begun = this.begin();
      const there = await this.begun;
      if (there.file) return this.end(there.file);
      const parts = await this.parts();
      this.history = [];
      const ids = await this.send(parts);
      this.change("completing");
      const done = await this.patiently(() => call("POST", `/v1/uploads/${this.id}/complete`, { part_ids: ids }, this.stop));
      return this.end(done.file);
    } catch (problem) {
      if (this.stop.signal.aborted) this.change("cancelled");
      else this.change("failed", problem.message);
      throw problem;
    } finally {
      clearInterval(beat);
      removeEventListener("pagehide", leave);
      if (this.state === "failed") this.keep(0);
    }
  }

  end(file) {
    forget(this.key);
    this.ready = this.blob.size;
    this.change("done");
    return file;
  }

  keep(seen) {
    if (this.id && !this.stop.signal.aborted && this.state !== "done") {
      const { id, name, mark } = this;
      localStorage.setItem(this.key, JSON.stringify({ id, name, mark, size: this.blob.size, seen, share: this.sent / this.blob.size }));
    }
  }

  /** Go on with the upload that was begun before, or begin one. */
  async begin() {
    const before = localStorage.getItem(this.key);
    if (before) {
      this.id = JSON.parse(before).id;
      const found = await this.patiently(() => call("GET", `/v1/uploads/${this.id}`, undefined, this.stop)).catch(this.unlessGone);
      if (found?.bytes === this.blob.size && (found.status === "pending" || found.file)) return found;
    }
    const body = { filename: this.name, purpose: "fine-tune", bytes: this.blob.size, mime_type: this.blob.type || "application/octet-stream" };
    const headers = { "Idempotency-Key": onceKey() }; // Where the answer was lost, it is given again: no second upload.
    const made = await this.patiently(() => call("POST", "/v1/uploads", body, { headers })); // Not aborted: its id is needed to cancel it.
    this.id = made.id;
    this.keep(Date.now());
    return made;
  }

  unlessGone(problem) {
    if (problem.status === 404) return null;
    throw problem;
  }

  /** Return the ids of the parts that are there, by their sha256. */
  async parts() {
    const there = new Map();
    for (let after = ""; after !== null;) {
      const page = await this.patiently(() => call("GET", `/v1/uploads/${this.id}/parts?limit=100&order=asc${after}`, undefined, this.stop));
      for (const part of page.data) there.set(part.sha256, part.id);
      after = page.has_more ? `&after=${page.last_id}` : null;
    }
    return there;
  }

  async send(there) {
    const count = Math.ceil(this.blob.size / this.partBytes);
    const ids = new Array(count);
    let next = 0;
    const work = async () => {
      while (next < count) {
        const number = next++;
        const start = number * this.partBytes;
        const piece = this.blob.slice(start, start + this.partBytes);
        const bytes = await piece.arrayBuffer().catch(() => {
          throw new Problem(0, { detail: "The file can no longer be read: it was changed, moved or deleted. Choose it again." });
        });
        const digest = await sha256(bytes);
        ids[number] = there.get(digest) ?? (await this.patiently(() => this.post(number, piece, digest))).id;
        there.set(digest, ids[number]);
        this.flying.delete(number);
        this.ready += piece.size;
        this.moved();
      }
    };
    const workers = Array.from({ length: Math.min(AT_ONCE, count) }, work);
    try { await Promise.all(workers); } catch (problem) {
      next = count;
      await Promise.allSettled(workers);
      throw problem;
    }
    return ids;
  }

  async post(number, piece, digest) {
    const moved = (bytes) => {
      this.flying.set(number, bytes);
      this.moved();
    };
    try {
      return await postPart(this.id, piece, digest, { signal: this.stop.signal, moved });
    } catch (problem) {
      this.flying.delete(number);
      throw problem;
    }
  }

  patiently(ask) {
    return patiently(ask, {
      signal: this.stop.signal,
      waits: (seconds) => this.change("stalled", `The connection is lost. It is tried again in ${seconds} s; nothing is sent twice.`),
      goes: () => { if (this.state === "stalled") this.change("sending"); },
    });
  }

  /** Give it up, here and at the server. */
  async cancel() {
    this.stop.abort();
    forget(this.key);
    await this.begun?.catch(() => {});
    if (this.id) await call("POST", `/v1/uploads/${this.id}/cancel`).catch(() => {});
  }
}
