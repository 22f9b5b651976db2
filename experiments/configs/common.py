"""Defaults of every config, and the methods as overrides of them.

A config of a set starts from `get_base(data_dir)`, which is DII + DCR: dynamic
instance indicators and dynamic co-regularization. Each entry of `METHODS` says
how another method differs, each of `NETWORKS` is another network.
"""

import ml_collections

from experiments.configs import versions

# Everything that a method changes; all else is the same for all of them.
METHODS = {
    'strong_only': dict(
        supervision=dict(weak_scale=0.0),
        weighting=dict(name='uniform'),
        co_regularization=dict(scale=0.0),
    ),
    # No exact mask but those that validate.
    'weak_only': dict(
        supervision=dict(strong_scale=0.0),
        weighting=dict(name='uniform'),
        co_regularization=dict(scale=0.0),
    ),
    # Pre-training and fine tuning within one schedule of the learning rate.
    'weak_then_strong': dict(
        supervision=dict(weak_first_share=0.5),
        weighting=dict(name='uniform'),
        co_regularization=dict(scale=0.0),
    ),
    # Upper line: the exact masks of the weak images, which no other method may
    # see, with the loss of the strong ones. Half of each batch are the strong
    # images as everywhere, so that these are seen more often: weighting them
    # down to the others' share made it worse (results/table_small.md).
    'full_supervision': dict(
        input=dict(weak_labels='truth'),
        weighting=dict(name='uniform'),
        co_regularization=dict(scale=0.0),
    ),
    'uniform': dict(
        weighting=dict(name='uniform'),
        co_regularization=dict(scale=0.0),
    ),
    'uniform_dcr': dict(
        weighting=dict(name='uniform'), co_regularization=dict(trust='one')),
    # Chen et al., 2021 (https://arxiv.org/abs/2106.01226), without and with
    # CutMix: no weak label at all. There, the two networks teach each other on
    # the images with exact masks too, and the scale does not ramp up.
    'cps': dict(
        supervision=dict(weak_scale=0.0),
        weighting=dict(name='uniform'),
        co_regularization=dict(trust='one', mixing='none'),
    ),
    'cps_cutmix': dict(
        supervision=dict(weak_scale=0.0),
        weighting=dict(name='uniform'),
        co_regularization=dict(trust='one'),
    ),
    # Lee, "Pseudo-Label", ICML 2013 workshop: each network learns from its own
    # hard labels of the weak images, no matter how sure it is of them. There,
    # their weight is 0 at first and then grows linearly.
    'pseudo_label': dict(
        supervision=dict(weak_scale=0.0),
        weighting=dict(name='uniform'),
        co_regularization=dict(trust='one', mixing='none', teacher='self'),
    ),
    # Tarvainen and Valpola, 2017 (https://arxiv.org/abs/1703.01780): each of
    # the two networks learns from its own mean, and the means predict. No weak
    # label; the student's noise is CutMix, as by French et al., 2020
    # (https://arxiv.org/abs/1906.01916).
    'mean_teacher': dict(
        supervision=dict(weak_scale=0.0),
        weighting=dict(name='uniform'),
        co_regularization=dict(trust='one', teacher='mean'),
    ),
    # Luo and Yang, "Semi-supervised Semantic Segmentation via Strong-weak
    # Dual-branch Network", ECCV 2020: see `Supervision.weak_head`.
    'strong_weak': dict(
        supervision=dict(weak_head=True),
        weighting=dict(name='uniform'),
        co_regularization=dict(scale=0.0),
    ),
    # Ren et al., 2018 (https://arxiv.org/abs/1803.09050): weights of one batch
    # from the lookahead down the training loss. There, the exact masks steer
    # only; here the networks learn them too, as in all other methods.
    'l2rw': dict(
        supervision=dict(
            alignment_loss='training', alignment_without_class_prior=False),
        weighting=dict(name='l2rw', method='per_instance'),
        co_regularization=dict(scale=0.0),
    ),
    # Shu et al., 2019 (https://arxiv.org/abs/1902.07379): see `meta_weight_net`
    # of the library. As with l2rw, the networks learn the exact masks too.
    'meta_weight_net': dict(
        supervision=dict(
            alignment_loss='training', alignment_without_class_prior=False),
        weighting=dict(
            name='meta_weight_net', method='per_instance', learning_rate=1e-3),
        co_regularization=dict(scale=0.0),
    ),
    'dii': dict(co_regularization=dict(scale=0.0)),
    'dii_dcr': dict(),
    # Trained twice: the first run corrects the weak labels. Own addition.
    'dii_dcr_refine': dict(supervision=dict(refine=True)),
    'uniform_refine': dict(
        supervision=dict(refine=True),
        weighting=dict(name='uniform'),
        co_regularization=dict(scale=0.0),
    ),
    # The exact alignment over all layers, through the alignment's own loss.
    'dii_dcr_all_layers': dict(weighting=dict(name='dii')),
    # Nearest to Algorithm 1 and to the authors' code: the lookahead descends
    # the training loss, over all layers, and a pseudo label counts as much as
    # the instance's own label. What is still different: docs/differences.md.
    'paper': dict(
        supervision=dict(
            alignment_loss='training', alignment_without_class_prior=False),
        weighting=dict(
            name='dii', method='per_instance', without_common_harm=False),
        co_regularization=dict(trust='indicator'),
    ),
    # The same by the last layer alone, as the default is.
    'paper_last_layer': dict(
        supervision=dict(
            alignment_loss='training', alignment_without_class_prior=False),
        weighting=dict(without_common_harm=False),
        co_regularization=dict(trust='indicator'),
    ),
}


_U_NETS = {
    'small': dict(features=(8, 16, 32), dtype='float32'),
    'full': dict(features=(32, 64, 128, 256, 512), dtype='float32'),
}


def _network(
    name, options, *, weights='', encoder_rate=1.0, cached_copies=()):
  return dict(
      name=name, weights=weights, encoder_rate=encoder_rate,
      cached_copies=cached_copies, options=options)


def _deeplab(depth):
  return _network(
      'deeplab_v3_plus',
      dict(
          depth=depth, output_stride=16, features=256, norm='group',
          dtype='float32'))


# The encoder starts from ImageNet's weights, which the extra [pretrained]
# installs; `frozen_until` says how many of its 16 blocks stay as they are.
# Of 52 strong images, 8 cached copies would be learnt by heart.
def _effnet(frozen_until, cached_copies=()):
  return _network(
      'efficientnet_unet',
      dict(
          decoder_features=(96, 64, 48), frozen_until=frozen_until,
          dtype='float32'),
      weights='installed', encoder_rate=0.1, cached_copies=cached_copies)


NETWORKS = {
    'effnet_lite0': _effnet(5),
    'effnet_lite0_frozen': _effnet(16, (50, 8)),
    'unet_small': _network('unet', _U_NETS['small']),
    'unet_full': _network('unet', _U_NETS['full']),
    'residual_unet_small': _network('residual_unet', _U_NETS['small']),
    'residual_unet_full': _network('residual_unet', _U_NETS['full']),
    'deeplab_resnet18': _deeplab(18),
    'deeplab_resnet50': _deeplab(50),
}


# Of networks that start from ImageNet's weights; all others keep the base's.
_OPTIMIZERS = {
    name: dict(learning_rate=2e-3)
    for name in NETWORKS if name.startswith('effnet')}


def get_base(data_dir: str) -> ml_collections.ConfigDict:
  """Returns DII + DCR on the records under `data_dir`, not yet locked."""
  return ml_collections.ConfigDict(dict(
      version=versions.VERSION,  # Of these keys, in a stored config; not yours.
      seed=0,  # Of the parameters, the order of the images, augmentation.
      train_steps=400,  # Updates of both networks.
      log_every_steps=20,  # Between lines of log.jsonl and the terminal.
      eval_every_steps=100,  # Between looks at the validation split.
      checkpoint_every_steps=100,  # Between saves, where a run resumes.
      # So many updates that are not finite end the run, if one follows another.
      max_skipped_in_a_row=20,
      mapping='pmap',  # Over the devices; 'jit' is one program for all.
      input=dict(
          data_dir=data_dir,  # Folder that `data_prep.prepare` wrote.
          strong_batch_size=8,  # Exact masks a step, over all devices.
          weak_batch_size=8,  # Weak annotations a step, over all devices.
          eval_batch_size=32,  # Over all devices of a process.
          weak_labels='annotation',  # 'truth' is full supervision.
          # Or a folder of `experiments.refine`: its masks take the place of
          # the weak annotations that they were made from.
          corrected_labels='',
          num_workers=0,  # Threads that read ahead; pays where disks are slow.
      ),
      augmentation=dict(  # See `augmentation.AugmentationOptions`.
          flip=True,
          rotation_deg=20.0,
          log2_scale=0.25,
          shift=0.05,
          brightness=0.1,
          contrast=0.2,
          log2_gamma=0.3,
          noise=0.02,
          saturation=0.0,
          hue_deg=0.0,
          blur=0.0,
      ),
      # A network; with its options it is a variant: `phantom.py:unet_full`.
      model=dict(
          name='unet',
          # ImageNet's, for the encoder to start from: a file, or 'installed'.
          weights='',
          # Of the learning rate, the share with which that encoder learns;
          # 'efficientnet_unet' alone may have another than 1.
          encoder_rate=1.0,
          # So many augmented views of each strong and of each weak image, whose
          # features by the frozen blocks are computed once; () draws new ones.
          cached_copies=(),
          options=_U_NETS['small'],
      ),
      optimizer=dict(
          learning_rate=4e-3,  # Of AdamW, the peak; a cosine takes it to 0.
          warmup_steps=40,  # From 0 to the peak.
          weight_decay=1e-4,  # Of AdamW.
          clip_norm=1.0,  # Largest norm of a network's gradient.
      ),
      supervision=dict(
          strong_loss='cross_entropy_dice',
          weak_loss='cross_entropy_dice',
          # Kind -> ((factor, loss), ...) where a kind is used for what it is,
          # instead of `weak_loss` on its label map: see `parts`.
          loss_by_kind=dict(),
          strong_scale=1.0,  # 0 learns nothing from the exact masks.
          weak_scale=1.0,
          weak_head=False,  # For the method `strong_weak`.
          # Share of the steps that learn weak labels alone, before the others
          # learn exact masks alone; 0 learns both in every step.
          weak_first_share=0.0,
          # Train twice, the second time with the weak labels that the first
          # run has corrected: see `refining`. Twice the steps.
          refine=False,
          alignment_loss='cross_entropy_dice',  # 'training' is `weak_loss`.
          # Where an annotation lies counts, not how much of it there is: see
          # `losses.without_class_prior`.
          alignment_without_class_prior=True,
      ),
      weighting=dict(
          # Why the last layer, and why without the class prior:
          # experiments/results/alignment_loss.md.
          name='dii_last_layer',
          learning_rate=0.15,  # Of the indicators, or the weight net's Adam.
          initial_indicator=1.0,  # Of every weak instance.
          initial_from='',  # Or an audit.csv: 1 - score. See `retraining`.
          every_steps=1,
          start_step=0,
          instances='batch',  # That move; 'all' takes a pass of its own.
          method='forward',
          # Without it, good indicators sink once the strong set is learnt by
          # heart: experiments/results/phantom.md.
          without_common_harm=True,
      ),
      co_regularization=dict(
          scale=1.0, ramp_up_steps=100, trust='complement', mixing='cutmix',
          teacher='other', decay=0.99),
      compare=dict(
          # Names of `METHODS` to train one after another, with every seed; ()
          # trains just the one that this config describes.
          methods=(),
          seeds=(0,),  # Of each of them.
      ),
  ))


def with_variant(
    config: ml_collections.ConfigDict, variant: str
) -> ml_collections.ConfigDict:
  """Applies a variant, or several with commas between, and locks the config.

  Args:
    config: from `get_base`.
    variant: a key of `METHODS` or of `NETWORKS`, `compare` or `debug`:
      'dii,unet_full'.

  Raises:
    ValueError: if there is no such variant.
  """
  names = variant.split(',')
  # Networks first: `debug` makes small what it finds.
  for name in sorted(names, key=lambda name: name not in NETWORKS):
    _apply(config, name)
  return config.lock()


def _apply(config, variant):
  if variant in NETWORKS:
    config.model = ml_collections.ConfigDict(NETWORKS[variant])
    config.optimizer.update(_OPTIMIZERS.get(variant, {}))
  elif variant == 'compare':
    config.compare.methods = ('strong_only', 'uniform', 'dii_dcr')
  elif variant == 'debug':  # A smoke test of every part, in seconds.
    options = config.model.options
    if 'decoder_features' in options:
      options.decoder_features = (8, 8, 8)
    else:
      options.features = 8 if isinstance(options.features, int) else (8, 8)
    config.update(dict(
        train_steps=4, log_every_steps=1, eval_every_steps=2,
        checkpoint_every_steps=2,
        input=dict(strong_batch_size=4, weak_batch_size=8, eval_batch_size=8),
        optimizer=dict(warmup_steps=1),
    ))
  elif variant in METHODS:
    config.update(METHODS[variant])
  else:
    raise ValueError(
        f'Unknown variant {variant!r}; known: '
        f'{sorted(METHODS) + sorted(NETWORKS) + ["compare", "debug"]}.'
    )
