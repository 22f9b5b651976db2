"""Reads and writes the JSON of Label Studio.

See https://labelstud.io/guide/task_format. Coordinates are percentages of the
width and the height. Regions are read as follows: a rectangle becomes a box
or, if it is turned about its upper left corner, a polygon; a brush becomes run
lengths of all pixels that it touches; a keypoint becomes a point. Ellipses and
polygons stay what they are. Choices for the whole picture are tags. Choices for
a region name its class if it has no label, and are not read otherwise. Texts,
ratings and relations have no area. A region with several labels becomes one
shape for each.

Each annotation of a task is of one annotator, of whom only the number is kept.
An annotation that was skipped does not count, nor do predictions and drafts. A
task without an annotation is unlabelled. A labelling configuration (an XML file
with <View>) gives the order of the classes if there is exactly one.
"""

import json
import pathlib
import re
import urllib.parse
import xml.etree.ElementTree as ET

from data_prep import formats
from data_prep import manifest as manifest_lib
from data_prep.formats import assembling
from data_prep.formats import entries
from data_prep.formats import known_tools
from data_prep.formats import label_studio_regions as regions
from data_prep.formats import placing
from data_prep.formats import sources
from data_prep.shared import pixels

HOLDS = ('mask', 'coarse_mask', 'polygon', 'box', 'ellipse', 'points',
         'extreme_points', 'tag')

# Maps the type of each region that is written to the tag of its control.
_TAGS = {
    'rectanglelabels': 'RectangleLabels', 'ellipselabels': 'EllipseLabels',
    'polygonlabels': 'PolygonLabels', 'keypointlabels': 'KeyPointLabels',
    'brushlabels': 'BrushLabels', 'choices': 'Choices'}
_UPLOAD = re.compile(r'^[0-9a-f]{8}-')  # Label Studio puts this before names.
_LOCAL = '/data/local-files/?d='
# Fields of our own in the data of a task.
FIELDS = ('subject', 'site', 'annotator')


def detect(source: pathlib.Path) -> bool:
  """Returns whether a JSON file below `source` looks like Label Studio."""
  return bool(_files(source))


def read(
    source: pathlib.Path, output: pathlib.Path, report: assembling.Report
) -> formats.Imported:
  """Reads all exports below `source`, see `data_prep.formats`."""
  pictures = sources.list_pictures(source)

  def read_file(name, here):
    content = sources.read_json(source / name)
    if not isinstance(content, list):
      raise pixels.WrongFile('expected a list of tasks', pixels.tail(name),
                             'export it as JSON')
    return [item for number, task in enumerate(content)
            for item in _read_task(task, number, pictures, here)]

  found = report.read_each(_files(source), read_file).values()
  items = [item for some in found for item in some]
  names = _configured_names(source, items, report)
  return assembling.assemble(source, output, items, names, report)


def write(manifest: manifest_lib.Manifest, output: pathlib.Path) -> None:
  """Writes images/, tasks.json and label_config.xml."""
  tasks, types = [], {}
  for placed in placing.place_pictures(manifest, output):
    row, result = placed.row, []
    for shape in placing.to_shapes(manifest, placed):
      parts = [shape] if shape.kind != 'extreme_points' else [
          shape._replace(kind='point', value=point) for point in shape.value]
      for part in parts:
        region = regions.write(part, placed.size)
        labels = types.setdefault(
            region['type'], dict.fromkeys(manifest.header.classes[1:]))
        labels.setdefault(part.label)
        result.append({'id': f'{placed.number}_{len(result)}', **region})
    more = {k: getattr(row, k) for k in (*FIELDS, 'split') if getattr(row, k)}
    image = _LOCAL + urllib.parse.quote(placed.picture)
    tasks.append({'data': {'image': image, **more},
                  'annotations': [{'result': result}]})
  (output / 'tasks.json').write_text(json.dumps(tasks), encoding='utf-8')
  view = ET.Element('View')
  ET.SubElement(view, 'Image', {'name': 'image', 'value': '$image'})
  for kind, labels in types.items():
    control = ET.SubElement(view, _TAGS[kind], {
        'name': kind, 'toName': 'image',
        **({'choice': 'multiple'} if kind == 'choices' else {})})
    for label in labels:
      ET.SubElement(control, 'Choice' if kind == 'choices' else 'Label',
                    {'value': label})
  ET.indent(view)
  ET.ElementTree(view).write(output / 'label_config.xml', encoding='utf-8')


def _files(source):
  return [name for name in sources.list_files(source, ('.json',))
          if known_tools.is_label_studio(
              pixels.head(source / name, known_tools.HEAD))]


def _configured_names(source, items, report):
  """Returns the classes of the only labelling configuration, in its order.

  The result is [] if there is none, or if it does not name all labels.
  """
  paths = [name for name in sources.list_files(source, ('.xml',))
           if b'<View' in pixels.head(source / name, 4096)]
  if len(paths) != 1:
    return []
  report.used.update(paths)
  names = {'Label': {}, 'Choice': {}}
  try:
    for entry in sources.read_xml(source / paths[0]).iter():
      if entry.tag in names:
        name = entry.get('alias') or entry.get('value') or ''
        names[entry.tag].setdefault(entries.text(name))
  except (pixels.WrongFile, ValueError):
    report.note(f'{pixels.tail(paths[0])} cannot be read: it is not used')
    return []
  found = [*(names['Label'] or names['Choice'])]
  labels = {s.label for i in items for s in i.shapes
            if s.label and s.kind not in ('unreadable', 'tag')}
  if found and not labels <= {*found}:
    report.note(f'{pixels.tail(paths[0])} does not name all labels: it is not '
                'used')
    return []
  return found


def _read_task(task, number, pictures, report):
  """Returns an item for each annotation of a task."""
  try:
    data = task['data']
    annotations = task.get('annotations', task.get('completions', []))
    if not isinstance(annotations, list):
      raise ValueError('annotations are not a list')
    results = _results_of(annotations, data, report)
    picture = _picture_of(task, results, pictures, report.file)
    more = {k: entries.text(data[k]) for k in ('subject', 'site')
            if data.get(k)}
  except (KeyError, ValueError, TypeError, AttributeError) as error:
    cause = 'a field is of a wrong type' if isinstance(
        error, AttributeError) else entries.cause_of(error)
    report.wrong(f'a task cannot be read: {cause}', field=f'[{number}]')
    return []
  if not results:
    report.note('Label Studio: tasks without an annotation are unlabelled, and '
                'predictions are not read')
  split = data.get('split')
  split = split if split in manifest_lib.SPLITS else ''
  items = []
  for annotator, result in results:
    here = report.at(row_id=picture)
    size, shapes = regions.read(result, here)
    own = more | ({'annotator': annotator} if annotator else {})
    items.append(assembling.Item(
        picture, shapes, report.file, size, split, own))
  return items


def _results_of(annotations, data, report):
  """Returns annotator and result of the annotations that count."""
  kept = [a for a in annotations if not a.get('was_cancelled')]
  results = {}
  for number, annotation in enumerate(kept, start=1):
    if not isinstance(annotation['result'], list):
      raise ValueError('a result is not a list')
    annotator = _annotator(annotation, data)
    if not annotator and len(kept) > 1:
      annotator = f'annotation_{number}'
    if annotator in results:
      report.note('several annotations of a task by one annotator: the last '
                  'one counts')
    results[annotator] = annotation['result']
  return [*results.items()]


def _annotator(annotation, data):
  """Returns the number of an annotator; never a name or an address."""
  number = annotation.get('completed_by', data.get('annotator'))
  if isinstance(number, dict):
    number = number.get('id')
  return '' if number is None else entries.text(number)


def _picture_of(task, results, pictures, file):
  """Returns the name of a task's picture, as it lies below the source."""
  named = {k: v for k, v in task['data'].items() if isinstance(v, str) and (
      k not in (*FIELDS, 'split'))}
  drawn_on = {r['to_name'] for _, result in results for r in result
              if isinstance(r, dict) and isinstance(r.get('to_name'), str)
              and r.get('type') != 'relation'}
  shown = [k for k, v in named.items() if _path_of(v).lower().endswith(
      sources.PICTURES)]
  keys = [k for k in (*drawn_on, 'image') if k in named][:1] or shown or [
      *named]
  if len(keys) != 1 or len(drawn_on) > 1:
    raise ValueError('it does not name one picture')
  value, upload = named[keys[0]], task.get('file_upload')
  names = [_path_of(value), value]
  if isinstance(upload, str):
    names.append(upload)
  names += [_UPLOAD.sub('', name.rsplit('/', 1)[-1]) for name in names]
  found = (name for name in names if pictures.find(name, near=file))
  return entries.text(next(found, names[0]))


def _path_of(value):
  """Returns the path in the address of a picture."""
  try:
    parts = urllib.parse.urlsplit(value)
    query = urllib.parse.parse_qs(parts.query)
  except ValueError:
    return value
  return query['d'][0] if 'd' in query else urllib.parse.unquote(parts.path)
