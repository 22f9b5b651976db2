#!/usr/bin/env bash
# ml_collections 1.1.0: a tuple of a config is set on the command line by commas
# where its items are numbers; of words, the same form makes one word with the
# commas in it, without an error. --config.organs=liver,kidney is one organ
# called 'liver,kidney', which a loop over names or a lookup takes as it is.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check 'ml_collections==1.1.0' 'absl-py==2.5.1'
cd "$work"
"$work/venv/bin/python" - <<'PY'
import sys

from absl import flags
from ml_collections import config_dict
from ml_collections import config_flags


def parse(*arguments):
  sys.argv = ['run.py', *arguments]
  config = config_dict.ConfigDict({'organs': ('spleen',), 'size': (1, 2)})
  values = flags.FlagValues()
  config_flags.DEFINE_config_dict('config', config, flag_values=values)
  values(sys.argv)
  return config


numbers = parse('--config.size=3,4').size
words = parse('--config.organs=liver,kidney').organs
quoted = parse("--config.organs='liver','kidney'").organs
print('ml_collections 1.1.0')
print('--config.size=3,4:                 ', numbers)
print('--config.organs=liver,kidney:      ', words)
print("--config.organs='liver','kidney':  ", quoted)
assert numbers == (3, 4) and quoted == ('liver', 'kidney')
assert words == ('liver,kidney',), 'the behaviour has changed'
PY
