"""The reports of train, evaluate and audit: each one HTML file.

A report opens offline, needs no network, and may run nothing but its own
script.
"""

from collections.abc import Mapping, Sequence
import os
from typing import Any, NamedTuple

import numpy as np

from experiments import input_pipeline


class EvaluatedCase(NamedTuple):
  """One case of `write_evaluation_report`.

  Attributes:
    id: of the case.
    subject: or ''.
    scores: by metric and class, such as {'dice_polyp': 0.8}; nan where there is
      none.
    image: uint8 [H, W, C], C = 1 or 3, of any size.
    truth: uint8 [H, W], `types.UNLABELLED` where unknown.
    prediction: uint8 [H, W].
    maps: more pictures, float [H, W] in [0, 1], such as 'uncertainty'.
  """

  id: str
  subject: str
  scores: Mapping[str, float]
  image: np.ndarray
  truth: np.ndarray
  prediction: np.ndarray
  maps: Mapping[str, np.ndarray] = {}


class Suspect(NamedTuple):
  """One weak instance of `write_audit_report`.

  Attributes:
    id: of the instance.
    rank: 1 for the one to look at first.
    score: by which it was ranked.
    interval: of the score, or (nan, nan).
    kind: of annotation, such as 'box'.
    annotator: or ''.
    site: or ''.
    reason: why it is suspect, in words.
    indicator: in [0, 1].
    fault: the planted one; '' if there is none or none is known.
    image: uint8 [H, W, C], C = 1 or 3, of any size.
    label: weak label, uint8 [H, W].
    prediction: uint8 [H, W].
    alignment: of each pixel's weak gradient with the strong one, float [H, W];
      negative harms (red), positive helps (blue). None if it was not computed.
  """

  id: str
  rank: int
  score: float
  interval: tuple[float, float]
  kind: str
  annotator: str
  site: str
  reason: str
  indicator: float
  fault: str
  image: np.ndarray
  label: np.ndarray
  prediction: np.ndarray
  alignment: np.ndarray | None


class AuditSummary(NamedTuple):
  """What an audit says of all instances together.

  Attributes:
    facts: shown first, such as {'instances': 493, 'suspects': 100}.
    tables: name, such as 'By kind', to lines of equal keys; the first key heads
      the line.
    kinds: kind of each instance, [N].
    faults: planted fault of each instance, [N], '' if none; [] if none is
      known.
    steps: at which `history` and `health` were taken, int [T].
    history: indicators, float [T, N].
    health: share or mean to its values over time, each [T].
  """

  facts: Mapping[str, Any]
  tables: Mapping[str, Sequence[Mapping[str, Any]]]
  kinds: Sequence[str]
  faults: Sequence[str]
  steps: np.ndarray
  history: np.ndarray
  health: Mapping[str, Sequence[float]]


def write_train_report(
    path: str | os.PathLike[str],
    *,
    results: Mapping[str, Any],
    lines: Sequence[Mapping[str, Any]],
    history: Mapping[str, np.ndarray],
    config: Mapping[str, Any],
    sessions: Sequence[Mapping[str, Any]],
    dataset: input_pipeline.Dataset,
    weights: np.ndarray,
    weak_rows: Sequence[int],
    weak_predictions: np.ndarray,
    test_counts: np.ndarray,
    test_predictions: np.ndarray,
) -> None:
  """Writes the report of a finished run.

  Args:
    path: HTML file to write.
    results: content of metrics.json.
    lines: of log.jsonl.
    history: `step` [T] and `indicators` [T, N], as `run_log.Log.history`.
    config: of the run, nested.
    sessions: of run.json.
    dataset: that it was trained on.
    weights: final indicators, float [N].
    weak_rows: rows of train_weak to show, least trusted first.
    weak_predictions: of these, uint8 [len(weak_rows), H, W].
    test_counts: of the test split, float [M, K, 3].
    test_predictions: uint8 [M, H, W].

  Raises:
    OSError: if it cannot be written.
  """
  raise NotImplementedError


def write_evaluation_report(
    path: str | os.PathLike[str],
    *,
    title: str,
    classes: Sequence[str],
    results: Mapping[str, Any],
    cases: Sequence[EvaluatedCase],
    details: Mapping[str, Mapping[str, Any]] | None = None,
) -> None:
  """Writes the report of an evaluation.

  Cases are sorted, worst first, by the mean of their scores whose names begin
  with 'dice'.

  Args:
    path: HTML file to write.
    title: such as 'phantom: test, step 400'.
    classes: K names; index 0 is the background.
    results: numbers, nested; a pair of numbers is an interval.
    cases: in any order.
    details: shown folded, name -> keys and values, such as {'Config': {...},
      'Versions': {...}}; may be nested.

  Raises:
    OSError: if it cannot be written.
  """
  raise NotImplementedError


def write_audit_report(
    path: str | os.PathLike[str],
    *,
    title: str,
    classes: Sequence[str],
    summary: AuditSummary,
    suspects: Sequence[Suspect],
    details: Mapping[str, Mapping[str, Any]] | None = None,
) -> None:
  """Writes the report of an audit.

  Args:
    path: HTML file to write.
    title: such as 'phantom: audit of 493 weak instances'.
    classes: K names; index 0 is the background.
    summary: of all instances.
    suspects: in the order to show them; 1,000 at most are shown.
    details: as of `write_evaluation_report`.

  Raises:
    OSError: if it cannot be written.
  """
  raise NotImplementedError
