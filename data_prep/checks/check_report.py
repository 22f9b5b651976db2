"""Turns the findings of a check into lines for the user.

Findings that have the same cause share a line, so that the report stays short.
"""

import collections
from collections.abc import Mapping, Sequence
import re
from typing import NamedTuple

from data_prep import manifest as manifest_lib
from data_prep.checks import check_row
from data_prep.shared import scratch

MAX_LINE = 200

# Up to this number of problems with the same cause get a line each; if there
# are more, they share one line.
_MAX_SINGLE = 3
_FLAG = re.compile(r'--(?!leave_out|near_copies|source)\w')
_LEAVE_OUT = ', or --leave_out='
# Fields whose problems lie in a file or a shape, not in the manifest's line.
_IN_A_FILE = re.compile(r'image|path|\[')
# Parts of a message that may differ although the cause is the same: quoted
# names, file names and numbers.
_NAMES = re.compile(
    r"'(?:[^'\\]|\\.)*'|\"[^\"]*\"|[^\s,;:()]*\w\.[A-Za-z]\w{1,4}\b|\d+")
_LISTS = re.compile(r'#(?:[ ,:{}]+#)+')


class Findings(NamedTuple):
  """The findings of a check.

  Attributes:
    problems: the problems for which the set is refused, sorted by line.
    notices: descriptions of what is odd but valid, sorted by line.
    facts: the facts of each row of the manifest; empty if the manifest's header
      cannot be used.
    defects: maps the id of a row to the problems in its files or its
      annotation. Without that row, the set would not have these problems.
    pictures: maps a line of the manifest to its picture. If the manifest was
      generated, so that users have never seen it, the report names these
      pictures instead of lines.
    rows: the rows that `facts` describes.
    logs: the log of each of these rows.
    thumbnails: file of the thumbnails of the images.
  """

  problems: list[manifest_lib.Problem]
  notices: list[manifest_lib.Problem]
  facts: list[check_row.Facts]
  defects: Mapping[str, list[manifest_lib.Problem]] = {}
  pictures: Mapping[int, str] = {}
  rows: Sequence[manifest_lib.Row] = ()
  logs: Sequence[object] = ()
  thumbnails: scratch.Scratch | None = None


def report(findings: Findings) -> list[str]:
  """Returns the lines to print, each of at most `MAX_LINE` characters.

  Up to three problems with the same cause get a line each. If there are more,
  they share a line that holds their number, the fix, and the first three places
  where they occur. Of several notices of the same kind, only the first is
  shown, together with their number.
  """
  defects = {p for some in findings.defects.values() for p in some}
  lines = []
  # First list the problems that a flag solves, since the flag may also solve
  # others.
  for problems in sorted(
      _groups(findings.problems),
      key=lambda some: _flag_of(some[0].fix) is None):
    shown = [_shown(_with_flag(p, defects), findings.pictures)
             for p in problems]
    if len(shown) > _MAX_SINGLE:
      lines.append(_together(shown))
      continue
    lines += [_fit(p) for p in shown]
  for notices in _groups(findings.notices):
    number = len(notices)
    count = f', {number} times, first' if number > 1 else ':'
    lines.append(
        f'notice{count} {_fit(_shown(notices[0], findings.pictures))}')
  return [_cut(line) for line in lines]


def _with_flag(problem, defects):
  """Returns a problem whose fix also names the flag to leave its picture out.

  Args:
    problem: any problem; it is returned unchanged if its picture cannot be left
      out.
    defects: all problems of pictures that can be left out.
  """
  if (problem in defects and _IN_A_FILE.search(problem.field)
      and _LEAVE_OUT not in problem.fix):
    return problem._replace(fix=f'{problem.fix}{_LEAVE_OUT}defective')
  return problem


def join_notices(notices: Sequence[str]) -> list[str]:
  """Returns the lines to print for notices.

  More than three notices of one kind share a line.
  """
  groups = collections.defaultdict(list)
  for notice in notices:
    groups[_kind(notice)].append(notice)
  lines = []
  for some in groups.values():
    lines += some if len(some) <= _MAX_SINGLE else [
        f'{len(some)} times, first: {some[0]}']
  return [_cut(f'notice: {line}') for line in lines]


def _kind(text):
  """Replaces names and numbers in a message by '#'.

  Messages that have the same cause thus become equal.
  """
  return _LISTS.sub('#', _NAMES.sub('#', text))


def _flag_of(fix):
  """Finds the command-line flag that a suggested fix names.

  Returns None if there is none, or if it does not solve the problem for all
  pictures, such as --leave_out.
  """
  return _FLAG.search(fix)


def _cut(line):
  return line if len(line) <= MAX_LINE else line[: MAX_LINE - 3] + '...'


def _shown(problem, pictures):
  """Returns a problem that names pictures instead of lines of the manifest.

  Args:
    problem: any problem; it is returned unchanged if it names a file already.
    pictures: maps each line to its picture; empty if the user wrote the
      manifest and therefore knows its lines.
  """
  if problem.file or not pictures:
    return problem
  if not problem.line:
    return problem._replace(file='the set')

  def name(line):
    path = pictures.get(line, 'the set')
    return path if path.isprintable() else ascii(path)[1:-1]

  what = re.sub(r'\bline (\d+)', lambda m: name(int(m[1])), problem.what)
  return problem._replace(what=what, line=0, file=name(problem.line))


def _fit(problem):
  """Formats a problem as a line of at most `MAX_LINE` characters.

  If the line is too long, its description is shortened. Its end is kept, since
  it holds the fix, which tells the user what to do.
  """
  where = problem.file or problem.id
  if problem.found and problem.found in where:
    problem = problem._replace(found='')
  for shorter in (
      problem, problem._replace(id='' if problem.file else problem.id),
      problem._replace(id='' if problem.file else problem.id, found='')):
    text = str(shorter)
    if not text.endswith('...'):
      return text
  over = len(_sentence(shorter)) - MAX_LINE
  return _sentence(shorter._replace(
      what=f'{shorter.what[: max(40, len(shorter.what) - over - 3)]}...'))


def _sentence(problem):
  """Formats a problem as `str` does, but without limiting its length."""
  head, _, _ = str(problem._replace(what='\0', fix='')).partition('\0')
  return ' '.join(f'{head}{problem.what}; {problem.fix}'.split())


def _together(problems):
  """Returns one line that describes many problems with the same cause."""
  first = problems[0]
  names = list(dict.fromkeys(_place(p) for p in problems))
  found = f', found {_clip(first.found)}' if (
      first.found and first.found not in names[0]) else ''
  more = ', ...' if len(names) > _MAX_SINGLE else ''
  what = ' '.join(first.what.split())
  for some_found, number in (
      (found, _MAX_SINGLE), ('', _MAX_SINGLE), ('', 2), ('', 1)):
    end = f'{some_found}; {first.fix}: {", ".join(names[:number])}{more}'
    line = f'{len(problems)} times: {what}{end}'
    if len(line) <= MAX_LINE:
      return line
  room = max(40, MAX_LINE - (len(line) - len(what)) - 3)
  return f'{len(problems)} times: {what[:room]}...{end}'


def _place(problem):
  """Returns the place of a problem as text of at most 40 characters."""
  if problem.file:
    place = problem.file
    if problem.line:
      place = f'{place} line {problem.line}'
    elif problem.id and problem.id not in place:
      place = f'{place} ({problem.id})'
  elif problem.line:
    place = f'line {problem.line}'
  else:
    place = problem.id or problem.found
  return place if len(place) <= 40 else f'...{place[-37:]}'


def _clip(text):
  text = ' '.join(text.split())
  return text if len(text) <= 40 else f'{text[:37]}...'


def _groups(problems):
  """Groups problems by their cause.

  The messages of a group differ only in names and numbers. Problems of the
  whole set, which have no line, file or id, share a group only if their
  descriptions are equal.
  """
  groups = collections.defaultdict(list)
  for problem in problems:
    kind = (problem.what, '')
    if problem.line or problem.file or problem.id:
      kind = (_kind(problem.what), _kind(problem.fix))
    groups[kind].append(problem)
  return groups.values()
