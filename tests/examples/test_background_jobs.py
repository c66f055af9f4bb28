"""examples/background_jobs: in the process, and on taskiq with a real Redis and a real worker."""

import asyncio
import contextlib
import functools
import signal
import subprocess
import sys
from datetime import UTC, datetime

import httpx
import pytest

from micropie import current_request
from tests import asgi
from tests.clock import elapse
from tests.examples import harness
from tests.examples.browsing import fill_in
from tests.examples.copied import check_job_queue
from tests.examples.crowd import Node
from tests.examples.loading import load
from tests.processes import free_port, wait_until

example = load("background_jobs")
in_process = load("background_jobs", "in_process")
primes = load("background_jobs", "primes")

pytestmark = pytest.mark.usefixtures("measured")


@pytest.mark.parametrize(
    ("limit", "count"), [(0, 0), (1, 0), (2, 0), (3, 1), (30, 10), (1_000_000, 78498)]
)
def test_count_primes_counts_the_primes_below_the_limit(limit, count):
    assert primes.count_primes(limit) == count


@pytest.mark.parametrize("limit", [-1, primes.LARGEST + 1])
def test_limit_out_of_range_raises_value_error(limit):
    with pytest.raises(ValueError, match="between 0 and"):
        primes.count_primes(limit)


# --- tasks of the process


async def job_at(gate, *, fail=False):
    await gate.wait()
    assert current_request.get(None) is None
    if fail:
        raise RuntimeError("it failed")
    return "result"


async def test_jobs_beyond_at_once_wait_and_beyond_waiting_are_refused():
    jobs, gate = in_process.Jobs(at_once=2, waiting=1), asyncio.Event()
    ids = [await jobs.submit(job_at, gate) for _ in range(3)]
    await elapse(1)
    assert [(await jobs.status(one))["state"] for one in ids] == ["running", "running", "waiting"]
    with pytest.raises(in_process.Busy):
        await jobs.submit(job_at, gate)
    gate.set()
    await jobs.finish()
    assert await jobs.status(ids[2]) == {"state": "done", "result": "result"}
    assert await jobs.status("unknown") is None
    with pytest.raises(in_process.Busy):
        await jobs.submit(job_at, gate)


async def test_failed_job_is_logged(caplog):
    jobs, gate = in_process.Jobs(), asyncio.Event()
    gate.set()
    one = await jobs.submit(functools.partial(job_at, fail=True), gate)
    await jobs.finish()
    assert await jobs.status(one) == {"state": "failed"}
    assert f"job {one} failed" in caplog.text
    assert "RuntimeError: it failed" in caplog.text


async def test_job_that_exits_has_failed_and_the_server_goes_on(caplog):
    jobs = in_process.Jobs()
    one, other = [await jobs.submit(job) for job in (sys.exit, exit_at_once)]
    await jobs.finish()
    assert [await jobs.status(job) for job in (one, other)] == [{"state": "failed"}] * 2
    assert caplog.text.count("SystemExit") == 2


async def exit_at_once():
    sys.exit(2)


async def test_finish_cancels_jobs_when_its_patience_is_over():
    jobs = in_process.Jobs(patience=20)
    one = await jobs.submit(job_at, asyncio.Event())
    await jobs.finish()
    assert await jobs.status(one) == {"state": "cancelled"}


async def test_results_beyond_the_number_kept_are_forgotten():
    jobs, gate = in_process.Jobs(at_once=1, waiting=0, kept=2), asyncio.Event()
    gate.set()
    ids = []
    for _ in range(5):
        ids.append(await jobs.submit(job_at, gate))
        await elapse(1)
    assert [await jobs.status(one) is None for one in ids] == [True, True, False, False, False]


def test_posted_job_is_answered_202_and_later_done(client):
    started = client.post("/jobs", json={"limit": 100})
    assert (started.status_code, started.json()) == (202, {"job": started.headers["location"]})
    assert result_of(client, started.headers["location"]) == {"state": "done", "result": 25}
    for limit in (-1, primes.LARGEST + 1, "many"):
        assert client.post("/jobs", json={"limit": limit}).status_code == 400
    assert client.post("/jobs", data={"limit": 1}).status_code == 303
    assert client.get("/jobs/unknown").status_code == 404


def result_of(client, path):
    def ended():
        found = client.get(path).json()
        return found if found["state"] not in {"waiting", "running"} else None

    return wait_until(ended, 60, f"the end of {path}")


def visitor(app):
    """A client that lets tasks go on after a response, as servers do."""
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test")


async def test_too_many_jobs_are_refused():
    app = example.Root()
    app._jobs = in_process.Jobs(at_once=0, waiting=1, patience=0)
    async with visitor(app) as client:
        assert (await client.post("/jobs", json={"limit": 5})).status_code == 202
        refused = await client.post("/jobs", json={"limit": 5})
    assert (refused.status_code, refused.headers["retry-after"]) == (503, "10")
    await app._jobs.finish()


@pytest.mark.real_time
async def test_schedule_submits_a_job(monkeypatch):
    app = example.Root()
    submitted = asyncio.Event()

    async def submit(*job):
        submitted.set()

    monkeypatch.setattr(app._jobs, "submit", submit)
    async with asgi.lifespan(app):
        [job] = app._scheduler.get_jobs()
        assert job.args == (primes.count_primes, 1_000_000)
        job.modify(next_run_time=datetime.now(UTC))
        await asyncio.wait_for(submitted.wait(), 60)


async def test_shutdown_waits_for_the_jobs():
    app = example.Root()
    async with asgi.lifespan(app), visitor(app) as client:
        location = (await client.post("/jobs", json={"limit": 3_000_000})).headers["location"]
    assert await app._jobs.status(location.rpartition("/")[2]) == {
        "state": "done",
        "result": 216816,
    }


def test_page_waits_for_the_result(page, browsing):
    page.goto("/")
    fill_in(page, {"Count the primes below": "3000000"}, "Start", "216816 primes")
    browsing.check_accessible(page)
    browsing.check_look("/")


# --- taskiq


def test_job_on_a_redis_queue_outlives_the_server_and_runs_in_the_worker(
    tmp_path, services, measure
):
    folder = harness.copied("background_jobs", tmp_path)
    variables = {**measure, "JOB_QUEUE": services.environment("background_jobs")["REDIS_URL"]}
    with harness.running(harness.SERVE, folder, variables) as server, server.client() as client:
        early = client.post("/jobs", json={"limit": 1000}).headers["location"]
    with harness.running(harness.SERVE, folder, variables) as server, server.client() as client:
        assert client.get(early).json() == {"state": "waiting"}
        assert client.get("/jobs/unknown").status_code == 404
        with harness.queue_worker("task_queue", folder, variables):
            assert result_of(client, early) == {"state": "done", "result": 168}
            late = client.post("/jobs", json={"limit": 100}).headers["location"]
            assert result_of(client, late) == {"state": "done", "result": 25}


def test_worker_waits_for_long_outlives_a_restart_of_redis_and_stops_when_told(tmp_path, measure):
    folder, port = harness.copied("background_jobs", tmp_path), free_port()
    command = ["redis-server", "--bind", "127.0.0.1", "--port", str(port), "--save", ""]
    redis = Node(command, port, tmp_path, tmp_path / "redis").start()
    variables = {**measure, "JOB_QUEUE": f"redis://127.0.0.1:{port}/0"}
    with (
        contextlib.closing(redis),
        harness.running(harness.SERVE, folder, variables) as server,
        server.client() as client,
        harness.queue_worker("task_queue", folder, variables) as (worker, log),
    ):
        wait_until(lambda: "Listening started" in log.read_text())
        # Both now have connections, which Redis ends.
        location = client.post("/jobs", json={"limit": 10}).headers["location"]
        assert result_of(client, location) == {"state": "done", "result": 4}
        with pytest.raises(subprocess.TimeoutExpired):  # redis-py ends a wait of 5 seconds
            worker.wait(6)
        redis.kill()
        wait_until(lambda: "no job can be taken" in log.read_text())
        for answer in (client.post("/jobs", json={"limit": 100}), client.get(location)):
            assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
        redis.start()
        for _ in range(3):
            location = client.post("/jobs", json={"limit": 100}).headers["location"]
            assert result_of(client, location) == {"state": "done", "result": 25}
        redis.kill()
        redis.start()
        location = client.post("/jobs", json={"limit": 1000}).headers["location"]
        assert result_of(client, location) == {"state": "done", "result": 168}
        assert "Traceback" not in log.read_text()
        assert log.read_text().count("Listening started") == 1
        worker.send_signal(signal.SIGTERM)
        assert worker.wait(60) == 0


@pytest.mark.real_time
async def test_queue_gives_out_a_job(services, caplog):
    url = services.environment("background_jobs")["REDIS_URL"]
    await check_job_queue(load("background_jobs", "job_queue"), url, caplog)


@pytest.mark.real_time
async def test_job_that_fails_on_the_queue(services, monkeypatch):
    monkeypatch.setenv("JOB_QUEUE", services.environment("background_jobs")["REDIS_URL"])
    task_queue = load("background_jobs", "task_queue")
    queue = task_queue.TaskQueue()
    await queue.open()
    job_id = await queue.submit(primes.count_primes, -1)
    with pytest.raises(ValueError, match="between 0 and"):
        await task_queue.count_primes_task(-1)
    result = task_queue.TaskiqResult(is_err=True, log=None, return_value=None, execution_time=0)
    await task_queue.broker.result_backend.set_result(job_id, result)
    assert await queue.status(job_id) == {"state": "failed"}
    await queue.finish()
