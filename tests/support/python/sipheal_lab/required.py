# SPDX-License-Identifier: Apache-2.0
"""What a test on real servers needs, and what it says when that is not there."""

import os
import sys
import unittest

from sipheal_lab.asterisk import asterisk_prefix


def require_asterisk(*programs):
    """Skips loudly without a cached Asterisk or one of these programs (names of environment
    variables that hold their paths), or fails where SIPHEAL_REQUIRE_ASTERISK is 1."""
    missing = [name for name in programs if not os.environ.get(name)]
    if asterisk_prefix() and not missing:
        return
    text = ("no " + " and no ".join(missing) if missing
            else "no Asterisk in the cache: run patches/asterisk/get-asterisk.sh")
    if os.environ.get("SIPHEAL_REQUIRE_ASTERISK") == "1":
        raise RuntimeError(text)
    sys.stderr.write(f"SKIPPED, {text}\n")
    raise unittest.SkipTest(text)
