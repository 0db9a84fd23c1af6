# SPDX-License-Identifier: Apache-2.0
"""The whole chain, for tests of faults: `sipheal run`, stock Asterisks with the module, and phones
that keep their own view of their dialogs.

SIPHEAL_COMMAND names the program. Skips loudly without a cached Asterisk.
"""

import os
import pathlib
import random
import socket
import sqlite3
import sys
import tempfile
import time
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "support" / "python"))

from sipheal_lab.asterisk import Asterisk, Endpoint, Hep, free_port  # noqa: E402
from sipheal_lab.daemon import Daemon  # noqa: E402
from sipheal_lab.phone import Answer, Phone  # noqa: E402,F401
from sipheal_lab.required import require_asterisk  # noqa: E402
from sipheal_lab.sdp_version import VERSION_MARGIN, is_version_gap  # noqa: E402
from sipheal_lab.waiting import wait_for  # noqa: E402

LONG = os.environ.get("SIPHEAL_LONG") == "1"
MOST_PHONES = 12
APPLICATION = "lab"

_SECTIONS = """hep:
  udp: {hep}
targets:
  allow: ["127.0.0.0/8"]
recovery:
  lease: {lease}
{recovery}log:
  level: debug
  format: json
"""


class Call:
    """One phone with its dialog."""

    def __init__(self, phone, dialog):
        self.phone, self.dialog = phone, dialog

    @property
    def call_id(self):
        return self.dialog.call_id

    @property
    def reinvites(self):
        """The INVITEs of its server, each once: a phone that calls is invited by recoveries
        only."""
        return self.phone.requests("INVITE")

    @property
    def home(self):
        """(host, port) of the server that it takes for its peer now."""
        return self.dialog.next_hop()


class DaemonCase(unittest.TestCase):
    """Fresh servers, and a fresh daemon, for each test.

    server_names: one Asterisk each. servers are started by start(), with the daemon.
    """

    server_names = ("a", "b", "c")

    def setUp(self):
        require_asterisk("SIPHEAL_COMMAND")
        folder = tempfile.TemporaryDirectory(prefix="sipheal-faults-")
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)
        self.network = self._free_network()
        self.hep_port = free_port(f"{self.network}.3", socket.SOCK_DGRAM)
        self.servers, self.applications, self.phones = {}, {}, []
        for index, name in enumerate(self.server_names):
            self.servers[name] = self.make_server(name, index)
        self.daemon = None

    @staticmethod
    def _free_network():
        """The first three numbers of a loopback network that nobody else uses at the moment."""
        while True:
            network = f"127.{random.randrange(10, 60)}.{random.randrange(1, 250)}"
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
                try:
                    probe.bind((f"{network}.3", 5060))
                    return network
                except OSError:
                    continue

    def make_server(self, name, index, **options):
        server = Asterisk(
            name, self.folder / name, sip_address=f"{self.network}.{11 + index}",
            endpoints=[Endpoint(f"u{n}") for n in range(MOST_PHONES)],
            hep=Hep(f"{self.network}.3", self.hep_port, capture_id=101 + index), **options)
        self.addCleanup(server.close)
        return server

    # -- servers and daemon -------------------------------------------------------------------

    def start(self, *names, lease="30s", recovery=""):
        """Starts these servers (all, when none is named) and the daemon over all of them.
        recovery: more lines of that section."""
        for name in names or self.servers:
            self.start_server(name)
        self.daemon = Daemon(os.environ["SIPHEAL_COMMAND"], self.folder / "sipheal",
                             self.servers.values(),
                             _SECTIONS.format(hep=f"{self.network}.3:{self.hep_port}", lease=lease,
                                              recovery=recovery))
        self.addCleanup(self.daemon.close)
        self.daemon.start()
        for name in names or self.servers:
            self.wait_connected(name)

    def start_server(self, name):
        """Starts it, or starts it again in its place, with the host's application on it."""
        server = self.servers[name]
        if name in self.applications:
            self.applications.pop(name).close()
        server.ari.close()
        server.start(timeout=60)
        self.applications[name] = server.ari.events(APPLICATION)
        self.addCleanup(self.applications[name].close)

    def wait_connected(self, name, timeout=10.0):
        """Waits until the daemon's event socket to it is open."""
        wait_for(lambda: self.daemon.ask("status")["instances"][name]["connected"], timeout,
                 lambda: f"{name} connected; {self.daemon.story()}")

    def kill(self, name):
        """SIGKILL of a server; the monotonic moment of it."""
        at = time.monotonic()
        self.servers[name].kill()
        return at

    # -- calls --------------------------------------------------------------------------------

    def place(self, count, server="a"):
        """That many phones call a server; returns the calls when the daemon has all it needs."""
        calls = []
        for _ in range(count):
            phone = Phone(f"u{len(self.phones) % MOST_PHONES}", address=f"{self.network}.21")
            self.addCleanup(phone.close)
            self.phones.append(phone)
            calls.append(Call(phone, phone.call(self.servers[server].sip_uri("100"))))
        self.wait_tracked(calls, server)
        return calls

    def wait_tracked(self, calls, server, timeout=10.0):
        """Waits until each call is one session on that server, and its dialog is in the store."""
        wanted = {call.call_id for call in calls}

        def tracked():
            sessions = self.daemon.sessions()
            return wanted <= self.stored_dialogs(server) and all(
                len(sessions.get(call_id, ())) == 1
                and sessions[call_id][0]["instance"] == server
                and sessions[call_id][0]["state"] == "up"
                and sessions[call_id][0]["flow"].get("stasis_app") == APPLICATION
                for call_id in wanted)

        wait_for(tracked, timeout, lambda: f"{len(wanted)} calls tracked on {server}; sessions "
                 f"{self.daemon.sessions()}; dialogs {self.stored_dialogs(server)}; "
                 f"{self.daemon.story()}")

    # -- the store, read beside the daemon ----------------------------------------------------

    def query(self, text, *values):
        with sqlite3.connect(f"file:{self.daemon.store}?mode=ro", uri=True, timeout=10) as database:
            rows = database.execute(text, values).fetchall()
        database.close()
        return rows

    def stored_dialogs(self, server):
        return {bytes(row[0]).decode() for row in self.query(
            "SELECT call_id FROM dialogs WHERE instance = ? AND remote_tag != ''", server)}

    def journal(self):
        """{(session id, epoch): [(stage, attempt, target, outcome), ...]}, in order."""
        found = {}
        for session, epoch, *entry in self.query(
                "SELECT id, epoch, stage, attempt, target_instance, outcome FROM journal "
                "ORDER BY seq"):
            found.setdefault((session, epoch), []).append(tuple(entry))
        return found

    # -- what must hold -----------------------------------------------------------------------

    def story(self):
        ladders = "\n".join(phone.ladder() for phone in self.phones)
        return f"{ladders}\n{self.daemon.story()}"

    def wait_at(self, calls, *names, timeout=20.0):
        """Waits until each call has its server among these, by what its phone believes, and the
        2xx of its last re-INVITE is acknowledged."""
        homes = {(self.servers[n].sip_address, self.servers[n].sip_port) for n in names}
        wait_for(lambda: all(c.home in homes and c.dialog.retransmit is None and not c.phone._held
                             for c in calls), timeout,
                 lambda: f"every call on {names}: {[c.home for c in calls]}\n{self.story()}")

    def wait_recovered(self, calls, *names, epoch=1, timeout=20.0):
        """Waits until the store has each call exactly once, recovered this often at least and on
        one of these servers, and no recovery is open; then checks that the phones agree."""
        wanted = {call.call_id for call in calls}

        def settled():
            sessions = self.daemon.sessions()
            return self.daemon.ask("status")["recoveries"] == 0 and all(
                len(sessions.get(c, ())) == 1 and sessions[c][0]["instance"] in names
                and sessions[c][0]["epoch"] >= epoch for c in wanted)

        wait_for(settled, timeout, lambda: f"all recovered to {names}: {self.daemon.sessions()}\n"
                 f"{self.story()}")
        self.wait_at(calls, *names)

    def assert_channels(self, calls, *names):
        """Each call is one channel on these servers together."""
        found = []
        for name in names:
            found += [channel["protocol_id"] for channel in
                      self.servers[name].ari("GET", "/channels")]
        for call in calls:
            self.assertEqual(found.count(call.call_id), 1,
                             f"channels of {call.phone.user}: {found}\n{self.story()}")

    def assert_recovered_once_each(self, calls, old):
        """No session of that server was finished as recovered twice."""
        outcomes = self.daemon.all("outcome", old_instance=old)
        for call in calls:
            mine = [e for e in outcomes if e["call_id"] == call.call_id]
            self.assertLessEqual(len(mine), 1, f"{mine}\n{self.story()}")

    def hang_up(self, calls, lost_offers=0):
        """Each phone hangs up, and its BYE gets 200; none was hung up on before."""
        for call in calls:
            self.assertFalse(call.dialog.ended, f"{call.phone.user} got a BYE\n{self.story()}")
        for call in calls:
            self.assertEqual(call.dialog.bye(), 200, self.story())
        self.assert_no_violation(lost_offers)

    def assert_no_violation(self, lost_offers=0):
        """lost_offers: how many offers may have been lost with the server that made them. Each
        counts in the o= line, since nobody can know that the phone did not see it."""
        broken = [f"{p.user}: {v}" for p in self.phones for v in p.violations
                  if not is_version_gap(v, 1 + VERSION_MARGIN + lost_offers)]
        self.assertEqual(broken, [], self.story())
