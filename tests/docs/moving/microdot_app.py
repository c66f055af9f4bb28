"""The idioms of the page "Moving to MicroPie", in Microdot."""

import pathlib

from microdot import abort, redirect
from microdot.asgi import Microdot, with_websocket
from microdot.jinja import Template
from microdot.multipart import with_form_data

app = Microdot()
Template.initialize(
    template_dir=str(pathlib.Path(__file__).parent / "templates"), enable_async=True
)
PIES = {1: "apple"}


@app.get("/hello/<name>")
async def hello(request, name):
    times = int(request.args.get("times", 1))
    return " ".join([f"Hello, {name}!"] * min(times, 10))


@app.post("/order")
async def order(request):
    pie = request.form["pie"]
    count = int(request.form.get("count", 1))
    return {"pie": pie, "count": count}


@app.post("/pies")
async def pies(request):
    name = request.json["name"]
    return {"name": name, "id": 2}, 201, {"Location": "/pie/2"}


@app.get("/pie/<int:number>")
async def pie(request, number):
    if number not in PIES:
        abort(404)
    return {"name": PIES[number]}


@app.get("/old")
async def old(request):
    return redirect("/hello/Ada", 303)


@app.get("/theme")
async def theme(request):
    @request.after_request
    async def set_theme(request, response):
        response.set_cookie("theme", "dark", max_age=86400, path="/")

    return "Dark it is."


@app.get("/page/<name>")
async def page(request, name):
    html = await Template("page.html").render_async(name=name)
    return html, {"Content-Type": "text/html; charset=utf-8"}


@app.post("/upload")
@with_form_data
async def upload(request):
    file = request.files["picture"]
    return {"name": file.filename, "bytes": len(await file.read())}


@app.get("/count")
async def count(request):
    async def numbers():
        for number in range(1, 4):
            yield f"{number}\n"

    return numbers(), {"Content-Type": "text/plain"}


@app.after_request
async def add_header(request, response):
    response.headers["X-Served-By"] = "the bakery"


@app.get("/echo")
@with_websocket
async def echo(request, ws):
    while True:
        await ws.send(await ws.receive())
