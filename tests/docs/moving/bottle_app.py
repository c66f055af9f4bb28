"""The idioms of the page "Moving to MicroPie", in Bottle."""

import html

from bottle import Bottle, abort, redirect, request, response, template

app = Bottle()
PIES = {1: "apple"}


@app.get("/hello/<name>")
def hello(name):
    times = int(request.query.get("times", 1))
    return " ".join([f"Hello, {html.escape(name)}!"] * min(times, 10))


@app.post("/order")
def order():
    pie = request.forms["pie"]
    count = int(request.forms.get("count", 1))
    return {"pie": pie, "count": count}


@app.post("/pies")
def pies():
    name = request.json["name"]
    response.status = 201
    response.set_header("Location", "/pie/2")
    return {"name": name, "id": 2}


@app.get("/pie/<number:int>")
def pie(number):
    if number not in PIES:
        abort(404)
    return {"name": PIES[number]}


@app.get("/old")
def old():
    redirect("/hello/Ada", 303)


@app.get("/theme")
def theme():
    response.set_cookie("theme", "dark", max_age=86400, path="/")
    return "Dark it is."


@app.get("/page/<name>")
def page(name):
    return template("<p>Hello, {{name}}!</p>", name=name)


@app.post("/upload")
def upload():
    file = request.files["picture"]
    return {"name": file.filename, "bytes": len(file.file.read())}


@app.get("/count")
def count():
    response.content_type = "text/plain"
    for number in range(1, 4):
        yield f"{number}\n"


@app.hook("after_request")
def add_header():
    response.set_header("X-Served-By", "the bakery")
