// Tables: sorting, searching, filters and a choice of columns; matrices that are put in order.
"use strict";

class Table {
  constructor(table, place) {
    this.table = table;
    this.name = table.id || `t${place}`;
    this.body = table.tBodies[0];
    this.rows = [...this.body.rows];
    this.heads = [...table.tHead.rows[0].cells];
    this.words = this.heads.map(plain);
    this.texts = null;
    this.ordered = "";
    this.filters = (table.dataset.filters || "").split(" ").filter(Boolean);
    this.searches = "search" in table.dataset || this.filters.length > 0;
    this.addSorting();
    this.addControls();
    this.read();
    redraws.push(() => this.read());
  }

  key(what) {
    return this.name === "entries" ? what : `${this.name}.${what}`;
  }

  columnName(column) {
    return this.heads[column].dataset.column || this.words[column].toLowerCase();
  }

  addSorting() {
    this.buttons = new Map();
    this.heads.forEach((head, column) => {
      if (!head.dataset.sort) return;
      const words = plain(head);
      const button = make("button", { type: "button", textContent: "↕", title: `Sort by ${words}` });
      button.setAttribute("aria-label", `Sort by ${words}`);
      button.addEventListener("click", () => {
        const name = this.columnName(column);
        const [now, way] = (state.get(this.key("sort")) || "").split(/-(?=up$|down$)/);
        const first = head.dataset.sort === "number" && !head.classList.contains("rank") ? "down" : "up";
        const other = first === "up" ? "down" : "up";
        const next = now !== name ? first : way === first ? other : "";
        keep(this.key("sort"), next && `${name}-${next}`);
        this.read();
      });
      accompany(head, button);
      this.buttons.set(column, button);
    });
  }

  addControls() {
    const controls = make("div", { className: "controls" });
    if (this.searches) {
      this.search = make("input", { type: "search", autocomplete: "off" });
      this.search.addEventListener("input", () => { keep(this.key("q"), this.search.value); this.read(); });
      controls.append(make("label", {}, "Search", this.search));
    }
    this.menus = new Map();
    for (const name of this.filters) {
      const values = [...new Set(this.rows.map((row) => row.dataset[name]))].sort();
      if (values.length < 2) continue;
      const menu = make("select", {}, make("option", { value: "", textContent: "all" }),
        ...values.map((value) => make("option", { value, textContent: value })));
      menu.addEventListener("change", () => { keep(this.key(name), menu.value); this.read(); });
      this.menus.set(name, menu);
      controls.append(make("label", {}, name[0].toUpperCase() + name.slice(1), menu));
    }
    if ("columns" in this.table.dataset) controls.append(...this.columnControls());
    if (!controls.children.length) return;
    this.count = make("output");
    this.reset = make("button", { type: "button", textContent: "Show all" });
    this.reset.addEventListener("click", () => {
      for (const what of ["q", "sort", "attack", "hide", ...this.filters]) keep(this.key(what), "");
      this.read();
    });
    controls.append(this.reset, this.count);
    this.table.closest(".scroll").before(controls);
  }

  columnControls() {
    const made = [];
    const named = this.heads.map((head, column) => [head.dataset.column, column]).filter(([name]) => name);
    const attacks = named.filter(([name]) => name.startsWith("attack "));
    if (attacks.length > 1) {
      this.attack = make("select", {}, make("option", { value: "", textContent: "all" }),
        ...attacks.map(([name]) => make("option", { value: name.slice(7), textContent: name.slice(7) })));
      this.attack.addEventListener("change", () => { keep(this.key("attack"), this.attack.value); this.read(); });
      made.push(make("label", {}, "Attack", this.attack));
    }
    this.boxes = new Map();
    const choices = make("div", { className: "choices" });
    for (const [name, column] of named) {
      const box = make("input", { type: "checkbox", checked: true });
      box.addEventListener("change", () => {
        const hidden = [...this.boxes].filter(([, other]) => !other.checked).map(([other]) => other);
        keep(this.key("hide"), hidden.length ? JSON.stringify(hidden) : "");
        this.read();
      });
      this.boxes.set(name, box);
      const words = this.heads[column].querySelector("a") || this.heads[column];
      choices.append(make("label", {}, box, words.textContent));
    }
    made.push(make("details", {}, make("summary", { textContent: "Columns" }), choices));
    return made;
  }

  hidden() {
    try {
      const found = JSON.parse(state.get(this.key("hide")) || "[]");
      return new Set(Array.isArray(found) ? found : []);
    } catch { return new Set(); }
  }

  read() {
    const query = state.get(this.key("q")) || "";
    if (this.search && this.search.value !== query) this.search.value = query;
    const wanted = [];
    for (const name of this.filters) {
      const value = state.get(this.key(name)) || "";
      if (this.menus.has(name)) this.menus.get(name).value = value;
      if (value) wanted.push([name, value]); // where all rows are alike there is no menu, yet the address holds
    }
    const words = query.toLowerCase().split(/\s+/).filter(Boolean);
    if (words.length && !this.texts) this.texts = this.rows.map((row) => row.textContent.toLowerCase());
    let shown = 0;
    this.rows.forEach((row, place) => {
      const fits = wanted.every(([name, value]) => row.dataset[name] === value) &&
        words.every((word) => this.texts[place].includes(word));
      row.hidden = !fits;
      shown += fits;
    });
    this.order();
    this.showColumns();
    if (this.count) {
      this.count.textContent = shown === this.rows.length ? `${shown} rows` : shown ? `${shown} of ${this.rows.length} rows` : "No row fits";
    }
    if (this.reset) this.reset.hidden = ![...state.keys()].some((key) =>
      ["q", "sort", "attack", "hide", ...this.filters].some((what) => key === this.key(what)));
  }

  order() {
    const wish = state.get(this.key("sort")) || "";
    if (wish === this.ordered) return;
    this.ordered = wish;
    const [text, way] = wish.split(/-(?=up$|down$)/);
    const column = way ? this.heads.findIndex((head, place) => this.buttons.has(place) && this.columnName(place) === text) : -1;
    this.heads.forEach((head, place) => {
      const button = this.buttons.get(place);
      if (!button) return;
      if (place === column) head.setAttribute("aria-sort", way === "up" ? "ascending" : "descending");
      else head.removeAttribute("aria-sort");
      button.textContent = place !== column ? "↕" : way === "up" ? "↑" : "↓";
    });
    let rows = this.rows;
    if (column >= 0) {
      const kind = this.heads[column].dataset.sort;
      const sign = way === "up" ? 1 : -1;
      const keyed = rows.map((row, place) => [sortKey(row.cells[column], kind), place, row]);
      keyed.sort(([a, i], [b, j]) => {
        if (kind === "number" && (Number.isNaN(a) || Number.isNaN(b))) return Number.isNaN(a) - Number.isNaN(b) || i - j;
        return (a < b ? -sign : a > b ? sign : 0) || i - j;
      });
      rows = keyed.map(([, , row]) => row);
    }
    if (rows.some((row, place) => this.body.rows[place] !== row)) this.body.append(...rows);
  }

  showColumns() {
    if (!this.boxes) return;
    const hidden = this.hidden();
    const attack = state.get(this.key("attack")) || "";
    if (this.attack) this.attack.value = attack;
    this.heads.forEach((head, column) => {
      const name = head.dataset.column;
      if (!name) return;
      this.boxes.get(name).checked = !hidden.has(name);
      const hide = hidden.has(name) || (attack !== "" && name.startsWith("attack ") && name !== `attack ${attack}`);
      if (head.hidden === hide) return;
      head.hidden = hide;
      for (const row of this.rows) row.cells[column].hidden = hide;
    });
  }
}

// a matrix whose rows are put in the order of one of its columns, and its columns in that of one of its rows
class Matrix {
  constructor(table) {
    this.table = table;
    this.head = table.tHead.rows[0];
    this.lines = [this.head, ...table.tBodies[0].rows, ...(table.tFoot ? table.tFoot.rows : [])];
    this.rows = [...table.tBodies[0].rows];
    this.cells = this.lines.map((line) => [...line.cells]);
    this.columns = this.cells[0].map((cell) => cell.dataset.key);
    this.moving = this.columns.map((key, place) => place).filter((place) => place > 0 && this.columns[place] !== "mean");
    this.buttons = [];
    this.cells[0].forEach((cell, place) => { if (place) this.add(cell, "rows", this.columns[place]); });
    this.lines.slice(1).forEach((line) => this.add(line.cells[0], "columns", line.dataset.key));
    this.reset = make("button", { type: "button", textContent: "Order as listed" });
    this.reset.addEventListener("click", () => { keep("rows", ""); keep("columns", ""); this.read(); });
    table.closest(".scroll").before(make("div", { className: "controls" }, this.reset));
    this.read();
    redraws.push(() => this.read());
  }

  add(cell, what, key) {
    const words = `Order ${what} by ${plain(cell)}`;
    const button = make("button", { type: "button", textContent: "↕", title: words });
    button.setAttribute("aria-label", words);
    button.addEventListener("click", () => {
      const now = state.get(what) || "";
      keep(what, now === `${key}-down` ? `${key}-up` : now === `${key}-up` ? "" : `${key}-down`);
      this.read();
    });
    this.buttons.push([button, what, key]);
    accompany(cell, button);
  }

  // places in the order of their values; those without one come last
  sorted(places, value, way) {
    const keyed = places.map((place) => [sortKey(value(place), "number"), place]);
    const sign = way === "up" ? 1 : -1;
    keyed.sort(([a, i], [b, j]) => (Number.isNaN(a) || Number.isNaN(b) ? Number.isNaN(a) - Number.isNaN(b) : sign * (a - b)) || i - j);
    return keyed.map(([, place]) => place);
  }

  wish(what) {
    const text = state.get(what) || "";
    return [text.replace(/-(up|down)$/, ""), text.endsWith("-up") ? "up" : "down"];
  }

  read() {
    const [column, rowsWay] = this.wish("rows");
    const at = column ? this.columns.indexOf(column) : -1;
    let rows = this.rows.map((row, place) => place);
    if (at > 0) rows = this.sorted(rows, (place) => this.cells[place + 1][at], rowsWay);
    this.table.tBodies[0].append(...rows.map((place) => this.rows[place]));
    const [row, columnsWay] = this.wish("columns");
    const line = row ? this.lines.findIndex((one, place) => place > 0 && one.dataset.key === row) : -1;
    const moved = line > 0 ? this.sorted(this.moving, (place) => this.cells[line][place], columnsWay) : this.moving;
    const rest = this.columns.map((key, place) => place).filter((place) => place > 0 && !this.moving.includes(place));
    this.lines.forEach((one, place) => one.append(...[...moved, ...rest].map((column) => this.cells[place][column])));
    for (const [button, what, key] of this.buttons) {
      const [wanted, way] = this.wish(what);
      const chosen = wanted === key;
      button.setAttribute("aria-pressed", String(chosen));
      const arrows = what === "rows" ? ["↕", "↑", "↓"] : ["↔", "←", "→"];
      button.textContent = !chosen ? arrows[0] : way === "up" ? arrows[1] : arrows[2];
    }
    this.reset.hidden = at <= 0 && line <= 0;
  }
}

document.querySelectorAll("table[data-sortable]").forEach((table, place) => {
  if (table.tBodies[0].rows.length > 1) new Table(table, place);
});
document.querySelectorAll("table[data-reorder]").forEach((table) => new Matrix(table));
