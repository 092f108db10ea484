// The lists on the right: neighbours, anomalies, clusters, search, filter, selection; and the pictures in them.

// Pictures ----------------------------------------------------------------------------------------------------------

const none = () => make("span", { className: "thumb rs-none" }, "no pixels");
function pictureAddress(row, side) {
  return "api/picture?" + new URLSearchParams({ row, side, stretch: state.stretch, colours: state.colour_map, key: start.key });
}
/** The picture of a source; `lazy` ones are fetched when they are seen. */
function picture(row, id, side, lazy = true) {
  if (!start.pictures) return none();
  if (local) return local.picture(row, id);
  const image = make("img", { alt: `cutout of ${id}`, loading: lazy ? "lazy" : "eager", src: pictureAddress(row, side) });
  const made = make("span", { className: "thumb" }, image);
  image.onerror = () => made.replaceWith(none());
  return made;
}

async function itemsOf(rows) {
  const missing = rows.filter((row) => !page.items.has(row));
  if (page.items.size > 5000) page.items.clear();
  if (missing.length) for (const item of await ask("items", { rows: missing.join() })) page.items.set(item.row, item);
  return rows.map((row) => page.items.get(row));
}

/** Small pictures that lead to their sources. */
async function sheet(rows, texts = []) {
  const items = await itemsOf(rows), made = make("div", { className: "rs-sheet" });
  items.forEach((item, place) => {
    const rating = page.ratings.get(item.row), text = [texts[place], item.mark, item.class].filter(Boolean).join(" · ");
    const link = make("a", { className: "rs-thumb", href: `#source-${encodeURIComponent(item.id)}`, title: item.id },
      picture(item.row, item.id, "thumb"), rating ? make("b", { title: `rated ${rating}` }, String(rating)) : "", make("small", {}, text));
    link.dataset.row = item.row;
    link.classList.toggle("rs-here", item.row === page.row);
    link.onpointerenter = () => page.point(item.row);
    link.onpointerleave = () => page.point(-1);
    link.onclick = (event) => {
      if (event.ctrlKey || event.metaKey || event.shiftKey) return;
      event.preventDefault();
      page.go(item.row);
    };
    made.append(link);
  });
  return made;
}

page.cardOf = async (row) => {
  const [item] = await itemsOf([row]), rating = page.ratings.get(row);
  const text = make("div", { className: "rs-named" }, item.id);
  if (page.column) text.append(make("br"), make("small", {}, `${labelOf(state.colour)} ${valueOf(page.column, row)}`));
  if (rating) text.append(make("small", {}, ` · rated ${rating}`));
  return [picture(row, item.id, "hover", false), text];
};

// Lists -------------------------------------------------------------------------------------------------------------

const panels = {};
const shows = {};
const fill = (name, ...parts) => panels[name].replaceChildren(...parts);

shows.Neighbours = async () => {
  const here = page.here;
  if (!here) return fill("Neighbours", note("Click a point of the map, or type an id or a position above."));
  let found;
  try {
    found = await ask("neighbours", { row: here.row });
  } catch (error) {
    return fill("Neighbours", note(error.message));
  }
  const made = await sheet(found.rows, found.scores.map((score) => (score === null ? "" : score.toFixed(3))));
  if (page.here !== here) return;
  page.near = found.rows;
  draw();
  fill("Neighbours", note(`most like ${here.id}, cosine similarity`), made);
};

shows.Anomalies = async () => {
  const begin = page.orderPage * PER_PAGE, rows = [...page.order.subarray(begin, begin + PER_PAGE)];
  const turn = (step) => () => {
    page.orderPage = Math.min(Math.max(page.orderPage + step, 0), Math.floor(Math.max(0, page.order.length - 1) / PER_PAGE));
    showTab();
  };
  const controls = panels.Anomalies.querySelector(".controls") ?? anomalyControls();
  controls.querySelectorAll("[data-step]").forEach((button) => { button.onclick = turn(+button.dataset.step); });
  const keys = local ? "" : " · keys 1 (dull) to 5 (remarkable) rate, U takes back, ← → move";
  const count = start.count.toLocaleString("en"), agreed = page.rated.agreed && ` · ${page.rated.agreed}`;
  const said = page.order.length
    ? note(`${page.rated.count.toLocaleString("en")} of ${count} rated · ${page.heading} · places ${(begin + 1).toLocaleString("en")} to`
      + ` ${(begin + rows.length).toLocaleString("en")}${agreed}${keys}`)
    : note(page.trouble || "The anomaly scores are being made …", page.trouble ? "bad" : "soft");
  fill("Anomalies", controls, said, await sheet(rows, rows.map((_, place) => `#${(begin + place + 1).toLocaleString("en")}`)));
};

function anomalyControls() {
  const turns = ["◀", "▶"].map((text, at) => make("button", { "data-step": String(2 * at - 1), "aria-label": at ? "next places" : "places before" }, text));
  if (local) return make("div", { className: "row controls" }, ...turns);
  const which = make("select", { "aria-label": "list of sources" }, ...options(start.lists));
  which.onchange = guarded(async () => { state.list = which.value; await takeOrder(); await showTab(); });
  const method = make("select", { "aria-label": "method that learns from ratings" }, ...options(start.methods, METHOD_WORDS));
  const learn = make("button", { className: "main" }, "rank by ratings");
  learn.onclick = guarded(async () => {
    learn.disabled = true;
    say("learning from the ratings …");
    try {
      say((await post("learn", { method: method.value })).message);
      await takeOrder();
      await showTab();
    } finally {
      learn.disabled = false;
    }
  });
  return make("div", { className: "row controls" }, which, ...turns, method, learn, fileButton("ranked.csv"));
}

function fileButton(name) {
  const button = make("button", {}, name);
  button.onclick = guarded(async () => {
    const url = URL.createObjectURL(await post("table", { name, chosen_by: state.chosen_by }));
    make("a", { href: url, download: name }).click();
    setTimeout(() => URL.revokeObjectURL(url), 60_000);
  });
  return button;
}

shows.Clusters = async () => {
  const clusters = await ask("clusters");
  if (!clusters.length) return fill("Clusters", note("Clusters are computed as soon as the features are read."));
  const parts = [note("k-means on the features, largest cluster first, each with the members nearest to its centre.")];
  for (const { name, count, most, rows } of clusters) {
    const button = make("button", { onclick: () => { set("colour", "cluster"); choose({ filters: { cluster: [name] } }); } }, "choose them");
    parts.push(make("h3", {}, `cluster ${name} · ${count.toLocaleString("en")} sources${most && ` · ${most}`} `, button), await sheet(rows));
  }
  fill("Clusters", ...parts);
};

// Search by an image, or for the positions of a catalogue.
const MOST_BYTES = 32 * 2 ** 20;
const CROPS = { left: "←", up: "↑", down: "↓", right: "→", smaller: "−", larger: "+", all: "whole image" };
const STEPS = { left: [-1, 0], up: [0, 1], down: [0, -1], right: [1, 0] };
let sent = null, answered = null, sending = 0;
shows.Search = async () => {
  if (!panels.Search.firstChild) {
    const input = make("input", { type: "file", "aria-label": "image or catalogue to search for" });
    input.onchange = () => { if (input.files.length) send(input.files[0], "auto"); };
    const drop = make("label", { className: "drop" }, "Drop a file here, or ", input);
    drop.ondragover = (event) => { event.preventDefault(); drop.classList.add("over"); };
    drop.ondragleave = () => drop.classList.remove("over");
    drop.ondrop = (event) => {
      event.preventDefault();
      drop.classList.remove("over");
      if (event.dataTransfer.files.length) send(event.dataTransfer.files[0], "auto");
    };
    const radius = make("input", { id: "radius", value: "10arcsec", size: 10, "aria-label": "radius of a match" });
    fill("Search", drop, make("div", { className: "row" }, "catalogues match within", radius), make("div", { id: "found" }, note(
      "Drop a FITS image or a picture above to find the sources most like it, or a catalogue of positions to choose the sources that"
      + " are there. It goes to the computer that radiossl explore runs on, no farther, and is forgotten at once.")));
  }
  if (answered) await showAnswer();
};

async function send(file, crop) {
  const found = $("found"), turn = ++sending; // the last of several counts
  if (file.size > MOST_BYTES) return found.replaceChildren(note(`File is too large: ${file.name}; at most 32 MB are taken`, "bad"));
  sent = file;
  say("searching …");
  try {
    const how = { crop, radius: $("radius").value, stretch: state.stretch, colours: state.colour_map };
    const answer = await ask("upload", { name: file.name, ...how }, file);
    if (turn !== sending) return;
    answered = answer.ids ? null : answer;
    if (answer.ids) {
      await choose({ ids: answer.ids });
      found.replaceChildren(note(`${answer.ids.length.toLocaleString("en")} sources of the catalogue are chosen, see Selection`));
      return;
    }
    say(`${answer.name}: ${answer.note || "searched as it is"}`);
    await showAnswer();
  } catch (error) {
    if (turn !== sending) return;
    answered = null;
    say("");
    found.replaceChildren(note(error.message, "bad"));
  }
}

/** Search for another part of the image: around a place (0 to 1, from the upper left), moved, larger, smaller. */
function crop(how, across, down) {
  const [height, width] = answered.shape, most = Math.max(height, width);
  let [x, y, side] = answered.box ?? [(width - 1) / 2, (height - 1) / 2, most];
  if (how === "all") return send(sent, "none");
  if (how === "here") [x, y] = [across * width - 0.5, (1 - down) * height - 0.5]; // the first row of a picture is its lowest
  else if (STEPS[how]) [x, y] = [x + (STEPS[how][0] * side) / 4, y + (STEPS[how][1] * side) / 4];
  else side = Math.min(Math.max(8, Math.round(side * (how === "larger" ? 1.25 : 0.8))), most);
  return send(sent, [x, y, side].join());
}

async function showAnswer() {
  const { name, note: said, rows, scores, box, shape } = answered, [height, width] = shape;
  const frame = make("span", { className: "rs-frame" }, make("img", { src: answered.picture, alt: `the image ${name}` }));
  frame.onclick = (event) => {
    const area = frame.getBoundingClientRect();
    crop("here", (event.clientX - area.x) / area.width, (event.clientY - area.y) / area.height);
  };
  if (box) {
    const [x, y, side] = box, part = make("i"), limit = (number, size) => `${Math.max(0, (100 * number) / size)}%`;
    Object.assign(part.style, {
      left: limit(x + 0.5 - side / 2, width), right: limit(width - (x + 0.5 + side / 2), width),
      bottom: limit(y + 0.5 - side / 2, height), top: limit(height - (y + 0.5 + side / 2), height),
    });
    frame.append(part);
  }
  const buttons = Object.entries(CROPS).map(([how, text]) => make("button", { title: `crop: ${how}`, onclick: () => crop(how) }, text));
  const words = make("div", {}, note(said ? `${name}. ${said}` : name), make("div", { className: "row" }, ...buttons));
  $("found").replaceChildren(make("div", { className: "rs-query" }, frame, words), await sheet(rows, scores.map((score) => score.toFixed(3))));
}

shows.Filter = async () => {
  const names = columnNames(), filtered = Object.keys(state.chosen_by.filters ?? {}).filter((name) => names.includes(name));
  if (!names.length) return fill("Filter", note("There is no column to filter by."));
  if (!names.includes(page.filtered)) page.filtered = filtered[0] ?? names[0];
  const select = make("select", { "aria-label": "column to filter by" }, ...grouped(start.columns));
  select.value = page.filtered;
  select.onchange = () => { page.filtered = select.value; showTab(); };
  const shown = [...new Set([page.filtered, ...filtered])];
  const filters = await Promise.all(shown.map(async (name) => filterOf(name, await column(name))));
  fill("Filter", select, ...filters, note(filtered.length ? `${page.chosen?.toLocaleString("en")} of ${start.count.toLocaleString("en")} sources,`
    + " under Selection as pictures and files" : "Choose a column, then the range or classes to show, also by drawing over the histogram."
    + " Several filters narrow each other."), make("button", { onclick: () => choose({}) }, "remove all filters"));
};

/** The histogram of a column, and which of its values are wanted. */
function filterOf(name, found) {
  const wanted = wantedOf(name);
  if (found.classes) {
    return make("div", {}, histogram(found, name), make("div", { className: "checks", role: "group", "aria-label": `classes of ${name} to show` },
      ...found.classes.map((text) => make("label", {}, make("input", {
        type: "checkbox", checked: wanted.includes(text), "aria-label": text, onchange: () => filterBy(name, toggled(name, text)),
      }), ` ${text}`))));
  }
  const fields = ["from", "to"].map((placeholder, at) => make("input", {
    placeholder, size: 10, value: wanted[at] ?? "", "aria-label": `${at ? "largest" : "smallest"} ${name}`,
  }));
  const read = (field) => (Number.isFinite(+field.value) ? field.value.trim() : "");
  for (const field of fields) field.onchange = () => filterBy(name, fields.map(read));
  return make("div", {}, histogram(found, name), make("div", { className: "row" }, ...fields));
}

/** How a column is distributed: of all sources, and of those that are chosen. */
function histogram(found, name) {
  const bins = found.classes ? found.classes.length : 48, all = new Array(bins).fill(0), left = new Array(bins).fill(0);
  const scale = (number) => (found.logarithmic ? Math.log10(number) : number);
  let low = Infinity, high = -Infinity;
  if (!found.classes) for (const number of found.array) if (Number.isFinite(number)) [low, high] = [Math.min(low, number), Math.max(high, number)];
  const wide = scale(high) - scale(low) || 1;
  for (let row = 0; row < start.count; row++) {
    const number = found.array[row], known = found.classes ? number >= 0 : Number.isFinite(number);
    if (!known) continue;
    const bin = found.classes ? number : Math.min(bins - 1, Math.floor((bins * (scale(number) - scale(low))) / wide));
    all[bin]++;
    if (!page.mask || page.mask[row]) left[bin]++;
  }
  const names = found.classes?.slice(0, 6).join(", ") + (bins > 6 ? "…" : "");
  const text = `${labelOf(name)}: ${found.classes ? names : `${short(low)} to ${short(high)}${found.logarithmic ? ", logarithmic" : ""}`}`;
  const top = Math.sqrt(Math.max(1, ...all)), svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  for (const [key, value] of Object.entries({ class: "rs-bars", viewBox: `0 0 ${bins} 56`, preserveAspectRatio: "none", role: "img", "aria-label": text })) svg.setAttribute(key, value);
  for (const [kind, counts] of [["all", all], ["left", left]]) {
    counts.forEach((count, bin) => {
      const bar = document.createElementNS("http://www.w3.org/2000/svg", "rect"), height = (56 * Math.sqrt(count)) / top;
      for (const [key, value] of Object.entries({ class: kind, x: bin, width: 0.92, y: 56 - height, height })) bar.setAttribute(key, value);
      svg.append(bar);
    });
  }
  if (!found.classes) listenToRange(svg, bins, (part) => {
    const there = scale(low) + part * wide;
    return part <= 0 || part >= 1 ? "" : String(+(found.logarithmic ? 10 ** there : there).toPrecision(4));
  }, (values) => filterBy(name, values));
  return make("div", {}, svg, make("small", {}, text));
}

/** A range that is drawn over a histogram filters by it; a click takes the filter away. */
function listenToRange(svg, bins, valueAt, apply) {
  const drawn = svg.appendChild(document.createElementNS("http://www.w3.org/2000/svg", "rect")), box = () => svg.getBoundingClientRect();
  const at = (event) => Math.min(1, Math.max(0, (event.clientX - box().x) / box().width));
  let from = null;
  drawn.setAttribute("class", "drawn");
  drawn.setAttribute("height", "56");
  svg.onpointerdown = (event) => { svg.setPointerCapture(event.pointerId); from = at(event); };
  svg.onpointermove = (event) => {
    if (from === null) return;
    drawn.setAttribute("x", String(bins * Math.min(from, at(event))));
    drawn.setAttribute("width", String(bins * Math.abs(from - at(event))));
  };
  svg.onpointerup = (event) => {
    const ends = [from, at(event)].sort((one, other) => one - other);
    from = null;
    apply(ends[1] - ends[0] < 0.01 ? [] : ends.map(valueAt));
  };
}

shows.Selection = async () => {
  const label = panels.Selection.querySelector("input") ?? make("input", { placeholder: "class, such as FRII", "aria-label": "class of the chosen sources" });
  const apply = make("button", { className: "main", onclick: guarded(async () => {
    try {
      say((await post("label", { chosen_by: state.chosen_by, label: label.value })).message);
    } catch (error) {
      say(`NOT SAVED: ${error.message}`);
    }
    await showTab();
  }) }, "label them");
  const clear = make("button", { onclick: () => choose({}) }, "choose none");
  const files = ["selection.csv", "selection.fits", "selection.reg"].map(fileButton);
  const to = make("select", { "aria-label": "program to send them to" }, ...options(["", ...Object.keys(PROGRAMS)], { "": "send to …", ...PROGRAMS }));
  to.onchange = guarded(async () => {
    const program = to.value;
    to.value = "";
    say(`sending to ${PROGRAMS[program]} …`);
    say((await post("send", { chosen_by: state.chosen_by, to: program })).message);
  });
  for (const part of [apply, clear, to, ...files]) part.disabled = page.mask === null;
  const { file, counts } = local ? { counts: {} } : await ask("labels");
  const given = Object.entries(counts).map(([name, count]) => `${name} (${count.toLocaleString("en")})`).join(", ");
  const parts = local ? [clear] : [make("div", { className: "row" }, clear, ...files, to), make("div", { className: "row" }, label, apply)];
  if (given) parts.push(note(`Labels in ${file}: ${given}`));
  if (page.mask === null) {
    return fill("Selection", ...parts, note("Choose sources with the lasso, by filters or by a cluster" + (local ? "." : ", or by a catalogue dropped"
      + " under Search. They can be saved as a table or as DS9 regions, sent to another program, or given a class label for radiossl evaluate.")));
  }
  const all = chosenRows(), mixed = (row) => Math.imul(row + 1, 2654435761) >>> 0;
  const some = all.length > MOST_SHOWN ? all.map((row) => [mixed(row), row]).sort((a, b) => a[0] - b[0]).slice(0, MOST_SHOWN).map((pair) => pair[1]) : all;
  const more = all.length > MOST_SHOWN ? `; ${MOST_SHOWN} of them, drawn at random` : "";
  return fill("Selection", ...parts, note(`${all.length.toLocaleString("en")} sources chosen${more}`), await sheet(some));
};

let tabTurn = 0;
/** Show the list that is open; the last of many calls counts. */
async function showTab() {
  const turn = ++tabTurn, name = state.tab, called = (one) => one.ariaLabel || one.title || one.textContent || one.placeholder;
  for (const one of Object.keys(panels)) {
    panels[one].hidden = one !== name;
    $(`tab-${one}`).setAttribute("aria-selected", one === name);
    $(`tab-${one}`).tabIndex = one === name ? 0 : -1;
  }
  const focus = document.activeElement, path = panels[name].contains(focus) ? called(focus) : null;
  await shows[name]();
  if (turn === tabTurn && path && !panels[name].contains(document.activeElement)) {
    [...panels[name].querySelectorAll("a, button, input, select")].find((one) => called(one) === path)?.focus();
  }
}

function makeTabs() {
  const list = document.querySelector("[role=tablist]"), shown = local ? TABS.filter((name) => name !== "Search") : TABS;
  for (const name of shown) {
    const tab = make("button", { id: `tab-${name}`, role: "tab", "aria-controls": `panel-${name}` }, name);
    tab.onclick = guarded(() => set("tab", name));
    list.append(tab);
    panels[name] = make("div", { id: `panel-${name}`, className: "panel", role: "tabpanel", "aria-labelledby": tab.id, hidden: true });
    $("lists").append(panels[name]);
  }
  list.onkeydown = (event) => {
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (!step) return;
    event.preventDefault();
    event.stopPropagation();
    const next = shown[(shown.indexOf(state.tab) + step + shown.length) % shown.length];
    set("tab", next);
    $(`tab-${next}`).focus();
  };
}

