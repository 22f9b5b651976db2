"""What a finished run knows of every weak annotation; no augmentation.

Three parts, each from both networks of the newest checkpoint:

- signs: of a fault, prediction beside annotation, see `signs`; the first
  of them is the disagreement of the two, by the annotation's kind, in [0, 1];
- alignment: of the last layer with the gradient of the whole strong set, scaled
  to a root mean square of 1 over the weak set, then squashed by tanh, for a few
  large ones rule that scale;
- indicator: its mean over the later half of its history.

`references` are disagreements with annotations that are right: exact masks of
the strong training images, which the networks know, and of the validation
split, which they do not, drawn again as each kind with the usual care.
`planted` are the signs of the strong ones, and of the same masks drawn with a
fault. What is learnt from these may train the next run
(`building.retraining`), and so the masks of the validation split are among
them only if asked for: a run that has learnt from them, by however long a way,
cannot be judged by them. Faults that are planted in the weak annotations
themselves are not read.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from data_prep.drawing import simulate
from hybridseg import train_step as train_step_lib
from hybridseg import types
import numpy as np

from experiments.auditing import observer as observer_lib
from experiments.auditing import planting
from experiments.auditing import reasons as reasons_lib
from experiments.auditing import signs as signs_lib
from experiments.building import input_pipeline

_Kind = types.AnnotationKind
# Whose exact masks faults are planted in and learnt from.
LEARN_FROM = {'strong': ('strong',), 'val': ('strong', 'val')}
# Of each exact mask as each kind, and as many faulty ones. Four of 52 strong
# masks rank as well as two of them and of 183 of the validation split.
_NUM_DRAWINGS, _NUM_DRAWINGS_OF_FEW, _FEW = 2, 4, 200
# Name, split, and feature of the exact mask.
_KNOWN = (('strong', 'train_strong', 'label'), ('val', 'val', 'truth'))


class Evidence(NamedTuple):
  """What is known of N weak annotations, in the order of the records.

  Attributes:
    kinds: `AnnotationKind`, int [N].
    signs: by network, float [2, N, S].
    alignments: in (-1, 1), positive where trusting it helps, float [2, N].
    indicators: float [N]; None where the run has no indicators that move.
    references: 'strong' and 'val' to, by kind, disagreements with exact masks
      drawn as that kind once, float [M], mean over the networks.
    planted: by kind, exact masks drawn as that kind, good and faulty: those to
      learn from.
    reasons: what is wrong if anything is, [N].
    learn_from: a key of `LEARN_FROM`.
  """

  kinds: np.ndarray
  signs: np.ndarray
  alignments: np.ndarray
  indicators: np.ndarray | None
  references: Mapping[str, Mapping[int, np.ndarray]]
  planted: Mapping[int, planting.Planted]
  reasons: Sequence[reasons_lib.Reason]
  learn_from: str = 'strong'

  @property
  def disagreements(self) -> np.ndarray:
    """Of prediction and annotation, by network, float [2, N]."""
    return _disagreements(self.signs)


def _disagreements(signs):
  return signs[..., signs_lib.NAMES.index('disagreement')]


def audited(records: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
  """Returns the weak records that have an annotation to doubt."""
  return [r for r in records if r['kind'] != _Kind.NONE]


def collect(
    run: observer_lib.Run, *, learn_from: str = 'strong'
) -> Evidence:
  """Looks at every weak annotation that says anything.

  Args:
    run: finished.
    learn_from: a key of `LEARN_FROM`.
  """
  observer, last, splits = run.observer, run.last, run.dataset.splits
  params = train_step_lib.eval_params(last.state)
  indicators = later_indicators(
      np.asarray(last.state.indicators.weights),
      np.asarray(last.state.indicators.num_updates), last.history['indicators'])
  weak = audited(splits['train_weak'])
  kinds = np.array([int(r['kind']) for r in weak], int)
  directions = observer.strong_directions(params, splits['train_strong'])
  signs, alignments, reasons = [], [], []
  for record, probs, maps in observer.look(
      params, directions, weak, label='label', what='annotations'):
    annotation = (int(record['kind']), record['label'], record['present'])
    signs.append([signs_lib.signs(q, *annotation) for q in probs])
    alignments.append(maps.sum((1, 2)))
    reasons.append(reasons_lib.explain(probs, *annotation))
  by_network = lambda values, *rest: np.reshape(
      values, (len(weak), 2, *rest)).swapaxes(0, 1)
  known = {
      name: _draw_known(
          kinds, observer.look(
              params, directions, splits[split], label=label, what=split),
          label, num_drawings=_num_drawings(splits[split]))
      for name, split, label in _KNOWN
  }
  ids = input_pipeline.column(weak, 'instance_id').astype(int)
  learnt = [known[name] for name in LEARN_FROM[learn_from]]
  return Evidence(
      kinds=kinds,
      signs=by_network(signs, len(signs_lib.NAMES)),
      alignments=np.tanh(_unit_rms(by_network(alignments))),
      indicators=None if indicators is None else indicators[ids],
      references={
          name: {kind: _disagreements(
              drawn.signs[:, ~drawn.faulty][:, ::_num_drawings(
                  splits[of_split])]).mean(0)
                 for kind, drawn in known[name].items()}
          for name, of_split, _ in _KNOWN},
      planted={
          kind: planting.Planted(
              np.concatenate([k[kind].signs for k in learnt], axis=1),
              *(np.concatenate([getattr(k[kind], what) for k in learnt])
                for what in ('faulty', 'groups')))
          for kind in np.unique(kinds).tolist()},
      reasons=reasons,
      learn_from=learn_from,
  )


def _num_drawings(records):
  return _NUM_DRAWINGS_OF_FEW if len(records) <= _FEW else _NUM_DRAWINGS


def _draw_known(kinds, looked_at, label, *, num_drawings):
  """Returns kind -> exact masks, each drawn as each kind, good and faulty."""
  found = {kind: ([], [], []) for kind in np.unique(kinds).tolist()}
  for i, (record, probs, _) in enumerate(looked_at):
    truth = record[label]
    if np.all(truth == types.UNLABELLED):
      continue
    # In turn, so that each fault is as frequent as the others.
    faults = [simulate.FAULTS[(num_drawings * i + n) % len(simulate.FAULTS)]
              for n in range(num_drawings)]
    subject = str(np.asarray(record['subject']).astype(str)) or f'image {i}'
    if not np.isin(truth, (0, types.UNLABELLED), invert=True).any():
      faults = []  # There is nothing to spoil.
    for kind, (signs, faulty, groups) in found.items():
      for n, fault in enumerate([''] * num_drawings + faults):
        annotation = planting.draw(
            truth, kind, np.random.default_rng((i, kind, n)),
            num_classes=probs.shape[-1], fault=fault)
        signs.append([signs_lib.signs(q, kind, *annotation) for q in probs])
        faulty.append(bool(fault))
        groups.append(subject)
  return {
      kind: planting.Planted(
          np.reshape(signs, (-1, 2, len(signs_lib.NAMES))).swapaxes(0, 1),
          np.array(faulty, bool), np.array(groups, str))
      for kind, (signs, faulty, groups) in found.items()}


def later_indicators(
    weights: np.ndarray, num_updates: np.ndarray, history: np.ndarray
) -> np.ndarray | None:
  """Returns the mean indicators over the later half of a run.

  Args:
    weights: final indicators, float [N].
    num_updates: how often each has moved, int [N].
    history: at each evaluation, float [T, N]; T may be 0.

  Returns:
    float [N], or None if no indicator ever moved.
  """
  if not np.any(num_updates):
    return None
  later = np.reshape(history, (-1, len(weights)))[len(history) // 2 :]
  return np.mean(later, axis=0) if len(later) else np.asarray(weights)


def _unit_rms(values):
  scale = np.sqrt(
      np.sum(values**2, axis=1, keepdims=True) / max(values.shape[1], 1))
  return values / np.where(scale > 0, scale, 1)
