r"""Prepares a set for training: imports, splits and checks it, writes records.

python -m data_prep.prepare --source=FOLDER --output=data/mine
python -m data_prep.prepare --source=FOLDER --check
python -m data_prep.prepare --manifest=FILE --output=data/mine
python -m data_prep.prepare --dataset=phantom --output=data/phantom
python -m data_prep.prepare --dataset=endoscene --source=FOLDER \
    --output=data/endoscene
python -m data_prep.prepare --decisions=RUN/review/review.jsonl \
    --output=data/corrected

FOLDER holds pictures and masks, or a COCO, LabelMe, CVAT, VOC, YOLO, CSV or
NIfTI set: see data_prep/formats.

Writes OUTPUT/manifest.jsonl, OUTPUT/summary.html (the content of the set, with
pictures) and OUTPUT/records (open it with `tfds.builder_from_directory`). For a
source, OUTPUT/splits.csv is written, too; and, if anything is left out on
purpose, OUTPUT/left_out.csv. OUTPUT/images and similar folders hold pictures
that the set needs and the source does not have. What --volumes writes:
data_prep/sets/whole_set.py. If anything is wrong, there is no OUTPUT at all,
but one line per problem on stderr and exit code 2.
"""

import csv
import os
import pathlib
import tempfile

if __name__ == '__main__':  # NumPy reads the variable when it is imported.
  # Threads for matrix products would compete with those that decode pictures.
  os.environ.setdefault('OPENBLAS_NUM_THREADS', '1')

from absl import flags
from data_prep.sets import named_sets
from data_prep.sets import remote_source
from data_prep.sets import remote_target
from data_prep.sets import runner_flags
from data_prep.sets import source_flags
from data_prep.shared import early_help

_USUAL_SIZE = 96

flags.adopt_module_key_flags(source_flags)  # This makes --help list them.
flags.adopt_module_key_flags(remote_source)
flags.adopt_module_key_flags(remote_target)
flags.adopt_module_key_flags(runner_flags)
_DATASET = flags.DEFINE_enum(
    'dataset', None, [*named_sets.SETS, *named_sets.WHOLE],
    'A set that is known by name.')
_MANIFEST = flags.DEFINE_string(
    'manifest', None, 'Manifest of your own set, instead of --dataset.')
_DECISIONS = flags.DEFINE_string(
    'decisions', None, 'Journal of experiments.review: its decisions change '
    'the set that was reviewed, and --output is the changed set.')
_OUTPUT = flags.DEFINE_string('output', None, 'Folder to write.')
_SOURCE = flags.DEFINE_string(
    'source', None, 'Folder or file that holds the original set, or a folder '
    'of an object store, see --fetch_to.')
_IMAGE_SIZE = flags.DEFINE_integer(
    'image_size', None, 'Height and width of the records. Default: '
    f'{_USUAL_SIZE}' + ''.join(
        f'; {module.IMAGE_SIZE} with --dataset={name}'
        for name, module in named_sets.SETS.items()) + '.',
    lower_bound=8, upper_bound=4096)
_SEED = flags.DEFINE_integer(
    'seed', 0, 'Seed of every draw.', lower_bound=0)
_STRONG_FRACTION = flags.DEFINE_float(
    'strong_fraction', None, 'Share of the training images with exact masks. '
    + named_sets.default_text('strong_fraction', {
        '--source --simulate': source_flags.STRONG_FRACTION,
        '--source alone': 'all that have one'}),
    lower_bound=0.0, upper_bound=1.0)
_FAULT_FRACTION = flags.DEFINE_float(
    'fault_fraction', None, 'Share of simulated weak labels that are faulty. '
    + named_sets.default_text('fault_fraction', {
        '--source': source_flags.FAULT_FRACTION}),
    lower_bound=0.0, upper_bound=1.0)
_WEAK_KINDS = flags.DEFINE_list(
    'weak_kinds', None, 'Kinds of the simulated weak labels of a named set, '
    'which share them evenly. ' + named_sets.default_text('kinds', {}))
_NEAR_COPIES = flags.DEFINE_enum(
    'near_copies', 'refuse', ['refuse', 'notice'],
    'What to do about nearly the same pictures in two splits. With refuse, '
    'splits that are drawn here keep them together.')
_CHECK = flags.DEFINE_bool('check', False, 'Only check, write nothing.')
_SUMMARY = flags.DEFINE_string(
    'summary', None, 'With --check: an HTML page to write, with pictures.')
_OVERWRITE = flags.DEFINE_bool(
    'overwrite', False, 'Replace an --output that was prepared differently.')

early_help.answer(__name__)  # Do this before the slow imports.


from data_prep import command_line
from data_prep import manifest as manifest_lib
from data_prep.checks import check
from data_prep.checks import check_report
from data_prep.records import preparation
from data_prep.sets import closing
from data_prep.sets import leaving_out
from data_prep.sets import own_set
from data_prep.sets import reviewed_set
from data_prep.sets import reviewed_volumes
from data_prep.sets import whole_set
from data_prep.sets import writing
from data_prep.shared import grammar
from data_prep.shared import progress as progress_lib
from data_prep.shared import system_errors

_Refused = command_line.Refused


def main(argv: list[str]) -> int:
  """Runs the binary; returns its exit code."""
  return command_line.run(argv, _run)


def _run():
  """Prepares a set, and copies it to --send_to."""
  output, send_to = _OUTPUT.value, remote_target.SEND_TO.value
  remote_target.check(None if _CHECK.value else output, send_to)
  _prepare()
  if send_to is not None:
    remote_target.send(output, send_to)


def _prepare():
  """Checks the flags, then prepares the set in a folder next to --output."""
  given = [_DATASET.value, _MANIFEST.value, _DECISIONS.value]
  if given == [None, None, None]:
    given.append(_SOURCE.value)
  if sum(value is not None for value in given) != 1:
    raise _Refused(
        'give either --source, --dataset, --manifest or --decisions')
  if _OUTPUT.value is None and not _CHECK.value:
    raise _Refused('give --output, the folder to write, or --check')
  _check_use()
  _check_source()
  is_reviewed = bool(_DECISIONS.value) and reviewed_volumes.is_for(
      _DECISIONS.value)
  whole = is_reviewed or source_flags.wants_volumes() or (
      _DATASET.value in named_sets.WHOLE)
  spread = runner_flags.spread('whole volumes' if whole else '')
  if is_reviewed:
    return reviewed_volumes.prepare(
        _DECISIONS.value, None if _CHECK.value else _OUTPUT.value,
        overwrite=_OVERWRITE.value)
  if source_flags.wants_volumes():
    return _prepare_volumes()
  if _DATASET.value in named_sets.WHOLE:
    return _prepare_whole(named_sets.WHOLE[_DATASET.value])
  reviewed = _read_decisions()
  image_size = _IMAGE_SIZE.value or (
      reviewed.image_size if reviewed else
      named_sets.SETS[_DATASET.value].IMAGE_SIZE if _DATASET.value else
      _USUAL_SIZE)
  if _CHECK.value:
    with (tempfile.TemporaryDirectory() as folder,
          system_errors.naming(folder)):
      made = _make(pathlib.Path(folder), image_size, None, reviewed, spread)
      print(closing.counts(made.manifest))
      if _SUMMARY.value:
        writing.write_summary(_SUMMARY.value, made, image_size)
      writing.print_left_out(made)
      print('The set has no problems.')
  else:
    _write(image_size, reviewed, spread)
  if reviewed is not None:
    print(reviewed.counts)


def _write(image_size, reviewed, spread):
  """Prepares a set of pictures in --output, and prints its summary.

  Args:
    image_size: height and width of the records.
    reviewed: the set after the decisions of a review, or None.
    spread: value of `runner_flags.spread`.
  """
  output = pathlib.Path(_OUTPUT.value).absolute()
  made = writing.write(
      output, lambda folder, kept: _make(
          folder, image_size, kept, reviewed, spread),
      image_size=image_size, overwrite=_OVERWRITE.value,
      previous=reviewed and reviewed.folder / 'records',
      write_shards=spread.write)
  if made is not None:
    closing.print_summary(
        pathlib.Path(_OUTPUT.value), made.manifest, image_size,
        dataset=_DATASET.value, earlier=reviewed.run if reviewed else '')
    writing.print_left_out(made, output / leaving_out.FILE)


def _read_decisions():
  """Returns the set after the decisions of --decisions; None without them."""
  if _DECISIONS.value is None:
    return None
  reviewed = reviewed_set.read(_DECISIONS.value)
  if _OUTPUT.value is not None:
    reviewed_set.check_output(reviewed.folder, pathlib.Path(_OUTPUT.value))
  _print_notices(reviewed.notices)
  return reviewed


def _prepare_volumes():
  """Prepares a source of volumes, which stay whole."""
  try:
    print(f'Reading {_SOURCE.value} ...', flush=True)
    whole_set.prepare(
        _SOURCE.value, None if _CHECK.value else _OUTPUT.value, plan=_plan(),
        options=source_flags.options(), wanted=source_flags.wanted(),
        overwrite=_OVERWRITE.value)
  except ValueError as error:
    raise _Refused(command_line.one_line(error)) from error


def _prepare_whole(module):
  """Prepares a named set of whole volumes."""
  options = dict(
      seed=_SEED.value, strong_fraction=_STRONG_FRACTION.value,
      fault_fraction=_FAULT_FRACTION.value, kinds=_WEAK_KINDS.value,
      slab_slices=source_flags.slab_slices())
  module.write(
      None if _CHECK.value else _OUTPUT.value, overwrite=_OVERWRITE.value,
      **{name: value for name, value in options.items() if value is not None})


def _plan():
  """Returns the options for choosing splits and roles of a --source."""
  return source_flags.plan(
      seed=_SEED.value, strong_fraction=_STRONG_FRACTION.value,
      fault_fraction=_FAULT_FRACTION.value, near_copies=_NEAR_COPIES.value)


def _check_source():
  """Copies a --source from an object store; refuses a wrong or unused one."""
  if remote_source.is_remote(_SOURCE.value):  # Check before a long copy.
    source_flags.options()
    _plan()
  source = remote_source.find_local(
      _SOURCE.value, remote_source.FETCH_TO.value)
  if source != _SOURCE.value:
    flags.FLAGS.source = source
  if _DATASET.value:
    try:
      named_sets.check_source(_DATASET.value, source)
    except ValueError as error:
      raise _Refused(str(error)) from error
  elif _MANIFEST.value:
    if source is not None:
      raise _Refused('--source is not for --manifest: remove it')
    if not os.path.isfile(_MANIFEST.value):
      raise _Refused(f'--manifest={_MANIFEST.value}: no such file')
  elif _DECISIONS.value:
    if source is not None:
      raise _Refused('--source is not for --decisions: remove it')
    if not os.path.isfile(_DECISIONS.value):
      raise _Refused(f'--decisions={_DECISIONS.value}: no such file')
  elif not os.path.exists(source):
    raise _Refused(f'--source={source}: no such folder')


def _is_source():
  """Returns whether the set is made from --source, a user's own files."""
  return not (_DATASET.value or _MANIFEST.value or _DECISIONS.value)


def _check_use():
  """Refuses flags that the user gave but that would have no effect."""
  dataset = _DATASET.value
  arguments = {'seed': 'seed', 'strong_fraction': 'strong_fraction',
               'fault_fraction': 'fault_fraction', 'weak_kinds': 'kinds',
               'instances': 'slab_slices'}
  if not _is_source():
    what = (f'--dataset={dataset}' if dataset else
            '--manifest' if _MANIFEST.value else '--decisions')
    unused = [name for name, argument in arguments.items()
              if not (dataset and named_sets.has_use_for(dataset, argument))]
    unused += source_flags.names()
    if dataset in named_sets.WHOLE:
      unused += source_flags.NOT_FOR_VOLUMES
    if dataset and named_sets.is_generated(dataset):
      unused.append('leave_out')  # Generated sets have no defective pictures.
    if _DECISIONS.value:  # All of this is as in the set that was reviewed.
      unused += ['image_size', 'intensity_range', 'leave_out', 'near_copies']
  else:
    what, unused = '--source, which has --simulate', ['weak_kinds']
  for name in unused:
    if flags.FLAGS[name].present and flags.FLAGS[name].value is not None:
      raise _Refused(f'--{name} is not for {what}: remove it')


def _make(folder, image_size, kept, reviewed, spread):
  """Writes the manifest to `folder`, then checks it and the files it names."""
  printed = []
  try:
    allowed = source_flags.leave_out()
    if 'shapes' in allowed and _MANIFEST.value:
      raise _Refused('--leave_out=shapes is not for --manifest: --leave_out='
                     'defective leaves out the picture of a shape')
    if _is_source():
      print(f'Reading {_SOURCE.value} ...', flush=True)
      plan = _plan()
      own = own_set.read(
          folder, source=_SOURCE.value, options=source_flags.options(),
          format_name=source_flags.format_name(),
          subjects=source_flags.subjects(),
          name=source_flags.name(pathlib.Path(_SOURCE.value)))
      printed += _print_notices(own.notices)
      left_out, all_rows = own.left_out, own.all_rows
      make = lambda without: own_set.divide(
          own, folder, plan=plan, without=without)
    else:
      given = (reviewed_set.write(reviewed, folder) if reviewed else
               _write_manifest(folder, image_size))
      left_out = leaving_out.find_listed(
          given.rows, allowed, folder=given.folder)
      listed, all_rows = {entry.name for entry in left_out}, given.rows
      leaving_out.refuse_nothing_left(
          len(given.rows) - len(listed), left_out)
      make = lambda without: own_set.Divided(
          leaving_out.write_without(
              given, folder, without | listed), [], [])
    made, findings, more = leaving_out.check_and_leave_out(
        make, lambda made, known: _inspect(
            made.manifest, known, all_rows, kept, spread),
        allowed=allowed)
    if reviewed is None:
      preparation.write(
          folder, intensity_range=source_flags.options().intensity_range)
  except ValueError as error:
    raise _Refused(command_line.one_line(error)) from error
  printed += _print_notices(made.notices)
  _tell(findings)
  return writing.Made(made.manifest, findings, printed,
               [*left_out, *made.left_out, *more], kept)


def _write_manifest(folder, image_size):
  """Writes the manifest of a named set below `folder`, or reads --manifest."""
  try:
    if _DATASET.value:
      return named_sets.write(
          _DATASET.value, folder, source=_SOURCE.value, image_size=image_size,
          kinds=_WEAK_KINDS.value, seed=_SEED.value,
          strong_fraction=_STRONG_FRACTION.value,
          fault_fraction=_FAULT_FRACTION.value)
  except (LookupError, TypeError, ValueError, csv.Error) as error:
    if named_sets.is_generated(_DATASET.value):
      raise  # A generated set reads no files, so this is a bug in our code.
    raise _Refused(
        f'--source={_SOURCE.value}: not the files of {_DATASET.value} as '
        f'data_prep/sets/{_DATASET.value}.py describes them '
        f'({command_line.one_line(repr(error))[:40]})') from error
  manifest = manifest_lib.read_manifest(_MANIFEST.value)
  if manifest.problems:
    _tell(_inspect(manifest, None, (), None, runner_flags.Spread()))
  return manifest


def _print_notices(notices):
  """Prints notices and returns the printed lines."""
  lines = check_report.join_notices(notices)
  for line in lines:
    print(line)
  return lines


def _shown(path):
  """Returns the path of a picture relative to --source, if it lies there."""
  source = os.path.realpath(_SOURCE.value)
  return os.path.relpath(path, source) if path.startswith(source) else path


def _inspect(manifest, known, all_rows, kept, spread):
  """Checks a set; for a --source, the findings name the user's own files."""
  again = ' again, without what is defective' if known else ''
  number = grammar.counted(len(manifest.rows), 'image')
  print(f'Checking {number}{again} ...', flush=True)
  is_source = _is_source()
  drawn = ()
  if is_source and not source_flags.has_splits():
    given = {row.id: row.split for row in all_rows}
    drawn = {r.id for r in manifest.rows if r.split != given[r.id]}
  if _DECISIONS.value:  # The splits were accepted when the set was prepared.
    drawn = {r.id for r in manifest.rows}
  findings = check.inspect_manifest(
      manifest, known=known,
      near_copies='notice' if _DECISIONS.value else _NEAR_COPIES.value,
      progress=progress_lib.Progress(
          len(manifest.rows), 'images', what='  '),
      no_weak='notice' if _CHECK.value else 'refuse', all_rows=all_rows,
      # The reader of a source has already reported the files it did not read.
      drawn=drawn, unlisted=not (is_source or _DECISIONS.value),
      can_choose=is_source, kept=kept, inspect=spread.inspect)
  if is_source:
    findings = findings._replace(
        pictures={1: 'the set'} | {
            row.line: _shown(row.image) for row in manifest.rows})
  return findings


def _tell(findings):
  """Prints the notices of `findings`; refuses the set if it has problems."""
  for line in check_report.report(findings._replace(problems=[])):
    print(line)
  if findings.problems:
    raise _Refused(*check_report.report(findings._replace(notices=[])))


if __name__ == '__main__':
  command_line.start(main)
