// The sandbox's page. Everything that came from outside is shown through textContent, or in an iframe that may do nothing.

const POLL_MS = 1000;
const PAGE = 100;
const find = (id) => document.getElementById(id);

const state = { items: [], count: 0, tag: null, limit: PAGE, channel: "", to: "", chosen: null, view: null, stages: {} };

function make(tag, className, text) {
  const element = document.createElement(tag);
  if (className) element.className = className;
  if (text !== undefined && text !== null) element.textContent = text;
  return element;
}

const NAMES = { email: "Email", sms: "SMS", webhook: "Webhook" };
const titleOf = (item) => item.subject ?? (item.channel === "sms" ? "Text message" : "Webhook call");
const clockTime = (iso) => new Date(iso).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit", second: "2-digit" });
const fullTime = (iso) => new Date(iso).toLocaleString([], { dateStyle: "medium", timeStyle: "medium" });

// Messages

function listAddress() {
  const query = new URLSearchParams({ summary: "true", limit: state.limit });
  if (state.channel) query.set("channel", state.channel);
  if (state.to) query.set("to", state.to);
  return `/sandbox/messages?${query}`;
}

async function refresh() {
  const address = listAddress();
  const answer = await fetch(address, { cache: "no-store", headers: state.tag ? { "If-None-Match": state.tag } : {} });
  if (address !== listAddress()) return;
  if (answer.status === 304) return pulse(true);
  if (!answer.ok) throw new Error(answer.statusText);
  const { items, count } = await answer.json();
  if (address !== listAddress()) return;
  const known = new Set(state.items.map((item) => item.id));
  const first = state.tag === null;
  Object.assign(state, { items, count, tag: answer.headers.get("ETag") });
  showList(first ? () => false : (item) => !known.has(item.id));
  pulse(true);
}

function pulse(alive) {
  find("pulse").classList.toggle("lost", !alive);
  const messages = state.count === 1 ? "1 message" : `${state.count.toLocaleString()} messages`;
  find("pulse").textContent = alive ? messages : "no answer";
}

function showList(isFresh) {
  find("messages").replaceChildren(...state.items.map((item) => row(item, isFresh(item))));
  find("more").hidden = state.count <= state.items.length;
  if (state.chosen && state.items.length === 0 && !state.channel && !state.to) choose(null);
  showBlank();
}

function row(item, fresh) {
  const element = make("li", fresh ? "row fresh" : "row");
  element.tabIndex = 0;
  element.setAttribute("aria-current", String(item.id === state.chosen));
  const time = make("time", "", clockTime(item.received_at));
  time.dateTime = item.received_at;
  element.append(make("span", "to", item.to.join(", ")), time, make("span", "subject", titleOf(item)));
  element.append(make("span", `badge ${item.channel}`, NAMES[item.channel]), make("span", "snippet", item.text));
  element.addEventListener("click", () => choose(item.id));
  element.addEventListener("keydown", (event) => event.key === "Enter" && choose(item.id));
  return element;
}

function showBlank() {
  find("blank").hidden = state.chosen !== null;
  const empty = state.items.length === 0;
  const filtered = state.channel || state.to;
  find("blank-title").textContent = !empty ? "Choose a message" : filtered ? "Nothing like that has arrived" : "Nothing has arrived yet";
  find("blank-text").textContent = !empty
    ? "It is shown here as its recipient would see it."
    : filtered
      ? "Other messages may have: look under All, without a recipient."
      : "Append events, and the message that they lead to appears here by itself. For example:";
  find("blank-code").hidden = !empty || Boolean(filtered);
  find("blank-code").textContent = EXAMPLE;
}

const EXAMPLE = `curl ${location.origin}/v1/events \\
  -H "Authorization: Bearer $TIDINGS_KEY" \\
  -H "Content-Type: application/cloudevents-batch+json" -d '[
  {"specversion": "1.0", "source": "/shop", "id": "1",
   "subject": "user/anna", "type": "user.human.added",
   "data": {"user_name": "anna", "email": "anna@example.org"}},
  {"specversion": "1.0", "source": "/shop", "id": "2",
   "subject": "user/anna", "type": "user.human.email.code.added",
   "data": {"code": "482913", "expiry": 600,
            "trigger_origin": "https://shop.example.org"}}]'`;

async function choose(id) {
  state.chosen = id;
  history.replaceState(null, "", id ? `#${id}` : location.pathname);
  for (const [at, element] of [...find("messages").children].entries()) {
    element.setAttribute("aria-current", String(state.items[at].id === id));
  }
  const answer = id && (await fetch(`/sandbox/messages/${encodeURIComponent(id)}`));
  if (state.chosen !== id) return;
  find("message").hidden = !answer || !answer.ok;
  if (answer && answer.ok) showMessage(await answer.json());
  else state.chosen = null;
  showBlank();
}

function showMessage(item) {
  find("m-channel").className = `badge ${item.channel}`;
  find("m-channel").textContent = NAMES[item.channel];
  find("m-time").textContent = fullTime(item.received_at);
  find("m-time").dateTime = item.received_at;
  find("m-subject").textContent = titleOf(item);
  const people = [["From", item.from], ["To", item.to.join(", ")]].filter(([, who]) => who);
  find("m-people").replaceChildren(...people.flatMap(([role, who]) => [make("dt", "", role), make("dd", "", who)]));
  showViews(item);
}

function viewsOf(item) {
  const views = new Map();
  if (item.html !== null) views.set("HTML", () => preview(item.html));
  if (item.channel === "sms") views.set("Message", () => linked(make("p", "bubble"), item.text));
  else if (item.text !== null) views.set(item.channel === "webhook" ? "Body" : "Text", () => linked(make("pre"), readable(item)));
  if (Object.keys(item.headers).length) views.set("Headers", () => headers(item.headers));
  if (item.channel === "email") views.set("Source", () => source(item.id));
  return views;
}

function showViews(item) {
  const views = viewsOf(item);
  const show = (name) => {
    state.view = name;
    for (const tab of find("views").children) tab.setAttribute("aria-pressed", String(tab.textContent === name));
    find("view").replaceChildren(views.get(name)());
  };
  find("views").replaceChildren(...[...views.keys()].map((name) => {
    const tab = make("button", "", name);
    tab.type = "button";
    tab.addEventListener("click", () => show(name));
    return tab;
  }));
  show(views.has(state.view) ? state.view : views.keys().next().value);
}

function preview(html) {
  const frame = make("iframe");
  frame.setAttribute("sandbox", "");
  frame.title = "HTML part";
  frame.srcdoc = html;
  return frame;
}

function readable(item) {
  if (item.channel !== "webhook") return item.text;
  try {
    return JSON.stringify(JSON.parse(item.text), null, 2);
  } catch {
    return item.text;
  }
}

function linked(element, text) {
  for (const piece of text.split(/(https?:\/\/[^\s<>"]+)/)) {
    if (!/^https?:\/\//.test(piece)) {
      element.append(piece);
      continue;
    }
    const link = make("a", "", piece);
    Object.assign(link, { href: piece, target: "_blank", rel: "noreferrer noopener" });
    element.append(link);
  }
  return element;
}

function headers(given) {
  const table = make("table");
  for (const [name, values] of Object.entries(given)) {
    for (const value of values) {
      const line = table.insertRow();
      line.append(make("th", "", name), make("td", "", value));
    }
  }
  return table;
}

function source(id) {
  const element = make("pre", "", "…");
  fetch(`/sandbox/messages/${encodeURIComponent(id)}/raw`)
    .then((answer) => answer.text())
    .then((text) => { element.textContent = text; });
  return element;
}

// Filters

function narrow(change) {
  Object.assign(state, { tag: null, limit: PAGE }, change);
  turn();
}

function listenToFilters() {
  for (const tab of find("tabs").children) {
    tab.addEventListener("click", () => {
      for (const other of find("tabs").children) other.setAttribute("aria-pressed", String(other === tab));
      narrow({ channel: tab.dataset.channel });
    });
  }
  find("recipient").addEventListener("input", (event) => narrow({ to: event.target.value.trim() }));
  find("more").addEventListener("click", () => narrow({ limit: state.limit + 5 * PAGE }));
  find("empty").addEventListener("click", async () => {
    await fetch("/sandbox/messages", { method: "DELETE" });
    await choose(null);
    narrow({});
  });
}

// Faults

async function refreshFaults() {
  const answer = await fetch("/sandbox/faults", { cache: "no-store" });
  if (answer.ok) showFaults(await answer.json());
}

function showFaults({ items, stages, actions }) {
  state.stages = stages;
  const form = find("fault-form");
  if (!form.channel.options.length) {
    form.channel.replaceChildren(...Object.keys(stages).map((name) => new Option(NAMES[name], name)));
    form.action.replaceChildren(...actions.map((name) => new Option(name)));
    offerStages();
    offerFields();
  }
  find("fault-count").hidden = find("clear-faults").hidden = items.length === 0;
  find("fault-count").textContent = items.length;
  find("fault-list").replaceChildren(...items.map(faultLine));
}

function faultLine(fault) {
  const line = make("li");
  const remove = make("button", "", "×");
  remove.type = "button";
  remove.setAttribute("aria-label", "Clear this fault");
  remove.addEventListener("click", () => changeFaults(`/sandbox/faults/${fault.id}`, { method: "DELETE" }));
  line.append(make("span", "", inWords(fault)), remove);
  return line;
}

function inWords(fault) {
  const what = [NAMES[fault.channel], fault.stage, "·", fault.action];
  if (fault.action === "refuse") what.push(fault.code);
  if (fault.seconds !== null) what.push(`${fault.seconds} s`);
  if (fault.to) what.push("to", fault.to);
  what.push("·", fault.count === null ? "until cleared" : fault.count === 1 ? "once" : `${fault.count} times`);
  return what.join(" ");
}

async function changeFaults(address, request) {
  const answer = await fetch(address, request);
  const wrong = answer.ok ? "" : (await answer.json()).detail;
  find("complaint").textContent = wrong;
  find("complaint").hidden = !wrong;
  await refreshFaults();
}

function faultWish(form) {
  const number = (input) => (input.value.trim() === "" ? null : Number.isNaN(Number(input.value)) ? input.value : Number(input.value));
  return {
    channel: form.channel.value,
    stage: form.stage.value,
    action: form.action.value,
    code: number(form.code),
    seconds: number(form.seconds),
    count: number(form.count),
    to: form.to.value.trim() || null,
  };
}

function offerStages() {
  const form = find("fault-form");
  form.stage.replaceChildren(...state.stages[form.channel.value].map((name) => new Option(name)));
  form.stage.value = form.channel.value === "email" ? "dot" : "request";
  form.code.placeholder = form.channel.value === "email" ? "451" : "503";
}

function offerFields() {
  const form = find("fault-form");
  for (const label of form.querySelectorAll("[data-for]")) {
    label.hidden = !label.dataset.for.split(" ").includes(form.action.value);
    if (label.hidden) label.querySelector("input").value = "";
  }
}

function listenToFaults() {
  const form = find("fault-form");
  form.channel.addEventListener("change", offerStages);
  form.action.addEventListener("change", offerFields);
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    changeFaults("/sandbox/faults", { method: "POST", body: JSON.stringify(faultWish(form)) });
  });
  find("clear-faults").addEventListener("click", () => changeFaults("/sandbox/faults", { method: "DELETE" }));
  find("show-faults").addEventListener("click", () => {
    find("faults").hidden = !find("faults").hidden;
    find("show-faults").setAttribute("aria-expanded", String(!find("faults").hidden));
  });
}

// The loop

async function turn() {
  try {
    await Promise.all([refresh(), refreshFaults()]);
  } catch {
    pulse(false);
  }
}

async function follow() {
  if (!document.hidden) await turn();
  setTimeout(follow, POLL_MS);
}

listenToFilters();
listenToFaults();
if (location.hash.length > 1) choose(location.hash.slice(1));
follow();
