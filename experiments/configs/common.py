"""Holds the default values of all configs, and the methods and networks.

The config of every set starts from `get_base(data_dir)`. That is the method DII
+ DCR: dynamic instance indicators and dynamic co-regularization. Each entry of
`METHODS` holds the values in which another method differs from it, and each
entry of `NETWORKS` the settings of another network.
"""

import ml_collections

from experiments.configs import versions

# The values that each method changes. All other values are the same for all
# methods.
METHODS = {
    'strong_only': dict(
        supervision=dict(weak_scale=0.0),
        weighting=dict(name='uniform'),
        co_regularization=dict(scale=0.0),
    ),
    # Uses no exact masks except those of the validation split.
    'weak_only': dict(
        supervision=dict(strong_scale=0.0),
        weighting=dict(name='uniform'),
        co_regularization=dict(scale=0.0),
    ),
    # Pre-trains on weak labels and then fine-tunes on exact masks, within one
    # schedule of the learning rate.
    'weak_then_strong': dict(
        supervision=dict(weak_first_share=0.5),
        weighting=dict(name='uniform'),
        co_regularization=dict(scale=0.0),
    ),
    # An upper bound for the other methods. It also learns the exact masks of
    # the weak images, with the strong loss; no other method may see these
    # masks. As in all methods, half of each batch consists of strong images,
    # which are therefore seen more often. Giving them less weight in return
    # made the results worse (results/table_small.md).
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
    # Cross pseudo supervision without and with CutMix (Chen et al., 2021,
    # https://arxiv.org/abs/2106.01226). No weak label is used. Two things
    # differ in the paper: the two networks also teach each other on the images
    # with exact masks, and the scale of this loss does not ramp up.
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
    # hard labels of the weak images, whether it is certain of them or not. In
    # the paper, the weight of these labels is 0 at first and then grows
    # linearly.
    'pseudo_label': dict(
        supervision=dict(weak_scale=0.0),
        weighting=dict(name='uniform'),
        co_regularization=dict(trust='one', mixing='none', teacher='self'),
    ),
    # Tarvainen and Valpola, 2017 (https://arxiv.org/abs/1703.01780): for each
    # of the two networks, a teacher holds the running mean of its parameters.
    # Each network learns from its own teacher, and the teachers make the
    # predictions. No weak label is used. CutMix replaces the noise that the
    # paper adds to the network's images, as in French et al., 2020
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
    # Ren et al., 2018 (https://arxiv.org/abs/1803.09050): the weights of the
    # weak images in a batch come from a lookahead step down the training loss.
    # In the paper, the exact masks only determine these weights; here the
    # networks also learn from the masks, as in all other methods.
    'l2rw': dict(
        supervision=dict(
            alignment_loss='training', alignment_without_class_prior=False),
        weighting=dict(name='l2rw', method='per_instance'),
        co_regularization=dict(scale=0.0),
    ),
    # Shu et al., 2019 (https://arxiv.org/abs/1902.07379): see the library's
    # module `meta_weight_net`. As in l2rw, the networks also learn from the
    # exact masks.
    'meta_weight_net': dict(
        supervision=dict(
            alignment_loss='training', alignment_without_class_prior=False),
        weighting=dict(
            name='meta_weight_net', method='per_instance', learning_rate=1e-3),
        co_regularization=dict(scale=0.0),
    ),
    'dii': dict(co_regularization=dict(scale=0.0)),
    'dii_dcr': dict(),
    # Trains twice: the first run corrects the weak labels for the second run.
    # This is our own addition.
    'dii_dcr_refine': dict(supervision=dict(refine=True)),
    'uniform_refine': dict(
        supervision=dict(refine=True),
        weighting=dict(name='uniform'),
        co_regularization=dict(scale=0.0),
    ),
    # Computes exact alignments from the gradients of the alignment loss in all
    # layers, not only in the last one.
    'dii_dcr_all_layers': dict(weighting=dict(name='dii')),
    # The method that is closest to Algorithm 1 of the paper and to its authors'
    # code: the lookahead step descends the training loss in all layers, and the
    # trust of a pseudo label is the instance's indicator. docs/differences.md
    # lists the differences that remain.
    'paper': dict(
        supervision=dict(
            alignment_loss='training', alignment_without_class_prior=False),
        weighting=dict(
            name='dii', method='per_instance', without_common_harm=False),
        co_regularization=dict(trust='indicator'),
    ),
    # The method `paper`, but with a lookahead in the last layer only, as in the
    # default.
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
# installs. `frozen_until` is the number of its 16 blocks that stay frozen.
# `effnet_lite0_frozen` below caches 50 views of each strong image but only 8 of
# each weak one: with 52 strong images, 8 views each would be learnt by heart.
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


# The optimizer settings of networks that start from ImageNet weights.
_OPTIMIZERS = {
    name: dict(learning_rate=2e-3)
    for name in NETWORKS if name.startswith('effnet')}


def get_base(data_dir: str) -> ml_collections.ConfigDict:
  """Returns the default config, DII + DCR on a prepared set, not yet locked.

  Args:
    data_dir: folder of the prepared set.
  """
  return ml_collections.ConfigDict(dict(
      # The version of these keys in a stored config. Do not set it yourself.
      version=versions.VERSION,
      # The seed of the parameters, of the order of the images and of the
      # augmentation.
      seed=0,
      train_steps=400,  # The number of updates of both networks.
      # The number of steps between two lines in log.jsonl and on the terminal.
      log_every_steps=20,
      # The number of steps between two evaluations of the validation split.
      eval_every_steps=100,
      # The number of steps between two checkpoints. A stopped run resumes from
      # the newest one.
      checkpoint_every_steps=100,
      # The run ends after this many consecutive updates that are not finite.
      max_skipped_in_a_row=20,
      # The folder of an earlier run of the same network on the same classes,
      # from whose networks and indicators the run starts, as after a review
      # (`training.warm_start`); '' starts anew.
      warm_start='',
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
          # The labels of the weak images. 'truth' uses their exact masks, as
          # in full supervision.
          weak_labels='annotation',
          # A folder that `experiments.refine` wrote, whose corrected masks
          # replace the weak annotations; '' uses the original annotations.
          corrected_labels='',
          # The number of threads that read batches ahead. They help if the
          # disk is slow.
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
      # The network. A variant, such as `phantom.py:unet_full`, sets all of
      # these keys.
      model=dict(
          name='unet',
          # The ImageNet weights from which the encoder starts: a file, or
          # 'installed' for those that the extra [pretrained] installs. ''
          # starts from random weights.
          weights='',
          # The learning rate of the pretrained encoder, as a share of
          # `optimizer.learning_rate`; only 'efficientnet_unet' may have a value
          # other than 1.
          encoder_rate=1.0,
          # How many augmented views of each strong and of each weak image a run
          # may use. The features of the frozen blocks are computed once for
          # each view. () draws new views in every step.
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
          # The largest norm of a network's gradient. A gradient with a larger
          # norm is scaled down to it.
          clip_norm=1.0,
      ),
      supervision=dict(
          strong_loss='cross_entropy_dice',
          weak_loss='cross_entropy_dice',
          # Maps a kind of annotation to ((factor, loss), ...). The weighted sum
          # is the loss of that kind. Kinds that are not listed use `weak_loss`.
          loss_by_kind=dict(),
          strong_scale=1.0,
          weak_scale=1.0,
          # Whether weak labels are learnt by a last layer of their own, as in
          # the method `strong_weak`.
          weak_head=False,
          # If it is not 0, this share of the steps learns only weak labels, and
          # all later steps learn only exact masks. With 0, every step learns
          # both.
          weak_first_share=0.0,
          # Whether to train twice. The first training corrects the weak labels,
          # and the second one learns from the corrected labels. Each of them
          # takes `train_steps` steps.
          refine=False,
          # The loss from whose gradients alignments are computed; 'training'
          # uses `weak_loss`.
          alignment_loss='cross_entropy_dice',
          # Whether alignments depend only on the position of an annotation, and
          # not on its size: see `losses.without_class_prior`.
          alignment_without_class_prior=True,
      ),
      weighting=dict(
          # experiments/results/alignment_loss.md explains why the default uses
          # only the last layer and excludes the class prior.
          name='dii_last_layer',
          learning_rate=0.15,
          initial_indicator=1.0,  # The first indicator of every weak instance.
          # An audit.csv, from which the first indicator of each instance is
          # 1 - score; '' starts from `initial_indicator`.
          initial_from='',
          # Whether weak annotations that a review has kept as they are have no
          # indicator of their own, and always count in full.
          pin_kept=False,
          every_steps=1,
          start_step=0,
          # Which indicators move together: with 'batch', those of the weak
          # images in a batch; with 'all', those of all weak images, in a
          # separate pass.
          instances='batch',
          method='forward',
          # Whether the harm that all images of a batch share is subtracted from
          # their alignments. If it is not, the indicators of good annotations
          # sink once the strong images are learnt by heart: see
          # experiments/results/phantom.md.
          without_common_harm=True,
          # Whether each weak instance has one indicator per foreground class,
          # which weights the part of the weak loss that belongs to the class.
          per_class=False,
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
    variant: a key of `METHODS` or of `NETWORKS`, `compare` or `debug`; or
      several of these, separated by commas, such as 'dii,unet_full'.

  Raises:
    ValueError: if there is no such variant.
  """
  names = variant.split(',')
  # Apply networks before all other variants, since `debug` shrinks the network
  # that is set at that time.
  for name in sorted(names, key=lambda name: name not in NETWORKS):
    _apply(config, name)
  return config.lock()


def _apply(config, variant):
  if variant in NETWORKS:
    config.model = ml_collections.ConfigDict(NETWORKS[variant])
    config.optimizer.update(_OPTIMIZERS.get(variant, {}))
  elif variant == 'compare':
    config.compare.methods = ('strong_only', 'uniform', 'dii_dcr')
  elif variant == 'debug':  # A run that tests every part within seconds.
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
