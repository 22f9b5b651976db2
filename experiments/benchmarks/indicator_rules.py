r"""Compares rules that move the indicators, on the same recorded training.

python -m experiments.benchmarks.indicator_rules --data_dir=data/endoscene \
    --workdir=runs/indicator_rules

Two networks are trained with a method of `common.METHODS`, or with
`cross_fitted`: uniform weights and co-regularization, where each network learns
only half of the exact masks, and the other half can be used for its alignments.
The gradients of each step are recorded once, in WORKDIR. Each rule is then
replayed: at every step, it computes alignments from the recorded gradients and
moves indicators of its own. These indicators do not influence the training, so
all rules see the same gradients.

Columns of the tables: 'AUROC' measures how well the indicators separate faulty
from sound labels; 0.5 is chance. 'Good' and 'faulty' are the mean indicators of
sound and of faulty labels. 'Effective' is the effective share, see
`indicators.indicator_health`.
"""

from typing import NamedTuple

from absl import flags
from absl import logging
from hybridseg import indicators as indicators_lib
from hybridseg import metrics
from hybridseg import weighting
import jax
import jax.numpy as jnp
import numpy as np

from experiments import binary
from experiments.benchmarks import indicator_trace
from experiments.building import input_pipeline
from experiments.configs import endoscene

_DATA_DIR = flags.DEFINE_string('data_dir', None, 'Prepared set with faults.')
_WORKDIR = flags.DEFINE_string('workdir', None, 'Folder of the recordings.')
_METHODS = flags.DEFINE_list(
    'methods', ['uniform_dcr', 'dii_dcr', 'cross_fitted'], 'How to train.')
_SEEDS = flags.DEFINE_list('seeds', ['0', '1'], 'Of networks and order.')
_STEPS = flags.DEFINE_integer('train_steps', 200, 'Of each training.')


class Rule(NamedTuple):
  """A rule that moves the indicators; the defaults are those of `dii_dcr`.

  Attributes:
    sources: alignments that are averaged, after each was scaled to root mean
      square 1 over the batch: 'last_layer', from the gradients of the alignment
      loss in the last layer; 'prior', the same with the training loss, which
      keeps the class prior; 'all_layers', with the alignment loss in all
      layers; 'paper', with the training loss in all layers; 'loss', minus the
      Dice loss of the weak label, centred over the batch; or the number of a
      class, for 'last_layer' over only those pixels that the annotation assigns
      to this class.
    strong: exact masks from which the strong gradient is computed: those of the
      'batch' or 'all'. With `cross_fitted` also 'own', all that the network
      learns; 'other', all that it does not learn; and 'other_batch', 8 of the
      latter.
    decay: decay of the running mean of the strong gradient; 0 uses the gradient
      of the current step alone.
    cosine: whether alignments are divided by the norms of the gradients.
    networks: networks whose alignments are averaged.
    common: what is subtracted from the alignments: 'harm', their mean over the
      batch if it is negative; 'mean', this mean with any sign; or 'nothing'.
    move: 'descent'; 'adam', with moments for each indicator; 'normalised',
      which scales the indicators of the batch to mean 1 instead of clipping
      them at 1; 'l2rw', which replaces them by the mean over the steps of the
      batch's `l2rw_weights`, scaled to mean 1; or 'mean', which replaces them
      by the mean alignment over the steps.
    learning_rate: learning rate of the indicators.
    every_steps: number of steps between two moves.
    start_step: step of the first move.
  """

  sources: tuple[str | int, ...] = ('last_layer',)
  strong: str = 'batch'
  decay: float = 0.0
  cosine: bool = False
  networks: tuple[int, ...] = (0, 1)
  common: str = 'harm'
  move: str = 'descent'
  learning_rate: float = 0.15
  every_steps: int = 1
  start_step: int = 0


# Name -> rule. For a tuple of rules, the smallest of their indicators is used.
RULES = {
    'default': Rule(),
    'one network': Rule(networks=(0,)),
    'class prior kept': Rule(('prior',)),
    'all layers': Rule(('all_layers',)),
    'all layers, class prior kept': Rule(('paper',)),
    'cosine': Rule(cosine=True),
    'strong gradient: mean, decay 0.9': Rule(decay=0.9),
    'strong gradient: mean, decay 0.99': Rule(decay=0.99),
    'strong gradient: all exact masks': Rule(strong='all'),
    'strong gradient: all, cosine': Rule(strong='all', cosine=True),
    'background pixels': Rule((0,)),
    'foreground pixels': Rule((1,)),
    'the less trusted class': (Rule((0,)), Rule((1,))),
    'both classes at the same scale': Rule((0, 1)),
    'common harm kept': Rule(common='nothing'),
    'mean taken off': Rule(common='mean'),
    'every 10 steps': Rule(every_steps=10),
    'every 10 steps, rate 0.5': Rule(every_steps=10, learning_rate=0.5),
    'every 61 steps (an epoch)': Rule(every_steps=61),
    'every 61 steps, rate 1': Rule(every_steps=61, learning_rate=1.0),
    'every 100 steps': Rule(every_steps=100),
    'from step 50': Rule(start_step=50),
    'from step 100': Rule(start_step=100),
    'rate 0.02': Rule(learning_rate=0.02),
    'rate 0.05': Rule(learning_rate=0.05),
    'rate 0.5': Rule(learning_rate=0.5),
    'Adam, rate 0.15': Rule(move='adam'),
    'Adam, rate 0.05': Rule(move='adam', learning_rate=0.05),
    'normalised indicators': Rule(move='normalised'),
    'normalised weights of a batch, mean': Rule(move='l2rw'),
    'mean alignment, no indicators': Rule(move='mean'),
    'small Dice loss': Rule(('loss',)),
    'default + small Dice loss': Rule(('last_layer', 'loss')),
}
# The rules to replay on a `cross_fitted` training run.
CROSS_FITTED = {
    'default': Rule(),
    'all exact masks learnt': Rule(strong='own'),
    'as many not learnt': Rule(strong='other'),
    '8 not learnt': Rule(strong='other_batch'),
}


class _Table(NamedTuple):
  """The state of a rule after a step, for N instances and n networks.

  Attributes:
    indicators: indicators and the numbers of their updates, [N].
    first: first moment of the alignments, for Adam, [N].
    second: second moment of the alignments, for Adam, [N].
    strong: running mean of the strong gradient, [n, F + 1, K].
  """

  indicators: indicators_lib.IndicatorState
  first: jax.Array
  second: jax.Array
  strong: jax.Array


def _steering(trace, name):
  """Returns the strong gradient of every step, [T, n, F + 1, K].

  Args:
    trace: recorded training.
    name: exact masks from which the gradient is computed, see `Rule.strong`.
  """
  if name == 'batch':
    return trace.strong
  num_steps, num_networks, num_strong = trace.each_strong.shape[:3]
  fold = indicator_trace.folds(num_strong)
  own = fold == np.arange(num_networks)[:, None]
  chosen = np.broadcast_to(
      {'all': np.ones_like(own), 'own': own}.get(name, ~own),
      (num_steps, num_networks, num_strong))
  if name == 'other_batch':
    order = np.random.default_rng(0).random(chosen.shape) + ~chosen
    chosen = order.argsort(-1).argsort(-1) < 8
  share = chosen / chosen.sum(-1, keepdims=True)
  return np.einsum('tns,tnsfk->tnfk', share, trace.each_strong)


def _of_source(source, rule, row, strong):
  """Returns the alignments of one of `Rule.sources`, [n, B].

  Args:
    source: the source.
    rule: rule that uses it.
    row: values of `indicator_trace.Trace` at one step.
    strong: strong gradient, [n, F + 1, K].
  """
  if source == 'loss':
    gain = -row['dice_loss']
    return gain - gain.mean(-1, keepdims=True)
  if source in ('all_layers', 'paper'):
    return row['all_layers'][:, int(source == 'paper')]
  if source == 'prior':
    weak = row['weak_with_prior']
  elif source == 'last_layer':
    weak = row['weak'].sum(2)
  else:
    weak = row['weak'][:, :, source]
  products = jnp.einsum('nbfk,nfk->nb', weak, strong)
  if rule.cosine:
    norms = jnp.sqrt(jnp.sum(jnp.square(weak), (-2, -1)))
    # There is no need to divide by the norm of the strong gradient. It is the
    # same for all instances, so `unit_rms` cancels it.
    products /= jnp.maximum(norms, 1e-12)
  return products


def _alignments(rule, row, strong):
  """Returns the alignments that a rule computes for a batch, float [B]."""
  scaled = [
      weighting.unit_rms(_of_source(source, rule, row, strong)[n])
      for source in rule.sources for n in rule.networks]
  mean = sum(scaled) / len(scaled)
  if rule.common == 'harm':
    return weighting.without_common_harm(mean)
  return mean - jnp.mean(mean) if rule.common == 'mean' else mean


def _move(rule, table, ids, alignments):
  state = table.indicators
  if rule.move == 'descent':
    return table._replace(indicators=indicators_lib.update_indicators(
        state, ids, -alignments, learning_rate=rule.learning_rate))
  count = state.num_updates.at[ids].add(1)
  old, seen = state.weights[ids], count[ids]
  if rule.move in ('l2rw', 'mean'):
    new = alignments
    if rule.move == 'l2rw':
      new = ids.size * weighting.l2rw_weights(-alignments)
    new = jnp.where(seen == 1, new, old + (new - old) / seen)
  elif rule.move == 'normalised':
    new = jnp.maximum(old + rule.learning_rate * alignments, 0)
    new *= ids.size / jnp.maximum(jnp.sum(new), 1e-12)
  else:
    first = 0.9 * table.first[ids] + 0.1 * alignments
    second = 0.999 * table.second[ids] + 0.001 * jnp.square(alignments)
    step = first / (1 - 0.9**seen) / (
        jnp.sqrt(second / (1 - 0.999**seen)) + 1e-8)
    new = jnp.clip(old + rule.learning_rate * step, 0, 1)
    table = table._replace(
        first=table.first.at[ids].set(first),
        second=table.second.at[ids].set(second))
  return table._replace(indicators=indicators_lib.IndicatorState(
      state.weights.at[ids].set(new), count))


def replay(
    rule: Rule, trace: indicator_trace.Trace, num_weak: int
) -> np.ndarray:
  """Replays a rule on a recorded training.

  Args:
    rule: rule that moves the indicators.
    trace: recorded training of T steps.
    num_weak: number of weak images.

  Returns:
    The indicators after every step, float [T, num_weak].
  """
  rows = {n: getattr(trace, n) for n in
          ('ids', 'weak', 'weak_with_prior', 'all_layers', 'dice_loss')}
  rows['strong'] = _steering(trace, rule.strong)
  rows['step'] = np.arange(len(trace.ids))

  def step(table, row):
    strong = rule.decay * table.strong + (1 - rule.decay) * row['strong']
    table = table._replace(strong=strong)
    due = (row['step'] % rule.every_steps == 0) & (
        row['step'] >= rule.start_step)
    moved = _move(rule, table, row['ids'], _alignments(rule, row, strong))
    table = jax.tree.map(lambda new, old: jnp.where(due, new, old), moved,
                         table)
    return table, table.indicators.weights

  zeros = jnp.zeros(num_weak)
  table = _Table(
      indicators_lib.init_indicators(num_weak), zeros, zeros,
      jnp.zeros_like(rows['strong'][0]))
  return np.asarray(jax.lax.scan(step, table, rows)[1])


def _measure(rule, trace, faulty):
  """Returns the numbers in a rule's row of the table.

  They are the AUROC halfway through the training and at its end, the mean
  indicators of sound and of faulty labels at the end, and the effective share.
  """
  rules = (rule,) if isinstance(rule, Rule) else rule
  tables = np.min([replay(r, trace, len(faulty)) for r in rules], axis=0)
  end = tables[-1]
  health = indicators_lib.indicator_health(
      indicators_lib.init_indicators(len(end))._replace(weights=end))
  return [
      *(metrics.auroc(-tables[i], faulty) for i in (len(tables) // 2 - 1, -1)),
      end[~faulty].mean(), end[faulty].mean(), health['effective_share']]


def _load(method, seed, dataset):
  """Returns the trace of a training run, recording it if it does not exist."""
  base = 'uniform_dcr' if method == 'cross_fitted' else method
  config = endoscene.get_config(base).copy_and_resolve_references().unlock()
  config.update(dict(
      seed=seed, mapping='jit', train_steps=_STEPS.value,
      input=dict(data_dir=_DATA_DIR.value)))
  return indicator_trace.load_or_record(
      f'{_WORKDIR.value}/{method}_seed{seed}.npz', config.lock(), dataset,
      cross_fitted=method == 'cross_fitted')


def _print_table(method, rules, traces, faulty):
  print(f'\n### {method}, seeds {", ".join(_SEEDS.value)}\n')
  print('| rule | AUROC, middle | AUROC, end | minus default | good | faulty | '
        'effective |\n' + '|---' * 7 + '|')
  join = lambda values, form: ' / '.join(format(v, form) for v in values)
  default = None
  for name, rule in rules.items():
    found = np.array([_measure(rule, trace, faulty) for trace in traces])
    middle, end, *rest = found.T
    default = end if default is None else default
    gain = '' if name == 'default' else join(end - default, '+.3f')
    print(f'| {name} | {join(middle, ".3f")} | {join(end, ".3f")} | {gain} | '
          + ' | '.join(join(values, '.2f') for values in rest) + ' |')


def main():
  logging.set_verbosity(logging.WARNING)
  dataset = input_pipeline.load_dataset(_DATA_DIR.value)
  weak = dataset.splits['train_weak']
  faulty = np.empty(len(weak), bool)
  faulty[input_pipeline.column(weak, 'instance_id')] = (
      input_pipeline.column(weak, 'fault') != '')
  for method in _METHODS.value:
    traces = [_load(method, int(seed), dataset) for seed in _SEEDS.value]
    if method == 'dii_dcr':
      for trace in traces:
        np.testing.assert_allclose(
            replay(Rule(), trace, len(weak))[-1], trace.indicators, atol=1e-3)
      print('\nReplay and training end with the same indicators.')
    _print_table(method, CROSS_FITTED if method == 'cross_fitted' else RULES,
                 traces, faulty)


if __name__ == '__main__':
  flags.mark_flags_as_required(['data_dir', 'workdir'])
  binary.run(main)
