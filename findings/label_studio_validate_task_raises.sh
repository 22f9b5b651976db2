#!/usr/bin/env bash
# label-studio-sdk 2.1.2: `LabelInterface.validate_task` raises a TypeError for
# a valid task as soon as it has the key "annotations", although its own check
# of the annotations alone accepts them.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install -q label-studio-sdk==2.1.2
cat > run.py <<'PY'
from label_studio_sdk import label_interface

interface = label_interface.LabelInterface(
    '<View><Image name="image" value="$image"/>'
    '<RectangleLabels name="l" toName="image"><Label value="a"/>'
    '</RectangleLabels></View>')
annotation = {'result': []}
print('annotation:', interface.validate_annotation(annotation))
for task in ({'data': {'image': 'a.png'}},
             {'data': {'image': 'a.png'}, 'annotations': [annotation]}):
  try:
    print('task:', interface.validate_task(task))
  except TypeError:
    print('task: TypeError')
PY
venv/bin/python run.py 2> log.txt | tee seen.txt
printf 'annotation: True\ntask: True\ntask: TypeError\n' | diff - seen.txt
echo 'as stated: label-studio-sdk 2.1.2'
