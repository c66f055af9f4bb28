"""The idioms of the page "Moving to MicroPie", in MicroPie."""

import html

from micropie import App, HTTPError, HttpMiddleware, UploadedFile, methods, set_cookie

PIES = {1: "apple"}


class Root(App):
    def hello(self, name, times: int = 1):
        return " ".join([f"Hello, {html.escape(name)}!"] * min(times, 10))

    @methods("POST")
    def order(self, pie, count: int = 1):
        return {"pie": pie, "count": count}

    @methods("POST")
    def pies(self, name: str):
        return 201, {"name": name, "id": 2}, {"Location": "/pie/2"}

    def pie(self, number: int):
        if number not in PIES:
            raise HTTPError(404)
        return {"name": PIES[number]}

    def old(self):
        return self._redirect("/hello/Ada", 303)

    def theme(self):
        return 200, "Dark it is.", [set_cookie("theme", "dark", max_age=86400)]

    def visits(self):
        session = self.request.session
        session["visits"] = session.get("visits", 0) + 1
        return f"Visit {session['visits']}"

    async def page(self, name):
        return await self._render_template("page.html", name=name)

    @methods("POST")
    async def upload(self, picture: UploadedFile):
        return {"name": picture.filename, "bytes": len(await picture.read())}

    def count(self):
        def numbers():
            for number in range(1, 4):
                yield f"{number}\n"

        return 200, numbers(), {"Content-Type": "text/plain"}

    async def ws_echo(self, ws):
        await ws.accept()
        async for message in ws:
            await ws.send_text(message)


class AddHeader(HttpMiddleware):
    async def after_request(self, request, status_code, response_body, extra_headers):
        extra_headers.append(("x-served-by", "the bakery"))


app = Root()
app.middlewares.append(AddHeader())
