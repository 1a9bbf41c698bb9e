// Parts of a page that are fetched again: <section id=X data-live="SECONDS"> is exchanged for the same part of the page
// as it is now. The page is asked for once, however many parts live; nothing is asked while nobody looks.

export function live(enliven) {
  const parts = () => [...document.querySelectorAll("[data-live]")];
  if (!parts().length) return;
  let stopped = false;
  let before = "";

  async function look() {
    if (document.hidden || stopped) return;
    try {
      const answer = await fetch(location.href, { headers: { Accept: "text/html" } });
      if (answer.redirected) { stopped = true; return; }
      if (!answer.ok) return;
      const text = await answer.text();
      if (text === before) return;
      before = text;
      exchange(new DOMParser().parseFromString(text, "text/html"));
    } catch { /* The server does not answer now: what is shown stays, and is asked for again. */ }
  }

  function exchange(now) {
    for (const part of parts()) {
      const fresh = now.getElementById(part.id);
      if (!fresh || fresh.outerHTML === part.dataset.shown || part.contains(document.activeElement) && isTyping()) continue;
      const shown = fresh.outerHTML;
      const again = stands(part);
      part.replaceWith(fresh);
      fresh.dataset.shown = shown;
      enliven(fresh);
      again(fresh);
    }
    document.dispatchEvent(new CustomEvent("refreshed"));
  }

  /** What the reader opened, scrolled and stands on in a part stays so: return what puts it so in the fresh one. */
  function stands(part) {
    const places = "a, button, input, select, textarea, summary, [tabindex]";
    const at = [...part.querySelectorAll(places)].indexOf(document.activeElement);
    const focused = part.contains(document.activeElement) ? document.activeElement.id : "";
    const opened = [...part.querySelectorAll("details[id]")].map((one) => [one.id, one.open]);
    const scrolled = [...part.querySelectorAll(".scroll")].map((one) => one.scrollLeft);
    return (fresh) => {
      for (const [id, open] of opened) { const one = document.getElementById(id); if (one) one.open = open; }
      fresh.querySelectorAll(".scroll").forEach((one, index) => { one.scrollLeft = scrolled[index] ?? 0; });
      if (focused) document.getElementById(focused)?.focus();
      else if (at >= 0) fresh.querySelectorAll(places)[at]?.focus({ preventScroll: true });
    };
  }

  const isTyping = () => document.activeElement?.matches("input, textarea, select") ?? false;
  const seconds = () => Math.min(...parts().map((part) => Number(part.dataset.live) || 5), 60);
  const loop = () => setTimeout(async () => { await look(); if (!stopped && parts().length) loop(); }, seconds() * 1000);
  document.addEventListener("changed", look);
  document.addEventListener("visibilitychange", look);
  loop();
}
