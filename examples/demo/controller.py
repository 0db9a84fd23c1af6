# SPDX-License-Identifier: Apache-2.0
"""`sipheal run` for the demo's servers: its configuration, its process, its log."""

import datetime
import json

from processes import Program

_HEAD = """# The demo's configuration of `sipheal run`; docs/config.md explains every key.
instances:
"""

_INSTANCE = """  - name: {name}
    sip: ["{sip}"]
    hep_agents: ["{agent}"]
    ari:
      url: {url}
      user: {user}
      password_file: {password_file}
      pid_file: {pid_file}
"""

_TAIL = """hep:
  udp: {hep}
store:
  sqlite: {store}
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
"""


class Controller(Program):
    """One `sipheal run` over all servers of the lab."""

    def __init__(self, lab, program):
        folder = lab.directory / "sipheal"
        folder.mkdir()
        text = _HEAD
        for server in lab.servers:
            password_file = folder / f"{server.name}.password"
            password_file.touch(mode=0o600)
            password_file.write_text(server.ari_password + "\n")
            text += _INSTANCE.format(
                name=server.name, sip=f"{server.sip_address}:{server.sip_port}",
                agent=server.hep.capture_id, url=f"http://127.0.0.1:{server.ari_port}",
                user=server.ari_user, password_file=password_file, pid_file=server.pid_file)
        self.socket, self.program = folder / "control.sock", program
        text += _TAIL.format(hep="%s:%d" % lab.hep, store=folder / "sessions.db",
                             network=lab.network.network, socket=self.socket)
        self.config = folder / "sipheal.yaml"
        self.config.write_text(text)
        super().__init__(folder, "sipheal", [str(program), "run", "--config", str(self.config)])

    def events(self):
        """The lines of its log, decoded."""
        found = []
        for path in (self.log_path,):
            for line in path.read_text(errors="replace").splitlines():
                if line.startswith("{"):
                    try:
                        found.append(json.loads(line))
                    except ValueError:
                        pass
        return found


def event_time(event):
    """The wall clock of a log line, in seconds."""
    return datetime.datetime.fromisoformat(event["ts"].replace("Z", "+00:00")).timestamp()
