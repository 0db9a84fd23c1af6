# SPDX-License-Identifier: Apache-2.0
"""A real PostgreSQL for tests and demos: its own cluster in a scratch folder, at a free port of
127.0.0.1, as an unprivileged user."""

import ctypes
import glob
import os
import pathlib
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import unittest

from sipheal_lab.waiting import wait_for

_PR_SET_PDEATHSIG = 1


def find_programs():
    """The folder with initdb, postgres and psql, or None. Debian keeps them out of PATH."""
    folders = [os.environ.get("SIPHEAL_POSTGRES_BINDIR", "")]
    folders += sorted(glob.glob("/usr/lib/postgresql/*/bin"), reverse=True)
    folders += ["/usr/local/bin", "/usr/bin"]
    for folder in folders:
        if all(os.access(os.path.join(folder, name), os.X_OK) for name in ("initdb", "postgres")):
            return pathlib.Path(folder)
    return None


def require_postgres():
    """Skips loudly without a PostgreSQL server, or fails where SIPHEAL_REQUIRE_POSTGRES is 1."""
    if find_programs():
        return
    text = "no PostgreSQL server on this machine: install the package postgresql"
    if os.environ.get("SIPHEAL_REQUIRE_POSTGRES") == "1":
        raise RuntimeError(text)
    sys.stderr.write(f"SKIPPED, {text}\n")
    raise unittest.SkipTest(text)


def _unprivileged():
    """PostgreSQL refuses to run as root."""
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        try:
            return pwd.getpwnam(name)
        except KeyError:
            pass
    return None


class Postgres:
    """start() makes and starts it; kill() is a SIGKILL, after which start() goes on where it was.
    A context manager; it also dies with the process that made it."""

    def __init__(self, **settings):
        """settings: of postgresql.conf, besides what a test wants anyway."""
        self.programs = find_programs()
        self.settings = {"fsync": "off", **settings}
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="sipheal-pg-"))
        self.log = self.folder / "server.log"
        self.port, self.process = None, None
        user = _unprivileged()
        self._user = (user.pw_uid, user.pw_gid) if user else None
        if self._user:
            os.chown(self.folder, *self._user)

    def _prepare(self):
        if self._user:
            os.setgroups([])
            os.setgid(self._user[1])
            os.setuid(self._user[0])
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)

    def _run(self, *command):
        with open(self.log, "ab") as log:
            return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                    cwd="/", env={**os.environ, "LC_ALL": "C"},
                                    preexec_fn=self._prepare)

    def start(self):
        data = self.folder / "data"
        if not data.exists():
            made = self._run(str(self.programs / "initdb"), "-D", str(data), "-U", "sipheal",
                             "-A", "trust", "-E", "UTF8", "--no-sync")
            if made.wait(120) != 0:
                raise RuntimeError(f"initdb failed:\n{self.log.read_text()}")
        if self.port is None:
            with socket.socket() as probe:
                probe.bind(("127.0.0.1", 0))
                self.port = probe.getsockname()[1]
        wait_for(self._is_up, 60, lambda: f"PostgreSQL answers:\n{self.log.read_text()}")
        return self

    def _is_up(self):
        # The backends of a killed one end a moment later; until then a new one refuses to begin.
        if self.process is None or self.process.poll() is not None:
            self.process = self._run(
                str(self.programs / "postgres"), "-D", str(self.folder / "data"), "-p",
                str(self.port), "-h", "127.0.0.1", "-k", "",
                *(f"--{name.replace('_', '-')}={value}" for name, value in self.settings.items()))
            time.sleep(0.05)
        return self._psql("SELECT 1").returncode == 0

    def _psql(self, sql):
        return subprocess.run(
            ["psql", "-X", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-d", self.dsn(), "-c", sql],
            capture_output=True, text=True, timeout=60, check=False)

    def dsn(self):
        """For libpq."""
        return f"host=127.0.0.1 port={self.port} user=sipheal dbname=postgres"

    def query(self, sql):
        """The rows as text, their columns divided by '|'."""
        done = self._psql(sql)
        if done.returncode != 0:
            raise RuntimeError(f"{sql}: {done.stderr}")
        return done.stdout.split("\n")[:-1]

    def kill(self):
        self.process.kill()
        self.process.wait(10)

    def close(self):
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)  # ends at once, with all its connections
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self):
        return self.start()

    def __exit__(self, *unused):
        self.close()
