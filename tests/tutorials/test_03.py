"""tutorials/03-templates"""


def test_vote_by_form_is_counted_and_redirected(client):
    answer = client.post("/vote", data={"pie": "Cherry"})
    assert (answer.status_code, answer.headers["location"]) == (303, "./")
    assert client.get("/results").json()["Cherry"] == 1


def test_unknown_or_missing_pie_is_400(client):
    assert client.post("/vote", data={"pie": "<script>"}).status_code == 400
    assert (
        client.post("/vote", data={"pie": "Cake"}).text
        == "400 Bad Request: Parameter 'pie' must be Pie"
    )
    assert client.post("/vote").status_code == 400


def test_page_looks_like_its_picture(browsing, picture):
    browsing.check_look("/")
    page = browsing.page((800, 490))
    page.goto("/")
    for pie, counted in (("Rhubarb", 1), ("Rhubarb", 2), ("Apple", 1)):
        page.get_by_label(pie).check()
        page.get_by_role("button", name="Vote").click()
        page.get_by_label(f"{pie} {counted}").wait_for()
    picture(page)
