"""The build of the site: Sphinx, furo, pages in MyST Markdown, nothing from the network."""

import gc
import os
import runpy
import sys
import tomllib
from pathlib import Path
from urllib.parse import urlsplit

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
sys.path[:0] = [str(ROOT), str(HERE / "_ext")]

import blocks  # noqa: E402 - found by the path above

import micropie  # noqa: E402

# Sphinx keeps the trees of all pages, and looking for garbage in them takes a fifth longer.
gc.set_threshold(200_000, 20, 20)

# --- The project -------------------------------------------------------------------------------

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]

project = "MicroPie"
author = "the MicroPie contributors"
copyright = author
version = release = micropie.__version__

# --- Pages -------------------------------------------------------------------------------------

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.doctest",
    "sphinx.ext.intersphinx",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
    "sphinx_copybutton",
    "sphinx_design",
    "sphinx_llms_txt",
    "notfound.extension",
    "sphinxext.opengraph",
    "micropie_benchmarks",
    "micropie_examples",
    "micropie_live",
    "micropie_search",
    "micropie_site",
    "micropie_steps",
    "micropie_tutorial",
]
exclude_patterns = ["_build", "_ext", "_inventories", "_static", "_templates", "live"]
templates_path = ["_templates"]
nitpicky = True
smartquotes_action = "D"  # dashes alone: quotes stay as they are typed
highlight_language = "text"
default_role = "py:obj"  # docstrings write names as `name`

myst_enable_extensions = [
    "attrs_block",
    "attrs_inline",
    "colon_fence",
    "deflist",
    "fieldlist",
    "substitution",
]
myst_heading_anchors = 3
# What pages say of the project: how many blocks of code the tests run, and how long the module is.
myst_substitutions = {
    f"blocks_{what}": f"{number:,}" for what, number in blocks.count(ROOT).items()
}
SOURCE = Path(micropie.__file__).read_text()
count_tokens = runpy.run_path(str(ROOT / ".ci" / "check_functions.py"))["count_tokens"]
myst_substitutions["module_lines"] = f"{len(SOURCE.splitlines()):,}"
myst_substitutions["module_tokens"] = f"{count_tokens(SOURCE):,}"

# --- What is taken from the module ------------------------------------------------------------

autodoc_class_signature = "mixed"
autodoc_member_order = "bysource"
autodoc_preserve_defaults = True
autodoc_typehints = "signature"
napoleon_numpy_docstring = False
napoleon_use_rtype = False
python_maximum_signature_line_length = 72
nitpick_ignore_regex = [
    ("py:.*", r"(micropie\.)?_.*"),  # private names in signatures
    ("py:class", r"types\.EllipsisType"),  # a constant in Python's documentation
]
# Names of the standard library, so that a build needs no network.
intersphinx_mapping = {
    "python": ("https://docs.python.org/3/", (str(HERE / "_inventories" / "python.txt"), None))
}

doctest_global_setup = "import asyncio, io, time\nimport micropie\nfrom micropie import *"
doctest_test_doctest_blocks = "default"

suppress_warnings = [
    "misc.highlighting_failure",  # a quote that goes on after the `> ` of a console block
]

# --- The site ----------------------------------------------------------------------------------

html_theme = "furo"
html_title = "MicroPie"
html_logo = "_static/logo.svg"
html_favicon = "_static/logo.svg"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_sidebars = {
    "**": [
        "sidebar/scroll-start.html",
        "sidebar/brand.html",
        "sidebar/version.html",
        "sidebar/search.html",
        "sidebar/navigation.html",
        "sidebar/scroll-end.html",
    ]
}
html_baseurl = os.environ.get("READTHEDOCS_CANONICAL_URL", "")
html_copy_source = True
html_show_sphinx = False
pygments_style = "a11y-high-contrast-light"
pygments_dark_style = "a11y-high-contrast-dark"

html_theme_options = {
    "navigation_with_keys": True,
    "light_css_variables": {
        "color-brand-primary": "#8f3f71",
        "color-brand-content": "#8f3f71",
        "color-brand-visited": "#6b3f8f",
        "color-code-box": "#f8f5f7",
        "color-new": "#116329",
        "color-gone": "#a40e26",
    },
    "dark_css_variables": {
        "color-brand-primary": "#e5a0c6",
        "color-brand-content": "#e5a0c6",
        "color-brand-visited": "#c3a5ea",
        "color-code-box": "#232126",
        "color-new": "#7ee787",
        "color-gone": "#ffa198",
    },
}
# If it is known where the project is kept, each page has a link to edit it, and otherwise one to
# its source.
SOURCE = PROJECT["urls"]["Source"]
REPOSITORY = os.environ.get("READTHEDOCS_GIT_CLONE_URL", SOURCE).removesuffix(".git")
# A placeholder until there is a public repository.
if not urlsplit(REPOSITORY).netloc.endswith(".invalid"):
    html_theme_options |= {
        "source_repository": REPOSITORY,
        "source_branch": "main",
        "source_directory": "docs/",
    }

# What is copied is what is typed: the commands without their prompts, and no output.
copybutton_prompt_text = r"\$ |>>> |\.\.\. |> "
copybutton_prompt_is_regexp = True
copybutton_only_copy_prompt_lines = True

notfound_urls_prefix = urlsplit(html_baseurl).path or "/"

ogp_site_url = html_baseurl
ogp_social_cards = {
    "site_url": html_baseurl,
    "image": "_static/card.png",  # the logo: a card takes no SVG
    "image_mini": "_static/card-none.png",
    "line_color": "#8f3f71",
    "font": "DejaVu Sans",  # comes with matplotlib: the same cards on every machine
}

llms_txt_summary = PROJECT["description"]
