// What a server would answer, from the data that an exported page brings.

const decode = (text) => Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0)).buffer;

/** Whether a row's place is inside a polygon: on one side of it is an odd number of its edges. */
const insideOf = (corners, xy) => (row) => {
  const [x, y] = [xy[2 * row], xy[2 * row + 1]];
  let inside = false;
  for (let at = 0, last = corners.length - 2; at < corners.length; last = at, at += 2) {
    const [fromX, fromY, toX, toY] = [corners[last], corners[last + 1], corners[at], corners[at + 1]];
    if (fromY > y !== toY > y && x < fromX + ((toX - fromX) * (y - fromY)) / (toY - fromY)) inside = !inside;
  }
  return inside;
};

class LocalAnswers {
  constructor(data) {
    this.data = data;
    this.near = new Int32Array(decode(data.neighbours));
    this.pictures = new Uint8Array(decode(data.pictures));
    this.perRow = this.near.length / data.ids.length;
    this.rows = new Map(data.ids.map((id, row) => [id, row]));
    this.given = new Map(data.ratings.rows);
  }

  start() { return this.data.start; }
  map({ name }) { return unpack(decode(this.data.files[`map ${name}`])); }
  column({ name }) { return unpack(decode(this.data.files[`column ${name}`])); }
  order() { return unpack(decode(this.data.files["order "])); }
  clusters() { return this.data.clusters; }
  ratings() { return this.data.ratings; }

  /** The row of an id, or of the source within an arcmin that is nearest to a position in degrees. */
  async find({ text }) {
    if (this.rows.has(text)) return { row: this.rows.get(text) };
    const [ra, dec, ...more] = text.split(/[\s,]+/).map(Number), known = columnNames().includes("ra_deg");
    if (!known || more.length || !Number.isFinite(ra + dec)) throw new Refused("this is neither an id of a source nor a position such as 187.70 12.39");
    const [across, up] = [(await column("ra_deg")).array, (await column("dec_deg")).array];
    let row = -1, least = 1 / 60;
    for (let at = 0; at < across.length; at++) {
      const turn = ((across[at] - ra + 540) % 360) - 180, far = Math.hypot(turn * Math.cos((dec * Math.PI) / 180), up[at] - dec);
      if (far <= least) [row, least] = [at, far];
    }
    if (row < 0) throw new Refused("no source is within 60 arcsec of this position");
    return { row };
  }

  named({ name }) {
    if (!this.rows.has(name)) throw new Refused(`no source has the id '${name.slice(0, 80)}'`);
    return { row: this.rows.get(name) };
  }

  async items({ rows }) {
    const name = this.data.start.class_column, classes = name && (await column(name));
    const classOf = (row) => (classes ? classes.classes?.[classes.array[row]] ?? "" : "");
    return rows.split(",").filter(Boolean).map((row) => ({ row: +row, id: this.data.ids[row], class: classOf(row), mark: "" }));
  }

  async source({ row }) {
    const values = [];
    for (const name of columnNames()) values.push([name, valueOf(await column(name), row)]);
    const rating = this.given.get(row);
    return { row, id: this.data.ids[row], position: "", links: {}, values, rated: "", why: rating ? `rated ${rating}` : "" };
  }

  neighbours({ row }) {
    const rows = [...this.near.subarray(row * this.perRow, (row + 1) * this.perRow)].filter((other) => other >= 0);
    return { rows, scores: rows.map(() => null) };
  }

  async chosen({ chosen_by: { filters = {}, lasso, corners } }) {
    const count = this.data.ids.length, bits = new Uint8Array(Math.ceil(count / 8));
    let found = 0;
    const tests = lasso ? [insideOf(corners.split(" ").map(Number), new Float32Array(this.map({ name: lasso }).buffer))] : await Promise.all(Object.entries(filters).map(async ([name, wanted]) => {
      const { array, classes } = await column(name);
      if (classes) return (row) => wanted.includes(classes[array[row]]);
      const [low, high] = [wanted[0] === "" ? -Infinity : +wanted[0], wanted[1] === "" ? Infinity : +wanted[1]];
      return (row) => array[row] >= low && array[row] <= high;
    }));
    for (let row = 0; row < count; row++) {
      if (!tests.every((test) => test(row))) continue;
      bits[row >> 3] |= 1 << (row & 7);
      found++;
    }
    return { known: true, count: found, buffer: bits.buffer };
  }

  /** A thumbnail: its place on a sheet of many. */
  picture(row, id) {
    const { per_row: size, sheets, ids } = this.data, place = row % (size * size), sheet = Math.floor(row / (size * size));
    if (!sheets.length || !this.pictures[row]) return none();
    const made = make("span", { className: "thumb", role: "img", "aria-label": `cutout of ${id}` });
    const rows = Math.ceil(Math.min(ids.length - sheet * size * size, size * size) / size);
    const at = (index, total) => `${total > 1 ? (100 * index) / (total - 1) : 0}%`;
    made.style.backgroundImage = `url(${sheets[sheet]})`;
    made.style.backgroundSize = `${100 * size}% ${100 * rows}%`;
    made.style.backgroundPosition = `${at(place % size, size)} ${at(Math.floor(place / size), rows)}`;
    return made;
  }
}
