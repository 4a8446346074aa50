/* Keeps a page up to date over /ws/live (its protocol: monitoring/live/consumers.py).
 *
 * Attributes in the page:
 *   data-device="12" data-field="state"   shows that field of device 12 and is updated in place
 *   time[data-count="ago"|"elapsed"]      is updated every second, by the server's clock
 *   data-fragment="<url>" data-every="10" is fetched again when a device on the page changes its
 *                                         state, and every 10 seconds while the page is visible
 *   data-gone="<id>"                      on a fragment: the template to show once its subject is gone
 *   data-form="<id>"                      on such a fragment: the form to disable then
 *   data-live, data-live-text             says whether the page is up to date
 *   data-live-news                        is announced by screen readers
 */

const WATCH_EVERY_MS = 60_000;
const ANSWER_WITHIN_MS = 15_000;
const RETRY_FIRST_MS = 500;
const RETRY_LONGEST_MS = 20_000;
const MAX_WATCHED = 500;
const NOT_SIGNED_IN = 4401;
const NO_TENANT = 4403;
const LOW_BATTERY_PCT = 20;
const MINUTE = 60, HOUR = 3600, DAY = 86_400;
const UNITS = [[DAY, "d", HOUR, "h"], [HOUR, "h", MINUTE, "min"], [MINUTE, "min", 1, "s"]];

const all = (selector, root = document) => [...root.querySelectorAll(selector)];

/* ---- time, written as telemetry.presence.reasons.duration and monitoring.pages.formatting do ---- */

let serverAheadMs = 0;

const serverNow = () => Date.now() + serverAheadMs;

function duration(seconds) {
  const whole = Math.max(0, Math.round(seconds));
  if (whole < 2 * MINUTE) return `${whole} s`;
  const [unit, name, part, partName] = UNITS.find(([unit]) => whole >= unit);
  const rest = Math.floor((whole % unit) / part);
  return `${Math.floor(whole / unit)} ${name}` + (rest ? ` ${rest} ${partName}` : "");
}

function count(time) {
  const words = duration((serverNow() - Date.parse(time.dateTime)) / 1000);
  const text = time.dataset.count === "ago" ? `${words} ago` : words;
  if (time.textContent !== text) time.textContent = text;
}

const countAll = () => all("time[data-count]").forEach(count);

/* ---- fields ---- */

function write(element, text) {
  if (element.textContent === text) return false;
  element.textContent = text;
  return true;
}

function writeTime(element, iso, kind) {
  if (iso === null) return;
  let time = element.querySelector("time");
  if (!time) {
    time = document.createElement("time");
    time.dataset.count = kind;
    element.replaceChildren(time);
  }
  time.dateTime = iso;
  time.title = `${new Date(iso).toISOString().slice(0, 19).replace("T", " ")} UTC`;
  count(time);
}

function writeState(element, state) {
  const badge = element.querySelector(".rc-state");
  badge.dataset.state = state;
  return write(badge.querySelector(".rc-state__word"), state);
}

function writeBattery(element, percent) {
  if (percent === null) return;
  const battery = element.querySelector(".rc-battery");
  battery.dataset.low = String(percent <= LOW_BATTERY_PCT);
  write(battery, `${Math.round(percent)} %`);
}

/* As monitoring.pages.formatting.unparted. */
const unparted = (words) => words.replace(/(\d) (?=(?:%|s|min|h|d)(?!\w))/g, "$1\u00a0");

function code(text) {
  const element = document.createElement("code");
  element.textContent = text;
  return element;
}

/* As monitoring.pages.formatting.ticked. */
function writeReason(element, reason) {
  const parts = unparted(reason).split("`");
  if (element.textContent !== parts.join("")) {
    element.replaceChildren(...parts.map((part, n) => (n % 2 ? code(part) : part)));
  }
  if (element.title) element.title = reason;
}

const WRITERS = {
  state: (element, device) => writeState(element, device.state),
  state_since: (element, device) => writeTime(element, device.state_since, "elapsed"),
  last_seen: (element, device) => writeTime(element, device.last_seen, "ago"),
  battery_pct: (element, device) => writeBattery(element, device.battery_pct),
  reason: (element, device) => writeReason(element, device.reason),
};

/* Returns true if the page showed another state of the device before. */
function show(device) {
  let changed = false;
  for (const element of all(`[data-device="${Number(device.id)}"]`)) {
    const wrote = WRITERS[element.dataset.field]?.(element, device);
    if (element.dataset.field === "state" && wrote) {
      changed = true;
      flash(element.closest("tr, [data-live-row]"));
    }
  }
  return changed;
}

function flash(row) {
  if (!row) return;
  row.classList.remove("rc-flash");
  void row.offsetWidth; // lets the animation start again
  row.classList.add("rc-flash");
}

function announce(changed) {
  const news = document.querySelector("[data-live-news]");
  if (!news || changed.length === 0) return;
  const name = ({ id }) => document.querySelector(`[data-device="${Number(id)}"][data-name]`).dataset.name;
  news.textContent =
    changed.length > 3
      ? `${changed.length} devices changed state`
      : changed.map((device) => `${name(device)} is ${device.state}`).join(", ");
}

/* ---- fragments ---- */

const shownHtml = new WeakMap();
const outdated = new Set(); // fragments whose last fetch failed
let isGone = false; // the subject of the page

/* The HTML of a fragment without its counting times. */
function settled(root) {
  const copy = root.cloneNode(true);
  all("time[data-count]", copy).forEach((time) => time.replaceChildren());
  return copy.innerHTML;
}

/* What the fragment should show now; null if it cannot be fetched. The next round tries again. */
async function fetched(fragment) {
  try {
    const response = await fetch(fragment.dataset.fragment, { headers: { Accept: "text/html" } });
    isGone = response.status === 404 && "gone" in fragment.dataset;
    if (isGone) return document.getElementById(fragment.dataset.gone).innerHTML;
    return response.ok && !response.redirected ? await response.text() : null;
  } catch {
    return null;
  }
}

async function refresh(fragment) {
  const text = await fetched(fragment);
  if (text === null) outdated.add(fragment);
  else outdated.delete(fragment);
  indicateLive();
  if (text === null) return;
  const { body } = new DOMParser().parseFromString(text, "text/html");
  const html = settled(body);
  const selection = getSelection();
  const isReadFrom = !selection.isCollapsed && fragment.contains(selection.anchorNode);
  if (html === shownHtml.get(fragment) || isReadFrom) return;
  shownHtml.set(fragment, html);
  replace(fragment, body);
  if ("form" in fragment.dataset) closeIfGone(fragment);
}

/* Scrolls to the reason why the form is disabled, in case somebody is typing. */
function closeIfGone(fragment) {
  for (const one of document.getElementById(fragment.dataset.form).elements) one.disabled = isGone;
  if (isGone) fragment.scrollIntoView({ block: "center" });
}

function replace(fragment, body) {
  const focused = all("a[href]", fragment).indexOf(document.activeElement);
  const scrolled = all("[data-keep-scroll]", fragment).map(({ scrollTop, scrollLeft }) => ({ scrollTop, scrollLeft }));
  fragment.replaceChildren(...body.childNodes);
  all("[data-keep-scroll]", fragment).forEach((one, i) => Object.assign(one, scrolled[i]));
  if (focused >= 0) all("a[href]", fragment)[focused]?.focus();
  countAll();
  watch();
}

let refreshing = null;

function refreshSoon() {
  refreshing ??= setTimeout(() => {
    refreshing = null;
    all("[data-fragment]").forEach(refresh);
  }, 300);
}

function refreshEvery(fragment) {
  setInterval(() => {
    if (document.visibilityState === "visible") refresh(fragment);
  }, Number(fragment.dataset.every) * 1000);
}

/* ---- the socket ---- */

let socket = null;
let retries = 0;
let retrying = null;
let overdue = null;
let isOver = false; // no new socket: the person has signed out, or belongs to no tenant
let isConnected = false;
let lostAt = null;

/* Says whether the page is up to date: what the socket sends and what is fetched. */
function indicateLive() {
  if (isOver) return;
  if (isGone) indicate("off", "gone");
  else if (!isConnected) indicate("lost", lostAt ? `as of ${lostAt} UTC, reconnecting…` : "reconnecting…");
  else if (outdated.size > 0) indicate("off", "out of date, trying again…");
  else indicate("on", "live");
}

function indicate(state, text) {
  for (const indicator of all("[data-live]")) {
    indicator.dataset.live = state;
    write(indicator.querySelector("[data-live-text]"), text);
  }
}

function offerSignIn() {
  for (const indicator of all("[data-live]")) {
    const link = document.createElement("a");
    const here = encodeURIComponent(location.pathname + location.search);
    link.href = `${indicator.dataset.liveLogin}?next=${here}`;
    link.textContent = "signed out: sign in";
    indicator.dataset.live = "signed-out";
    indicator.querySelector("[data-live-text]").replaceChildren(link);
  }
}

function watchedIds() {
  const ids = new Set(all("[data-device]").map((element) => Number(element.dataset.device)));
  return [...ids].slice(0, MAX_WATCHED);
}

/* Asks for the latest status of the devices on the page; this also fetches missed changes. */
function watch() {
  if (socket?.readyState !== WebSocket.OPEN) return;
  socket.send(JSON.stringify({ type: "watch", ids: watchedIds() }));
  overdue ??= setTimeout(() => drop(socket), ANSWER_WITHIN_MS);
}

function receive(message) {
  serverAheadMs = Date.parse(message.server_time) - Date.now();
  if (message.type !== "devices") return;
  clearTimeout(overdue);
  overdue = null;
  const changed = message.devices.filter(show);
  countAll();
  announce(changed);
  if (changed.length > 0) refreshSoon();
}

function connect() {
  clearTimeout(retrying);
  retrying = null;
  const scheme = location.protocol === "https:" ? "wss:" : "ws:";
  const fresh = new WebSocket(`${scheme}//${location.host}/ws/live`);
  socket = fresh;
  overdue = setTimeout(() => drop(fresh), ANSWER_WITHIN_MS);
  fresh.onopen = watch;
  fresh.onmessage = ({ data }) => {
    if (fresh !== socket) return;
    const message = JSON.parse(data);
    if (message.type === "hello") retries = 0;
    isConnected = true;
    indicateLive();
    receive(message);
  };
  fresh.onclose = ({ code }) => {
    if (fresh !== socket) return;
    isOver = code === NOT_SIGNED_IN || code === NO_TENANT;
    if (code === NOT_SIGNED_IN) drop(fresh, offerSignIn);
    else if (code === NO_TENANT) drop(fresh, () => indicate("off", "you belong to no tenant"));
    else drop(fresh);
  };
}

/* Closes a socket, even one that hangs, and tries a new one after a while. */
function drop(dropped, then = retryLater) {
  clearTimeout(overdue);
  overdue = null;
  if (dropped !== socket) return;
  socket = null;
  dropped.close();
  then();
}

function disconnected() {
  if (isConnected) lostAt = new Date().toISOString().slice(11, 19);
  isConnected = false;
  indicateLive();
}

function retryLater() {
  disconnected();
  const longest = Math.min(RETRY_LONGEST_MS, RETRY_FIRST_MS * 2 ** retries);
  retries += 1;
  retrying = setTimeout(connect, longest * (0.5 + Math.random() / 2));
}

/* The page is visible again or the network is back, so there is no reason to wait. */
function wake() {
  if (document.visibilityState !== "visible" || isOver) return;
  if (socket === null) connect();
  else watch();
  refreshSoon();
}

/* ---- copying a key ---- */

async function copy(button) {
  const source = document.getElementById(button.dataset.copy);
  getSelection().selectAllChildren(source);
  try {
    await navigator.clipboard.writeText(source.textContent);
    button.textContent = "Copied";
  } catch {
    button.textContent = "Selected: press Ctrl+C";
  }
}

/* ---- the page ---- */

// A page shown once is the answer to a form: reloading it would send the form again.
all("[data-once]").forEach(({ dataset }) => history.replaceState(null, "", dataset.once));

// Fragments are replaced, so their buttons cannot have listeners of their own.
document.addEventListener("click", ({ target }) => {
  const button = target.closest("[data-copy]");
  if (button) copy(button);
});

if (document.querySelector("[data-live]")) {
  all("[data-fragment]").forEach((fragment) => {
    shownHtml.set(fragment, settled(fragment));
    refreshEvery(fragment);
  });
  setInterval(countAll, 1000);
  setInterval(watch, WATCH_EVERY_MS);
  document.addEventListener("visibilitychange", wake);
  document.addEventListener("htmx:afterSwap", watch);
  addEventListener("online", wake);
  addEventListener("pageshow", ({ persisted }) => persisted && wake());
  addEventListener("offline", disconnected);
  connect();
}
