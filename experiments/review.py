r"""Shows the suspects of an audit in the browser, to keep or correct them.

python -m experiments.audit --run=runs/mine
python -m experiments.review --run=runs/mine

Prints an address to open in a browser of this machine. The page shows one weak
annotation after another, the most suspect first: the picture, the annotation,
the predictions of both networks and why it is suspected. A key keeps it, drops
it, takes the prediction, or saves a mask that was drawn on the page; docs/
review.md explains all keys. Every decision is on the disk before the next one
shows. The same command goes on at the first suspect that is not decided.

Writes to --output (default RUN/review): review.jsonl, one line for each
decision, and masks/, the new masks at the size of the original pictures.
`data_prep.prepare --decisions=review.jsonl` applies them.

Of a run on whole volumes, a suspect is a volume, which the page shows slice by
slice, and masks are .nii.gz files. There is no --next, --static and --import.

The page loads nothing from elsewhere, and nobody without the printed address
can use it. On a server without a browser, forward the port (ssh -L 8378:
127.0.0.1:8378 HOST), or use --static: one file that works without a server,
keeps decisions in the browser and offers them as a file for --import.
"""

import getpass
import os
import pathlib
import sys

from absl import flags
from data_prep.shared import early_help

_RUN = flags.DEFINE_string('run', None, 'Folder of a finished run.')
_OUTPUT = flags.DEFINE_string('output', None, 'Folder; default RUN/review.')
_NUM = flags.DEFINE_integer(
    'num', None, 'How many suspects to show. Default: 50, and all with --next.',
    lower_bound=1)
_NEXT = flags.DEFINE_bool(
    'next', False, 'Show what RUN/audit/next.csv of experiments.audit '
    '--minutes lists, in its order.')
_WHO = flags.DEFINE_string(
    'who', None, 'Your name, kept with each decision; default is the name of '
    'your account.')
_PORT = flags.DEFINE_integer(
    'port', None, 'Port to listen on; default is the first free one from 8378.',
    lower_bound=0, upper_bound=65535)
_STATIC = flags.DEFINE_string(
    'static', None, 'Write the page as this HTML file, and serve nothing.')
_IMPORT = flags.DEFINE_string(
    'import', None, 'Add the decisions of this file, which a static page has '
    'offered, and serve nothing.')

early_help.answer(__name__)  # Answer --help before the slow imports.

from absl import logging
from data_prep.shared import confined
from data_prep.shared import grammar
from data_prep.shared import html_page
from data_prep.shared import system_errors

from experiments import binary
from experiments.auditing import observer
from experiments.auditing import volume_audit
from experiments.reviewing import decisions
from experiments.reviewing import page
from experiments.reviewing import returned
from experiments.reviewing import server as server_lib
from experiments.reviewing import suspects
from experiments.reviewing import volume_suspects


def _who():
  if _WHO.value is not None:
    return _WHO.value
  try:
    return getpass.getuser()
  except (KeyError, OSError):  # An account without a name, as in a container.
    return ''


def _output():
  if not _OUTPUT.value and confined.leads_out(
      pathlib.Path(_RUN.value), 'review'):
    raise binary.UserError(
        f'{_RUN.value}/review is a link out of the folder of the run: say '
        'where to write with --output.')
  return pathlib.Path(_OUTPUT.value or os.path.join(_RUN.value, 'review'))


def _open_book(output, header, sizes, num_classes, volumes=None):
  book = decisions.Book(
      output, header, sizes=sizes, num_classes=num_classes, who=_who(),
      volumes=volumes)
  for notice in book.notices:
    print(f'notice: {notice}', file=sys.stderr)
  return book


def _import(output):
  """Adds the decisions of a file to the journal."""
  header, manifest = suspects.read_set(_RUN.value)
  sent = returned.read(_IMPORT.value, header)
  sizes = suspects.sizes(manifest, returned.ids(sent))
  book = _open_book(output, header, sizes, len(manifest.header.classes))
  try:
    number = book.import_all(sent)
  except decisions.Refused as e:
    raise binary.UserError(f'{_IMPORT.value}: {e}') from e
  finally:
    book.close()
  known = len(sent) - number
  print(f'{book.path}: {grammar.counted(number, "new decision")}, '
        f'{known} of {len(sent)} known already.')


def _write_static(output, listed):
  review = suspects.open_review(observer.open_run(_RUN.value), listed)
  decided = decisions.read_decided(output)
  text = page.build(
      review, decided={k: v for k, v in decided.items() if k in listed.sizes},
      who=_who(),
      closing='Download the decisions; then add them with python -m '
      f'experiments.review --run={_RUN.value} --import=review_decisions.json',
      contents=[review.content(place, lossless=False)
                for place in range(len(review.facts))])
  html_page.write(_STATIC.value, text)
  number = grammar.counted(len(review.facts), 'suspect')
  print(f'{_STATIC.value}: {number}, {len(text) / 2**20:.1f} MiB. Open it in a '
        'browser, and add its decisions with --import.')


def _list_volumes():
  """Lists the suspects of a run on whole volumes."""
  for name, value in (('static', _STATIC.value), ('import', _IMPORT.value),
                      ('next', _NEXT.value)):
    if value:
      raise binary.UserError(
          f'--{name} is not for a run on whole volumes: leave it out.')
  return volume_suspects.list_suspects(_RUN.value, _NUM.value)


def _serve_volumes(output, listed):
  """Serves the suspects of a run on whole volumes."""
  volumes = volume_suspects.Volumes(_RUN.value, listed)
  book = _open_book(output, listed.header, listed.sizes, len(listed.classes),
                    volumes)
  try:
    decided = book.decided()
    first = next((i for i in listed.sizes if i not in decided), None)
    _serve_until_interrupted(volumes.open_review(first), book)
  finally:
    volumes.close()
    book.close()


def _serve(output, listed):
  """Serves the suspects of a run on pictures."""
  # The folder is locked before the predictions, which take a while.
  book = _open_book(output, listed.header, listed.sizes, len(listed.classes))
  try:
    _serve_until_interrupted(
        suspects.open_review(observer.open_run(_RUN.value), listed), book)
  finally:
    book.close()


def _serve_until_interrupted(review, book):
  server = server_lib.bind(
      lambda port: server_lib.Server(
          review, book, port=port,
          closing=f'python -m data_prep.prepare --decisions={book.path} '
          '--output=NEW_FOLDER applies the decisions.'), _PORT.value)
  print(f'Open {server.address}\nCtrl-C ends the review; the same command '
        'resumes it.', flush=True)
  try:
    server.serve_forever()
  except KeyboardInterrupt:
    print()
  finally:
    server.server_close()
  print(f'{book.path}: {len(book.decided())} of '
        f'{grammar.counted(len(review.facts), "suspect")} decided.')


def main():
  logging.set_verbosity(logging.WARNING)
  if _STATIC.value and _IMPORT.value:
    raise binary.UserError('Give one of --static and --import.')
  if _STATIC.value and not pathlib.Path(
      _STATIC.value).absolute().parent.is_dir():
    raise binary.UserError(
        f'--static={_STATIC.value}: there is no such folder: make it, or '
        'correct the path.')
  output = _output()
  try:
    if volume_audit.is_of_volumes(_RUN.value):
      _serve_volumes(output, _list_volumes())
      return
    if _IMPORT.value:
      _import(output)
      return
    listed = suspects.list_suspects(
        _RUN.value, _NUM.value, by_gain=_NEXT.value)
    if _STATIC.value:
      _write_static(output, listed)
    else:
      _serve(output, listed)
  except OSError as e:
    raise binary.UserError(system_errors.in_words(e)) from e


if __name__ == '__main__':
  flags.mark_flags_as_required(['run'])
  binary.run(main)
