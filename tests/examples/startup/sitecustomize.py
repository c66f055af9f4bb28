"""Measures the coverage of every Python process that the tests of the examples start."""

import coverage

coverage.process_startup()
