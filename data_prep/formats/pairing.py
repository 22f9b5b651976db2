"""Pairs pictures (or volumes) with their mask files by names.

A mask lies in a folder of masks, or beside its picture with a word such as mask
in its name, see `folder_names`. A picture may have several mask files: parts
that are united (a_mask.png, a_mask_1.png; ID/masks/*.png; left and right), one
file for each structure (segmentations/liver.nii.gz), or masks of several
observers (1st_manual, 2nd_manual), so that each observer gets a row. Masks of a
picture in several folders or with several endings may mean different things. In
that case, folders and endings whose files each hold a single value are left
out. If several remain, the user is asked. The content of files is not used for
anything else.
"""

import collections
from collections.abc import Callable
import re
from typing import NamedTuple

from data_prep.formats import folder_names
from data_prep.formats import parts as parts_lib
from data_prep.formats import picture_index
from data_prep.formats import siblings
from data_prep.formats import sources
from data_prep.shared import grammar
from data_prep.shared import pixels


class Pairs(NamedTuple):
  """Pictures and their masks.

  Attributes:
    images: paths of the pictures, sorted.
    masks: maps the path of each picture to its masks.
    structures: maps the name of each structure to its class, if each structure
      has a mask file of its own; otherwise {}.
    names: foreground classes in order, if the mask files name them.
    channels: paths of pictures whose names end in the number of a channel.
  """

  images: list[str]
  masks: dict[str, list[parts_lib.Mask]]
  structures: dict[str, int]
  names: tuple[str, ...]
  channels: frozenset[str]


def pair(
    paths: tuple[str, ...],
    report,
    *,
    channel_names: tuple[str, ...] = (),
    is_blank: Callable[[str], bool] = lambda path: False,
    known_masks: frozenset[str] = frozenset(),
) -> Pairs:
  """Distinguishes pictures from masks and pairs them.

  Args:
    paths: paths of all files, relative to the source.
    report: holds the user's options; receives problems and notices.
    channel_names: channels in nnU-Net's dataset.json; () if it names none.
    is_blank: function that takes a path and returns whether all pixels of the
      file are equal. It is called only if the user would otherwise be asked.
    known_masks: paths of files that are masks by their content, whatever their
      names.
  """
  options = report.options
  chosen = {m.strip(' _.-').lower() for m in options.mask_folders or ()}
  places = picture_index.Places(
      frozenset(chosen), sources.outer_folders(paths))
  in_folders = [p for p in paths if any(
      places.hold_masks(f) for f in p.split('/')[:-1])]
  within = set(in_folders)
  beside, images = siblings.find(
      [p for p in paths if p not in within], chosen, report)
  images, channels = _without_channels(
      images, {sources.stem(p).rsplit('/', 1)[-1] for p in in_folders},
      channel_names, report)
  images = _with_suffix(
      [p for p in images if p not in known_masks], options.image_suffix, report)
  index = picture_index.Index(
      images, channels, places, options.image_suffix or '')
  found, orphans, shared = collections.defaultdict(list), [], []
  siblings.give_to_only_picture(
      known_masks, within, beside, images, found, orphans, options.masks_are)
  for path, picture, form in beside:
    owners = [picture] if picture in index.images else index.begin_with(
        path, form.plain)
    if len(owners) == 1:
      name = sources.stem(path).rsplit('/', 1)[-1]
      name = name[len(form.plain):].lstrip(' _.-')
      found[owners[0]].append(parts_lib.Mask(
          path, folder_names.kind_of(form.tag, options.masks_are), '', form.tag,
          form.annotator, '' if form.tag else name, not form.tag))
    elif len(owners) > 1:
      shared.append((path, owners, form))
    else:
      orphans.append(path)
  _tell_shared(shared, report)
  for path in in_folders:
    picture, mask = index.find(path, options.masks_are)
    if picture is None:
      orphans.append(path)
    else:
      found[picture].append(mask)
  if index.only:
    report.note(f'{grammar.counted(len(index.only), "mask", "belong")} to the '
                'only picture of the same folder, such as '
                f'{pixels.tail(index.only[0])}')
  orphans = _adopt(orphans, index, options.masks_are, found)
  images = _without_same_names(images, index, found, chosen, report)
  images = _without_structures(images, found, chosen, report)
  resolved = parts_lib.resolve(dict(found), chosen, report, is_blank=is_blank)
  _tell_orphans(orphans, chosen, report)
  images = _without_companions(images, resolved.masks, report)
  if not found and not orphans:
    _tell_masks_alone(images, report)
    _ask_of_endings(images, report)
  return Pairs(images, resolved.masks, resolved.structures, resolved.names,
               channels)


def _tell_shared(shared, report):
  """Reports a problem if several pictures match one mask.

  Args:
    shared: path, possible pictures and form of the name of each such mask.
    report: receives the problem.
  """
  if shared:
    path, owners, form = shared[0]
    ends = [sources.stem(p).rsplit('/', 1)[-1][len(form.plain):]
            for p in owners]
    report.wrong(
        f'several pictures pair with one mask (such masks: {len(shared)})',
        ', '.join(ends), 'say which are read, by the end of their names: '
        f'--image_suffix={ends[0]}', file=path)


def _adopt(orphans, index, masks_are, found):
  """Pairs masks whose names begin with the name of a picture.

  IMD002_R1_Label4 next to IMD002_lesion is another mask of IMD002, and the user
  will be asked which of the two is meant. a_left_mask is one of several masks
  of the picture a; so is a_core_mask if other pictures have a core mask, too.
  Adds such masks to `found`. Returns the paths of masks that have no picture.
  """
  candidates, rest, adopted = [], [], []
  for path in orphans:
    name = sources.stem(path).rsplit('/', 1)[-1]
    owners = index.longest(name)
    form = next((f for f in folder_names.mask_forms(name) if f.plain), None)
    if len(owners) == 1 and form:
      start = len(sources.stem(owners[0]).rsplit('/', 1)[-1])
      candidates.append((path, owners[0], form, form.plain[start + 1:]))
    else:
      rest.append(path)
  count = collections.Counter(
      piece for piece, _ in {(c[3], c[1]) for c in candidates})
  for path, picture, form, piece in candidates:
    tags = {m.tag for m in found.get(picture, ())}
    mask = parts_lib.Mask(
        path, folder_names.kind_of(form.tag, masks_are), '', form.tag,
        form.annotator)
    if tags and form.tag not in tags:
      adopted.append((picture, mask))
    elif not tags and (count[piece] > 1 or folder_names.side_of(piece)[0]):
      adopted.append((picture, mask._replace(piece=piece)))
    else:
      rest.append(path)
  for picture, mask in adopted:
    found[picture].append(mask)
  return rest


def _without_same_names(images, index, found, chosen, report):
  """Reports folders, such as contours, whose files are named as in images/.

  Such a folder may hold masks, so a problem asks the user. Its files may also
  have a common ending after these names, as in fov/a_fov.png. If the user has
  named the folder of the masks, such a folder is left out without a problem.
  Returns the remaining pictures.
  """
  by_folder, refuted = collections.defaultdict(list), set()
  for path in sorted(index.images - set(found)):
    folders = path.split('/')[:-1]
    if not index.kept(path) or any(map(folder_names.is_image_folder, folders)):
      continue
    owner, end = _owner_elsewhere(path, index)
    own = [f for f in folders if f not in owner.split('/')[:-1]]
    if owner and own:
      by_folder[own[0]].append((path, owner, end))
    else:
      refuted.update(folders)
  gone = set()
  for name, some in sorted(by_folder.items()):
    paths, owners, ends = zip(*some, strict=True)
    end = ends[0]
    if name in refuted or len(set(ends)) > 1 or end and (
        len(paths) < 2 or not any(map(str.isalpha, end))):
      continue
    number = len(paths)
    if chosen:
      gone.update(paths)
      report.note_unread(
          paths, 'picture', 'named as others, and not in --mask_folder')
      continue
    usual = min((parts_lib.label_of(m) for o in owners
                 for m in found.get(o, ())), default='')
    what = f' with {end[:20]} at the end' if end else ''
    report.wrong(
        f'{grammar.counted(number, "picture")} of folder {name[:30]!r} '
        f'{grammar.verb(number, "have")} the names of others{what}: does it '
        'hold masks?', '',
        f'say which are meant, --mask_folder={usual} or --mask_folder={name}'
        if usual else 'name the folder of the masks, '
        f'--mask_folder={name}, or move them away', file=paths[0])
  return [p for p in images if p not in gone]


def _owner_elsewhere(path, index):
  """Finds the picture in images/ after which the file `path` is named.

  Returns:
    The path of that picture, or '' if there is none; and the rest of the name
    of `path`, which is '' if both files have the same name.
  """
  name = sources.stem(path).rsplit('/', 1)[-1]
  for other in index.of_name(path) or index.longest(name):
    if any(map(folder_names.is_image_folder, other.split('/')[:-1])):
      start = sources.stem(other).rsplit('/', 1)[-1]
      return other, next((
          name[len(alias):] for alias in folder_names.picture_aliases(start)
          if name.startswith(alias)), name)
  return '', ''


def _without_structures(images, found, chosen, report):
  """Reports files such as liver.png next to the image.png of a case.

  They may be masks of structures, so a problem asks the user. If the user has
  chosen the masks by name, the other files are left out without a problem.
  Returns the remaining pictures.
  """
  by_folder = collections.defaultdict(dict)
  for path in images:
    folder, _, name = sources.stem(path).rpartition('/')
    by_folder[folder][name] = path
  beside, left = collections.defaultdict(list), []
  for names in by_folder.values():
    whole = [n for n in names if folder_names.is_image_name(n)]
    others = [n for n in names if not folder_names.is_modality(n)]
    masks = found.get(names[whole[0]], ()) if len(whole) == 1 else None
    if masks == ():
      for name in others:
        beside[name].append(names[name])
    elif chosen and masks and all(m.is_whole and not m.place for m in masks):
      left += [names[name] for name in others]
  if left:
    report.note_unread(left, 'file', 'beside a picture of the case, and not in '
                       '--mask_folder')
  names = sorted(n for n, paths in beside.items() if len(paths) > 1)
  if names:
    report.wrong(
        f'{sum(len(beside[n]) for n in names)} files lie beside a picture of '
        'their case: are they masks of structures?', ', '.join(names),
        f'say so, --mask_folder={",".join(names)[:60]}, or move them away',
        file=min(path for n in names for path in beside[n]))
  gone = set(left)
  return [p for p in images if p not in gone]


def _without_companions(images, masks, report):
  """Leaves out files that accompany most pictures and have no mask themselves.

  They have the name of a picture and a common ending: in ISIC's data sets,
  a_superpixels.png next to a.jpg is not another picture.
  """
  known = {sources.stem(p) for p in masks}
  by_end = collections.defaultdict(list)
  for path in images:
    name = sources.stem(path)
    ends = [name[len(before):] for before, _ in folder_names.cuts(name)
            if before in known]
    if path not in masks and ends:
      by_end[ends[-1]].append(path)
  gone = set()
  for end, paths in sorted(by_end.items()):
    if any(map(str.isalpha, end)) and 1 < len(paths) >= len(known) / 2:
      gone.update(paths)
      report.note(f'{len(paths)} pictures named as others with {end[:40]} at '
                  'the end, and without mask, are not read, such as '
                  f'{pixels.tail(paths[0])}')
  return [p for p in images if p not in gone]


def _tell_orphans(orphans, chosen, report):
  if chosen and orphans:
    kept = [p for p in orphans if chosen & parts_lib.words_of(p)]
    if len(kept) < len(orphans):
      report.note_unread(
          set(orphans) - set(kept), 'mask', 'not in --mask_folder')
    orphans = kept
  for path in sorted(orphans):
    report.wrong('a mask without a picture', path,
                 'add the picture of that name or remove it', file=path)


def _tell_masks_alone(images, report):
  """Refuses a source if most files are named as masks and have no picture."""
  alone = [p for p in images if folder_names.is_named_as_mask(
      sources.stem(p).rsplit('/', 1)[-1])]
  if 2 * len(alone) > len(images):
    report.wrong(
        f'{len(alone)} of {grammar.counted(len(images), "file")} '
        f'{grammar.verb(len(alone), "are")} named as masks, and no picture is '
        'named as one of them', pixels.tail(alone[0]),
        'add the pictures; if these are pictures, rename them', file=alone[0])


def _ask_of_endings(images, report):
  """Reports files such as a_liver and a_spleen beside a picture a.

  They may be masks, so a problem asks the user. This function is called if no
  other file is a mask.
  """
  stems = {sources.stem(p) for p in images}
  by_end = collections.defaultdict(list)
  for path in images:
    for before, end in folder_names.cuts(sources.stem(path)):
      if before in stems and re.search(r'[^\W\d_]', end):
        by_end[end].append(path)
  ends = sorted(end for end, paths in by_end.items() if len(paths) > 1)
  some = [path for end in ends for path in by_end[end]]
  if some and 2 * len(some) >= len(images):
    report.wrong(
        f'{len(some)} files are named as others with more at the end: are they '
        'masks?', ', '.join(ends)[:30],
        f'say so, --mask_folder={",".join(ends)[:60]}, or move them away',
        file=min(some))


def _without_channels(images, mask_names, channel_names, report):
  """Leaves out the channels of nnU-Net after the first one.

  Returns:
    The remaining pictures, and those of them that are a first channel.
  """
  if len(channel_names) == 1:
    several = False
  else:
    several = None if not channel_names else True
  stems = {sources.stem(p) for p in images}
  first, further = set(), []
  if several is None and any(
      re.search(r'_\d{4}$', sources.stem(p))
      and sources.stem(p).rsplit('/', 1)[-1] in mask_names for p in images):
    # If masks have such numbers, too, the numbers count frames, not channels.
    several = False
  for path in images:
    name = sources.stem(path)
    base, _, number = name.rpartition('_')
    plain = name.rsplit('/', 1)[-1]
    is_nnunet = any(part.lower() in ('imagestr', 'imagests', 'imagesval')
                    for part in path.split('/')[:-1])
    if not (number.isdecimal() and len(number) == 4) or plain in mask_names or (
        not (is_nnunet or several or plain[:-5] in mask_names)):
      continue
    if number == '0000':
      first.add(path)
    elif several is not False and f'{base}_0000' in stems and (
        not channel_names or int(number) < len(channel_names)):
      further.append(path)
  if further:
    name = f', {channel_names[0]}' if channel_names else ''
    report.note(
        f'{grammar.counted(len(further), "picture")} of further channels '
        f'{grammar.verb(len(further), "are")} not read, such as '
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
    report.note_unread(
        set(images) - set(kept), 'picture', f'--image_suffix={suffix}')
  return kept
