"""What a finished run knows of every weak annotation; no augmentation.

Three parts, each from both networks (a *view* is one network of one
checkpoint):

- disagreement: of the annotation with the prediction, by its kind, in [0, 1];
- alignment: of the last layer with the gradient of the whole strong set, scaled
  to a root mean square of 1 over the weak set, then squashed by tanh, for a few
  large ones rule that scale;
- indicator: its mean over the later half of its history.

`references` are disagreements with annotations that are right: exact masks of
the strong training images, which the networks know, and of the validation
split, which they do not, drawn again as each kind with the usual care (by
`data_prep.simulate`). Planted faults are not read.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from data_prep import simulate
from hybridseg import train_step as train_step_lib
from hybridseg import types
import numpy as np

from experiments import audit_observer
from experiments import audit_reasons
from experiments import input_pipeline

_Kind = types.AnnotationKind
_BOXES = (_Kind.BOX, _Kind.EXTREME_POINTS)
_SPARSE = (_Kind.SCRIBBLE, _Kind.POINTS)


class Evidence(NamedTuple):
  """What is known of N weak annotations, in the order of the records.

  Attributes:
    kinds: `AnnotationKind`, int [N].
    disagreements: float [V, N], by view.
    alignments: in (-1, 1), positive where trusting it helps, float [V, N].
    indicators: float [N]; None where the run has no indicators that move.
    references: 'strong' and 'val' to, by kind, disagreements with exact masks
      drawn as that kind, float [M], mean over the final checkpoint's networks.
    reasons: by the first checkpoint, what is wrong if anything is, [N].
  """

  kinds: np.ndarray
  disagreements: np.ndarray
  alignments: np.ndarray
  indicators: np.ndarray | None
  references: Mapping[str, Mapping[int, np.ndarray]]
  reasons: Sequence[audit_reasons.Reason]


def audited(records: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
  """Returns the weak records that have an annotation to doubt."""
  return [r for r in records if r['kind'] != _Kind.NONE]


def collect(run: audit_observer.Run) -> Evidence:
  """Looks at every weak annotation that says anything."""
  observer, last, best = run.observer, run.last, run.best
  params = [train_step_lib.eval_params(last.state)]
  if best.step != last.step:
    params.append(train_step_lib.eval_params(best.state))
  indicators = later_indicators(
      np.asarray(last.state.indicators.weights),
      np.asarray(last.state.indicators.num_updates), last.history['indicators'])
  splits = run.dataset.splits
  weak = audited(splits['train_weak'])
  kinds = np.array([int(r['kind']) for r in weak], int)
  directions = [
      observer.strong_directions(pair, splits['train_strong'])
      for pair in params]
  disagreements, alignments, reasons = [], [], []
  for pair, direction in zip(params, directions, strict=True):
    pass_number = len(disagreements) + 1
    disagreements.append([])
    alignments.append([])
    for record, probs, maps in observer.look(
        pair, direction, weak, label='label',
        what=f'checkpoint {pass_number} of {len(params)}'):
      annotation = (int(record['kind']), record['label'], record['present'])
      disagreements[-1].append([disagreement(q, *annotation) for q in probs])
      alignments[-1].append(maps.sum((1, 2)))
      if pass_number == 1:
        reasons.append(audit_reasons.explain(probs, *annotation))
  by_view = lambda values: np.reshape(
      values, (len(params), len(weak), 2)).transpose(0, 2, 1).reshape(
          2 * len(params), len(weak))
  ids = input_pipeline.column(weak, 'instance_id').astype(int)
  return Evidence(
      kinds=kinds,
      disagreements=by_view(disagreements),
      alignments=np.tanh(_unit_rms(by_view(alignments))),
      indicators=None if indicators is None else indicators[ids],
      references={
          name: _reference(kinds, observer.look(
              params[0], directions[0], splits[split], label=label, what=split),
                           label)
          for name, split, label in (
              ('strong', 'train_strong', 'label'), ('val', 'val', 'truth'))
      },
      reasons=reasons,
  )


def _reference(kinds, looked_at, label):
  """Returns disagreements with exact masks, each drawn as each kind."""
  found = {kind: [] for kind in np.unique(kinds).tolist()}
  for i, (record, probs, _) in enumerate(looked_at):
    truth = record[label]
    if np.all(truth == types.UNLABELLED):
      continue
    for kind, values in found.items():
      annotation = _as_drawn(truth, kind, np.random.default_rng((i, kind)),
                             num_classes=probs.shape[-1])
      values.append(np.mean([disagreement(q, kind, *annotation)
                             for q in probs]))
  return {kind: np.array(values) for kind, values in found.items()}


def _as_drawn(truth, kind, rng, *, num_classes):
  """Returns label map and tag as a usual annotator of a kind would give."""
  present = np.isin(np.arange(num_classes), truth).astype(np.uint8)
  name = _Kind(kind).name.lower()
  if kind == _Kind.TAG or name not in simulate.KINDS:
    return truth, present
  drawn = simulate.simulate_weak(
      truth, rng, kind=name, quality_level=rng.uniform(),
      num_classes=num_classes)
  return simulate.draw(drawn, truth.shape), present


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


def disagreement(
    probs: np.ndarray, kind: int, label: np.ndarray, present: np.ndarray
) -> float:
  """Returns how far a prediction and an annotation are apart, in [0, 1].

  By what the annotation says. Dense kinds: 1 - soft Dice over the foreground
  classes that either of them holds. Boxes and extreme points: the same of the
  shadows on both axes (as `weak_losses.projection_loss`). Scribbles and points:
  mean over the classes of the probability of another class at their marks, or
  for a foreground class that has none, which says that it is not there, of its
  largest probability. Tags: mean over the classes of how far the largest
  probability is from yes or no.

  Args:
    probs: of one network, float [H, W, K].
    kind: `AnnotationKind`.
    label: uint8 [H, W], `types.UNLABELLED` where unknown.
    present: what the tag says of each class, uint8 [K].
  """
  num_classes = probs.shape[-1]
  if kind == _Kind.TAG:
    values = [abs(float(present[c]) - probs[..., c].max())
              for c in range(1, num_classes) if present[c] <= 1]
  elif kind in _SPARSE:
    marked = {c: label == c for c in range(num_classes)}
    values = [1 - probs[marks, c].mean() if marks.any() else probs[..., c].max()
              for c, marks in marked.items() if c or marks.any()]
  else:
    known = label != types.UNLABELLED
    values = []
    for c in range(1, num_classes):
      drawn, seen = label == c, np.where(known, probs[..., c], 0)
      # A class that nobody holds agrees trivially: it must not dilute.
      if drawn.any() or seen.max(initial=0) >= 0.5 or num_classes == 2:
        values.append(
            _shadow_loss(seen, drawn) if kind in _BOXES
            else _dice_loss(seen.sum(), drawn.sum(), seen[drawn].sum()))
  return float(np.mean(values)) if values else 0.0


def _dice_loss(size, other_size, overlap):
  return 1 - (2 * overlap + 1) / (size + other_size + 1)


def _shadow_loss(seen, drawn):
  values = []
  for axis in (0, 1):
    one, other = seen.max(axis), drawn.max(axis)
    values.append(
        _dice_loss((one**2).sum(), other.sum(), one[other].sum()))
  return np.mean(values)


def _unit_rms(values):
  scale = np.sqrt(
      np.sum(values**2, axis=1, keepdims=True) / max(values.shape[1], 1))
  return values / np.where(scale > 0, scale, 1)
