"""MicroPie: the public methods of a class become the URLs of an ASGI web app."""

__version__ = "0.1.0"
