// What readers chose, kept in the address, and what the other scripts share. Every page is complete without any of them.
"use strict";

// what stands after # without = is a place on the page, not a state
const address = () => (location.hash.includes("=") ? new URLSearchParams(location.hash.slice(1)) : []);
const state = new Map(address());
const redraws = [];
let writing = false;

function keep(key, value) {
  if (value) state.set(key, value);
  else state.delete(key);
  write();
}

function write() {
  const text = new URLSearchParams([...state]).toString();
  writing = true;
  history.replaceState(null, "", text ? `#${text}` : location.pathname + location.search);
  writing = false;
}

function make(name, properties = {}, ...children) {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...children);
  return made;
}

// a button beside the words of a head, on the side away from its numbers
function accompany(cell, button) {
  const words = make("span", {}, ...cell.childNodes);
  const parts = cell.classList.contains("number") ? [button, words] : [words, button];
  cell.append(make("span", { className: "sorts" }, ...parts));
}

const plain = (cell) => cell.textContent.trim();

function sortKey(cell, kind) {
  if (!cell) return kind === "number" ? -Infinity : "";
  const text = plain(cell);
  if (kind !== "number") return text.toLowerCase();
  const found = /[-+−]?[\d,]*\.?\d+(?:e[-+]?\d+)?/i.exec(text);
  return found ? parseFloat(found[0].replaceAll(",", "").replace("−", "-")) : NaN;
}

addEventListener("hashchange", () => {
  if (writing) return;
  if (location.hash && !location.hash.includes("=")) {
    if (state.size) write(); // the reader has jumped to a place, and keeps the view
    return;
  }
  state.clear();
  for (const [key, value] of address()) state.set(key, value);
  for (const redraw of redraws) redraw();
});

// a menu of columns closes when the reader is done with it
addEventListener("click", (event) => {
  for (const open of document.querySelectorAll(".controls details[open]")) if (!open.contains(event.target)) open.open = false;
});
addEventListener("keydown", (event) => {
  if (event.key !== "Escape") return;
  for (const open of document.querySelectorAll(".controls details[open]")) {
    open.open = false;
    open.querySelector("summary").focus();
  }
});
