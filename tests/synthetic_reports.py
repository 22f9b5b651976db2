"""Writes made-up reports of any size, with the most difficult names possible.
"""

from collections.abc import Callable

from hybridseg import types
import numpy as np

from experiments.evaluation import scoring
from experiments.reports import pages
from experiments.reports import sections

NAMES = (
    '<script>alert(1)</script>',
    '"><img src=x onerror=alert(1)>',
    "it's 'quoted' & \"double\"",
    '-leading-dash',
    '\u202egnp.reversed',  # Shown from right to left.
    '\u05e9\u05dc\u05d5\u05dd 12 \u0645\u0631\u062d\u0628\u0627',
    '\u75c5\u4f8b\u4e00 \u03c0\u03bf\u03bb\u03cd \U0001f9e0',
    'e\u0301' * 20,
    'very_long_' * 30,
    'half\udc80 a pair',  # Python's form of a file name that is not UTF-8.
    'nul\x00 bell\x07 newline\n',
    '&lt;escaped&gt;</td></table></style>',
    '  spaces  ',
    '',
)
_CLASSES = ('background', 'polyp', NAMES[1])
_POOL = 16  # The number of different images; all others repeat them.
_REASONS = ('most of its pixels pull against the exact masks',
            'its indicator fell early', NAMES[0])


def _name(i):
  return f'{NAMES[i]}' if i < len(NAMES) else f'case_{i:04d}'


def _pool(size, seed):
  """Returns generated images that look like photographs, and their label maps.

  Both are uint8.
  """
  rng = np.random.default_rng(seed)
  y, x = np.mgrid[:size, :size] / size
  pool = []
  for _ in range(_POOL):
    waves = sum(
        np.sin(rng.uniform(2, 30) * (np.cos(t) * x + np.sin(t) * y))
        for t in rng.uniform(0, 7, 8))[..., None]
    image = 120 + 14 * waves * rng.uniform(0.6, 1.4, 3) + rng.normal(
        0, 6, (size, size, 3))
    blob = lambda radius: (
        (x - rng.uniform(0.3, 0.7)) ** 2 + (y - rng.uniform(0.3, 0.7)) ** 2
        < radius**2)
    truth, label = (
        np.where(blob(0.2), 1, np.where(blob(0.1), 2, 0)).astype(np.uint8)
        for _ in range(2))
    label[: size // 8] = types.UNLABELLED
    pool.append((image.clip(0, 255).astype(np.uint8), truth, label))
  return pool


def write_evaluation(path: str, num_cases: int, *, size: int = 128) -> None:
  """Writes the report of a made-up evaluation; every 50th case has no score."""
  rng = np.random.default_rng(0)
  pool = _pool(size, 0)
  uncertainty = rng.uniform(size=(size, size)).astype(np.float32)
  cases = []
  for i in range(num_cases):
    image, truth, _ = pool[i % _POOL]
    dice = rng.beta(4, 1, 2)
    if i % 50 == 3:
      dice[0] = np.nan
    scores = {f'dice_{_CLASSES[1]}': dice[0], f'dice_{_CLASSES[2]}': dice[1],
              f'hd95_{_CLASSES[1]}': np.inf if i == 5 else 40 * (1 - dice[0])}
    cases.append(scoring.EvaluatedCase(
        _name(i), _name((i + 1) % 20), scores, image, truth,
        pool[(i + 1) % _POOL][1], {'uncertainty': uncertainty}))
  per_class = {c: {'dice': {'mean': 0.8, 'interval_95': [0.75, 0.84]},
                   'hd95_mm': {'mean': 3.25, 'interval_95': [2.9, 4.0]}}
               for c in _CLASSES[1:]}
  pages.write_evaluation_report(
      path, title=f'{NAMES[0]}: test', classes=_CLASSES,
      results={'step': 400, 'dice': 0.8, 'dice_interval_95': [0.75, 0.84],
               'per_class': per_class}, cases=cases)


def write_audit(path: str, num_suspects: int, *, size: int = 128) -> None:
  """Writes the report of a made-up audit.

  Args:
    path: path of the HTML file.
    num_suspects: number of suspects; the audit has twice as many instances.
    size: height and width of the images, in pixels.
  """
  rng = np.random.default_rng(1)
  pool = _pool(size, 1)
  kinds = ('box', 'scribble', 'points', 'polygon', 'tag', 'ellipse', 'coarse')
  alignment = pages.harm_map(
      np.sin(np.mgrid[:size, :size].sum(axis=0) / size * 9))
  suspects = []
  for i in range(num_suspects):
    image, _, label = pool[i % _POOL]
    score = float(1 - i / num_suspects)
    suspects.append(sections.Item(
        _name(i), {
            'rank': i + 1, 'score': score, 'low': score - 0.1,
            'high': score + 0.1, 'indicator': float(rng.uniform()),
            'kind': kinds[i % len(kinds)], 'annotator': _name(i % 5),
            'site': '', 'reason': _REASONS[i % len(_REASONS)],
            'fault': 'shifted' if i % 3 == 0 else ''},
        image, {'weak label': label, 'prediction': pool[(i + 2) % _POOL][1]} | (
            {} if i == 7 else {'alignment': alignment})))
  steps = np.arange(0, 401, 50)
  history = np.clip(
      1 - np.outer(steps / 400, rng.uniform(-0.2, 1, 2 * num_suspects)), 0, 1)
  groups = [{'kind': kind, 'instances': 70 + i, 'mean_score': 0.1 * i}
            for i, kind in enumerate((*kinds, *NAMES))]
  pages.write_audit_report(
      path, title=f'audit of {NAMES[4]}', classes=_CLASSES,
      summary=pages.AuditSummary(
          {'instances': 2 * num_suspects, 'suspects': num_suspects},
          {'By kind': groups, 'By annotator': groups},
          [kinds[i % len(kinds)] for i in range(2 * num_suspects)],
          [NAMES[0] if i % 9 == 0 else '' for i in range(2 * num_suspects)],
          steps, history, np.arange(2 * num_suspects),
          {'share_at_0': (history == 0).mean(axis=1),
           'mean': history.mean(axis=1)}),
      suspects=suspects)


WRITERS: dict[str, Callable[..., None]] = {
    'evaluation': write_evaluation, 'audit': write_audit}
