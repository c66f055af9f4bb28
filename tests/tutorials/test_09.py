"""tutorials/09-tests: its own tests."""

from tests.tutorials.steps import run_tests


def test_its_own_tests_pass(server):
    code, output = run_tests(server.folder)
    assert code == 0, output
    assert "11 passed" in output


def test_its_own_tests_fail_without_the_check_of_the_session(server):
    app = server.folder / "app.py"
    text = app.read_text()
    app.write_text(text.replace("if not voter:", "if False:"))
    code, output = run_tests(server.folder, "-k", "vote")
    app.write_text(text)
    assert code == 1
    assert "FAILED test_app.py::test_a_vote_from_another_site_is_refused" in output


def test_page_looks_like_its_picture(browsing, picture, visitor, vote):
    for pie in ("Apple", "Apple", "Cherry"):
        vote(visitor(), pie)
    page = browsing.page((800, 1280))
    page.goto("/")
    page.locator("#state", has_text="counted live").wait_for()
    picture(page)
