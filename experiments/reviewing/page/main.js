// The page: shows one suspect after another, and reacts to keys and buttons.

const $ = (selector) => document.querySelector(selector);
const store = data.mode === 'static' ?
    new BrowserStore() : new ServerStore((text) => say(text, true));
const suspects = new Suspects(store);
const view = new View($('#canvas'), data.colours);
const drawing = new Drawing(view, {changed: keepDraft, say, goTo});
const slices = new Slices(goTo);

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
  return exactChoice ?? (source === 'drawn' && !slices.numOpen(drawing));
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
  slices.open(data.suspects[at]);
  describe();
  if (at < 0) {
    say(`${before} All suspects are decided.`.trim());
    return;
  }
  const {id, kind, annotator, why, aspect} = data.suspects[at];
  const found = recall('draft');
  const draft = found && found.id === id && found.slices &&
      !store.decided.has(id) ? found : null;
  if (draft) {
    slices.at = draft.at;
    slices.seen = new Set(draft.seen);
  }
  if (slices.isVolume) {
    say(`${before} Loading: a volume shows once it is predicted.`.trim());
  }
  if (!await load((suspect) => {
    drawing.open(suspect, {slice: slices.at, aspect});
  })) return;
  const by = annotator ? ` by ${annotator}` : '';
  const place = `Suspect ${at + 1} of ${data.suspects.length}, ${id}`;
  const where = slices.isVolume ? ` This is ${slices.text}.` : '';
  say(`${before} ${place}: ${words(kind)}${by}, ${words(why)}.${where}`.trim());
  if (draft) {
    exactChoice = draft.exactChoice;
    const {width, height} = current;
    drawing.startFrom(draft.base, new Map(
        Object.entries(draft.slices).map(([slice, runs]) => [
          Number(slice), decodeRuns(runs, width * height)])), draft.source);
    say('Your unfinished drawing is back.');
  }
  shownAt = performance.now();
  numKeys = 0;
  describe();
  const next = nextUndecided(at);
  suspects.readAhead(next, data.suspects[next]?.start);
}

// Loads a suspect, or a slice of it, and shows it with `open`. Returns whether
// it is shown: the person may go on meanwhile.
async function load(open) {
  const at = index;
  const {number} = slices;
  const isWanted = () => index === at && slices.number === number;
  try {
    const suspect = await suspects.get(at, number);
    if (!isWanted()) return false;
    current = suspect;
  } catch (error) {
    if (isWanted()) {
      say(error instanceof TypeError ? 'The server does not answer: is it ' +
          'still running? The arrow keys try again.' : error.message, true);
    }
    return false;
  }
  slices.seen.add(slices.at);
  slices.loaded = null;
  slices.describe();
  open(current);
  return true;
}

// Shows another slice of the volume.
function goTo(number) {
  if (!current || isBusy || number === slices.at || !slices.isVolume ||
      number < 0 || number >= slices.depth) {
    slices.describe();
    return;
  }
  const at = index;
  const by = Math.sign(number - slices.at);
  drawing.pause();
  slices.at = number;
  slices.describe();
  slices.loaded = load((suspect) => {
    drawing.show(suspect, number);
    say(`S${slices.text.slice(1)}.`);
    describe();
    for (const ahead of [number + by, number + 2 * by]) {
      if (ahead >= 0 && ahead < slices.depth) suspects.readAhead(index, ahead);
    }
  }).then((isShown) => {
    if (isShown || index !== at || slices.at !== number) return;
    slices.at = drawing.slice;  // The slice that is still shown.
    slices.loaded = null;
    slices.describe();
    drawing.show(current, drawing.slice);
  });
}

function keepDraft() {
  const {id} = data.suspects[index];
  const {source, base} = drawing;
  keep('draft', source === 'none' ? null : {
    id, source, base, exactChoice, slices: drawing.runs(), at: slices.at,
    seen: [...slices.seen]});
  describe();
}

// Sends a decision, and shows the next suspect once it is safe.
async function decide(fields, at = index) {
  if (isBusy || (at === index && !current && fields.decision !== 'undo')) {
    return;
  }
  const rest = fields.source === 'drawn' && exactChoice === null ?
      slices.rest(drawing) : '';
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
      `Saved: ${inWords(fields)}${rest && `, since ${rest}`}.`;
  await show(fields.decision === 'undo' ? at : nextUndecided(at), done);
}

// Takes a mask that starts from `base`, with what is drawn if `source` says so.
function take(source, base, mask) {
  if (base === 'inside' && !current.inside) {
    say('The annotation has no place: there is no inside.');
  } else if (source === 'prediction_inside' && !current.hasInside) {
    say('The networks see nothing inside the annotation: nothing is decided.');
  } else {
    decide({
      decision: 'mask', source, exact: isExact(source),
      ...slices.isVolume ?
        {base, slices: mask === drawing.layer.mask ? drawing.runs() : {}} :
        {runs: encodeRuns(mask)}});
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
    take(source, drawing.base, drawing.layer.mask);
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

function startFrom(base) {
  if (base === 'inside' && !current.inside) {
    say('The annotation has no place: there is no inside.');
  } else {
    drawing.startFrom(base);
  }
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
  prediction: () => take('prediction', 'prediction', current.prediction),
  inside: () => take('prediction_inside', 'inside', current.inside),
  save,
  'from-prediction': () => startFrom('prediction'),
  'from-inside': () => startFrom('inside'),
  'from-weak': () => startFrom('weak'),
  'from-empty': () => startFrom('empty'),
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
  'slice-back': () => goTo(slices.at - 1), 'slice-on': () => goTo(slices.at + 1),
};

const KEYS = {
  k: 'keep', d: 'drop', p: 'prediction', i: 'inside', s: 'save',
  Enter: 'save', u: 'undo', f: 'fill', x: 'exact', ' ': 'use',
  P: 'from-prediction', I: 'from-inside', W: 'from-weak', E: 'from-empty',
  ArrowLeft: 'previous', ArrowRight: 'next', '?': 'help', '[': 'smaller',
  ']': 'larger', '+': 'zoom-in', '=': 'zoom-in', '-': 'zoom-out', z: 'fit',
  Escape: 'escape', ',': 'slice-back', '.': 'slice-on', PageUp: 'slice-back',
  PageDown: 'slice-on',
};
const TOOL_KEYS = {v: 'move', b: 'brush', e: 'eraser', g: 'polygon'};
const LAYER_KEYS = {w: 'weak', n: 'networks', h: 'mask', m: 'map'};
const MAY_REPEAT = new Set([
  'smaller', 'larger', 'zoom-in', 'zoom-out', 'slice-back', 'slice-on']);
// Keys that move a slider with the focus.
const OF_SLIDER = /^(Arrow|Page|Home|End)/;
const ARROWS = {
  ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1]};

// While another slice loads, an action waits for it.
function act(name) {
  if (slices.loaded && !name.startsWith('slice-')) {
    slices.loaded.then(() => act(name));
  } else if (name in ACTIONS) ACTIONS[name]();
  else if (current && !isBusy) OF_SUSPECT[name]();
}

// Returns whether the key has done something.
function press(event) {
  const {key} = event;
  if (event.shiftKey && key in ARROWS) {
    if (!current || isBusy || slices.loaded) return false;
    const by = event.altKey ? 1 : Math.max(1, Math.round(drawing.radius));
    drawing.moveCursor(...ARROWS[key].map((x) => x * by));
    return true;
  }
  if (event.altKey) return false;
  const name = KEYS[key];
  if (name && (slices.isVolume || !name.startsWith('slice-'))) {
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
  if ($('#help').open || target.matches('#name input')) return;
  if (target.matches('[type=range]') && OF_SLIDER.test(key)) return;
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
  if (isPressed || (key === ' ' && target.matches('[type=checkbox]'))) return;
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
