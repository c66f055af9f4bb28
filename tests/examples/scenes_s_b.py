"""Scenes of api_jwt, api_openapi and notes_spa."""

from tests.examples.scenes import pretty, scene


@scene(2)
def api_jwt(scene):
    """The URLs of the API as JSON, in the browser's own view of it."""
    scene.open()
    pretty(scene)


@scene(1)
def api_openapi(scene):
    """The documentation of an API, with the form of an operation and the answer to it."""
    scene.open()
    scene.page.get_by_text("POST /add_book").click()
    added = scene.page.locator("#post-add_book")
    added.get_by_label("Body").fill('{\n  "title": "Emma",\n  "year": 1815\n}')
    added.get_by_role("button").click()
    added.get_by_text("201 Created {").wait_for()


@scene(1.25)
def notes_spa(scene):
    """A note that was just saved, with fields for its title and its text."""
    scene.open("new")
    scene.fill(title="For the pie", text="Plums, ripe ones\nTwo pounds of flour\nButter")
    scene.press("Save")
    scene.page.get_by_role("button", name="Load again").wait_for()
    scene.press("Save")
    scene.page.get_by_text("Saved.").wait_for()
