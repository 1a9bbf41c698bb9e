// Requests that are sent again while the connection or the server is away, and one part of an upload.
import { Problem } from "./api.js";

const LONGEST = 30;

/** Ask again what fails for a while; what is refused is not asked twice. `waits(seconds)` and `goes()` hear of it. */
export async function patiently(ask, { signal, waits, goes }) {
  for (let wait = 1; ; wait = Math.min(2 * wait, LONGEST)) {
    signal.throwIfAborted();
    try {
      const answer = await ask();
      goes();
      return answer;
    } catch (problem) {
      const busy = problem.code === "upload_completing";
      const later = busy || problem.status === 0 || problem.status === 429 || problem.status >= 500;
      if (signal.aborted || !later || problem.code === "storage_exceeded") throw problem;
      if (!busy) waits(wait);
      await pause(wait, signal);
    }
  }
}

/** Wait so long, or until the browser is online again. */
function pause(seconds, signal) {
  return new Promise((done) => {
    const go = () => {
      clearTimeout(timer);
      removeEventListener("online", go);
      signal.removeEventListener("abort", go);
      done();
    };
    const timer = setTimeout(go, 1000 * seconds);
    addEventListener("online", go);
    signal.addEventListener("abort", go);
  });
}

/** Send one part; by XMLHttpRequest, because fetch does not tell how much of a request has gone. */
export function postPart(uploadId, piece, digest, { signal, moved }) {
  return new Promise((done, failed) => {
    const request = new XMLHttpRequest();
    const stop = () => request.abort();
    signal.addEventListener("abort", stop);
    request.upload.onprogress = (event) => moved(Math.min(piece.size, event.loaded));
    request.onloadend = () => {
      signal.removeEventListener("abort", stop);
      let told = {};
      try { told = JSON.parse(request.responseText); } catch { /* Nothing came, or something between answered. */ }
      if (request.status >= 200 && request.status < 300 && told.id) done(told);
      else failed(new Problem(request.status, told));
    };
    const form = new FormData();
    form.append("data", piece, "part");
    request.open("POST", `/v1/uploads/${uploadId}/parts`);
    request.setRequestHeader("X-Content-SHA256", digest);
    request.send(form);
  });
}
