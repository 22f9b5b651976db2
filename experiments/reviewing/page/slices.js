// The slices of a volume: which one is shown, and which ones were looked at.

const NOTCH = 60;  // How far the wheel turns for the next slice, in pixels.

class Slices {
  // `goTo` is called with the number of the slice that the person asks for.
  constructor(goTo) {
    this.goTo = goTo;
    this.slider = $('#slices input');
    this.turned = 0;
    this.open(null);
    const kind = data.suspects.some((s) => s.depth) ? 'volumes' : 'pictures';
    for (const part of document.querySelectorAll('[data-of]')) {
      part.hidden = part.dataset.of !== kind;
    }
    this.slider.addEventListener('input', () => goTo(Number(this.slider.value)));
    $('#canvas').addEventListener('wheel', (event) => {
      event.preventDefault();
      if (this.isVolume && !event.ctrlKey) this.turn(event.deltaY);
      else view.zoom(Math.exp(-event.deltaY / 400), drawing.at(event));
    }, {passive: false});
  }

  // Opens a suspect, which may be a picture, or none.
  open(facts) {
    this.isVolume = Boolean(facts?.depth);
    this.depth = facts?.depth || 1;
    this.worst = new Set(facts?.worst);
    this.at = facts?.start || 0;
    this.seen = new Set();
    this.loaded = null;  // Until a slice is shown, a promise of it.
    $('#slices').hidden = !this.isVolume;
    if (!this.isVolume) return;
    this.slider.max = this.depth - 1;
    $('#worst').replaceChildren(...[...this.worst].map((number) => {
      const option = document.createElement('option');
      option.value = number;
      return option;
    }));
    this.describe();
  }

  // The number that the server knows the slice by; nothing for a picture.
  get number() {
    return this.isVolume ? this.at : undefined;
  }

  turn(by) {
    if (by * this.turned < 0) this.turned = 0;
    this.turned += by;
    if (Math.abs(this.turned) < NOTCH) return;
    this.goTo(this.at + Math.sign(this.turned));
    this.turned = 0;
  }

  get text() {
    const mark = this.worst.has(this.at) ? ', suspect' : '';
    return `slice ${this.at} of 0 to ${this.depth - 1}${mark}`;
  }

  describe() {
    this.slider.value = this.at;
    this.slider.setAttribute('aria-valuetext', this.text);
    $('#slices output').textContent = this.text;
  }

  // Returns how many slices the person has not settled: those that are neither
  // drawn in nor, if the drawing started from something, looked at.
  numOpen({base, layers}) {
    let number = 0;
    for (let k = 0; k < this.depth; k++) {
      number += !layers?.has(k) && (base === 'none' || !this.seen.has(k));
    }
    return number;
  }

  // Says which slices of a drawing are not settled; '' if all are.
  rest(drawing) {
    const number = this.numOpen(drawing);
    if (!number) return '';
    const counted = number === 1 ? '1 slice is' : `${number} slices are`;
    return drawing.base === 'none' ?
        `${counted} not drawn in and unlabelled` : `${counted} not looked at`;
  }

  // Says what becomes of the slices that are not settled.
  note(drawing) {
    if (!this.isVolume || !drawing.layers) return '';
    if (drawing.source === 'none') {
      return 'Slices that you do not draw in keep what you start from (P, I, ' +
          'W, E); without a start, they stay unlabelled.';
    }
    const rest = this.rest(drawing);
    return rest ? `${rest}, so the mask is coarse unless you press x.` :
        'All slices are drawn in or looked at.';
  }
}
