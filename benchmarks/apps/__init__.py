"""One module per framework, each answering the same URLs in that framework's own best idiom.

Every module defines ``app``, and may define:

- ``session_app``: the app for the session counter, where sessions are a middleware that would slow
  every other answer;
- ``routes(count)``: an app with ``count`` routes, ``/route_0`` and up, each answering its own
  number;
- ``IMPORTS``: the statement that a hello-world app of this framework starts with;
- ``PACKAGE``: the distribution whose version goes into the results;
- ``MISSING``: workload name to the reason why the framework has no answer of its own for it.

All run in production mode, without debugging, documentation pages, request logs or optional
middleware, and with orjson wherever the framework's own documentation says how to plug it in.
"""
