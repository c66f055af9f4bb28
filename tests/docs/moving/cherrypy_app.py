"""The idioms of the page "Moving to MicroPie", in CherryPy."""

import html
import pathlib

import cherrypy
import jinja2

PIES = {1: "apple"}
env = jinja2.Environment(
    loader=jinja2.FileSystemLoader(pathlib.Path(__file__).parent / "templates"),
    autoescape=True,
)


def add_header():
    cherrypy.response.headers["X-Served-By"] = "the bakery"


cherrypy.tools.bakery = cherrypy.Tool("before_finalize", add_header)


class Root:
    @cherrypy.expose
    def hello(self, name, times=1):
        return " ".join([f"Hello, {html.escape(name)}!"] * min(int(times), 10))

    @cherrypy.expose
    @cherrypy.tools.allow(methods=["POST"])
    @cherrypy.tools.json_out()
    def order(self, pie, count=1):
        return {"pie": pie, "count": int(count)}

    @cherrypy.expose
    @cherrypy.tools.allow(methods=["POST"])
    @cherrypy.tools.json_in()
    @cherrypy.tools.json_out()
    def pies(self):
        name = cherrypy.request.json["name"]
        cherrypy.response.status = 201
        cherrypy.response.headers["Location"] = "/pie/2"
        return {"name": name, "id": 2}

    @cherrypy.expose
    @cherrypy.tools.json_out()
    def pie(self, number):
        if int(number) not in PIES:
            raise cherrypy.HTTPError(404)
        return {"name": PIES[int(number)]}

    @cherrypy.expose
    def old(self):
        raise cherrypy.HTTPRedirect("/hello/Ada", 303)

    @cherrypy.expose
    def theme(self):
        cherrypy.response.cookie["theme"] = "dark"
        cherrypy.response.cookie["theme"]["max-age"] = 86400
        cherrypy.response.cookie["theme"]["path"] = "/"
        return "Dark it is."

    @cherrypy.expose
    def visits(self):
        session = cherrypy.session
        session["visits"] = session.get("visits", 0) + 1
        return f"Visit {session['visits']}"

    @cherrypy.expose
    def page(self, name):
        return env.get_template("page.html").render(name=name)

    @cherrypy.expose
    @cherrypy.tools.allow(methods=["POST"])
    @cherrypy.tools.json_out()
    def upload(self, picture):
        return {"name": picture.filename, "bytes": len(picture.file.read())}

    @cherrypy.expose
    @cherrypy.config(**{"response.stream": True})
    def count(self):
        cherrypy.response.headers["Content-Type"] = "text/plain"

        def numbers():
            for number in range(1, 4):
                yield f"{number}\n"

        return numbers()


config = {"tools.sessions.on": True, "tools.bakery.on": True}
app = cherrypy.Application(Root(), "", {"/": config})
