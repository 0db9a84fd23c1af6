# SPDX-License-Identifier: Apache-2.0
"""Many calls: M14, and how fast a bare loop of POSTs recovers 200."""

import os
import re
import time
import unittest

from module_case import ModuleCase

from sipheal_lab.phone import Answer

LONG = os.environ.get("SIPHEAL_LONG") == "1"


class ManyCalls(ModuleCase):

    server_options = {"sip_timers": (50, 3200)}

    def _state(self):
        text = self.b.cli("pjsip show recovery")
        return {name.strip(): value.strip() for name, value in re.findall(r"(.+?):\s+(.+)", text)}

    def _memory_kb(self):
        with open(f"/proc/{self.b.pid}/status", encoding="ascii") as status:
            return int(re.search(r"VmRSS:\s+(\d+)", status.read()).group(1))

    def _wait_sets(self, count, timeout):
        deadline = time.monotonic() + timeout
        while int(self._state()["Dialog sets"]) != count:
            self.assertLess(time.monotonic(), deadline, self._state())
            time.sleep(0.1)

    def test_M14_recovered_and_ended_dialogs_leave_nothing_behind(self):
        count = int(os.environ.get("SIPHEAL_M14_COUNT", "10000" if LONG else "200"))
        before = int(self._state()["Dialog sets"])
        memory = []
        phone = self.phone()
        script = (lambda: Answer(), lambda: Answer(), lambda: Answer(488), lambda: Answer(481),
                  lambda: Answer(to_tag="stranger"), lambda: Answer(503))
        adopted = int(self._state()["Taken over"])
        for number in range(count):
            if number % 100 == 0:
                memory.append(self._memory_kb())
                self._forget_events()
                phone.close()
                phone = self.phone()
            dialog = self.call_in(phone)
            kind = number % len(script)
            phone.answers.append(script[kind]())
            channel = self.post(dialog, dialog.recovery_variables(
                ON_FAILURE="keep" if number % 2 else "bye"))
            outcome = self.result(channel)["outcome"]
            if outcome == "answered":
                self.wait_start(channel)
                self.assertEqual(dialog.bye(), 200)
            self.wait_gone(channel)
            self._drop_first_leg(dialog)
        state = self._state()
        self.assertEqual(int(state["Taken over"]) - adopted, count)
        # Ended dialogs stay until the timers of their last transactions run out.
        self._wait_sets(before, timeout=60)
        self.assertEqual(self._state()["Recovered dialogs"], "0")
        print(f"M14: {count} dialogs; RSS from {memory[0]} to {self._memory_kb()} kB "
              f"(after the first hundred {memory[min(1, len(memory) - 1)]})", flush=True)
        if not LONG:
            self.b.cli("module unload res_pjsip_recovery.so")
            self.assertIn("0 modules loaded", self.b.cli("module show like recovery"))
            self.b.cli("module load res_pjsip_recovery.so")
            self.assertIn("1 modules loaded", self.b.cli("module show like recovery"))

    def _forget_events(self):
        for events in (self.a_events, self.b_events):
            events.forget()

    def _drop_first_leg(self, dialog):
        """The first server's side of the dialog, which is dead to everybody."""
        for channel in self.a.ari("GET", "/channels"):
            self.release(self.a, channel["id"])

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


if __name__ == "__main__":
    unittest.main()
