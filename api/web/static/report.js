// The rest of the refused rows, and what a dataset shares with another one.
import { call, say } from "./api.js";

const button = document.getElementById("more-refused");
if (button) {
  button.onclick = async () => {
    button.disabled = true;
    try {
      const page = await call("GET", `${button.dataset.rejected}?limit=100&after=${button.dataset.after}`);
      const rows = document.getElementById("refused-rows");
      for (const each of page.data) {
        const line = rows.insertRow();
        for (const [text, kind] of [[each.file, "word"], [each.row ?? "", "end"], [each.reason, ""]]) {
          const cell = line.insertCell();
          cell.textContent = text;
          cell.className = kind;
          if (kind === "end" && text !== "") cell.dataset.label = "Line";
        }
      }
      if (page.last_id !== null) button.dataset.after = page.last_id;
      const count = document.getElementById("refused-count");
      count.textContent = page.has_more ? `${rows.rows.length} shown` : `All ${rows.rows.length} are shown`;
      button.hidden = !page.has_more;
    } catch (problem) {
      say(problem.message, { bad: true });
    } finally {
      button.disabled = false;
    }
  };
}

const compare = document.getElementById("compare");
if (compare) {
  let turn = 0;
  compare.onsubmit = async (event) => {
    event.preventDefault();
    const mine = ++turn;
    const place = document.getElementById("overlap");
    place.replaceChildren("Comparing…");
    try {
      const other = compare.elements.other;
      const name = other.selectedOptions[0].textContent;
      const found = await call("GET", `${compare.dataset.address}?other=${encodeURIComponent(other.value)}`);
      if (mine === turn) place.replaceChildren(...told(found, name));
    } catch (problem) {
      if (mine === turn) place.replaceChildren(problem.message);
    }
  };
}

function told(found, name) {
  const notice = document.createElement("div");
  const shared = found.identical + found.alike;
  notice.className = `notice ${shared ? "bad" : "good"}`;
  const text = document.createElement("p");
  text.textContent = shared
    ? `Of ${found.rows} pictures ${found.identical} are in ${name} too, byte for byte, and ${found.alike} look like one of it. If one of the two measures what the other teaches, it measures memory.`
    : `None of the ${found.rows} pictures is in ${name}, or looks like one of it.`;
  notice.append(text);
  if (!found.examples.length) return [notice];
  const list = document.createElement("ul");
  list.className = "alike";
  for (const each of found.examples) {
    const entry = document.createElement("li");
    const look = document.createElement("button");
    look.type = "button";
    look.className = "little";
    look.dataset.rowsOf = String(each.row);
    look.textContent = `row ${each.row}${each.identical ? "" : " (alike)"}`;
    entry.append(look);
    list.append(entry);
  }
  return [notice, list];
}
