"""Log in with an account at another site, by OpenID Connect."""

import logging
import os
import secrets
from typing import Any

import httpx2
from authlib.common.errors import AuthlibBaseError
from authlib.integrations.base_client import BaseApp
from authlib.integrations.base_client.async_app import AsyncOAuth2Mixin
from authlib.integrations.base_client.async_openid import AsyncOpenIDMixin
from authlib.integrations.httpx_client import AsyncOAuth2Client
from joserfc.errors import JoseError
from micropie import App, FromSession, methods

ISSUER = os.environ.get("OIDC_ISSUER", "")
CLIENT_ID = os.environ.get("OIDC_CLIENT_ID", "")
CLIENT_SECRET = os.environ.get("OIDC_CLIENT_SECRET", "")
# Where browsers reach this app: the provider sends them back there.
PUBLIC_URL = os.environ.get("PUBLIC_URL", "http://127.0.0.1:8000").rstrip("/")

log = logging.getLogger(__name__)


class Provider(AsyncOAuth2Mixin, AsyncOpenIDMixin, BaseApp):  # type: ignore[misc]
    """A provider of accounts: its URLs, its keys, and the checks of its ID tokens.

    Authlib has such a class for other frameworks, made of the same parts.
    """

    client_cls = AsyncOAuth2Client

    def __init__(self, issuer: str, client_id: str, client_secret: str) -> None:
        super().__init__(
            framework=None,
            client_id=client_id,
            client_secret=client_secret,
            server_metadata_url=f"{issuer.rstrip('/')}/.well-known/openid-configuration",
            # S256 is PKCE: a stolen code is worth nothing without the verifier.
            client_kwargs={
                "scope": "openid profile email",
                "code_challenge_method": "S256",
                "timeout": 10,
            },
        )


class Root(App):
    """A page for all visitors, and an account page behind the login."""

    def __init__(self, provider: Provider | None) -> None:
        super().__init__()
        self.env.globals["url"] = self._url
        self._provider = provider

    async def index(self) -> str:
        """Show a button to log in; this stores nothing."""
        return await self._page("home.html")

    async def account(self, user_id: FromSession) -> str:
        """Show the account; without a login, MicroPie answers 401."""
        return await self._page("account.html", user_id=user_id)

    @methods("POST")
    async def login(self) -> Any:
        """Send the browser to the provider."""
        if self._provider is None:
            return 503, await self._page("home.html")
        try:
            started = await self._provider.create_authorization_url(
                self._callback_url()
            )
        except httpx2.HTTPError as error:
            return await self._failed(error)
        url = started.pop("url")
        # The state, the nonce and the PKCE verifier, for the way back.
        self.request.session["login"] = started
        return self._redirect(url, 303)

    @methods("GET")
    async def callback(self, code: str = "", state: str = "") -> Any:
        """Take the browser back from the provider, with a code or an error."""
        started = self.request.session.get("login") or {}
        known = started.get("state", "")
        # Or an attacker's link could log visitors in to the attacker's account.
        if not known or not secrets.compare_digest(state.encode(), known.encode()):
            return await self._failed("unknown state")
        del self.request.session["login"]
        if not code or self._provider is None:
            return await self._failed(self.request.query("error"))
        try:
            token = await self._provider.fetch_access_token(
                self._callback_url(), code=code, code_verifier=started["code_verifier"]
            )
            claims = await self._provider.parse_id_token(token, started["nonce"])
        except (AuthlibBaseError, JoseError, httpx2.HTTPError) as error:
            return await self._failed(error)
        session = self.request.session
        session["user_id"] = claims["sub"]
        session["name"] = claims.get("name") or claims.get("email") or claims["sub"]
        self.request.regenerate_session()
        return self._redirect(self._url("account"), 303)

    @methods("POST")
    async def logout(self) -> Any:
        """End the session here; the one at the provider goes on."""
        self.request.session.clear()
        return self._redirect(self._url(), 303)

    async def _failed(self, reason: object) -> tuple[int, str]:
        log.warning("A login failed: %r", reason)
        return 400, await self._page("home.html", error="The login has failed.")

    async def _page(self, template: str, **context: Any) -> str:
        name = self.request.session.get("name")
        ready = self._provider is not None
        return await self._render_template(template, name=name, ready=ready, **context)

    def _callback_url(self) -> str:
        return PUBLIC_URL + self._url("callback")

    def _url(self, path: str = "") -> str:
        """Return the URL of a page of this app, wherever it is mounted."""
        root = str(self.request.scope.get("root_path", ""))
        return f"{root.rstrip('/')}/{path}"


app = Root(Provider(ISSUER, CLIENT_ID, CLIENT_SECRET) if ISSUER else None)

if __name__ == "__main__":
    import uvicorn

    uvicorn.run(app, timeout_graceful_shutdown=5)
