"""Training of one run: input, model, state, resume, loop, evaluate."""

from collections.abc import Callable
import functools
import os
import time
from typing import Any, NamedTuple

from absl import logging
from hybridseg import augmentation
from hybridseg import indicators as indicators_lib
from hybridseg import losses
from hybridseg import models
from hybridseg import parallel
from hybridseg import train_step as train_step_lib
import jax
import jax.numpy as jnp
import ml_collections
import numpy as np
import optax

from experiments import binary
from experiments import checkpoints as checkpoints_lib
from experiments import evaluation
from experiments import input_pipeline
from experiments import reporting
from experiments import run_folder

_LOSSES = {
    'balanced_cross_entropy': losses.balanced_cross_entropy_loss,
    'cross_entropy': losses.cross_entropy_loss,
    'cross_entropy_dice': losses.cross_entropy_dice_loss,
    'soft_dice': losses.soft_dice_loss,
}


class Parts(NamedTuple):
  """What a config and a set are turned into, once.

  Attributes:
    step_fn: the mapped training step.
    eval_fn: the mapped evaluation step.
    init_fn: maps nothing to the state before the first update.
    num_devices: over which batches are split.
  """

  step_fn: Callable[..., Any]
  eval_fn: Callable[..., Any]
  init_fn: Callable[[], train_step_lib.TrainState]
  num_devices: int


def build(
    config: ml_collections.ConfigDict, dataset: input_pipeline.Dataset
) -> Parts:
  """Builds every part of a run; the one place that reads the config.

  Raises:
    binary.UserError: if a field does not fit the library, the set or the
      devices.
  """
  num_devices = jax.local_device_count()
  num_classes = len(dataset.classes)
  _check_steps(config)
  _check_batches(config, num_devices)
  try:
    model = models.build(
        config.model.name,
        num_classes=num_classes,
        options=config.model.options.to_dict(),
    )
    apply_fn = lambda params, images, **options: model.apply(
        {'params': params}, images, **options
    )
    images = jnp.zeros((1, *dataset.image_shape))
    jax.eval_shape(model.init, jax.random.key(0), images)
    optimizer = _build_optimizer(config)
    step_fn = train_step_lib.make_train_step(
        apply_fn,
        optimizer,
        num_classes=num_classes,
        features_fn=functools.partial(apply_fn, return_features=True),
        augment_fn=functools.partial(
            augmentation.augment,
            options=augmentation.AugmentationOptions(**config.augmentation),
        ),
        supervision=_build_supervision(config.supervision),
        weighting=train_step_lib.Weighting(
            **_without(config.weighting, 'initial_indicator')
        ),
        co_reg=train_step_lib.CoRegularization(**config.co_regularization),
        axis_name=parallel.AXIS_NAME,
    )
  except (TypeError, ValueError) as e:
    raise binary.UserError(f'Config does not fit: {e}') from e
  eval_fn = train_step_lib.make_eval_step(
      apply_fn, num_classes=num_classes, image_fn=augmentation.to_float
  )

  def init_fn():
    return train_step_lib.init_state(
        lambda key: model.init(key, images)['params'],
        optimizer,
        jax.random.key(config.seed),
        num_weak=len(dataset.splits['train_weak']),
        indicator_value=config.weighting.initial_indicator,
    )

  return Parts(
      step_fn=parallel.pmap_step(step_fn),
      eval_fn=parallel.pmap_eval(eval_fn),
      init_fn=lambda: parallel.replicate(jax.jit(init_fn)()),
      num_devices=num_devices,
  )


def _without(config, *names):
  return {k: v for k, v in config.items() if k not in names}


def _check_steps(config):
  for name in ('train_steps', 'log_every_steps', 'eval_every_steps',
               'checkpoint_every_steps'):
    if config[name] <= 0:
      raise binary.UserError(f'{name} is {config[name]}: use 1 or more.')
  if config.checkpoint_every_steps % config.log_every_steps:
    # A resumed run must average the same steps into each line of its log.
    raise binary.UserError(
        f'checkpoint_every_steps is {config.checkpoint_every_steps}: use a '
        f'multiple of log_every_steps, {config.log_every_steps}.'
    )


def _check_batches(config, num_devices):
  for name in ('strong_batch_size', 'weak_batch_size', 'eval_batch_size'):
    # CutMix pairs neighbours within a device.
    multiple = num_devices * (2 if name == 'weak_batch_size' else 1)
    if config.input[name] <= 0 or config.input[name] % multiple:
      raise binary.UserError(
          f'input.{name} is {config.input[name]}: with {num_devices} device(s) '
          f'use a positive multiple of {multiple}.'
      )


def _build_optimizer(config):
  learning_rate = config.optimizer.learning_rate
  if not learning_rate > 0:
    raise ValueError(
        f'optimizer.learning_rate is {learning_rate}: use a positive number.'
    )
  schedule = optax.warmup_cosine_decay_schedule(
      0.0, learning_rate, config.optimizer.warmup_steps, config.train_steps
  )
  return optax.chain(
      optax.clip_by_global_norm(config.optimizer.clip_norm),
      optax.adamw(schedule, weight_decay=config.optimizer.weight_decay),
  )


def _build_supervision(config):
  def loss(name):
    if name not in _LOSSES:
      raise ValueError(f'Unknown loss {name!r}; known: {sorted(_LOSSES)}.')
    return _LOSSES[name]

  alignment_loss = loss(config.alignment_loss)
  if config.alignment_without_class_prior:
    alignment_loss = losses.prior_free(alignment_loss)
  return train_step_lib.Supervision(
      strong_loss_fn=loss(config.strong_loss),
      weak_loss_fn=loss(config.weak_loss),
      alignment_loss_fn=alignment_loss,
      weak_scale=config.weak_scale,
  )


def train_and_evaluate(
    config: ml_collections.ConfigDict, workdir: str
) -> dict[str, Any]:
  """Trains to `config.train_steps`, from the newest checkpoint if there is one.

  Leaves in `workdir`: config.json, run.json (versions, commit, devices),
  log.jsonl, metrics.json, cases_test.csv, indicators.csv, checkpoints/,
  curves.png, panel.png, indicators.png.

  Args:
    config: locked config, see `experiments/configs/common.py`.
    workdir: folder of the run.

  Returns:
    The content of metrics.json.

  Raises:
    binary.UserError: if the config, the data or the checkpoint do not fit.
  """
  start_time = time.time()
  dataset = input_pipeline.load_dataset(config.input.data_dir)
  batches = input_pipeline.train_batches(
      dataset,
      strong_batch_size=config.input.strong_batch_size,
      weak_batch_size=config.input.weak_batch_size,
      seed=config.seed,
  )
  parts = build(config, dataset)
  evaluate = functools.partial(
      evaluation.evaluate_records,
      parts.eval_fn,
      batch_size=config.input.eval_batch_size,
      num_devices=parts.num_devices,
  )

  # Resume: (1) refuse a folder of another config; (2) build the state of a
  # fresh run; (3) replace it by the newest checkpoint; (4) drop the log lines
  # that are newer; (5) go on at its step, which alone fixes data and keys.
  run_folder.open_run(workdir, config, dataset.fingerprint)
  state = parts.init_fn()
  checkpoints = checkpoints_lib.Checkpoints(workdir)
  restored = checkpoints.restore_latest(state)
  if restored is not None:
    state = restored
    logging.info('Resumed at step %d from %s.', state.step, workdir)
  first_step = int(state.step)
  log = run_folder.Log(workdir, first_step)

  key = jax.random.key(config.seed)
  progress = run_folder.Progress(
      first_step,
      config.train_steps,
      images_per_step=config.input.strong_batch_size
      + config.input.weak_batch_size,
  )
  pending = []
  for step in range(first_step, config.train_steps):
    batch = parallel.shard_batch(batches[step], parts.num_devices)
    state, metrics = parts.step_fn(state, batch, key)
    pending.append(metrics)
    done = step + 1
    last = done == config.train_steps
    if done % config.log_every_steps == 0 or last:
      means = _host_means(pending)
      pending = []
      log.write(done, means)
      progress.print(done, means)
    if done % config.eval_every_steps == 0 and not last:
      _, counts = evaluate(state.params, dataset.splits['val'])
      dice = evaluation.summarize(counts, dataset.classes)['dice']
      log.write(done, {'val_dice': dice, **_health(state)})
      progress.note(done, f'val Dice {dice:.3f}')
    if done % config.checkpoint_every_steps == 0 or last:
      log.flush()
      checkpoints.save(done, state)

  results = _report(state, evaluate, dataset, log, workdir)
  checkpoints.close()
  run_folder.write_json(
      os.path.join(workdir, 'timing.json'),
      {'last_session_s': time.time() - start_time, 'first_step': first_step},
  )
  return results


def _host_means(pending):
  pending = jax.device_get(pending)
  return {
      name: float(np.mean([m[name] for m in pending])) for name in pending[0]
  }


_indicator_health = jax.jit(indicators_lib.indicator_health)


def _health(state):
  health = jax.device_get(_indicator_health(state.indicators))
  return {f'indicator_{name}': float(value) for name, value in health.items()}


def _report(state, evaluate, dataset, log, workdir):
  """Evaluates the final state and writes every table and picture of a run."""
  results = {'step': int(state.step), 'dataset': dataset.name}
  predictions = {}
  for split in ('val', 'test'):
    predictions[split], counts = evaluate(state.params, dataset.splits[split])
    results[split] = evaluation.summarize(counts, dataset.classes)
    evaluation.write_cases(
        os.path.join(workdir, f'cases_{split}.csv'),
        dataset.splits[split],
        counts,
        dataset.classes,
    )
  weak_records = dataset.splits['train_weak']
  weights = np.asarray(state.indicators.weights)
  num_updates = np.asarray(state.indicators.num_updates)
  results['indicators'] = evaluation.summarize_indicators(
      weights, num_updates, weak_records
  )
  evaluation.write_indicators(
      os.path.join(workdir, 'indicators.csv'),
      weights, num_updates, weak_records)
  log.write(results['step'], {'val_dice': results['val']['dice'],
                              **_health(state)})
  log.flush()

  # The panel's weak instances show what the indicators think of them.
  shown = reporting.choose_weak(weights, weak_records)
  weak_predictions, _ = evaluate(
      state.params, [weak_records[i] for i in shown]
  )
  reporting.plot_curves(log.lines, os.path.join(workdir, 'curves.png'))
  reporting.plot_panel(
      os.path.join(workdir, 'panel.png'),
      dataset=dataset,
      weak_indices=shown,
      weak_predictions=weak_predictions,
      weights=weights,
      test_predictions=predictions['test'],
  )
  reporting.plot_indicators(
      os.path.join(workdir, 'indicators.png'),
      weights=weights,
      records=weak_records,
  )
  run_folder.write_json(os.path.join(workdir, 'metrics.json'), results)
  return results


def evaluate_run(
    config: ml_collections.ConfigDict, workdir: str, split: str
) -> dict[str, Any]:
  """Evaluates the newest checkpoint of a run and writes the split's tables.

  Args:
    config: the run's own config.
    workdir: folder of the run.
    split: 'val' or 'test'.

  Returns:
    `evaluation.summarize` of the split, with the step of the checkpoint.

  Raises:
    binary.UserError: if there is no checkpoint, or one of another model.
  """
  dataset = input_pipeline.load_dataset(config.input.data_dir)
  parts = build(config, dataset)
  checkpoints = checkpoints_lib.Checkpoints(workdir)
  state = checkpoints.restore_latest(jax.eval_shape(parts.init_fn))
  checkpoints.close()
  if state is None:
    raise binary.UserError(
        f'No checkpoint in {workdir}: train first (experiments.train).'
    )
  _, counts = evaluation.evaluate_records(
      parts.eval_fn,
      state.params,
      dataset.splits[split],
      batch_size=config.input.eval_batch_size,
      num_devices=parts.num_devices,
  )
  results = {'step': int(state.step)}
  results |= evaluation.summarize(counts, dataset.classes)
  evaluation.write_cases(
      os.path.join(workdir, f'cases_{split}.csv'),
      dataset.splits[split], counts, dataset.classes)
  run_folder.write_json(
      os.path.join(workdir, f'evaluation_{split}.json'), results)
  return results


def print_summary(results: dict[str, Any], workdir: str) -> None:
  """Prints what a run found, where it lies and what to do next."""
  test, indicators = results['test'], results['indicators']
  low, high = test['dice_interval_95']
  print(f'\nDone: {results["dataset"]}, {results["step"]} steps.')
  print(f'  test Dice        {test["dice"]:.3f}  (95 % interval {low:.3f} to '
        f'{high:.3f}, {test["num_cases_counted"]} cases)')
  for name, scores in test['per_class'].items():
    print(f'    {name:14s} {scores["dice"]:.3f}  (IoU {scores["iou"]:.3f})')
  if 'auroc' in indicators:
    print(f'  bad weak labels  AUROC {indicators["auroc"]:.3f}: the indicators '
          f'rank {indicators["num_faulty"]} planted faults below '
          f'{indicators["num_weak"] - indicators["num_faulty"]} good labels')
  print(f'  indicators       mean {indicators["mean"]:.3f} over '
        f'{indicators["num_weak"]} weak instances')
  print(f'  files            {workdir}/: metrics.json, cases_test.csv, '
        'indicators.csv, panel.png, curves.png, indicators.png')
  print('  your own data    write a manifest.jsonl (README, "Your own data"), '
        'then\n'
        '    python -m data_prep.prepare --manifest=FILE --output=data/mine\n'
        '    python -m experiments.train '
        '--config=experiments/configs/phantom.py '
        '--config.input.data_dir=data/mine --workdir=runs/mine')
