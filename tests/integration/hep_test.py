#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""HEP of a real Asterisk: the folded dialog is the one that the phone holds (F93).

SIPHEAL_HEP_PROBE names the program hep_probe.
"""

import json
import os
import pathlib
import random
import subprocess
import sys
import threading
import time
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "support" / "python"))

from sipheal_lab.asterisk import Asterisk, Endpoint, Hep, free_port  # noqa: E402
from sipheal_lab.phone import Phone  # noqa: E402
from sipheal_lab.required import require_asterisk  # noqa: E402

ENDPOINTS = (Endpoint("alice"), Endpoint("carol", kind="tcp"))


class Probe:
    """A HEP receiver that answers what it knows of a call."""

    def __init__(self, server, agent):
        self.process = subprocess.Popen([os.environ["SIPHEAL_HEP_PROBE"], server, agent],
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.port = json.loads(self.process.stdout.readline())["udp"]

    def ask(self, call_id):
        self.process.stdin.write(call_id + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())

    def close(self):
        self.process.stdin.close()
        self.process.wait(10)
        self.process.stdout.close()


class HepCase(unittest.TestCase):
    def setUp(self):
        require_asterisk()
        self.sip_port = free_port()
        self.probe = Probe(f"127.0.0.1:{self.sip_port}", "ast-hep")
        self.addCleanup(self.probe.close)
        self.server = Asterisk("a", endpoints=ENDPOINTS, sip_port=self.sip_port,
                               hep=Hep("127.0.0.1", self.probe.port, 7, "ast-hep"))
        self.server.start()
        self.addCleanup(self.server.close)

    def phone(self, user, **options):
        phone = Phone(user, **options)
        self.addCleanup(phone.close)
        return phone

    def settled(self, call_id, condition):
        """What the receiver knows once `condition` holds; HEP leaves Asterisk by a queue."""
        end = time.monotonic() + 10
        while True:
            reply = self.probe.ask(call_id)
            if reply["dialogs"] and condition(reply["dialogs"][0]):
                return reply
            self.assertLess(time.monotonic(), end, json.dumps(reply, indent=1))
            time.sleep(0.01)

    def check_equal(self, state, dialog, role):
        """The state is that of the phone's dialog, seen from the server."""
        self.assertEqual(state["role"], role)
        self.assertEqual(state["state"], "confirmed")
        self.assertEqual(state["local"]["tag"], dialog.remote_tag)
        self.assertEqual(state["remote"]["tag"], dialog.local_tag)
        self.assertEqual(state["remote_target"], dialog.phone.contact_uri)
        self.assertEqual(state["route_set"], [])
        self.assertEqual(state["local_sdp"]["origin"], dialog.remote_origin.removeprefix("o="))


class CallsOfARealServer(HepCase):
    def test_a_call_over_udp_that_the_phone_began(self):
        phone = self.phone("alice")
        dialog = phone.call(self.server.sip_uri("100"))
        reply = self.settled(dialog.call_id, lambda d: d["state"] == "confirmed"
                             and d["remote_cseq"] == dialog.local_seq)
        self.check_equal(reply["dialogs"][0], dialog, "uas")
        self.assertEqual(reply["dialogs"][0]["verdict"], "recoverable", reply)
        self.assertEqual(reply["malformed"], 0)
        self.assertEqual(reply["unknown_agent"], 0)
        self.assertLess(reply["fetch_ms"], 100)
        dialog.bye()
        self.settled(dialog.call_id, lambda d: d["verdict"] == "ended")

    def test_calls_over_one_tcp_connection(self):
        phone = self.phone("carol", transport="tcp")
        dialogs = [phone.call(self.server.sip_uri("100", transport="tcp")) for _ in range(10)]
        for dialog in dialogs:
            reply = self.settled(dialog.call_id, lambda d: d["state"] == "confirmed")
            self.check_equal(reply["dialogs"][0], dialog, "uas")


class KilledAtARandomPoint(HepCase):
    """F93: what the agent inside the dying process could not send any more is missing, never
    wrong."""

    def test_what_is_known_is_never_wrong(self):
        generator = random.Random(93)
        phone = self.phone("alice")
        done = []

        def call_and_call():
            while True:
                try:
                    done.append(phone.call(self.server.sip_uri("100"), timeout=2))
                except Exception:  # the server died meanwhile
                    return

        caller = threading.Thread(target=call_and_call)
        caller.start()
        time.sleep(1 + generator.random())
        self.server.kill()
        caller.join(30)
        self.assertGreater(len(done), 0)
        alive = [dialog for dialog in done if not dialog.ended]
        known = 0
        for dialog in list(phone.dialogs.values()):
            for state in self.probe.ask(dialog.call_id)["dialogs"]:
                if state["verdict"] != "recoverable":
                    continue
                known += 1
                self.assertFalse(dialog.ended, state)
                self.assertEqual(state["remote"]["tag"], dialog.local_tag)
                if dialog.remote_tag:
                    self.assertEqual(state["local"]["tag"], dialog.remote_tag)
                self.assertEqual(state["remote_target"], phone.contact_uri)
        sys.stderr.write(f"killed with {len(alive)} calls up, {len(done)} begun: "
                         f"{known} are recoverable\n")
        self.assertGreater(known, 0)


if __name__ == "__main__":
    unittest.main(verbosity=2)
