"""gunicorn reads this file from the folder that it is started in."""

import os

from uvicorn_worker import UvicornWorker


class Worker(UvicornWorker):
    """Ends open streams in time.

    Otherwise gunicorn would kill the worker, and no `finally` would run.
    """

    CONFIG_KWARGS = {**UvicornWorker.CONFIG_KWARGS, "timeout_graceful_shutdown": 5}


worker_class = Worker
workers = int(os.environ.get("WEB_CONCURRENCY", "2"))
graceful_timeout = 20  # longer than the worker's
# A worker that has answered this many requests is replaced; 0: never.
max_requests = int(os.environ.get("MAX_REQUESTS", "0"))
