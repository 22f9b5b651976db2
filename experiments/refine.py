r"""Corrects the weak labels of a finished run with its two networks.

python -m experiments.refine --run=runs/mine
python -m experiments.train --config=experiments/configs/custom.py \
    --config.input.corrected_labels=runs/mine/refined --workdir=runs/again

Writes to --output (default RUN/refined):

  masks/ID.png    for each weak annotation, a mask of class numbers at the size
                  of the image
  corrected.csv   one line per annotation, most changed first: what was changed
                  and how much, the indicator, and the trust in the annotation
                  (0 if it is distrusted)
  corrected.json  the constants of the refinement, the Dice that they reach on
                  exact masks, and the fingerprint of the set

Look at the masks, and correct them where needed. Remove the lines of
corrected.csv that you do not accept: these images keep their weak annotation.
`data_prep.export --masks=RUN/refined/masks` converts the masks for an
annotation tool.

The methods `dii_dcr_refine` and `uniform_refine` of `experiments.train` train,
refine and train again in one command.
"""

import os

from absl import flags
from data_prep.shared import early_help

_RUN = flags.DEFINE_string('run', None, 'Folder of a finished run.')
_OUTPUT = flags.DEFINE_string(
    'output', None, 'Folder to write; default RUN/refined.')

early_help.answer(__name__)  # Answer --help before the slow imports.

from absl import logging

from experiments import binary
from experiments.building import corrections
from experiments.training import refining


def main():
  logging.set_verbosity(logging.WARNING)
  output = _OUTPUT.value or os.path.join(_RUN.value, corrections.OWN_FOLDER)
  summary = refining.refine(_RUN.value, output)
  for kind, c in summary['constants'].items():
    dice = ', '.join(f'{n} {d:.3f}' for n, d in c['dice'].items())
    print(f'{kind}: inside {c["inside"]:.2f}, outside {c["outside"]:.2f}; Dice '
          f'of {c["num_drawn"]} annotations that were drawn from exact masks: '
          f'{dice}.')
  print(refining.in_words(summary))
  print(f'{output}: most changed first. Remove the lines of '
        f'{corrections.TABLE} that you do not accept, then train with '
        f'--config.input.corrected_labels={output}')


if __name__ == '__main__':
  flags.mark_flags_as_required(['run'])
  binary.run(main)
