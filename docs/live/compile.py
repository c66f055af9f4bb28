"""Compiles Python's own library, the packages and MicroPie, for build.mjs inside Pyodide.

Only the Python that will load a ``.pyc`` file can make it, so all of this runs in the very Pyodide
that the site serves. Each call of `build.mjs` happens in a fresh interpreter: what `used_modules`
finds in ``sys.modules`` is not mixed with what the other functions need.
"""

import _imp
import gzip
import importlib
import importlib.util
import io
import lzma
import re
import sys
from importlib import _bootstrap_external as bootstrap
from types import CodeType
from zipfile import ZIP_STORED, ZipFile, ZipInfo

LIBRARY = "/lib/python314.zip"
PACKAGES = "/lib/python3.14/site-packages"
LIVE = "/lib/live"

# A zip file holds the time of each member. One fixed time gives the same bytes at each build.
SOME_TIME = (2026, 1, 1, 0, 0, 0)

# The browser unpacks gzip, but Python is not there yet. Python unpacks this, which is smaller by a
# quarter. A larger dictionary would take as much of the page's memory and save nothing.
XZ = [{"id": lzma.FILTER_LZMA2, "preset": 9 | lzma.PRESET_EXTREME, "dict_size": 2**23}]
XZ[0] |= {"lc": 4, "pb": 0}  # for compiled Python


def words(text: str) -> list[str]:
    """Return the words of a text."""
    return text.split()


# Imports of the examples, of the tutorial and of what a reader is likely to type.
USUAL = words(
    """
    asyncio base64 bisect calendar collections concurrent.futures contextlib copy csv dataclasses
    datetime decimal difflib email.message email.utils enum fractions functools gzip hashlib heapq
    hmac html html.parser http.client http.cookies importlib inspect io ipaddress itertools json
    linecache logging logging.config math mimetypes operator pathlib pprint queue random re secrets
    shutil smtplib sqlite3 statistics string struct sys tempfile textwrap threading time traceback
    types typing unicodedata urllib.parse uuid weakref zlib zoneinfo
    _pylong _strptime _threading_local colorsys shlex stringprep
    _sysconfigdata__emscripten_wasm32-emscripten
    jinja2 jinja2.ext jinja2.async_utils multipart micropie
"""
)

# Codecs that no page of an app needs take more room than all others together.
CODECS = words(
    """
    __init__ aliases ascii base64_codec charmap cp1252 cp437 hex_codec idna iso8859_1 iso8859_15
    latin_1 punycode quopri_codec raw_unicode_escape undefined unicode_escape utf_16 utf_16_be
    utf_16_le utf_32 utf_32_be utf_32_le utf_8 utf_8_sig zlib_codec
"""
)

# Parts of packages that apps need otherwise: servers, processes, and what fetches pages.
SELDOM = set(
    words(
        """
    concurrent/futures/process http/server pyodide/http urllib/robotparser wsgiref/handlers
    wsgiref/simple_server wsgiref/validate
"""
    )
)

# Modules that few apps import. They come alone, because all of "more" is much larger.
ALONE = words("_ast_unparse difflib gettext statistics")

# In no part of the library: programs, other platforms, windows, processes, what patches.py
# replaces, and what Pyodide has for Node and for its own console.
NOWHERE = set(
    words(
        """
    __main__
    _android_support _apple_support _ios_support _pyrepl antigravity asyncio/proactor_events
    asyncio/tools asyncio/windows_events asyncio/windows_utils concurrent/interpreters curses
    ensurepip idlelib lib2to3 multiprocessing nturl2path pty pydoc_data pyodide/_nodesock_transport
    pyodide/console this tkinter tty turtle turtledemo venv
"""
    )
)


def used_modules(wanted: list[str]) -> list[str]:
    """Import these modules and return all modules of Python's own library that this took."""
    for name in wanted:
        importlib.import_module(name)
    return sorted(
        name
        for name, module in sys.modules.items()
        if (getattr(module, "__file__", None) or "").startswith(LIBRARY)
    )


def split_library(source: str, used: list[str]) -> dict[str, list[str]]:
    """Return the members of each part of the library's zip file.

    The parts are:
        start  what Python needs before it can unpack another part
        usual  what each app needs
        xml, difflib ...  a package or a module that few apps import
        more   all other modules

    A package can have modules in "more", too; see `MoreLibrary` in patches.py.
    """
    needed = {name.partition(".")[0] for name in used} | {"pyodide", "_pyodide"}
    parts: dict[str, list[str]] = {"start": [], "usual": [], "more": []}
    with ZipFile(source) as library:
        for member in sorted(library.namelist()):
            name = member.removesuffix(".py")
            folder, _, last = name.rpartition("/")
            is_frozen = _imp.is_frozen(name.replace("/", "."))  # Python never reads its file
            top = name.partition("/")[0]
            if not member.endswith(".py") or is_frozen or {top, name, last} & NOWHERE:
                continue
            if top == "encodings":
                part = "start" if last in CODECS else "more"
            elif {name, folder} & SELDOM:
                part = "more"
            elif top in needed and top not in ALONE:
                part = "usual"
            else:
                part = top if folder or top in ALONE else "more"
            parts.setdefault(part, []).append(member)
    return parts


def pack_library(source: str, members: list[str], others: dict[str, str]) -> bytes:
    """Return a zip file of compiled modules, without docstrings.

    Its members are stored as they are, because one compression over all of them is much better
    than many small ones.

    Args:
        source: The library's zip file.
        members: Those of it that are wanted.
        others: The sources of further modules.
    """
    packed = io.BytesIO()
    with ZipFile(source) as library, ZipFile(packed, "w", ZIP_STORED) as out:
        sources = {member: library.read(member) for member in members}
        sources |= {name: text.encode() for name, text in others.items()}
        for name, data in sources.items():
            compiled = compiled_module(data, f"{LIBRARY}/{name}", optimize=2)
            out.writestr(ZipInfo(f"{name}c", SOME_TIME), compiled)
    return packed.getvalue()


def pack_wheel(wheel: str, optimize: int, wanted: str) -> bytes:
    """Return a zip file with a wheel's modules, compiled, and its other files as they are.

    Args:
        wheel: Its file.
        optimize: The level of the compiler.
        wanted: A pattern for the beginning of the names of the files.
    """
    packed = io.BytesIO()
    with ZipFile(wheel) as source, ZipFile(packed, "w", ZIP_STORED) as out:
        for member in sorted(source.namelist()):
            if is_waste(member) or not re.match(wanted, member):
                continue
            data = source.read(member)
            if member.endswith(".py"):
                data = compiled_module(data, f"{PACKAGES}/{member}", optimize)
                member += "c"
            elif member.endswith("/METADATA"):
                data = data.partition(b"\n\n")[0] + b"\n"  # without the description
            out.writestr(ZipInfo(member, SOME_TIME), data)
    return packed.getvalue()


def gzipped_size(file: str) -> int:
    """Return how many bytes a host sends for a file that it compresses."""
    with open(file, "rb") as whole:
        return len(gzip.compress(whole.read(), 6))


def compressed(data: bytes) -> bytes:
    """Return a file's content for Python to unpack."""
    return lzma.compress(data, lzma.FORMAT_XZ, filters=XZ)


# Babel has a thousand locales, which are thrice as large as Python itself. An app of the site can
# show dates and prices as in these languages, with their countries.
LOCALE = re.compile(r"babel/locale-data/(?!root|(de|en|es|fr|it|ja|nl|pl|pt|zh)(_[A-Z]{2})?\.)")


# Parts of packages that no app can use in a page: for other frameworks, other event loops and other
# systems, for the command line, for type checkers, and for tests in threads.
WASTE = re.compile(
    r"""
    annotated_types/test_cases
    | anyio/(_backends/_trio | _core/_asyncio_selector_thread | pytest_plugin)
    | dateutil/tz/win\.
    | fastapi/(\.agents/ | cli | testclient)
    | pydantic/mypy
    | segno/cli
    | starlette/testclient
    | strawberry/(aiohttp | chalice | channels | cli | codegen | codemods | django)/
    | strawberry/(ext | flask | litestar | quart | sanic | schema_codegen | test)/
    """,
    re.VERBOSE,
)


def is_waste(member: str) -> bool:
    """Tell whether a file of a wheel serves other machines, or people who work on the package."""
    if LOCALE.match(member) or WASTE.match(member):
        return True
    name = member.rpartition("/")[2]
    is_metadata = ".dist-info/" in member and name not in ("METADATA", "entry_points.txt")
    is_foreign = name.endswith(".so") and "wasm32-emscripten" not in name
    is_program = name == "__main__.py"
    is_for_tools = name.endswith((".c", ".h", ".pyi", ".typed", "/"))
    return is_metadata or is_foreign or is_program or is_for_tools


def pack_live(sources: dict[str, str]) -> bytes:
    """Return a zip file with MicroPie and the driver, each as source and compiled.

    The sources are there for the lines in tracebacks. The compiled module is taken without a look
    at its source.
    """
    packed = io.BytesIO()
    with ZipFile(packed, "w", ZIP_STORED) as out:
        for name, source in sorted(sources.items()):
            data = source.encode()
            code = code_of(data, f"{LIVE}/{name}")
            digest = importlib.util.source_hash(data)
            compiled = bytes(bootstrap._code_to_hash_pyc(code, digest, False))
            cached = f"__pycache__/{name.removesuffix('.py')}.{sys.implementation.cache_tag}.pyc"
            out.writestr(ZipInfo(name, SOME_TIME), data)
            out.writestr(ZipInfo(cached, SOME_TIME), compiled)
    return packed.getvalue()


def compiled_module(source: bytes, path: str, optimize: int = 0) -> bytes:
    """Return the content of a ``.pyc`` file, for a module whose source is left out."""
    return bytes(bootstrap._code_to_timestamp_pyc(code_of(source, path, optimize), 0, 0))


def code_of(source: bytes, path: str, optimize: int = 0) -> CodeType:
    """Compile one module; this file's own ``__future__`` imports don't matter to it."""
    return compile(source, path, "exec", dont_inherit=True, optimize=optimize)


def requirements(wheel: str) -> list[str]:
    """Return the names of the packages that a wheel needs in this Python, without its extras."""
    with ZipFile(wheel) as source:
        metadata = next(m for m in source.namelist() if m.endswith(".dist-info/METADATA"))
        text = source.read(metadata).decode()
    lines = re.findall(r"^Requires-Dist: *([\w.-]+)(.*)$", text.partition("\n\n")[0], re.MULTILINE)
    return [plain_name(name) for name, rest in lines if is_for_here(rest.partition(";")[2])]


def is_for_here(marker: str) -> bool:
    """Tell whether a condition is no extra, no other system and no older Python."""
    older = re.search(r"python(?:_full)?_version *< *['\"]3\.(\d+)", marker)
    if older and " or " not in marker and int(older[1]) <= sys.version_info.minor:
        return False
    return not re.search(r"extra *==|== *['\"](Windows|win32)", marker)


def plain_name(name: str) -> str:
    """Return a package's name in one spelling, as in ``markdown-it-py``."""
    return re.sub(r"[-_.]+", "-", name).lower()
