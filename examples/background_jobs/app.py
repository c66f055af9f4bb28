"""Background jobs: in this process, or on taskiq if JOB_QUEUE names a Redis."""

import os
from typing import Any

from apscheduler.schedulers.asyncio import AsyncIOScheduler
from apscheduler.triggers.cron import CronTrigger
from micropie import App, HTTPError, methods

from in_process import Busy, Jobs
from primes import LARGEST, count_primes

# When the job starts, as crontab has it: each day at three, at most an hour late.
CRON = os.environ.get("CRON", "0 3 * * *")


class Root(App):
    """A form that starts a job, and a page that waits for its result."""

    def __init__(self, queue: str = "") -> None:
        super().__init__()
        self.env.globals["url"] = self._url
        self._jobs: Any
        if queue:
            from task_queue import TaskQueue

            self._jobs = TaskQueue()
            self.startup_handlers.append(self._jobs.open)
        else:
            self._jobs = Jobs()
        self.startup_handlers.append(self._schedule)
        self.shutdown_handlers += [self._stop_schedule, self._jobs.finish]

    def _schedule(self) -> None:
        self._scheduler = AsyncIOScheduler(job_defaults={"misfire_grace_time": 3600})
        trigger = CronTrigger.from_crontab(CRON)
        self._scheduler.add_job(self._jobs.submit, trigger, [count_primes, 1_000_000])
        self._scheduler.start()

    def _stop_schedule(self) -> None:
        self._scheduler.shutdown(wait=False)

    async def index(self) -> str:
        """Show the form."""
        return await self._render_template("index.html", largest=LARGEST)

    @methods("GET", "POST")
    async def jobs(self, job_id: str = "", /, *, limit: int = 0) -> Any:
        """Start a job with POST, and tell of one with GET."""
        if self.request.method == "POST":
            return await self._start(limit)
        job = await self._jobs.status(job_id)
        if job is None:
            raise HTTPError(404, {"error": "no such job"})
        if "text/html" not in self.request.headers.get("accept", ""):
            return 200, job, {"cache-control": "no-store"}
        return await self._render_template("job.html", job_id=job_id, **job)

    async def _start(self, limit: int) -> Any:
        if not 0 <= limit <= LARGEST:
            raise HTTPError(400, {"error": f"the limit must be 0 to {LARGEST}"})
        try:
            job_id = await self._jobs.submit(count_primes, limit)
        except Busy:
            error = "too many jobs are waiting"
            raise HTTPError(503, {"error": error}, {"retry-after": "10"}) from None
        location = self._url(f"jobs/{job_id}")
        if isinstance(self.request.json(default=""), dict):
            return 202, {"job": location}, {"location": location}
        return self._redirect(location, 303)

    def _url(self, path: str = "") -> str:
        """Return the URL of a page of this app, wherever it is mounted."""
        root = str(self.request.scope.get("root_path", ""))
        return f"{root.rstrip('/')}/{path}"


app = Root(os.environ.get("JOB_QUEUE", ""))

if __name__ == "__main__":
    import uvicorn

    uvicorn.run(app, timeout_graceful_shutdown=5)
