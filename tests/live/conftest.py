"""Fixtures for the tests of the live apps."""

import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.examples.browsing import launched
from tests.live.static_host import Host, hosted

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def runtime_folder(tmp_path_factory) -> Path:
    """What live_build.py makes, below a folder as the site can be."""
    sys.path.insert(0, str(ROOT / "docs/_ext"))
    try:
        import live_build
    finally:
        del sys.path[0]
    folder = tmp_path_factory.mktemp("live") / "docs"
    try:
        made = live_build.cached_build()
    except live_build.CannotBuildError as error:
        pytest.skip(str(error))
    shutil.copytree(made, folder)
    shutil.copytree(Path(__file__).with_name("page"), folder / "page")
    return folder


@pytest.fixture(scope="module")
def host(runtime_folder: Path) -> Iterator[Host]:
    with hosted(runtime_folder.parent) as started:
        yield started


@pytest.fixture(scope="module")
def browser():
    with launched() as opened:
        yield opened
