r"""Configures a table that changes one default of DII + DCR at a time.

python -m experiments.sweep --config=experiments/configs/tables/ablation.py \
    --source=FOLDER --workdir=runs/ablation

The set and the number of steps are those of the table `endoscene`. The results
are in experiments/results/ablation.md.

Variant: `debug`, whose runs take seconds.
"""

from experiments.configs import endoscene
from experiments.configs.tables import common

_WEIGHTING = {
    'tau_10': dict(every_steps=10),
    'tau_100': dict(every_steps=100),
    'tau_epoch': dict(every_steps=61),  # One pass: 493 weak images, 8 per step.
    'rate_low': dict(learning_rate=0.05),
    'rate_high': dict(learning_rate=0.5),
    'from_step_50': dict(start_step=50),
    'all_layers': dict(name='dii'),
    # Weights that are computed anew for each batch and sum to a constant.
    'normalised': dict(name='l2rw'),
    'common_harm_kept': dict(without_common_harm=False),
}
VARIANTS = {
    **{name: dict(weighting=change) for name, change in _WEIGHTING.items()},
    'class_prior_kept': dict(
        supervision=dict(alignment_without_class_prior=False)),
    'trust_indicator': dict(co_regularization=dict(trust='indicator')),
    'trust_one': dict(co_regularization=dict(trust='one')),
    'no_mixing': dict(co_regularization=dict(mixing='none')),
    'more_augmentation': dict(augmentation=dict(
        rotation_deg=180.0, log2_scale=0.5, shift=0.1, saturation=0.3,
        hue_deg=10.0, blur=1.0)),
}


def get_config(variant: str = 'table'):
  """Returns the locked config of the table; `variant` may be 'debug'."""
  return common.get_table(
      'endoscene', endoscene.get_config, variant, train_steps=200,
      methods=('dii_dcr', 'uniform_dcr', 'dii', *VARIANTS), variants=VARIANTS)
