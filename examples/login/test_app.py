"""Run them with ``pytest``."""

import re

import pytest
from starlette.testclient import TestClient

import settings

ADA = {"email": "ada@example.org"}
PASSWORD = "analytical engine"


@pytest.fixture
def client(tmp_path, monkeypatch):
    url = f"sqlite+aiosqlite:///{tmp_path}/test.sqlite3"
    values = {"DATABASE_URL": url, "SMTP_HOST": "", "SESSION_STORE": ""}
    for name, value in values.items():
        monkeypatch.setattr(settings, name, value)
    from app import Root

    with TestClient(Root(), base_url="https://testserver") as started:
        yield started


def test_account_from_sign_up_to_reset(client, caplog):
    for page in ("sign_up", "reset"):  # the mails are in the log
        assert "Look into your inbox" in client.post(f"/{page}", data=ADA).text
        link = re.findall(r"/reset/\S+", caplog.text)[-1]
        assert "logged in" in client.post(link, data={"new_password": PASSWORD}).text
        client.post("/logout")
        assert client.get("/account").status_code == 401
    assert client.post(link, data={"new_password": PASSWORD}).status_code == 400
    wrong = client.post("/login", data=ADA | {"password": "wrong"})
    assert wrong.status_code == 400
    right = client.post("/login", data=ADA | {"password": PASSWORD})
    assert "logged in as ada@example.org" in right.text
