r"""Prepares a set from an S3 store, and compares it with the local one.

python -m tests.long.object_store --num_pictures=500

Needs the extra `remote`, and moto with its server, which this program starts.
A set of small pictures is prepared from a folder. Then it lies in a bucket: it
must be copied to the same path and give the same files; copies that are killed
at random moments go on; one changed picture is copied alone. The finished set
is sent to the bucket, must have the same files there, also after sending was
killed, and must train after it was taken from there. A missing bucket, a store
that does not answer and folders with other files are refused in one line. The
exit code is 1 if anything differs.
"""

import json
import logging
import os
import pathlib
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time

from absl import app
from absl import flags
import boto3
from moto.server import ThreadedMotoServer

from tests.long import beam_records

_NUM_PICTURES = flags.DEFINE_integer('num_pictures', 500, 'Of the set.', 100)
_NUM_STOPS = flags.DEFINE_integer('num_stops', 5, 'Copies to kill.', 0)
_URL = 's3://bucket/some/set'


def _upload(client, folder, names):
  for name in names:
    client.upload_file(str(folder / name), 'bucket', f'some/set/{name}')


def _command(folder, source=_URL, fetch_to='source'):
  return [sys.executable, '-m', 'data_prep.prepare', f'--source={source}',
          '--simulate=box', '--subject_pattern=^(p[0-9]+)', '--image_size=24',
          f'--output={folder / "set"}', '--name=source',
          *([f'--fetch_to={folder / fetch_to}'] if fetch_to else [])]


def _run(argv, **env):
  return subprocess.run(
      argv, capture_output=True, text=True, check=False, env=os.environ | env)


def _check(condition, *about):
  if not condition:
    raise SystemExit(f'Not as it should be: {about}')


def _check_kills(folder, wanted, number):
  rng = random.Random(0)
  for _ in range(_NUM_STOPS.value):
    shutil.rmtree(folder / 'source', ignore_errors=True)
    (folder / 'source.fetched.json').unlink(missing_ok=True)
    process = subprocess.Popen(
        _command(folder), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    least = rng.randint(1, 2 * number - 1)
    while process.poll() is None and sum(
        path.is_file() for path in folder.glob('source/*/*')) < least:
      time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    done = _run(_command(folder))
    _check(done.returncode == 0, done.stderr)
    _check(beam_records.digest(folder / 'set') == wanted, 'after a kill')
    shutil.rmtree(folder / 'set')
  print(f'killed and started again: {_NUM_STOPS.value}, 0 different')


def _check_refused(words, argv, folder, **env):
  done = _run(argv, **env)
  lines = done.stderr.splitlines()
  _check(done.returncode == 2 and len(lines) == 1 and words in lines[0],
         words, done.returncode, done.stderr)
  print(f'refused: {lines[0][:150]}'.replace(str(folder), '...'))


def _take(client, folder):
  """Copies the set from the bucket; returns its digest, and if it is whole."""
  shutil.rmtree(folder, ignore_errors=True)
  found = client.get_paginator('list_objects_v2').paginate(
      Bucket='bucket', Prefix='sets/mine/')
  for entry in (entry for page in found for entry in page['Contents']):
    name = entry['Key'].removeprefix('sets/mine/')
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    client.download_file('bucket', entry['Key'], str(folder / name))
  index = json.loads((folder / 'sent.json').read_text())
  (folder / 'sent.json').unlink()
  return beam_records.digest(folder), bool(index)


def _check_sending(client, folder, wanted):
  send = [*_command(folder), '--send_to=s3://bucket/sets/mine']
  done = _run(send)
  _check(done.returncode == 0, done.stderr)
  number = len(list((folder / 'set').rglob('*')))
  _check(_take(client, folder / 'taken') == (wanted, True), 'other files')
  done = _run(send)
  _check('Copying 0 of' in done.stdout, done.stdout)
  rng = random.Random(0)
  for _ in range(_NUM_STOPS.value):
    client.put_object(  # As if all had changed.
        Bucket='bucket', Key='sets/mine/sent.json', Body=b'{}')
    process = subprocess.Popen(
        send, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    for line in process.stdout:
      if line.endswith(' to s3://bucket/sets/mine ...\n'):
        break
    time.sleep(rng.uniform(0, 0.3))
    process.send_signal(signal.SIGKILL)
    process.communicate()
    done = _run(send)
    _check(done.returncode == 0, done.stderr)
    _check(_take(client, folder / 'taken') == (wanted, True), 'after a kill')
  print(f'sent to the bucket: {number} files and folders, the same SHA-256; '
        f'killed and sent again: {_NUM_STOPS.value}, 0 different')
  for words, more in (
      ('holds other files', ['--send_to=s3://bucket/some']),
      ('cannot be used', ['--send_to=s3://no-such-bucket/set']),
      ('is for a store such as', ['--send_to=folder'])):
    _check_refused(words, [*_command(folder), *more], folder)
  shutil.rmtree(folder / 'set')


def _check_training(folder):
  """Trains a moment on the set that was taken from the bucket."""
  shutil.rmtree(folder / 'source')
  done = _run([
      sys.executable, '-m', 'experiments.train',
      '--config=experiments/configs/custom.py:strong_only,debug',
      f'--config.input.data_dir={folder / "taken"}',
      f'--workdir={folder / "run"}'])
  _check(done.returncode == 0, done.stderr)
  print('trained on what was taken from the bucket')


def _check_refusals(folder):
  (folder / 'other').mkdir()
  (folder / 'other' / 'mine').write_text('mine')
  for words, argv, env in (
      ('cannot be used', _command(folder, 's3://no-such-bucket/set'), {}),
      ('holds no file', _command(folder, 's3://bucket/empty'), {}),
      ('cannot be used', _command(folder),
       {'AWS_ENDPOINT_URL': 'http://127.0.0.1:9', 'AWS_MAX_ATTEMPTS': '1'}),
      ('holds other files', _command(folder, fetch_to='other'), {}),
      ('name the folder to copy it to', _command(folder, fetch_to=''), {}),
      ('holds a copy of', _command(folder, 's3://bucket/some'), {})):
    _check_refused(words, argv, folder, **env)
  _check(not (folder / 'set').exists(), 'a refused set was written')


def main(_):
  logging.getLogger('werkzeug').setLevel(logging.ERROR)
  server = ThreadedMotoServer(ip_address='127.0.0.1', port=0)
  server.start()
  host, port = server.get_host_and_port()
  os.environ |= {
      'AWS_ENDPOINT_URL': f'http://{host}:{port}', 'AWS_ACCESS_KEY_ID': 'test',
      'AWS_SECRET_ACCESS_KEY': 'test', 'AWS_DEFAULT_REGION': 'us-east-1'}
  client = boto3.client('s3')
  client.create_bucket(Bucket='bucket')
  with tempfile.TemporaryDirectory() as temporary:
    folder = pathlib.Path(temporary)
    beam_records.write_source(folder / 'source', _NUM_PICTURES.value)
    names = sorted(str(path.relative_to(folder / 'source'))
                   for path in folder.glob('source/*/*'))
    _upload(client, folder / 'source', names)
    done = _run(_command(folder, folder / 'source', fetch_to=''))
    _check(done.returncode == 0, done.stderr)
    wanted = beam_records.digest(folder / 'set')
    shutil.rmtree(folder / 'set')
    shutil.rmtree(folder / 'source')
    start = time.monotonic()
    done = _run(_command(folder))
    _check(done.returncode == 0, done.stderr)
    _check(beam_records.digest(folder / 'set') == wanted, 'other files')
    print(f'{len(names)} files copied and prepared in '
          f'{time.monotonic() - start:.1f} s, SHA-256 of the set '
          f'{wanted[:12]}, as from the folder')
    shutil.copy(folder / 'source' / names[1], folder / 'changed')
    client.upload_file(
        str(folder / 'changed'), 'bucket', f'some/set/{names[0]}')
    done = _run([*_command(folder), '--overwrite'])
    _check(f'Copying 1 of {len(names)} files' in done.stdout, done.stdout)
    _check((folder / 'source' / names[0]).read_bytes() == (
        folder / 'changed').read_bytes(), 'the old file')
    print('one file changed: 1 copied')
    shutil.rmtree(folder / 'set', ignore_errors=True)
    beam_records.write_source(folder / 'again', _NUM_PICTURES.value)
    _upload(client, folder / 'again', names[:1])
    _check_kills(folder, wanted, _NUM_PICTURES.value)
    _check_sending(client, folder, wanted)
    _check_training(folder)
    _check_refusals(folder)
  server.stop()


if __name__ == '__main__':
  app.run(main)
