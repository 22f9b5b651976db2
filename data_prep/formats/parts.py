"""Sorts a picture's mask files into parts, structures and observers' masks."""

import collections
from collections.abc import Callable, Iterator
import re
from typing import NamedTuple

from data_prep.formats import folder_names
from data_prep.formats import sources
from data_prep.shared import grammar
from data_prep.shared import pixels

_MAX_STRUCTURES = 254


class Mask(NamedTuple):
  """One mask file of a picture.

  Attributes:
    path: path relative to the source.
    kind: 'mask', 'coarse_mask' or 'scribble'.
    place: folders of masks that the file lies in, or ''.
    tag: word in the file's name that marks it as a mask, or ''.
    annotator: who drew the mask, or ''.
    piece: part of the name that differs between the mask files of a picture.
      After `resolve`, the structure that the file shows, or ''.
    is_whole: whether `piece` is the whole name of the file or folder.
  """

  path: str
  kind: str
  place: str = ''
  tag: str = ''
  annotator: str = ''
  piece: str = ''
  is_whole: bool = False


class Resolved(NamedTuple):
  """The masks of all pictures after `resolve`.

  Attributes:
    masks: maps the path of each picture to its masks.
    structures: class of each structure, if each has a file of its own.
    names: foreground classes in order, if the mask files name them.
  """

  masks: dict[str, list[Mask]]
  structures: dict[str, int]
  names: tuple[str, ...]


def words_of(path: str) -> set[str]:
  """Returns the words with which `--mask_folder` may choose a mask."""
  *folders, name = sources.stem(path).lower().split('/')
  forms = list(folder_names.mask_forms(name))
  found = {w for form in forms for w in (form.tag, form.annotator)}
  # The word seg chooses both a_seg01 and a_seg02; seg01 chooses only one.
  ends = {name[len(form.plain):].lstrip(' _.-') for form in forms
          if name.startswith(form.plain)} | {name.removesuffix('.seg')}
  return {*folders, *found, *ends, name, '/'.join(folders)} - {''}


def word_of_one(groups: list[list[Mask]]) -> str:
  """Returns a word that chooses exactly one mask of most pictures, or ''.

  Args:
    groups: the masks of each picture that has several masks.
  """
  count = collections.Counter()
  for masks in groups:
    words = collections.Counter(w for m in masks for w in words_of(m.path))
    count.update(w for w, number in words.items() if number == 1)
  usual = [w for w, number in count.items() if 2 * number > len(groups)]
  return min(usual, key=lambda w: (-count[w], -len(w), w), default='')


def resolve(
    found: dict[str, list[Mask]],
    chosen: set[str],
    report,
    *,
    is_blank: Callable[[str], bool] = lambda path: False,
) -> Resolved:
  """Decides what several mask files of one picture mean, see `pairing`.

  Args:
    found: maps the path of each picture to its masks.
    chosen: folders or endings that the user chooses, in lower case.
    report: holds the user's options; receives problems and notices.
    is_blank: function that returns whether all pixels of a file are equal.
  """
  if chosen:
    found = _choose(found, chosen, report)
  # A group holds the masks of one picture, of one kind and by one observer.
  groups = collections.defaultdict(list)
  for picture, masks in sorted(found.items()):
    for mask in sorted(masks):
      groups[picture, mask.kind, mask.annotator].append(mask)
  groups = _without_doubles(groups, report)
  groups = _without_doubt(groups, chosen, is_blank, report)
  groups, structures, names = _find_structures(groups, report)
  result, observed, several = collections.defaultdict(list), set(), []
  for (picture, kind, _), masks in groups.items():
    if any(m.kind == kind for m in result[picture]):
      observed.add(picture)
    result[picture] += masks
    if len(masks) > 1 and not names:
      several.append(picture)
  if several:
    report.note(f'{grammar.counted(len(several), "picture", "have")} several '
                f'mask files, such as {pixels.tail(several[0])}: they are '
                'united')
  if observed:
    people = sorted({m.annotator for p in observed for m in result[p]})
    report.note(f'{grammar.counted(len(observed), "picture", "have")} masks of '
                f'several observers ({", ".join(people)[:60]}): each is a row '
                'of its own')
  return Resolved(dict(result), structures, names)


def by_observer(
    masks: list[Mask], name: str
) -> Iterator[tuple[str, str, dict[str, list[Mask]]]]:
  """Divides the masks of a picture among the observers who drew them.

  Args:
    masks: the masks of the picture.
    name: id of the picture, or name of the volume.

  Yields:
    For each observer: the id or name, which ends in the observer if there are
    several; the observer, '' if unknown; and, by kind, the masks of this
    observer and those of no observer.
  """
  observers = sorted({m.annotator for m in masks if m.annotator}) or ['']
  for observer in observers:
    kinds = {}
    for mask in masks:
      if mask.annotator in ('', observer):
        kinds.setdefault(mask.kind, []).append(mask)
    yield f'{name}@{observer}' if len(observers) > 1 else name, observer, kinds


def _is_chosen(mask, chosen):
  return bool(chosen & (words_of(mask.path) | {
      mask.piece.lower(), mask.place.lower()}))


def _choose(found, chosen, report):
  """Returns the masks whose folders or endings the user chooses."""
  kept, left = {}, []
  for picture, masks in found.items():
    some = [m for m in masks if _is_chosen(m, chosen)]
    left += [m.path for m in masks if not _is_chosen(m, chosen)]
    if some:
      kept[picture] = some
  if not kept:
    places = {label_of(m) for masks in found.values() for m in masks}
    known = ', '.join(sorted(places))[:80] or 'the names on the disk'
    report.wrong(
        '--mask_folder names no folder of masks and no ending of their names',
        ', '.join(sorted(chosen)), f'use one of {known}')
  elif left:
    report.note_unread(left, 'mask', 'not in --mask_folder')
  return kept


def label_of(mask: Mask) -> str:
  """Returns a value of --mask_folder that chooses a mask."""
  return mask.place or f'_{mask.tag}'


def _without_doubles(groups, report):
  """Refuses two masks such as a.png and a.jpg: either could be meant."""
  result = {}
  for key, masks in groups.items():
    by_stem = {}
    for mask in masks:
      known = by_stem.setdefault(sources.stem(mask.path), mask)
      if known is not mask:
        report.wrong('two files of one name', f'{mask.path}, {known.path}',
                     'join or remove one', file=mask.path)
    result[key] = list(by_stem.values())
  return result


def _without_doubt(groups, chosen, is_blank, report):
  """Returns the groups whose meaning is clear; reports the other groups."""
  result, doubtful = _sort_out(groups, chosen)
  if doubtful:
    groups = _without_blank(groups, doubtful, is_blank, report)
    result, doubtful = _sort_out(groups, chosen)
  if doubtful:
    _ask_which(groups, doubtful, report)
  return result


def _sort_out(groups, chosen):
  """Returns the groups with a clear meaning, and the masks without one."""
  of_picture = collections.defaultdict(dict)
  for (picture, kind, annotator), masks in groups.items():
    of_picture[picture, kind][annotator] = masks
  result, doubtful = {}, []
  for (picture, kind), people in of_picture.items():
    found = {name: _parts(masks, chosen) for name, masks in people.items()}
    if (len(people) > 1 and '' in people) or None in found.values():
      doubtful.append((picture, [m for some in people.values() for m in some]))
    else:
      for annotator, masks in found.items():
        result[picture, kind, annotator] = masks
  if any(map(_are_sides, result.values())):
    # If one picture has a left and a right mask, sides are kept for all others.
    result = {key: [m._replace(piece=_side(m)[0] or m.piece) for m in masks]
              for key, masks in result.items()}
  return result, doubtful


def _parts(masks, chosen):
  """Returns a picture's masks if they clearly belong together, else None."""
  known = {(m.place, m.tag) for m in masks}
  if len(known) == 1 or _are_sides(masks):
    return masks
  if len(chosen) > 1 and len({m.place for m in masks}) == len(known):
    return [m._replace(piece=_subject_of(m.place), is_whole=True)
            for m in masks]
  return None


def _side(mask):
  return folder_names.side_of(mask.place.rsplit('/', 1)[-1])


def _are_sides(masks):
  """Returns whether masks lie in folders such as left_lung and right_lung."""
  return {side for side, _ in map(_side, masks)} == {'left', 'right'} and len(
      {rest for _, rest in map(_side, masks)}) == 1


def _without_blank(groups, doubtful, is_blank, report):
  """Leaves out folders or endings whose files each hold a single value.

  Such files are fields of view or empty templates, and not masks of objects.
  """
  by_origin = collections.defaultdict(list)
  for masks in groups.values():
    for mask in masks:
      by_origin[_origin(mask)].append(mask)
  seen = {_origin(m) for _, masks in doubtful for m in masks}
  blank = {origin for origin in sorted(seen)
           if all(is_blank(m.path) for m in by_origin[origin])}
  if not blank or blank == seen:
    return groups
  gone = [m.path for origin in blank for m in by_origin[origin]]
  report.note_unread(gone, 'mask', 'each file there holds a single value, '
                     'unlike those beside them')
  kept = {key: [m for m in masks if _origin(m) not in blank]
          for key, masks in groups.items()}
  return {key: masks for key, masks in kept.items() if masks}


def _origin(mask):
  return mask.place, mask.tag, mask.annotator


def _ask_which(groups, doubtful, report):
  """Reports a problem: the user must choose a folder or an ending."""
  places = set()
  for _, masks in doubtful:
    same = len({m.place for m in masks}) == 1
    places |= {f'_{m.tag or m.annotator}' if same else label_of(m)
               for m in masks}
  # Suggest first the folder or ending that most pictures of the set have.
  usual = collections.Counter(
      place for masks in groups.values() for place in {
          p for m in masks for p in (label_of(m), f'_{m.tag or m.annotator}')})
  # If there are other folders, one named "mask" usually holds fields of view.
  places = sorted(places, key=lambda name: (
      name.lower() in ('mask', 'masks', '_mask'), -usual[name], name))
  report.wrong(
      f'{grammar.counted(len(doubtful), "picture", "have")} masks in several '
      'folders or under several endings', ', '.join(places),
      f'say which are meant: --mask_folder={places[0]}', file=doubtful[0][0])


def _subject_of(place):
  """Returns what a folder of masks is named after: liver for liver_masks."""
  rest = [w for w in re.split('[ _-]', place)
          if not folder_names.is_mask_word(w, or_object=False)]
  return '_'.join(rest) or place


def _find_structures(groups, report):
  """Returns the groups, the class of each structure, and the class names."""
  groups = {key: _without_words(masks) for key, masks in groups.items()}
  groups = _with_short_pieces(groups)
  pieces = [{m.piece for m in masks} - {''} for masks in groups.values()]
  if not _are_structures(pieces, groups):
    return {key: [m._replace(piece='') for m in masks]
            for key, masks in groups.items()}, {}, ()
  names = sorted(set().union(*pieces))
  for key, masks in groups.items():
    plain = [m for m in masks if not m.piece]
    if plain:
      report.wrong(
          'a mask of no structure, where others have a file for each structure',
          ', '.join(names)[:40], 'rename or remove it', file=plain[0].path)
    groups[key] = [m for m in masks if m.piece]
  sides = [folder_names.side_of(n) for n in names]
  if all(side and folder_names.is_mask_word(' '.join(rest))
         for side, rest in sides):
    _tell_lacking(groups, names, report)
    return groups, {name: 1 for name in names}, ()
  if report.options.classes is not None:
    names, groups = _select(names, groups, report)
  if len(names) > _MAX_STRUCTURES:
    report.wrong(f'more than {_MAX_STRUCTURES} structures', str(len(names)),
                 'choose some: --classes=background,...')
    names = names[:_MAX_STRUCTURES]
    groups = {key: [m for m in masks if m.piece in names]
              for key, masks in groups.items()}
  if len(names) > 1:
    report.note(
        f'one mask file for each of {len(names)} structures '
        f'({_shortened(names)}): united; where two overlap, the later class '
        'wins')
  _tell_lacking(groups, names, report)
  return ({key: masks for key, masks in groups.items() if masks},
          {name: i for i, name in enumerate(names, start=1)}, tuple(names))


def _without_words(masks):
  """Drops pieces such as mask; also cell, if no mask names a structure."""
  are_objects = all(folder_names.is_mask_word(m.piece) for m in masks)
  return [
      m._replace(piece='') if m.is_whole and folder_names.is_mask_word(
          m.piece, or_object=are_objects) else m for m in masks]


def _with_short_pieces(groups):
  """Shortens fold1/heart to heart if a picture's pieces remain different."""
  shorten = lambda piece: piece.rsplit('/', 1)[-1]
  if any(len({shorten(m.piece) for m in masks}) < len(
      {m.piece for m in masks}) for masks in groups.values()):
    return groups
  return {key: [m._replace(piece=shorten(m.piece)) for m in masks]
          for key, masks in groups.items()}


def _tell_lacking(groups, names, report):
  lacking = [key[0] for key, masks in groups.items()
             if masks and {m.piece for m in masks} < set(names)]
  if lacking:
    report.note(
        f'{grammar.counted(len(lacking), "picture", "lack")} the file of a '
        f'structure, such as {pixels.tail(lacking[0])}: what no file shows is '
        'unlabelled; add empty files, or --classes')


def _shortened(names):
  text = ', '.join(names[:5])[:60]
  return text if text == ', '.join(names) else f'{text}, ...'


def _are_structures(pieces, groups):
  """Returns whether pieces name structures, not parts of one structure."""
  pieces = [p for p in pieces if p]
  if not pieces:
    return False
  count = collections.Counter(name for some in pieces for name in some)
  is_whole = any(m.is_whole for masks in groups.values() for m in masks)
  if not is_whole and max(map(len, pieces)) < 2:
    return False
  bases = {re.sub(r'[ _-]?\d+$', '', name) for name in count}
  if len(count) > 1 and len(bases) == 1:
    return False  # Pieces such as polyp_1 and polyp_2 are parts of one mask.
  if set(count) == {'left', 'right'}:
    return True
  if len(pieces) > 1:
    return 2 * sum(n > 1 for n in count.values()) > len(count)
  words = [n for n in count if re.fullmatch(r'[^\W\d_][^\d]+\d{0,2}', n)]
  return 2 * len(words) > len(count)


def _select(names, groups, report):
  """Returns the structures that --classes names, and only their mask files."""
  wanted = list(report.options.classes[1:])
  unknown = [name for name in wanted if name not in names]
  if unknown:
    report.wrong(
        f'--classes names structures without a mask file; there are '
        f'{_shortened(names)}', ', '.join(unknown), 'correct it')
    return names, groups
  left = [m.path for masks in groups.values() for m in masks
          if m.piece not in wanted]
  if left:
    report.note_unread(
        left, 'mask file', 'of structures that --classes does not name')
  return wanted, {key: [m for m in masks if m.piece in wanted]
                  for key, masks in groups.items()}
