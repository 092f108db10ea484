// Keys, the address, the person's name and the connection: what neither Panel nor Bokeh takes care of.

const KEYS = /^([1-5u]|ArrowLeft|ArrowRight)$/;
const RETRY_MS = 1500;

/** Parts of the page that match, those inside shadow roots too. */
function parts(selector, root = document) {
  const found = [...root.querySelectorAll(selector)];
  for (const part of root.querySelectorAll("*")) if (part.shadowRoot) found.push(...parts(selector, part.shadowRoot));
  return found;
}

const fields = () => parts("input[type=text], input:not([type]), textarea").filter((field) => field.placeholder);

/** The landmarks that screen readers jump between. */
const LANDMARKS = { ".rs-head": "banner", ".rs-tools": "search", ".rs-body": "main" };
function markLandmarks() {
  for (const [selector, role] of Object.entries(LANDMARKS)) for (const part of parts(selector)) part.setAttribute("role", role);
}

function keepTyped() {
  const typed = Object.fromEntries(fields().map((field) => [field.placeholder, field.value]).filter(([, text]) => text));
  sessionStorage.setItem("radiossl-typed", JSON.stringify(typed));
}

function restoreTyped() {
  const typed = JSON.parse(sessionStorage.getItem("radiossl-typed") ?? "{}");
  sessionStorage.removeItem("radiossl-typed");
  for (const field of fields()) {
    if (typed[field.placeholder] && !field.value) {
      field.value = typed[field.placeholder];
      field.dispatchEvent(new Event("input", { bubbles: true, composed: true }));
    }
  }
}

/** A banner over the page; the server that would have to draw it may be gone. */
function makeBanner() {
  const banner = document.createElement("div");
  banner.id = "rs-banner";
  banner.setAttribute("role", "alert");
  banner.hidden = true;
  banner.style.cssText =
    "position:fixed;inset:0 0 auto 0;z-index:1000;padding:9px 14px;text-align:center;background:#a61b1b;color:#fff;" +
    "font:600 14px/1.4 system-ui,sans-serif";
  document.body.append(banner);
  return banner;
}

export function render({ model, el }) {
  el.style.display = "none";
  const banner = makeBanner();
  let lost = false;
  const say = (text) => {
    banner.textContent = text;
    banner.hidden = false;
  };

  // The address: the token goes once the cookie has it; the rest is what the page shows.
  const write = (parameters) => {
    const text = parameters.toString();
    history.replaceState(history.state, "", location.pathname + (text ? "?" + text : "") + location.hash);
  };
  const parameters = new URLSearchParams(location.search);
  parameters.delete("token");
  write(parameters);
  model.on("query", () => {
    const wanted = new URLSearchParams(model.query);
    const theme = new URLSearchParams(location.search).get("theme");
    if (theme) wanted.set("theme", theme);
    write(wanted);
  });
  const read = () => { model.fragment = location.hash; };
  model.on("fragment", () => { if (location.hash !== model.fragment) location.hash = model.fragment; });
  window.addEventListener("hashchange", read);
  if (location.hash) read();

  // Dark or light, as the system has it, unless the address says otherwise.
  const light = matchMedia("(prefers-color-scheme: light)");
  const follow = () => {
    if (new URLSearchParams(location.search).has("theme")) return;
    const wanted = light.matches ? "light" : "dark";
    document.cookie = `radiossl-theme=${wanted}; samesite=strict; path=/; max-age=31536000`;
    if (wanted !== model.theme) location.reload();
  };
  light.addEventListener("change", follow);
  follow();

  // Whose ratings these are.
  const name = localStorage.getItem("radiossl-name");
  if (name && !model.who) model.who = name;
  model.on("who", () => localStorage.setItem("radiossl-name", model.who));

  const key = (event) => {
    const field = event.composedPath()[0];
    if (event.ctrlKey || event.altKey || event.metaKey || event.repeat) return;
    if (/^(INPUT|TEXTAREA|SELECT)$/.test(field.tagName ?? "") || field.getAttribute?.("role") === "tab") return;
    if (!KEYS.test(event.key)) return;
    event.preventDefault();
    if (lost) {
      say(`Key ${event.key} NOT SAVED: the server does not answer. This page comes back by itself.`);
      return;
    }
    // A rating presses the button on the page, which names the source that is seen with it.
    const button = parts(`[data-act^="rate ${event.key} "]`)[0];
    if (button) button.click();
    else model.send_msg([event.key, 0, 0]);
  };
  window.addEventListener("keydown", key);

  // Buttons and pictures inside the HTML of panes: which one was clicked, and where in it.
  const act = (event) => {
    const part = event.composedPath().find((one) => one.dataset?.act);
    if (!part) return;
    if (lost) {
      say("NOT SAVED: the server does not answer. This page comes back by itself.");
      return;
    }
    const box = part.getBoundingClientRect();
    model.send_msg([part.dataset.act, (event.clientX - box.x) / box.width, (event.clientY - box.y) / box.height]);
  };
  window.addEventListener("click", act);

  // The server gone, restarted, or without this session: say so, and open the same place again once it answers.
  const retry = async () => {
    let answer = null;
    try {
      answer = await fetch(location.pathname, { cache: "no-store", redirect: "error" });
    } catch { /* not there yet */ }
    if (answer?.ok) {
      keepTyped();
      location.reload();
    } else {
      if (answer?.status === 403) say("The server was started anew: open the address that radiossl explore printed.");
      setTimeout(retry, RETRY_MS);
    }
  };
  const lose = () => {
    if (lost) return;
    lost = true;
    say("Connection lost: nothing is saved until the server answers. This page comes back by itself.");
    setTimeout(retry, RETRY_MS);
  };
  window.addEventListener("radiossl-lost", lose);
  setTimeout(() => { restoreTyped(); markLandmarks(); }, 300);

  model.on("remove", () => {
    window.removeEventListener("keydown", key);
    window.removeEventListener("click", act);
    window.removeEventListener("hashchange", read);
    window.removeEventListener("radiossl-lost", lose);
    light.removeEventListener("change", follow);
    banner.remove();
  });
}
