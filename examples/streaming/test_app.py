"""Run them with ``pytest``."""

from starlette.testclient import TestClient

from app import HERE, app

VIDEO = (HERE / "video.webm").read_bytes()


def test_poem_and_export() -> None:
    with TestClient(app) as client:
        assert client.get("/poem?pause=0").text.endswith("not any.”\n")
        assert client.get("/poem?pause=9").status_code == 400
        assert len(client.get("/export").text.splitlines()) == 100_001


def test_ranges_of_the_video() -> None:
    with TestClient(app) as client:
        for wanted, part in (("5-9", VIDEO[5:10]), ("-5", VIDEO[-5:])):
            answer = client.get("/video", headers={"range": f"bytes={wanted}"})
            assert (answer.status_code, answer.content) == (206, part)
        assert client.get("/video").content == VIDEO
        answer = client.get("/video", headers={"range": f"bytes={len(VIDEO)}-"})
        assert answer.status_code == 416
