"""Unites the mask files of a picture in one label map and one annotation."""

import collections
from typing import Any

from hybridseg import types
import numpy as np

from data_prep.drawing import annotation_kinds
from data_prep.drawing import rasterize
from data_prep.formats import intensities
from data_prep.formats import parts as parts_lib
from data_prep.shared import grammar
from data_prep.shared import pixels

# Masks of parts hardly overlap, while those of observers have a larger
# intersection over union than this.
_ALIKE = 0.5
_MAX_OBSERVERS = 8  # More mask files of a picture cannot be observers' masks.


class Uniter:
  """Unites mask files and makes annotations; records decisions for `tell`."""

  def __init__(
      self,
      structures: dict[str, int],
      writer: intensities.Writer,
      *,
      nouns: tuple[str, str] = ('pixel', 'picture'),
      is_ordered: bool = False,
  ):
    """Creates a uniter that has recorded no decisions yet.

    Args:
      structures: maps the name of each structure to its class; {} if the mask
        files hold classes.
      writer: writes the label maps.
      nouns: the words for a pixel and a picture (or volume) in messages.
      is_ordered: whether the user names the structures, and thus their order.
        Where structures overlap, the last one named lies on top.
    """
    self._structures = structures
    self._is_doubtful = len(set(structures.values())) > 1 and not is_ordered
    self._structured = []
    self._writer = writer
    self._nouns = nouns
    self._weakened = []
    self._overlaps = []
    self._several = []

  def unite(
      self, labels: list[np.ndarray], masks: list[parts_lib.Mask], name: str
  ) -> np.ndarray:
    """Unites a picture's or volume's mask files of one kind in a label map.

    A structure takes every pixel of its file that is not 0. Where two
    structures overlap, the one with the larger class number wins. If the files
    hold classes, the later file wins. If the file of a structure is missing,
    pixels that are 0 in all other files become unlabelled.

    Args:
      labels: class per pixel of each file, uint8, all of one shape.
      masks: the mask files, in the same order.
      name: name of the picture or volume, for messages.

    Raises:
      pixels.WrongFile: if a file of one structure holds several values.
    """
    if len(labels) == 1 and not self._structures:
      return labels[0]
    if not self._structures:
      self._several.append((_likeness(labels), masks))
    label, overlap = _unite(labels, masks, self._structures)
    if overlap:
      self._overlaps.append((overlap, name))
    if self._is_doubtful:
      drawn = {m.piece for x, m in zip(labels, masks, strict=True) if x.any()}
      shown = set(np.flatnonzero(np.bincount(label.ravel('K'))).tolist())
      self._structured.append((
          _likeness(labels) if overlap and len(labels) <= _MAX_OBSERVERS
          else 0.0, drawn, {
              piece for piece in drawn if self._structures[piece] not in shown},
          masks[0].path))
    return label

  def add_overlap(self, overlap: int, name: str) -> None:
    """Records that classes overlap in so many voxels of a volume."""
    self._overlaps.append((overlap, name))

  def kind_of(self, label: np.ndarray, kind: str, row_id: str) -> str | None:
    """Returns a label map's `unlabelled_kind`, and records if it differs."""
    found = unlabelled_kind(label, kind)
    if found != kind:
      self._weakened.append((found, row_id))
    return found

  def annotation(
      self, label: np.ndarray, kind: str, row_id: str
  ) -> dict[str, Any] | None:
    """Writes a label map and returns its annotation.

    The result is None, and nothing is written, if all pixels are unlabelled.
    """
    found = self.kind_of(label, kind, row_id)
    if found is None:
      return None
    annotation = {
        'kind': found,
        'path': self._writer.write_png(label, f'{kind}s/{row_id}')}
    if (label == types.UNLABELLED).any():
      annotation['values'] = {str(v): v for v in np.unique(label).tolist()}
    return annotation

  def tell(self, report) -> None:
    """Reports recorded decisions as notices, and unclear cases as problems."""
    self._ask_of_observers(report)
    self._ask_of_structures(report)
    if self._overlaps:
      total = sum(number for number, _ in self._overlaps)
      report.note(
          f'two classes overlap in {grammar.counted(total, self._nouns[0])} of '
          f'{grammar.counted(len(self._overlaps), self._nouns[1])}, such as '
          f'{pixels.tail(self._overlaps[0][1])}: the later one wins')
    for kind, share in (('coarse_mask', 'over a tenth'),
                        ('scribble', 'over half'), (None, 'all')):
      found = [row_id for k, row_id in self._weakened if k == kind]
      if found:
        report.note(
            f'{share} of the pixels are unlabelled in '
            f'{grammar.counted(len(found), "mask")}, such as '
            f'{pixels.tail(found[0])}: ' + (
                f'weak, as {kind}' if kind else 'read as unlabelled'))


  def _ask_of_observers(self, report):
    """Reports a problem if the mask files of most pictures are nearly the same.

    They may be masks of several observers, or copies. If at most half of the
    pictures have such files, a notice reports them instead.
    """
    alike = [masks for likeness, masks in self._several if likeness > _ALIKE]
    if 2 * len(alike) <= len(self._several):
      if alike:
        report.note(f'{grammar.counted(len(alike), self._nouns[1], "have")} '
                    'mask files that are nearly the same, such as '
                    f'{pixels.tail(alike[0][0].path)}')
      return
    word = parts_lib.word_of_one(alike)
    report.wrong(
        f'mask files of {grammar.counted(len(alike), self._nouns[1])} are '
        'nearly the same: of several observers, or copies?', '',
        (f'read one, --mask_folder={word[:30]}' if word else 'keep one of each')
        + ', or rename them, rater1, rater2, ...: a row for each',
        file=alike[0][0].path)

  def _ask_of_structures(self, report):
    """Reports a problem if structures are nearly the same or hide one another.

    By default, the structures later in alphabetical order lie on top. Then disc
    would hide all of cup, which lies within it, so the user has to name the
    order. Files that are nearly the same do not show structures: anna.png and
    bob.png, for example, are masks of two observers.
    """
    alike = [path for likeness, _, _, path in self._structured
             if likeness > _ALIKE]
    drawn, hidden = collections.Counter(), collections.Counter()
    for _, some, below, _ in self._structured:
      drawn.update(some)
      hidden.update(below)
    covered = {n for n, number in hidden.items() if 2 * number > drawn[n]}
    order = sorted(self._structures, key=lambda n: (n in covered, n))
    listed = ','.join(order)
    flag = '--classes=background,' + (
        listed if len(listed) <= 50 else f'{listed[:50]}...')
    if 2 * len(alike) > len(self._structured):
      report.wrong(
          f'masks of {", ".join(sorted(order))[:30]} are nearly the same: of '
          'several observers?', '', f'rename them, rater1, rater2, ...; or, if '
          f'they are structures, {flag}', file=alike[0])
    elif covered:
      report.wrong(
          f'other structures cover all of {", ".join(sorted(covered))[:30]}',
          '', f'say which lies on top, the last: {flag}', file=next(
              path for _, _, below, path in self._structured
              if covered & below))


def _likeness(labels):
  """Returns how alike the foregrounds of label maps are, in [0, 1].

  It is (sum of areas / area of the union - 1) / (number of maps - 1). For two
  maps this equals their intersection over union. For more maps it is 1 if all
  are the same, 0 if none overlap, and fast to compute for hundreds of parts.

  Args:
    labels: at least two label maps of one shape.
  """
  shown = np.zeros(labels[0].shape, np.int32)
  for label in labels:
    shown += (label != 0) & (label != types.UNLABELLED)
  union = np.count_nonzero(shown)
  return (int(shown.sum()) / union - 1) / (len(labels) - 1) if union else 0.0


def strong_and_weak(
    annotations: list[dict[str, Any] | None],
) -> tuple[dict[str, Any] | None, dict[str, Any] | None]:
  """Returns the most exact annotation of an image, and its weak annotation.

  The second result is the next most exact annotation if the first one is an
  exact mask, and otherwise None. Both are None if there are no annotations.
  """
  ordered = sorted(
      filter(None, annotations),
      key=lambda a: annotation_kinds.FILES.index(a['kind']))
  first, second = [*ordered, None, None][:2]
  return first, second if first and first['kind'] == 'mask' else None


def _unite(labels, masks, structures):
  """Returns the label map, and the number of pixels where classes overlap."""
  if structures:
    order = np.argsort([structures[m.piece] for m in masks], kind='stable')
    labels = [_one_class(labels[i], masks[i], structures) for i in order]
  result, overlap = np.zeros_like(labels[0]), 0
  for label in labels:
    drawn = label != 0
    is_class = drawn & (label != types.UNLABELLED)
    known = (result != 0) & (result != types.UNLABELLED)
    overlap += int((is_class & known & (result != label)).sum())
    result[drawn & ~known] = label[drawn & ~known]
    result[is_class] = label[is_class]
  if structures and {m.piece for m in masks} < set(structures):
    result[result == 0] = types.UNLABELLED
  return result, overlap


def _one_class(label, mask, structures):
  values = np.unique(label[label != 0])
  if len(values) > 1:
    raise pixels.WrongFile(
        f'the mask of one structure, {mask.piece[:30]!r}, holds several values',
        f'{pixels.tail(mask.path)}: {values[:4].tolist()}',
        'save 0 and 1, or --mask_threshold')
  return np.where(label != 0, structures[mask.piece], 0).astype(np.uint8)


def unlabelled_kind(label: np.ndarray, kind: str) -> str | None:
  """Returns the kind of annotation that a mask with unlabelled pixels becomes.

  A mask stays exact within the limit of `rasterize.is_exact`. With more
  unlabelled pixels it becomes a coarse mask, and if more than half of the
  pixels are unlabelled, a scribble. Coarse masks and scribbles keep their kind.

  Args:
    label: class per pixel, uint8.
    kind: kind of the mask so far.

  Returns:
    The kind; None if all pixels are unlabelled.
  """
  share = float(np.mean(label == types.UNLABELLED))
  if share == 1:
    return None
  if kind != 'mask' or rasterize.is_exact(label):
    return kind
  return 'scribble' if share > 0.5 else 'coarse_mask'
