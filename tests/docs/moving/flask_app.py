"""The idioms of the page "Moving to MicroPie", in Flask."""

import os

from flask import (
    Flask,
    abort,
    jsonify,
    make_response,
    redirect,
    render_template,
    request,
    session,
    url_for,
)
from markupsafe import escape

app = Flask(__name__)
app.secret_key = os.urandom(32)
PIES = {1: "apple"}


@app.route("/hello/<name>")
def hello(name):
    times = request.args.get("times", 1, type=int)
    return " ".join([f"Hello, {escape(name)}!"] * min(times, 10))


@app.route("/order", methods=["POST"])
def order():
    pie = request.form["pie"]
    count = int(request.form.get("count", 1))
    return {"pie": pie, "count": count}


@app.route("/pies", methods=["POST"])
def pies():
    name = request.get_json()["name"]
    return jsonify(name=name, id=2), 201, {"Location": "/pie/2"}


@app.route("/pie/<int:number>")
def pie(number):
    if number not in PIES:
        abort(404)
    return {"name": PIES[number]}


@app.route("/old")
def old():
    return redirect(url_for("hello", name="Ada"), 303)


@app.route("/theme")
def theme():
    response = make_response("Dark it is.")
    response.set_cookie("theme", "dark", max_age=86400)
    return response


@app.route("/visits")
def visits():
    session["visits"] = session.get("visits", 0) + 1
    return f"Visit {session['visits']}"


@app.route("/page/<name>")
def page(name):
    return render_template("page.html", name=name)


@app.route("/upload", methods=["POST"])
def upload():
    file = request.files["picture"]
    return {"name": file.filename, "bytes": len(file.read())}


@app.route("/count")
def count():
    def numbers():
        for number in range(1, 4):
            yield f"{number}\n"

    return numbers(), {"Content-Type": "text/plain"}


@app.after_request
def add_header(response):
    response.headers["X-Served-By"] = "the bakery"
    return response
