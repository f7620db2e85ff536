// What pages do beyond links and forms: keys, live updates, the map. All of it may be missing.
"use strict";
const $ = (selector, root = document) => root.querySelector(selector);
const $$ = (selector, root = document) => [...root.querySelectorAll(selector)];

// -- keys: j and k choose a row, the rest acts on it --------------------------------------------
let chosen = "";
const rows = () => $$("[data-row]");
function choose(step) {
  const all = rows();
  if (!all.length) return;
  const at = all.findIndex((row) => row.classList.contains("chosen"));
  const next = all[Math.max(0, Math.min(all.length - 1, at < 0 ? (step > 0 ? 0 : all.length - 1) : at + step))];
  all.forEach((row) => row.classList.toggle("chosen", row === next));
  chosen = next.id;
  next.focus({ preventScroll: true });
  next.scrollIntoView({ block: "nearest" });
}
const current = () => $("[data-row].chosen") || (rows().length === 1 ? rows()[0] : null);
// The first stroke only shows what it would press, the second presses it: a landing is not a slip.
function press(key) {
  const row = current();
  const target = (row && $(`[data-key="${key}"]`, row)) || (rows().length < 2 && $(`[data-key="${key}"]`));
  if (!target) return false;
  if (key === "r" && target.tagName === "SUMMARY") {
    target.parentElement.open = true;
    $("input[name=reason]", target.parentElement).focus();
  } else if (target.tagName === "A" || document.activeElement === target) target.click();
  else target.focus();
  return true;
}
document.addEventListener("keydown", (event) => {
  const field = event.target.closest("input, select, textarea");
  if (event.key === "Escape") {
    $$("details.ask[open]").forEach((one) => (one.open = false));
    if (field) field.blur();
    return;
  }
  if (field || event.ctrlKey || event.metaKey || event.altKey) return;
  const keys = {
    j: () => choose(1) ?? true,
    k: () => choose(-1) ?? true,
    "/": () => ($("[data-search]") ? ($("[data-search]").focus(), true) : ((location.href = "/attempts"), true)),
    Enter: () => {
      const row = event.target.matches("[data-row]") ? event.target : null;
      if (row) location.href = row.dataset.row;
      return Boolean(row);
    },
  };
  const act = keys[event.key] || ("aru".includes(event.key) && event.key.length === 1 ? () => press(event.key) : null);
  if (act && act()) event.preventDefault();
});

// -- live: a change asks for this very page, and exchanges what differs ---------------------------
const isBusy = () => $$("details.ask[open]").length || document.activeElement.matches("[data-live] input, [data-live] button");
let late = false;
async function refresh() {
  if (isBusy() || document.hidden) return void (late = true);
  late = false;
  const answer = await fetch(location.href, { headers: { accept: "text/html" } });
  if (!answer.ok) return;
  const page = new DOMParser().parseFromString(await answer.text(), "text/html");
  // Asked again: while the answer was on its way somebody may have begun to write.
  if (isBusy()) return void (late = true);
  for (const part of $$("[data-live]")) {
    const fresh = $(`[data-live="${part.dataset.live}"]`, page);
    if (fresh && fresh.innerHTML !== part.innerHTML) part.replaceWith(document.adoptNode(fresh));
  }
  $("nav").replaceWith(document.adoptNode($("nav", page)));
  if (chosen && document.getElementById(chosen)) document.getElementById(chosen).classList.add("chosen");
}
if ($("[data-live]")) {
  const stream = new EventSource(`/live?seen=${document.body.dataset.mark}`);
  const shown = $(".live");
  stream.onopen = () => (shown.hidden = false);
  stream.onerror = () => (shown.hidden = true);
  stream.addEventListener("change", refresh);
  document.addEventListener("visibilitychange", () => late && refresh());
  document.addEventListener("focusout", () => setTimeout(() => late && refresh(), 200));
}

// -- times grow old --------------------------------------------------------------------------------
const units = [[31536000, "y"], [2592000, "mo"], [86400, "d"], [3600, "h"], [60, "min"], [1, "s"]];
setInterval(() => {
  for (const one of $$("time[datetime]")) {
    const seconds = (Date.now() - new Date(one.dateTime)) / 1000;
    const unit = units.find(([size]) => Math.abs(seconds) >= size);
    if (!unit || Number.isNaN(seconds)) continue;
    const told = `${Math.round(Math.abs(seconds) / unit[0])} ${unit[1]}`;
    one.textContent = seconds > 0 ? `${told} ago` : `in ${told}`;
  }
}, 30000);

// -- the map: folders as boxes, files as dots; what is pointed at lights up --------------------------
const canvas = $("canvas[data-map]");
if (canvas) fetch(canvas.dataset.map).then((answer) => answer.json()).then(draw);

function draw(data) {
  const pen = canvas.getContext("2d"), tip = $(".tip");
  const isBlast = data.nodes.some((node) => node[3] >= 0);
  const nodes = data.nodes.map(([folder, name, imported, distance, test]) => ({ folder, name, imported, distance, test, out: [], into: [] }));
  for (const [from, to] of data.edges) { nodes[from].out.push(to); nodes[to].into.push(from); }
  let boxes = [], wide = 0, high = 0, pointed = -1, colours = {};
  const named = nodes.length <= 160, FONT = "11.5px ui-monospace, Menlo, Consolas, monospace";
  const path = (node) => [data.folders[node.folder], node.name].filter(Boolean).join("/");

  function read() {
    const style = getComputedStyle(document.documentElement);
    for (const name of ["ink", "soft", "line", "card", "paper"]) colours[name] = probe(style.getPropertyValue(`--${name}`));
    for (const name of ["d0", "d1", "d2", "d3", "dx", "up"]) {
      const sample = document.createElement("span");
      sample.className = name; canvas.parentElement.append(sample);
      colours[name] = probe(getComputedStyle(sample).getPropertyValue("--c")); sample.remove();
    }
  }
  function probe(value) { // canvas does not know light-dark(): let the page resolve it
    const sample = document.createElement("span");
    canvas.parentElement.append(sample);
    sample.style.setProperty("color", value);
    const found = getComputedStyle(sample).color; sample.remove();
    return found;
  }
  const size = (node) => Math.min(9, 2.6 + Math.sqrt(node.imported) * 1.1);
  function layout() {
    const ratio = devicePixelRatio || 1;
    wide = canvas.clientWidth;
    const groups = data.folders.map((name, at) => ({ name, members: nodes.filter((node) => node.folder === at) }));
    groups.sort((a, b) => a.name.localeCompare(b.name));

    const step = named ? 19 : nodes.length > 700 ? 14 : 18;
    let x = 12, y = 12, tall = 0;
    boxes = groups.map((group) => {
      const columns = named ? 1 : Math.max(3, Math.ceil(Math.sqrt(group.members.length * 1.7)));
      pen.font = FONT;
      const label = group.name || "(top)", names = named ? group.members.map((node) => node.name) : [];
      const long = Math.max(...[label, ...names].map((name) => pen.measureText(name).width));
      const w = Math.min(wide - 24, Math.max(columns * step + 16, Math.min(long + (named ? 36 : 18), 260)));
      const across = named ? 1 : Math.max(1, Math.floor((w - 12) / step));
      const h = Math.ceil(group.members.length / across) * step + 30;
      if (x + w > wide - 10) { x = 12; y += tall + 12; tall = 0; }
      group.members.sort((a, b) => b.imported - a.imported);
      group.members.forEach((node, at) => { node.x = x + 6 + step / 2 + (at % across) * step; node.y = y + 24 + step / 2 + Math.floor(at / across) * step; });
      const box = { x, y, w, h, label };
      x += w + 12; tall = Math.max(tall, h);
      return box;
    });
    high = Math.max(90, y + tall + 14);
    canvas.style.setProperty("height", `${high}px`);
    canvas.width = wide * ratio; canvas.height = high * ratio;
    pen.setTransform(ratio, 0, 0, ratio, 0, 0);
  }
  function reach(at) { // who depends on a file, by distance
    const far = new Map([[at, 0]]);
    for (let level = [at], steps = 1; level.length; steps++) {
      const next = [];
      for (const one of level) for (const source of nodes[one].into) if (!far.has(source)) { far.set(source, steps); next.push(source); }
      level = next;
    }
    return far;
  }
  function curve(from, to) { // sideways, so that what stands in one column is told apart
    const aside = Math.abs(from.x - to.x) < 4 ? 10 + Math.abs(from.y - to.y) * 0.25 : 0;
    pen.beginPath(); pen.moveTo(from.x, from.y);
    pen.bezierCurveTo(from.x - aside + (to.x - from.x) * 0.4, from.y, to.x - aside - (to.x - from.x) * 0.4, to.y, to.x, to.y);
    pen.stroke();
  }
  const shade = (distance) => (distance < 0 ? colours.dx : colours[`d${Math.min(3, distance)}`]);
  function paint() {
    pen.clearRect(0, 0, wide, high);
    pen.textBaseline = "alphabetic";
    pen.font = FONT;
    for (const box of boxes) {
      pen.strokeStyle = colours.line; pen.strokeRect(box.x + 0.5, box.y + 0.5, box.w, box.h);
      pen.fillStyle = colours.soft;
      let label = box.label;
      while (label.length > 4 && pen.measureText(label).width > box.w - 12) label = `…${label.slice(2)}`;
      pen.fillText(label, box.x + 7, box.y + 16);
    }
    const far = pointed >= 0 ? reach(pointed) : null;
    // A few arrows say more than none, thousands less: those of a change, or of what is pointed at.
    let drawn = far ? [] : isBlast ? data.edges.filter(([from, to]) => nodes[to].distance >= 0 && nodes[from].distance === nodes[to].distance + 1) : named ? data.edges : [];
    if (drawn.length > 400) drawn = drawn.filter(([, to]) => nodes[to].distance === 0);
    pen.lineWidth = 1; pen.globalAlpha = 0.4; pen.strokeStyle = isBlast ? colours.d1 : colours.soft;
    for (const [from, to] of drawn) curve(nodes[from], nodes[to]);
    pen.globalAlpha = 1;
    if (far) {
      pen.lineWidth = 1; pen.globalAlpha = 0.5;
      for (const [list, colour] of [[nodes[pointed].into, colours.d1], [nodes[pointed].out, colours.up]])
        for (const other of list) {
          pen.strokeStyle = colour; curve(nodes[pointed], nodes[other]);
        }
      pen.globalAlpha = 1;
    }
    nodes.forEach((node, at) => {
      let colour = shade(isBlast ? node.distance : -1);
      if (far) colour = far.has(at) ? shade(far.get(at)) : nodes[pointed].out.includes(at) ? colours.up : colours.dx;
      pen.fillStyle = colour; pen.beginPath();
      if (node.test) pen.rect(node.x - size(node), node.y - size(node), size(node) * 2, size(node) * 2);
      else pen.arc(node.x, node.y, size(node), 0, 7);
      pen.fill();
      if (named) { // first what keeps arrows off its name
        pen.fillStyle = colours.card; pen.fillRect(node.x + 12, node.y - 7, pen.measureText(node.name).width + 4, 14);
        pen.fillStyle = isBlast && node.distance < 0 ? colours.soft : colours.ink; pen.fillText(node.name, node.x + 14, node.y + 4);
      }
      if (at === pointed) { pen.strokeStyle = colours.ink; pen.lineWidth = 1.5; pen.stroke(); }
    });
  }
  function find(event) {
    const place = canvas.getBoundingClientRect(), x = event.clientX - place.left, y = event.clientY - place.top;
    let best = -1, least = 14 ** 2;
    nodes.forEach((node, at) => { const gap = (node.x - x) ** 2 + (node.y - y) ** 2; if (gap < least) { best = at; least = gap; } });
    return best;
  }
  canvas.addEventListener("pointermove", (event) => {
    const at = find(event);
    if (at === pointed) return;
    pointed = at;
    const node = nodes[at];
    tip.textContent = node ? `${path(node)} · ${reach(at).size - 1} depend on it, it imports ${node.out.length}` : "";
    paint();
  });
  canvas.addEventListener("pointerleave", () => { pointed = -1; tip.textContent = ""; paint(); });
  canvas.addEventListener("click", (event) => {
    const at = find(event);
    if (at >= 0) location.href = `/map?${new URLSearchParams({ path: path(nodes[at]) })}`;
  });
  const again = () => { read(); layout(); paint(); };
  addEventListener("resize", again);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", again);
  again();
}
