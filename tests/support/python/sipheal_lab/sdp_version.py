# SPDX-License-Identifier: Apache-2.0
"""How far the version of an o= line may rise when a successor takes a dialog over."""

import re

# What sipheal leaves free above the last version that it saw, since the capture's tail may be lost.
VERSION_MARGIN = 1000


def is_version_gap(violation, most=1 + VERSION_MARGIN):
    """Whether a phone's violation is only that the version rose by at most that much."""
    found = re.fullmatch(r"o= version (\d+) after (\d+)", violation)
    return found is not None and 1 < int(found[1]) - int(found[2]) <= most
