"""Measures the memory, disk and time that predicting one large volume takes.

python -m experiments.benchmarks.predict_volume

It writes a synthetic CT volume of 512 x 512 x 600 int16 (.nii.gz), and predicts
it as `experiments.predict` does, with a function that costs nearly nothing
instead of the networks, so that the numbers are those of everything else. It
prints a row of a table. Memory is that of this process, sampled every 5 ms:
what it holds itself (anonymous memory), and with the pages of files that it
maps, which the system may take back (resident memory).
"""

import gzip
import pathlib
import resource
import tempfile
import threading
import time

from absl import flags
from data_prep.volumes import levels as levels_lib
from data_prep.volumes import planning
from hybridseg import inference
import nibabel
import numpy as np

from experiments import binary
from experiments.building import input_pipeline
from experiments.prediction import file_by_file
from experiments.prediction import input_files
from experiments.prediction import pictures
from experiments.prediction import predictor as predictor_lib

_SHAPE = flags.DEFINE_list('shape', '512,512,600', 'Voxels of the volume.')
_SPACING = flags.DEFINE_list(
    'plan_spacing_mm', '0.8,0.8,1.2', 'Spacing of the training set; that of '
    'the file is 0.8,0.8,1.2.')
_WINDOW = flags.DEFINE_integer('window', 96, 'Voxels of a window along each '
                               'axis.')
_EXTRAS = flags.DEFINE_list('extras', '', 'Results besides the mask.')

_GIB = 2**30


def _write_volume(path, shape):
  """Writes noise of 8 x 8 voxels in slices, in little memory."""
  header = nibabel.Nifti1Header()
  header.set_data_shape(shape)
  header.set_data_dtype(np.int16)
  header.set_sform(np.diag([0.8, 0.8, 1.2, 1.0]), 1)
  header.set_xyzt_units('mm')
  header['vox_offset'], header['magic'] = 352, b'n+1'
  rng = np.random.default_rng(0)
  with gzip.open(path, 'wb', 1) as file:
    file.write(header.binaryblock + bytes(4))
    for _ in range(shape[2]):
      blocks = rng.integers(-1000, 1000, [-(-n // 8) for n in shape[:2]])
      plane = blocks.astype(np.int16).repeat(8, 0).repeat(8, 1)
      file.write(plane[:shape[0], :shape[1]].tobytes('F'))


def _stand_in(windows):
  """Maps windows to probabilities of three classes by their intensities."""
  image = windows[..., 0]
  probs = np.stack([1 - image, image / 2, image / 2], -1)
  return inference.Prediction(probs, np.zeros_like(image))


def _predictor():
  """Returns a predictor whose networks are a stand-in."""
  plan = planning.make_plan(
      tuple(map(float, _SPACING.value)), [(_WINDOW.value,) * 3],
      levels_lib.Levels('ct', -1000.0, 1000.0))
  plan = plan._replace(patch_size=(_WINDOW.value,) * 3)
  return predictor_lib.Predictor(
      predict_fn=None, run_fn=_stand_in,
      cost_fn=lambda shape: predictor_lib.Cost(0.0, 0), params=(), batch_size=1,
      dataset=input_pipeline.Dataset(
          name='stand-in', classes=('background', 'liver', 'tumour'),
          image_shape=(*plan.patch_size, 1), splits={}, fingerprint='',
          plan=plan),
      data_dir='', model=None, schedule=None, step=0, network='mean',
      flip=False, digest='stand-in')


class _Peaks(threading.Thread):
  """Samples the memory of this process until `stop` is set.

  Attributes:
    peaks: largest value of each line of the process's status, in bytes.
  """

  def __init__(self):
    super().__init__(daemon=True)
    self.stop, self.peaks = threading.Event(), {}

  def run(self):
    while not self.stop.wait(0.005):
      for line in pathlib.Path('/proc/self/status').read_text(
          'utf-8').splitlines():
        name, _, value = line.partition(':')
        if name in ('RssAnon', 'RssFile', 'VmRSS'):
          self.peaks[name] = max(
              self.peaks.get(name, 0), 1024 * int(value.split()[0]))


def main():
  shape = tuple(map(int, _SHAPE.value))
  with tempfile.TemporaryDirectory() as folder:
    folder = pathlib.Path(folder)
    (folder / 'in').mkdir()
    _write_volume(folder / 'in/scan.nii.gz', shape)
    predictor = _predictor()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    peaks, start, cpu = _Peaks(), time.perf_counter(), time.process_time()
    peaks.start()
    file_by_file.predict_files(
        predictor, input_files.find_inputs(str(folder / 'in')),
        str(folder / 'out'), extras=_EXTRAS.value,
        tiling=pictures.Tiling(predictor.dataset.plan.patch_size, 1))
    peaks.stop.set()
    peaks.join()
    wall, cpu = time.perf_counter() - start, time.process_time() - cpu
  most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
  print('| results | before, GiB | anonymous, GiB | files, GiB | resident, GiB '
        '| wall, s | processor, s |\n|---|---|---|---|---|---|---|\n'
        f'| {", ".join(["mask", *_EXTRAS.value])} | {before:.2f} | '
        f'{peaks.peaks["RssAnon"] / _GIB:.2f} | '
        f'{peaks.peaks["RssFile"] / _GIB:.2f} | {most:.2f} | '
        f'{wall:.0f} | {cpu:.0f} |')


if __name__ == '__main__':
  binary.run(main)
