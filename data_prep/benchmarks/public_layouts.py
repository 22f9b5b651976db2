"""Lists small imitations of well-known public sets, for tests of the import.

An imitation has the names and the folders of the files in the real set, but its
pictures are noise and its masks are made up. Each also states what the import
must find. The docstring of each function names the home page of the real set.
The folders were compared with code that reads the real set: MMSegmentation's
converters, mednet, torch_em, MONAI, dataset-ninja, and projects that list the
folders in their README.
"""

from data_prep.benchmarks import public_exports
from data_prep.benchmarks import public_eyes
from data_prep.benchmarks import public_folders
from data_prep.benchmarks import public_volumes

# Maps the name of a set to the function that returns its `layouts.Layout`.
LAYOUTS = {make.__name__: make for make in (
    *public_folders.LAYOUTS, *public_eyes.LAYOUTS, *public_volumes.LAYOUTS,
    *public_exports.LAYOUTS)}
