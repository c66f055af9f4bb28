"""The idioms of the pages on moving to MicroPie, in FastAPI."""

import html
import os
from pathlib import Path

from fastapi import (
    FastAPI,
    Form,
    HTTPException,
    Request,
    Response,
    UploadFile,
    WebSocket,
)
from fastapi.responses import HTMLResponse, RedirectResponse, StreamingResponse
from fastapi.templating import Jinja2Templates
from pydantic import BaseModel
from starlette.middleware.sessions import SessionMiddleware
from starlette.websockets import WebSocketDisconnect

PIES = {1: "apple"}
app = FastAPI()
app.add_middleware(SessionMiddleware, secret_key=os.urandom(32).hex())
templates = Jinja2Templates(Path(__file__).parent / "templates")


class Pie(BaseModel):
    name: str


@app.get("/hello/{name}", response_class=HTMLResponse)
def hello(name: str, times: int = 1):
    return " ".join([f"Hello, {html.escape(name)}!"] * min(times, 10))


@app.post("/order")
def order(pie: str = Form(), count: int = Form(1)):
    return {"pie": pie, "count": count}


@app.post("/pies", status_code=201)
def pies(pie: Pie, response: Response):
    response.headers["Location"] = "/pie/2"
    return {"name": pie.name, "id": 2}


@app.get("/pie/{number}")
def pie(number: int):
    if number not in PIES:
        raise HTTPException(404)
    return {"name": PIES[number]}


@app.get("/old")
def old():
    return RedirectResponse("/hello/Ada", 303)


@app.get("/theme", response_class=HTMLResponse)
def theme():
    response = HTMLResponse("Dark it is.")
    response.set_cookie("theme", "dark", max_age=86400)
    return response


@app.get("/visits", response_class=HTMLResponse)
def visits(request: Request):
    request.session["visits"] = request.session.get("visits", 0) + 1
    return f"Visit {request.session['visits']}"


@app.get("/page/{name}")
def page(request: Request, name: str):
    return templates.TemplateResponse(request, "page.html", {"name": name})


@app.post("/upload")
async def upload(picture: UploadFile):
    return {"name": picture.filename, "bytes": len(await picture.read())}


@app.get("/count")
def count():
    def numbers():
        for number in range(1, 4):
            yield f"{number}\n"

    return StreamingResponse(numbers(), media_type="text/plain")


@app.websocket("/echo")
async def echo(ws: WebSocket):
    await ws.accept()
    try:
        while True:
            await ws.send_text(await ws.receive_text())
    except WebSocketDisconnect:
        pass


@app.middleware("http")
async def add_header(request: Request, call_next):
    response = await call_next(request)
    response.headers["X-Served-By"] = "the bakery"
    return response
