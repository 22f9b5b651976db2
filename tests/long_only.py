"""What only `.ci/long tests` runs, with HYBRIDSEG_LONG_TESTS=1.

CI has 25 minutes. What is left to the long run repeats, at more places or for
longer, what a test of CI shows at one place.
"""

import os
import unittest
from typing import TypeVar

_T = TypeVar('_T')
LONG = bool(os.getenv('HYBRIDSEG_LONG_TESTS'))
only_long = unittest.skipUnless(LONG, 'takes long: .ci/long tests')


def first_of(cases: tuple[_T, ...], number: int = 1) -> tuple[_T, ...]:
  """Returns all cases in the long run, and the first ones in CI."""
  return cases if LONG else cases[:number]
