"""How a page of an example is brought to the state that its picture shows.

The scenes are in `scenes_*.py`; test_pictures.py takes the pictures.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from playwright.sync_api import Page

from tests.examples.browsing import Browsing


@dataclass
class Scene:
    """A page of an example, to be brought to the state that its picture shows.

    Attributes:
        page: The page. A picture is taken of it when the function of the example is done.
        base: The path of the example.
        data: The folder in which the examples keep what they are given.
    """

    page: Page
    base: str
    data: Path
    browsing: Browsing

    def open(self, path: str = "", page: Page | None = None) -> Page:
        (page or self.page).goto(f"{self.base}/{path}")
        return page or self.page

    def press(self, name: str, *, page: Page | None = None) -> None:
        (page or self.page).get_by_role("button", name=name, exact=True).click()

    def fill(self, page: Page | None = None, **fields: str) -> None:
        """Fill in fields by their ids."""
        for name, value in fields.items():
            (page or self.page).locator(f"#{name}").fill(value)


Play = Callable[[Scene], None]
SCENES: dict[str, Play] = {}
ZOOM: dict[str, float] = {}


def scene(zoom: float = 1.5) -> Callable[[Play], Play]:
    """Make a function the scene of the example in its name; its docstring is the picture's text.

    Args:
        zoom: How far the page is magnified, for the picture is small on the site.
    """

    def add(play: Play) -> Play:
        SCENES[play.__name__] = play
        ZOOM[play.__name__] = zoom
        return play

    return add


def only_opened(name: str, path: str, zoom: float, description: str) -> None:
    def play(scene: Scene) -> None:
        scene.open(path)

    play.__name__, play.__doc__ = name, description
    scene(zoom)(play)


def pretty(scene):
    """Let Chromium show JSON on several lines, as a person would."""
    scene.page.keyboard.press("Tab")
    scene.page.keyboard.press("Space")
