r"""Configures the comparison of methods on the hippocampi of the Decathlon.

FOLDER holds task 4 of the Medical Segmentation Decathlon (Simpson et al., 2019,
https://arxiv.org/abs/1902.09063; imagesTr, labelsTr), and subjects.csv names
the head of each volume in the columns id and subject: two volumes of one head
must not be in two splits. An edited plan has patches that two cores can train.

python -m data_prep.prepare --volumes --source=FOLDER \
    --subjects=subjects.csv --simulate=slices,box --strong_fraction=0.1 \
    --fault_fraction=0.3 --plan=experiments/configs/hippocampus_plan.json \
    --output=data/hippocampus
python -m experiments.train \
    --config=experiments/configs/hippocampus.py:compare \
    --workdir=runs/hippocampus

The second command trains strong_only, uniform, dii_dcr and full_supervision
with seed 0, or resumes them; --config.compare.seeds='(0, 1, 2)' takes more. On
one core, a seed takes about half an hour (experiments/results/volumes.md).
Variants: as in `configs.volumes`.
"""

from experiments.configs import volumes


def get_config(variant: str = 'dii_dcr'):
  """Returns the locked config of a variant; the module lists the variants."""
  config = volumes.get_base('data/hippocampus')
  config.update(dict(
      train_steps=600, log_every_steps=20, eval_every_steps=300,
      checkpoint_every_steps=100,
      model=dict(options=dict(features=(8, 16, 32))),
      optimizer=dict(warmup_steps=30)))
  config = volumes.with_variant(config, variant)
  if config.compare.methods:
    with config.unlocked():
      config.compare.methods = (
          'strong_only', 'uniform', 'dii_dcr', 'full_supervision')
  return config
