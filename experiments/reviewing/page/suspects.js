// Loads suspects, and decodes their picture and label maps.

// Red where the annotation harms the loss of the exact masks, blue where it
// helps.
function paintMap({width, height, values}) {
  const bytes = decodeBase64(values);
  const image = new ImageData(width, height);
  bytes.forEach((byte, i) => {
    const harm = (byte - 128) / 127;
    const strength = Math.round(140 * Math.abs(harm));
    image.data.set(
        harm > 0 ? [255, 40, 30, strength] : [60, 120, 255, strength], 4 * i);
  });
  const canvas = new OffscreenCanvas(width, height);
  canvas.getContext('2d').putImageData(image, 0, 0);
  return canvas;
}

// Returns a picture and smaller copies of it, the smallest first. `share` is the
// size of each, relative to the picture.
async function makePictures(blob) {
  const picture = await createImageBitmap(blob);
  const found = [{image: picture, share: 1}];
  for (let share = 0.5; share * picture.width > 600; share /= 2) {
    found.unshift({share, image: await createImageBitmap(found[0].image, {
      resizeWidth: Math.round(share * picture.width),
      resizeHeight: Math.round(share * picture.height),
      resizeQuality: 'high'})});
  }
  return found;
}

async function decodeSuspect(content) {
  const {width, height} = content;
  const size = {width, height};
  const decode = (runs) => runs && decodeRuns(runs, width * height);
  const [network1, network2] = content.networks.map(decode);
  const weak = decode(content.weak);
  const pictures = await makePictures(
      new Blob([decodeBase64(content.picture)], {type: content.type}));
  const background = new Set(weak).has(UNLABELLED) ?
      outline(weak, size, (value) => value === 0) : new Path2D();
  return {
    ...size, pictures, weak, network1, network2,
    prediction: decode(content.prediction),
    inside: decode(content.inside),
    // Of a volume, whether there is any object inside in any slice.
    hasInside: content.has_inside ?? (content.inside &&
        content.inside.some((value, i) => i % 2 === 0 && value > 0)),
    map: content.map && paintMap(content.map),
    outlines: {
      weak: outlineObjects(weak, size), background,
      network1: outlineObjects(network1, size),
      network2: outlineObjects(network2, size)}};
}

// Keeps the pictures or slices that were shown last, and reads others ahead.
class Suspects {
  constructor(store) {
    this.store = store;
    this.loading = new Map();
  }

  // Returns a suspect, of which `slice` is shown if it is a volume.
  get(index, slice) {
    const key = `${index}/${slice}`;
    if (!this.loading.has(key)) {
      const promise = this.store.load(index, slice).then(decodeSuspect);
      promise.catch(() => this.loading.delete(key));
      this.loading.set(key, promise);
      const [oldest] = this.loading.keys();
      const most = slice === undefined ? 4 : 24;
      if (this.loading.size > most) this.loading.delete(oldest);
    }
    return this.loading.get(key);
  }

  readAhead(index, slice) {
    if (index >= 0) this.get(index, slice).catch(() => {});
  }
}
