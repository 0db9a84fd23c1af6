# SPDX-License-Identifier: Apache-2.0
"""The command `sipheal` as a process: its start, its errors, its signals. No media server needed.

SIPHEAL_COMMAND names the program.
"""

import json
import os
import pathlib
import signal
import socket
import stat
import subprocess
import tempfile
import time
import unittest

COMMAND = os.environ.get("SIPHEAL_COMMAND", "build/bin/sipheal")


def free_port(kind=socket.SOCK_STREAM):
    with socket.socket(socket.AF_INET, kind) as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Daemon:
    """A `sipheal run --events`; a context manager that ends it."""

    def __init__(self, config, *arguments, environment=None):
        self.log_file = tempfile.TemporaryFile()
        self.process = subprocess.Popen(
            [COMMAND, "run", "--config", str(config), "--events", *arguments],
            stdout=subprocess.PIPE, stderr=self.log_file, text=True,
            env={**os.environ, **(environment or {})})

    def event(self, name):
        for line in self.process.stdout:
            event = json.loads(line)
            if event["event"] == name:
                return event
        raise AssertionError(f"no event {name}; status {self.process.wait(10)}:\n{self.log()}")

    def log(self):
        self.log_file.seek(0)
        return self.log_file.read().decode(errors="replace")

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(10)
        self.process.stdout.close()
        self.log_file.close()


class CommandCase(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)
        self.config = self.folder / "sipheal.yaml"
        self.secret = self.folder / "secret"
        self.secret.write_text("password\n")
        self.hep = "127.0.0.1:0"
        self.write()

    def instance(self, name, **ari):
        ari = {"url": f"http://127.0.0.1:{free_port()}", "user": "sipheal",
               "password_file": str(self.secret), **ari}
        return {"name": name, "sip": ["127.0.0.1:5060"], "ari": ari}

    def write(self, *instances, **sections):
        config = {"instances": list(instances) or [self.instance("pbx1")],
                  "hep": {"udp": self.hep}, "store": {"sqlite": str(self.folder / "s.db")},
                  "control": {"socket": str(self.folder / "control.sock")}, **sections}
        self.config.write_text(json.dumps(config, indent=1))  # JSON is YAML

    def sipheal(self, *arguments, environment=None):
        return subprocess.run([COMMAND, *arguments], capture_output=True, text=True, timeout=60,
                              check=False, env={**os.environ, **(environment or {})})

    def ask(self, *arguments):
        done = self.sipheal(*arguments, "--config", str(self.config), "--format", "json")
        self.assertEqual(done.returncode, 0, done.stderr + done.stdout)
        return json.loads(done.stdout)


class RunTest(CommandCase):
    def test_becomes_ready_answers_and_ends_with_status_0_on_sigterm_and_sigint(self):
        for number in (signal.SIGTERM, signal.SIGINT):
            with self.subTest(number), Daemon(self.config) as daemon:
                ready = daemon.event("ready")
                self.assertEqual(ready["pid"], daemon.process.pid)
                mode = os.stat(self.folder / "control.sock").st_mode
                self.assertEqual(stat.S_IMODE(mode), 0o600)
                status = self.ask("status")
                self.assertEqual(status["pid"], daemon.process.pid)
                self.assertIs(status["instances"]["pbx1"]["connected"], False)
                self.assertEqual(self.ask("sessions")["sessions"], [])
                daemon.process.send_signal(number)
                daemon.event("stopped")
                self.assertEqual(daemon.process.wait(20), 0, daemon.log())
                self.assertFalse((self.folder / "control.sock").exists())

    def test_tells_systemd_when_it_is_ready_reloading_and_stopping(self):
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
            manager.bind(str(self.folder / "notify"))
            manager.settimeout(30)
            with Daemon(self.config,
                        environment={"NOTIFY_SOCKET": str(self.folder / "notify")}) as daemon:
                self.assertEqual(manager.recv(1000), b"READY=1")
                daemon.process.send_signal(signal.SIGHUP)
                self.assertIn(b"RELOADING=1\nMONOTONIC_USEC=", manager.recv(1000))
                self.assertEqual(manager.recv(1000), b"READY=1")
                daemon.process.send_signal(signal.SIGTERM)
                self.assertEqual(manager.recv(1000), b"STOPPING=1")

    def test_sighup_reads_the_list_of_instances_again(self):
        with Daemon(self.config) as daemon:
            daemon.event("ready")
            self.write(self.instance("pbx2"), self.instance("pbx3"))
            daemon.process.send_signal(signal.SIGHUP)
            deadline = time.monotonic() + 20
            while sorted(self.ask("status")["instances"]) != ["pbx2", "pbx3"]:
                self.assertLess(time.monotonic(), deadline, daemon.log())
                time.sleep(0.02)

    def test_a_configuration_that_became_wrong_changes_nothing(self):
        with Daemon(self.config) as daemon:
            daemon.event("ready")
            good = self.config.read_text()
            self.config.write_text("instances: [")
            done = self.sipheal("reload", "--socket", str(self.folder / "control.sock"))
            self.assertEqual(done.returncode, 1)
            self.assertIn("this is not YAML", done.stderr)
            self.config.write_text(good)
            self.assertEqual(list(self.ask("status")["instances"]), ["pbx1"])

    def test_says_which_key_when_the_hep_port_is_in_use(self):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
            taken.bind(("127.0.0.1", 0))
            self.hep = "127.0.0.1:%d" % taken.getsockname()[1]
            self.write()
            done = self.sipheal("run", "--config", str(self.config))
        self.assertEqual(done.returncode, 1, done.stderr)
        self.assertIn(f"{self.config}:", done.stderr)
        self.assertIn(": hep: ", done.stderr)
        self.assertIn(self.hep, done.stderr)

    def test_says_which_secret_is_missing(self):
        self.secret.unlink()
        done = self.sipheal("run", "--config", str(self.config))
        self.assertEqual(done.returncode, 2)
        self.assertIn("instances[0].ari.password_file: the file", done.stderr)
        self.assertIn("cannot be read: No such file", done.stderr)

    def test_says_what_is_wrong_with_the_store(self):
        for path, word in ((self.folder / "none" / "s.db", "store.sqlite"),
                           (self.config, "store.sqlite")):
            with self.subTest(path=path):
                self.write(store={"sqlite": str(path)})
                done = self.sipheal("run", "--config", str(self.config))
                self.assertEqual(done.returncode, 1, done.stderr)
                self.assertIn(word, done.stderr)
                self.assertIn(str(path), done.stderr)

    def test_a_second_daemon_on_the_same_socket_is_refused_and_the_first_lives_on(self):
        with Daemon(self.config) as daemon:
            daemon.event("ready")
            done = self.sipheal("run", "--config", str(self.config))
            self.assertEqual(done.returncode, 1)
            self.assertIn("another sipheal answers on", done.stderr)
            self.assertEqual(self.ask("status")["pid"], daemon.process.pid)

    def test_starts_again_after_sigkill(self):
        with Daemon(self.config) as daemon:
            daemon.event("ready")
            daemon.process.kill()
            daemon.process.wait(10)
        with Daemon(self.config) as daemon:
            daemon.event("ready")

    def test_the_log_is_json_when_asked_and_holds_no_secret(self):
        self.write(log={"level": "debug", "format": "json"})
        with Daemon(self.config) as daemon:
            daemon.event("ready")
            daemon.process.terminate()
            daemon.process.wait(20)
            lines = [json.loads(line) for line in daemon.log().splitlines()]
            self.assertIn("ready", [line["event"] for line in lines])
            for line in lines:
                self.assertTrue({"ts", "level", "event", "msg"} <= set(line), line)
            self.assertNotIn("password\n", daemon.log())

    def test_an_environment_variable_overrides_the_file(self):
        path = self.folder / "other.sock"
        with Daemon(self.config, environment={"SIPHEAL_CONTROL__SOCKET": str(path)}) as daemon:
            self.assertEqual(daemon.event("ready")["control"], str(path))


class StoreTest(CommandCase):
    def test_status_and_sessions_read_the_store_when_no_daemon_runs_and_say_so(self):
        with Daemon(self.config) as daemon:
            daemon.event("ready")
            daemon.process.terminate()
            daemon.process.wait(20)
        for command in ("status", "sessions"):
            with self.subTest(command):
                done = self.sipheal(command, "--config", str(self.config))
                self.assertEqual(done.returncode, 0, done.stderr)
                self.assertIn("no daemon runs at", done.stderr)
                self.assertIs(self.ask(command)["daemon"], False)

    def test_recover_without_a_daemon_says_what_to_do(self):
        done = self.sipheal("recover", "pbx1", "--config", str(self.config))
        self.assertEqual(done.returncode, 3)
        self.assertIn("start it with 'sipheal run --config FILE'", done.stderr)


class DoctorTest(CommandCase):
    def test_fails_and_names_the_fix_when_no_server_answers(self):
        done = self.sipheal("doctor", "--config", str(self.config), "--format", "json")
        self.assertEqual(done.returncode, 1, done.stderr)
        findings = {(f["subject"], f["check"]): f for f in json.loads(done.stdout)["findings"]}
        self.assertEqual(findings["pbx1", "ari"]["result"], "fail")
        self.assertIn("http show status", findings["pbx1", "ari"]["fix"])
        self.assertEqual(findings["store", "store"]["result"], "ok")
        self.assertEqual(findings["pbx1", "hep"]["result"], "fail")
        self.assertFalse((self.folder / "s.db").exists(), "doctor made a store")


if __name__ == "__main__":
    unittest.main(verbosity=2)
