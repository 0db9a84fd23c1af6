# SPDX-License-Identifier: Apache-2.0
"""Many calls: M14, and how fast a bare loop of POSTs recovers 200."""

import os
import re
import subprocess
import time
import unittest

from module_case import ModuleCase, require_asterisk

from sipheal_lab.asterisk import asterisk_prefix, recovery_module
from sipheal_lab.phone import Answer

LONG = os.environ.get("SIPHEAL_LONG") == "1"


SCRIPT = (lambda: Answer(), lambda: Answer(), lambda: Answer(488), lambda: Answer(481),
          lambda: Answer(to_tag="stranger"), lambda: Answer(503), lambda: Answer(491),
          lambda: Answer(hold=True))


FLOWS = ('{"stasis":{"app":"lab"},"bridge":{"id":"load","type":"mixing"}}',
         '{"stasis":{"app":"lab"},"playback":{"id":"load","media":["sound:quiet"]}}')
QUIET = 5  # seconds: longer than any of the calls


class LoadCase(ModuleCase):
    """Recovers many calls one after the other, with every kind of end."""

    server_options = {"sip_timers": (100, 6400)}

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        # A file, not a tone: stock ast_control_tone (main/app.c) frees none of the frames that it
        # reads, which memcheck would lay at the module's door.
        (cls.b.directory / "data" / "sounds" / "quiet.ulaw").write_bytes(b"\xff" * 8000 * QUIET)

    def state(self):
        text = self.b.cli("pjsip show recovery")
        return {name.strip(): value.strip() for name, value in re.findall(r"(.+?):\s+(.+)", text)}

    def wait_sets(self, count, timeout):
        deadline = time.monotonic() + timeout
        while int(self.state()["Dialog sets"]) != count:
            self.assertLess(time.monotonic(), deadline, self.state())
            time.sleep(0.1)

    def recover_and_end(self, phone, number):
        dialog = self.call_in(phone)
        if number % 4 == 0:
            self.put_back_and_end(dialog, number)
        else:
            self.recover_by_script(dialog, phone, number)
        # The first server's side, which is dead to everybody
        for leg in self.a.ari("GET", "/channels"):
            self.release(self.a, leg["id"])

    def put_back_and_end(self, dialog, number):
        channel = self.post_flow(dialog, FLOWS[number // 4 % len(FLOWS)])
        self.assertEqual(self.flow_result(channel), "done")
        self.wait_for(dialog, "ACK")
        self.assertEqual(dialog.bye(), 200)
        # Not its ChannelDestroyed, of which an application hears nothing that the channel has left
        self.b_events.wait(lambda e: e["type"] == "StasisEnd" and e["channel"]["id"] == channel, 6,
                           f"StasisEnd of {channel}")

    def recover_by_script(self, dialog, phone, number):
        answer = SCRIPT[(number - number // 4) % len(SCRIPT)]()
        phone.answers.append(answer)
        channel = self.post(dialog, dialog.recovery_variables(
            ON_FAILURE="keep" if number % 2 else "bye"))
        if answer.status == 491 or answer.hold:
            # Hung up between two tries, or before the answer
            self.wait_for(dialog, "INVITE" if answer.hold else "ACK")
            self.b.ari("DELETE", f"/channels/{channel}")
            phone.wait_until(lambda: dialog.ended, what="BYE")
        elif self.result(channel)["outcome"] == "answered":
            self.wait_start(channel)
            self.wait_for(dialog, "ACK")
            self.assertEqual(dialog.bye(), 200)
        self.wait_gone(channel)

    @staticmethod
    def wait_for(dialog, method):
        dialog.phone.wait(lambda m: m.received and m.is_request and m.method == method
                          and m.call_id == dialog.call_id, what=method)

    def run_many(self, count, each_hundred):
        phone = self.phone()
        for number in range(count):
            if number % 100 == 0:
                each_hundred()
                for events in (self.a_events, self.b_events):
                    events.forget()
                self.phones.remove(phone)
                phone.close()
                self.assertEqual(phone.violations, [], phone.ladder())
                phone = self.phone()
            self.recover_and_end(phone, number)


class ManyCalls(LoadCase):

    def _memory_kb(self):
        with open(f"/proc/{self.b.pid}/status", encoding="ascii") as status:
            return int(re.search(r"VmRSS:\s+(\d+)", status.read()).group(1))

    def test_M14_recovered_and_ended_dialogs_leave_nothing_behind(self):
        count = int(os.environ.get("SIPHEAL_M14_COUNT", "10000" if LONG else "200"))
        before = self.state()
        memory = []
        self.run_many(count, lambda: memory.append(self._memory_kb()))
        self.assertEqual(int(self.state()["Taken over"]) - int(before["Taken over"]), count)
        # Ended dialogs stay until the timers of their last transactions run out.
        self.wait_sets(int(before["Dialog sets"]), timeout=60)
        self.assertEqual(self.state()["Recovered dialogs"], "0")
        print(f"M14: {count} dialogs; resident kB after each tenth: "
              f"{memory[::max(1, len(memory) // 10)]}, at the end {self._memory_kb()}", flush=True)
        self.b.cli("module unload res_pjsip_recovery.so")
        self.assertIn("0 modules loaded", self.b.cli("module show like recovery"))
        self.b.cli("module load res_pjsip_recovery.so")
        self.assertIn("1 modules loaded", self.b.cli("module show like recovery"))

    def test_M14_the_module_is_not_unloaded_under_a_living_call(self):
        dialog = self.call_in(self.phone())
        self.recover(dialog)
        self.b.cli("module unload res_pjsip_recovery.so", check=False)
        self.assertIn("1 modules loaded", self.b.cli("module show like recovery"))
        self.assertEqual(dialog.bye(), 200)

    def test_two_hundred_calls_are_recovered_by_a_bare_loop_of_posts(self):
        phone = self.phone()
        dialogs = [self.call_in(phone) for _ in range(200)]
        start = time.monotonic()
        for dialog in dialogs:
            self.post(dialog)
        posted = time.monotonic()
        phone.wait_until(
            lambda: len([m for m in phone.messages if m.received and m.method == "ACK"]) >= 200,
            timeout=20, what="200 ACKs")
        last = max(m.time for m in phone.messages if m.received and m.method == "ACK")
        print(f"200 calls: posted in {posted - start:.2f} s, last ACK after {last - start:.2f} s",
              flush=True)
        byes = [dialog.bye() for dialog in dialogs]
        self.assertEqual(byes, [200] * 200)


def _libasan():
    """Path of the compiler's AddressSanitizer, or None."""
    found = subprocess.run([os.environ.get("CC", "cc"), "-print-file-name=libasan.so"],
                           capture_output=True, text=True, check=False).stdout.strip()
    return found if os.path.isabs(found) else None


@unittest.skipUnless(_libasan(), "the compiler has no AddressSanitizer")
class UnderAddressSanitizer(LoadCase):

    @classmethod
    def setUpClass(cls):
        require_asterisk()
        cls.server_options = {
            **LoadCase.server_options,
            "recovery": recovery_module(asterisk_prefix(), "--sanitize"),
            "environment": {"LD_PRELOAD": _libasan(), "ASAN_OPTIONS": "detect_leaks=0"}}
        super().setUpClass()

    def test_M14_the_sanitizer_finds_nothing(self):
        self.run_many(600 if LONG else 36, lambda: None)
        self.assertTrue(self.b.running())
        self.assertNotIn("AddressSanitizer", self.b.log(10**7))


@unittest.skipUnless(LONG or os.environ.get("SIPHEAL_MEMCHECK") == "1",
                     "needs SIPHEAL_LONG=1 or SIPHEAL_MEMCHECK=1")
class UnderMemcheck(LoadCase):
    """The same under valgrind, on a server that is slow and so has the stock timers."""

    server_options = {"wrapper": ["valgrind", "--leak-check=full", "--num-callers=30",
                                  "--log-file=memcheck.log"], "start_timeout": 180}

    def test_M14_memcheck_finds_nothing_of_the_module(self):
        self.run_many(int(os.environ.get("SIPHEAL_MEMCHECK_COUNT", "60")), lambda: None)
        self.wait_sets(0, timeout=120)
        self.b.stop(timeout=120)
        report = (self.b.directory / "memcheck.log").read_text()
        self.assertIn("ERROR SUMMARY", report)
        blocks = re.split(r"==\d+== \n", report)
        bad = [block for block in blocks
               if re.search(r"Invalid (read|write|free)|uninitialised|definitely lost", block)
               and "res_pjsip_recovery" in block]
        self.assertEqual(bad, [])
        invalid = [block for block in blocks if re.search(r"Invalid (read|write|free)", block)]
        self.assertEqual(invalid, [])
        self.b.start(timeout=180)  # for the checks after the test


if __name__ == "__main__":
    unittest.main()
