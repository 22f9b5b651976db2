#!/usr/bin/env bash
# array_record 0.8.6: where the disk is full, ArrayRecordWriter raises a
# RuntimeError whose text holds the reason. Python raises OSError with an errno
# there, which is what callers catch to tell a full disk from a fault of theirs.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install -q array_record==0.8.6
cat > run.py <<'PY'
from array_record.python import array_record_module

try:
  open('/dev/full', 'wb', buffering=0).write(bytes(9999))
except OSError as e:
  print('open:', type(e).__name__, e.errno)
writer = array_record_module.ArrayRecordWriter('/dev/full', 'group_size:1')
try:
  for _ in range(99):
    writer.write(bytes(9999))
  writer.close()
  print('array_record: no error')
except (OSError, RuntimeError) as e:
  print('array_record:', type(e).__name__, 'No space left' in str(e))
PY
venv/bin/python run.py | tee seen.txt
printf 'open: OSError 28\narray_record: RuntimeError True\n' | diff - seen.txt
echo 'as stated: array_record 0.8.6'
