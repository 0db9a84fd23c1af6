#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Kills the Asterisk that holds the calls, again and again: the same calls must live through all of it.

    bench/kills.py [--kills 50] [--calls 10] [--programs build/bin]

Prints a line for each kill, then one line of JSON: how many calls were still alive after the last
kill, and median and worst of the times from a kill to its detection and to the first re-INVITE.
Needs what examples/demo.sh has installed and built, and root for the capture.
"""

import argparse
import json
import pathlib
import shutil
import statistics
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "examples" / "demo"), str(ROOT / "tests" / "support" / "python")]

from lab import require_root  # noqa: E402
from phones import FEWEST  # noqa: E402
from show import Show, say  # noqa: E402


def run(options, directory):
    show, summaries = Show(options, directory), []
    try:
        show.start()
        show.place()
        for number in range(options.kills):
            server = show.busiest()
            say(f"kill {number + 1} of {options.kills}")
            connects = show.controller.connects(server.name)
            show.kill(server)
            summaries.append(show.deaths[-1].summary())  # before the same server dies again
            show.lab.restart(server)
            show.controller.wait_connects(server.name, connects + 1, 10)
        show.hang_up()
        return report(show, summaries)
    finally:
        show.close()


def report(show, summaries):
    def times(key):
        values = [s[key] for s in summaries]
        if None in values:
            return None
        return {"p50": round(statistics.median(values), 1), "worst": round(max(values), 1)}

    return {"kills": len(summaries), "calls": len(show.calls.phones),
            "unanswered": sum(s["held"] - s["answered"] for s in summaries),
            "wrong_reinvites": len(show.calls.checker.faults),
            "bye_ok": sum(1 for d in show.calls.checker.dialogs.values()
                          if d.ended_by == "phone" and d.bye_status == 200),
            "detect_ms": times("detect_ms"), "first_reinvite_ms": times("first_reinvite_ms"),
            "all_answered_ms": times("all_answered_ms")}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--calls", type=int, default=FEWEST)
    parser.add_argument("--programs", type=pathlib.Path, default=ROOT / "build" / "bin")
    options = parser.parse_args()
    options.programs = options.programs.resolve()
    options.rate, options.without_sipheal = 100, False
    require_root()
    directory = pathlib.Path(tempfile.mkdtemp(prefix="sipheal-kills-"))
    result = run(options, directory)
    good = (result["unanswered"] == 0 and result["wrong_reinvites"] == 0
            and result["bye_ok"] == result["calls"])
    if good:
        shutil.rmtree(directory, ignore_errors=True)
    else:
        print(f"kills: logs and capture (wire.pcap) are in {directory}", file=sys.stderr)
    print(json.dumps(result))
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
