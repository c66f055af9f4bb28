"""Measures the coverage of every Python process that the tests of the examples start."""

import signal

import coverage

coverage.process_startup()
save = signal.getsignal(signal.SIGTERM)
if callable(save):

    def end(number, frame, save=save):
        """Save what was measured. Some servers send the signal twice, which would disturb that."""
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        save(number, frame)

    signal.signal(signal.SIGTERM, end)
