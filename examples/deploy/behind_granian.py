"""Granian serves this app, so that it believes the proxy of this machine."""

from granian.utils.proxies import wrap_asgi_with_proxy_headers

from app import app as shop

app = wrap_asgi_with_proxy_headers(shop, trusted_hosts=["127.0.0.1"])
