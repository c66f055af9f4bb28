"""Background jobs: in this process, or on taskiq where JOB_QUEUE names a Redis."""

import html
import os
import secrets
from typing import Any

from micropie import App, HTTPError, methods

from in_process import Busy, Jobs
from primes import LARGEST, count_primes

PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Background jobs</title>
<style>
:root {{ color-scheme: light dark; font: 1.05rem/1.6 system-ui, sans-serif; }}
html {{ background: light-dark(#fdfdfb, #15181d);
  color: light-dark(#1d2127, #e6e8eb); }}
body {{ max-width: 34rem; margin: 4rem auto; padding: 0 1.25rem; }}
form {{ display: flex; flex-wrap: wrap; gap: .6rem; align-items: end;
  margin: 1.5rem 0; }}
label {{ display: block; font-weight: 600; }}
input {{ box-sizing: border-box; width: 100%; padding: .45rem .7rem; font: inherit;
  color: inherit;
  background: light-dark(#fff, #1d2229);
  border: 1px solid light-dark(#858d99, #717b8a); border-radius: .4rem; }}
button {{ padding: .5rem 1.1rem; font: inherit; font-weight: 600; border: 0;
  border-radius: .4rem; cursor: pointer;
  color: light-dark(#fff, #15181d); background: light-dark(#0b57a4, #8cc8ff); }}
a {{ color: light-dark(#0b57a4, #8cc8ff); }}
:focus-visible {{ outline: 3px solid light-dark(#e8a33d, #ffc46b);
  outline-offset: 2px; }}
[role=status] {{ font-size: 1.6rem; font-weight: 700; }}
</style>
<main>
<h1>Background jobs</h1>
{body}
</main>
</html>
"""
FORM = """<p>Counting primes takes a while.
The answer to this form does not wait for it.</p>
<form action="{root}/jobs" method="post">
<input type="hidden" name="csrf_token" value="{token}">
<div><label for="limit">Count the primes below</label>
<input id="limit" name="limit" type="number" value="10000000" min="0" max="{largest}"
required></div>
<button>Start</button>
</form>"""
JOB = """<p role="status" data-job="{root}/jobs/{job_id}">{state}</p>
<p><a href="{root}/">Another one</a></p>
<script type="module">
const status = document.querySelector("[role=status]");
for (let wait = 100; ; wait = Math.min(wait * 1.5, 3000)) {{
  const job = await (await fetch(status.dataset.job)).json();
  status.textContent = job.state === "done" ? `${{job.result}} primes` : job.state;
  if (!["waiting", "running"].includes(job.state)) break;
  await new Promise((resolve) => setTimeout(resolve, wait));
}}
</script>"""


class Root(App):
    """A form that starts a job, and a page that waits for its result."""

    def __init__(self, queue: str = "") -> None:
        super().__init__()
        self._jobs: Any
        if queue:
            from task_queue import TaskQueue

            self._jobs = TaskQueue()
            self.startup_handlers.append(self._jobs.open)
        else:
            self._jobs = Jobs()
        self.shutdown_handlers.append(self._jobs.finish)

    async def index(self) -> str:
        """Show the form."""
        token = self.request.session.setdefault("csrf_token", secrets.token_urlsafe(32))
        return PAGE.format(
            body=FORM.format(root=self._root(), token=token, largest=LARGEST)
        )

    @methods("GET", "POST")
    async def jobs(self, job_id: str = "", limit: int = 0) -> Any:
        """Start a job with POST, and tell of one with GET."""
        if self.request.method == "POST":
            return await self._start(limit)
        job = await self._jobs.status(job_id)
        if job is None:
            raise HTTPError(404, {"error": "no such job"})
        if "text/html" not in self.request.headers.get("accept", ""):
            return 200, job, {"cache-control": "no-store"}
        return PAGE.format(
            body=JOB.format(
                root=self._root(), job_id=html.escape(job_id), state=job["state"]
            )
        )

    async def _start(self, limit: int) -> Any:
        # Which no form of a foreign page can send.
        is_json = isinstance(self.request.json(default=""), dict)
        if not is_json:
            self._check_token()
        if not 0 <= limit <= LARGEST:
            raise HTTPError(
                400, {"error": f"the limit must be between 0 and {LARGEST}"}
            )
        try:
            job_id = await self._jobs.submit(count_primes, limit)
        except Busy:
            raise HTTPError(
                503, {"error": "too many jobs are waiting"}, {"retry-after": "10"}
            ) from None
        location = f"{self._root()}/jobs/{job_id}"
        return (
            (202, {"job": location}, {"location": location})
            if is_json
            else self._redirect(location, 303)
        )

    def _check_token(self) -> None:
        expected = self.request.session.get("csrf_token", "")
        sent = self.request.form("csrf_token", "")
        if not expected or not secrets.compare_digest(sent.encode(), expected.encode()):
            raise HTTPError(
                403, "This form has expired: go back, reload it and send it again."
            )

    def _root(self) -> str:
        return html.escape(self.request.scope.get("root_path", "").rstrip("/"))


app = Root(os.environ.get("JOB_QUEUE", ""))

if __name__ == "__main__":
    import uvicorn

    uvicorn.run(app, timeout_graceful_shutdown=5)
