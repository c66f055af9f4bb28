"""Unpacks the library that each app needs, before Python imports anything from it.

Python's start imports this module. Until then it has its built-in and frozen modules, and codecs.
python.mjs has written the packed file.
"""

import _lzma
import os
import sys

ZIP = "/lib/python314-usual.zip"

with open(f"{ZIP}.xz", "rb") as packed, open(ZIP, "wb") as unpacked:
    unpacked.write(_lzma.LZMADecompressor().decompress(packed.read()))
os.remove(f"{ZIP}.xz")
sys.path.insert(sys.path.index("/lib/python314.zip") + 1, ZIP)
