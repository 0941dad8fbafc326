// Makes the console quicker; nothing in it needs this script. Foreign text is only ever set as text, never as markup.
"use strict";

const all = (selector, within = document) => [...within.querySelectorAll(selector)];
const one = (selector, within = document) => within.querySelector(selector);
document.documentElement.classList.add("js");

/* Moments in the reader's own zone, and time that runs. The server's clock counts, not this machine's. */

const sent = Date.parse(one("meta[name=now]")?.content ?? "") || Date.now();
const began = performance.now();
const now = () => sent + performance.now() - began;
const hours = { hour: "2-digit", minute: "2-digit", hourCycle: "h23" };
const day = { day: "numeric", month: "short" };
const format = (options) => new Intl.DateTimeFormat(undefined, options);
const clocks = { "": format(hours), exact: format({ ...hours, second: "2-digit" }) };
const dates = { "": format({ ...day, ...hours }), exact: format({ ...day, ...hours, second: "2-digit" }) };

function showMoments(within = document) {
  for (const time of all("time[data-moment]", within)) {
    const at = new Date(time.dateTime);
    const today = new Date(now()).toDateString() === at.toDateString();
    if (!time.title) time.title = time.textContent;
    time.textContent = (today ? clocks : dates)[time.dataset.moment].format(at);
  }
}

function words(milliseconds) {
  const minutes = Math.floor(milliseconds / 60000);
  if (milliseconds <= 0) return "expiring now";
  if (minutes < 1) return "under 1 min left";
  const parts = [];
  let rest = minutes;
  for (const [size, unit] of [[1440, "d"], [60, "h"], [1, "min"]]) {
    const count = Math.floor(rest / size);
    rest -= count * size;
    if (count) parts.push(`${count} ${unit}`);
  }
  return `${parts.slice(0, 2).join(" ")} left`;
}

function showTimeLeft(within = document) {
  for (const place of all("[data-left]", within)) {
    const left = Date.parse(place.dataset.left) - now();
    const said = words(left);
    if (place.textContent !== said) place.textContent = said;
    if (place.dataset.opened) {
      const whole = Date.parse(place.dataset.left) - Date.parse(place.dataset.opened);
      const last = left <= Math.max(whole / 10, 300000);
      const soon = !last && left <= Math.max(whole / 4, 1800000);
      place.classList.toggle("last", last);
      place.classList.toggle("soon", soon);
    }
  }
}

/* The queue: fetched again while somebody looks, exchanged only where it changed. */

function keepQueueFresh(queue) {
  let tag = queue.dataset.tag;
  const look = async () => {
    if (document.visibilityState !== "visible") return;
    const answer = await fetch(queue.dataset.rows, { headers: { "If-None-Match": tag }, redirect: "manual" }).catch(() => null);
    if (answer === null || answer.status === 304) return;
    if (answer.type === "opaqueredirect") return location.reload();
    if (!answer.ok) return;
    tag = answer.headers.get("ETag") ?? "";
    const known = new Set(all("tr[data-id]", queue).map((row) => row.dataset.id));
    const focused = document.activeElement?.closest?.("tr[data-id]")?.dataset.id;
    queue.replaceChildren(...new DOMParser().parseFromString(await answer.text(), "text/html").body.childNodes);
    for (const row of all("tr[data-id]", queue)) {
      row.classList.toggle("fresh", !known.has(row.dataset.id));
      if (row.dataset.id === focused) one("a.open", row)?.focus();
    }
    showMoments(queue);
    showTimeLeft(queue);
    one("#queue-said").textContent = one("[data-said]", queue)?.dataset.said ?? "";
  };
  setInterval(look, 4000);
  document.addEventListener("visibilitychange", look);
}

/* A review: who else looks, and whether it still is what this page shows. */

function warn(text) {
  if (one("#changed") !== null) return;
  const notice = document.createElement("p");
  notice.id = "changed";
  notice.className = "notice bad";
  const link = document.createElement("a");
  link.href = location.href.split("#")[0];
  link.textContent = "Show it as it is now";
  notice.append(`${text} `, link);
  one("#messages").append(notice);
}

function keepReviewFresh(review) {
  const { look: address, csrf } = review.dataset;
  const look = async () => {
    if (document.visibilityState !== "visible") return;
    const body = new URLSearchParams({ csrf });
    const answer = await fetch(address, { method: "POST", body, redirect: "manual" }).catch(() => null);
    if (answer?.type === "opaqueredirect") return warn(review.dataset.ended);
    if (!answer?.ok) return;
    const told = await answer.json();
    one("#holder").textContent = told.holder + (told.others.length ? ` · Also looking: ${told.others.join(", ")}` : "");
    if (told.state === review.dataset.state && String(told.version) === review.dataset.version) return;
    warn(told.changed);
    one("[data-decide]")?.setAttribute("disabled", "");
  };
  setInterval(look, 8000);
  const left = Date.parse(one("[data-left]")?.dataset.left) - now();
  if (left < 86400000) setTimeout(look, Math.max(left, 0) + 1000);
  document.addEventListener("visibilitychange", look);
}

/* The difference of two texts by words: the shortest script of Myers (1986), as the server computes it. */

const TOKEN = /\n|[^\S\n]+|[\p{L}\p{N}_]+|[^\p{L}\p{N}_\s]/gu;

function differences(before, after) {
  const old = before.match(TOKEN) ?? [];
  const young = after.match(TOKEN) ?? [];
  const shorter = Math.min(old.length, young.length);
  let start = 0;
  let end = 0;
  while (start < shorter && old[start] === young[start]) start += 1;
  while (end < shorter - start && old.at(-1 - end) === young.at(-1 - end)) end += 1;
  return [
    ["same", old.slice(0, start)],
    ...script(old.slice(start, old.length - end), young.slice(start, young.length - end)),
    ["same", old.slice(old.length - end)],
  ];
}

function script(old, young) {
  const trace = furthest(old, young);
  if (trace === null) return [["gone", old], ["new", young]];
  const found = [];
  let x = old.length;
  let y = young.length;
  for (let distance = trace.length - 1; distance > 0; distance -= 1) {
    const reached = trace[distance - 1];
    const down = goesDown(reached, x - y, distance);
    const fromX = reached.get(down ? x - y + 1 : x - y - 1);
    const fromY = fromX - (down ? x - y + 1 : x - y - 1);
    found.push(["same", old.slice(down ? fromX : fromX + 1, x)]);
    found.push(down ? ["new", young.slice(fromY, fromY + 1)] : ["gone", old.slice(fromX, fromX + 1)]);
    x = fromX;
    y = fromY;
  }
  found.push(["same", old.slice(0, x)]);
  return found.reverse();
}

const goesDown = (reached, diagonal, distance) =>
  diagonal === -distance ||
  (diagonal !== distance && (reached.get(diagonal - 1) ?? -1) < (reached.get(diagonal + 1) ?? -1));

function furthest(old, young) {
  const most = Math.min(500, Math.floor(2000000 / (old.length + young.length + 1)));
  const trace = [];
  let before = new Map([[1, 0]]);
  for (let distance = 0; distance <= most; distance += 1) {
    const reached = new Map();
    for (let diagonal = -distance; diagonal <= distance; diagonal += 2) {
      let x = goesDown(before, diagonal, distance) ? before.get(diagonal + 1) : before.get(diagonal - 1) + 1;
      while (x < old.length && x - diagonal < young.length && old[x] === young[x - diagonal]) x += 1;
      reached.set(diagonal, x);
      if (x >= old.length && x - diagonal >= young.length) return [...trace, reached];
    }
    trace.push(reached);
    before = reached;
  }
  return null;
}

// Neighbours of one kind as one, and no lonely blank between two replaced words.
function joined(found) {
  const runs = [];
  for (const [kind, tokens] of found) {
    const text = tokens.join("");
    if (!text) continue;
    const run = { same: "", gone: "", new: "" };
    run[kind] = text;
    const last = runs.at(-1);
    if (last !== undefined && !last.same === !run.same) for (const part in run) last[part] += run[part];
    else runs.push(run);
    const [before, blank, after] = runs.slice(-3);
    if (after === undefined || after.same || !/^[^\S\n]+$/.test(blank.same)) continue;
    const gone = before.gone + blank.same + after.gone;
    const young = before.new + blank.same + after.new;
    if (gone.trim() && young.trim()) runs.splice(-3, 3, { same: "", gone, new: young });
  }
  return runs;
}

function showDifference(field, place) {
  const before = one(`#${field.dataset.before}`).content.textContent;
  const tags = { same: "span", gone: "del", new: "ins" };
  const shown = [];
  for (const run of joined(differences(before, field.value))) {
    for (const kind in tags) {
      if (!run[kind]) continue;
      const part = document.createElement(tags[kind]);
      part.textContent = run[kind];
      shown.push(part);
    }
  }
  place.replaceChildren(...(before === field.value ? ["Nothing yet."] : shown));
}

/* The form of a verdict: what the button will do, which verdict needs a reason, and that the difference was seen. */

function serveVerdict(form) {
  const button = one("[data-decide]", form);
  const reason = one("[name=reason]", form);
  const field = one("[data-before]");
  const follow = () => {
    const chosen = one("[name=verdict]:checked", form);
    button.textContent = chosen?.dataset.does ?? "Choose what shall happen";
    reason.required = chosen !== null && "reason" in chosen.dataset;
    one("[name=instruction]", form)?.toggleAttribute("required", chosen?.value === "revise");
    if (field !== null) field.required = chosen?.value === "edit";
  };
  form.addEventListener("change", follow);
  form.addEventListener("submit", () => {
    // Not at once: a disabled button would not be sent, and a refused submission could not be repeated.
    setTimeout(() => button.setAttribute("disabled", ""));
  });
  addEventListener("pageshow", () => button.removeAttribute("disabled"));
  follow();
  if (field === null) return;
  const place = one("#diff");
  let waiting = 0;
  const compare = () => {
    showDifference(field, place);
    one("[data-diff-shown]", form).value = "yes";
  };
  field.addEventListener("input", () => {
    clearTimeout(waiting);
    waiting = setTimeout(compare, field.value.length > 20000 ? 400 : 60);
  });
  compare();
}

/* Keys. None acts while somebody types, holds another key, or has switched them off. */

const OFF = "sluice-keys-off";
const typing = (target) => target.closest("textarea, select, input:not([type=radio], [type=checkbox]), dialog") !== null;

function serveKeys() {
  const dialog = one("#keys");
  const enabled = one("#keys-on");
  enabled.checked = localStorage.getItem(OFF) === null;
  enabled.addEventListener("change", () => {
    if (enabled.checked) localStorage.removeItem(OFF);
    else localStorage.setItem(OFF, "1");
  });
  for (const button of all("[data-keys]")) button.addEventListener("click", () => dialog.showModal());
  document.addEventListener("keydown", (event) => {
    if ((event.ctrlKey || event.metaKey) && event.key === "Enter") return one("#decision")?.requestSubmit();
    if (event.key === "Escape" && event.target.form?.id === "decision") return event.target.blur();
    if (event.ctrlKey || event.metaKey || event.altKey || !enabled.checked || typing(event.target)) return;
    if (event.key === "?") dialog.showModal();
    else if (!press(event.key)) return;
    event.preventDefault();
  });
}

function press(key) {
  const choice = key.length === 1 ? one(`[name=verdict][data-key="${CSS.escape(key)}"]`) : null;
  if (choice !== null) {
    choice.checked = true;
    choice.dispatchEvent(new Event("change", { bubbles: true }));
    (choice.value === "edit" ? one("#output") : choice).focus();
    return true;
  }
  if (key === "j" || key === "k") return step(key === "j" ? 1 : -1);
  const target = { "/": "[name=q]", u: "[data-back]", c: "[data-claim] button", w: "#reason" }[key];
  const place = target === undefined ? null : one(target);
  if (place === null) return false;
  if (place.matches("input, textarea")) place.focus();
  else place.click();
  return true;
}

function step(by) {
  const rows = all("tr[data-id] a.open");
  if (!rows.length) return false;
  const at = rows.indexOf(document.activeElement);
  rows[Math.min(Math.max(at + by, 0), rows.length - 1)].focus();
  return true;
}

showMoments();
showTimeLeft();
setInterval(showTimeLeft, 5000);
if (one("[data-rows]")) keepQueueFresh(one("[data-rows]"));
if (one("[data-look]")) keepReviewFresh(one("[data-look]"));
if (one("#decision")) serveVerdict(one("#decision"));
if (one("#keys")) serveKeys();
