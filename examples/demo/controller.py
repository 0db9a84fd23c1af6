# SPDX-License-Identifier: Apache-2.0
"""`sipheal run` for the demo's servers: its configuration, its process, its log."""

import collections
import json
import subprocess
import time

from processes import Program
from sipheal_lab.daemon import instances_section

_HEAD = "# The demo's configuration of `sipheal run`; docs/config.md explains every key.\n"

_TAIL = """hep:
  udp: {hep}
store:
  {store}
targets:
  allow: ["{network}"]
pacing:
  rate: 5000
  burst: 1000
  max_inviting: 1000
control:
  socket: {socket}
log:
  level: info
  format: json
{more}"""


class Controller(Program):
    """One `sipheal run` over all servers of the lab."""

    def __init__(self, lab, program, *, name="sipheal", hep=None, store=None, more=""):
        """hep: where it listens, the lab's place when not given. store, more: lines of the
        configuration, for its section `store` and at its end."""
        folder = lab.directory / name
        folder.mkdir()
        text = _HEAD + instances_section(lab.servers, folder)
        self.socket, self.program = folder / "control.sock", program
        text += _TAIL.format(hep="%s:%d" % (hep or lab.hep), network=lab.network.network,
                             store=store or f"sqlite: {folder / 'sessions.db'}",
                             socket=self.socket, more=more)
        self.config = folder / "sipheal.yaml"
        self.config.write_text(text)
        self._events_path = folder / "events.jsonl"
        self._events = open(self._events_path, "wb")
        super().__init__(folder, name, [
            str(program), "run", "--config", str(self.config), "--events"],
            stdout=self._events)

    def events(self, name=None):
        """What it told on its standard output, decoded: all, or those of one name."""
        found = []
        for line in self._events_path.read_text(errors="replace").splitlines():
            try:
                event = json.loads(line)
            except ValueError:
                continue  # a line that is being written
            if name is None or event.get("event") == name:
                found.append(event)
        return found

    def wait_ready(self, timeout):
        deadline = time.monotonic() + timeout
        while not self.events("ready"):
            if not self.running() or time.monotonic() > deadline:
                raise RuntimeError(f"sipheal run did not come up: {self.log()}")
            time.sleep(0.02)

    def connects(self, instance):
        """How often its event socket to that server has opened."""
        return sum('"ari_connected"' in line and f'"{instance}"' in line
                   for line in self.log_path.read_text(errors="replace").splitlines())

    def wait_connects(self, instance, count, timeout):
        deadline = time.monotonic() + timeout
        while self.connects(instance) < count:
            if not self.running() or time.monotonic() > deadline:
                raise RuntimeError(f"sipheal did not connect to {instance}: {self.log()}")
            time.sleep(0.02)

    def detected(self, instance, died_at):
        """When it knew of a death, in seconds of the wall clock, or None."""
        for event in self.events("crash"):
            moment = event["detected_at_us"] / 1e6
            if event["instance"] == instance and moment >= died_at - 0.001:
                return moment
        return None

    def reasons(self):
        """Why calls were not recovered: (outcome, verdict, reason) by number."""
        counts = collections.Counter(
            (event["outcome"], event.get("verdict", ""), event.get("reason", ""))
            for event in self.events("outcome") if event["outcome"] != "recovered")
        return counts.most_common()

    def sessions(self):
        """How many calls its store holds, by instance."""
        return (self.ask("status") or {}).get("sessions", {})

    def ask(self, *words, timeout=10):
        """The answer of another `sipheal` command to this daemon, decoded, or None."""
        done = subprocess.run([str(self.program), "--format", "json", *words, "--socket",
                               str(self.socket)], capture_output=True, text=True,
                              timeout=timeout, check=False)
        try:
            return json.loads(done.stdout)
        except ValueError:
            return None

    def close(self, timeout=5.0):
        super().close(timeout)
        self._events.close()
