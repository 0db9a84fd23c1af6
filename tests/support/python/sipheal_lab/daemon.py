# SPDX-License-Identifier: Apache-2.0
"""`sipheal run` as a process of a test or demo: its configuration, its events, its death."""

import json
import pathlib
import signal
import socket
import subprocess
import threading
import time

_INSTANCE = """  - name: {name}
    sip: ["{sip}"]
    hep_agents: ["{agent}"]
    ari:
      url: {url}
      user: {user}
      password_file: {password_file}
      pid_file: {pid_file}
"""


def instances_section(servers, folder):
    """The section `instances` for these servers; their passwords go into files of the folder."""
    text = "instances:\n"
    for server in servers:
        password_file = pathlib.Path(folder) / f"{server.name}.password"
        password_file.touch(mode=0o600)
        password_file.write_text(server.ari_password + "\n")
        text += _INSTANCE.format(
            name=server.name, sip=f"{server.sip_address}:{server.sip_port}",
            agent=server.hep.capture_id, url=f"http://127.0.0.1:{server.ari_port}",
            user=server.ari_user, password_file=password_file, pid_file=server.pid_file)
    return text


class Daemon:
    """One controller; kill() and start() again make another one on the same store.

    Its events are kept over all its lives: each is a dict with the monotonic time of its arrival
    under "seen" and the number of the life, from 1, under "run".
    """

    def __init__(self, program, folder, servers, sections):
        """sections: the rest of the configuration, as YAML text."""
        self.program, self.folder = str(program), pathlib.Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.store = self.folder / "sessions.db"
        self._socket_path = self.folder / "control.sock"
        self.config = self.folder / "sipheal.yaml"
        self.config.write_text(instances_section(servers, self.folder) + sections
                               + f"store:\n  sqlite: {self.store}\n"
                               + f"control:\n  socket: {self._socket_path}\n")
        self.log_path = self.folder / "sipheal.log"
        self.process, self.run, self.events = None, 0, []
        self._changed = threading.Condition()
        self._reader = None

    # -- life ---------------------------------------------------------------------------------

    def start(self, timeout=10.0):
        """Starts it, and returns when it is ready."""
        self.run += 1
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen(
                [self.program, "run", "--config", str(self.config), "--events"],
                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=log,
                start_new_session=True)
        self._reader = threading.Thread(target=self._read, args=(self.process, self.run),
                                        daemon=True)
        self._reader.start()
        self.wait_event("ready", timeout, run=self.run)
        return self

    def kill(self):
        """SIGKILL; returns when its last event has been read."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        self._reader.join(5)

    def close(self):
        if self.process and self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(5)
            except subprocess.TimeoutExpired:
                self.kill()
        if self._reader:
            self._reader.join(5)

    def running(self):
        return self.process is not None and self.process.poll() is None

    # -- what it says -------------------------------------------------------------------------

    def _read(self, process, run):
        for line in process.stdout:
            try:
                event = json.loads(line)
            except ValueError:
                continue  # cut off by its death
            event["seen"], event["run"] = time.monotonic(), run
            with self._changed:
                self.events.append(event)
                self._changed.notify_all()
        process.stdout.close()
        with self._changed:
            self._changed.notify_all()

    def all(self, name, **fields):
        """The events so far of one name, with these fields."""
        with self._changed:
            return [e for e in self.events if e["event"] == name
                    and all(e.get(key) == value for key, value in fields.items())]

    def wait_event(self, name, timeout=10.0, count=1, since=0.0, **fields):
        """Waits for `count` events of that name and fields that came after a monotonic moment;
        returns the last of them."""
        deadline = time.monotonic() + timeout
        with self._changed:
            while True:
                found = [e for e in self.events if e["event"] == name and e["seen"] >= since
                         and all(e.get(key) == value for key, value in fields.items())]
                if len(found) >= count:
                    return found[count - 1]
                left = deadline - time.monotonic()
                if left <= 0 or not self.running():
                    state = f"within {timeout} s" if left <= 0 else "before its end"
                    raise AssertionError(f"{len(found)} events {name} {fields}, not {count}, "
                                         f"{state}; {self.story()}")
                self._changed.wait(min(left, 0.5))

    def log(self, limit=8000):
        return self.log_path.read_text(errors="replace")[-limit:]

    def log_lines(self, event):
        """The log's lines of one event, decoded (log.format: json)."""
        found = []
        for line in self.log_path.read_text(errors="replace").splitlines():
            try:
                record = json.loads(line)
            except ValueError:
                continue
            if record.get("event") == event:
                found.append(record)
        return found

    def story(self):
        """Its events and log, as a failed test shows them."""
        with self._changed:
            start = self.events[0]["seen"] if self.events else 0.0
            lines = []
            for e in self.events:
                words = [str(e[k]) for k in ("stage", "outcome", "instance", "kind", "call_id",
                                             "old_instance", "new_instance", "attempts", "reason")
                         if e.get(k)]
                lines.append(f"  {e['seen'] - start:8.3f} run {e['run']} {e['event']} "
                             + " ".join(words))
        return "events:\n" + "\n".join(lines[-150:]) + "\nlog:\n" + self.log()

    # -- asking it ----------------------------------------------------------------------------

    def ask(self, command, timeout=10.0, **arguments):
        """The result of a request on its control socket."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as control:
            control.settimeout(timeout)
            control.connect(str(self._socket_path))
            control.sendall((json.dumps({"command": command, **arguments}) + "\n").encode())
            with control.makefile() as answers:
                answer = json.loads(answers.readline())
        if not answer.get("ok"):
            raise AssertionError(f"{command}: {answer}")
        return answer["result"]

    def sessions(self, limit=1000):
        """What its store holds, by Call-ID: a list for each, since there may be no two."""
        found = {}
        for session in self.ask("sessions", limit=limit)["sessions"]:
            found.setdefault(session["call_id"], []).append(session)
        return found
