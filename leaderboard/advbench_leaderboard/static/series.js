// Figures whose series readers choose, and matrices that follow them.
"use strict";

// a figure whose legend chooses its series: up to eight at once, each with a colour, a dash and a mark of its own
const SLOTS = 8;

class Figure {
  constructor(figure) {
    this.key = figure.dataset.seriesFigure;
    this.groups = new Map([...figure.querySelectorAll("g[data-series]")].map((group) => [group.dataset.series, group]));
    this.items = [...figure.querySelectorAll(".legend [data-series]")];
    this.first = this.items.filter((item) => /\bs\d\b/.test(item.className) && !item.classList.contains("off")).map((item) => item.dataset.series);
    this.spread = figure.querySelector("g[transform]") !== null;
    this.boxes = new Map();
    if (this.items.length > 1) this.addBoxes();
    this.read();
    redraws.push(() => this.read());
  }

  addBoxes() {
    for (const item of this.items) {
      const box = make("input", { type: "checkbox" });
      box.setAttribute("aria-label", `Show ${plain(item)}`);
      box.addEventListener("change", () => this.choose());
      this.boxes.set(item.dataset.series, box);
      item.prepend(box);
    }
  }

  choose() {
    const chosen = [...this.boxes].filter(([, box]) => box.checked).map(([name]) => name).slice(0, SLOTS);
    keep(this.key, chosen.join(",") === this.first.join(",") ? "" : chosen.join(",") || "none");
    for (const redraw of redraws) redraw();
  }

  mark(parent, slot) {
    if (slot >= 0) for (const use of parent.querySelectorAll("use")) use.setAttribute("href", `#mark${slot}`);
  }

  read() {
    const text = state.get(this.key);
    const chosen = (text ? text.split(",") : this.first).filter((name) => this.groups.has(name)).slice(0, SLOTS);
    const step = Math.min(6, 28 / Math.max(1, chosen.length - 1)); // 34 of a row's height are for its marks
    for (const [name, group] of this.groups) {
      const slot = chosen.indexOf(name);
      group.setAttribute("class", slot < 0 ? (this.spread ? "series off" : "series rest") : `series s${slot}`);
      this.mark(group, slot);
      if (this.spread) group.setAttribute("transform", `translate(0 ${((slot < 0 ? 0 : slot) - (chosen.length - 1) / 2) * step})`);
      const box = this.boxes.get(name);
      if (box) {
        box.checked = slot >= 0;
        box.disabled = slot < 0 && chosen.length >= SLOTS;
      }
    }
    for (const item of this.items) {
      const group = this.groups.get(item.dataset.series);
      item.setAttribute("class", group ? group.getAttribute("class").replace("series ", "") : "");
      this.mark(item, chosen.indexOf(item.dataset.series));
    }
  }
}

// a matrix of pairs shows the series that were chosen in its figure, and all of them before
function follow(table) {
  const heads = [...table.tHead.rows[0].cells];
  const read = () => {
    const text = state.get(table.dataset.follows);
    const chosen = text && text !== "none" ? new Set(text.split(",")) : null;
    const hides = (name) => chosen !== null && name !== undefined && !chosen.has(name);
    for (const head of heads) head.hidden = hides(head.dataset.series);
    for (const row of table.tBodies[0].rows) {
      row.hidden = hides(row.dataset.series);
      heads.forEach((head, column) => { row.cells[column].hidden = head.hidden; });
    }
  };
  read();
  redraws.push(read);
}

document.querySelectorAll("figure[data-series-figure]").forEach((figure) => new Figure(figure));
document.querySelectorAll("table[data-follows]").forEach(follow);
