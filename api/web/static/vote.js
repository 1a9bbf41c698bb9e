// Voting without knowing: two pictures, a key, the next two. The next pair is fetched while this one is looked at.
import { call, say } from "./api.js";

const place = document.getElementById("vote");
const part = (id) => document.getElementById(id);
const voter = part("voter");
let current = null;
let waiting = [];
let fetching = null;
let busy = false;
let cast = 0;
let said = 0; // Counts what was sent, votes and their undoing: a number left that was asked for before is none of now.
let left = null;
let turn = 0; // Counts the voters: what was asked for one is not shown to the next.

const path = (rest) => `/v1/comparisons/${place.dataset.comparison}/${rest}`;
const whom = () => voter.value.trim() ? { voter: voter.value.trim() } : {};
const pause = (seconds) => new Promise((resolve) => setTimeout(resolve, seconds * 1000));

/** Ask for one more ballot and load its pictures; null when there is none beside those in hand. */
async function more() {
  const [before, mine] = [said, turn];
  const ballot = await call("POST", path("ballots"), whom());
  if (mine !== turn) return null;
  if (before === said) left = ballot.remaining;
  if (!ballot.id || ballot.id === current?.id || waiting.some((one) => one.id === ballot.id)) return null;
  for (const side of [ballot.left, ballot.right]) (side.image = new Image()).src = side.url;
  return ballot;
}

function prepare() {
  if (fetching || waiting.length) return;
  const mine = more().then((ballot) => { if (ballot) waiting.push(ballot); }).catch(() => {}).finally(() => { if (fetching === mine) fetching = null; });
  fetching = mine;
}

async function next() {
  const mine = turn;
  current = null;
  let { pairs, state } = place.dataset;
  for (;;) {
    await fetching;
    if (mine !== turn) return;
    const held = waiting.shift();
    if (held) { show(held); return; }
    try {
      const fresh = Number(pairs) || state !== "drawing" ? await more() : null;
      if (mine !== turn) return;
      if (fresh) { show(fresh); return; }
    } catch (problem) {
      if (mine === turn) end(problem.message);
      return;
    }
    if (state !== "drawing") { end("That was all. Thank you!"); return; }
    wait(Number(pairs) ? "You are faster than the drawing. The next pair is on its way…" : "The first pair is being drawn…");
    await pause(2);
    if (mine !== turn) return;
    ({ pairs, state } = await look());
  }
}

/** Ask this page again how many pairs there are, and whether more are to come. */
async function look() {
  try {
    const answer = await fetch(location.href, { headers: { Accept: "text/html" } });
    const fresh = new DOMParser().parseFromString(await answer.text(), "text/html").getElementById("vote");
    if (fresh) Object.assign(place.dataset, { pairs: fresh.dataset.pairs, state: fresh.dataset.state });
  } catch { /* It is asked again. */ }
  return place.dataset;
}

function show(ballot) {
  current = ballot;
  part("prompt").textContent = ballot.prompt;
  part("left").src = ballot.left.url;
  part("right").src = ballot.right.url;
  for (const name of ["two", "controls"]) part(name).hidden = false;
  part("blank").hidden = true;
  far();
  prepare();
}

function wait(text) {
  for (const name of ["two", "controls"]) part(name).hidden = true;
  part("blank").hidden = false;
  part("after").hidden = true;
  part("told").textContent = text;
  part("prompt").textContent = "\u00a0";
}

function end(text) {
  wait(text);
  part("after").hidden = false;
  if (document.activeElement !== voter) part("after").querySelector("a").focus();
  far();
}

function far() {
  const rest = current ? left : 0;
  part("progress").max = Math.max(1, cast + rest);
  part("progress").value = cast;
  part("count").textContent = current ? `${rest} left` : "";
  part("undo").hidden = cast === 0;
}

async function vote(choice) {
  if (!current || busy) return;
  busy = true;
  said += 1;
  const mine = turn;
  const chosen = part(`pick-${choice}`);
  chosen?.classList.add("chosen");
  try {
    await call("POST", path("votes"), { ballot: current.id, choice });
    if (mine !== turn) return;
    cast += 1;
    left = Math.max(0, left - 1);
    await next();
  } catch (problem) {
    say(problem.message, { bad: true });
    if (problem.status === 409 && mine === turn) await next();
  } finally {
    chosen?.classList.remove("chosen");
    if (mine === turn) busy = false;
  }
}

async function undo() {
  if (busy || cast === 0) return;
  busy = true;
  said += 1;
  const mine = turn;
  try {
    const { ballot } = await call("POST", path("votes/undo"), whom());
    await fetching;
    if (mine !== turn) return;
    if (current) waiting.unshift(current);
    waiting = waiting.filter((one) => one.id !== ballot.id);
    cast -= 1;
    left = ballot.remaining;
    show(ballot);
    say("The last vote is taken back.");
  } catch (problem) {
    say(problem.message, { bad: true });
  } finally {
    if (mine === turn) busy = false;
  }
}

const KEYS = { ArrowLeft: "left", 1: "left", ArrowRight: "right", 2: "right", 0: "tie" };

if (place) {
  voter.value ||= localStorage.getItem("voter") ?? "";
  voter.onchange = () => {
    localStorage.setItem("voter", voter.value.trim());
    turn += 1;
    fetching = null;
    waiting = [];
    cast = 0;
    busy = false;
    current = null;
    wait("The first pair is on its way…");
    far();
    next();
  };
  for (const [id, choice] of [["pick-left", "left"], ["pick-right", "right"], ["say-left", "left"], ["say-tie", "tie"], ["say-right", "right"]]) part(id).onclick = () => vote(choice);
  part("undo").onclick = undo;
  document.addEventListener("keydown", (event) => {
    if (event.target.matches("input, textarea, select") || event.ctrlKey || event.metaKey || event.altKey || event.repeat) return;
    if (event.key in KEYS) { event.preventDefault(); vote(KEYS[event.key]); }
    if (event.key === "u") undo();
  });
  next();
}
