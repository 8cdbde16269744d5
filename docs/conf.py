"""The site: `make docs`, which is `python -m sphinx -W --keep-going -b html docs build/docs`.

Nothing is fetched, when it is built or when it is read. Tutorials are shown with the outputs they were committed with.
"""

import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent)]

import aam_nb  # noqa: E402

project = "aam_nb"
author = "the authors of aam_nb"
copyright = "the authors of aam_nb, BSD-3-Clause"
version = release = aam_nb.__version__

extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.autosummary", "building"]
exclude_patterns = ["_build", "**/.ipynb_checkpoints"]

# -- pages and notebooks ----------------------------------------------------------------------------------------------
smartquotes = False  # `--flags` and quoted code stay as they are typed
myst_heading_anchors = 3
nb_execution_mode = "off"
nb_merge_streams = True
nb_ipywidgets_js = {}  # an explorer's figure is shown, and no script comes from elsewhere
nb_mime_priority_overrides = [
    ("html", "application/vnd.jupyter.widget-view+json", None),
    ("html", "text/html", 10),
    ("html", "image/svg+xml", 20),
    ("html", "image/png", 30),
]

# -- the reference ----------------------------------------------------------------------------------------------------
default_role = (
    "literal"  # a docstring's `name` is code; `building.py` makes it a link where there is something to link to
)
autosummary_generate = False
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True
python_use_unqualified_type_names = True
maximum_signature_line_length = 90
add_module_names = False
toc_object_entries_show_parents = "hide"

# -- how it looks -----------------------------------------------------------------------------------------------------
html_theme = "furo"
html_title = "aam_nb"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_copy_source = False
html_show_sourcelink = False
html_show_sphinx = False
pygments_style = "friendly"
pygments_dark_style = "monokai"
html_theme_options = {
    "light_css_variables": {"color-brand-primary": "#0b5c8f", "color-brand-content": "#0b5c8f"},
    "dark_css_variables": {"color-brand-primary": "#7cc4f0", "color-brand-content": "#7cc4f0"},
    "footer_icons": [],
}
