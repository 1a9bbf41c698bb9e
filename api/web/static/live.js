// Parts of a page that are fetched again: <section id=X data-live="SECONDS"> is exchanged for the same part of the page
// as it is now. The page is asked for once, however many parts live; nothing is asked while nobody looks.

const PLACES = "a, button, input, select, textarea, summary, [tabindex]";

/** Let the parts live; called before anything is done to them, so that what comes is compared with what came. */
export function live(enliven) {
  const parts = () => [...document.querySelectorAll("[data-live]")];
  if (!parts().length) return;
  const shown = new WeakMap(parts().map((part) => [part, part.outerHTML]));
  let stopped = false;
  let before = "";
  let looking = null;
  let again = false;
  let released = null; // While a button or a key is down: what is pressed must be there until it is up.
  let release = null;
  let most = null;

  /** Look now, or once more after the look that is under way: one after another, so that none brings what is older. */
  function look() {
    if (looking) { again = true; return looking; }
    looking = once().finally(() => {
      looking = null;
      if (again) { again = false; look(); }
    });
    return looking;
  }

  async function once() {
    if (document.hidden || stopped) return;
    try {
      const answer = await fetch(location.href, { headers: { Accept: "text/html" } });
      if (answer.redirected) { stopped = true; return; }
      if (!answer.ok) return;
      const text = await answer.text();
      if (text === before) return;
      await released;
      before = exchange(new DOMParser().parseFromString(text, "text/html")) ? text : "";
    } catch { /* The server does not answer now: what is shown stays, and is asked for again. */ }
  }

  /** Exchange what differs; return whether all could be: what somebody types into, or has just pressed, stays for now. */
  function exchange(now) {
    let whole = true;
    for (const part of parts()) {
      const fresh = now.getElementById(part.id);
      if (!fresh || fresh.outerHTML === shown.get(part)) continue;
      if (part.contains(document.activeElement) && isTyping() || part.querySelector("button[aria-busy=true]")) { whole = false; continue; }
      shown.set(fresh, fresh.outerHTML);
      const same = stands(part);
      part.replaceWith(fresh);
      enliven(fresh);
      same(fresh);
    }
    document.dispatchEvent(new CustomEvent("refreshed"));
    return whole;
  }

  document.addEventListener("changed", look);
  document.addEventListener("visibilitychange", look);
  const letGo = () => { clearTimeout(most); release?.(); released = release = null; };
  const press = () => {
    released ??= new Promise((done) => { release = done; });
    clearTimeout(most);
    most = setTimeout(letGo, 1000); // Where a dialog opens, the page does not hear of the end.
  };
  for (const kind of ["pointerdown", "keydown"]) addEventListener(kind, press, true);
  for (const kind of ["pointerup", "pointercancel", "keyup"]) addEventListener(kind, () => setTimeout(letGo), true); // After its click.

  const seconds = () => Math.min(...parts().map((part) => Number(part.dataset.live) || 5), 60);
  const loop = () => setTimeout(async () => { await look(); if (!stopped && parts().length) loop(); }, seconds() * 1000);
  loop();
}

/** What the reader opened, scrolled, chose and stands on in a part stays so: return what puts it so in the fresh one. */
function stands(part) {
  const opened = [...part.querySelectorAll("details[id]")].map((one) => [one.id, one.open]);
  const scrolled = [...part.querySelectorAll(".scroll")].map((one) => one.scrollLeft);
  const chosen = [...part.querySelectorAll("input, select, textarea")].filter(isChanged).map((one) => [nameOf(one), one.value]);
  const focused = part.contains(document.activeElement) ? document.activeElement : null;
  const name = focused && nameOf(focused);
  const nth = focused && called(part, name).indexOf(focused);
  return (fresh) => {
    for (const [id, open] of opened) { const one = document.getElementById(id); if (one) one.open = open; }
    fresh.querySelectorAll(".scroll").forEach((one, index) => { one.scrollLeft = scrolled[index] ?? 0; });
    for (const [each, value] of chosen) for (const one of called(fresh, each)) one.value = value;
    if (focused) called(fresh, name)[nth]?.focus({ preventScroll: true });
  };
}

/** What tells a place from others, wherever it moves: what it is about, not which one in the row it is. */
const nameOf = (one) => JSON.stringify([one.tagName, one.id, one.name, one.getAttribute("href"), { ...one.dataset }]);
const called = (root, name) => [...root.querySelectorAll(PLACES)].filter((one) => nameOf(one) === name);
const isChanged = (one) => one.options ? !one.selectedOptions[0]?.defaultSelected : one.value !== one.defaultValue;
const isTyping = () => document.activeElement?.matches("input, textarea, select") ?? false;
