#!/usr/bin/env bash
# datumaro 1.13.12: its reader of CVAT's XML leaves out every <ellipse> without
# a warning. CVAT has drawn and exported ellipses since 2022.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install -q datumaro==1.13.12
mkdir -p set/images
cat > run.py <<'PY'
import logging
import warnings

import datumaro
from PIL import Image

logging.basicConfig(level=logging.WARNING)
warnings.simplefilter('always')
Image.new('RGB', (30, 20)).save('set/images/a.png')
with open('set/annotations.xml', 'w') as file:
  file.write('''<?xml version="1.0" encoding="utf-8"?>
<annotations><version>1.1</version><meta><task><labels><label><name>a</name>
</label></labels></task></meta>
<image id="0" name="a.png" width="30" height="20">
<box label="a" xtl="4" ytl="4" xbr="14" ybr="8"/>
<ellipse label="a" cx="20" cy="10" rx="4" ry="2"/>
</image></annotations>''')
for item in datumaro.Dataset.import_from('set', 'cvat'):
  print('read:', [a.type.name for a in item.annotations])
PY
venv/bin/python run.py 2> log.txt | tee seen.txt
printf "read: ['bbox']\n" | diff - seen.txt
if grep -i ellipse log.txt; then echo 'it warns now'; exit 1; fi
echo 'as stated: datumaro 1.13.12'
