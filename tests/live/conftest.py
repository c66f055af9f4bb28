"""Fixtures for the tests of the live apps."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext

from docs._ext.live_build import CannotBuildError, cached_build
from tests.docs.site import built
from tests.examples.browsing import launched
from tests.live.static_host import Host, hosted


@pytest.fixture(scope="session")
def runtime_folder(tmp_path_factory) -> Path:
    """The files that live_build.py makes, below a folder as the site can be."""
    folder = tmp_path_factory.mktemp("live") / "docs"
    try:
        made = cached_build()
    except CannotBuildError as error:
        pytest.skip(str(error))
    shutil.copytree(made, folder)
    shutil.copytree(Path(__file__).with_name("page"), folder / "page")
    return folder


@pytest.fixture(scope="module")
def host(runtime_folder: Path) -> Iterator[Host]:
    with hosted(runtime_folder.parent) as started:
        yield started


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the site, which BUILT_SITE can name."""
    found = os.environ.get("BUILT_SITE")
    return Path(found) if found else built(tmp_path_factory.getbasetemp()).folder


@pytest.fixture(scope="module")
def browser():
    with launched() as opened:
        yield opened


@pytest.fixture(scope="module")
def context(browser: Browser) -> Iterator[BrowserContext]:
    context = browser.new_context()
    yield context
    context.close()
