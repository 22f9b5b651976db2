"""Famous public sets as they lie on disk, rebuilt small, and what is right.

Only names and structure are theirs: pictures are noise and masks are made up.
Each docstring has the set's home. How it lies on disk was compared with code
that reads the real one: MMSegmentation's converters, mednet, torch_em, MONAI,
dataset-ninja, and projects that list the folders in their README.
"""

from data_prep.benchmarks import public_exports
from data_prep.benchmarks import public_eyes
from data_prep.benchmarks import public_folders
from data_prep.benchmarks import public_volumes

# Functions that make a `layouts.Layout`, by name.
LAYOUTS = {make.__name__: make for make in (
    *public_folders.LAYOUTS, *public_eyes.LAYOUTS, *public_volumes.LAYOUTS,
    *public_exports.LAYOUTS)}
