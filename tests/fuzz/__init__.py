"""Fuzzing: targets that take any bytes, each with what has to hold for all of them.

A target is a plain function of `bytes` that raises if its promise is broken. `make fuzz` runs the
targets under Atheris, which keeps each input that reaches new branches of `micropie.py`. pytest
runs the same targets over `corpus/` and some mutations of it (`test_targets.py`).
"""
