"""Collects what a finished run shows about each of its weak annotations.

The evidence consists of signs, numbers that compare an annotation with the
prediction of each network of the newest checkpoint, on images without
augmentation (see `signs`). The first sign is the disagreement between
annotation and prediction, in [0, 1]. Its definition depends on the kind of the
annotation.

`Evidence.references` shows how large the disagreement is for correct
annotations. It is measured on exact masks, redrawn as each kind with the usual
care: on those of the strong training images, which the networks have learnt,
and on those of the validation split, which is new to them.

`Evidence.planted` holds the signs of such redrawn masks, with and without a
planted fault, from which the audit learns what a fault looks like. By default
they come from the strong training images only. The scores may be used to train
the next run (`building.retraining`), and the validation split can no longer
judge a run that has learnt from it, even indirectly. Faults that were planted
in the weak annotations of the set itself are never read.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from data_prep.drawing import simulate
from hybridseg import train_step as train_step_lib
from hybridseg import types
import numpy as np

from experiments import process_group
from experiments.auditing import observer as observer_lib
from experiments.auditing import planting
from experiments.auditing import reasons as reasons_lib
from experiments.auditing import signs as signs_lib
from experiments.building import input_pipeline

_Kind = types.AnnotationKind
# Maps each value of --learn_from to the groups of exact masks that are redrawn
# with faults; `_KNOWN` defines the groups.
LEARN_FROM = {'strong': ('strong',), 'val': ('strong', 'val')}
# How many good drawings the audit makes of each exact mask, for each kind of
# annotation. It makes as many with a fault. Splits of at most `_FEW` images get
# more drawings: four drawings of each of 52 strong masks gave as good a ranking
# as two drawings of each of these masks and of 183 masks of the validation
# split.
_NUM_DRAWINGS, _NUM_DRAWINGS_OF_FEW, _FEW = 2, 4, 200
# Each entry names a group of exact masks, the split that they belong to, and
# the feature of the records that holds them.
_KNOWN = (('strong', 'train_strong', 'label'), ('val', 'val', 'truth'))


class Evidence(NamedTuple):
  """The evidence on N weak annotations, in the order of the records.

  Attributes:
    kinds: `AnnotationKind` of each annotation, int [N].
    signs: the S signs of each annotation for each network, float [2, N, S].
    references: maps 'strong' and 'val', and then each kind, to the disagreement
      between the prediction and each of M exact masks drawn as this kind, mean
      over the networks, float [M].
    planted: maps each kind to good and faulty drawings of exact masks as this
      kind, from which the audit learns.
    reasons: what seems wrong with each annotation, [N].
    learn_from: the key of `LEARN_FROM` with which `planted` was made.
    have_moved: whether any indicator has moved in the run.
  """

  kinds: np.ndarray
  signs: np.ndarray
  references: Mapping[str, Mapping[int, np.ndarray]]
  planted: Mapping[int, planting.Planted]
  reasons: Sequence[reasons_lib.Reason]
  learn_from: str = 'strong'
  have_moved: bool = False

  @property
  def disagreements(self) -> np.ndarray:
    """Disagreement between each annotation and its prediction, float [2, N].

    The first axis is the network.
    """
    return _disagreements(self.signs)


def _disagreements(signs):
  return signs[..., signs_lib.NAMES.index('disagreement')]


def audited(records: Sequence[dict[str, Any]]) -> input_pipeline.Rows:
  """Returns the weak records that have an annotation to audit."""
  return input_pipeline.Rows(records, np.flatnonzero(
      input_pipeline.column(records, 'kind') != _Kind.NONE))


def collect(
    run: observer_lib.Run,
    *,
    learn_from: str = 'strong',
    group: process_group.Group | None = None,
) -> Evidence | None:
  """Collects the evidence on each weak annotation of a run.

  Args:
    run: a finished run.
    learn_from: a key of `LEARN_FROM`.
    group: the processes that share the records; by default, this one alone.

  Returns:
    The evidence; None in all processes but the first.

  Raises:
    binary.Lost: if another process has ended.
  """
  group = group or process_group.Group()
  block = run.observer.batch_size
  observer, state, splits = run.observer, run.last.state, run.dataset.splits
  params = train_step_lib.eval_params(state)
  weak = audited(splits['train_weak'])
  kinds = input_pipeline.column(weak, 'kind').astype(int)

  def look(records, label, what):
    """Yields the place of each record of this process's share, and the look."""
    own = group.share(range(len(records)), block)
    for place, found in zip(own, observer.look(
        params, input_pipeline.Rows(records, np.array(own, int)), label=label,
        what=what), strict=True):
      group.check()
      yield place, found

  signs, reasons = [], []
  for _, (record, probs, *_) in look(weak, 'label', 'annotations'):
    annotation = (int(record['kind']), record['label'], record['present'])
    signs.append([signs_lib.signs(q, *annotation) for q in probs])
    reasons.append(reasons_lib.explain(probs, *annotation))
  drawn = {
      name: [_draw_known(kinds, place, found, label, num_drawings=_num_drawings(
          splits[split])) for place, found in look(
              splits[split], label, split)]
      for name, split, label in _KNOWN}
  shares = group.gather((np.array(signs, float), reasons, drawn))
  if shares is None:
    return None
  merge = lambda parts: group.merge([*parts], block)
  signs = merge(share[0] for share in shares)
  reasons = [reasons_lib.Reason(*r) for r in merge(s[1] for s in shares)]
  known = {
      name: _collected(kinds, merge(share[2][name] for share in shares))
      for name, _, _ in _KNOWN}
  learnt = [known[name] for name in LEARN_FROM[learn_from]]
  return Evidence(
      kinds=kinds,
      signs=_by_network(signs),
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
      have_moved=bool(np.any(state.indicators.num_updates)),
  )


def _by_network(signs):
  """Returns the signs of N drawings by network, float [2, N, S]."""
  return np.reshape(signs, (-1, 2, len(signs_lib.NAMES))).swapaxes(0, 1)


def _num_drawings(records):
  return _NUM_DRAWINGS_OF_FEW if len(records) <= _FEW else _NUM_DRAWINGS


def _draw_known(kinds, place, found, label, *, num_drawings):
  """Draws an exact mask as each kind, with and without a planted fault.

  Args:
    kinds: `AnnotationKind` of each weak annotation of the run.
    place: place of the record in its split.
    found: `Look` at the record.
    label: feature of the record that holds the exact mask.
    num_drawings: number of good drawings of each mask as each kind.

  Returns:
    The signs of the drawings of all kinds, one kind after another, float
    [M, 2, S]; whether each is faulty, bool [M]; and the subject. None if the
    mask is not known.
  """
  truth = found.record[label]
  if np.all(truth == types.UNLABELLED):
    return None
  # Use the kinds of fault in turn, so that all are equally frequent.
  faults = [simulate.FAULTS[(num_drawings * place + n) % len(simulate.FAULTS)]
            for n in range(num_drawings)]
  if not np.isin(truth, (0, types.UNLABELLED), invert=True).any():
    faults = []  # No fault can be planted without an object.
  signs, faulty = [], []
  for kind in np.unique(kinds).tolist():
    for n, fault in enumerate([''] * num_drawings + faults):
      annotation = planting.draw(
          truth, kind, np.random.default_rng((place, kind, n)),
          num_classes=found.probs.shape[-1], fault=fault)
      signs.append([signs_lib.signs(q, kind, *annotation) for q in found.probs])
      faulty.append(bool(fault))
  subject = str(np.asarray(found.record['subject']).astype(str))
  return np.array(signs), np.array(faulty), subject or f'image {place}'


def _collected(kinds, drawn):
  """Returns the drawings of all masks as `Planted`, by kind."""
  names = np.unique(kinds).tolist()
  found = {kind: ([], [], []) for kind in names}
  for signs, faulty, subject in (d for d in drawn if d is not None):
    for kind, of_signs, of_faulty in zip(
        names, *(np.split(x, max(1, len(names))) for x in (signs, faulty)),
        strict=bool(names)):
      for values, more in zip(found[kind], (
          of_signs, of_faulty, [subject] * len(of_faulty)), strict=True):
        values.extend(more)
  return {
      kind: planting.Planted(
          _by_network(signs), np.array(faulty, bool), np.array(groups, str))
      for kind, (signs, faulty, groups) in found.items()}
