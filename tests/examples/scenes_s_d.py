"""Scenes of examples that are starters: a blog, an admin interface, GraphQL and mounts."""

from tests.examples.accounts import PASSWORD
from tests.examples.browsing import fill_in
from tests.examples.scenes import scene


@scene(1.25)
def blog_small(scene):
    """Two posts of Ada on cards, each with its title, author, day and text."""
    scene.open("sign_up")
    fill_in(scene.page, {"Name": "ada", "Password": PASSWORD}, "Sign up", "Log out ada")
    for title, text in (
        ("Plums", "The first ones are ripe."),
        ("Bread is not difficult", "Flour, water, salt. Then wait."),
    ):
        scene.open("write")
        fill_in(scene.page, {"Title": title, "Text": text}, "Publish", "Edit or delete")
    scene.open()
    for note in scene.page.locator(".note").all():
        note.evaluate("note => { note.textContent = 'ada, 2026-05-04'; }")


@scene()
def admin(scene):
    """The form of a book in the admin interface, with an author to choose."""
    scene.open("admin/login")
    password = (scene.data / "admin" / "password").read_text()
    fill_in(scene.page, {"Name": "admin", "Password": password}, "Log in", "Log out admin")
    scene.open("admin/row/books/1")


@scene(1)
def graphql(scene):
    """A mutation, and its answer in JSON."""
    scene.open()
    fill_in(scene.page, {"Your name": "Ada"}, "Log in", "You are Ada.")
    fill_in(scene.page, {}, "Send", '"write"')


@scene(1.25)
def mounting(scene):
    """A picture of a pie, and a table of four paths with the app that answers there."""
    scene.open()
