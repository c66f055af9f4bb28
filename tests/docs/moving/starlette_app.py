"""The idioms of the pages on moving to MicroPie, in Starlette."""

import html
import os
from pathlib import Path

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.middleware.sessions import SessionMiddleware
from starlette.responses import (
    HTMLResponse,
    JSONResponse,
    RedirectResponse,
    StreamingResponse,
)
from starlette.routing import Route, WebSocketRoute
from starlette.templating import Jinja2Templates

PIES = {1: "apple"}
templates = Jinja2Templates(Path(__file__).parent / "templates")


def hello(request):
    try:
        times = int(request.query_params.get("times", 1))
    except ValueError:
        raise HTTPException(400) from None
    name = html.escape(request.path_params["name"])
    return HTMLResponse(" ".join([f"Hello, {name}!"] * min(times, 10)))


async def order(request):
    form = await request.form()
    return JSONResponse({"pie": form["pie"], "count": int(form.get("count", 1))})


async def pies(request):
    body = await request.json()
    created = {"name": body["name"], "id": 2}
    return JSONResponse(created, 201, {"Location": "/pie/2"})


def pie(request):
    number = request.path_params["number"]
    if number not in PIES:
        raise HTTPException(404)
    return JSONResponse({"name": PIES[number]})


def old(request):
    return RedirectResponse("/hello/Ada", 303)


def theme(request):
    response = HTMLResponse("Dark it is.")
    response.set_cookie("theme", "dark", max_age=86400)
    return response


def visits(request):
    request.session["visits"] = request.session.get("visits", 0) + 1
    return HTMLResponse(f"Visit {request.session['visits']}")


def page(request):
    name = request.path_params["name"]
    return templates.TemplateResponse(request, "page.html", {"name": name})


async def upload(request):
    async with request.form() as form:
        picture = form["picture"]
        size = len(await picture.read())
        return JSONResponse({"name": picture.filename, "bytes": size})


def count(request):
    def numbers():
        for number in range(1, 4):
            yield f"{number}\n"

    return StreamingResponse(numbers(), media_type="text/plain")


async def echo(ws):
    await ws.accept()
    async for message in ws.iter_text():
        await ws.send_text(message)


class AddHeader(BaseHTTPMiddleware):
    async def dispatch(self, request, call_next):
        response = await call_next(request)
        response.headers["X-Served-By"] = "the bakery"
        return response


app = Starlette(
    routes=[
        Route("/hello/{name}", hello),
        Route("/order", order, methods=["POST"]),
        Route("/pies", pies, methods=["POST"]),
        Route("/pie/{number:int}", pie),
        Route("/old", old),
        Route("/theme", theme),
        Route("/visits", visits),
        Route("/page/{name}", page),
        Route("/upload", upload, methods=["POST"]),
        Route("/count", count),
        WebSocketRoute("/echo", echo),
    ],
    middleware=[
        Middleware(AddHeader),
        Middleware(SessionMiddleware, secret_key=os.urandom(32).hex()),
    ],
)
