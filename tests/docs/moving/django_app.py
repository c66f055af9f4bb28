"""The idioms of the pages on moving to MicroPie, in Django, in one file."""

import json
import os

from django.conf import settings
from django.core.asgi import get_asgi_application
from django.http import (
    Http404,
    HttpResponse,
    HttpResponseRedirect,
    JsonResponse,
    StreamingHttpResponse,
)
from django.shortcuts import render
from django.urls import path
from django.utils.html import escape
from django.views.decorators.http import require_POST

settings.configure(
    ALLOWED_HOSTS=["127.0.0.1"],
    ROOT_URLCONF=__name__,
    SECRET_KEY=os.urandom(32).hex(),
    SESSION_ENGINE="django.contrib.sessions.backends.signed_cookies",
    MIDDLEWARE=[
        f"{__name__}.add_header",
        "django.contrib.sessions.middleware.SessionMiddleware",
    ],
    TEMPLATES=[
        {
            "BACKEND": "django.template.backends.django.DjangoTemplates",
            "DIRS": ["templates"],
        }
    ],
)
PIES = {1: "apple"}


def hello(request, name):
    try:
        times = int(request.GET.get("times", 1))
    except ValueError:
        return HttpResponse("times must be a number", status=400)
    return HttpResponse(" ".join([f"Hello, {escape(name)}!"] * min(times, 10)))


@require_POST
def order(request):
    count = int(request.POST.get("count", 1))
    return JsonResponse({"pie": request.POST["pie"], "count": count})


@require_POST
def pies(request):
    name = json.loads(request.body)["name"]
    created = {"name": name, "id": 2}
    return JsonResponse(created, status=201, headers={"Location": "/pie/2"})


def pie(request, number):
    if number not in PIES:
        raise Http404
    return JsonResponse({"name": PIES[number]})


def old(request):
    response = HttpResponseRedirect("/hello/Ada")
    response.status_code = 303
    return response


def theme(request):
    response = HttpResponse("Dark it is.")
    response.set_cookie("theme", "dark", max_age=86400)
    return response


def visits(request):
    request.session["visits"] = request.session.get("visits", 0) + 1
    return HttpResponse(f"Visit {request.session['visits']}")


def page(request, name):
    return render(request, "page.html", {"name": name})


@require_POST
def upload(request):
    picture = request.FILES["picture"]
    return JsonResponse({"name": picture.name, "bytes": picture.size})


async def count(request):
    async def numbers():
        for number in range(1, 4):
            yield f"{number}\n"

    return StreamingHttpResponse(numbers(), content_type="text/plain")


def add_header(get_response):
    def middleware(request):
        response = get_response(request)
        response["X-Served-By"] = "the bakery"
        return response

    return middleware


urlpatterns = [
    path("hello/<name>", hello),
    path("order", order),
    path("pies", pies),
    path("pie/<int:number>", pie),
    path("old", old),
    path("theme", theme),
    path("visits", visits),
    path("page/<name>", page),
    path("upload", upload),
    path("count", count),
]
app = get_asgi_application()
