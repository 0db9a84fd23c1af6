# SPDX-License-Identifier: Apache-2.0
"""Waiting for what becomes true."""

import time


def wait_for(condition, timeout, what, interval=0.02):
    """Asks until condition() is true; returns its value. what: text, or a function that makes it."""
    deadline = time.monotonic() + timeout
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {timeout} s: {what() if callable(what) else what}")
        time.sleep(interval)
