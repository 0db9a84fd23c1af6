# SPDX-License-Identifier: Apache-2.0
"""Child processes that end with the demo, whatever ends it."""

import ctypes
import pathlib
import signal
import subprocess
import time

_LIBC = ctypes.CDLL(None)


def _die_with_parent():
    """In the child: have the kernel end it when the demo ends. Must be started by a thread that
    lives as long as the demo does."""
    pr_set_pdeathsig = 1
    _LIBC.prctl(pr_set_pdeathsig, signal.SIGKILL)


class Program:
    """A child process with its output in a log file. Ctrl-C at the terminal does not reach it: the
    demo ends it, by its id."""

    def __init__(self, directory, name, command, *, cwd=None, **options):
        self.name, self.log_path = name, pathlib.Path(directory) / f"{name}.log"
        self._log = open(self.log_path, "wb")
        options.setdefault("stdin", subprocess.DEVNULL)
        options.setdefault("stdout", self._log)
        try:
            self.process = subprocess.Popen(command, stderr=self._log, cwd=cwd or directory,
                                            start_new_session=True, preexec_fn=_die_with_parent,
                                            **options)
        except OSError as error:
            raise RuntimeError(f"{name} could not be started: {error}") from None

    def log(self, limit=4000):
        return self.log_path.read_text(errors="replace")[-limit:]

    def running(self):
        return self.process.poll() is None

    def wait_for_log(self, text, timeout):
        deadline = time.monotonic() + timeout
        while text not in self.log():
            if not self.running() or time.monotonic() > deadline:
                raise RuntimeError(f"{self.name} did not start: {self.log()}")
            time.sleep(0.02)

    def wait(self, timeout):
        """True when it ended by itself, and well."""
        try:
            return self.process.wait(timeout) == 0
        except subprocess.TimeoutExpired:
            return False

    def close(self, timeout=5.0):
        if self.running():
            self.process.terminate()
            self.wait(timeout)
        if self.running():
            self.process.kill()
            self.process.wait()
        self._log.close()
