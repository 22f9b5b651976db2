"""Writes an HTML page about a set, with counts, shares of classes and pictures.

The page is a single file. It needs neither a network nor scripts, and follows
the reader's preference for dark or light colours.
"""

import collections
from collections.abc import Sequence
import os
import pathlib
import re

from hybridseg import types
import numpy as np

from data_prep import formats
from data_prep import manifest as manifest_lib
from data_prep.checks import check_report
from data_prep.drawing import annotation_kinds
from data_prep.drawing import kept as kept_lib
from data_prep.drawing import rasterize
from data_prep.shared import grammar
from data_prep.shared import html_page
from data_prep.shared import html_plots

_OPACITY = 0.45  # Opacity of the colours that show the classes.
# Largest number of pictures, spread evenly over splits, roles and kinds.
_NUM_PICTURES = 24
_PICTURE_SIDE = 216  # Approximate side of a picture on the page, in pixels.
# Side of the label maps that are drawn from shapes to count their pixels.
_SHARE_SIDE = 64
_MAX_ROWS = 20  # Largest number of rows in a table of names.
_MAX_NAMES = 1000  # Largest number of names that a list shows.
_MAX_SIZES = 8  # If there are more image sizes, histograms are shown.
_MAX_BINS = 24


def write_summary(
    path: str | os.PathLike[str],
    manifest: manifest_lib.Manifest,
    findings: check_report.Findings,
    *,
    image_size: int,
    notices: Sequence[str] = (),
    left_out: Sequence[formats.LeftOut] = (),
    kept: kept_lib.Kept | None = None,
) -> None:
  """Writes the page of a set.

  Args:
    path: path of the HTML file.
    manifest: the set's manifest, without problems.
    findings: result of `check.inspect_manifest` for the manifest.
    image_size: height and width of the records; pictures are shown at that
      resolution.
    notices: lines about decisions, which are shown before the notices of
      `findings`.
    left_out: entries of the parts of the user's data that were left out.
    kept: the pictures that the check has kept; others are read from disk.

  Raises:
    OSError: if a file cannot be read, or the page cannot be written.
  """
  rows, facts = manifest.rows, findings.facts
  header = manifest.header
  subjects = len({row.subject or row.id for row in rows})
  chosen = choose_rows(rows, number=_NUM_PICTURES, seed=0)
  body = [
      f'<h1>{html_page.name(header.name)}</h1>',
      f'<p>{grammar.counted(len(rows), "image")} of '
      f'{grammar.counted(subjects, "subject")}. Classes: '
      f'{html_page.legend(header.classes)}</p>',
      '<h2>Images</h2>', _count_tables(rows),
      '<h2>Classes</h2>', _class_tables(manifest, facts),
      '<h2>Sizes</h2>', _size_plots(rows, facts),
      '<h2>Origin</h2>', _origin_tables(rows),
      '<h2>Notices</h2>', _notices(notices, findings), _unlabelled(rows),
      '<h2>Left out</h2>', _left_out_table(left_out),
      '<h2>Pictures</h2>',
      f'<p class="dim">{grammar.counted(len(chosen), "image")} as the records '
      f'hold them, {image_size} x {image_size}. Paint: annotation. Grey: '
      'unlabelled. Black strokes: background. White line: the truth of a weak '
      'one.</p>',
      '<div class="pictures">',
      *(_figure(rows[i], manifest, image_size, kept) for i in chosen),
      '</div>',
  ]
  html_page.write(path, html_page.page(
      header.name, body, style=html_plots.STYLE))


def choose_rows(
    rows: Sequence[manifest_lib.Row], *, number: int, seed: int
) -> list[int]:
  """Chooses about equally many rows per split, role and kind, at random.

  Returns:
    The indices of at most `number` rows, sorted by split, role and kind.
  """
  groups = collections.defaultdict(list)
  for i in np.random.default_rng(seed).permutation(len(rows)):
    groups[_group(rows[i])].append(int(i))
  ordered = [groups[key][:number] for key in sorted(groups)]
  # Take the first row of each group, then the second row of each, and so on.
  turns = sorted(
      (turn, place, i) for place, group in enumerate(ordered)
      for turn, i in enumerate(group))[:number]
  return [i for _, _, i in sorted(turns, key=lambda t: (t[1], t[0]))]


def draw_overlay(
    row: manifest_lib.Row,
    *,
    root: pathlib.Path,
    image_size: int,
    kept: kept_lib.Kept | None = None,
) -> np.ndarray:
  """Paints an annotation over its image, and the truth of a weak one as a line.

  Args:
    row: a row of a checked manifest.
    root: folder that the paths in the row are relative to.
    image_size: height and width of the records.
    kept: the pictures that the check has kept; others are read from disk.

  Returns:
    The picture, uint8 [S, S, 3]. S is a multiple of `image_size`, unless
    `image_size` is large.
  """
  image, draw = kept_lib.open_row(
      row, root=root, image_size=image_size, kept=kept)
  side = image_size * max(1, round(_PICTURE_SIDE / image_size))
  side = min(side, 2 * _PICTURE_SIDE)
  enlarge = lambda label: rasterize.resize_label(label, size=(side, side))
  # Enlarge by nearest neighbour, so that the pixels of the records are visible.
  image = np.stack([enlarge(c) for c in np.moveaxis(image, -1, 0)], axis=-1)
  image = np.broadcast_to(image, (side, side, 3)).astype(np.float32)
  truth = (row.evaluation or {}).get('truth')
  edges = np.zeros((side, side), bool)
  if truth is not None and row.role != 'strong':
    edges = _edges(enlarge(draw(truth)))
  kind = _kind(row)
  label = np.zeros((side, side), np.uint8)
  if kind not in ('none', 'tag'):
    label = enlarge(draw(row.annotation))
  image = np.where((label == types.UNLABELLED)[..., None],
                   0.75 * image + 25, image)
  known = annotation_kinds.TABLE.get(kind)  # This is None if kind is 'none'.
  if known is not None and known.is_thin:
    # Paint thin shapes opaque, and above the outline, so that they are visible.
    image = _paint(_outline(image, edges), label, opacity=1.0)
    if known.is_sparse:  # Paint strokes and points of the background black.
      image = np.where((label == 0)[..., None], 0, image)
  else:
    image = _outline(_paint(image, label, opacity=_OPACITY), edges)
  return image.clip(0, 255).astype(np.uint8)


def _outline(image, edges):
  """Paints the outline of the truth, bool [S, S], white."""
  return np.where(edges[..., None], 255, image)


def _paint(image, label, *, opacity):
  """Paints the foreground classes of a label map over an image."""
  for value in np.unique(label[(label > 0) & (label != types.UNLABELLED)]):
    image = np.where(
        (label == value)[..., None],
        (1 - opacity) * image + opacity * np.array(html_page.colour(value)),
        image)
  return image


def _edges(label):
  """Returns which pixels differ from their right or lower neighbour."""
  edges = np.zeros(label.shape, bool)
  edges[:, :-1] |= label[:, :-1] != label[:, 1:]
  edges[:-1] |= label[:-1] != label[1:]
  return edges


def _kind(row):
  """Returns the kind of a row's annotation, or 'none' if it is not used."""
  if row.role == 'unlabelled' or row.annotation is None:
    return 'none'
  return row.annotation['kind']


def _group(row):
  """Returns the sort key of a row's split, role and kind."""
  return (manifest_lib.SPLITS.index(row.split),
          manifest_lib.ROLES.index(row.role), _kind(row))


def _figure(row, manifest, image_size, kept):
  """Returns the HTML of a row's picture with its caption."""
  pixels = draw_overlay(
      row, root=manifest.root, image_size=image_size, kept=kept)
  source = html_page.data_uri(html_page.image_bytes(pixels, 'PNG'), 'PNG')
  words = [f'{row.split} {row.role}']
  if row.role != 'unlabelled':
    words.append(_kind(row).replace('_', ' '))
  if _kind(row) == 'tag':
    names = [manifest.header.classes[v] for v in row.annotation['labels']]
    words[-1] += ': ' + (', '.join(names) or 'no class')
  evaluation = row.evaluation or {}
  if evaluation.get('quality') is not None:
    words.append(f'IoU {evaluation["quality"]:.2f}')
  if evaluation.get('fault'):
    words.append(evaluation['fault'].replace('_', ' '))
  caption = html_page.escape(', '.join(words))
  return (
      f'<figure><img alt="{caption}" src="{source}">'
      f'<figcaption><b>{html_page.name(row.id)}</b><br>{caption}</figcaption>'
      '</figure>')


def _count_tables(rows):
  """Counts the images per split and role, and per kind and split, in tables."""
  splits = [s for s in manifest_lib.SPLITS if any(r.split == s for r in rows)]
  lines = []
  for split in splits:
    members = [row for row in rows if row.split == split]
    counts = collections.Counter(row.role for row in members)
    lines.append([
        split, *(counts[role] for role in manifest_lib.ROLES), len(members),
        len({row.subject or row.id for row in members})])
  counts = collections.Counter((_kind(row), row.split) for row in rows)
  kinds = sorted({kind for kind, _ in counts})
  return html_page.side_by_side(html_page.table(
      'Splits by roles', ['', *manifest_lib.ROLES, 'all', 'subjects'], lines
  ), html_page.table(
      'Kinds of annotation by splits', ['', *splits],
      [[kind.replace('_', ' '), *(counts[kind, s] for s in splits)]
       for kind in kinds]))


def _class_tables(manifest, facts):
  """Returns tables of the images and pixels of each class, in percent."""
  names = manifest.header.classes
  present = collections.defaultdict(lambda: np.zeros(len(names)))
  shares = collections.defaultdict(lambda: np.zeros(len(names) + 1))
  images = collections.Counter()
  for row, seen in zip(manifest.rows, facts, strict=True):
    if _kind(row) == 'none':
      continue
    group = f'{row.split} {row.role}'
    images[group] += 1
    present[group][sorted(seen.present)] += 1
    if _kind(row) != 'tag':
      counts = _pixel_counts(row, seen, len(names))
      shares[group] += counts / counts.sum()  # Each image counts equally.
  percent = lambda value: f'{100 * value:.1f} %'
  shown, covered = [], []
  order = {f'{s} {r}': None for s in manifest_lib.SPLITS
           for r in manifest_lib.ROLES}
  for group in (g for g in order if images[g]):
    number = images[group]
    shown.append([group, *(
        f'{int(n)} ({percent(n / number)})' for n in present[group][1:])])
    if group in shares:
      total = shares[group].sum()
      covered.append([
          group, *(percent(share / total) for share in shares[group])])
  return html_page.side_by_side(html_page.table(
      'Images that show the class', ['', *names[1:]], shown
  ), html_page.table(
      'Share of the pixels, as annotated', ['', *names, 'unlabelled'], covered))


def _pixel_counts(row, seen, num_classes):
  """Returns the pixels of each class, then the unlabelled ones, [K + 1].

  Args:
    row: row of the manifest; its annotation must not be a tag.
    seen: what `check` found out about the files of the row.
    num_classes: number of classes K.
  """
  if seen.counts is not None:
    return np.frombuffer(seen.counts, np.int64)
  # This annotation consists of shapes. To estimate the shares of the classes,
  # it is enough to draw the shapes at a small size.
  label = rasterize.rasterize(
      row.annotation, size=seen.size, root=pathlib.Path(),
      output_size=(_SHARE_SIDE, _SHARE_SIDE))
  counts = np.bincount(label.ravel(), minlength=types.UNLABELLED + 1)
  return counts[[*range(num_classes), types.UNLABELLED]]


def _size_plots(rows, facts):
  """Returns tables or histograms of the image sizes and pixel spacings."""
  sizes = collections.Counter(seen.size for seen in facts)
  channels = collections.Counter(seen.channels for seen in facts)
  plots, tables = [], []
  if len(sizes) <= _MAX_SIZES:
    tables.append(html_page.table('Height x width in pixels', ['', 'images'], [
        [f'{size[0]} x {size[1]}', n] for size, n in sizes.most_common()]))
  else:
    plots += [
        _histogram([seen.size[i] for seen in facts], f'{name} in pixels')
        for i, name in enumerate(('Height', 'Width'))]
  tables.append(html_page.table('Channels', ['', 'images'], [
      [{1: 'gray', 3: 'colour'}[c], n] for c, n in sorted(channels.items())]))
  known = [row.spacing_mm for row in rows if row.spacing_mm is not None]
  if known:
    plots += [
        _histogram([spacing[i] for spacing in known], f'Spacing {axis} in mm')
        for i, axis in enumerate('yx')]
  parts = [html_page.side_by_side(*tables), html_plots.side_by_side(*plots)]
  if len(known) < len(rows):
    parts.append(
        f'<p>The pixel spacing of {len(rows) - len(known)} of {len(rows)} '
        'images is not known: their distances will be in pixels.</p>')
  return ''.join(parts)


def _histogram(values, title):
  """Returns a histogram, or a sentence if all values are equal."""
  if min(values) == max(values):
    return f'<p>{title}: {min(values):g} in all images.</p>'
  return html_plots.histogram(
      title, {'': values}, x_label=title, y_label='images',
      num_bins=min(_MAX_BINS, len(np.unique(values)) + 1))


def _origin_tables(rows):
  """Returns tables of images per site and per annotator."""
  parts = []
  for name in ('site', 'annotator'):
    counts = collections.Counter(getattr(row, name) for row in rows)
    if set(counts) == {''}:
      parts.append(f'<p>No {name} is named.</p>')
      continue
    lines = [[value or 'not named', n] for value, n in sorted(
        counts.items(), key=lambda x: (-x[1], x[0]))]
    more = len(lines) - _MAX_ROWS
    if more > 0:
      rest = sum(n for _, n in lines[_MAX_ROWS:])
      lines = [*lines[:_MAX_ROWS], [f'{more} more', rest]]
    parts.append(html_page.table(f'Images per {name}', ['', 'images'], lines))
  return html_page.side_by_side(*parts)


def _left_out_table(left_out):
  """Returns a table of the first parts of the data that were left out.

  The file left_out.csv lists all of them.
  """
  if not left_out:
    return '<p>Nothing.</p>'
  lines = [[e.what, e.name, e.field, e.reason] for e in left_out[:_MAX_ROWS]]
  more = len(left_out) - len(lines)
  if more > 0:
    lines.append(['', f'{more} more: see left_out.csv', '', ''])
  counts = collections.Counter(entry.what for entry in left_out)
  return html_page.side_by_side(html_page.table(
      ', '.join(grammar.counted(n, what) for what, n in counts.items()),
      ['', 'name', 'field', 'reason'], lines, css_class='words'))


def _notices(notices, findings):
  """Returns a list of all notices."""
  lines = [*notices, *check_report.report(findings._replace(problems=[]))]
  if not lines:
    return '<p>None: nothing about this set is odd.</p>'
  items = ''.join(
      f'<li>{html_page.escape(re.sub("^notice[,:] ", "", line))}</li>'
      for line in lines)
  return f'<ul>{items}</ul>'


def _unlabelled(rows):
  """Returns a list of the names of all unlabelled images.

  Notices show only the first three names.
  """
  ids = [row.id for row in rows if row.role == 'unlabelled']
  if not ids:
    return ''
  more = len(ids) - _MAX_NAMES
  names = ', '.join(map(html_page.name, ids[:_MAX_NAMES]))
  rest = f', and {more} more: see manifest.jsonl' if more > 0 else ''
  return (f'<details><summary>{grammar.counted(len(ids), "unlabelled image")}'
          f'</summary><p>{names}{rest}</p></details>')
