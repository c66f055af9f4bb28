"""What the pictures of api_jwt, api_openapi and notes_spa show."""

from tests.examples.scenes import pretty, scene


@scene(2)
def api_jwt(scene):
    """The URLs of the API as JSON, in the browser's own view of it."""
    scene.open()
    pretty(scene)
