"""examples/api_jwt"""

import hashlib
import secrets
import sqlite3
import time
from concurrent.futures import ThreadPoolExecutor

import jwt
import pytest

from tests.examples.accounts import opens_socket, with_live_socket
from tests.examples.copied import check_kept_secret
from tests.examples.harness import copied, running
from tests.examples.loading import load

PASSWORD = "analytical engine"


@pytest.fixture
def account(client):
    body = {"username": f"ada_{secrets.token_hex(4)}", "password": PASSWORD}
    assert client.post("/sign_up", json=body).status_code == 201
    return body


@pytest.fixture
def tokens(client, account):
    return client.post("/login", json=account).json()


@pytest.fixture
def key(server):
    return (server.folder / "data" / "jwt.key").read_text()


def me(client, token, scheme="Bearer"):
    return client.get("/api/me", headers={"authorization": f"{scheme} {token}"})


def refresh(client, token):
    return client.post("/refresh", json={"refresh_token": token})


def test_account_is_behind_its_token(client, account, tokens):
    answer = me(client, tokens["access_token"], "bearer")

    assert answer.json()["username"] == account["username"]
    assert not set(answer.json()) & {"password"}
    assert tokens["expires_in"] == 600


def test_tokens_are_not_stored_by_caches(client, account, tokens):
    for answer in (
        client.post("/login", json=account),
        refresh(client, tokens["refresh_token"]),
    ):
        assert answer.headers["cache-control"] == "no-store"


def test_websocket_that_is_added_needs_a_token_too(tmp_path, measure, account, client):
    folder = copied("api_jwt", tmp_path)
    with_live_socket(folder / "app.py", "")
    with running("python app.py", folder, measure) as server, server.client() as visitor:
        assert visitor.post("/sign_up", json=account).status_code == 201
        token = visitor.post("/login", json=account).json()["access_token"]
        wanted = {"": False, "Bearer x": False, f"Bearer {token}": True}
        for header, opens in wanted.items():
            assert opens_socket(visitor, "/api/live", authorization=header) == opens


@pytest.mark.parametrize("path", ["", "me", "no-such-thing", "me/7"])
def test_everything_below_api_needs_a_token(client, path):
    answer = client.get(f"/api/{path}")

    assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer")
    assert answer.json() == {"error": "Send an access token"}


def test_forged_and_expired_tokens_are_refused(client, tokens, key):
    now = int(time.time())
    right = {"iss": "accounts", "aud": "api", "sub": "1", "exp": now + 600}
    header, payload, signature = tokens["access_token"].split(".")
    forged = [
        jwt.encode(right, "x" * 32, "HS256"),
        jwt.encode(right, key, "HS512"),
        jwt.encode(right, "", "none"),
        jwt.encode(right | {"exp": now - 1}, key, "HS256"),
        jwt.encode(right | {"iss": "other"}, key, "HS256"),
        jwt.encode(right | {"aud": "other"}, key, "HS256"),
        *(
            jwt.encode({name: right[name] for name in right if name != left_out}, key, "HS256")
            for left_out in right
        ),
        f"{header}.{payload}.",
        f"{header}.{payload}.{signature[::-1]}",
        tokens["refresh_token"],
        "é",
    ]

    for token in forged:
        answer = client.get("/api/me", headers={"authorization": f"Bearer {token}".encode()})
        assert (answer.status_code, answer.headers["www-authenticate"]) == (
            401,
            'Bearer error="invalid_token"',
        ), token
    assert me(client, jwt.encode(right, key, "HS256")).status_code == 200
    assert me(client, jwt.encode(right | {"sub": "999"}, key, "HS256")).status_code == 404


def test_refresh_tokens_rotate(client, tokens):
    second = refresh(client, tokens["refresh_token"]).json()
    third = refresh(client, second["refresh_token"]).json()

    assert me(client, third["access_token"]).status_code == 200
    assert refresh(client, second["refresh_token"]).status_code == 400
    assert refresh(client, third["refresh_token"]).status_code == 400


def test_reuse_ends_one_login_and_no_other(client, account, tokens):
    other = client.post("/login", json=account).json()
    for _ in range(2):
        refresh(client, tokens["refresh_token"])

    assert refresh(client, other["refresh_token"]).status_code == 200


def test_of_many_uses_at_once_one_succeeds(client, tokens):
    with ThreadPoolExecutor(8) as pool:
        statuses = pool.map(
            lambda _: refresh(client, tokens["refresh_token"]).status_code, range(8)
        )

    assert sorted(statuses) == [200, *[400] * 7]


def test_logout_revokes(client, tokens):
    body = {"refresh_token": tokens["refresh_token"]}

    assert [client.post("/logout", json=body).status_code for _ in range(2)] == [204, 204]
    assert refresh(client, tokens["refresh_token"]).status_code == 400


def test_expired_refresh_token_is_refused_and_forgotten(client, server, account, tokens):
    kept = hashlib.sha256(tokens["refresh_token"].encode()).hexdigest()
    with sqlite3.connect(server.folder / "data" / "accounts.sqlite3") as database:
        changed = database.execute("UPDATE refresh_tokens SET expires = 1 WHERE hash = ?", (kept,))
    assert changed.rowcount == 1
    database.close()

    assert refresh(client, tokens["refresh_token"]).status_code == 400
    client.post("/login", json=account)


def test_tokens_of_a_deleted_account_fit_no_other(client, server, account, tokens):
    newest = "DELETE FROM users WHERE username = ? AND id = (SELECT max(id) FROM users)"
    with sqlite3.connect(server.folder / "data" / "accounts.sqlite3") as database:
        assert database.execute(newest, (account["username"],)).rowcount == 1
    database.close()
    body = {"username": f"eve_{secrets.token_hex(4)}", "password": PASSWORD}
    assert client.post("/sign_up", json=body).status_code == 201

    assert me(client, tokens["access_token"]).status_code == 404
    later = refresh(client, tokens["refresh_token"]).json()
    assert me(client, later["access_token"]).status_code == 404


def test_database_has_no_token_and_no_password(server, tokens):
    stored = b"".join(path.read_bytes() for path in (server.folder / "data").glob("*.sqlite3*"))

    assert tokens["refresh_token"].encode() not in stored
    assert PASSWORD.encode() not in stored
    assert (server.folder / "data" / "jwt.key").stat().st_mode & 0o777 == 0o600


def test_wrong_logins_are_told_the_same(client, account):
    wrong = [account | {"password": "x" * 10}, account | {"username": "unknown"}]
    answers = [client.post("/login", json=body) for body in wrong]

    assert {(answer.status_code, answer.text) for answer in answers} == {
        (400, '{"error":"Wrong name or password"}')
    }
    assert client.post("/sign_up", json=account).json() == {"error": "This name is taken"}


@pytest.mark.parametrize("name", ["", "ab", "A_B_C", "a" * 31, "ada\n", None, 5])
def test_unfit_names_are_refused(client, name):
    answer = client.post("/sign_up", json={"username": name, "password": PASSWORD})

    assert answer.status_code == 400
    assert "username" in answer.json()["error"]
    assert "\n" not in answer.json()["error"]
    assert PASSWORD not in answer.text


def test_url_gives_no_password(client, account):
    assert client.post("/login", params=account).status_code == 400
    assert client.get("/login").headers["allow"] == "POST, OPTIONS"


def test_short_key_is_refused(measured, monkeypatch, tmp_path):
    tokens = load("api_jwt", "tokens")
    check_kept_secret(tokens.kept_secret, tmp_path)
    monkeypatch.setattr(tokens, "JWT_KEY", "x" * 31)
    with pytest.raises(ValueError, match="JWT_KEY"):
        tokens.signing_key()

    monkeypatch.setattr(tokens, "JWT_KEY", "x" * 32)
    assert tokens.signing_key() == "x" * 32
    tokens.signing_key.cache_clear()
