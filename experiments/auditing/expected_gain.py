"""Orders suspect annotations by what an annotator's minute is expected to gain.

The most suspect annotation is not always the best one to draw again first. A
mask takes as long as twenty boxes; an annotation that the networks nearly agree
with changes little; and fifty faults of one subject teach less than fifty
faults of many. The expected gain per minute of annotation k is

  g_k = score_k * disagreement_k / minutes_k,

with the probability that it is faulty (`ranking`), its disagreement with the
networks (`signs`), and the minutes that drawing it again takes. The order is
greedy: the next annotation is that with the largest

  g_k / (1 + n_k) * (1 - s_k / 2) * (1 - t_k / 2),

where n_k chosen annotations have the same subject, and the shares s_k and t_k
of the chosen ones have the same site and the same kind. A site or a kind that
all annotations share does not change the order.

The minutes of each kind are placeholders (`annotation_kinds.TABLE`) unless they
are given. This order finds most planted faults in the first hour, but no
measurement shows that the networks gain more by it than by that of the scores
(`experiments/results/review_gain.md`).
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from data_prep.drawing import annotation_kinds
import numpy as np

from experiments import binary
from experiments import csv_files

FILE = 'next.csv'
ORDERS = ('suspicion', 'gain', 'random')
HEADER = ('place', 'id', 'minutes', 'total_minutes', 'gain_per_minute',
          'score', 'disagreement', 'kind', 'site', 'subject')


class Suspects(NamedTuple):
  """What is known about N annotations.

  Attributes:
    ids: their ids, N strings.
    scores: probability that each is faulty, float [N].
    disagreements: disagreement with the networks, in [0, 1], float [N].
    kinds: names of their kinds, N strings.
    sites: names of their sites, N strings; '' where it is not known.
    subjects: names of their subjects, N strings.
    minutes: minutes that drawing each again takes, float [N].
  """

  ids: np.ndarray
  scores: np.ndarray
  disagreements: np.ndarray
  kinds: np.ndarray
  sites: np.ndarray
  subjects: np.ndarray
  minutes: np.ndarray


def minutes_of(
    kinds: Sequence[str], given: Mapping[str, float] | None = None
) -> np.ndarray:
  """Returns the minutes that drawing each annotation again takes, float [N].

  Args:
    kinds: name of the kind of each annotation.
    given: minutes by kind; kinds that it lacks take those of
      `annotation_kinds.TABLE`.
  """
  known = {name: kind.minutes for name, kind in annotation_kinds.TABLE.items()}
  known |= given or {}
  return np.array([known[str(kind)] for kind in kinds], float)


def parse(pairs: Sequence[str]) -> dict[str, float]:
  """Parses the KIND:MINUTES pairs of --minutes_by_kind.

  Raises:
    binary.UserError: if an entry is not such a pair, if its kind is unknown or
      occurs twice, or if its minutes are not above 0.
  """
  minutes = {}
  for pair in pairs:
    kind, _, text = pair.strip().partition(':')
    try:
      value = float(text)
    except ValueError:
      value = 0.0
    known = annotation_kinds.TABLE
    if kind not in known or kind in minutes or not 0 < value < np.inf:
      raise binary.UserError(
          f'--minutes_by_kind: {pair[:40]!r} is not KIND:MINUTES, or is there '
          f'twice; the kinds are {", ".join(known)}.')
    minutes[kind] = value
  return minutes


def gains(suspects: Suspects) -> np.ndarray:
  """Returns the expected gain per minute of each annotation, float [N]."""
  return suspects.scores * suspects.disagreements / suspects.minutes


def order(
    suspects: Suspects, name: str, *, budget: float = np.inf, seed: int = 0
) -> np.ndarray:
  """Returns which annotations to draw again, in their order, int [M].

  An annotation that does not fit into the rest of the budget is passed over,
  and a later one may still fit.

  Args:
    suspects: the annotations.
    name: one of `ORDERS`: 'suspicion' goes by the score, 'gain' by the expected
      gain per minute, see the top of this module.
    budget: minutes to spend.
    seed: seed of the random order.

  Returns:
    Their positions. Without a budget, these are all annotations.
  """
  if name == 'gain':
    return _greedy(suspects, budget)
  number = len(suspects.ids)
  places = (np.random.default_rng(seed).permutation(number)
            if name == 'random' else
            np.argsort(-suspects.scores, kind='stable'))
  chosen, left = [], budget
  for k in places.tolist():
    if suspects.minutes[k] <= left:
      chosen.append(k)
      left -= suspects.minutes[k]
  return np.array(chosen, int)


def _greedy(suspects, budget):
  """Returns the order of the largest expected gain, within a budget."""
  values, left = gains(suspects), budget
  # Numbers instead of names, which are slow to compare.
  groups = [np.unique(names, return_inverse=True)[1] for names in (
      suspects.subjects, suspects.sites, suspects.kinds)]
  counts = [np.zeros(len(values)) for _ in groups]
  chosen, is_open = [], np.ones(len(values), bool)
  while (fits := is_open & (suspects.minutes <= left)).any():
    by_subject, *shares = counts
    value = values / (1 + by_subject)
    for number in shares:
      value = value * (1 - 0.5 * number / max(len(chosen), 1))
    best = int(np.argmax(np.where(fits, value, -np.inf)))
    chosen.append(best)
    is_open[best] = False
    left -= suspects.minutes[best]
    for count, names in zip(counts, groups, strict=True):
      count += names == names[best]
  return np.array(chosen, int)


def write(path: str, suspects: Suspects, chosen: np.ndarray) -> None:
  """Writes one CSV line per chosen annotation, in their order.

  Args:
    path: CSV file to write.
    suspects: the annotations.
    chosen: value of `order`.
  """
  total = np.cumsum(suspects.minutes[chosen])
  gain = gains(suspects)
  csv_files.write_csv(path, HEADER, [
      [place, suspects.ids[k], f'{suspects.minutes[k]:g}',
       f'{total[place - 1]:.6g}', f'{gain[k]:.4g}',
       f'{suspects.scores[k]:.4f}', f'{suspects.disagreements[k]:.4f}',
       suspects.kinds[k], suspects.sites[k], suspects.subjects[k]]
      for place, k in enumerate(chosen.tolist(), start=1)])
