#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Holds the ids of failures: each that is promised has a test that names it, and the table lists what tests name.

    check_test_ids.py ROOT          prints what is missing or too much; exit status 1 if there is anything
    check_test_ids.py --self-test   shows that each rule can fail

A test names an id in its own name, or in a comment or docstring of its file.
"""

import re
import sys

import fault_check

# The failures of which this release says that they do not happen here.
PROMISED = "F01-F08 F10 F12-F14 F17 F18 F20-F25 F30 F55-F60 F65 F66 F71-F77 F79 F80 F87 F89-F95 F100"
TABLE = "docs/test-ids.md"
TESTS = ("tests/**/*_test.cc", "tests/**/*_test.py", "tests/**/test_*.py")
SAID = {
    ".cc": (r"\bTEST(?:_F|_P)?\(\s*\w+,\s*(\w+)\s*\)", r"//(.*)"),
    ".py": (r"\bdef (test_\w+)", r"#(.*)", r'(?s)"""(.*?)"""'),
}
ID = re.compile(r"(?<![A-Za-z0-9])F\d{2,3}(?![A-Za-z0-9])")
ROW = re.compile(r"^\| (F\d{2,3}(?:, F\d{2,3})*) \|", re.MULTILINE)


def expand(text):
    """The ids of a list like "F01-F03 F10"."""
    ids = set()
    for part in text.split():
        first, _, last = part.partition("-")
        ids.update(f"F{number:02d}" for number in range(int(first[1:]), int((last or first)[1:]) + 1))
    return ids


def ids_of(path):
    """The ids that the tests in this file name."""
    text = path.read_text(encoding="utf-8")
    said = [part for pattern in SAID[path.suffix] for part in re.findall(pattern, text)]
    return {one for part in said for one in ID.findall(part.replace("_", " "))}


def check(root, promised=PROMISED):
    """What is wrong, a sentence each."""
    named = {}
    for pattern in TESTS:
        for path in sorted(root.glob(pattern)):
            for one in ids_of(path):
                named.setdefault(one, path.relative_to(root))
    rows = [one for row in ROW.findall((root / TABLE).read_text(encoding="utf-8")) for one in row.split(", ")]
    return ([f"{one}: promised, but no test names it" for one in sorted(expand(promised) - set(named))] +
            [f"{one}: listed in {TABLE}, but no test names it" for one in sorted(set(rows) - set(named))] +
            [f"{one}: named in {named[one]}, but not listed in {TABLE}" for one in sorted(set(named) - set(rows))] +
            [f"{one}: listed twice in {TABLE}" for one in sorted(set(rows)) if rows.count(one) > 1])


def self_test():
    good = {
        TABLE: "| F01 | a | b |\n| F02, F03 | a | b |\n| F100 | a | b |\n",
        "tests/sip/a_test.cc": "TEST(A, B_F01) {}\n// F02: why\nTEST_F(C,\n       F03_D) {}\nint F77 = 0;\n",
        "tests/module/test_b.py": 'def test_M01_F100_c(self):\n    """What it shows."""\n    "F66"\n',
    }
    bad = {
        "F01: promised, but no test names it": {"tests/sip/a_test.cc": "TEST(A, B_F02_F03) {}  // XF01 F011\n"},
        "F100: listed in docs/test-ids.md, but no test names it": {"tests/module/test_b.py": "F100 = 1\n"},
        "F04: named in tests/sip/a_test.cc, but not listed in docs/test-ids.md":
            {"tests/sip/a_test.cc": "TEST(A, F01_F02_F03_F04_B) {}\n"},
        "F02: listed twice in docs/test-ids.md": {TABLE: good[TABLE] + "| F02 | again | b |\n"},
    }
    return fault_check.self_test(good, bad, lambda root: check(root, "F01-F03 F100"))


if __name__ == "__main__":
    sys.exit(fault_check.main(__doc__, check, self_test, "every promised id has a test"))
