// The mask that is being drawn, and the tools that change it.

const SIZES = [1, 2, 3, 5, 8, 12, 20, 32, 50, 80, 120];  // Brush, in pixels.
const MAX_EDITS = 200;  // How many can be undone.
const CLOSE = 12;  // A click this near the first corner closes a polygon.

// Where a drawing comes from that starts from each base.
const SOURCES = {
  none: 'none', empty: 'drawn', weak: 'weak', prediction: 'prediction',
  inside: 'prediction_inside'};

// A picture is drawn like a volume of one slice, whose number is 0.
class Drawing {
  // `changed` is called after each edit, `say` with messages for the user, and
  // `goTo` with the number of a slice to show.
  constructor(view, {changed, say, goTo}) {
    this.view = view;
    Object.assign(this, {changed, say, goTo});
    this.tool = 'move';
    this.value = 1;  // The class that is painted.
    this.size = 4;  // Place in `SIZES`.
    this.pointers = new Map();
    this.before = null;  // The mask before the edit that is going on.
    this.last = null;  // Last point of the stroke that is being drawn.
    this.isPenDown = false;  // Of the keyboard's cursor.
    this.listen();
  }

  open(suspect, {slice = 0, aspect = 1}) {
    const {width, height} = suspect;
    this.layer = {mask: null, width, height, aspect};
    this.edits = [];
    this.base = 'none';  // What slices show in which nothing is drawn.
    this.source = 'none';  // Where the mask comes from.
    this.layers = new Map();  // The masks of slices that are drawn in.
    this.encoded = new Map();  // Their runs, as far as they are known.
    this.before = null;  // A stroke that was going on ends with its picture.
    this.pointers.clear();
    if (this.view.cursor?.isKeyboard) this.view.cursor = null;
    this.show(suspect, slice, false);
  }

  // Shows another slice, once `pause` has ended what was going on.
  show(suspect, slice, isSame = true) {
    this.pause();
    this.suspect = suspect;
    this.slice = slice;
    this.layer.mask = this.shownMask();
    this.view.show(suspect, this.layer, isSame);
    this.updateCursor();
  }

  // Ends a stroke, and takes no other one until a slice is shown.
  pause() {
    this.end();
    this.stopPolygon();
    this.isPenDown = this.isDragging = false;
    this.last = this.tapped = null;
    this.suspect = null;
  }

  close() {
    this.suspect = null;
    this.view.clear();
  }

  shownMask() {
    const {suspect, base, layer} = this;
    return this.layers.get(this.slice) || suspect[base]?.slice() ||
        new Uint8Array(layer.width * layer.height);
  }

  // Returns the runs of each slice that is drawn in, by its number.
  runs() {
    for (const [slice, mask] of this.layers) {
      if (!this.encoded.has(slice)) this.encoded.set(slice, encodeRuns(mask));
    }
    return Object.fromEntries(this.encoded);
  }

  get radius() {
    return SIZES[this.size] / 2;
  }

  get paints() {
    return this.tool === 'eraser' ? 0 : this.value;
  }

  // Runs `paint`, which returns the changed rectangle, as one edit.
  edit(paint, source = 'drawn') {
    this.begin();
    const rect = paint();
    if (rect) grow(this.rect, rect);
    this.end(source);
    return Boolean(rect);
  }

  begin() {
    this.end();  // Of a stroke that is going on.
    this.before = this.layer.mask.slice();
    this.rect = emptyRect();
  }

  end(source = 'drawn') {
    const {rect, before, layer} = this;
    this.before = null;
    if (!before || rect.x1 <= rect.x0 || rect.y1 <= rect.y0) return;
    this.remember({
      slice: this.slice, isFirst: !this.layers.has(this.slice), rect,
      copy: copyRect(before, layer.width, rect)});
    this.layers.set(this.slice, layer.mask);
    this.encoded.delete(this.slice);
    this.source = source;
    this.view.repaint(rect);
    this.changed();
  }

  remember(edit) {
    this.edits.push({...edit, source: this.source});
    if (this.edits.length > MAX_EDITS) this.edits.shift();
  }

  // Takes the stroke back that is being drawn.
  cancel() {
    if (!this.before) return;
    this.layer.mask.set(this.before);
    this.before = this.last = null;
    this.view.repaint(wholeRect(this.layer));
  }

  // Undoes the last edit; returns whether there was one.
  undo() {
    if (this.before) {
      this.cancel();
      return true;
    }
    if (this.view.polygon.length) {
      this.view.polygon.pop();
      this.view.draw();
      return true;
    }
    const edit = this.edits.pop();
    if (!edit) return false;
    this.source = edit.source;
    if (edit.layers) {
      this.replace(edit.base, edit.layers);
    } else {
      const {slice, rect} = edit;
      pasteRect(this.layers.get(slice), this.layer.width, rect, edit.copy);
      if (edit.isFirst) this.layers.delete(slice);
      this.encoded.delete(slice);
      if (slice === this.slice) this.view.repaint(rect);
      else this.goTo(slice);
    }
    this.changed();
    return true;
  }

  replace(base, layers) {
    Object.assign(this, {base, layers, encoded: new Map()});
    this.layer.mask = this.shownMask();
    this.view.repaint(wholeRect(this.layer));
  }

  // Replaces the masks of all slices.
  startFrom(base, layers = new Map(), source = SOURCES[base]) {
    this.stopPolygon();
    this.end();
    this.remember({base: this.base, layers: this.layers});
    this.source = source;
    this.replace(base, layers);
    this.changed();
  }

  choose(tool) {
    if (tool !== 'polygon') this.stopPolygon();
    this.tool = tool;
    this.isPenDown = false;
    this.updateCursor();
  }

  resizeBrush(by) {
    this.size = Math.max(0, Math.min(SIZES.length - 1, this.size + by));
    this.updateCursor();
  }

  updateCursor() {
    const isBrush = this.tool === 'brush' || this.tool === 'eraser';
    this.view.radius = isBrush ? this.radius : 0;
    this.view.canvas.dataset.tool = this.tool;
    this.view.draw();
  }

  stroke(point) {
    const rect = paintLine(
        this.layer, this.last || point, point, this.radius, this.paints);
    grow(this.rect, rect);
    this.last = point;
    this.view.repaint(rect);
  }

  fill(point) {
    const x = Math.floor(point.x);
    const y = Math.floor(point.y);
    const {prediction} = this.suspect;
    if (!this.view.isInside(point) || !this.edit(
        () => paintObject(this.layer, prediction, x, y))) {
      this.say('The networks see no object there.');
    }
  }

  addCorner(point) {
    const {polygon, scale, tall} = this.view;
    const first = polygon[0];
    if (polygon.length > 2 && Math.hypot(
        (point.x - first.x) * scale, (point.y - first.y) * tall) < CLOSE) {
      this.closePolygon();
      return;
    }
    polygon.push(point);
    this.view.draw();
  }

  // Fills the polygon; returns whether one was being drawn.
  closePolygon() {
    const {polygon} = this.view;
    if (!polygon.length) return false;
    this.view.polygon = [];
    if (polygon.length < 3) this.say('A polygon needs three corners.');
    else this.edit(() => paintPolygon(this.layer, polygon, this.value));
    this.view.draw();
    return true;
  }

  stopPolygon() {
    const isOpen = this.view.polygon.length > 0;
    this.view.polygon = [];
    this.view.draw();
    return isOpen;
  }

  // Uses the tool at the keyboard's cursor.
  useAtCursor() {
    const point = this.moveCursor(0, 0);
    if (this.tool === 'fill') this.fill(point);
    else if (this.tool === 'polygon') this.addCorner({...point});
    else if (this.tool !== 'move') {
      this.isPenDown = !this.isPenDown;
      this.say(this.isPenDown ? 'Pen down.' : 'Pen up.');
      if (this.isPenDown) this.dab(point, point);
    }
  }

  dab(from, to) {
    this.edit(() => paintLine(this.layer, from, to, this.radius, this.paints));
  }

  // Moves the keyboard's cursor by some pixels of the picture.
  moveCursor(dx, dy) {
    const {width, height} = this.layer;
    const from = this.view.cursor || {x: width / 2, y: height / 2};
    const limit = (value, side) => Math.max(0, Math.min(side - 1e-3, value));
    const to = {
      x: limit(from.x + dx, width), y: limit(from.y + dy, height),
      isKeyboard: true};
    this.view.cursor = to;
    if (this.isPenDown) this.dab(from, to);
    this.view.reveal(to);
    return to;
  }

  listen() {
    const {canvas} = this.view;
    const on = (name, handler) => canvas.addEventListener(name, (event) => {
      if (this.suspect) handler.call(this, event);
    }, {passive: false});
    on('pointerdown', this.down);
    on('pointermove', this.move);
    on('pointerup', this.up);
    on('pointercancel', this.up);
    on('pointerleave', this.leave);
    on('dblclick', () => {
      if (this.view.polygon.length > 2) this.closePolygon();
    });
    on('contextmenu', (event) => event.preventDefault());
  }

  // Returns the place of an event in CSS pixels of the canvas.
  at(event) {
    const box = this.view.canvas.getBoundingClientRect();
    return {x: event.clientX - box.left, y: event.clientY - box.top};
  }

  down(event) {
    event.preventDefault();
    this.view.canvas.focus({preventScroll: true});
    this.view.canvas.setPointerCapture(event.pointerId);
    this.pointers.set(event.pointerId, this.at(event));
    this.isPenDown = false;
    if (this.pointers.size > 1) {  // A second finger zooms.
      this.cancel();
      this.isPinching = true;
      return;
    }
    this.isPinching = false;
    const point = this.view.toPicture(this.at(event));
    this.view.cursor = point;
    this.isDragging = this.tool === 'move' || event.button > 0;
    if (this.isDragging) return;
    if (this.tool === 'polygon' || this.tool === 'fill') {
      this.tapped = point;
      return;
    }
    this.begin();
    this.last = null;
    this.stroke(point);
  }

  move(event) {
    const before = this.pointers.get(event.pointerId);
    const now = this.at(event);
    if (before) this.pointers.set(event.pointerId, now);
    if (this.pointers.size > 1) {
      if (before) this.pinch(event.pointerId, before, now);
      return;
    }
    this.view.cursor = this.view.toPicture(now);
    if (before && this.isDragging) {
      this.view.pan(now.x - before.x, now.y - before.y);
    } else if (this.before) {
      const events = event.getCoalescedEvents ? event.getCoalescedEvents() : [];
      for (const each of events.length ? events : [event]) {
        this.stroke(this.view.toPicture(this.at(each)));
      }
    } else {
      this.view.draw();
    }
  }

  pinch(id, before, now) {
    const [other] = [...this.pointers].filter(([key]) => key !== id);
    const apart = (a, b) => Math.hypot(a.x - b.x, a.y - b.y);
    const point = other[1];
    this.view.pan((now.x - before.x) / 2, (now.y - before.y) / 2);
    const distance = apart(before, point);
    if (distance > 1) {
      this.view.zoom(apart(now, point) / distance, {
        x: (now.x + point.x) / 2, y: (now.y + point.y) / 2});
    }
  }

  up(event) {
    this.pointers.delete(event.pointerId);
    if (event.type === 'pointercancel') this.cancel();
    this.end();
    const point = this.tapped;
    this.tapped = this.last = null;
    if (point && !this.isPinching && event.type === 'pointerup') {
      if (this.tool === 'fill') this.fill(point);
      else this.addCorner(point);
    }
    if (!this.pointers.size) this.isDragging = false;
  }

  leave(event) {
    if (this.pointers.has(event.pointerId) || !this.view.cursor ||
        this.view.cursor.isKeyboard) return;
    this.view.cursor = null;
    this.view.draw();
  }
}
