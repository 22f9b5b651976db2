"""Pairs pictures (or volumes) with their mask files by names alone.

A mask lies in a folder of masks, or beside its picture with a word at the end
of its name: see `folder_names`. Of one picture there may be several files:
parts that are united (a_mask.png, a_mask_1.png; ID/masks/*.png; left and
right), one file for each structure (segmentations/liver.nii.gz), and masks of
several observers (1st_manual, 2nd_manual), which become rows of their own.
Where folders or endings pair that may mean different things, the user is asked.
"""

import collections
from typing import NamedTuple

from data_prep import formats
from data_prep import pixels
from data_prep.formats import folder_names
from data_prep.formats import parts as parts_lib
from data_prep.formats import sources


class Pairs(NamedTuple):
  """Pictures and their masks.

  Attributes:
    images: paths of the pictures, sorted.
    masks: the masks of a picture by its path.
    structures: class of each structure, if masks have a file for each.
    names: foreground classes by class, if the files name them.
    channels: pictures whose names end in the number of a channel.
  """

  images: list[str]
  masks: dict[str, list[parts_lib.Mask]]
  structures: dict[str, int]
  names: tuple[str, ...]
  channels: frozenset[str]


def pair(
    paths: tuple[str, ...],
    options: formats.Options,
    report,
    *,
    channel_names: tuple[str, ...] = (),
) -> Pairs:
  """Tells pictures from masks and pairs them.

  Args:
    paths: of all files, relative to the source.
    options: what the user says.
    report: gets problems and notices.
    channel_names: of nnU-Net's dataset.json; () if it names none.
  """
  chosen = {m.strip(' _.-').lower() for m in options.mask_folders or ()}
  in_folders, loose = [], []
  for path in paths:
    folders = path.split('/')[:-1]
    (in_folders if any(_holds_masks(f, chosen) for f in folders)
     else loose).append(path)
  beside, images = _beside(loose, report)
  images, channels = _without_channels(
      images, {sources.stem(p).rsplit('/', 1)[-1] for p in in_folders},
      channel_names, report)
  images = _with_suffix(images, options.image_suffix, report)
  index = _Index(images, channels, chosen, options.image_suffix or '')
  found, orphans = collections.defaultdict(list), []
  for path, picture, form in beside:
    owners = [picture] if picture in index.images else index.begin_with(
        path, form.plain)
    if len(owners) == 1:
      found[owners[0]].append(parts_lib.Mask(
          path, options.masks_are, '', form.tag, form.annotator))
    elif len(owners) > 1:
      names = ', '.join(p.rsplit('/', 1)[-1] for p in owners)
      report.wrong(
          f'{len(owners)} pictures have one mask', names,
          'say which is read, by the end of its name: --image_suffix='
          f'{sources.stem(owners[0]).rsplit("/", 1)[-1][len(form.plain):]}',
          file=path)
    else:
      orphans.append(path)
  for path in in_folders:
    picture, mask = index.find(path, options.masks_are)
    if picture is None:
      orphans.append(path)
    else:
      found[picture].append(mask)
  if index.only:
    report.note(f'{len(index.only)} masks belong to the only picture of their '
                f'folder, such as {pixels.tail(index.only[0])}')
  resolved = parts_lib.resolve(dict(found), chosen, options, report)
  _tell_orphans(orphans, chosen, report)
  return Pairs(images, resolved.masks, resolved.structures, resolved.names,
               channels)


def _holds_masks(folder, chosen):
  return folder_names.is_mask_folder(folder) or folder.lower() in chosen


def _tell_orphans(orphans, chosen, report):
  if chosen and orphans:
    kept = [p for p in orphans if chosen & parts_lib.words_of(p)]
    if len(kept) < len(orphans):
      left = min(set(orphans) - set(kept))
      report.note(f'{len(orphans) - len(kept)} masks that are not in '
                  f'--mask_folder are not read, such as {pixels.tail(left)}')
    orphans = kept
  for path in sorted(orphans):
    report.wrong('a mask without a picture', path,
                 'add the picture of that name or remove it', file=path)


def _beside(paths, report):
  """Finds masks that lie beside their pictures, by the words in their names.

  Returns:
    Path, path of the picture or None, and form of each mask; and the pictures.
  """
  by_folder, doubles = collections.defaultdict(dict), set()
  for path in paths:
    folder, _, name = sources.stem(path).rpartition('/')
    known = by_folder[folder].setdefault(name, path)
    if known != path:
      doubles.add(path)
      report.wrong('two files of one name', f'{path}, {known}',
                   'join or remove one', file=path)
  masks, tags, open_ = [], set(), []
  for folder, names in by_folder.items():
    forms = {n: list(folder_names.mask_forms(n)) for n in names}
    plain = [n for n in names if not forms[n]]
    aliases = {}
    for name in names:
      for alias in folder_names.picture_aliases(name):
        aliases.setdefault(alias, name)
    for name, path in names.items():
      found = None
      for form in forms[name]:
        if form.plain in aliases and aliases[form.plain] != name:
          found = names[aliases[form.plain]], form
        elif not form.plain and len(plain) == 1:
          found = names[plain[0]], form
        elif form.plain and form.tag[-1:].isalpha() and any(
            p.startswith((f'{form.plain}_', f'{form.plain}-')) for p in plain):
          found = None, form
        if found:
          break
      # PH2: IMD002_lesion/IMD002_lesion.bmp, whose picture is elsewhere.
      last = folder.rsplit('/', 1)[-1].lower()
      for form in forms[name]:
        if found is None and form.plain and last.endswith(
            f'_{form.tag}') and last.startswith(form.plain.lower()):
          found = None, form
      if found:
        masks.append((path, *found))
        tags.add(found[1].tag)
      elif forms[name]:
        open_.append((path, forms[name][0]))
  known = {path for path, _, _ in masks}
  # The same ending marks masks elsewhere: this one lacks its picture.
  for path, form in open_:
    if form.tag in tags and form.plain:
      masks.append((path, None, form))
      known.add(path)
  pictures = [p for p in paths if p not in known | doubles]
  return masks, pictures


def _without_channels(images, mask_names, channel_names, report):
  """Leaves out nnU-Net's further channels, if there is evidence of them."""
  if len(channel_names) == 1:
    several = False
  else:
    several = None if not channel_names else True
  stems = {sources.stem(p) for p in images}
  first, further = set(), []
  for path in images:
    name = sources.stem(path)
    base, _, number = name.rpartition('_')
    plain = name.rsplit('/', 1)[-1]
    is_nnunet = any(part.lower() in ('imagestr', 'imagests', 'imagesval')
                    for part in path.split('/')[:-1])
    if not (number.isdecimal() and len(number) == 4) or plain in mask_names or (
        not (is_nnunet or several)):
      continue
    if number == '0000':
      first.add(path)
    elif several is not False and f'{base}_0000' in stems and (
        not channel_names or int(number) < len(channel_names)):
      further.append(path)
  if further:
    name = f', {channel_names[0]}' if channel_names else ''
    report.note(
        f'{len(further)} pictures of further channels are not read, such as '
        f'{pixels.tail(further[0])}: only the first (_0000{name}) is')
  gone = set(further)
  return [p for p in images if p not in gone], frozenset(first)


def _with_suffix(images, suffix, report):
  if suffix is None:
    return images
  kept = [p for p in images if sources.stem(p).endswith(suffix)]
  if not kept:
    report.wrong(f'--image_suffix={suffix}: no picture has a name that ends so',
                 images[0] if images else '', 'correct it')
    return images
  if len(kept) < len(images):
    left = min(set(images) - set(kept))
    report.note(f'{len(images) - len(kept)} pictures are not read, such as '
                f'{pixels.tail(left)}: --image_suffix={suffix}')
  return kept


class _Index:
  """Finds the picture of a mask.

  Attributes:
    images: set of all pictures.
    only: masks that were given to the only picture of a folder.
  """

  def __init__(self, images, channels, chosen, suffix):
    self.images = set(images)
    self.only = []
    self._chosen = chosen
    self._by_name = collections.defaultdict(list)
    self._below = collections.defaultdict(list)
    kept = {p: self._kept(p) for p in images}
    shared = 0
    if len(images) > 1:
      for level in zip(*kept.values(), strict=False):
        if len(set(level)) > 1:
          break
        shared += 1
    self._shared = set(next(iter(kept.values()), ())[:shared])
    self._folders = {p: k[shared:] for p, k in kept.items()}
    for path in images:
      name = sources.stem(path).rsplit('/', 1)[-1]
      aliases = folder_names.picture_aliases(name)
      if path in channels:
        aliases.append(name[:-len('_0000')])
      if suffix and name.endswith(suffix):
        aliases.append(name[:-len(suffix)].rstrip('_-'))
      for rank, alias in enumerate(aliases):
        self._by_name[alias].append((rank > 0, path))
      parts = path.split('/')
      for i in range(len(parts)):
        if len(self._below['/'.join(parts[:i])]) < 2:
          self._below['/'.join(parts[:i])].append(path)

  def _kept(self, path):
    return tuple(
        f for f in path.split('/')[:-1]
        if not _holds_masks(f, self._chosen)
        and not folder_names.is_image_folder(f)
        and not folder_names.only_splits(f))

  def begin_with(self, path, plain):
    """Returns pictures of that name, or beside `path` that begin with it."""
    exact = [p for _, p in self._by_name.get(plain, ())]
    if exact:
      near = [p for p in exact if path.split('/')[0] == p.split('/')[0]]
      return near if len(near) == 1 else exact
    folder = path.rpartition('/')[0]
    return sorted(
        p for p in self.images if p.rpartition('/')[0] == folder
        and p.rsplit('/', 1)[-1].startswith((f'{plain}_', f'{plain}-')))

  def find(self, path, masks_are):
    """Returns the picture of a mask in a folder of masks, and the mask."""
    *folders, name = sources.stem(path).split('/')
    places = [f for f in folders if _holds_masks(f, self._chosen)]
    kind = next((sources.KIND_FOLDERS[f.lower()] for f in places
                 if f.lower() in sources.KIND_FOLDERS), masks_are)
    kept = tuple(f for f in self._kept(path) if f not in self._shared)
    place = '/'.join(places)
    annotator = folder_names.observer_of(places[-1])
    split = sources.split_of(path)
    forms = [folder_names.Form(name), *folder_names.mask_forms(name)]
    for form in forms:
      picture = self._best(form.plain, kept, split, folders)
      if picture:
        return picture, parts_lib.Mask(
            path, kind, place, form.tag, form.annotator or annotator,
            self._inner(kept, picture))
    for end in range(len(name) - 1, 0, -1):
      if name[end] not in ' _.-':
        continue
      picture = self._best(name[:end], kept, split, folders)
      rest = name[end + 1:]
      # a_2 may be a picture of its own that is missing, beside a_1.
      if picture and not (rest.isdecimal() and any(
          n.rpartition(name[end])[0] == name[:end]
          and n.rpartition(name[end])[2].isdecimal() for n in self._by_name)):
        return picture, parts_lib.Mask(
            path, kind, place, '', annotator,
            self._inner(kept, picture) or (
                '' if rest.isdecimal() else rest))
    # masks/a/liver.png of images/a.png.
    if kept:
      picture = self._best(kept[-1], kept[:-1], split, folders)
      if picture:
        return picture, parts_lib.Mask(
            path, kind, place, '', annotator, name, True)
    level = next(i for i, f in enumerate(folders)
                 if _holds_masks(f, self._chosen))
    below = self._below['/'.join(folders[:level])]
    owner = folders[level - 1] if level else ''
    if len(below) == 1 and (
        '/' not in below[0] if not level
        else not folder_names.only_splits(owner)):
      self.only.append(path)
      return below[0], parts_lib.Mask(
          path, kind, place, '', annotator, name, True)
    return None, None

  def _inner(self, kept, picture):
    return '/'.join(f for f in kept if f not in self._folders[picture])

  def _best(self, name, kept, split, folders):
    """Returns the one picture of a name that the folders allow, or None."""
    scores = []
    for is_alias, path in self._by_name.get(name, ()):
      other, known = self._folders[path], sources.split_of(path)
      if (split and known and split != known) or not (
          _is_within(kept, other) or _is_within(other, kept)):
        continue
      common = {w for f in folders for w in folder_names.words(f)} & {
          w for f in path.split('/')[:-1] for w in folder_names.words(f)}
      scores.append(
          ((kept == other, not is_alias, split == known, len(common)), path))
    best = max((s for s, _ in scores), default=None)
    found = sorted({p for s, p in scores if s == best})
    return found[0] if len(found) == 1 else None


def _is_within(some, others):
  """Returns whether folders are among others, in that order."""
  rest = iter(others)
  return all(f in rest for f in some)
