// Label maps: Uint8Array of width * height classes, row by row. 255 is
// unlabelled. Nothing here is smoothed: each pixel has one class.

const UNLABELLED = 255;

// Runs are [value, count, value, count, ...], row by row.
function decodeRuns(runs, length) {
  const mask = new Uint8Array(length);
  let at = 0;
  for (let i = 0; i < runs.length; i += 2) {
    mask.fill(runs[i], at, at + runs[i + 1]);
    at += runs[i + 1];
  }
  return mask;
}

function encodeRuns(mask) {
  const runs = [];
  let start = 0;
  for (let i = 1; i <= mask.length; i++) {
    if (i === mask.length || mask[i] !== mask[start]) {
      runs.push(mask[start], i - start);
      start = i;
    }
  }
  return runs;
}

function decodeBase64(text) {
  const characters = atob(text);
  const bytes = new Uint8Array(characters.length);
  for (let i = 0; i < bytes.length; i++) bytes[i] = characters.charCodeAt(i);
  return bytes;
}

// A rectangle of pixels; the ends are exclusive.
function emptyRect() {
  return {x0: Infinity, y0: Infinity, x1: -Infinity, y1: -Infinity};
}

function wholeRect({width, height}) {
  return {x0: 0, y0: 0, x1: width, y1: height};
}

function grow(rect, other) {
  rect.x0 = Math.min(rect.x0, other.x0);
  rect.y0 = Math.min(rect.y0, other.y0);
  rect.x1 = Math.max(rect.x1, other.x1);
  rect.y1 = Math.max(rect.y1, other.y1);
}

function copyRect(mask, width, rect) {
  const columns = rect.x1 - rect.x0;
  const copy = new Uint8Array(columns * (rect.y1 - rect.y0));
  for (let y = rect.y0, at = 0; y < rect.y1; y++, at += columns) {
    const start = y * width;
    copy.set(mask.subarray(start + rect.x0, start + rect.x1), at);
  }
  return copy;
}

function pasteRect(mask, width, rect, copy) {
  const columns = rect.x1 - rect.x0;
  for (let y = rect.y0, at = 0; y < rect.y1; y++, at += columns) {
    mask.set(copy.subarray(at, at + columns), y * width + rect.x0);
  }
}

// Paints each pixel whose centre is at most `radius` from the line between two
// points, and the pixels that contain the points. Returns the changed rectangle.
function paintLine(layer, from, to, radius, value) {
  const {mask, width, height} = layer;
  const rect = {
    x0: Math.max(0, Math.floor(Math.min(from.x, to.x) - radius)),
    y0: Math.max(0, Math.floor(Math.min(from.y, to.y) - radius)),
    x1: Math.min(width, Math.ceil(Math.max(from.x, to.x) + radius) + 1),
    y1: Math.min(height, Math.ceil(Math.max(from.y, to.y) + radius) + 1)};
  const dx = to.x - from.x;
  const dy = to.y - from.y;
  const length = dx * dx + dy * dy;
  for (let y = rect.y0; y < rect.y1; y++) {
    for (let x = rect.x0; x < rect.x1; x++) {
      const cx = x + 0.5 - from.x;
      const cy = y + 0.5 - from.y;
      const share = length ?
          Math.max(0, Math.min(1, (cx * dx + cy * dy) / length)) : 0;
      const ex = cx - share * dx;
      const ey = cy - share * dy;
      if (ex * ex + ey * ey <= radius * radius) mask[y * width + x] = value;
    }
  }
  for (const point of [from, to]) {
    const x = Math.floor(point.x);
    const y = Math.floor(point.y);
    if (x >= 0 && y >= 0 && x < width && y < height) {
      mask[y * width + x] = value;
    }
  }
  return rect;
}

// Paints each pixel whose centre is inside the polygon (even-odd rule).
function paintPolygon(layer, points, value) {
  const {mask, width, height} = layer;
  const ys = points.map((p) => p.y);
  const xs = points.map((p) => p.x);
  const rect = {
    x0: Math.max(0, Math.floor(Math.min(...xs))),
    y0: Math.max(0, Math.floor(Math.min(...ys))),
    x1: Math.min(width, Math.ceil(Math.max(...xs)) + 1),
    y1: Math.min(height, Math.ceil(Math.max(...ys)) + 1)};
  for (let y = rect.y0; y < rect.y1; y++) {
    const centre = y + 0.5;
    const crossings = [];
    points.forEach((a, i) => {
      const b = points[(i + 1) % points.length];
      if ((a.y <= centre) !== (b.y <= centre)) {
        crossings.push(a.x + (centre - a.y) * (b.x - a.x) / (b.y - a.y));
      }
    });
    crossings.sort((a, b) => a - b);
    for (let i = 0; i + 1 < crossings.length; i += 2) {
      const first = Math.max(0, Math.ceil(crossings[i] - 0.5));
      const end = Math.min(width, Math.ceil(crossings[i + 1] - 0.5));
      if (end > first) mask.fill(value, y * width + first, y * width + end);
    }
  }
  return rect;
}

// Copies the object of `source` at a pixel, which is 8-connected, to the layer.
// Returns the changed rectangle, or null if there is no object.
function paintObject(layer, source, x, y) {
  const {mask, width, height} = layer;
  const value = source[y * width + x];
  if (value === 0 || value === UNLABELLED) return null;
  const seen = new Uint8Array(source.length);
  const rect = emptyRect();
  const waiting = [y * width + x];
  seen[waiting[0]] = 1;
  while (waiting.length) {
    const at = waiting.pop();
    const cx = at % width;
    const cy = (at - cx) / width;
    mask[at] = value;
    grow(rect, {x0: cx, y0: cy, x1: cx + 1, y1: cy + 1});
    for (let ny = Math.max(0, cy - 1); ny <= Math.min(height - 1, cy + 1); ny++) {
      for (let nx = Math.max(0, cx - 1); nx <= Math.min(width - 1, cx + 1);
        nx++) {
        const next = ny * width + nx;
        if (!seen[next] && source[next] === value) {
          seen[next] = 1;
          waiting.push(next);
        }
      }
    }
  }
  return rect;
}

// Adds the directed edges of the pixels that are `inside` to a map from each
// corner to the corners that follow it.
function edgesOf(mask, {width, height}, inside) {
  const edges = new Map();
  const corner = (x, y) => y * (width + 1) + x;
  const add = (from, to) => {
    if (edges.has(from)) edges.get(from).push(to);
    else edges.set(from, [to]);
  };
  const is = (x, y) => x >= 0 && y >= 0 && x < width && y < height &&
      inside(mask[y * width + x]);
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      if (!inside(mask[y * width + x])) continue;
      if (!is(x, y - 1)) add(corner(x, y), corner(x + 1, y));
      if (!is(x + 1, y)) add(corner(x + 1, y), corner(x + 1, y + 1));
      if (!is(x, y + 1)) add(corner(x + 1, y + 1), corner(x, y + 1));
      if (!is(x - 1, y)) add(corner(x, y + 1), corner(x, y));
    }
  }
  return edges;
}

// Returns the outline of the pixels that are `inside` as closed paths, so that
// dashes run along it.
function outline(mask, size, inside) {
  const path = new Path2D();
  const edges = edgesOf(mask, size, inside);
  const columns = size.width + 1;
  for (const [start, ends] of edges) {
    while (ends.length) {
      let from = start;
      let at = ends.pop();
      path.moveTo(start % columns, Math.floor(start / columns));
      while (at !== start) {
        const next = edges.get(at).pop();
        // Corners on a straight line are left out.
        if (next - at !== at - from) {
          path.lineTo(at % columns, Math.floor(at / columns));
        }
        from = at;
        at = next;
      }
      path.closePath();
    }
  }
  return path;
}

// Returns one path around the objects of each class.
function outlineObjects(mask, size) {
  const path = new Path2D();
  const values = new Set(mask);
  for (const value of values) {
    if (value !== 0 && value !== UNLABELLED) {
      path.addPath(outline(mask, size, (v) => v === value));
    }
  }
  return path;
}
