# SPDX-License-Identifier: Apache-2.0
"""What the checks of ids share: a check that says what is wrong in sentences, and shows that it can fail."""

import pathlib
import sys
import tempfile


def self_test(good, bad, check):
    """Whether check(root) finds nothing in the files `good`, and each sentence of `bad` with the change beside it."""
    for sentence, change in [(None, {})] + list(bad.items()):
        with tempfile.TemporaryDirectory() as folder:
            root = pathlib.Path(folder)
            for name, text in {**good, **change}.items():
                (root / name).parent.mkdir(parents=True, exist_ok=True)
                (root / name).write_text(text, encoding="utf-8")
            found = check(root)
        if (sentence is None and found) or (sentence is not None and sentence not in found):
            print(f"{pathlib.Path(sys.argv[0]).stem}: expected {sentence}, found {found}")
            return False
    return True


def main(usage, check, can_fail, all_well):
    """The exit status of `ROOT` or `--self-test`."""
    if sys.argv[1:] == ["--self-test"]:
        return 0 if can_fail() else 1
    if len(sys.argv) != 2:
        print(usage)
        return 2
    found = check(pathlib.Path(sys.argv[1]))
    print("\n".join(found) if found else all_well)
    return 1 if found else 0
