"""Settings of the documentation site, which needs only local files.

python -m sphinx -W --keep-going -b html docs docs/_build
"""

import pathlib
import sys

_ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(_ROOT))  # This checkout, whatever is installed.

import hybridseg  # noqa: E402

project = 'hybridseg'
author = 'The hybridseg authors'
copyright = f'2026, {author}'
version = release = hybridseg.__version__

extensions = [
    'myst_parser',
    'sphinx.ext.autodoc',
    'sphinx.ext.napoleon',
    'sphinx.ext.viewcode',
    'sphinx.ext.mathjax',
    'sphinx-mathjax-offline',  # MathJax from its wheel, not from a CDN.
    'docs.extensions.config_reference',
    'docs.extensions.docstrings',
    'docs.extensions.method_reference',
    'docs.extensions.pages',
]
exclude_patterns = ['_build', 'extensions']

myst_enable_extensions = ['deflist', 'dollarmath']
myst_heading_anchors = 4

autodoc_member_order = 'bysource'
autodoc_typehints = 'signature'
default_role = 'code'  # Single backticks in docstrings are code.
napoleon_numpy_docstring = False
napoleon_use_ivar = True
napoleon_use_rtype = False
python_maximum_signature_line_length = 80
highlight_language = 'none'  # For formulas; code blocks name their language.
smartquotes_action = 'D'  # Only dashes, because quotes may be code.

nitpicky = True
# Types of other libraries, whose pages need a network.
nitpick_ignore_regex = [
    ('py:.*', r'(?!hybridseg).*'),
]

html_theme = 'furo'
html_title = f'hybridseg {version}'
html_static_path = ['_static']
html_css_files = ['site.css']
