# SPDX-License-Identifier: Apache-2.0
"""`sipheal run` and `sipheal doctor` against real Asterisks: what doctor finds, and what it misses.

SIPHEAL_COMMAND names the program. Skips loudly without a cached Asterisk.
"""

import json
import pathlib
import socket
import sys
import time
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "support" / "python"))
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))

from command_test import CommandCase, Daemon, free_port  # noqa: E402
from sipheal_lab.asterisk import Asterisk, Endpoint, Hep  # noqa: E402
from sipheal_lab.phone import Phone  # noqa: E402
from sipheal_lab.required import require_asterisk  # noqa: E402
from sipheal_lab.sdp_version import is_version_gap  # noqa: E402


class DoctorLabTest(CommandCase):
    """Three servers: good, one without the module and an endpoint, one without HEP."""

    @classmethod
    def setUpClass(cls):
        require_asterisk()
        cls.hep_port = free_port(socket.SOCK_DGRAM)
        both = (Endpoint("alice"), Endpoint("bob"))
        options = {"good": {"endpoints": both, "hep": Hep("127.0.0.1", cls.hep_port, 1)},
                   "bare": {"endpoints": both[:1], "recovery": False,
                            "hep": Hep("127.0.0.1", cls.hep_port, 2)},
                   "mute": {"endpoints": both}}
        cls.servers = {}
        for name, option in options.items():
            cls.servers[name] = Asterisk(name, **option).start()
            cls.addClassCleanup(cls.servers[name].close)

    def setUp(self):
        super().setUp()
        self.hep = f"127.0.0.1:{self.hep_port}"
        self.agents = {"good": ["1"], "bare": ["2"], "mute": ["3"]}
        self.secret.write_text(self.servers["good"].ari_password + "\n")
        self.use("good", "bare", "mute")

    def use(self, *names, **ari):
        instances = []
        for name in names:
            server = self.servers[name]
            instances.append({
                "name": name, "sip": [f"{server.sip_address}:{server.sip_port}"],
                "hep_agents": self.agents[name],
                "ari": {"url": f"http://127.0.0.1:{server.ari_port}", "user": server.ari_user,
                        "password_file": str(self.secret), "pid_file": str(server.pid_file),
                        **ari}})
        self.write(*instances)

    def doctor(self):
        done = self.sipheal("doctor", "--config", str(self.config), "--format", "json")
        self.assertIn(done.returncode, (0, 1), done.stderr)
        result = json.loads(done.stdout)
        self.assertEqual(result["ok"], done.returncode == 0)
        return {(f["subject"], f["check"]): f for f in result["findings"]}

    def check(self, findings):
        self.assertEqual(findings["good", "ari"]["result"], "ok")
        self.assertIn("Asterisk", findings["good", "ari"]["seen"])
        for check in ("rights", "events", "module", "hep", "clock"):
            self.assertEqual(findings["good", check]["result"], "ok", findings["good", check])
        self.assertEqual(findings["bare", "module"]["result"], "fail")
        self.assertIn("module load res_pjsip_recovery.so", findings["bare", "module"]["fix"])
        self.assertEqual(findings["bare", "hep"]["result"], "ok", findings["bare", "hep"])
        self.assertEqual(findings["mute", "module"]["result"], "ok")
        self.assertEqual(findings["mute", "hep"]["result"], "fail")
        self.assertIn("hep.conf", findings["mute", "hep"]["fix"])
        self.assertIn("bob", findings["bare", "endpoints"]["seen"])

    def test_finds_a_missing_module_a_missing_endpoint_and_no_hep(self):
        self.check(self.doctor())

    def test_finds_the_same_through_a_running_daemon(self):
        with Daemon(self.config) as daemon:
            daemon.event("ready")
            findings = self.doctor()
            self.assertEqual(findings["daemon", "daemon"]["result"], "ok")
            self.check(findings)
            status = self.ask("status")
            self.assertIs(status["instances"]["good"]["connected"], True,
                          "doctor must not take the daemon's event socket")

    def test_finds_nothing_wrong_with_a_good_server(self):
        self.use("good")
        findings = self.doctor()
        self.assertEqual([f for f in findings.values() if f["result"] == "fail"], [])

    def test_finds_a_wrong_password(self):
        self.secret.write_text("wrong\n")
        findings = self.doctor()
        self.assertEqual(findings["good", "ari"]["result"], "fail")
        self.assertIn("(401)", findings["good", "ari"]["seen"])
        self.assertIn(str(self.secret), findings["good", "ari"]["fix"])

    def test_finds_a_wrong_address_and_a_wrong_prefix(self):
        self.use("good", url=f"http://127.0.0.1:{free_port()}")
        self.assertIn("does not answer", self.doctor()["good", "ari"]["seen"])
        self.use("good", url=f"http://127.0.0.1:{self.servers['good'].ari_port}/no-such-prefix")
        self.assertIn("(404)", self.doctor()["good", "ari"]["seen"])


class RecoveryLabTest(CommandCase):
    """One call through the whole command: seen, lost, recovered, ended by its phone."""

    def test_a_call_is_listed_and_lives_on_when_its_server_is_killed(self):
        require_asterisk()
        hep_port = free_port(socket.SOCK_DGRAM)
        self.hep = f"127.0.0.1:{hep_port}"
        servers = []
        for number, name in enumerate(("one", "two"), 1):
            server = Asterisk(name, endpoints=(Endpoint("alice"),),
                              hep=Hep("127.0.0.1", hep_port, number)).start()
            self.addCleanup(server.close)
            servers.append(server)
        one, two = servers
        self.secret.write_text(one.ari_password + "\n")
        self.write(*({
            "name": server.name, "sip": [f"{server.sip_address}:{server.sip_port}"],
            "hep_agents": [str(number)],
            "ari": {"url": f"http://127.0.0.1:{server.ari_port}", "user": server.ari_user,
                    "password_file": str(self.secret), "pid_file": str(server.pid_file)}}
            for number, server in enumerate(servers, 1)),
            targets={"allow": ["127.0.0.0/8"]})
        with Daemon(self.config) as daemon, Phone("alice") as phone:
            daemon.event("ready")
            one_events, two_events = one.ari.events("lab"), two.ari.events("lab")
            self.addCleanup(one_events.close)
            self.addCleanup(two_events.close)
            dialog = phone.call(one.sip_uri("100"))
            deadline = time.monotonic() + 20
            # Before it is in Stasis it would be ended, not recovered.
            while not [s for s in self.ask("sessions", "--instance", "one")["sessions"]
                       if s["flow"].get("stasis_app")]:
                self.assertLess(time.monotonic(), deadline, daemon.log())
                time.sleep(0.02)
            session = self.ask("sessions")["sessions"][0]
            self.assertEqual(session["call_id"], dialog.call_id)
            plan = self.ask("recover", "one", "--dry-run")["plans"][0]
            self.assertEqual(plan["action"], "reinvite", plan)

            one.kill()
            self.assertEqual(daemon.event("crash")["instance"], "one")
            outcome = daemon.event("outcome")
            self.assertEqual(outcome["outcome"], "recovered", outcome)
            self.assertEqual(outcome["new_instance"], "two")
            self.assertEqual(outcome["call_id"], dialog.call_id)
            self.assertEqual(daemon.event("done")["outcomes"], {"recovered": 1})
            session = self.ask("sessions")["sessions"][0]
            self.assertEqual((session["instance"], session["epoch"]), ("two", 1))
            self.assertEqual(dialog.bye(), 200)
            broken = [v for v in phone.violations if not is_version_gap(v)]
            self.assertEqual(broken, [], phone.ladder())


if __name__ == "__main__":
    unittest.main(verbosity=2)
