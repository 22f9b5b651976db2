// What the page says beside the picture, and its start.

function element(name, ...content) {
  const made = document.createElement(name);
  made.append(...content);
  return made;
}

function describeSuspect(suspect) {
  $('#about-title bdi').textContent = suspect.id;
  const range = suspect.low &&
      ` (${suspect.low} to ${suspect.high})`;
  const depth = suspect.depth ? `${suspect.depth} slices of ` : '';
  const lines = {
    'suspected': [words(suspect.why), suspect.evidence].filter(Boolean)
        .join(': '),
    'score': suspect.score + range, 'kind': words(suspect.kind),
    'annotator': suspect.annotator, 'site': suspect.site,
    'indicator': suspect.indicator,
    'size': `${depth}${suspect.width} x ${suspect.height} px`,
    'labels': suspect.labels};
  $('#about').replaceChildren(...Object.entries(lines).flatMap(
      ([name, text]) => text ? [
        element('dt', name), element('dd', element('bdi', text))] : []));
  const decided = store.decided.get(suspect.id);
  const by = decided && decided.who ? ` by ${decided.who}` : '';
  $('#state').textContent = decided ?
      `Decided: ${inWords(decided)}${by}.` : 'Not decided yet.';
}

// Updates all that depends on the state of the page.
function describe() {
  const number = data.suspects.length;
  const isDecided = ({id}) => store.decided.has(id);
  const numDecided = data.suspects.filter(isDecided).length;
  $('#progress').textContent =
      (index < 0 ? '' : `Suspect ${index + 1} of ${number}. `) +
      `${numDecided} of ${number} decided.`;
  if (index >= 0) {
    describeSuspect(data.suspects[index]);
  } else {
    $('#about-title bdi').textContent = 'All suspects are decided';
    $('#about').replaceChildren();
    $('#state').textContent = data.closing;
  }
  for (const button of document.querySelectorAll('#decide button')) {
    button.disabled = !current && button.dataset.do !== 'undo';
  }
  for (const button of document.querySelectorAll('[data-tool]:not(canvas)')) {
    button.setAttribute('aria-pressed', button.dataset.tool === drawing.tool);
  }
  for (const button of document.querySelectorAll('[data-value]')) {
    button.setAttribute(
        'aria-pressed', Number(button.dataset.value) === drawing.value);
  }
  for (const box of document.querySelectorAll('[data-layer]')) {
    box.checked = view.shown[box.dataset.layer];
  }
  $('#size').textContent = `${SIZES[drawing.size]} px`;
  $('#exact').checked = isExact(drawing.source || 'none');
  $('#exact-note').textContent = exactChoice !== null ? '' :
      slices.note(drawing) ||
      'Unless you choose, a drawing is exact and a prediction is not.';
  const numSent = data.mode === 'static' ? store.sent.length : 0;
  $('#download').textContent =
      `Download ${numSent} decision${numSent === 1 ? '' : 's'}`;
}

// Names what lies under the pointer.
function describePointer() {
  const point = view.cursor;
  let text = '';
  if (current && !slices.loaded && point && view.isInside(point)) {
    const x = Math.floor(point.x);
    const y = Math.floor(point.y);
    const at = y * current.width + x;
    const parts = {
      'annotation': current.weak, 'network 1': current.network1,
      'network 2': current.network2, 'drawing': drawing.layer.mask};
    text = `${x}, ${y}: ` + Object.entries(parts).map(
        ([name, mask]) => `${name} ${className(mask[at])}`).join(', ');
  }
  $('#under').textContent = text;
}

function addClasses() {
  const values = [...data.classes.keys()].slice(1).concat(UNLABELLED);
  $('#classes').append(...values.map((value) => {
    const swatch = element('i');
    swatch.className = 'swatch';
    swatch.style.background = value === UNLABELLED ?
        '#888' : `rgb(${data.colours[value]})`;
    const key = value === UNLABELLED ? 0 : value;
    const button = element(
        'button', swatch, element('bdi', className(value)), ' ',
        ...(key < 10 ? [element('kbd', String(key))] : []));
    button.type = 'button';
    button.dataset.value = value;
    if (key < 10) button.setAttribute('aria-keyshortcuts', String(key));
    return button;
  }));
}

function addName() {
  const input = $('#name input');
  $('#name').hidden = $('#download').hidden = false;
  input.value = recall('who') ?? data.who;
  input.addEventListener('input', () => keep('who', input.value));
}

async function start() {
  document.title = `Review of ${data.name}`;
  $('h1').textContent = document.title;
  addClasses();
  if (data.mode === 'static') addName();
  $('#canvas').addEventListener(
      'pointermove', () => requestAnimationFrame(describePointer));
  $('#canvas').focus();
  try {
    await store.resend();
  } catch (error) {
    say(error.message, true);
  }
  await show(nextUndecided(-1));
}

start();
