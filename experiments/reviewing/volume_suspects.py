"""Lists the suspects of a run on whole volumes, and shows them slice by slice.

A suspect is a volume. Its slices lie along the axis that the audit names, at
the grid of the file. Images are read from their files, one slice at a time, and
annotations from the set. See `volume_maps` for the predictions.
"""

import os
import pathlib
import tempfile
import threading
from typing import Any, NamedTuple

from data_prep.formats import volume_cases
from data_prep.formats import volume_files
from data_prep.records import chunks
from data_prep.records import set_cases
from data_prep.records import volume_records
from data_prep.shared import pixels
from data_prep.shared import review_journal
from data_prep.shared import scratch
from data_prep.shared import volume_type
from data_prep.volumes import levels as levels_lib
from data_prep.volumes import orientation
from hybridseg import types
import numpy as np

from experiments import binary
from experiments.auditing import observer
from experiments.building import input_pipeline
from experiments.building import volume_set
from experiments.prediction import predictor as predictor_lib
from experiments.prediction import volume_windows
from experiments.reviewing import decisions
from experiments.reviewing import suspects
from experiments.reviewing import volume_maps
from experiments.saving import run_folder

_COLUMNS = ('rank', 'id', 'score', 'indicator', 'kind', 'annotator', 'axis',
            'slices', 'volume')
_LAZY = ('nifti', 'nrrd', 'metaimage')  # Formats that are read plane by plane.
_PLANES, _VALUES = 32, 2**20  # Samples for the window of a volume.


class Listed(NamedTuple):
  """The suspects of an audit, before any prediction; as `suspects.Listed`.

  Attributes:
    header: first line of the journal.
    facts: what the audit found about each suspect. Besides `height` and `width`
      of its slices, these are `depth`, their number; `aspect`, the height of a
      pixel divided by its width; `worst`, the slices that the audit names, and
      `start`, the slice that is shown first.
    dataset: the set of the run.
    data_dir: its folder.
    axes: axis of the file along which slices are counted, by id.
  """

  header: review_journal.Header
  facts: list[dict[str, Any]]
  dataset: input_pipeline.Dataset
  data_dir: str
  axes: dict[str, int]

  @property
  def classes(self) -> tuple[str, ...]:
    """The names of the classes, background first."""
    return self.dataset.classes

  @property
  def sizes(self) -> dict[str, tuple[int, int, int]]:
    """Number, height and width of the slices of each volume, by id."""
    return {f['id']: (f['depth'], f['height'], f['width']) for f in self.facts}


def list_suspects(workdir: str, num: int | None) -> Listed:
  """Lists the first suspects of the audit of a run on whole volumes.

  Args:
    workdir: folder of the run.
    num: number of suspects, if the audit lists as many; None lists
      `suspects.NUM_FIRST`.

  Raises:
    binary.UserError: if the audit or the set cannot be read, if the set has
      changed since, or if its instances are slabs.
  """
  lines = suspects.read_audit(workdir, _COLUMNS)[:num or suspects.NUM_FIRST]
  if not lines:
    raise binary.UserError(f'The audit of {workdir} lists no annotation.')
  data = run_folder.read_config(workdir).input
  observer.check_method(workdir, data.weak_labels)
  dataset = volume_set.load(data.data_dir)
  observer.check_set(workdir, dataset, data.data_dir)
  records = {r['id']: r for r in dataset.splits['train_weak']}
  if any(r.slab is not None for r in records.values()):
    raise binary.UserError(
        f'The instances of {data.data_dir} are slabs, which cannot be reviewed '
        'in the browser yet: use experiments.audit --export=nrrd.')
  strange = [line['id'] for line in lines if line['id'] not in records]
  if strange:
    raise binary.UserError(
        f'{strange[0]!r:.60} is no weak volume of {dataset.name}: audit the '
        'run again.')
  facts, axes = [], {}
  for line in lines:
    axes[line['id']] = _number(line['axis'], below=3)
    facts.append(_facts(
        line, records[line['id']].volume, axes[line['id']], dataset))
  header = review_journal.Header(
      workdir, data.data_dir, review_journal.manifest_sha256(data.data_dir))
  return Listed(header, facts, dataset, data.data_dir, axes)


def _number(text, *, below):
  """Returns a number of audit.csv; refuses one that no audit has written."""
  if not text.isdecimal() or int(text) >= below:
    raise binary.UserError(
        f'audit.csv holds {text!r:.20}, expected a number from 0 to '
        f'{below - 1}: audit the run again.')
  return int(text)


def _facts(line, volume, axis, dataset):
  """Returns what the page says of a volume."""
  more = volume.more
  affine = np.array(more['stored_affine'])
  turn = volume_maps.shown_turn(affine, axis, dataset.plan.frame)
  depth, height, width = (more['stored_shape'][k] for k in turn.axes)
  _, tall, wide = np.linalg.norm(affine[:3, :3], axis=0)[list(turn.axes)]
  worst = [_number(text, below=depth) for text in line['slices'].split()]
  named = ', '.join(map(str, worst))
  present = [dataset.classes[k] for k in more.get('present', ())]
  return {name: line[name] for name in _COLUMNS[:6]} | {
      'low': '', 'high': '', 'site': more['site'], 'why': 'networks_disagree',
      'evidence': f'most in slices {named}' if worst else '',
      'labels': ', '.join(present) if 'present' in more else '',
      'depth': depth, 'height': height, 'width': width,
      'aspect': float(tall / wide), 'worst': worst,
      'start': worst[0] if worst else depth // 2}


class Volumes:
  """The volumes of a review; threads may use it at the same time."""

  def __init__(self, workdir: str, listed: Listed):
    """Opens the set; nothing is predicted yet, see `open_review`.

    Args:
      workdir: folder of the run.
      listed: the suspects.
    """
    self._workdir, self._listed = workdir, listed
    self._records = {
        r['id']: r for r in listed.dataset.splits['train_weak']}
    self._plan = listed.dataset.plan
    self._references = chunks.Reader(
        os.path.join(listed.data_dir, volume_records.REFERENCES))
    self._storage = scratch.Scratch()
    self._lock = threading.Lock()
    self._opened = None  # The id, the voxels and the window of one image.
    self._predictions = self._run_fns = None

  def open_review(self, first: str | None = None) -> suspects.Review:
    """Loads the networks, and starts to predict the suspects.

    Args:
      first: id of the suspect that is predicted first, if any.

    Raises:
      binary.UserError: if the run has no checkpoint.
    """
    listed = self._listed
    self._run_fns = [
        predictor_lib.load(self._workdir, network=name, whole_volumes=True)
        for name in ('0', '1')]
    ids = [f['id'] for f in listed.facts]
    self._predictions = volume_maps.Predictions(
        sorted(ids, key=lambda i: i != first), self._predict)
    return suspects.Review(
        listed.header, listed.dataset.name, listed.classes, listed.facts,
        lambda place, number: self._content(ids[place], number))

  def close(self) -> None:
    """Ends the prediction."""
    if self._predictions is not None:
      self._predictions.close()

  def _turn(self, row_id):
    return volume_maps.shown_turn(
        self._affine(row_id), self._listed.axes[row_id], self._plan.frame)

  def _affine(self, row_id):
    return np.array(self._records[row_id].volume.more['stored_affine'])

  def _predict(self, row_id):
    """Returns the label maps of a volume, as the page shows it."""
    record, turn = self._records[row_id], self._turn(row_id)
    stacks, total = {}, None

    def store(name, probs):
      label = volume_records.restore(
          probs, self._affine(row_id), self._plan, volume_windows.empty(
              record.volume.more['stored_shape'], np.uint8))
      shown = orientation.turn_voxels(label, turn)
      stacks[name] = volume_maps.Stack(self._storage, shown)
      return shown

    for number, predictor in enumerate(self._run_fns, start=1):

      def run(windows, run_fn=predictor.run_fn):
        if self._predictions is not None and self._predictions.is_closed:
          raise volume_maps.Stopped
        return run_fn(windows)

      probs = volume_windows.predict_record(
          run, record, self._plan, batch_size=predictor.batch_size)
      store(f'network{number}', probs)
      if total is None:
        total = probs
        continue
      for start, stop in levels_lib.slabs(probs.shape):
        total[:, :, start:stop] += probs[:, :, start:stop]
        for array in (total, probs):
          scratch.release(array)
    prediction = store('prediction', total)
    within = volume_maps.inside(
        prediction, np.asarray(self._label(row_id)[:]),
        types.AnnotationKind(int(record['kind'])))
    stacks['inside'] = None if within is None else volume_maps.Stack(
        self._storage, within)
    stacks['has_inside'] = within is not None and bool(within.any())
    return stacks

  def _label(self, row_id):
    """Returns the annotation as the page shows it, which is read by blocks."""
    name = row_id
    shape = tuple(self._records[row_id].volume.more['stored_shape'])
    volume = self._references.volumes.get(name)

    def read(block):
      size = [part.stop - part.start for part in block]
      if volume is None:
        return np.full(size, types.UNLABELLED, np.uint8)
      return self._references.read_patch(
          name, [part.start for part in block], size, 'label')

    return orientation.turn_voxels(
        volume_type.Lazy(shape, np.uint8, read), self._turn(row_id))

  def _image(self, row_id):
    """Returns the image as the page shows it, and its window."""
    with self._lock:  # One image is open at a time.
      if self._opened is None or self._opened[0] != row_id:
        case, = set_cases.read(self._listed.data_dir, ids=[row_id]).cases
        voxels = _open_image(case)
        self._opened = row_id, voxels, _window(voxels)
      _, voxels, window = self._opened
    return orientation.turn_voxels(voxels, self._turn(row_id)), window

  def _content(self, row_id, number):
    """Returns what the page shows of a slice, see `suspects.to_json`."""
    image, (low, high) = self._image(row_id)
    found = self._predictions.get(row_id)
    part = slice(number, number + 1)
    with np.errstate(invalid='ignore'):
      share = (np.asarray(image[part])[0].astype(np.float64) - low) / (
          high - low)
    grey = np.rint(255 * np.clip(np.nan_to_num(
        share, nan=0, posinf=1, neginf=0), 0, 1)).astype(np.uint8)
    runs = decisions.encode_runs
    return suspects.to_json(
        grey[..., None], runs(np.asarray(self._label(row_id)[part])[0]),
        runs(found['prediction'][number]),
        [runs(found[f'network{n}'][number]) for n in (1, 2)],
        None if found['inside'] is None else runs(found['inside'][number]),
        None, form='PNG') | {'has_inside': found['has_inside']}

  def compose(
      self, row_id: str, base: str, drawn: dict[int, np.ndarray]
  ) -> np.ndarray:
    """Returns a mask on the grid of the file, uint8.

    Args:
      row_id: id of the volume.
      base: what slices hold that are not drawn, one of `decisions.BASES`.
      drawn: classes of the drawn slices, uint8 [H, W], by number.

    Raises:
      decisions.Refused: if there is no such base.
    """
    shape = self._records[row_id].volume.more['stored_shape']
    mask = volume_windows.empty(shape, np.uint8)
    shown = orientation.turn_voxels(mask, self._turn(row_id))
    if base in ('prediction', 'inside'):
      stack = self._predictions.get(row_id)[base]
      if stack is None:
        raise decisions.Refused('The annotation has no place.')
      for number in range(len(shown)):
        shown[number] = stack[number]
    elif base == 'weak':
      shown[...] = self._label(row_id)[:]
    else:
      shown[...] = 0 if base == 'empty' else types.UNLABELLED
    for number, label in drawn.items():
      shown[number] = label
    return mask

  def encode(self, row_id: str, mask: np.ndarray) -> bytes:
    """Returns a mask as the content of a .nii.gz file."""
    with tempfile.TemporaryDirectory() as folder:
      path = pathlib.Path(folder, 'mask.nii.gz')
      volume_files.save(path, mask, volume_type.Volume(
          mask, self._affine(row_id)))
      return path.read_bytes()


def _open_image(case):
  """Returns the voxels of an image, which stay on the disk if they are large.

  Raises:
    pixels.WrongFile: if the file cannot be read, or is another one now.
  """
  shown = pixels.tail(case.files[0])
  if case.format_name in _LAZY:
    voxels = volume_files.read(pathlib.Path(case.files[0]), is_lazy=True).voxels
  else:
    with pixels.explaining('the image cannot be read', shown, 'put it back'):
      found = volume_cases.read_image(case)
    voxels = volume_windows.empty(found.shape, found.dtype)
    voxels[...] = found
  if tuple(voxels.shape) != case.shape:
    raise pixels.WrongFile(
        'the volume has changed since the set was prepared', shown,
        'restore it')
  return voxels


def _window(voxels):
  """Returns the values that are shown black and white, as the audit's strips.

  They are percentiles 1 and 99 of some slices, evenly spread.
  """
  depth = voxels.shape[2]
  step = -(-depth // _PLANES)
  planes = range(step // 2, depth, step)
  stride = max(1, len(planes) * voxels.shape[0] * voxels.shape[1] // _VALUES)
  values = np.concatenate([
      np.ravel(np.asarray(voxels[:, :, k : k + 1]))[::stride] for k in planes
  ]).astype(np.float64)
  values = values[np.isfinite(values)]
  low, high = np.percentile(values, (1, 99)) if values.size else (0.0, 1.0)
  return low, max(high, low + 1e-6)
