"""The defaults of every config, and the methods as overrides of them.

The config of a set starts from `get_base(data_dir)`, which is DII + DCR:
dynamic instance indicators and dynamic co-regularization. Each entry of
`METHODS` holds the keys in which another method differs, and each entry of
`NETWORKS` is another network.
"""

import ml_collections

from experiments.configs import versions

# The keys that each method changes; all methods share all other keys.
METHODS = {
    'strong_only': dict(
        supervision=dict(weak_scale=0.0),
        weighting=dict(name='uniform'),
        co_regularization=dict(scale=0.0),
    ),
    # Uses no exact mask except those of the validation split.
    'weak_only': dict(
        supervision=dict(strong_scale=0.0),
        weighting=dict(name='uniform'),
        co_regularization=dict(scale=0.0),
    ),
    # Pre-trains and fine-tunes within one schedule of the learning rate.
    'weak_then_strong': dict(
        supervision=dict(weak_first_share=0.5),
        weighting=dict(name='uniform'),
        co_regularization=dict(scale=0.0),
    ),
    # An upper bound: it learns the exact masks of the weak images, which no
    # other method may see, with the strong loss. As in all methods, half of
    # each batch are strong images, which are therefore seen more often.
    # Weighting them down to their share made it worse (results/table_small.md).
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
    # CutMix; no weak label is used. In the paper, the two networks also teach
    # each other on the images with exact masks, and the scale does not ramp up.
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
    # hard labels of the weak images, however certain they are. In the paper,
    # their weight is 0 at first and then grows linearly.
    'pseudo_label': dict(
        supervision=dict(weak_scale=0.0),
        weighting=dict(name='uniform'),
        co_regularization=dict(trust='one', mixing='none', teacher='self'),
    ),
    # Tarvainen and Valpola, 2017 (https://arxiv.org/abs/1703.01780): each of
    # the two networks learns from its own mean over the steps, and these means
    # predict. No weak label is used. CutMix is the student's noise, as in
    # French et al., 2020 (https://arxiv.org/abs/1906.01916).
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
    # Ren et al., 2018 (https://arxiv.org/abs/1803.09050): the weights of a
    # batch come from a lookahead down the training loss. In the paper, the
    # exact masks only steer; here the networks learn them, too, as in all other
    # methods.
    'l2rw': dict(
        supervision=dict(
            alignment_loss='training', alignment_without_class_prior=False),
        weighting=dict(name='l2rw', method='per_instance'),
        co_regularization=dict(scale=0.0),
    ),
    # Shu et al., 2019 (https://arxiv.org/abs/1902.07379): see `meta_weight_net`
    # of the library. As in l2rw, the networks also learn the exact masks.
    'meta_weight_net': dict(
        supervision=dict(
            alignment_loss='training', alignment_without_class_prior=False),
        weighting=dict(
            name='meta_weight_net', method='per_instance', learning_rate=1e-3),
        co_regularization=dict(scale=0.0),
    ),
    'dii': dict(co_regularization=dict(scale=0.0)),
    'dii_dcr': dict(),
    # Trains twice: the first training corrects the weak labels for the second.
    # This is our own addition.
    'dii_dcr_refine': dict(supervision=dict(refine=True)),
    'uniform_refine': dict(
        supervision=dict(refine=True),
        weighting=dict(name='uniform'),
        co_regularization=dict(scale=0.0),
    ),
    # Computes exact alignments over all layers, with the alignment loss.
    'dii_dcr_all_layers': dict(weighting=dict(name='dii')),
    # The closest to Algorithm 1 and to the authors' code: the lookahead
    # descends the training loss over all layers, and the trust of a pseudo
    # label is the instance's indicator. docs/differences.md lists what still
    # differs.
    'paper': dict(
        supervision=dict(
            alignment_loss='training', alignment_without_class_prior=False),
        weighting=dict(
            name='dii', method='per_instance', without_common_harm=False),
        co_regularization=dict(trust='indicator'),
    ),
    # The same with the last layer alone, as in the default.
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


# The encoder starts from ImageNet weights, which the extra [pretrained]
# installs; `frozen_until` is the number of its 16 blocks that stay frozen. The
# strong images have more cached copies: 8 copies of 52 of them would be learnt
# by heart.
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


# For networks that start from ImageNet weights; others keep the base optimizer.
_OPTIMIZERS = {
    name: dict(learning_rate=2e-3)
    for name in NETWORKS if name.startswith('effnet')}


def get_base(data_dir: str) -> ml_collections.ConfigDict:
  """Returns DII + DCR on the records under `data_dir`, not yet locked."""
  return ml_collections.ConfigDict(dict(
      # The version of these keys in a stored config. Do not set it yourself.
      version=versions.VERSION,
      # The seed of the parameters, of the order of the images and of the
      # augmentation.
      seed=0,
      train_steps=400,  # The number of updates of both networks.
      # The number of steps between two lines of log.jsonl and the terminal.
      log_every_steps=20,
      # The number of steps between two evaluations of the validation split.
      eval_every_steps=100,
      # The number of steps between two checkpoints, from which a run resumes.
      checkpoint_every_steps=100,
      # The run ends after this many consecutive updates that are not finite.
      max_skipped_in_a_row=20,
      # How steps are spread over the devices; 'jit' compiles one program for
      # all of them.
      mapping='pmap',
      input=dict(
          data_dir=data_dir,  # The folder that `data_prep.prepare` has written.
          # The number of exact masks per step, over all devices.
          strong_batch_size=8,
          # The number of weak annotations per step, over all devices.
          weak_batch_size=8,
          # The number of images per evaluation batch, over all devices of a
          # process.
          eval_batch_size=32,
          # The labels of the weak images. 'truth' takes their exact masks,
          # which is full supervision.
          weak_labels='annotation',
          # A folder of `experiments.refine`, whose masks replace the weak
          # annotations that they were made from; '' uses none.
          corrected_labels='',
          # The number of threads that read ahead. It pays if disks are slow.
          num_workers=0,
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
      # The network. Each network with its options is also a variant, such as
      # `phantom.py:unet_full`.
      model=dict(
          name='unet',
          # The ImageNet weights from which the encoder starts: a file, or
          # 'installed' for those of the extra [pretrained]. '' starts from
          # random weights.
          weights='',
          # The learning rate of that encoder, as a share of
          # `optimizer.learning_rate`; only 'efficientnet_unet' may have a value
          # other than 1.
          encoder_rate=1.0,
          # The numbers of augmented views of each strong and of each weak image
          # for which the features of the frozen blocks are computed once and
          # kept; () draws new views in every step.
          cached_copies=(),
          options=_U_NETS['small'],
      ),
      optimizer=dict(
          # The peak of AdamW's learning rate, which then falls to 0 along a
          # cosine.
          learning_rate=4e-3,
          # The number of steps in which the learning rate rises from 0 to the
          # peak.
          warmup_steps=40,
          weight_decay=1e-4,  # The weight decay of AdamW.
          # The largest norm of a network's gradient; longer ones are clipped.
          clip_norm=1.0,
      ),
      supervision=dict(
          strong_loss='cross_entropy_dice',
          weak_loss='cross_entropy_dice',
          # The losses of each kind that is not learnt from its label map by
          # `weak_loss`: kind -> ((factor, loss), ...).
          loss_by_kind=dict(),
          strong_scale=1.0,
          weak_scale=1.0,
          weak_head=False,  # The method `strong_weak` uses it.
          # The share of the steps that learn weak labels alone. All later steps
          # learn exact masks alone. With 0, every step learns both.
          weak_first_share=0.0,
          # Whether to train twice, the second time with the weak labels that
          # the first training has corrected. This takes twice the steps.
          refine=False,
          # 'training' uses `weak_loss`.
          alignment_loss='cross_entropy_dice',
          # Whether alignments depend only on where an annotation lies, and not
          # on how large it is: see `losses.without_class_prior`.
          alignment_without_class_prior=True,
      ),
      weighting=dict(
          # experiments/results/alignment_loss.md explains why the default uses
          # the last layer, and no class prior.
          name='dii_last_layer',
          learning_rate=0.15,
          initial_indicator=1.0,  # The first indicator of every weak instance.
          # An audit.csv, from which the first indicator of each instance is
          # 1 - score; '' starts from `initial_indicator`.
          initial_from='',
          every_steps=1,
          start_step=0,
          # With 'all', moving them takes a pass of its own.
          instances='batch',
          method='forward',
          # Without it, good indicators sink once the strong set is learnt by
          # heart: see experiments/results/phantom.md.
          without_common_harm=True,
      ),
      co_regularization=dict(
          scale=1.0, ramp_up_steps=100, trust='complement', mixing='cutmix',
          teacher='other', decay=0.99),
      compare=dict(
          # The names of methods to train one after another, each with every
          # seed; () trains only the method that this config describes.
          methods=(),
          seeds=(0,),  # The seeds with which each method is trained.
      ),
  ))


def with_variant(
    config: ml_collections.ConfigDict, variant: str
) -> ml_collections.ConfigDict:
  """Applies one or several variants and locks the config.

  Args:
    config: config from `get_base`.
    variant: a key of `METHODS` or of `NETWORKS`, `compare` or `debug`, or
      several of them with commas between, such as 'dii,unet_full'.

  Raises:
    ValueError: if there is no such variant.
  """
  names = variant.split(',')
  # Apply networks first, since `debug` shrinks the network that it finds.
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
