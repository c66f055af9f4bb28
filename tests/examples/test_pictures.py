"""The pictures of the examples on the site: each is a state of a page in a browser.

All are taken in one gallery, which has the examples in one process. With the environment variable
`UPDATE_PICTURES=1`, the pictures in `docs/images/examples` are taken anew; without it, they are
compared with what the pages look like now.
"""

import importlib
import io
import os
from statistics import fmean

import pytest
from PIL import Image, ImageChops
from PIL.PngImagePlugin import PngInfo

from tests.examples import harness
from tests.examples.accounts import CHEAP
from tests.examples.browsing import WIDE
from tests.examples.scenes import SCENES, ZOOM, Scene
from tests.examples.services import fake_model

for path in sorted(harness.HERE.glob("scenes_*.py")):
    importlib.import_module(f"tests.examples.{path.stem}")

PICTURES = harness.ROOT / "docs" / "images" / "examples"
LARGEST = 60_000  # bytes: a page of the site shows one, its gallery shows all
COARSE = (32, 20)
# Of 255, at most: letters differ by machine, and dates by day; an empty page is farther off.
DIFFERENCE = 2.0
WITHOUT = {
    "testing": "is about tests: a browser shows nothing of it",
    "wsgi": "is about servers of another kind, which the gallery is not",
}

# Shows an address as the example has it that is started by itself.
RENAME = """pairs => {
  const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (texts.nextNode())
    for (const [old, name] of pairs)
      texts.currentNode.data = texts.currentNode.data.replaceAll(old, name);
}"""

STILL = """zoom => {
  document.documentElement.style.zoom = zoom;
  document.querySelector(".gallery-bar")?.remove();
  document.activeElement.blur();
  scrollTo(0, 0);
}"""


# --- The pictures ------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """All examples, in one process."""
    folder = tmp_path_factory.mktemp("pictures")
    more = {
        **CHEAP,
        "PYTHONPATH": str(harness.ROOT),
        "BLOG_SIGN_UP": "open",
        "GALLERY_DATA": str(folder / "data"),
        "OIDC_ISSUER": "https://login.example",
    }
    copied = harness.copied("gallery", folder)
    with fake_model() as model, harness.running("python app.py", copied, {**more, **model}) as one:
        yield one


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in SCENES if name in harness.NAMES])
def test_picture(browsing, server, name):
    base = "" if name == "gallery" else f"/examples/{name}"
    data = server.folder.parents[1] / "data"
    page = browsing.page()
    SCENES[name](Scene(page, base, data, browsing))
    page.wait_for_load_state()
    page.evaluate(RENAME, [pair for pair in ((base, ""), (f":{server.port}", ":8000")) if pair[0]])
    shot = taken(page, ZOOM[name])
    path = PICTURES / f"{name}.png"
    if os.environ.get("UPDATE_PICTURES"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(small(shot, SCENES[name].__doc__))
    assert path.is_file(), f"{path} is missing: UPDATE_PICTURES=1 makes it"
    assert path.stat().st_size <= LARGEST
    with Image.open(path) as kept:
        assert kept.size == WIDE
        assert kept.info["Description"] == SCENES[name].__doc__
        assert difference(kept, shot) <= DIFFERENCE, (
            f"{name} looks otherwise by now: UPDATE_PICTURES=1 takes it anew"
        )


def test_every_example_has_a_picture():
    assert set(SCENES) | set(WITHOUT) == set(harness.ALL_NAMES)
    assert {path.stem for path in PICTURES.glob("*")} == set(SCENES)


def taken(page, zoom):
    """Return what the top of a page looks like, magnified."""
    page.mouse.move(0, 0)
    page.evaluate(STILL, zoom)
    return Image.open(io.BytesIO(page.screenshot(caret="hide"))).convert("RGB")


def small(image, description):
    """Return a picture with its description as a PNG, with a palette: pages have few colors."""
    file = io.BytesIO()
    words = PngInfo()
    words.add_itxt("Description", description)
    image.quantize(256, dither=Image.Dither.NONE).save(file, "PNG", optimize=True, pnginfo=words)
    return file.getvalue()


def difference(one, other):
    """Return how far apart two pictures are, seen from afar: the mean of 0 to 255."""
    far = [image.convert("L").resize(COARSE, Image.Resampling.BOX) for image in (one, other)]
    return fmean(ImageChops.difference(*far).tobytes())
