"""The tests of the blog: `python -m pytest`."""
