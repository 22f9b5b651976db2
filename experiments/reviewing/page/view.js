// The picture: what is drawn on the canvas, zoom and pan.

const MAX_SCALE = 64;  // Largest size of a pixel of the picture on the screen.

// How each layer is outlined; the legend shows the same lines.
const LINES = {
  weak: {colour: '#ffd400', dash: []},
  network1: {colour: '#00c8ff', dash: [7, 4]},
  network2: {colour: '#ff5cf4', dash: [3, 3]},
};

// Returns the colour of each value of a mask, as the bytes of an image.
function makePalette(colours) {
  const palette = new Uint32Array(256);
  const bytes = new Uint8Array(palette.buffer);
  colours.forEach((colour, value) => {
    if (value) bytes.set([...colour, 115], 4 * value);
  });
  bytes.set([150, 150, 150, 150], 4 * UNLABELLED);
  return palette;
}

class View {
  constructor(canvas, colours) {
    this.canvas = canvas;
    this.context = canvas.getContext('2d');
    this.palette = makePalette(colours);
    this.shown = {weak: true, networks: true, map: false, mask: true};
    this.scale = 1;
    this.x = this.y = 0;
    this.suspect = null;
    this.cursor = null;  // The pointer, or the cursor of the keyboard.
    this.radius = 0;  // Of the brush, in pixels of the picture; 0 hides it.
    this.polygon = [];
    this.isWaiting = false;
    this.changed = emptyRect();  // What of the mask is not on the screen yet.
    new ResizeObserver(() => this.resize()).observe(canvas);
  }

  // Shows a suspect, whose maps are decoded. Another slice of the same volume
  // stays where it is.
  show(suspect, layer, isSame = false) {
    this.suspect = suspect;
    this.layer = layer;
    this.polygon = [];
    this.repaint(wholeRect(layer));
    if (!isSame) this.fit();
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

  // The height of a pixel of the picture on the screen; `scale` is its width.
  get tall() {
    return this.scale * this.layer.aspect;
  }

  fit() {
    if (!this.suspect) return;
    const {clientWidth, clientHeight} = this.canvas;
    const {width, height, aspect} = this.layer;
    this.scale = Math.max(
        1e-3, Math.min(MAX_SCALE, (clientWidth - 16) / width,
            (clientHeight - 16) / (height * aspect)));
    this.x = (clientWidth - this.scale * width) / 2;
    this.y = (clientHeight - this.tall * height) / 2;
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
        keep - size, Math.min(side - keep, value));
    this.x = limit(this.x + dx, this.layer.width * this.scale, clientWidth);
    this.y = limit(this.y + dy, this.layer.height * this.tall, clientHeight);
    this.isFitted = false;
    this.draw();
  }

  // Returns a point of the canvas, in CSS pixels, in pixels of the picture.
  toPicture(point) {
    return {
      x: (point.x - this.x) / this.scale, y: (point.y - this.y) / this.tall};
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
    const dy = by(point.y * this.tall + this.y, clientHeight);
    if (dx || dy) this.pan(dx, dy);
    else this.draw();
  }

  // Shows the changed part of the mask with the next frame.
  repaint(rect) {
    grow(this.changed, rect);
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
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.clearRect(0, 0, canvas.width, canvas.height);
    if (!suspect) return;
    Object.assign(canvas.dataset, {
      scale: this.scale, tall: this.tall, left: this.x, top: this.y});
    this.drawFixed();
    this.paintMask();
    context.drawImage(this.below, 0, 0);
    if (this.shown.mask) context.drawImage(this.painted, 0, 0);
    context.drawImage(this.above, 0, 0);
    this.place(context);
    this.drawPolygon();
    this.drawCursor();
  }

  // Paints the changed part of the mask as it looks on the screen, which costs
  // the same for a picture of any size.
  paintMask() {
    const {x0, y0, x1, y1} = this.changed;
    this.changed = emptyRect();
    if (x1 <= x0 || y1 <= y0) return;
    const ratio = window.devicePixelRatio || 1;
    const {mask, width, height} = this.layer;
    const across = (x) => ratio * (x * this.scale + this.x);
    const down = (y) => ratio * (y * this.tall + this.y);
    const left = Math.max(0, Math.floor(across(x0)));
    const top = Math.max(0, Math.floor(down(y0)));
    const columns = Math.min(this.painted.width, Math.ceil(across(x1))) - left;
    const rows = Math.min(this.painted.height, Math.ceil(down(y1))) - top;
    if (columns <= 0 || rows <= 0) return;
    const image = new ImageData(columns, rows);
    const pixels = new Uint32Array(image.data.buffer);
    const inPicture = (at, corner, size) =>
      Math.floor(((at + 0.5) / ratio - corner) / size);
    const xs = Int32Array.from(
        {length: columns}, (_, i) => inPicture(left + i, this.x, this.scale));
    for (let i = 0; i < rows; i++) {
      const y = inPicture(top + i, this.y, this.tall);
      if (y < 0 || y >= height) continue;
      for (let j = 0; j < columns; j++) {
        const x = xs[j];
        if (x >= 0 && x < width) {
          pixels[i * columns + j] = this.palette[mask[y * width + x]];
        }
      }
    }
    this.painted.getContext('2d').putImageData(image, left, top);
  }

  // Lets one unit of a context be one pixel of the picture.
  place(context) {
    const ratio = window.devicePixelRatio || 1;
    context.setTransform(
        ratio * this.scale, 0, 0, ratio * this.tall, ratio * this.x,
        ratio * this.y);
  }

  // Draws the part of an image that is in sight. The image is `share` times as
  // large as the picture.
  drawInSight(context, image, share) {
    const {width, height} = this.layer;
    const {clientWidth, clientHeight} = this.canvas;
    const first = this.toPicture({x: 0, y: 0});
    const last = this.toPicture({x: clientWidth, y: clientHeight});
    const x = Math.max(0, Math.floor(first.x) - 1);
    const y = Math.max(0, Math.floor(first.y) - 1);
    const columns = Math.min(width, Math.ceil(last.x) + 1) - x;
    const rows = Math.min(height, Math.ceil(last.y) + 1) - y;
    if (columns <= 0 || rows <= 0) return;
    context.drawImage(
        image, x * share, y * share, columns * share, rows * share, x, y,
        columns, rows);
  }

  // Draws what stays while a mask is drawn, below and above the mask, unless it
  // is there already: large pictures and long outlines take a while.
  drawFixed() {
    const {canvas, suspect} = this;
    const {weak, networks, map} = this.shown;
    const key = [this.scale, this.x, this.y, canvas.width, canvas.height, weak,
      networks, map].join();
    if (key === this.fixedKey && suspect === this.fixedSuspect) return;
    this.fixedKey = key;
    this.fixedSuspect = suspect;
    const {width, height} = canvas;
    this.below = new OffscreenCanvas(width, height);
    this.above = new OffscreenCanvas(width, height);
    this.painted = new OffscreenCanvas(width, height);
    this.changed = wholeRect(this.layer);
    const below = this.below.getContext('2d');
    this.place(below);
    // Large pixels stay sharp, small ones are averaged.
    const size = this.scale * (window.devicePixelRatio || 1);
    const {image, share} = suspect.pictures.find((p) => p.share >= size) ||
        suspect.pictures.at(-1);
    below.imageSmoothingEnabled = size < 2;
    below.imageSmoothingQuality = 'high';
    this.drawInSight(below, image, share);
    if (map && suspect.map) {
      below.imageSmoothingEnabled = true;
      below.drawImage(suspect.map, 0, 0, this.layer.width, this.layer.height);
    }
    const above = this.above.getContext('2d');
    this.place(above);
    const {outlines} = suspect;
    if (networks) {
      this.stroke(above, outlines.network1, LINES.network1);
      this.stroke(above, outlines.network2, LINES.network2);
    }
    if (weak) {
      this.stroke(above, outlines.background, {colour: '#bbb', dash: [3, 3]});
      this.stroke(above, outlines.weak, LINES.weak);
    }
  }

  // Draws a line of two CSS pixels on a dark one, at any zoom. The path is in
  // pixels of the picture, which may be higher than wide.
  stroke(context, path, {colour, dash}) {
    const ratio = window.devicePixelRatio || 1;
    const onScreen = new Path2D();
    onScreen.addPath(path, new DOMMatrix(
        [this.scale, 0, 0, this.tall, this.x, this.y]));
    context.save();
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.lineJoin = 'round';
    context.strokeStyle = 'rgb(0 0 0 / .6)';
    context.lineWidth = dash.length ? 2.6 : 4;
    context.stroke(onScreen);
    context.setLineDash(dash);
    context.strokeStyle = colour;
    context.lineWidth = 2.2;
    context.stroke(onScreen);
    context.restore();
  }

  drawPolygon() {
    if (!this.polygon.length) return;
    const path = new Path2D();
    for (const {x, y} of this.polygon) path.lineTo(x, y);
    if (this.cursor) path.lineTo(this.cursor.x, this.cursor.y);
    this.stroke(this.context, path, {colour: '#fff', dash: []});
    const {x, y} = this.polygon[0];
    const first = new Path2D();
    first.arc(x, y, 5 / this.scale, 0, 7);
    this.stroke(this.context, first, {colour: '#fff', dash: []});
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
    this.stroke(this.context, path, {colour: '#fff', dash: []});
  }
}
