r"""Predicts masks of images and volumes with a trained run.

python -m experiments.predict --run=runs/mine --input=FOLDER --output=OUT
python -m experiments.predict --run=runs/mine --input=scan.nii.gz --output=OUT \
    --probabilities --uncertainty

Reads a PNG, JPEG, TIFF, BMP, NPY, DICOM, NIfTI, NRRD or MetaImage file, or all
such files below a folder. Writes, under the names of the input files,

  OUT/masks/          class numbers: PNG of the size of the image; of a volume,
                      a file with its size, affine and orientation: .nii.gz for
                      NIfTI and DICOM, .seg.nrrd for NRRD, .mha for MetaImage;
                      with --segmentations, .seg.nrrd for all of them
  OUT/probabilities/  --probabilities: float32 [H, W, K] as .npy; of a volume,
                      K numbers a voxel in .nii.gz, .nrrd or .mha
  OUT/uncertainty/    --uncertainty: disagreement of the two networks, 0 to 1:
                      PNG with 255 = 1; of a volume, float32
  OUT/overlays/       --overlays: the mask painted on the image (PNG); for a
                      volume, on the slice with the largest mask
  OUT/predictions.csv one line per file: whether it succeeded, shape, pixels per
                      class, mean uncertainty, and the problem if it failed

Networks that were trained on whole volumes predict volumes in windows, at the
spacing of the training set; the results have the grid of the file. DICOM files
are then grouped to series, each of which is a volume with the name of its
folder. Before a long prediction, a line states memory, disk and time.

The same command resumes a stopped prediction, and tries failed files again. A
file that cannot be read is reported and skipped. The exit code is 0 if all
files could be used, 4 if some could not, and 2 if nothing could be done.

With several processes (docs/devices.md), each predicts and writes its share of
the files, and process 0 writes predictions.csv. All must see the same --input
and --output.
"""

from absl import flags
from data_prep.shared import early_help

from experiments import process_flags
from experiments.prediction import network_flags

flags.adopt_module_key_flags(process_flags)  # Makes --help list them, too.
flags.adopt_module_key_flags(network_flags)
_INPUT = flags.DEFINE_string('input', None, 'A file, or a folder of files.')
_OUTPUT = flags.DEFINE_string('output', None, 'Folder to write.')
_WINDOW = flags.DEFINE_bool(
    'window', False, 'Slide a window over each image at its own resolution, '
    'instead of resizing the image as the records were: for sets that were '
    'prepared without resizing.')
_OVERLAP = flags.DEFINE_float(
    'overlap', 0.5, 'Least share of a window that the next window also covers.',
    lower_bound=0.0, upper_bound=0.9)
_PROBABILITIES = flags.DEFINE_bool(
    'probabilities', False, 'Also write the probabilities.')
_UNCERTAINTY = flags.DEFINE_bool(
    'uncertainty', False, 'Also write maps of the uncertainty.')
_OVERLAYS = flags.DEFINE_bool(
    'overlays', False, 'Also write the masks painted on the images.')
_SEGMENTATIONS = flags.DEFINE_bool(
    'segmentations', False, 'Write the masks of all volumes as .seg.nrrd: '
    '3D Slicer opens them as segmentations with the names of the classes.')
_VOLUME_AXES = flags.DEFINE_string(
    'volume_axes', None, 'Where rows, columns and slices point in a volume, '
    'such as PLS, or "stored"; default is as in the training set.')

early_help.answer(__name__)  # Answer --help before the slow imports.

from absl import logging

from data_prep.shared import grammar
from experiments import binary
from experiments.prediction import file_by_file
from experiments.prediction import input_files
from experiments.prediction import pictures
from experiments.training import stopping


def _with_volume_axes(predictor):
  """Returns a predictor that reads volumes along the axes of --volume_axes."""
  axes = _VOLUME_AXES.value
  if axes is None:
    return predictor
  if axes != pictures.STORED and not pictures.is_orientation(axes):
    raise binary.UserError(
        f'--volume_axes={axes}: expected three letters, one each of L/R, P/A '
        'and I/S, or "stored".')
  preparation = predictor.dataset.preparation._replace(
      orientation=axes, axis=None if axes == pictures.STORED else 2)
  return predictor._replace(
      dataset=predictor.dataset._replace(preparation=preparation))


def _refuse_axes_of_slices():
  for flag in (_WINDOW, _VOLUME_AXES):
    if flag.value:
      raise binary.UserError(
          f'--{flag.name} is not for a run on whole volumes, which always '
          'slides a window along all axes: leave it out.')


def main():
  logging.set_verbosity(logging.WARNING)
  if _UNCERTAINTY.value and network_flags.network() != 'mean':
    raise binary.UserError(
        '--uncertainty is the disagreement of the two networks: use '
        '--network=mean.')
  inputs = input_files.find_inputs(_INPUT.value)
  with process_flags.join() as group, stopping.StopRequest() as request:
    predictor = network_flags.load(whole_volumes=True)
    if predictor.dataset.plan is not None:
      _refuse_axes_of_slices()
      inputs = input_files.group_series(inputs)
    predictor = _with_volume_axes(predictor)
    *size, channels = predictor.dataset.image_shape
    request.nothing_to_save = False
    failed = file_by_file.predict_files(
        predictor, inputs, _OUTPUT.value,
        tiling=pictures.Tiling(
            tuple(size), channels, _WINDOW.value, _OVERLAP.value),
        extras=[name for name, wanted in (
            ('probabilities', _PROBABILITIES.value),
            ('uncertainty', _UNCERTAINTY.value),
            ('overlays', _OVERLAYS.value)) if wanted],
        segmentations=_SEGMENTATIONS.value,
        should_stop=request,
        group=group)
  if failed:
    raise binary.Incomplete(
        f'{failed} of {grammar.counted(len(inputs.names), "file")} could not '
        f'be used: see above, and {_OUTPUT.value}/predictions.csv.')


if __name__ == '__main__':
  flags.mark_flags_as_required(['input', 'output'])
  binary.run(main)
