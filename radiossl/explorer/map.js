"use strict";
// A map of sources on a canvas: as discs where few are in view, as the number, mean or mixture in every pixel where many.

const REACH_PX = 14;
const MOST_DISCS = 8000;
/** While the map moves no more sources than these are drawn; all of them as soon as it rests. */
const MOST_MOVING = 250000;
const REST_MS = 120;
const DIMMED = 0.13;

/** What becomes of each number; for a million of them `Uint16Array.from` takes ten times as long. */
function mapped(array, act) {
  const made = new Uint16Array(array.length);
  for (let at = 0; at < array.length; at++) made[at] = act(array[at]);
  return made;
}

/** The colours of a column: a code for each source, and the red, green and blue of each code; null for their number. */
function codesOf(column, theme) {
  const rgb = (text) => [1, 3, 5].map((at) => parseInt(text.slice(at, at + 2), 16));
  const unknown = rgb(theme.unknown);
  if (!column) return null;
  if (column.classes) {
    const black = theme.name === "dark" ? "#ffffff" : "#000000"; // black is not seen on black
    const palette = column.colours.map((colour) => rgb(colour.toLowerCase() === "#000000" ? black : colour));
    const codes = mapped(column.array, (code) => (code < 0 ? palette.length : code));
    return { codes, palette: [...palette, unknown], numbers: false };
  }
  const shades = theme.shades.length - 1, scale = column.logarithmic ? Math.log : (number) => number;
  const low = scale(column.low), high = scale(column.high);
  const codes = mapped(column.array, (number) => {
    if (!Number.isFinite(number)) return shades + 1;
    const part = high > low ? (scale(number) - low) / (high - low) : 0.5;
    return Math.round(shades * Math.min(1, Math.max(0, part)));
  });
  return { codes, palette: [...theme.shades.map(rgb), unknown], numbers: true };
}

/**
 * Colour the pixels of an image by the sources in them, the uppermost row first.
 * `place` is [left, top, pixels per unit]; of `mask` only the sources that are `wanted` count; every `step`-th is drawn.
 */
function paintPixels(image, xy, place, colours, plain, mask, wanted, step) {
  const { width, height, data } = image, [left, top, scale] = place, size = width * height;
  const counts = new Uint32Array(size), sums = colours ? new Float32Array(size * (colours.numbers ? 1 : 3)) : null;
  const known = colours?.numbers ? new Uint32Array(size) : null, last = colours ? colours.palette.length - 1 : 0;
  let most = 0;
  for (let row = 0; 2 * row < xy.length; row += step) {
    if (mask && mask[row] !== wanted) continue;
    const x = (xy[2 * row] - left) * scale, y = (top - xy[2 * row + 1]) * scale;
    if (!(x >= 0 && y >= 0 && x < width && y < height)) continue;
    const at = (y | 0) * width + (x | 0);
    if (++counts[at] > most) most = counts[at];
    if (!colours) continue;
    const code = colours.codes[row];
    if (!known) {
      const rgb = colours.palette[code];
      sums[3 * at] += rgb[0];
      sums[3 * at + 1] += rgb[1];
      sums[3 * at + 2] += rgb[2];
    } else if (code < last) {
      sums[at] += code;
      known[at]++;
    }
  }
  const deepest = Math.log1p(most), dim = mask && !wanted ? DIMMED : 1;
  for (let at = 0; at < size; at++) {
    const count = counts[at];
    if (!count) continue;
    let rgb = plain;
    if (known) rgb = colours.palette[known[at] ? Math.round(sums[at] / known[at]) : last];
    else if (sums) rgb = [sums[3 * at] / count, sums[3 * at + 1] / count, sums[3 * at + 2] / count];
    data[4 * at] = rgb[0];
    data[4 * at + 1] = rgb[1];
    data[4 * at + 2] = rgb[2];
    data[4 * at + 3] = dim * (known ? 255 : 120 + (135 * Math.log1p(count)) / deepest);
  }
}

class SourceMap {
  /** `page` tells what all maps share: colours, theme, mask, row, near; and learns what happens on this one. */
  constructor(frame, page, name) {
    Object.assign(this, { frame, page, name, xy: new Float32Array(0), limits: null, view: null, hovered: -1 });
    this.canvas = frame.querySelector("canvas");
    this.card = frame.querySelector(".rs-card");
    this.ring = frame.querySelector(".rs-ring");
    this.frames = [];
    new ResizeObserver(() => { this.fit(this.wanted()); this.draw(); }).observe(this.canvas);
  }

  show(xy, whole, limits) {
    if (!this.whole) this.listen(); // there is nothing to move before
    Object.assign(this, { xy, whole });
    this.fit(limits ?? whole);
    this.draw();
  }

  /** Show a part of the map, with one scale for both axes: the centre, and units per pixel. */
  fit(limits) {
    if (!limits) return;
    const [left, right, bottom, top] = limits, { clientWidth: width, clientHeight: height } = this.canvas;
    if (!width || !height) return;
    this.view = [(left + right) / 2, (bottom + top) / 2, Math.max((right - left) / width, (top - bottom) / height)];
  }

  /** The part that is shown: left, right, bottom, top; null for all of it. */
  wanted() {
    return this.limits ?? this.whole;
  }

  moved(view) {
    const [x, y, unit] = view, { clientWidth: width, clientHeight: height } = this.canvas;
    const most = 3 * Math.max(this.whole[1] - this.whole[0], this.whole[3] - this.whole[2]);
    if (!(unit * Math.min(width, height) < most && unit > 1e-7 * most / width)) return;
    this.view = view;
    this.limits = [x - (unit * width) / 2, x + (unit * width) / 2, y - (unit * height) / 2, y + (unit * height) / 2];
    this.hideCard();
    this.draw(true);
    clearTimeout(this.resting);
    this.resting = setTimeout(() => { this.draw(); this.page.moved(this); }, REST_MS);
  }

  home() {
    this.limits = null;
    this.fit(this.whole);
    this.draw();
    this.page.moved(this);
  }

  zoom(factor, x = this.canvas.clientWidth / 2, y = this.canvas.clientHeight / 2) {
    const [left, top, unit] = this.view;
    const across = (x - this.canvas.clientWidth / 2) * unit, up = (this.canvas.clientHeight / 2 - y) * unit;
    this.moved([left + across * (1 - factor), top + up * (1 - factor), unit * factor]);
  }

  /** Show the box between two opposite corners. */
  zoomTo([left, top], [right, bottom]) {
    const { clientWidth: width, clientHeight: height } = this.canvas;
    const unit = Math.max(Math.abs(right - left) / width, Math.abs(top - bottom) / height);
    this.moved([(left + right) / 2, (top + bottom) / 2, unit]);
  }

  pan(x, y) {
    this.moved([this.view[0] - x * this.view[2], this.view[1] + y * this.view[2], this.view[2]]);
  }

  toScreen(row) {
    const [x, y, unit] = this.view;
    return [this.canvas.clientWidth / 2 + (this.xy[2 * row] - x) / unit, this.canvas.clientHeight / 2 - (this.xy[2 * row + 1] - y) / unit];
  }

  toMap(x, y) {
    return [this.view[0] + (x - this.canvas.clientWidth / 2) * this.view[2], this.view[1] - (y - this.canvas.clientHeight / 2) * this.view[2]];
  }

  /** The source nearest to a place in pixels, within reach; -1 for none. */
  near(x, y, reach = REACH_PX) {
    const [atX, atY] = this.toMap(x, y), xy = this.xy;
    let best = -1, least = (reach * this.view[2]) ** 2;
    for (let row = 0; 2 * row < xy.length; row++) {
      const far = (xy[2 * row] - atX) ** 2 + (xy[2 * row + 1] - atY) ** 2;
      if (far <= least) [best, least] = [row, far];
    }
    return best;
  }

  // Drawing -----------------------------------------------------------------------------------------------------------

  draw(moving = false) {
    this.moving = moving;
    if (this.waiting) return;
    this.waiting = true;
    requestAnimationFrame(() => {
      this.waiting = false;
      const start = performance.now();
      this.drawNow();
      this.frames = [...this.frames.slice(-199), performance.now() - start];
    });
  }

  drawNow() {
    const { canvas, view } = this, ratio = Math.min(2, devicePixelRatio || 1);
    const width = canvas.clientWidth, height = canvas.clientHeight;
    if (!view || !width || !height) return;
    if (canvas.width !== Math.round(width * ratio)) canvas.width = Math.round(width * ratio);
    if (canvas.height !== Math.round(height * ratio)) canvas.height = Math.round(height * ratio);
    const context = canvas.getContext("2d");
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.clearRect(0, 0, width, height);
    const rows = this.inView(width, height);
    if (rows) this.drawDiscs(context, rows);
    else this.drawPixels(context, width, height, ratio);
    this.drawMarks(context);
  }

  /** The rows in view if they are few enough for discs, else null; nothing is listed while many are known to be there. */
  inView(width, height) {
    const { xy, view } = this, rows = [], [x, y, unit] = view;
    const left = x - (width / 2 + 12) * unit, right = x + (width / 2 + 12) * unit;
    const bottom = y - (height / 2 + 12) * unit, top = y + (height / 2 + 12) * unit;
    for (let row = 0; 2 * row < xy.length; row++) {
      if (xy[2 * row] < left || xy[2 * row] > right || xy[2 * row + 1] < bottom || xy[2 * row + 1] > top) continue;
      rows.push(row);
      if (rows.length > MOST_DISCS) return null;
    }
    return rows;
  }

  drawDiscs(context, rows) {
    const { colours, plain, mask } = this.page, side = Math.min(11, Math.max(3.5, 900 / Math.sqrt(rows.length)));
    const discs = new Map();
    const disc = (rgb) => {
      const made = document.createElement("canvas"), size = Math.ceil(2 * side + 2);
      made.width = made.height = size;
      const pen = made.getContext("2d");
      pen.fillStyle = `rgb(${rgb.join()})`;
      pen.beginPath();
      pen.arc(size / 2, size / 2, side, 0, 7);
      pen.fill();
      return made;
    };
    const offset = side / 2 + 0.5;
    for (const wanted of mask ? [0, 1] : [1]) {
      context.globalAlpha = wanted ? 0.86 : DIMMED;
      for (const row of rows) {
        if (mask && mask[row] !== wanted) continue;
        const code = colours ? colours.codes[row] : 0;
        if (!discs.has(code)) discs.set(code, disc(colours ? colours.palette[code] : plain));
        const [x, y] = this.toScreen(row);
        context.drawImage(discs.get(code), x - offset, y - offset, 2 * offset, 2 * offset);
      }
    }
    context.globalAlpha = 1;
  }

  drawPixels(context, width, height, ratio) {
    const { colours, plain, mask } = this.page, count = this.xy.length / 2;
    const step = this.moving ? Math.ceil(count / MOST_MOVING) : 1;
    // Single sources stay visible where there are few.
    const side = this.moving || count < 300000 ? 2 : Math.max(1, 2 / ratio);
    const across = Math.ceil(width / side), down = Math.ceil(height / side);
    const [left, top] = this.toMap(0, 0), scale = 1 / (this.view[2] * side);
    this.buffer ??= document.createElement("canvas");
    Object.assign(this.buffer, { width: across, height: down });
    context.imageSmoothingEnabled = false;
    for (const wanted of mask ? [0, 1] : [1]) {
      const image = new ImageData(across, down);
      paintPixels(image, this.xy, [left, top, scale], colours, plain, mask, wanted, step);
      this.buffer.getContext("2d").putImageData(image, 0, 0);
      context.drawImage(this.buffer, 0, 0, across * side, down * side);
    }
  }

  drawMarks(context) {
    const { row, near, theme } = this.page;
    const ring = (one, radius, colour, width) => {
      if (2 * one >= this.xy.length) return;
      context.lineWidth = width;
      context.strokeStyle = colour;
      context.beginPath();
      context.arc(...this.toScreen(one), radius, 0, 7);
      context.stroke();
    };
    for (const one of near) ring(one, 6, "#e8590c", 1.2);
    if (row !== null) {
      ring(row, 9, "#e8590c", 2.5);
      ring(row, 12, theme.name === "dark" ? "#ffffff" : "#000000", 2.5);
    }
    if (this.corners?.length) {
      context.strokeStyle = context.fillStyle = "#e8590c";
      context.lineWidth = 1.5;
      context.beginPath();
      for (const [x, y] of this.corners) context.lineTo(x, y);
      context.stroke();
      context.globalAlpha = 0.12;
      context.fill();
      context.globalAlpha = 1;
    }
  }

  // What is done on it ------------------------------------------------------------------------------------------------

  listen() {
    const { canvas } = this, pointers = new Map();
    let start = null;
    const place = (event) => {
      const box = canvas.getBoundingClientRect();
      return [event.clientX - box.x, event.clientY - box.y];
    };
    canvas.addEventListener("pointerdown", (event) => {
      canvas.setPointerCapture(event.pointerId);
      pointers.set(event.pointerId, place(event));
      start = place(event);
      this.box = this.page.tool === "box";
      if (this.page.tool || event.shiftKey) this.corners = [start];
    });
    canvas.addEventListener("pointermove", (event) => {
      const at = place(event), before = pointers.get(event.pointerId);
      if (!before) {
        this.pointer = at;
        this.hovering ??= requestAnimationFrame(() => { this.hovering = null; this.hover(); });
        return;
      }
      if (this.corners) {
        if (this.box) this.corners = [start, [at[0], start[1]], at, [start[0], at[1]], start];
        else this.corners.push(at);
        this.draw();
      } else if (pointers.size === 2) { // two fingers
        const other = [...pointers].find(([id]) => id !== event.pointerId)[1];
        const apart = (one) => Math.hypot(one[0] - other[0], one[1] - other[1]);
        this.zoom(apart(before) / Math.max(1, apart(at)), (at[0] + other[0]) / 2, (at[1] + other[1]) / 2);
        start = null;
      } else if (!start || Math.hypot(at[0] - start[0], at[1] - start[1]) > 4) {
        this.pan(at[0] - before[0], at[1] - before[1]);
        start = null;
      } else return;
      pointers.set(event.pointerId, at);
    });
    const end = (event) => {
      if (!pointers.delete(event.pointerId)) return;
      if (this.corners) {
        const corners = this.corners.map(([x, y]) => this.toMap(x, y));
        this.corners = null;
        this.draw();
        if (this.box && corners.length > 1) this.zoomTo(corners[0], corners[2]);
        this.page.drawn(this, this.box ? null : corners);
      } else if (start && event.type === "pointerup") {
        const row = this.near(...start);
        if (row >= 0) this.page.go(row);
      }
    };
    canvas.addEventListener("pointerup", end);
    canvas.addEventListener("pointercancel", end);
    canvas.addEventListener("pointerleave", () => { this.pointer = null; this.hideCard(); });
    canvas.addEventListener("wheel", (event) => {
      event.preventDefault();
      this.zoom(Math.exp(Math.max(-200, Math.min(200, event.deltaY)) / 400), ...place(event));
    }, { passive: false });
    canvas.addEventListener("keydown", (event) => {
      const steps = { ArrowLeft: [1, 0], ArrowRight: [-1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] }[event.key];
      if (event.ctrlKey || event.altKey || event.metaKey) return;
      if (steps) this.pan(0.1 * steps[0] * canvas.clientWidth, 0.1 * steps[1] * canvas.clientHeight);
      else if (event.key === "+" || event.key === "-") this.zoom(event.key === "+" ? 0.8 : 1.25);
      else if (event.key === "0") this.home();
      else if (event.key === "Enter") {
        const row = this.near(canvas.clientWidth / 2, canvas.clientHeight / 2, Infinity);
        if (row >= 0) this.page.go(row);
      } else return;
      event.preventDefault();
      event.stopPropagation();
    });
  }

  async hover() {
    const row = this.pointer && this.view ? this.near(...this.pointer) : -1;
    if (row === this.hovered) return row >= 0 && this.placeCard();
    this.hovered = row;
    this.page.point(row);
    if (row < 0) return this.hideCard();
    const content = await this.page.cardOf(row);
    if (this.hovered !== row) return;
    this.card.replaceChildren(...content);
    this.card.hidden = false;
    this.placeCard();
  }

  placeCard() {
    if (!this.pointer) return;
    const [x, y] = this.pointer, { clientWidth: width, clientHeight: height } = this.frame;
    const { offsetWidth, offsetHeight } = this.card;
    this.card.style.left = `${Math.max(0, x < width - offsetWidth - 30 ? x + 22 : x - offsetWidth - 22)}px`;
    this.card.style.top = `${Math.max(4, Math.min(y - 40, height - offsetHeight - 8))}px`;
  }

  hideCard() {
    this.hovered = -1;
    this.card.hidden = true;
    this.page.point(-1);
  }

  /** Show where a source is that the pointer is on, on another map or in a list; -1 for none. */
  point(row) {
    const [x, y] = row >= 0 && this.view && 2 * row < this.xy.length ? this.toScreen(row) : [-1, -1];
    this.ring.hidden = !(x >= 0 && y >= 0 && x <= this.canvas.clientWidth && y <= this.canvas.clientHeight);
    this.ring.style.translate = `${x}px ${y}px`;
  }
}
