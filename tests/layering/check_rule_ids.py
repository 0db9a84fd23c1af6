#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Holds the rules of rebuilding: each has a test with its number in the name, and a row that says what it is.

    check_rule_ids.py ROOT          prints what is missing or too much; exit status 1 if there is anything
    check_rule_ids.py --self-test   shows that each rule can fail

A test names a rule in its own name: TEST(Cseq, Rule5_8_HeadRoomDependsOnTheCapture). A number in a comment does not
count, since it is not seen when the test fails.
"""

import collections
import re
import sys

import fault_check

# Every rule of the rebuild, section by section. A rule is never renumbered.
RULES = ("1.1-1.14 2.1-2.15 3.1-3.17 4.1-4.9 5.1-5.13 6.1-6.12 7.1-7.9 8.1-8.7 9.1-9.11 10.1-10.14 11.1-11.12 "
         "12.1-12.15 13.1-13.7")
TABLE = "docs/test-ids.md"
NAME = re.compile(r"\bTEST(?:_F|_P)?\(\s*\w+,\s*(\w+)\s*\)")
RULE = re.compile(r"(?<![A-Za-z0-9])Rule(\d+)_(\d+)(?!\d)")
ROW = re.compile(r"^\| (\d+\.\d+) \| (.*) \|$", re.MULTILINE)


def number(rule):
    return tuple(int(part) for part in rule.split("."))


def expand(text):
    """The rules of a list like "1.1-1.3 2.1"."""
    rules = []
    for part in text.split():
        first, _, last = part.partition("-")
        section, begin = number(first)
        end = number(last)[1] if last else begin
        rules += [f"{section}.{one}" for one in range(begin, end + 1)]
    return rules


def named_by_tests(root):
    """Each rule that a test names, with the file of one such test."""
    named = {}
    for path in sorted(root.glob("tests/**/*_test.cc")):
        for name in NAME.findall(path.read_text(encoding="utf-8")):
            for section, one in RULE.findall(name.replace("_Rule", " Rule")):
                named.setdefault(f"{section}.{one}", path.relative_to(root))
    return named


def check(root, rules=RULES):
    """What is wrong, a sentence each."""
    known = expand(rules)
    named = named_by_tests(root)
    rows = ROW.findall((root / TABLE).read_text(encoding="utf-8"))
    listed = collections.Counter(rule for rule, _ in rows)
    wrong = [f"{rule}: no test has it in its name" for rule in known if rule not in named]
    wrong += [f"{rule}: not listed in {TABLE}" for rule in known if rule not in listed]
    wrong += [f"{rule}: named in {path}, but there is no such rule"
              for rule, path in named.items() if rule not in known]
    wrong += [f"{rule}: listed in {TABLE}, but there is no such rule" for rule in listed if rule not in known]
    wrong += [f"{rule}: listed twice in {TABLE}" for rule, count in listed.items() if count > 1]
    wrong += [f"{rule}: its row in {TABLE} says nothing" for rule, text in rows if not text.strip()]
    if [rule for rule, _ in rows] != sorted((rule for rule, _ in rows), key=number):
        wrong.append(f"the rules are not in order in {TABLE}")
    return sorted(wrong)


def self_test():
    good = {
        TABLE: "| 1.1 | one |\n| 1.2 | two |\n| 2.1 | three |\n",
        "tests/sip/a_test.cc": "TEST(A, Rule1_1_B_Rule1_2) {}\nTEST_F(C,\n       Rule2_1_D) {}\n",
    }
    bad = {
        "1.2: no test has it in its name":
            {"tests/sip/a_test.cc": "// Rule1_2\nTEST(A, Rule1_1_Rule1_23) {}\nTEST(A, Rule2_1) {}\n"},
        "3.1: named in tests/sip/a_test.cc, but there is no such rule":
            {"tests/sip/a_test.cc": good["tests/sip/a_test.cc"] + "TEST(A, Rule3_1_E) {}\n"},
        "1.1: not listed in docs/test-ids.md": {TABLE: "| 1.2 | two |\n| 2.1 | three |\n"},
        "9.9: listed in docs/test-ids.md, but there is no such rule": {TABLE: good[TABLE] + "| 9.9 | x |\n"},
        "2.1: listed twice in docs/test-ids.md": {TABLE: good[TABLE] + "| 2.1 | again |\n"},
        "1.2: its row in docs/test-ids.md says nothing": {TABLE: "| 1.1 | one |\n| 1.2 |  |\n| 2.1 | three |\n"},
        "the rules are not in order in docs/test-ids.md": {TABLE: "| 1.2 | two |\n| 1.1 | one |\n| 2.1 | three |\n"},
    }
    return fault_check.self_test(good, bad, lambda root: check(root, "1.1-1.2 2.1"))


if __name__ == "__main__":
    sys.exit(fault_check.main(__doc__, check, self_test, f"each of {len(expand(RULES))} rules has a test and a row"))
