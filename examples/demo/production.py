# SPDX-License-Identifier: Apache-2.0
"""What `demo.sh --production` has in place of one controller with SQLite: three controllers that share a real
PostgreSQL, and HOMER's tables behind HEP."""

import pathlib
import sys
import time

from controller import Controller
from processes import Program
from sipheal_lab.postgres import Postgres, find_programs

HERE = pathlib.Path(__file__).resolve().parent
NAMES = ("controller-a", "controller-b", "controller-c")

# A dead controller's calls go to the others when its lease is over: phones wait no longer than that.
_SHARED = """recovery:
  owner: {owner}
  lease: 2s
ari:
  application: sipheal-{owner}
homer:
  postgres: "{dsn}"
  ingest_delay: 1s
"""


class Production:
    """Speaks for its three controllers as the demo's Controller does for one."""

    def __init__(self, lab, program):
        if not find_programs():
            raise RuntimeError("no PostgreSQL server on this machine: install the package postgresql")
        self.lab = lab
        self.server = lab.keep(Postgres().start())
        dsn = self.server.dsn()
        address = lab.hep[0]
        places = [(address, lab.hep[1] + 1 + index) for index in range(len(NAMES))]
        relay = [sys.executable, str(HERE / "hep_relay.py"), "--listen", "%s:%d" % lab.hep,
                 "--dsn", dsn]
        for place in places:
            relay += ["--to", "%s:%d" % place]
        self.relay = lab.keep(Program(lab.directory, "hep-relay", relay))
        self.relay.wait_for_log("relaying", 10)
        self.controllers = [
            lab.keep(Controller(lab, program, name=name, hep=place,
                                store=f'postgres: "{dsn}"', more=_SHARED.format(owner=name, dsn=dsn)))
            for name, place in zip(NAMES, places)]
        self.killed = []

    @property
    def living(self):
        return [c for c in self.controllers if c not in self.killed]

    def wait_ready(self, timeout):
        for controller in self.controllers:
            controller.wait_ready(timeout)
            for server in self.lab.servers:
                controller.wait_connects(server.name, 1, timeout)

    def detected(self, instance, died_at):
        """When the first of them knew of a death."""
        moments = [c.detected(instance, died_at) for c in self.controllers]
        return min((m for m in moments if m is not None), default=None)

    def kill_one_at_work(self, timeout):
        """SIGKILL for the controller that is in the middle of recoveries first; returns it with the number of calls
        that it had begun and not finished, or None when none was caught at it."""
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            for controller in self.living:
                begun = {e["session_id"] for e in controller.events("stage")}
                if begun:
                    controller.process.kill()
                    controller.process.wait()
                    self.killed.append(controller)
                    # Read again, now that it writes no more.
                    begun = {e["session_id"] for e in controller.events("stage")}
                    over = {e["session_id"] for e in controller.events("outcome")}
                    return controller, len(begun - over)
        return None

    def homer_rows(self):
        return int(self.server.query("SELECT count(*) FROM hep_proto_1_call")[0])

    def close(self):
        for controller in self.controllers:
            controller.close()


def double_reinvites(dialogs, deaths):
    """Re-INVITEs beyond the first with which a dialog was moved after one death: what phones got twice.

    `deaths`: when servers died, in order."""
    doubles = 0
    for dialog in dialogs:
        for index, died in enumerate(deaths):
            until = deaths[index + 1] if index + 1 < len(deaths) else float("inf")
            moves = [r for r in dialog.recoveries if died <= r.invited < until]
            doubles += max(0, len(moves) - 1)
    return doubles
