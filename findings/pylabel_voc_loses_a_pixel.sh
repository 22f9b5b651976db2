#!/usr/bin/env bash
# pylabel 0.1.55 turns the shares of a YOLO file into pixels by cutting off their
# fraction. A box from 0 to 10 pixels, written with the usual six digits, becomes
# one that ends at 9: a tenth of its width is gone. YOLO's tools write six digits.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install -q pylabel==0.1.55 pillow
cat > run.py <<'PY'
import pathlib
import re

from PIL import Image
from pylabel import importer

for name in ('labels', 'images', 'voc'):
  pathlib.Path(name).mkdir()
Image.new('RGB', (60, 40)).save('images/a.png')
# From x = 0 to x = 10 of 60, from y = 2 to y = 14 of 40.
pathlib.Path('labels/a.txt').write_text('0 0.083333 0.2 0.166667 0.3\n')
data = importer.ImportYoloV5(
    path='labels', path_to_images='../images', img_ext='png',
    cat_names=['organ'])
data.export.ExportToVoc(output_path='voc')
text = pathlib.Path('voc/a.xml').read_text()
print(*(re.search(f'<{key}>([^<]*)<', text)[1]
        for key in ('xmin', 'ymin', 'xmax', 'ymax')))
PY
venv/bin/python run.py 2>/dev/null | tail -1 | tee seen.txt
echo '0 2 9 14' | diff - seen.txt
echo 'as stated: pylabel 0.1.55'
