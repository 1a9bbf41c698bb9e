// Answers that come as server-sent events, read while they are sent.
import { Problem } from "./api.js";

/** Send a body and yield what each event of the answer says; throws a Problem for an answer that is none.
 *  `begun` is called with the answer's headers as soon as they are there. */
export async function* events(path, body, { signal, begun = () => {} } = {}) {
  let answer;
  try {
    answer = await fetch(path, {
      method: "POST",
      signal,
      headers: { Accept: "text/event-stream", "Content-Type": "application/json" },
      body: JSON.stringify(body),
    });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Problem(0, { detail: "The server cannot be reached. Nothing is lost: try again in a moment." });
  }
  if (answer.status === 401) location.assign(`/sign-in?next=${encodeURIComponent(location.pathname + location.search)}`);
  if (!answer.ok) {
    const problem = new Problem(answer.status, await answer.json().catch(() => ({})));
    problem.seconds = Number(answer.headers.get("Retry-After")) || null;
    throw problem;
  }
  begun(answer.headers);
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  let held = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    held += value;
    const blocks = held.split(/\r?\n\r?\n/);
    held = blocks.pop();
    for (const block of blocks) {
      const data = block.split(/\r?\n/).filter((line) => line.startsWith("data:")).map((line) => line.slice(5).trim()).join("\n");
      if (data && data !== "[DONE]") yield JSON.parse(data);
    }
  }
}

/** Return the address of a picture that came in base64; it is good as long as the page. */
export function addressOf(base64) {
  const bytes = Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0));
  return URL.createObjectURL(new Blob([bytes], { type: "image/png" }));
}
