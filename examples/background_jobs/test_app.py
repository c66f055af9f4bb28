"""Run them with ``pytest``."""

from starlette.testclient import TestClient

from app import Root


def test_job_is_done_after_the_answer() -> None:
    with TestClient(Root(), base_url="https://testserver") as client:
        place = client.post("/jobs", json={"limit": 100}).headers["location"]
        job = {"state": "waiting"}
        while job["state"] != "done":
            job = client.get(place).json()
        assert job["result"] == 25
