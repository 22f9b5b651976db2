#!/usr/bin/env bash
# label-studio-sdk 2.1.2: its converter to COCO turns the percentages of a
# rectangle instead of its pixels. On a picture that is not square, the box
# around a turned rectangle has another place and size. A rectangle of 80 x 10
# pixels, turned by 90 degrees, is 10 x 80 pixels; the converter writes 20 x 40.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install -q label-studio-sdk==2.1.2
cat > run.py <<'PY'
import json

from label_studio_sdk import converter

VIEW = ('<View><Image name="image" value="$image"/>'
        '<RectangleLabels name="l" toName="image"><Label value="a"/>'
        '</RectangleLabels></View>')


def box(width, height, x, y, w, h):
  """Box around a rectangle, in pixels, turned by 90 degrees at its corner."""
  value = {
      'x': 100 * x / width, 'y': 100 * y / height, 'width': 100 * w / width,
      'height': 100 * h / height, 'rotation': 90, 'rectanglelabels': ['a']}
  region = {
      'id': 'r', 'type': 'rectanglelabels', 'from_name': 'l',
      'to_name': 'image', 'original_width': width, 'original_height': height,
      'image_rotation': 0, 'value': value}
  with open('tasks.json', 'w') as file:
    json.dump([{'id': 1, 'data': {'image': 'a.png'}, 'annotations': [
        {'id': 1, 'completed_by': 1, 'result': [region]}]}], file)
  tool = converter.Converter(VIEW, '.', download_resources=False)
  name = f'coco_{width}'
  tool.convert_to_coco('tasks.json', name, is_dir=False)
  with open(f'{name}/result.json') as file:
    found = json.load(file)['annotations'][0]['bbox']
  return [round(v) for v in found]


# About its upper left corner (100, 20), the rectangle turns into x 90 to 100.
print('square:', box(200, 200, 100, 20, 80, 10))
print('wide:', box(200, 100, 100, 20, 80, 10))
PY
venv/bin/python run.py 2> log.txt | tee seen.txt
printf 'square: [90, 20, 10, 80]\nwide: [80, 20, 20, 40]\n' | diff - seen.txt
echo 'as stated: label-studio-sdk 2.1.2'
