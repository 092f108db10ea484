// The page: what it shows, its address, its lists, and the server that it asks; without one, the data that it brings.

const TABS = ["Neighbours", "Anomalies", "Clusters", "Search", "Filter", "Selection"];
const NO_COLOUR = "number of sources", ONE_MAP = "no second map";
const MEANING = {
  1: "dull, an ordinary source", 2: "hardly worth a look", 3: "worth a look", 4: "interesting, to be followed up", 5: "remarkable",
};
const METHOD_WORDS = { linear: "linear", gp: "Gaussian process", blend: "forest and distance (Astronomaly)" };
const PROGRAMS = { topcat: "TOPCAT", aladin: "Aladin", ds9: "DS9" };
const LENGTHS = [...[0.001, 0.01, 0.1, 1].flatMap((one) => [one, 2 * one, 5 * one]), 10, 20, 30, 60, 120, 300, 600, 1800, 3600, 7200];
const POLL_MS = 1000, PER_PAGE = 32, MOST_SHOWN = 48, LONGEST_CHOICE = 2000;
const local = window.radiossl ? new LocalAnswers(window.radiossl) : null;
const $ = (id) => document.getElementById(id);

/** An element with its properties and content; text is text, whatever is in it. */
function make(tag, properties = {}, ...content) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name in made) made[name] = value; else made.setAttribute(name, value);
  }
  made.append(...content.filter((part) => part !== null && part !== ""));
  return made;
}
const note = (text, kind = "soft") => make("p", { className: `rs-notice ${kind}` }, text);
const options = (names, words = {}) => names.map((name) => make("option", { value: name }, words[name] ?? name));
const grouped = (groups) => Object.entries(groups).map(([group, names]) =>
  make("optgroup", { label: group }, ...Object.keys(names).map((name) => make("option", { value: name }, name))));

// The server --------------------------------------------------------------------------------------------------------

let lost = false;
function banner(text) {
  $("rs-banner").textContent = text;
  $("rs-banner").hidden = !text;
}
function lose() {
  if (!lost) banner("Connection lost: nothing is saved until the server answers. This page comes back by itself.");
  lost = true;
}

class Refused extends Error {}

/** What the server answers: JSON, or an array with its head. */
async function ask(name, said = {}, body = null) {
  if (local) return local[name](said);
  let answer;
  try {
    const request = body === null ? {} : { method: "POST", body: body instanceof Blob ? body : JSON.stringify(body) };
    answer = await fetch(`api/${name}?${new URLSearchParams(said)}`, { cache: "no-store", ...request });
  } catch {
    lose();
    throw new Refused("the server does not answer");
  }
  if (answer.status === 403) {
    lose();
    banner("The server was restarted: open the address that radiossl explore printed.");
    throw new Refused("the server does not know this page");
  }
  const json = answer.headers.get("Content-Type")?.startsWith("application/json");
  if (!answer.ok) throw new Refused(json ? (await answer.json()).error : `the server answered ${answer.status}`);
  if (json) return answer.json();
  if (name === "table") return answer.blob();
  return unpack(await answer.arrayBuffer());
}
const post = (name, said) => ask(name, {}, said);

/** An array with its head, as `packed` wrote them. */
function unpack(buffer) {
  const length = new DataView(buffer).getUint32(0, true);
  return { ...JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 4, length))), buffer: buffer.slice(4 + length) };
}

function say(text, bad = /^(NOT SAVED|Something went wrong)/.test(text)) {
  $("said").textContent = text;
  $("said").classList.toggle("bad", bad);
}
const guarded = (act) => async (...values) => {
  try {
    return await act(...values);
  } catch (error) {
    if (!(error instanceof Refused)) console.error(error);
    say(error instanceof Refused ? error.message : `Something went wrong: ${error}`, true);
  }
};

// What the page shows -----------------------------------------------------------------------------------------------

let start = null, first = {};
const state = { row: null, chosen_by: {}, limits: null, second_limits: null };
const CHOICES = ["colour", "map_name", "second", "stretch", "colour_map", "tab"];
const page = {
  row: null, near: [], mask: null, chosen: null, colours: null, column: null, plain: [90, 169, 230], theme: {}, tool: null,
  here: null, ratings: new Map(), rated: { count: 0, agreed: "" }, order: [], orderPage: 0, heading: "", trouble: "", items: new Map(), more: false, stale: false,
};
const maps = [...document.querySelectorAll(".map")].map((frame, number) => new SourceMap(frame, page, number ? "second" : "map_name"));
const draw = () => maps.forEach((map) => map.draw());
const limitsOf = (map) => (map.name === "second" ? "second_limits" : "limits");

function writeAddress(push = false) {
  const said = new URLSearchParams();
  for (const name of CHOICES) if (state[name] !== first[name]) said.set(name, state[name]);
  const chosen = JSON.stringify(state.chosen_by);
  if (chosen !== "{}" && chosen.length <= LONGEST_CHOICE) said.set("chosen_by", chosen);
  for (const map of maps) if (map.limits) said.set(limitsOf(map), map.limits.map((limit) => +limit.toPrecision(6)).join());
  const theme = new URLSearchParams(location.search).get("theme");
  if (theme) said.set("theme", theme);
  const text = said.toString(), hash = page.here ? `#source-${encodeURIComponent(page.here.id)}` : location.hash;
  const address = (text ? "?" + text : location.pathname) + hash;
  if (push && hash !== location.hash) history.pushState(null, "", address);
  else history.replaceState(null, "", address);
}

function readAddress() {
  const said = new URLSearchParams(location.search);
  const known = {
    colour: [NO_COLOUR, ...columnNames()], map_name: Object.keys(start.maps), second: [ONE_MAP, ...Object.keys(start.maps)],
    stretch: start.stretches, colour_map: start.colour_maps, tab: TABS,
  };
  for (const name of CHOICES) {
    state[name] = known[name].includes(said.get(name)) ? said.get(name) : first[name];
  }
  page.awaited = said.get("colour"); // perhaps of a column that is still being computed
  try {
    state.chosen_by = JSON.parse(said.get("chosen_by") ?? "{}");
  } catch { /* of a damaged address */ }
  if (!state.chosen_by || typeof state.chosen_by !== "object" || Array.isArray(state.chosen_by)) state.chosen_by = {};
  for (const map of maps) {
    const limits = (said.get(limitsOf(map)) ?? "").split(",").map(Number);
    if (limits.length === 4 && limits.every(Number.isFinite) && limits[0] < limits[1] && limits[2] < limits[3]) map.limits = limits;
  }
}

const columnNames = () => Object.values(start.columns).flatMap(Object.keys);
const labelOf = (name) => Object.assign({}, ...Object.values(start.columns))[name] ?? name;
const columns = new Map();
async function column(name) {
  if (!columns.has(name)) {
    const found = await ask("column", { name });
    columns.set(name, { ...found, array: found.classes ? new Int16Array(found.buffer) : new Float32Array(found.buffer) });
  }
  return columns.get(name);
}

async function showMap(map) {
  const name = state[map.name], shown = name !== ONE_MAP;
  map.frame.hidden = !shown;
  if (!shown) return;
  const found = await ask("map", { name });
  if (state[map.name] === name) map.show(new Float32Array(found.buffer), start.maps[name], map.limits);
}

async function recolour() {
  const name = state.colour, found = name === NO_COLOUR ? null : await column(name);
  if (name !== state.colour) return;
  Object.assign(page, { column: found, colours: codesOf(found, page.theme) });
  showLegend();
  draw();
}

function showLegend() {
  const found = page.column, of = page.chosen === null ? "" : `${page.chosen.toLocaleString("en")} of `;
  const parts = [make("span", {}, `${of}${start.count.toLocaleString("en")} sources`)];
  const swatch = (rgb, text, count, act) => {
    const made = make("i"), shown = act ? { title: `choose ${text}, or not`, onclick: act, "aria-pressed": String(wantedOf(state.colour).includes(text)) } : {};
    made.style.background = `rgb(${rgb.join()})`;
    return make(act ? "button" : "span", shown, made, text, make("small", {}, ` ${count.toLocaleString("en")}`));
  };
  if (found?.classes) {
    const counts = new Array(found.classes.length + 1).fill(0);
    for (const code of page.colours.codes) counts[code]++;
    [...found.classes, "unknown"].forEach((name, code) => {
      const act = code < found.classes.length ? () => filterBy(state.colour, toggled(state.colour, name)) : null;
      if (act || counts[code]) parts.push(swatch(page.colours.palette[code], name, counts[code], act));
    });
  } else if (found) {
    const ramp = make("i"), { low, high, logarithmic } = found;
    ramp.style.background = `linear-gradient(90deg, ${page.theme.shades.filter((_, at) => at % 15 === 0).join()})`;
    const middle = logarithmic ? Math.sqrt(low * high) : (low + high) / 2;
    const scale = make("span", { className: "rs-scale" }, ramp, ...[low, middle, high].map((tick) => make("span", {}, short(tick, 3))));
    parts.push(scale, make("span", {}, labelOf(state.colour), make("small", {}, logarithmic ? " · logarithmic" : "")));
  }
  const buttons = () => [...$("legend").querySelectorAll("button")], focused = buttons().indexOf(document.activeElement);
  $("legend").replaceChildren(...parts);
  buttons()[focused]?.focus();
}

const short = (number, digits = 5) => (Number.isFinite(number) ? String(+number.toPrecision(digits)) : "unknown");
function valueOf(found, row) {
  if (!found.classes) return short(found.array[row]);
  return found.classes[found.array[row]] ?? "unknown";
}

/** Choose sources, and show how many of them there are. */
const choose = guarded(async (chosen_by) => {
  state.chosen_by = chosen_by;
  if (!Object.keys(chosen_by).length) Object.assign(page, { mask: null, chosen: null });
  else {
    let found;
    try {
      found = await (local ? local.chosen({ chosen_by }) : post("chosen", { chosen_by }));
    } catch (error) {
      Object.assign(page, { mask: null, chosen: null });
      throw error;
    }
    if (state.chosen_by !== chosen_by) return;
    if (!found.known || (chosen_by.lasso && !found.count)) return choose({});
    const bits = new Uint8Array(found.buffer);
    page.mask = new Uint8Array(start.count);
    for (let row = 0; row < start.count; row++) page.mask[row] = (bits[row >> 3] >> (row & 7)) & 1;
    page.chosen = found.count;
    say(`${found.count.toLocaleString("en")} sources chosen`);
  }
  writeAddress();
  showLegend();
  draw();
  await showTab();
});
const wantedOf = (name) => state.chosen_by.filters?.[name] ?? [];
/** The classes to show, with one more, or without it. */
const toggled = (name, text) => columns.get(name).classes.filter((one) => wantedOf(name).includes(one) !== (one === text));
/** Choose by the values of a column: [smallest, largest], "" for no limit, or classes; other columns' filters stay. */
function filterBy(name, values) {
  const { [name]: before, ...others } = state.chosen_by.filters ?? {};
  const filters = values.some(Boolean) ? { ...others, [name]: values } : others;
  return choose(Object.keys(filters).length ? { filters } : {});
}
function chosenRows() {
  const rows = [];
  for (let row = 0; row < start.count; row++) if (page.mask[row]) rows.push(row);
  return rows;
}

// The source --------------------------------------------------------------------------------------------------------

let going = 0;
/** Go to a source. The old one stays, and is what keys rate, until all that is seen of the new one changes at once. */
const go = guarded(async (row, { push = true } = {}) => {
  const turn = ++going;
  const source = await ask("source", { row });
  const shown = picture(row, source.id, "large", false);
  await shown.querySelector("img")?.decode().catch(() => {});
  shown.append(...onSky(source.frame ?? {}));
  if (turn !== going) return;
  page.here = source;
  page.row = state.row = row;
  page.near = [];
  showSource(shown);
  for (const link of document.querySelectorAll(".rs-thumb")) link.classList.toggle("rs-here", +link.dataset.row === row);
  writeAddress(push);
  draw();
  if (state.tab === "Neighbours") await showTab();
});
/** Go there and show it, where the page is scrolled. */
page.go = async (row) => {
  say("");
  await go(row);
  $("source").querySelector(".thumb")?.scrollIntoView({ block: "nearest" });
};

/** A scale bar of a round length and the beam, for a picture whose longer side has so many arcsec. */
function onSky({ arcsec, beam }) {
  const length = LENGTHS.findLast((one) => 3 * one <= arcsec), part = (size) => `${(100 * size) / arcsec}%`;
  if (!length) return [];
  const bar = make("span", { className: "rs-length" }, length < 60 ? `${length}″` : length < 3600 ? `${length / 60}′` : `${length / 3600}°`);
  bar.style.width = part(length);
  if (!beam) return [bar];
  const ellipse = make("i", { className: "rs-beam", title: `beam ${beam[0].toPrecision(3)}″ × ${beam[1].toPrecision(3)}″` });
  Object.assign(ellipse.style, { height: part(beam[0]), width: part(beam[1]), rotate: `${-beam[2]}deg` });
  return [bar, ellipse];
}

function showSource(shown = $("source").querySelector(".thumb")) {
  const source = page.here;
  if (!source) return;
  const given = page.ratings.get(source.row), place = page.order.indexOf(source.row);
  const buttons = Object.entries(MEANING).map(([rating, meaning]) =>
    make("button", { title: `${rating}: ${meaning}`, "aria-pressed": String(+rating === given), onclick: () => rate(+rating) }, rating));
  const links = Object.entries(source.links).flatMap(([name, href], at) =>
    [at ? " · " : "", make("a", { href, target: "_blank", rel: "noopener noreferrer" }, name)]);
  const table = (values) => make("table", {}, make("tbody", {}, ...values.map(([name, text]) =>
    make("tr", {}, make("th", { scope: "row" }, name), make("td", {}, text)))));
  const own = make("details", { open: page.more, ontoggle: () => { page.more = own.open; } },
    make("summary", {}, "the cutout's own values"), table(source.own ?? []));
  const context = [
    source.rated && `rated by ${source.rated}`,
    place >= 0 && `place ${(place + 1).toLocaleString("en")} of ${page.order.length.toLocaleString("en")}, ${page.heading}`,
    source.why,
  ].filter(Boolean).join("\n");
  const focused = $("source").contains(document.activeElement) ? document.activeElement.textContent : null;
  $("source").replaceChildren(
    shown, make("h2", {}, source.id), make("p", {}, source.position),
    local ? "" : make("div", { className: "rs-rating row" }, "dull", ...buttons, "remarkable"),
    note(context), make("p", { className: "rs-links" }, ...links), table(source.values),
    source.own?.length ? own : "",
  );
  if (focused) [...$("source").querySelectorAll("button")].find((button) => button.textContent === focused)?.focus();
}

// Ratings -----------------------------------------------------------------------------------------------------------

let saving = Promise.resolve();
/** One after the other, in the order of the keys. */
function queue(act) {
  saving = saving.then(async () => {
    try {
      await act();
    } catch (error) {
      say(`NOT SAVED: ${error.message}`, true);
    }
  });
}

function rate(rating) {
  const source = page.here, who = $("who").value;
  if (!source) return say("choose a source first, then rate it");
  if (lost) return banner(`${source.id}: rating ${rating} NOT SAVED: the server does not answer. This page comes back by itself.`);
  queue(async () => {
    await post("rate", { name: source.id, rating, who });
    say(`${source.id}: rated ${rating}, saved (U takes it back)`);
    page.ratings.set(source.row, rating);
    const at = page.order.indexOf(source.row);
    if (page.here !== source) return;
    const next = state.tab === "Anomalies" && at >= 0 ? page.order.subarray(at + 1).find((row) => !page.ratings.has(row)) : undefined;
    await refreshRatings();
    if (next !== undefined && page.here === source) await goInList(page.order.indexOf(next));
  });
}

function undo() {
  if (lost) return banner("NOT SAVED: the server does not answer. This page comes back by itself.");
  queue(async () => {
    const { name, row } = await post("undo", { who: $("who").value });
    if (name === null) return say("there is no rating of yours to take back");
    await refreshRatings();
    if (row !== null) await go(row);
    say(`${name}: your last rating is taken back`);
  });
}

async function refreshRatings() {
  page.rated = await ask("ratings");
  page.ratings = new Map(page.rated.rows);
  const here = page.here;
  if (here) {
    const known = await ask("source", { row: here.row });
    if (page.here === here) Object.assign(here, known);
    showSource();
  }
  if (state.tab !== "Search" && state.tab !== "Filter") await renew();
}

async function takeOrder() {
  const found = await ask("order", { which: state.list });
  Object.assign(page, { order: new Int32Array(found.buffer), heading: found.heading, trouble: found.trouble, orderPage: 0 });
  showSource();
}

async function goInList(place) {
  if (!page.order.length) return;
  const at = Math.min(Math.max(place, 0), page.order.length - 1);
  page.orderPage = Math.floor(at / PER_PAGE);
  await go(page.order[at]);
  if (state.tab === "Anomalies") await showTab();
}

// The whole ---------------------------------------------------------------------------------------------------------

async function set(name, value) {
  state[name] = value;
  if ($(name)) $(name).value = value;
  if (name === "map_name" || name === "second") {
    const map = maps.find((one) => one.name === name);
    map.limits = null;
    await showMap(map);
  } else if (name === "colour") await recolour();
  else if (name === "tab") await showTab();
  else {
    if (page.here) await go(page.row, { push: false });
    if (answered) await send(sent, answered.box?.join() ?? "none"); // its picture changes too
    await showTab();
  }
  writeAddress();
}

function fillChoices() {
  $("map_name").replaceChildren(...options(Object.keys(start.maps)));
  $("second").replaceChildren(...options([ONE_MAP, ...Object.keys(start.maps)]));
  $("colour").replaceChildren(make("optgroup", { label: "all sources" }, ...options([NO_COLOUR])), ...grouped(start.columns));
  $("stretch").replaceChildren(...options(start.stretches));
  $("colour_map").replaceChildren(...options(start.colour_maps));
  $("umap").hidden = !start.can_umap || Boolean(local);
  for (const name of CHOICES) if ($(name)) $(name).value = state[name];
}

function showTheme() {
  const wanted = new URLSearchParams(location.search).get("theme");
  const light = wanted ? wanted === "light" : matchMedia("(prefers-color-scheme: light)").matches;
  const name = light ? "light" : "dark", other = light ? "dark" : "light";
  document.documentElement.dataset.theme = name;
  page.theme = { name, ...start?.themes[name] };
  page.plain = light ? [42, 109, 176] : [90, 169, 230];
  $("theme").textContent = `${other} page`;
  $("theme").onclick = (event) => {
    event.preventDefault();
    const said = new URLSearchParams(location.search);
    said.set("theme", other);
    history.replaceState(null, "", `?${said}${location.hash}`);
    showTheme();
  };
  if (start) recolour();
}

/** Where the address says. */
const follow = guarded(async () => {
  if (!location.hash.startsWith("#source-")) return;
  const name = decodeURIComponent(location.hash.slice(8));
  if (name === page.here?.id) return;
  const { row } = await ask("named", { name });
  await go(row, { push: false });
});

/** Show the open list again because of news from elsewhere, as soon as nobody types in it. */
async function renew() {
  page.stale = Boolean(document.activeElement?.matches(".panel input:not([type=checkbox], [type=file])"));
  if (!page.stale) await showTab();
}

/** What has changed since, made beside the page or by another page. */
async function poll() {
  try {
    const now = await ask("now"), before = start.now;
    if (now.key !== start.key) return location.reload();
    if (lost) {
      lost = false;
      banner("");
      say("the server answers again");
    }
    start.now = now;
    if (now.message !== before.message && now.message) say(now.message);
    if (now.start !== before.start) {
      const maps = Object.keys(start.maps);
      start = await ask("start");
      fillChoices();
      const added = Object.keys(start.maps).find((name) => !maps.includes(name));
      if (added) {
        await set("map_name", added);
        say(`the ${added} is ready`);
      }
      if (columnNames().includes(page.awaited)) {
        await set("colour", page.awaited);
        page.awaited = null;
      }
      if (page.mask === null && Object.keys(state.chosen_by).length) await choose(state.chosen_by);
      if (["Neighbours", "Clusters", "Filter"].includes(state.tab)) await renew();
    }
    if (now.order !== before.order) {
      for (const name of Object.keys(start.columns[start.later] ?? {})) columns.delete(name);
      if (start.columns[start.later]?.[state.colour] !== undefined) await recolour();
      if (page.here) Object.assign(page.here, await ask("source", { row: page.row }));
      await takeOrder();
      if (state.tab === "Anomalies") await showTab();
    }
    if (now.ratings !== before.ratings) await refreshRatings();
    else if (page.stale) await renew();
  } catch (error) {
    if (!(error instanceof Refused)) guarded(() => { throw error; })();
  } finally {
    setTimeout(poll, POLL_MS);
  }
}

page.moved = () => writeAddress();
page.point = (row) => maps.forEach((map) => map.point(row));
/** What is drawn with the pointer next: a lasso, a box, or nothing. */
function take(tool) {
  page.tool = tool;
  for (const one of ["lasso", "box"]) $(one).setAttribute("aria-pressed", String(one === tool));
}
page.drawn = guarded(async (map, corners) => {
  take(null);
  if (!corners) return;
  const every = Math.max(1, Math.ceil(corners.length / 80));
  const text = corners.filter((_, at) => at % every === 0).flat().map((number) => +number.toPrecision(4)).join(" ");
  await choose(corners.length < 3 ? {} : { lasso: state[map.name], corners: text });
});

/** From now on the page can be used: before, what is typed or clicked would be lost without a word. */
function listen() {
  for (const control of document.querySelectorAll(":disabled")) control.disabled = false;
  for (const name of CHOICES) if ($(name)) $(name).onchange = guarded(() => set(name, $(name).value));
  $("find").onchange = guarded(async () => {
    const text = $("find").value.trim();
    if (!text) return;
    say("");
    await go((await ask("find", { text })).row);
  });
  $("who").onchange = () => {
    localStorage.setItem("radiossl-name", $("who").value.trim());
    say($("who").value.trim() ? `ratings are saved as ${$("who").value.trim()}'s` : "ratings are saved without a name");
  };
  $("umap").onclick = guarded(async () => { $("umap").hidden = true; await post("umap", {}); });
  for (const tool of ["lasso", "box"]) $(tool).onclick = () => take(page.tool === tool ? null : tool);
  const open = () => maps.filter((map) => !map.frame.hidden);
  $("larger").onclick = () => open().forEach((map) => map.zoom(0.7));
  $("smaller").onclick = () => open().forEach((map) => map.zoom(1 / 0.7));
  $("whole").onclick = () => open().forEach((map) => map.home());
  addEventListener("popstate", follow);
  addEventListener("hashchange", follow);
  matchMedia("(prefers-color-scheme: light)").addEventListener("change", showTheme);
  addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.altKey || event.metaKey || event.repeat || /^(INPUT|TEXTAREA|SELECT)$/.test(event.target.tagName)) return;
    if (/^[1-5]$/.test(event.key) && !local) rate(+event.key);
    else if (event.key === "u" && !local) undo();
    else if (event.key === "ArrowRight" || event.key === "ArrowLeft") {
      const here = page.order.indexOf(page.row);
      guarded(goInList)(here < 0 ? 0 : here + (event.key === "ArrowRight" ? 1 : -1));
    } else return;
    event.preventDefault();
  });
}

// As soon as all scripts are read.
queueMicrotask(guarded(async () => {
  showTheme();
  const parameters = new URLSearchParams(location.search);
  parameters.delete("token"); // the cookie has it
  history.replaceState(null, "", (parameters.size ? `?${parameters}` : location.pathname) + location.hash);
  start = await ask("start");
  makeTabs();
  $("title").textContent = `${start.title} · ${start.count.toLocaleString("en")} sources`;
  document.title = `radiossl: ${start.title}`;
  first = {
    colour: start.class_column || NO_COLOUR, map_name: Object.keys(start.maps)[0], second: start.second || ONE_MAP,
    stretch: start.stretches.includes("asinh") ? "asinh" : start.stretches[0], colour_map: start.colour_maps[0], tab: TABS[0],
  };
  state.list = start.lists[0];
  $("who").value = start.who || (local ? "" : localStorage.getItem("radiossl-name") ?? "");
  for (const part of document.querySelectorAll(".cutouts")) part.hidden = Boolean(local) || !start.pictures;
  $("who").hidden = Boolean(local);
  readAddress();
  fillChoices();
  listen();
  showTheme();
  await Promise.all(maps.map(showMap));
  await Promise.all([ask("ratings").then((found) => { page.rated = found; page.ratings = new Map(found.rows); }), takeOrder()]);
  if (Object.keys(state.chosen_by).length) await choose(state.chosen_by);
  await follow();
  writeAddress(); // without what was damaged
  await showTab();
  if (!local) setTimeout(poll, POLL_MS);
}));
