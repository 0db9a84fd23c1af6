#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Faults end to end: servers that die, hang and return, a controller that dies at every step, a
store that is locked, a server that cannot take calls over.

In the counts of a pull request, or, with SIPHEAL_LONG=1, in the full ones.
"""

import json
import os
import random
import socket
import sqlite3
import subprocess
import sys
import threading
import time
import unittest

from daemon_case import Answer, DaemonCase, LONG
from sipheal_lab.waiting import wait_for


def say(text):
    """A measured figure, for whoever reads the log of the run."""
    sys.stderr.write(f"[{text}] ")
    sys.stderr.flush()


class TargetDies(DaemonCase):
    """F73: the server that is taking the calls over dies as well. Its moment is counted from the
    first re-INVITE that a phone got."""

    def group(self, calls, server="a"):
        """Makes them one call, so that they go to one target together."""
        for channel in self.servers[server].ari("GET", "/channels"):
            self.servers[server].ari("POST", f"/channels/{channel['id']}/variable",
                                     query={"variable": "SIPHEAL_GROUP", "value": "call-1"})
        wait_for(lambda: all(s[0].get("group") == "call-1"
                             for s in self.daemon.sessions().values()), 5,
                 lambda: f"one group: {self.daemon.sessions()}")
        return calls

    def die_twice(self, delay, *, count=8, grouped=False):
        self.start()
        calls = self.place(count)
        if grouped:
            self.group(calls)
        self.kill("a")
        wait_for(lambda: any(c.reinvites for c in calls), 5, self.story, interval=0.0005)
        target = self.daemon.wait_event("stage", stage="inviting")["new_instance"]
        time.sleep(delay / 1000)
        self.kill(target)
        last = {"b": "c", "c": "b"}[target]
        self.wait_recovered(calls, last)
        self.assert_channels(calls, last)
        for old in ("a", target):
            self.assert_recovered_once_each(calls, old)
        self.hang_up(calls, lost_offers=1)

    def test_F73_target_killed_0_ms_after_the_first_reinvite(self):
        self.die_twice(0)

    def test_F73_target_killed_10_ms_after_the_first_reinvite(self):
        self.die_twice(10)

    def test_F73_target_killed_50_ms_after_the_first_reinvite(self):
        self.die_twice(50)

    def test_F73_target_killed_200_ms_after_the_first_reinvite(self):
        self.die_twice(200)

    def test_F73_target_killed_1000_ms_after_the_first_reinvite(self):
        self.die_twice(1000)

    def test_F73_all_legs_of_one_call_on_the_target_that_dies(self):
        self.die_twice(20, grouped=True)

    def test_F73_target_killed_while_the_phones_still_think(self):
        """No phone has answered when the second server dies: the answers go to nobody."""
        self.start()
        calls = self.place(6)
        for call in calls:
            call.phone.answers.append(Answer(hold=True))
        self.kill("a")
        wait_for(lambda: all(c.reinvites for c in calls), 5, self.story)
        target = self.daemon.wait_event("stage", stage="inviting")["new_instance"]
        self.kill(target)
        last = {"b": "c", "c": "b"}[target]
        for call in calls:
            call.phone.release()
        self.wait_recovered(calls, last)
        self.hang_up(calls)

    @unittest.skipUnless(LONG, "SIPHEAL_LONG=1")
    def test_F73_many_times_at_random_moments(self):
        for turn in range(40):
            with self.subTest(turn=turn):
                self.die_twice(random.uniform(0, 120), grouped=turn % 2 == 1)
                self.doCleanups()
                self.setUp()


class ServerHangs(DaemonCase):
    """F89, F90: a server that says nothing for a while, and then goes on."""

    server_names = ("a", "b")

    def test_F89_a_stop_of_800_ms_is_no_crash(self):
        self.start()
        calls = self.place(4)
        server = self.servers["a"]
        for _ in range(20 if LONG else 3):
            server.pause()
            time.sleep(0.8)
            server.resume()
            woken = time.monotonic()
            # It is heard again, and the silence that would have been death is over.
            wait_for(lambda: time.monotonic() - woken > 0.5 and self.daemon.ask("status")[
                "instances"]["a"]["ari_heard_ms_ago"] < 150, 5, self.story, interval=0.1)
        self.assertEqual(self.daemon.all("crash"), [], self.story())
        for call in calls:
            self.assertEqual(call.reinvites, [])
        self.wait_at(calls, "a")
        self.hang_up(calls)

    def test_F90_a_hung_server_is_replaced_in_time_and_gives_up_in_silence_when_it_wakes(self):
        self.start()
        hung, other, gaps = "a", "b", []
        for _ in range(12 if LONG else 3):
            calls = self.place(4, hung)
            at = time.monotonic()
            self.servers[hung].pause()
            wait_for(lambda: any(c.reinvites for c in calls), 5, self.story, interval=0.001)
            gaps.append(min(i.time for c in calls for i in c.reinvites) - at)
            self.wait_recovered(calls, other)
            self.servers[hung].resume()
            self.daemon.wait_event("returned", instance=hung, since=at)
            wait_for(lambda: not self.servers[hung].ari("GET", "/channels"), 5,
                     lambda: f"{hung} gives its calls up: {self.story()}")
            self.assert_channels(calls, other)
            sessions = self.daemon.sessions()
            for call in calls:
                self.assertEqual([s["instance"] for s in sessions[call.call_id]], [other])
                self.assertEqual(len(call.reinvites), 1, self.story())
                self.assertEqual(call.phone.requests("BYE"), [], self.story())
            self.hang_up(calls)
        say(f"stop to first re-INVITE: worst of {len(gaps)} {max(gaps):.3f} s")
        self.assertLessEqual(max(gaps), 1.2, gaps)

    def test_F90_a_server_that_wakes_in_the_middle_of_its_recovery_gives_up_in_silence(self):
        self.start()
        calls = self.place(8)
        self.servers["a"].pause()
        wait_for(lambda: any(c.reinvites for c in calls), 5, self.story, interval=0.0005)
        self.servers["a"].resume()
        self.daemon.wait_event("returned", instance="a")
        # A call for which nothing was sent yet is not taken any more.
        self.wait_recovered(calls, "a", "b")
        untouched = [c for c in calls if not c.reinvites]
        taken = [c for c in calls if c.reinvites]
        self.assertTrue(taken)
        self.wait_at(untouched, "a")
        self.wait_at(taken, "b")
        self.wait_channels("a", untouched)
        for call in calls:
            self.assertLessEqual(len(call.reinvites), 1, self.story())
            self.assertEqual(call.phone.requests("BYE"), [], self.story())
        self.hang_up(calls)

    def wait_channels(self, name, calls):
        """Waits until the server has the channels of these calls and no others."""
        wanted = sorted(call.call_id for call in calls)
        wait_for(lambda: sorted(c["protocol_id"] for c in
                                self.servers[name].ari("GET", "/channels")) == wanted, 5,
                 lambda: f"{name} has {len(wanted)} channels: {self.story()}")

    def take_and_restart(self, calls, *, awake):
        """The server of the calls hangs, loses them, and wakes when another controller is there;
        awake: just before that."""
        self.servers["a"].pause()
        self.wait_recovered(calls, "b")
        self.daemon.kill()
        if awake:
            self.servers["a"].resume()
        self.daemon.start()
        if not awake:
            time.sleep(1.5)  # the new controller finds it silent, and goes on asking
            self.servers["a"].resume()
        self.wait_channels("a", [])
        self.assert_channels(calls, "b")
        for call in calls:
            self.assertEqual(len(call.reinvites), 1, self.story())
            self.assertEqual(call.phone.requests("BYE"), [], self.story())
        self.assertEqual(len(self.daemon.all("crash")), 1, self.story())
        self.hang_up(calls)

    def test_F66_F90_a_server_gives_up_what_a_controller_took_that_is_gone_when_it_wakes(self):
        self.start()
        self.take_and_restart(self.place(4), awake=False)

    def test_F66_F90_a_server_that_woke_while_there_was_no_controller_gives_up_what_was_taken(self):
        self.start()
        self.take_and_restart(self.place(4), awake=True)

    def test_F90_the_only_server_has_its_calls_as_before_when_it_wakes(self):
        self.start()
        calls = self.place(4)
        self.kill("b")
        leaves, stays = calls[0], calls[1:]
        for hang in (1.5, 7.0):  # its event socket outlives the first of these
            at = time.monotonic()
            self.servers["a"].pause()
            time.sleep(hang)
            self.servers["a"].resume()
            self.daemon.wait_event("returned", instance="a", since=at)
            self.wait_recovered(calls if hang < 2 else stays, "a", epoch=1 if hang < 2 else 2)
            if hang < 2:
                self.assertEqual(leaves.dialog.bye(), 200, self.story())
                wait_for(lambda: leaves.call_id not in self.daemon.sessions(), 5, self.story)
        for call in stays:
            self.assertEqual(call.reinvites, [], self.story())
            self.assertEqual(call.phone.requests("BYE"), [], self.story())
        # Its next death is one like any other.
        self.start_server("b")
        self.wait_connected("b")
        self.kill("a")
        self.wait_recovered(stays, "b", epoch=3)
        self.hang_up(stays)

    def test_F90_a_server_that_returned_is_a_target_again(self):
        self.start()
        first = self.place(3)
        self.servers["a"].pause()
        self.wait_recovered(first, "b")
        self.servers["a"].resume()
        self.daemon.wait_event("returned", instance="a")
        wait_for(lambda: not self.servers["a"].ari("GET", "/channels"), 5, self.story)
        self.kill("b")
        self.wait_recovered(first, "a", epoch=2)
        self.hang_up(first)


class ControllerDies(DaemonCase):
    """F66: the controller is killed at every arrow of a recovery, and started again on its store.

    A phone gets a second re-INVITE only where the channel of the first does not exist: never here.
    But an offer may be counted that was never made: what was about to be sent stands in the store.
    """

    def die_at(self, moment, *, count=6, hold=False):
        """Kills server and controller; moment() returns when it is the controller's turn."""
        self.start(lease="1s")
        calls = self.place(count)
        if hold:
            for call in calls:
                call.phone.answers.append(Answer(hold=True))
        self.kill("a")
        moment(calls)
        self.daemon.kill()
        self.left = sorted(steps[-1][0] for steps in self.journal().values())
        if hold:
            for call in calls:
                call.phone.release()
        self.daemon.start()
        self.wait_recovered(calls, "b", "c")
        self.assert_alive_once(calls, ("b", "c"))

    def assert_alive_once(self, calls, names):
        self.assert_channels(calls, *names)
        self.assert_recovered_once_each(calls, "a")
        for call in calls:
            self.assertEqual(len(call.reinvites), 1, f"left {self.left}; {self.story()}")
        self.hang_up(calls, lost_offers=1)
        say(f"left at {','.join(self.left) or 'nothing'}")

    def at_stage(self, stage):
        self.die_at(lambda calls: self.daemon.wait_event("stage", stage=stage))

    def test_F66_killed_when_the_crash_is_detected(self):
        self.die_at(lambda calls: self.daemon.wait_event("crash"))

    def test_F66_killed_at_claimed(self):
        self.at_stage("claimed")

    def test_F66_killed_at_rebuilt(self):
        self.at_stage("rebuilt")

    def test_F66_killed_at_inviting(self):
        self.at_stage("inviting")

    def test_F66_killed_at_answered(self):
        self.at_stage("answered")

    def test_F66_killed_at_resumed(self):
        self.at_stage("resumed")

    def test_F66_killed_at_finished(self):
        self.die_at(lambda calls: self.daemon.wait_event("outcome"))

    def test_F66_killed_at_placed_while_no_target_is_there(self):
        """All are rebuilt and wait for a target, that comes up when there is no controller."""
        self.start("a", lease="1s")
        calls = self.place(4)
        self.kill("a")
        self.daemon.wait_event("stage", stage="rebuilt", count=len(calls))
        self.daemon.kill()
        self.left = sorted(steps[-1][0] for steps in self.journal().values())
        self.start_server("b")
        self.daemon.start()
        self.wait_recovered(calls, "b")
        self.assert_alive_once(calls, ["b"])

    def test_F66_killed_while_the_phones_think_and_they_answer_when_nobody_listens(self):
        self.die_at(lambda calls: wait_for(lambda: all(c.reinvites for c in calls), 5, self.story),
                    hold=True)

    def test_F66_the_phones_answer_to_the_next_controller(self):
        self.start(lease="1s")
        calls = self.place(6)
        for call in calls:
            call.phone.answers.append(Answer(hold=True))
        self.kill("a")
        wait_for(lambda: all(c.reinvites for c in calls), 5, self.story)
        self.daemon.kill()
        self.left = sorted(steps[-1][0] for steps in self.journal().values())
        self.daemon.start()
        wait_for(lambda: len(self.daemon.log_lines("taken_over")) == len(calls), 10, self.story)
        for call in calls:
            call.phone.release()
        self.wait_recovered(calls, "b", "c")
        self.assert_alive_once(calls, ("b", "c"))

    def test_F66_F73_controller_and_target_die_together(self):
        """The next controller finds a re-INVITE that went out from a server that is gone, too."""
        self.start(lease="1s")
        calls = self.place(6)
        for call in calls:
            call.phone.answers.append(Answer(hold=True))
        self.kill("a")
        wait_for(lambda: all(c.reinvites for c in calls), 5, self.story)
        target = self.daemon.wait_event("stage", stage="inviting")["new_instance"]
        self.daemon.kill()
        self.kill(target)
        for call in calls:
            call.phone.release()
        self.daemon.start()
        last = {"b": "c", "c": "b"}[target]
        self.wait_recovered(calls, last)
        self.assert_channels(calls, last)
        self.hang_up(calls, lost_offers=1)

    @unittest.skipUnless(LONG, "SIPHEAL_LONG=1")
    def test_F66_killed_many_times_at_random_moments(self):
        for turn in range(60):
            with self.subTest(turn=turn):
                self.die_at(lambda calls: (self.daemon.wait_event("crash"),
                                           time.sleep(random.uniform(0, 0.15))))
                self.doCleanups()
                self.setUp()


class NobodyWatched(DaemonCase):
    """F87: deaths while no controller ran, and servers that a supervisor starts again in place."""

    server_names = ("a", "b")

    def test_F87_a_server_that_died_while_there_was_no_controller(self):
        self.start()
        calls = self.place(4)
        self.daemon.kill()
        self.kill("a")
        self.daemon.start()
        self.wait_recovered(calls, "b")
        self.hang_up(calls)

    def test_F87_a_server_that_died_and_came_back_while_there_was_no_controller(self):
        self.start()
        calls = self.place(4)
        self.daemon.kill()
        self.kill("a")
        self.start_server("a")
        self.daemon.start()
        self.wait_recovered(calls, "a", "b")
        self.assertEqual([e["kind"] for e in self.daemon.all("crash")], ["restarted"])
        self.hang_up(calls)

    def test_F87_a_server_that_is_restarted_in_place_while_the_controller_runs(self):
        self.start()
        calls = self.place(4)
        for turn in range(5 if LONG else 2):
            home = "a" if calls[0].home[0] == self.servers["a"].sip_address else "b"
            self.kill(home)
            self.start_server(home)
            self.wait_recovered(calls, "a", "b", epoch=turn + 1)
            self.wait_connected(home)
        self.hang_up(calls)

    def test_F87_the_only_server_takes_its_own_calls_back_when_it_is_restarted(self):
        self.servers.pop("b")
        self.start()
        calls = self.place(4)
        life = self.daemon.sessions()[calls[0].call_id][0]["life"]
        self.kill("a")
        self.start_server("a")
        wait_for(lambda: all(len(c.reinvites) == 1 for c in calls), 10, self.story)
        self.wait_recovered(calls, "a")
        for call in calls:
            session = self.daemon.sessions()[call.call_id][0]
            self.assertEqual((session["epoch"], session["life"] != life), (1, True), session)
        self.hang_up(calls)


class BadSurroundings(DaemonCase):
    """What is around a recovery is in a bad state: its store, its capture port, a target."""

    def test_a_store_that_another_process_has_locked_delays_a_recovery_and_is_named(self):
        self.start()
        calls = self.place(6)
        lock = sqlite3.connect(self.daemon.store, isolation_level=None, timeout=10)
        lock.execute("BEGIN IMMEDIATE")
        self.kill("a")
        self.daemon.wait_event("crash")
        time.sleep(2)
        self.assertEqual([c.reinvites for c in calls], [[]] * 6, "nothing is sent unclaimed")
        lock.execute("ROLLBACK")
        lock.close()
        self.wait_recovered(calls, "b", "c")
        for call in calls:
            self.assertEqual(len(call.reinvites), 1, self.story())
        self.hang_up(calls)
        lines = self.daemon.log_lines("store_locked")
        self.assertTrue(lines, self.daemon.log())
        self.assertIn(str(self.daemon.store), lines[0]["msg"])

    def test_garbage_at_the_HEP_port_does_not_disturb_a_recovery(self):
        self.start()
        calls = self.place(6)
        target = (f"{self.network}.3", self.hep_port)
        stop = threading.Event()

        def shower():
            """From before the death until after the recovery, however quick that is."""
            seeded = random.Random(7)
            sent = 0
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
                while not stop.is_set() or sent < 1000:
                    for _ in range(20):
                        sender.sendto(garbage(seeded, calls), target)
                    sent += 20
                    stop.wait(0.002)

        thread = threading.Thread(target=shower)
        thread.start()
        try:
            self.kill("a")
            self.wait_recovered(calls, "b", "c")
        finally:
            stop.set()
            thread.join()
        for call in calls:
            self.assertEqual(len(call.reinvites), 1, self.story())
        self.hang_up(calls)
        hep = self.daemon.ask("status")["hep"]
        self.assertGreater(hep["malformed"], 100, hep)
        self.assertGreater(hep["unknown_agent"], 10, hep)


def garbage(seeded, calls):
    """A datagram that is no HEP3, broken HEP3, or HEP3 of an agent that nobody knows which says
    that a call was ended."""
    kind = seeded.randrange(4)
    if kind == 0:
        return seeded.randbytes(seeded.randrange(1, 1400))
    if kind == 1:
        return b"HEP3" + seeded.randbytes(seeded.randrange(0, 200))
    call_id = seeded.choice(calls).call_id
    sip = (f"BYE sip:x@127.0.0.1 SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.1;branch=z9hG4bKx\r\n"
           f"From: <sip:a@x>;tag=1\r\nTo: <sip:b@x>;tag=2\r\nCall-ID: {call_id}\r\n"
           "CSeq: 9 BYE\r\nContent-Length: 0\r\n\r\n").encode()
    packet = hep3(9999, sip)
    return packet if kind == 2 else packet[:seeded.randrange(6, len(packet))]


def hep3(agent, payload):
    def chunk(number, data):
        return (0).to_bytes(2, "big") + number.to_bytes(2, "big") + (
            len(data) + 6).to_bytes(2, "big") + data

    body = b"".join((
        chunk(1, b"\x02"), chunk(2, b"\x11"), chunk(3, bytes((127, 0, 0, 1))),
        chunk(4, bytes((127, 0, 0, 1))), chunk(7, (5060).to_bytes(2, "big")),
        chunk(8, (5060).to_bytes(2, "big")), chunk(9, int(time.time()).to_bytes(4, "big")),
        chunk(10, (0).to_bytes(4, "big")), chunk(11, b"\x01"),
        chunk(12, agent.to_bytes(4, "big")), chunk(15, payload)))
    return b"HEP3" + (len(body) + 6).to_bytes(2, "big") + body


class TargetWithoutModule(DaemonCase):
    """A server without the module would ring the phone with a new call: it is never used."""

    server_names = ("a", "bare", "c")

    def make_server(self, name, index, **options):
        return super().make_server(name, index, recovery=name != "bare", **options)

    def test_a_server_without_the_module_is_never_used_and_named(self):
        self.start(recovery="  deadline: 2s\n")
        calls = self.place(6)
        self.kill("a")
        self.wait_recovered(calls, "c")
        # Not even when no other is left.
        self.kill("c")
        self.daemon.wait_event("done", instance="c", timeout=20)
        bare = self.servers["bare"]
        for call in calls:
            self.assertEqual(len(call.reinvites), 1, self.story())
            self.assertEqual(call.home, (self.servers["c"].sip_address, self.servers["c"].sip_port))
        self.assertEqual(bare.ari("GET", "/channels"), [])
        outcomes = {(e["outcome"], e.get("reason"))
                    for e in self.daemon.all("outcome", old_instance="c")}
        self.assertEqual({outcome for outcome, _ in outcomes}, {"expired"}, outcomes)
        lines = [r for r in self.daemon.log_lines("target_unfit") if r["instance"] == "bare"]
        self.assertTrue(lines, self.daemon.log())
        self.assertIn("res_pjsip_recovery", lines[0]["because"])
        self.assert_no_violation()
        done = subprocess.run([os.environ["SIPHEAL_COMMAND"], "doctor", "--config",
                               self.daemon.config, "--format", "json"],
                              capture_output=True, text=True, check=False)
        finding = [f for f in json.loads(done.stdout)["findings"]
                   if (f["subject"], f["check"]) == ("bare", "module")][0]
        self.assertEqual(finding["result"], "fail")
        self.assertIn("module load res_pjsip_recovery.so", finding["fix"])


if __name__ == "__main__":
    unittest.main(verbosity=2)
