"""Scenes of starters: a list, a database, accounts."""

from tests.examples.scenes import pretty, scene


@scene(1.5)
def todo_htmx(scene):
    """A list of three todos; the first one is done, and struck through."""
    scene.open()
    for title in ("Buy plums", "Bake the pie", "Find people who eat it"):
        scene.fill(title=title)
        scene.press("Add")
        scene.page.get_by_text(title).wait_for()
    scene.page.get_by_role("button", name="Done: Buy plums").click()
    scene.page.locator("li.done").wait_for()


@scene(2)
def crud_sql(scene):
    """A page of contacts as JSON, in the browser's own view of it."""
    for name in ("Ada", "Grace"):
        contact = {"name": name, "email": f"{name.lower()}@example.org"}
        answer = scene.page.request.post(f"{scene.base}/contacts", data=contact)
        assert answer.status == 201
    scene.open("contacts")
    pretty(scene)


@scene(1.5)
def login(scene):
    """The form to log in, with an address in it, and a link to reset the password."""
    scene.open("login")
    scene.fill(email="ada@example.org", password="analytical engine")
