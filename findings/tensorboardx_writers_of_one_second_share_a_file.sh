#!/usr/bin/env bash
# tensorboardX 2.6.5: a SummaryWriter names its file by the second in which it
# was created, and opens it anew. A second writer of the same folder within that
# second, as of a run that resumes at once, truncates the file of the first: 30
# scalars that were flushed before, and one of the second writer, are in the
# folder as one file with one scalar.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check 'tensorboardX==2.6.5' 'numpy==2.4.6' 'protobuf==6.33.5'
cd "$work"
"$work/venv/bin/python" - <<'PY'
import importlib.metadata
import pathlib
import struct
import time

import tensorboardX
from tensorboardX.proto import event_pb2

print('tensorboardX', importlib.metadata.version('tensorboardX'))


def scalars():
  found = []
  for path in sorted(pathlib.Path('logs').iterdir()):
    content = path.read_bytes()
    while content:
      length, = struct.unpack('<Q', content[:8])
      event = event_pb2.Event.FromString(content[12 : 12 + length])
      found += [(v.tag, event.step) for v in event.summary.value]
      content = content[16 + length :]
  return found


for attempt in range(20):  # Both writers must be created in one second.
  time.sleep(1 - time.time() % 1)
  start = int(time.time())
  first = tensorboardX.SummaryWriter('logs')
  for step in range(30):
    first.add_scalar('loss', 1.0, step)
  first.close()
  before = scalars()
  second = tensorboardX.SummaryWriter('logs')
  second.add_scalar('loss', 1.0, 30)
  second.close()
  if int(time.time()) == start:
    break
  for path in pathlib.Path('logs').iterdir():
    path.unlink()
files = len(list(pathlib.Path('logs').iterdir()))
print(f'after the first writer: {len(before)} scalars; after the second: '
      f'{len(scalars())} in {files} file')
assert (len(before), scalars(), files) == (30, [('loss', 30)], 1), (
    'the behaviour has changed')
print('as stated: the second writer has overwritten the first')
PY
