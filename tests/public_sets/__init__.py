"""Lists small imitations of well-known public sets, for tests of the import.

An imitation has the names and the folders of the files in the real set, but its
pictures are noise and its masks are made up. Each also states what the import
must find. The docstring of each function names the home page of the real set.
The folders were compared with code that reads the real set: MMSegmentation's
converters, mednet, torch_em, MONAI, dataset-ninja, and projects that list the
folders in their README.
"""

from tests.public_sets import exports
from tests.public_sets import eyes
from tests.public_sets import folders
from tests.public_sets import volumes


# Maps the name of a set to the function that returns its `layouts.Layout`.
LAYOUTS = {make.__name__: make for make in (
    *folders.LAYOUTS, *eyes.LAYOUTS, *volumes.LAYOUTS,
    *exports.LAYOUTS)}
