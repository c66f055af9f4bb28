"""Compiles Python's own library, the packages and MicroPie, for build.mjs inside Pyodide.

Only the Python that will load a ``.pyc`` file can make it, so all of this runs in the very Pyodide
that the site serves. Each call of `build.mjs` happens in a fresh interpreter: what `used_modules`
finds in ``sys.modules`` is not mixed with what the other functions need.
"""

import importlib
import importlib.util
import re
import sys
from importlib import _bootstrap_external as bootstrap
from types import CodeType
from zipfile import ZIP_DEFLATED, ZIP_STORED, ZipFile, ZipInfo

LIBRARY = "/lib/python314.zip"
PACKAGES = "/lib/python3.14/site-packages"
LIVE = "/lib/live"

# A zip file holds the time of each member. One fixed time gives the same bytes at each build.
SOME_TIME = (2026, 1, 1, 0, 0, 0)


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
    shutil sqlite3 statistics string struct sys tempfile textwrap threading time traceback types
    typing unicodedata urllib.parse uuid weakref zlib zoneinfo
    _pylong _strptime _threading_local stringprep
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

# Not even in the second part of the library: programs, other platforms, windows, processes.
NOWHERE = words(
    """
    _android_support _apple_support _ios_support _pyrepl antigravity curses ensurepip idlelib
    lib2to3 multiprocessing nturl2path pty pydoc_data this tkinter tty turtle turtledemo venv
"""
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


def split_library(source: str, used: list[str]) -> tuple[list[str], list[str]]:
    """Return the members of the library's zip file that each app needs, and the others.

    A package stays in one piece, because Python looks for its modules in one place. Codecs are the
    exception; see `MoreLibrary` in patches.py.
    """
    needed = {name.partition(".")[0] for name in used} | {"pyodide", "_pyodide"}
    first, second = [], []
    with ZipFile(source) as library:
        for member in sorted(library.namelist()):
            top, *rest = member.removesuffix(".py").split("/")
            if not member.endswith(".py") or top in NOWHERE:
                continue
            is_needed = rest[0] in CODECS if top == "encodings" else top in needed
            (first if is_needed else second).append(member)
    return first, second


def pack_library(source: str, members: list[str], target: str) -> None:
    """Write a zip file of compiled modules, without docstrings.

    Its members are stored as they are, because one gzip over all of them is much smaller than many
    small ones.
    """
    with ZipFile(source) as library, ZipFile(target, "w", ZIP_STORED) as out:
        for member in members:
            compiled = compiled_module(library.read(member), f"{LIBRARY}/{member}", optimize=2)
            out.writestr(ZipInfo(f"{member}c", SOME_TIME), compiled)


def pack_wheel(wheel: str, target: str, optimize: int) -> None:
    """Write a zip file with a wheel's modules, compiled, and its other files as they are."""
    with ZipFile(wheel) as source, ZipFile(target, "w", ZIP_STORED) as out:
        for member in source.namelist():
            data = source.read(member)
            if member.endswith(".py"):
                data = compiled_module(data, f"{PACKAGES}/{member}", optimize)
                out.writestr(ZipInfo(f"{member}c", SOME_TIME), data)
            elif not is_waste(member):
                out.writestr(ZipInfo(member, SOME_TIME), data)


# Babel has a thousand locales, which are thrice as large as Python itself. An app of the site can
# show dates and prices as in these languages, with their countries.
LOCALE = re.compile(r"babel/locale-data/(?!root|(de|en|es|fr|it|ja|nl|pl|pt|zh)(_[A-Z]{2})?\.)")


def is_waste(member: str) -> bool:
    """Tell whether a file of a wheel serves other machines, or people who work on the package."""
    if LOCALE.match(member):
        return True
    name = member.rpartition("/")[2]
    is_metadata = ".dist-info/" in member and name not in ("METADATA", "entry_points.txt")
    is_foreign = name.endswith(".so") and "wasm32-emscripten" not in name
    return is_metadata or is_foreign or name.endswith((".c", ".h", ".pyi", ".typed", "/"))


def pack_live(sources: dict[str, str], target: str) -> None:
    """Write a zip file with MicroPie and the driver, each as source and compiled.

    The sources are there for the lines in tracebacks. The compiled module is taken without a look
    at its source.
    """
    with ZipFile(target, "w", ZIP_DEFLATED, compresslevel=9) as out:
        for name, source in sorted(sources.items()):
            data = source.encode()
            code = code_of(data, f"{LIVE}/{name}")
            digest = importlib.util.source_hash(data)
            compiled = bytes(bootstrap._code_to_hash_pyc(code, digest, False))
            cached = f"__pycache__/{name.removesuffix('.py')}.{sys.implementation.cache_tag}.pyc"
            out.writestr(ZipInfo(name, SOME_TIME), data, ZIP_DEFLATED)
            out.writestr(ZipInfo(cached, SOME_TIME), compiled, ZIP_DEFLATED)


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
