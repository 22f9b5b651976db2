"""Tests for experiments.saving.tensorboard."""

import json
import os
import pathlib
import struct
import sys
from unittest import mock

from absl.testing import absltest
from tensorboardX.proto import event_pb2

from experiments import binary
from experiments.saving import run_log
from experiments.saving import tensorboard
from experiments.training import trainer
from tests import tiny


def _events(workdir):
  """Yields the events of each file; a record is length, CRC, content, CRC."""
  folder = pathlib.Path(workdir, tensorboard.FOLDER)
  for path in sorted(folder.iterdir(), key=os.path.getmtime):
    content = path.read_bytes()
    while content:
      length, = struct.unpack('<Q', content[:8])
      yield event_pb2.Event.FromString(content[12 : 12 + length])
      content = content[16 + length :]


def _scalars(workdir):
  """Returns (step, name, value) of all scalars."""
  return [
      (e.step, v.tag, v.simple_value) for e in _events(workdir)
      for v in e.summary.value if v.HasField('simple_value')]


class TensorboardTest(absltest.TestCase):

  def test_numbers_become_scalars_and_warnings_texts(self):
    workdir = tiny.temp_dir(self)
    log = run_log.Log(workdir)
    log.on_line = tensorboard.listen(workdir, 0)
    log.collect(1, {'loss': 0.5})
    log.collect(2, {'loss': float('nan')}, {'terms': ['strong_loss']})
    log.report(2)
    log.write_evaluation(2, float('nan'), {'x': 0.25}, 'collapsed')
    # What is not known is no point of a curve.
    self.assertEqual(_scalars(workdir), [(2, 'loss', 0.5), (2, 'x', 0.25)])
    texts = [v.tensor.string_val for e in _events(workdir)
             for v in e.summary.value if v.HasField('tensor')]
    self.assertEqual([list(t) for t in texts], [[b'collapsed']])

  def test_a_resumed_run_takes_back_what_came_after_its_checkpoint(self):
    workdir = tiny.temp_dir(self)
    tensorboard.listen(workdir, 0)({'step': 30, 'loss': 2.0})
    tensorboard.listen(workdir, 20)({'step': 21, 'loss': 1.0})
    starts = [e.step for e in _events(workdir) if e.HasField('session_log')]
    self.assertEqual(starts, [21])
    self.assertEqual(
        _scalars(workdir), [(30, 'loss', 2.0), (21, 'loss', 1.0)])
    names = os.listdir(os.path.join(workdir, tensorboard.FOLDER))
    for name in names:  # It does not hold the name of the machine.
      self.assertRegex(name, r'^events\.out\.tfevents\.\d{10}\.(0|20)$')

  def test_a_run_passes_on_the_lines_of_its_log(self):
    workdir, heard = tiny.temp_dir(self), []

    def listen(folder, step):
      heard.append((folder, step))
      return heard.append

    trainer.train_and_evaluate(tiny.debug_config(), workdir, listen=listen)
    self.assertEqual(heard[0], (workdir, 0))
    self.assertEqual(heard[1:], [
        json.loads(line)
        for line in tiny.result(tiny.run_dir(), 'log.jsonl').splitlines()])

  def test_without_the_package_it_is_one_line(self):
    with mock.patch.dict(sys.modules, tensorboardX=None):
      with self.assertRaisesRegex(
          binary.UserError, r"pip install -e '\.\[tensorboard\]'\.$"):
        tensorboard.check_installed()
    tensorboard.check_installed()


if __name__ == '__main__':
  absltest.main()
