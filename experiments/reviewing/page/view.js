// The picture: what is drawn on the canvas, zoom and pan.

const MAX_SCALE = 64;  // Largest size of a pixel of the picture on the screen.

// How each layer is outlined; the legend shows the same lines.
const LINES = {
  weak: {colour: '#ffd400', dash: []},
  network1: {colour: '#00c8ff', dash: [7, 4]},
  network2: {colour: '#ff5cf4', dash: [3, 3]},
};

class View {
  constructor(canvas, colours) {
    this.canvas = canvas;
    this.context = canvas.getContext('2d');
    this.colours = colours;
    this.shown = {weak: true, networks: true, map: false, mask: true};
    this.scale = 1;
    this.x = this.y = 0;
    this.suspect = null;
    this.cursor = null;  // The pointer, or the cursor of the keyboard.
    this.radius = 0;  // Of the brush, in pixels of the picture; 0 hides it.
    this.polygon = [];
    this.isWaiting = false;
    new ResizeObserver(() => this.resize()).observe(canvas);
  }

  // Shows a suspect, whose maps are decoded.
  show(suspect, layer) {
    this.suspect = suspect;
    this.layer = layer;
    this.painted = new OffscreenCanvas(layer.width, layer.height);
    this.polygon = [];
    this.repaint(wholeRect(layer));
    this.fit();
  }

  clear() {
    this.suspect = null;
    this.draw();
  }

  resize() {
    const ratio = window.devicePixelRatio || 1;
    const {clientWidth, clientHeight} = this.canvas;
    const {width, height} = this.canvas;
    this.canvas.width = Math.max(1, Math.round(clientWidth * ratio));
    this.canvas.height = Math.max(1, Math.round(clientHeight * ratio));
    if (width !== this.canvas.width || height !== this.canvas.height) {
      if (this.isFitted) this.fit();
    }
    this.draw();
  }

  fit() {
    if (!this.suspect) return;
    const {clientWidth, clientHeight} = this.canvas;
    const {width, height} = this.layer;
    this.scale = Math.max(
        1e-3, Math.min(MAX_SCALE, (clientWidth - 16) / width,
            (clientHeight - 16) / height));
    this.x = (clientWidth - this.scale * width) / 2;
    this.y = (clientHeight - this.scale * height) / 2;
    this.isFitted = true;
    this.draw();
  }

  // Zooms by a factor, around a point of the canvas in CSS pixels.
  zoom(factor, at) {
    if (!this.suspect) return;
    const {clientWidth, clientHeight} = this.canvas;
    const point = at || {x: clientWidth / 2, y: clientHeight / 2};
    const scale = Math.max(0.02, Math.min(MAX_SCALE, this.scale * factor));
    this.x = point.x - (point.x - this.x) * scale / this.scale;
    this.y = point.y - (point.y - this.y) * scale / this.scale;
    this.scale = scale;
    this.pan(0, 0);
  }

  // Moves the picture; a part of it stays in sight.
  pan(dx, dy) {
    if (!this.suspect) return;
    const keep = 32;
    const {clientWidth, clientHeight} = this.canvas;
    const limit = (value, size, side) => Math.max(
        keep - size * this.scale, Math.min(side - keep, value));
    this.x = limit(this.x + dx, this.layer.width, clientWidth);
    this.y = limit(this.y + dy, this.layer.height, clientHeight);
    this.isFitted = false;
    this.draw();
  }

  // Returns a point of the canvas, in CSS pixels, in pixels of the picture.
  toPicture(point) {
    return {
      x: (point.x - this.x) / this.scale, y: (point.y - this.y) / this.scale};
  }

  isInside(point) {
    return point.x >= 0 && point.y >= 0 && point.x < this.layer.width &&
        point.y < this.layer.height;
  }

  // Brings a point of the picture into sight.
  reveal(point) {
    const margin = 24;
    const {clientWidth, clientHeight} = this.canvas;
    const by = (at, side) => at < margin ? margin - at :
        at > side - margin ? side - margin - at : 0;
    const dx = by(point.x * this.scale + this.x, clientWidth);
    const dy = by(point.y * this.scale + this.y, clientHeight);
    if (dx || dy) this.pan(dx, dy);
    else this.draw();
  }

  // Paints the changed part of the mask that is being drawn.
  repaint(rect) {
    const {mask, width} = this.layer;
    const columns = rect.x1 - rect.x0;
    const rows = rect.y1 - rect.y0;
    if (columns <= 0 || rows <= 0) return;
    const image = new ImageData(columns, rows);
    const colours = this.colours;
    for (let y = 0; y < rows; y++) {
      for (let x = 0; x < columns; x++) {
        const value = mask[(rect.y0 + y) * width + rect.x0 + x];
        if (!value) continue;
        // Unlabelled pixels are a grey chequer.
        const [r, g, b] = value === UNLABELLED ?
            ((x + rect.x0 + y + rect.y0) % 2 ? [200, 200, 200] : [90, 90, 90]) :
            colours[value];
        image.data.set([r, g, b, 115], 4 * (y * columns + x));
      }
    }
    this.painted.getContext('2d').putImageData(image, rect.x0, rect.y0);
    this.draw();
  }

  draw() {
    if (this.isWaiting) return;
    this.isWaiting = true;
    requestAnimationFrame(() => {
      this.isWaiting = false;
      this.drawNow();
    });
  }

  drawNow() {
    const {canvas, context, suspect} = this;
    const ratio = window.devicePixelRatio || 1;
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.clearRect(0, 0, canvas.width, canvas.height);
    if (!suspect) return;
    const {width, height} = this.layer;
    Object.assign(
        canvas.dataset, {scale: this.scale, left: this.x, top: this.y});
    context.setTransform(
        ratio * this.scale, 0, 0, ratio * this.scale, ratio * this.x,
        ratio * this.y);
    // Large pixels stay sharp, small ones are averaged.
    context.imageSmoothingEnabled = this.scale * ratio < 2;
    context.imageSmoothingQuality = 'high';
    context.drawImage(suspect.picture, 0, 0, width, height);
    if (this.shown.map && suspect.map) {
      context.imageSmoothingEnabled = true;
      context.drawImage(suspect.map, 0, 0, width, height);
    }
    context.imageSmoothingEnabled = false;
    if (this.shown.mask) context.drawImage(this.painted, 0, 0);
    if (this.shown.networks) {
      this.stroke(suspect.outlines.network1, LINES.network1);
      this.stroke(suspect.outlines.network2, LINES.network2);
    }
    if (this.shown.weak) {
      this.stroke(suspect.outlines.background, {colour: '#bbb', dash: [3, 3]});
      this.stroke(suspect.outlines.weak, LINES.weak);
    }
    this.drawPolygon();
    this.drawCursor();
  }

  // Draws a line of two CSS pixels on a dark one, at any zoom.
  stroke(path, {colour, dash}) {
    const {context} = this;
    context.lineJoin = 'round';
    context.strokeStyle = 'rgb(0 0 0 / .6)';
    context.lineWidth = (dash.length ? 2.6 : 4) / this.scale;
    context.stroke(path);
    context.setLineDash(dash.map((x) => x / this.scale));
    context.strokeStyle = colour;
    context.lineWidth = 2.2 / this.scale;
    context.stroke(path);
    context.setLineDash([]);
  }

  drawPolygon() {
    if (!this.polygon.length) return;
    const path = new Path2D();
    for (const {x, y} of this.polygon) path.lineTo(x, y);
    if (this.cursor) path.lineTo(this.cursor.x, this.cursor.y);
    this.stroke(path, {colour: '#fff', dash: []});
    const {x, y} = this.polygon[0];
    const first = new Path2D();
    first.arc(x, y, 5 / this.scale, 0, 7);
    this.stroke(first, {colour: '#fff', dash: []});
  }

  drawCursor() {
    if (!this.cursor) return;
    const {x, y} = this.cursor;
    const path = new Path2D();
    if (this.radius) path.arc(x, y, this.radius, 0, 7);
    if (this.cursor.isKeyboard) {
      const arm = 9 / this.scale;
      path.moveTo(x - arm, y);
      path.lineTo(x + arm, y);
      path.moveTo(x, y - arm);
      path.lineTo(x, y + arm);
    }
    this.stroke(path, {colour: '#fff', dash: []});
  }
}
