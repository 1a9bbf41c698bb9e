// Calls of the REST API from a page of the dashboard; the session's cookie goes with them.

export class Problem extends Error {
  constructor(status, told) {
    super(told.detail || `The server answered ${status}.`);
    this.status = status;
    this.code = told.error?.code ?? null;
    this.errors = told.errors ?? (told.error?.param ? [{ param: told.error.param, message: this.message }] : []);
  }
}

/** A key under which a POST may be sent again: what it does is done once. */
export const onceKey = () => crypto.randomUUID?.() ?? `${Date.now()}-${Math.random()}`; // A page without TLS has no randomUUID.

/** Send one request and return the JSON of its answer; throws a Problem, also when nobody answers. */
export async function call(method, path, body, { signal, headers = {} } = {}) {
  const sent = { method, signal, headers: { Accept: "application/json", ...headers } };
  if (method === "POST") sent.headers["Idempotency-Key"] ??= onceKey();
  if (body instanceof FormData || body instanceof Blob) sent.body = body;
  else if (body !== undefined) {
    sent.headers["Content-Type"] = "application/json";
    sent.body = JSON.stringify(body);
  }
  let answer;
  try {
    answer = await fetch(path, sent);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Problem(0, { detail: "The server cannot be reached. Nothing is lost: try again in a moment." });
  }
  const text = answer.status === 204 ? "" : await answer.text();
  let told = null;
  try { told = text ? JSON.parse(text) : null; } catch { told = { detail: text.slice(0, 200) }; }
  if (answer.status === 401) location.assign(`/sign-in?next=${encodeURIComponent(location.pathname + location.search)}`);
  if (!answer.ok) throw new Problem(answer.status, told ?? {});
  return told;
}

/** Let a button be busy, and not be pressed again; return what frees it. */
export function hold(button) {
  const free = () => {
    button?.removeAttribute("aria-busy");
    if (button) button.disabled = false;
  };
  button?.setAttribute("aria-busy", "true");
  if (button) button.disabled = true;
  addEventListener("pageshow", (event) => { if (event.persisted) free(); }); // Back on a page that the browser has kept.
  return free;
}

/** Say something for a few seconds, aloud too; what went wrong stays longer. */
export function say(text, { bad = false } = {}) {
  const line = document.createElement("p");
  line.textContent = text;
  if (bad) line.className = "bad";
  document.getElementById("toasts").append(line);
  setTimeout(() => line.remove(), bad ? 12000 : 5000);
}

/** Say something on the page that comes next. */
export function sayNext(text) {
  sessionStorage.setItem("said", text);
}
