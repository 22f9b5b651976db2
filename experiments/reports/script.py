"""Holds the style sheet and the script of a report.

The script sorts and filters lists of cases, and enlarges pictures. It is plain
JavaScript without eval or innerHTML: it only moves and clones elements of the
page, or sets their text. If scripts are disabled, a report shows the same
content in its initial order.
"""

STYLE = """
body { max-width: 80rem; }
:focus-visible { outline: 3px solid var(--c0); outline-offset: 2px; }
nav ul { list-style: none; display: flex; flex-wrap: wrap; gap: .2rem 1.2rem;
  padding: 0; }
a { color: var(--c0); } h3 { font-size: 1rem; margin: 1rem 0 .3rem; }
.scroll { overflow: auto; max-height: 85vh;
  border: 1px solid rgb(128 128 128 / .35); }
.scroll table { margin: 0; }
.scroll thead th { position: sticky; top: 0; background: Canvas; z-index: 1;
  vertical-align: bottom; }
.scroll thead th:not([data-type=number]) { text-align: left; }
.scroll th, .scroll td { padding: .3rem .6rem; }
.scroll td { white-space: nowrap; }
.scroll td.text { white-space: normal; text-align: left; min-width: 6rem; }
.scroll tbody th { min-width: 8rem; max-width: 14rem; font-weight: 400; }
.scroll thead button { font: inherit; color: inherit; background: none;
  border: 0; padding: .2rem; text-align: inherit; min-width: 5rem;
  overflow-wrap: break-word; }
.scroll thead button:enabled { cursor: pointer; text-decoration: underline; }
[aria-sort=ascending] button::after { content: ' \\25B2'; }
[aria-sort=descending] button::after { content: ' \\25BC'; }
.thumbs { text-align: left; }
.open { display: flex; gap: .3rem; padding: .2rem; border: 0;
  background: none; color: inherit; font: inherit; }
.open:enabled { cursor: zoom-in; }
.open img { height: 5rem; width: auto; display: block; }
.open span { font-size: .7rem; line-height: 1.2; text-align: center; }
.tools { display: flex; flex-wrap: wrap; gap: .3rem 1.5rem;
  align-items: center; }
.tools[hidden] { display: none; } .tools input { font: inherit; }
.headline { font-size: 1.1rem; margin: .4rem 0; }
.headline strong { font-size: 1.35rem; margin-right: .5rem; }
.headline ~ .tables, .headline ~ .plots { margin-top: 1rem; }
.headline ~ .pictures { display: grid; align-items: start;
  grid-template-columns: repeat(auto-fit, minmax(min(100%, 18rem), 1fr)); }
.headline ~ .pictures .group { width: auto; height: 100%;
  align-content: start; }
.headline ~ .pictures figure { width: calc(100% / var(--n) - .4rem); }
.volume { margin: 1rem 0 1.6rem; } .volume p { margin: 0 0 .3rem; }
.strip { max-width: 100%; overflow: hidden auto; line-height: 0; }
.strip.steps { overflow: hidden; }
.strip img { width: 100%; height: auto; }
.volume input { width: min(60vw, 24rem); vertical-align: middle; }
.volume output { font-variant-numeric: tabular-nums; min-width: 9rem; }
.volume button { font: inherit; }
.group { display: flex; flex-wrap: wrap; gap: .4rem; padding: .6rem;
  border: 1px solid rgb(128 128 128 / .35); max-width: 100%;
  box-sizing: border-box; width: calc(var(--n) * 12rem + 1.4rem); }
.group figure { width: 11.6rem; }
.group h3, .group p { width: 100%; margin: 0; }
.group p { font-size: .85rem; }
dialog { width: min(94vw, 72rem); box-sizing: border-box; max-height: 94vh;
  overflow: auto; border: 1px solid; }
dialog::backdrop { background: rgb(0 0 0 / .6); }
dialog h2 { margin: 0 0 .5rem; overflow-wrap: anywhere; }
dialog .pictures { display: grid;
  grid-template-columns: repeat(auto-fit, minmax(min(100%, 15rem), 1fr)); }
dialog .pictures figure { width: 100%; max-width: 32rem; }
dialog button { font: inherit; padding: .3rem .8rem; }
dialog dl { display: grid; grid-template-columns: auto 1fr; gap: .1rem 1rem; }
dd { margin: 0; overflow-wrap: anywhere; } dt { opacity: .8; }
details { margin: .5rem 0; } summary { cursor: pointer; }
@media (max-width: 640px) {
  .open { flex-wrap: wrap; width: 9.5rem; } .open img { height: 4.3rem; }
  .scroll tbody th { min-width: 5.5rem; max-width: 7rem; }
  .scroll th, .scroll td { padding: .3rem; }
  .group figure { width: calc(50% - .2rem); }
}
@media print {
  .scroll { max-height: none; } nav, .tools, .screen { display: none; }
  body { margin: 0; font-size: 12px; } h3 { break-after: avoid; }
  .group p, figcaption { font-size: 10px; }
  .group, table { break-inside: avoid; }
  .headline ~ .pictures { grid-template-columns: repeat(3, 1fr); }
}
"""

# The dialog that shows the enlarged pictures of a case; the script fills it.
VIEWER = """<dialog id="viewer" aria-labelledby="viewer-title">
<h2 id="viewer-title"><bdi></bdi></h2>
<p><button type="button" id="viewer-back">Previous</button>
<button type="button" id="viewer-next">Next</button>
<button type="button" id="viewer-close">Close</button>
<span class="dim">Left and right arrow keys: other cases. Escape:
close.</span></p>
<div class="pictures"></div><dl></dl></dialog>"""

SCRIPT = """
'use strict';
const viewer = document.getElementById('viewer');
const collator = new Intl.Collator('en', {numeric: true});
let shown = null;  // The row that the viewer shows.

const rowsOf = (table) => [...table.tBodies[0].rows];
const visible = (table) => rowsOf(table).filter((row) => !row.hidden);
const opener = (row) => row.querySelector('.open');

// One row of a table is in the order of Tab; arrow keys move it.
function setCurrent(table, row) {
  for (const other of rowsOf(table)) {
    if (opener(other)) opener(other).tabIndex = other === row ? 0 : -1;
  }
}

function keepCurrent(table) {
  const rows = visible(table).filter(opener);
  setCurrent(table, rows.find((row) => opener(row).tabIndex === 0) || rows[0]);
}

function sortBy(table, head) {
  const column = head.cellIndex;
  const isNumber = head.dataset.type === 'number';
  const rises = head.getAttribute('aria-sort') !== 'ascending';
  const read = ({cells}) => isNumber ?
      Number(cells[column].dataset.v) : cells[column].textContent;
  const isMissing = (v) => isNumber ? Number.isNaN(v) : v === '';
  const compare = isNumber ? (a, b) => (a > b) - (a < b) : collator.compare;
  const keyed = rowsOf(table).map((row) => [read(row), row]);
  keyed.sort(([a], [b]) => isMissing(a) - isMissing(b) ||
      (isMissing(a) ? 0 : rises ? compare(a, b) : compare(b, a)));
  table.tBodies[0].append(...keyed.map(([, row]) => row));
  for (const cell of table.tHead.rows[0].cells) {
    if (cell.hasAttribute('aria-sort')) cell.setAttribute('aria-sort', 'none');
  }
  head.setAttribute('aria-sort', rises ? 'ascending' : 'descending');
  const first = visible(table).find(opener);
  if (first) setCurrent(table, first);
  table.parentElement.scrollTop = 0;
}

function filter(table, text, output) {
  const words = text.toLowerCase().split(/\\s+/);
  for (const row of rowsOf(table)) {
    const content = row.textContent.toLowerCase();
    row.hidden = !words.every((word) => content.includes(word));
  }
  keepCurrent(table);
  output.value =
      `${visible(table).length} of ${rowsOf(table).length} shown`;
}

function moveTo(table, row, key) {
  const rows = visible(table).filter(opener);
  const at = rows.indexOf(row);
  const to = {ArrowUp: at - 1, ArrowDown: at + 1, PageUp: at - 10,
    PageDown: at + 10, Home: 0, End: rows.length - 1}[key];
  if (to === undefined) return false;
  const next = rows[Math.max(0, Math.min(to, rows.length - 1))];
  setCurrent(table, next);
  opener(next).focus();
  return true;
}

function element(name, ...content) {
  const made = document.createElement(name);
  made.append(...content);
  return made;
}

function show(row) {
  shown = row;
  const heads = row.closest('table').tHead.rows[0].cells;
  viewer.querySelector('h2 bdi').textContent = row.cells[0].textContent;
  viewer.querySelector('.pictures').replaceChildren(
      ...[...row.querySelectorAll('img')].map((image) => element('figure',
          image.cloneNode(), element('figcaption', image.alt))));
  viewer.querySelector('dl').replaceChildren(
      ...[...row.cells].slice(1).filter((cell) => !cell.contains(opener(row)))
          .flatMap((cell) => [
            element('dt', heads[cell.cellIndex].textContent),
            element('dd', element('bdi', cell.textContent))]));
  viewer.scrollTop = 0;
}

function step(by) {
  const rows = visible(shown.closest('table')).filter(opener);
  const next = rows[rows.indexOf(shown) + by];
  if (next) show(next);
}

for (const table of document.querySelectorAll('.cases table')) {
  const tools = table.closest('.cases').querySelector('.tools');
  const input = tools.querySelector('input');
  const output = tools.querySelector('output');
  tools.hidden = false;
  input.addEventListener('input', () => filter(table, input.value, output));
  filter(table, input.value, output);
  table.querySelectorAll('button').forEach((b) => { b.disabled = false; });
  setCurrent(table, visible(table).find(opener));
  table.tHead.addEventListener('click', (event) => {
    const button = event.target.closest('button');
    if (button) sortBy(table, button.parentElement);
  });
  table.tBodies[0].addEventListener('click', (event) => {
    const button = event.target.closest('.open');
    if (!button) return;
    show(button.closest('tr'));
    viewer.showModal();
  });
  table.tBodies[0].addEventListener('keydown', (event) => {
    const button = event.target.closest('.open');
    if (button && moveTo(table, button.closest('tr'), event.key)) {
      event.preventDefault();
    }
  });
}
// A slider moves the strip of slices behind its window.
for (const volume of document.querySelectorAll('.volume')) {
  const strip = volume.querySelector('.strip');
  const image = strip.querySelector('img');
  const tools = volume.querySelector('.tools');
  const slider = tools.querySelector('input');
  const numbers = slider.dataset.numbers.split(' ');
  const move = () => {
    const at = Number(slider.value);
    image.style.transform = `translateY(${-100 * at / numbers.length}%)`;
    tools.querySelector('output').value =
        `${numbers[at]} (${at + 1} of ${numbers.length})`;
    slider.setAttribute('aria-valuetext', `slice ${numbers[at]}`);
  };
  strip.classList.add('steps');
  strip.removeAttribute('tabindex');
  strip.scrollTop = 0;
  tools.hidden = false;
  slider.addEventListener('input', move);
  tools.addEventListener('click', (event) => {
    const button = event.target.closest('button');
    if (!button) return;
    slider.value = button.dataset.slice;
    move();
  });
  move();
}

document.getElementById('viewer-back').onclick = () => step(-1);
document.getElementById('viewer-next').onclick = () => step(1);
document.getElementById('viewer-close').onclick = () => viewer.close();
viewer.addEventListener('keydown', (event) => {
  if (event.key === 'ArrowLeft') step(-1);
  if (event.key === 'ArrowRight') step(1);
});
// Back to the case last seen, which may be another than the one opened.
viewer.addEventListener('close', () => {
  setCurrent(shown.closest('table'), shown);
  opener(shown).focus();
});
"""
