"""Predicts the masks of image files one by one, and resumes if stopped."""

import collections
from collections.abc import Callable, Iterator, Sequence
from concurrent import futures
import functools
import json
import os
import pathlib
import sys
import tempfile
from typing import Any

from data_prep.formats import volume_files
from data_prep.shared import grammar
from data_prep.shared import pixels
from data_prep.shared import progress
from data_prep.shared import system_errors
from data_prep.shared import whole_file
import numpy as np
from PIL import Image

from experiments import binary
from experiments import painting
from experiments import process_group
from experiments.building import input_pipeline
from experiments.prediction import input_files
from experiments.prediction import pictures
from experiments.prediction import predictor as predictor_lib
from experiments.prediction import results_table
from experiments.prediction import whole_volumes
from experiments.saving import run_folder
from experiments.saving import run_schema

SETTINGS = 'settings.json'

_NUM_READERS = 4
_NUM_WRITERS = 2


class _Source:
  """The files to predict, as a sequence that reads each file on access.

  If a file cannot be used, the error is returned and not raised, so that the
  next files can be predicted.
  """

  def __init__(self, inputs, preparation, channels):
    self._inputs = inputs
    self._options = dict(preparation=preparation, channels=channels)

  def __getitem__(self, index):
    name = self._inputs.names[index]
    try:
      return name, pictures.open_file(
          name, self._inputs.folder, **self._options)
    except pixels.WrongFile as wrong:
      return name, wrong


def predict_files(
    predictor: predictor_lib.Predictor,
    inputs: input_files.Inputs,
    output: str,
    *,
    tiling: pictures.Tiling,
    extras: Sequence[str] = (),
    segmentations: bool = False,
    should_stop: Callable[[int], bool] = lambda number: False,
    group: process_group.Group | None = None,
) -> int:
  """Predicts each file whose results do not exist yet.

  Args:
    predictor: networks from `predictor.load`.
    inputs: files from `input_files.find_inputs`.
    output: folder to write, see `experiments.predict`.
    tiling: how images are cut into tiles.
    extras: what to write besides masks: 'probabilities', 'uncertainty',
      'overlays'.
    segmentations: whether the masks of all volumes are segmentations of 3D
      Slicer, whatever format the volumes have.
    should_stop: function that is called after each file, and after each batch
      of windows of a whole volume, with the number of files predicted so far.
      It returns whether to stop; a volume that is stopped starts anew.
    group: the processes that share the files; by default, this one alone.

  Returns:
    The number of files that could not be used; 0 in all processes but the
    first, which writes the table.

  Raises:
    binary.UserError: if the output folder holds results of other settings or
      cannot be written; if no file could be used; or if there are volumes, but
      the networks were trained on images and no axes are given.
    binary.Stopped: after `should_stop` has returned True, here or in another
      process; the results so far are kept.
    binary.Lost: if another process has ended; the results so far are kept.
  """
  group = group or process_group.Group()
  output = pathlib.Path(output)
  if len(inputs.names) > 1 and os.path.commonpath([
      os.path.realpath(output), os.path.realpath(inputs.folder.root)
  ]) == os.path.realpath(inputs.folder.root):
    raise binary.UserError(
        f'--output={output} lies below the input folder: its masks would be '
        'taken for pictures. Give a folder elsewhere.')
  settings = {
      'networks_sha256': predictor.digest, 'network': predictor.network,
      'flip': predictor.flip, 'step': predictor.step,
      'preparation': predictor.dataset.preparation._asdict(),
      'tiling': tiling._asdict(), 'extras': sorted(extras),
      **({'segmentations': True} if segmentations else {})}
  _check_volumes(predictor, inputs)
  if segmentations and not any(map(inputs.is_volume, inputs.names)):
    raise binary.UserError(
        '--segmentations are of volumes, but --input holds none: leave the '
        'flag out.')
  lock = run_folder.lock(str(output)) if group.is_primary else None
  try:
    return _Job(predictor, inputs, output, tiling, extras, settings, group).run(
        should_stop)
  except OSError as e:
    raise binary.UserError(
        f'Cannot write below {output}: {system_errors.why(e, output)}. Make '
        'room, or the folder writable, and start the same command '
        'again.') from e
  finally:
    if lock is not None:
      os.close(lock)


def _check_volumes(predictor, inputs):
  volumes = [name for name in inputs.names if inputs.is_volume(name)]
  if predictor.dataset.plan is not None:
    return
  if volumes and predictor.dataset.preparation.orientation is None:
    raise binary.UserError(
        f'{volumes[0]} is a volume, but the networks were trained on pictures: '
        'say where the rows, columns and slices of these point in a volume, '
        'such as --volume_axes=PLS (rows to posterior, columns to the left, '
        'slices upwards); --volume_axes=stored takes slices as they are '
        'stored.')


class _Job:
  """One session of a prediction, which may continue earlier sessions."""

  def __init__(
      self, predictor, inputs, output, tiling, extras, settings, group):
    self._predictor = predictor
    self._inputs = inputs
    self._output = output
    self._tiling = tiling
    self._extras = extras
    self._settings = settings
    self._group = group
    self._classes = predictor.dataset.classes
    self._stems = pictures.stems(inputs.names)
    self._table = results_table.Table(output, self._classes, group.index)
    self._rows, self._odd = {}, {}

  def _take_over(self):
    """Reads the lines of files that are predicted already.

    Raises an error if the folder holds results of other settings.
    """
    path, settings = str(self._output / SETTINGS), self._settings
    if os.path.exists(path):
      there = run_schema.read(path, {})
      # Convert to JSON and back, which turns tuples into lists as in the file.
      wanted = json.loads(json.dumps(settings))
      if there != wanted:
        names = sorted(k for k in {*wanted, *there}
                     if there.get(k) != wanted.get(k))
        raise binary.UserError(
            f'{self._output} holds predictions of other settings '
            f'({", ".join(names)}): use another --output.')
    elif any(p.name != 'lock' for p in self._output.iterdir()):
      raise binary.UserError(
          f'{self._output} holds other files: use a new --output.')
    run_folder.write_json(path, settings)
    self._rows = self._table.take_over(self._is_current)
    self._table.write(self._rows.values())

  def _is_current(self, row):
    name = row['file']
    if name not in self._stems or not all(
        (self._output / part).exists() for part in self._paths(name)):
      return False
    return self._inputs.stamp(name) == (
        row['input_bytes'], row['input_mtime_ns'])

  def _paths(self, name):
    """Returns the paths of a file's results, relative to the output folder."""
    suffixes = {'masks': '.png', 'probabilities': '.npy',
                'uncertainty': '.png', 'overlays': '.png'}
    if self._inputs.is_volume(name):
      suffixes |= {
          kind: volume_files.result_suffix(name, is_mask=kind == 'masks')
          for kind in suffixes if kind != 'overlays'}
      if self._settings.get('segmentations'):
        suffixes['masks'] = volume_files.SEGMENTATIONS[0]
    return [f'{kind}/{self._stems[name]}{suffixes[kind]}'
            for kind in ('masks', *self._extras)]

  def _agree(self):
    """Returns the files that no process has predicted yet, in all the same."""
    if self._group.is_primary:
      self._take_over()
    names = [n for n in self._inputs.names if n not in self._rows]
    own = {'settings': self._settings, 'files': [*self._inputs.names]}
    wanted, names = self._group.broadcast((own, names))
    if json.dumps(wanted) != json.dumps(own):
      raise binary.UserError(
          f'Process {self._group.index} finds another run, or other files in '
          '--input, than process 0: give folders that all hosts share.')
    if not (self._output / SETTINGS).exists():
      raise binary.UserError(
          f'Process {self._group.index} does not see {self._output}, where '
          'process 0 writes: give an --output that all hosts share.')
    return names

  def run(self, should_stop):
    """Predicts the remaining files, and returns how many of them failed."""
    left, total = self._agree(), len(self._inputs.names)
    block = 1
    if self._predictor.dataset.plan is None and not self._tiling.windowed:
      block = self._predictor.batch_size
    done, names = total - len(left), self._group.share(left, block)
    if done and self._group.is_primary:
      print(f'{done} of {grammar.counted(total, "file")} '
            f'{grammar.verb(done, "are")} done already.', flush=True)
    told = progress.Progress(
        done + len(names), 'files', before=done, to_the_end=True,
        file=sys.stdout)

    def stop_if_asked(number):
      self._group.check()
      if should_stop(number) and number < len(names):
        where = '' if self._group.number > 1 else (
            f' after {done + number} of {grammar.counted(total, "file")}')
        raise binary.Stopped(f'Stopped{where}: the same command resumes.')

    rows = []
    for row in self._table.append(self._results(names, stop_if_asked)):
      rows.append(row)
      if self._group.is_primary:
        told(done + len(rows))
      stop_if_asked(len(rows))
    shares = self._group.gather((rows, self._odd))
    return self._finish_table(shares, left, block) if shares else 0

  def _finish_table(self, shares, names, block):
    """Writes the lines of all files in order; returns how many failed."""
    rows = self._group.merge([rows for rows, _ in shares], block)
    self._rows |= dict(zip(names, rows, strict=True))
    self._rows = {name: self._rows[name] for name in self._inputs.names}
    self._table.write(self._rows.values())
    odd = {}
    for _, found in shares:
      for text, where in found.items():
        odd.setdefault(text, []).extend(where)
    for text, where in sorted(odd.items()):
      print(f'notice: {grammar.counted(len(where), "volume")}, such as '
            f'{min(where)!r}: {text}', file=sys.stderr)
    failed, total = sum(r['state'] == 'failed' for r in rows), len(self._rows)
    if failed == total:
      raise binary.UserError(
          f'None of {grammar.counted(total, "file")} could be used: see above, '
          f'and {self._table.path}.')
    return failed

  def _results(self, names, stop_if_asked) -> Iterator[dict[str, Any]]:
    """Predicts files, and yields the line of each one for predictions.csv.

    Several small files are predicted in one batch. Threads write the results of
    some files while the next ones are predicted.
    """
    if self._predictor.dataset.plan is not None:
      yield from self._whole_volumes(names, stop_if_asked)
      return
    failed = collections.deque()

    def files():
      source = _Source(
          self._inputs._replace(names=tuple(names)),
          self._predictor.dataset.preparation, self._tiling.channels)
      for place, (name, opened) in enumerate(input_pipeline.read_from(
          source, 0, len(names), _NUM_READERS)):
        if isinstance(opened, pixels.WrongFile):
          failed.append((place, self._failure(name, opened)))
        else:
          yield (place, name), opened

    def finished():
      with futures.ThreadPoolExecutor(_NUM_WRITERS) as pool:
        waiting = collections.deque()
        for found in pictures.predict(self._predictor, files(), self._tiling):
          waiting.append((found, pool.submit(self._finish, found)))
          if len(waiting) > _NUM_WRITERS:  # Keep few volumes in memory.
            yield waiting.popleft()
        yield from waiting

    for found, writing in finished():
      place, name = found.key
      while failed and failed[0][0] < place:
        yield failed.popleft()[1]
      yield writing.result()
      for text in (
          found.opened.volume.notices if found.opened.volume else ()):
        self._odd.setdefault(text, []).append(name)
    yield from (row for _, row in failed)

  def _whole_volumes(self, names, stop_if_asked):
    """Predicts whole volumes one by one, and yields their lines."""
    for number, name in enumerate(names):
      # Temporary files lie beside the results, where the user has made room.
      with tempfile.TemporaryDirectory(
          dir=self._output, prefix='.') as scratch:
        try:
          found = whole_volumes.predict_file(
              self._predictor, name, self._inputs,
              overlap=self._tiling.overlap, scratch=scratch, num_maps=(
                  len(self._classes) * ('probabilities' in self._extras)
                  + ('uncertainty' in self._extras)),
              after_batch=functools.partial(stop_if_asked, number))
        except pixels.WrongFile as wrong:
          yield self._failure(name, wrong)
          continue
        opened = pictures.Opened((), found.volume.spacing_mm, found.volume)
        yield self._save(
            name, opened,
            whole_volumes.contents(self._predictor, found, scratch=scratch),
            whole_volumes.mean_uncertainty(found))
        for text in found.volume.notices:
          self._odd.setdefault(text, []).append(name)

  def _failure(self, name, wrong):
    found = f' ({wrong.found})' if wrong.found else ''
    text = f'{wrong.what}{found}: {wrong.fix}'
    return self._table.failure(name, text)

  def _finish(self, found):
    """Writes all results of a file; returns its line for predictions.csv."""
    (_, name), opened, maps = found.key, found.opened, found.merged()
    labels = [pictures.likeliest(p) for p in maps.probabilities]
    contents = {'masks': lambda: pictures.to_stored(opened, labels),
                'probabilities': lambda: pictures.to_stored(
                    opened, maps.probabilities),
                'uncertainty': lambda: pictures.to_stored(
                    opened, maps.disagreement),
                'overlays': lambda: _overlay(opened, labels)}
    return self._save(name, opened, contents, np.mean(maps.disagreement))

  def _save(self, name, opened, contents, uncertainty):
    """Writes all results of a file; returns its line for predictions.csv."""
    mask = contents['masks']()
    # The mask is written last: if it exists, so do all other results.
    for path in reversed(self._paths(name)):
      kind = path.split('/')[0]
      self._write(
          path, mask if kind == 'masks' else contents[kind](), opened)
    # A volume may lie on the disk: count plane by plane.
    parts = mask.T if mask.ndim == 3 else [mask]
    counts = [sum(np.count_nonzero(part == k) for part in parts)
              for k in range(len(self._classes))]
    size, mtime = self._inputs.stamp(name)
    return {
        'file': name, 'state': 'done', 'mask': self._paths(name)[0],
        'shape': ' x '.join(map(str, mask.shape)),
        'spacing_mm': ' x '.join(f'{v:g}' for v in opened.spacing_mm or ()),
        **{f'pixels_{c}': n for c, n in zip(
            self._classes, counts, strict=True)},
        'uncertainty': f'{uncertainty:.6f}',
        'input_bytes': size, 'input_mtime_ns': mtime, 'problem': ''}

  def _write(self, path, array, opened):
    kind = path.split('/')[0]
    path = self._output / path
    path.parent.mkdir(parents=True, exist_ok=True)
    if opened.volume is not None and kind != 'overlays':
      volume_files.save(path, array, opened.volume, classes=self._classes)
      return
    if kind == 'uncertainty':
      array = np.round(255 * array).astype(np.uint8)
    with whole_file.open_whole(path, 'wb') as file:
      if kind == 'probabilities':
        np.save(file, array)
      else:
        Image.fromarray(array).save(file, 'PNG')


def _overlay(opened, labels):
  """Paints the mask over the image, or over the slice with the largest mask."""
  k = int(np.argmax([np.count_nonzero(label) for label in labels]))
  painted = painting.overlay(opened.slices[k], labels[k])
  return np.round(255 * painted).astype(np.uint8)
