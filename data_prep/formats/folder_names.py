"""Interprets names of folders and files: pictures, masks, splits, observers.

Names are split into words: leftMask becomes left, mask; ISIC_Training_Input
becomes isic, training, input; and imagesTr becomes images, tr.
"""

from collections.abc import Iterator
import functools
import re
from typing import NamedTuple

_IMAGE_WORDS = frozenset((
    'image', 'images', 'img', 'imgs', 'jpegimages', 'frames', 'original',
    'originals', 'input', 'inputs', 'imaging', 'photos', 'pictures', 'scans',
    'imagestr', 'imagests', 'imagesval', 'imagesva'))
_MASK_WORDS = frozenset((
    'mask', 'masks', 'label', 'labels', 'gt', 'gts', 'groundtruth',
    'groundtruths', 'truth', 'truths', 'segmentation', 'segmentations',
    'segs', 'annotation', 'annotations', 'anno', 'annos', 'manual', 'manuals',
    'labelmap', 'labelmaps', 'delineations', 'labelstr', 'labelsts',
    'labelsval', 'labelsva'))
# A folder holds masks if its name has one of these words at any place, as in
# HAM10000_segmentations_lesion_tschandl.
_PLURAL_WORDS = frozenset(
    ('masks', 'segmentations', 'annotations', 'groundtruths', 'labelmaps'))
# A folder whose name has up to three words holds masks if the first of them is
# one of these, as in labels-ah.
_FIRST_WORDS = _MASK_WORDS - {
    'mask', 'label', 'truth', 'segmentation', 'annotation', 'manual'}
# In names of folders, these words may follow the word that names the content,
# as in masks_png and imagesTr.
_TRAILING = frozenset((
    'tr', 'ts', 'val', 'va', 'set', 'png', 'jpg', 'jpeg', 'tif', 'tiff', 'bmp',
    'npy', 'gif', 'nii', 'data', 'dataset', 'class'))
# Next to the name of a split, these words do not name a subject or a case, as
# in Training Batch 1.
_NEUTRAL = _IMAGE_WORDS | _MASK_WORDS | _TRAILING | frozenset((
    'sets', 'datasets', 'batch', 'part', 'phase', 'task', 'stage', 'split',
    'splits', 'subset', 'full', 'all', 'release', 'cases', 'patients', 'ground',
    'volumes', 'slices', 'files'))
_SPLIT_WORD = re.compile(
    r'(?:(train|training|tr)|(val|valid|validation)|(test|testing|ts))'
    r'(?:sets?|data(?:sets?)?|images?|imgs?|masks?|labels?)?')
_SPLITS = ('train', 'val', 'test')
# Folders with these words sort pictures by what they show, not by patients.
_FINDINGS = frozenset((
    'benign', 'malignant', 'normal', 'abnormal', 'healthy', 'diseased',
    'positive', 'negative', 'pathological', 'infected', 'uninfected'))
# In the name of a mask, each of these words means one object of many (cell_1).
# If other masks of the image are named after structures, such a word names a
# structure as well (cell next to cytoplasm).
_OBJECTS = frozenset((
    'object', 'obj', 'instance', 'nucleus', 'nuclei', 'cell', 'lesion', 'roi'))
_IMAGE_NAMES = frozenset((
    'image', 'img', 'ct', 'mr', 'mri', 'scan', 'volume', 'imaging', 'photo',
    'orig', 'original', 'picture', 'us'))
_MODALITIES = frozenset((
    't1', 't2', 't1w', 't2w', 't1ce', 't1c', 't1gd', 'flair', 'pd', 'dwi',
    'adc', 'pet', 'dce', 'swi', 'bold', 'depth'))
_SIDES = {'left': 'left', 'right': 'right', 'l': 'left', 'r': 'right'}

_TAG_WORDS = (
    r'(?:masks?|segs?|segmentations?|labels?|gts?|ground[ _-]?truths?|'
    r'scribbles?|annotations?|annos?|lesions?|manual|contours?)')
_OBSERVER_WORDS = (
    r'(?:manual|observer|obs|expert|rater|annotator|reader|grader|reviewer|'
    r'radiologist|physician|doctor|ho)')
_OBSERVER = (
    rf'(?:(?:1st|2nd|3rd|\dth)[ _-]?{_OBSERVER_WORDS}|'
    rf'{_OBSERVER_WORDS}[ _-]?(?:\d{{1,2}}|[a-d]))')
_IS_OBSERVER = re.compile(
    rf'(?:.*[ _-])?({_OBSERVER})|labels?-([a-z]{{2}})', re.I)
_SUFFIX_TAG = re.compile(
    rf'(?:^|[ _.-])(?:({_OBSERVER})|({_TAG_WORDS})(?:[ _-]?\d+|[ _-]?\(\d+\))?)'
    rf'$|\.(ah|vk)$', re.I)
_PREFIX_TAG = re.compile(rf'^({_TAG_WORDS})(?:[ _.-]|(?=\d))', re.I)
_IMAGE_AFFIX = re.compile(
    r'(?:^|[ _-])(?:image|img|imaging)$|^(?:image|img|im|volume|vol|scan)'
    r'(?:[ _-]|(?=\d))', re.I)
_SPLIT_SUFFIX = re.compile(r'[ _-](?:train|training|val|valid|test)$', re.I)


class Form(NamedTuple):
  """One way to divide the name of a mask, such as a_mask into a and mask.

  Attributes:
    plain: the name without the words that mark a mask, which is the name of the
      picture; '' if nothing remains.
    tag: the word that was removed, in lower case, such as mask.
    annotator: the observer that the name contains, or ''.
  """

  plain: str
  tag: str = ''
  annotator: str = ''


@functools.cache
def words(name: str) -> tuple[str, ...]:
  """Returns the words and numbers in a name, in lower case."""
  name = re.sub('(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])', ' ', name)
  return tuple(re.findall(r'\d+|[^\W\d_]+', name.lower()))


def cuts(name: str, marks: str = ' _.-') -> list[tuple[str, str]]:
  """Returns the parts before and after each mark in a name, shortest first."""
  return [(name[:i], name[i + 1:]) for i, c in enumerate(name) if c in marks]


def _what(name):
  """Returns the words of a folder's name up to the word for its content.

  It drops the words after that one, such as png in masks_png.
  """
  found = words(name)
  while len(found) > 1 and (
      found[-1] in _TRAILING or _SPLIT_WORD.fullmatch(found[-1])
      or found[-1] in ('part', 'batch')
      or found[-2] in ('part', 'batch') and found[-1].isdecimal()):
    found = found[:-1]
  return found


@functools.cache
def is_mask_folder(name: str) -> bool:
  """Returns whether a folder of this name holds masks."""
  found = _what(name)
  while len(found) > 1 and found[-1].isdecimal():
    found = found[:-1]
  if not found or {'with', 'and'} & set(found):
    return False  # BUSI_with_GT holds both pictures and masks.
  joined = re.fullmatch(r'(?:train|training|val|test)(\w+)', found[-1])
  last = joined[1] if joined else found[-1]
  if last in _IMAGE_WORDS:
    return len(found) > 1 and found[-2] in ('mask', 'label', 'gt', 'truth')
  if found == ('ground',) or _PLURAL_WORDS & set(found) and not (
      _IMAGE_WORDS & set(found)):
    return True
  return last in _MASK_WORDS or last in ('scribble', 'scribbles') or (
      found[0] in _FIRST_WORDS and len(found) <= 3) or (
          found[0] in ('mask', 'label') and len(found) == 2
          and found[1] in _SIDES)


@functools.cache
def is_image_folder(name: str) -> bool:
  """Returns whether a folder of this name, such as images, holds pictures."""
  if re.fullmatch('default|obj_(?:train|valid|test)_data', name.lower()):
    return True
  found = _what(name)
  joined = re.fullmatch(
      r'(?:train|training|val|test)(\w+)', found[-1]) if found else None
  return bool(found) and not is_mask_folder(name) and (
      joined[1] if joined else found[-1]) in _IMAGE_WORDS


@functools.cache
def split_word(name: str) -> str:
  """Returns the split that a folder's name contains, or ''.

  Training_Data means train, and TestSet means test.
  """
  found = words(name)
  splits = set()
  for i, word in enumerate(found):
    match = _SPLIT_WORD.fullmatch(word)
    # In nnU-Net, imagesTs is the test set, but imagesTr is not split yet.
    if word in ('tr', 'ts', 'va') and (not i or found[i - 1] not in (
        'images', 'labels')):
      continue
    if match and word != 'tr':
      splits.add(next(s for s, m in zip(
          _SPLITS, match.groups(), strict=True) if m))
    elif word in ('imagests', 'labelsts'):
      splits.add('test')
    elif word in ('va', 'imagesva', 'labelsva'):
      splits.add('val')
  return splits.pop() if len(splits) == 1 else ''


@functools.cache
def only_splits(name: str) -> bool:
  """Returns whether a folder's name names a split and nothing else.

  The result is True for TrainDataset and 'a. Training Set', but False for
  BraTS20_Training_001, which also names a case.
  """
  if not split_word(name):
    return False
  rest = [w for w in words(name) if not _SPLIT_WORD.fullmatch(w)]
  if not rest:
    return True
  if all(w.isdecimal() for w in rest):
    return False  # A folder such as train_07 may hold a case.
  return rest[-1] in _NEUTRAL or all(
      w in _NEUTRAL or w.isdecimal() or len(w) == 1 for w in rest)


def is_finding(name: str) -> bool:
  """Returns whether a folder is named after a finding, such as benign."""
  return any(word in _FINDINGS for word in words(name))


def side_of(name: str) -> tuple[str, tuple[str, ...]]:
  """Returns the side in a name (left, right or ''), and its other words."""
  found = words(name)
  sides = [_SIDES[w] for w in found if w in _SIDES]
  return (sides[0] if len(sides) == 1 else ''), tuple(
      w for w in found if w not in _SIDES)


def observer_of(name: str) -> str:
  """Returns the observer at the end of a folder's or a file's name, or ''."""
  found = _IS_OBSERVER.fullmatch(name)
  return (found[1] or found[2]) if found else ''


def is_mask_word(name: str, *, or_object: bool = True) -> bool:
  """Returns whether a name holds only numbers and words that mean mask.

  Args:
    name: name of a file or folder.
    or_object: whether words for objects in general, such as cell, count, too.
  """
  return all(
      w in _MASK_WORDS or w.isdecimal() or w in ('seg', 'ground')
      or or_object and w in _OBJECTS for w in words(name))


def is_named_as_mask(name: str) -> bool:
  """Returns whether a file's name, such as a_mask or seg_1, marks a mask.

  The name lesion_1 does not mark a mask, since a picture may have it, too.
  """
  return any(set(words(form.tag)) <= _MASK_WORDS | {
      'seg', 'ground', 'scribble', 'scribbles'}
             for form in mask_forms(name) if form.tag)


def is_image_name(name: str) -> bool:
  """Returns whether a file's name, such as image or ct, means a picture."""
  return name.lower() in _IMAGE_NAMES


def is_modality(name: str) -> bool:
  """Returns whether a name, such as t1, means a modality or a picture."""
  return is_image_name(name) or name.lower() in _MODALITIES


def kind_of(tag: str, kind: str) -> str:
  """Returns the kind of a mask, which is 'scribble' if its tag says so.

  Args:
    tag: the word that marks the mask, see `Form`.
    kind: the kind of masks without such a tag. Only the kind 'mask' can change.
  """
  return 'scribble' if kind == 'mask' and tag.startswith('scribble') else kind


def mask_forms(name: str) -> Iterator[Form]:
  """Yields the ways to read a name as that of a mask, see `Form`.

  For instance, a_mask_1, a_1stHO and mask_a can be masks of a picture a.
  """
  plain, tag, annotator = name, '', ''
  prefix = _PREFIX_TAG.match(name)
  if prefix and prefix.end() < len(name):
    yield Form(name[prefix.end():], prefix[1].lower())
  while plain and (found := _SUFFIX_TAG.search(plain)):
    plain = plain[: found.start()]
    annotator = annotator or found[1] or found[3] or ''
    tag = tag or (found[1] or found[2] or found[3]).lower()
    yield Form(plain, tag, annotator)


def picture_aliases(name: str) -> list[str]:
  """Returns a picture's name, and short forms after which masks may be named.

  The mask of a_image or img_a may be named after a.
  """
  result = [name]
  for pattern in (_IMAGE_AFFIX, _SPLIT_SUFFIX):
    plain = pattern.sub('', name)
    if plain != name:
      result.append(plain)
  return result
