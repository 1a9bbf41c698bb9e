// Sends the forms of /docs. The key is read from the page when it is needed, and kept nowhere.
"use strict";

const sent = new WeakMap();

function address(form) {
  const path = form.dataset.path.replace(/\{(\w+)\}/g, (_, name) =>
    encodeURIComponent(form.elements["path:" + name].value));
  const query = new URLSearchParams();
  for (const [name, value] of new FormData(form))
    if (name.startsWith("query:") && value) query.append(name.slice(6), value);
  return query.size ? `${path}?${query}` : path;
}

function request(form) {
  const key = document.getElementById("key").value;
  const headers = key ? { Authorization: `Bearer ${key}` } : {};
  const parts = new FormData();
  for (const [name, value] of new FormData(form)) {
    if (name.startsWith("header:") && value) headers[name.slice(7)] = value;
    if (name.startsWith("form:")) parts.append(name.slice(5), value);
  }
  const asked = { method: form.dataset.method, headers };
  if (form.elements.body) {
    headers["Content-Type"] = "application/json";
    asked.body = form.elements.body.value;
  } else if (![...parts.keys()].length) {
    return asked;
  } else {
    asked.body = parts;
  }
  return asked;
}

async function show(answer, out) {
  const kind = answer.headers.get("content-type") || "";
  out.textContent = `${answer.status} ${answer.statusText}\n`;
  if (kind.includes("json")) {
    out.textContent += JSON.stringify(await answer.json(), null, 2);
  } else if (kind.startsWith("text/")) { // streams are shown as they come
    const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
    for (let piece = await reader.read(); !piece.done; piece = await reader.read())
      out.textContent += piece.value;
  } else {
    out.textContent += `${(await answer.blob()).size} bytes of ${kind}`;
  }
}

document.addEventListener("submit", async (event) => {
  event.preventDefault();
  const form = event.target, out = form.querySelector("pre");
  sent.get(form)?.abort(); // a stream may still come for what was sent before
  const stop = new AbortController();
  sent.set(form, stop);
  out.hidden = false;
  out.textContent = "…";
  try {
    await show(await fetch(address(form), { ...request(form), signal: stop.signal }), out);
  } catch (error) {
    if (!stop.signal.aborted) out.textContent = String(error);
  }
});
