// The page: shows one suspect after another, and reacts to keys and buttons.

const $ = (selector) => document.querySelector(selector);
const store = data.mode === 'static' ?
    new BrowserStore() : new ServerStore((text) => say(text, true));
const suspects = new Suspects(store);
const view = new View($('#canvas'), data.colours);
const drawing = new Drawing(view, {changed: keepDraft, say});

let index = -1;  // The suspect that is shown; -1 after the last one.
let current = null;  // Its decoded maps, or null while it is loading.
let isBusy = false;  // Whether a decision is on its way.
let exactChoice = null;  // What x has chosen for this picture.
let shownAt = 0;  // When the suspect was shown, without the hidden time.
let hiddenAt = 0;
let numKeys = 0;  // Keys and clicks for this suspect.

const words = (name) => name.replaceAll('_', ' ');
const className = (value) =>
  value === UNLABELLED ? 'unlabelled' : data.classes[value];

// The message fades after a while, so that it does not hide the picture.
function say(text, isError = false) {
  const message = $('#message');
  message.textContent = text;
  message.classList.toggle('error', isError);
  message.getAnimations().forEach((animation) => {
    animation.cancel();
    animation.play();
  });
}

// Decisions in words, for the state of a suspect and the live region.
function inWords({decision, exact, source}) {
  if (decision === 'keep') return 'kept';
  if (decision === 'drop') return 'dropped';
  const how = {
    drawn: 'drawn', prediction: 'prediction taken',
    prediction_inside: 'prediction inside taken'}[source];
  return `${how}, ${exact ? 'exact' : 'coarse'} mask`;
}

function isExact(source) {
  return exactChoice ?? source === 'drawn';
}

function nextUndecided(from) {
  const number = data.suspects.length;
  for (let step = 1; step <= number; step++) {
    const at = (from + step) % number;
    if (!store.decided.has(data.suspects[at].id)) return at;
  }
  return -1;
}

async function show(at, before = '') {
  index = at;
  current = null;
  exactChoice = null;
  drawing.close();
  describe();
  if (at < 0) {
    say(`${before} All suspects are decided.`.trim());
    return;
  }
  let suspect;
  try {
    suspect = await suspects.get(at);
  } catch (error) {
    if (index === at) {
      say(error instanceof TypeError ? 'The server does not answer: is it ' +
          'still running? The arrow keys try again.' : error.message, true);
    }
    return;
  }
  if (index !== at) return;  // The person went on meanwhile.
  current = suspect;
  drawing.open(suspect);
  const {id, kind, annotator, why} = data.suspects[at];
  const by = annotator ? ` by ${annotator}` : '';
  const place = `Suspect ${at + 1} of ${data.suspects.length}, ${id}`;
  say(`${before} ${place}: ${words(kind)}${by}, ${words(why)}.`.trim());
  const draft = recall('draft');
  if (draft && draft.id === id && !store.decided.has(id)) {
    exactChoice = draft.exactChoice;
    drawing.startFrom(
        decodeRuns(draft.runs, suspect.width * suspect.height), draft.source);
    say('Your unfinished drawing is back.');
  }
  shownAt = performance.now();
  numKeys = 0;
  describe();
  suspects.readAhead(nextUndecided(at));
}

function keepDraft() {
  const {id} = data.suspects[index];
  const {source} = drawing;
  keep('draft', source === 'none' ? null : {
    id, source, exactChoice, runs: encodeRuns(drawing.layer.mask)});
  describe();
}

// Sends a decision, and shows the next suspect once it is safe.
async function decide(fields, at = index) {
  if (isBusy || (at === index && !current && fields.decision !== 'undo')) {
    return;
  }
  isBusy = true;
  document.body.setAttribute('aria-busy', 'true');
  try {
    await store.send({
      id: data.suspects[at].id, ...fields, key: randomKey(), keys: numKeys,
      seconds: Math.round((performance.now() - shownAt) / 100) / 10});
    keep('draft', null);
  } catch (error) {
    say(error.message, true);
    return;
  } finally {
    isBusy = false;
    document.body.removeAttribute('aria-busy');
  }
  const done = fields.decision === 'undo' ? 'Withdrawn.' :
      `Saved: ${inWords(fields)}.`;
  await show(fields.decision === 'undo' ? at : nextUndecided(at), done);
}

function take(source, mask) {
  if (!mask) {
    say('The annotation has no place: there is no inside.');
  } else if (source === 'prediction_inside' && !mask.some((value) => value)) {
    say('The networks see nothing inside the annotation: nothing is decided.');
  } else {
    decide({
      decision: 'mask', source, exact: isExact(source),
      runs: encodeRuns(mask)});
  }
}

function save() {
  if (drawing.closePolygon()) return;
  const {source} = drawing;
  if (source === 'none') {
    say('Nothing is drawn: k keeps the annotation, p takes the prediction, ' +
        'Shift and E start from no object.');
  } else if (source === 'weak') {
    say('That is the annotation as it was: k keeps it.');
  } else {
    take(source, drawing.layer.mask);
  }
}

function undo() {
  if (current && drawing.undo()) {
    say('Undone.');
    return;
  }
  const shown = index >= 0 ? data.suspects[index].id : null;
  const id = store.decided.has(shown) ? shown :
      [...store.decided.keys()].pop();
  if (id === undefined) say('There is nothing to undo.');
  else decide({decision: 'undo'}, data.suspects.findIndex((s) => s.id === id));
}

function startFrom(source, mask) {
  if (!mask) say('The annotation has no place: there is no inside.');
  else drawing.startFrom(mask, source);
}

function toggleExact() {
  const {source} = drawing;
  exactChoice = !isExact(source);
  say(exactChoice ? 'The new mask is exact.' : 'The new mask is coarse.');
  describe();
}

function toggleLayer(name) {
  view.shown[name] = !view.shown[name];
  view.draw();
  describe();
}

function step(by) {
  const number = data.suspects.length;
  if (!isBusy) show(index < 0 ? 0 : (index + by + number) % number);
}

function chooseClass(value) {
  if (value !== UNLABELLED && !(value in data.classes)) return;
  drawing.value = value;
  if (drawing.tool === 'eraser') drawing.choose('brush');
  say(`Class to draw: ${className(value)}.`);
  describe();
}

function chooseTool(tool) {
  drawing.choose(tool);
  say(`Tool: ${{fill: 'smart fill'}[tool] || tool}.`);
  describe();
}

function smartFill() {
  if (view.cursor && view.isInside(view.cursor)) drawing.fill(view.cursor);
  else chooseTool('fill');
}

function escape() {
  if (!drawing.stopPolygon()) chooseTool('move');
}

// Actions that need a suspect, and those that work at any time.
const OF_SUSPECT = {
  keep: () => decide({decision: 'keep'}),
  drop: () => decide({decision: 'drop'}),
  prediction: () => take('prediction', current.prediction),
  inside: () => take('prediction_inside', current.inside),
  save,
  'from-prediction': () => startFrom('prediction', current.prediction),
  'from-inside': () => startFrom('prediction_inside', current.inside),
  'from-weak': () => startFrom('weak', current.weak),
  'from-empty': () => startFrom('drawn', current.weak.map(() => 0)),
  fill: smartFill,
  use: () => drawing.useAtCursor(),
  exact: toggleExact,
};
const ACTIONS = {
  undo: () => isBusy || undo(), previous: () => step(-1), next: () => step(1),
  help: () => $('#help').showModal(),
  download: () => store.download(),
  smaller: () => { drawing.resizeBrush(-1); describe(); },
  larger: () => { drawing.resizeBrush(1); describe(); },
  'zoom-in': () => view.zoom(1.3), 'zoom-out': () => view.zoom(1 / 1.3),
  fit: () => view.fit(), escape,
};

const KEYS = {
  k: 'keep', d: 'drop', p: 'prediction', i: 'inside', s: 'save',
  Enter: 'save', u: 'undo', f: 'fill', x: 'exact', ' ': 'use',
  P: 'from-prediction', I: 'from-inside', W: 'from-weak', E: 'from-empty',
  ArrowLeft: 'previous', ArrowRight: 'next', '?': 'help', '[': 'smaller',
  ']': 'larger', '+': 'zoom-in', '=': 'zoom-in', '-': 'zoom-out', z: 'fit',
  Escape: 'escape',
};
const TOOL_KEYS = {v: 'move', b: 'brush', e: 'eraser', g: 'polygon'};
const LAYER_KEYS = {w: 'weak', n: 'networks', h: 'mask', m: 'map'};
const MAY_REPEAT = new Set(['smaller', 'larger', 'zoom-in', 'zoom-out']);
const ARROWS = {
  ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1]};

function act(name) {
  if (name in ACTIONS) ACTIONS[name]();
  else if (current && !isBusy) OF_SUSPECT[name]();
}

// Returns whether the key has done something.
function press(event) {
  const {key} = event;
  if (event.shiftKey && key in ARROWS) {
    if (!current || isBusy) return false;
    const by = event.altKey ? 1 : Math.max(1, Math.round(drawing.radius));
    drawing.moveCursor(...ARROWS[key].map((x) => x * by));
    return true;
  }
  if (event.altKey) return false;
  const name = KEYS[key];
  if (name) {
    if (!event.repeat || MAY_REPEAT.has(name)) act(name);
  } else if (event.repeat) {
    return false;
  } else if (key in TOOL_KEYS) {
    chooseTool(TOOL_KEYS[key]);
  } else if (key in LAYER_KEYS) {
    toggleLayer(LAYER_KEYS[key]);
  } else if (/^[0-9]$/.test(key)) {
    chooseClass(Number(key) || UNLABELLED);
  } else {
    return false;
  }
  return true;
}

document.addEventListener('keydown', (event) => {
  const {target, key} = event;
  if (['Shift', 'Control', 'Alt', 'Meta'].includes(key)) return;
  if ($('#help').open || target.matches('input:not([type=checkbox])')) return;
  if (!event.repeat) numKeys++;
  if (event.ctrlKey || event.metaKey) {
    if (key !== 'z' || event.repeat) return;
    event.preventDefault();
    act('undo');
    return;
  }
  // A focused button, and not the drawing, takes Enter and Space.
  const isPressed = target.matches('button, summary') && (
    key === 'Enter' || key === ' ');
  if (isPressed || (key === ' ' && target.matches('input'))) return;
  if (press(event)) event.preventDefault();
});
document.addEventListener('pointerdown', () => { numKeys++; }, true);
document.addEventListener('click', (event) => {
  const button = event.target.closest('button');
  if (button && button.dataset.do) act(button.dataset.do);
  if (button && button.dataset.tool) chooseTool(button.dataset.tool);
  if (button && button.dataset.value) chooseClass(Number(button.dataset.value));
  // After a click with the mouse, Enter means the drawing again.
  if (event.detail && event.target.closest('button, label, input[type]') &&
      !$('#help').open && !event.target.closest('#name')) {
    $('#canvas').focus({preventScroll: true});
  }
});
document.addEventListener('change', ({target}) => {
  if (target.dataset.layer) toggleLayer(target.dataset.layer);
  if (target.id === 'exact' && current) toggleExact();
});
document.addEventListener('visibilitychange', () => {
  if (document.hidden) hiddenAt = performance.now();
  else if (hiddenAt) shownAt += performance.now() - hiddenAt;
});
