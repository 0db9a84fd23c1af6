# SPDX-License-Identifier: Apache-2.0
"""The demo's machines, all on one loopback network of their own: three Asterisks, a Kamailio as the
edge proxy, the tap, and the ends of the phones' media."""

import ipaddress
import json
import math
import os
import pathlib
import random
import socket
import subprocess
import sys
import threading
import time

from processes import Program
from sipheal_lab.asterisk import Asterisk, Endpoint, Hep

HERE = pathlib.Path(__file__).resolve().parent

DIALPLAN = """[default]
exten => _[a-z][a-z].,1,Stasis(pbx,${EXTEN})
 same => n,Hangup()
"""

_KAMAILIO = """#!KAMAILIO
debug=1
log_stderror=yes
memdbg=5
memlog=5
children=2
auto_aliases=no
dns=no
rev_dns=no
disable_tcp=yes
listen=udp:{address}:5060
mpath="/usr/lib/x86_64-linux-gnu/kamailio/modules/:/usr/lib/kamailio/modules/"
loadmodule "tm.so"
loadmodule "sl.so"
loadmodule "rr.so"
loadmodule "pv.so"
loadmodule "corex.so"
loadmodule "maxfwd.so"
loadmodule "textops.so"
loadmodule "siputils.so"
modparam("rr", "append_fromtag", 1)
request_route {{
    if (!mf_process_maxfwd_header("10")) {{
        sl_send_reply("483", "Too Many Hops");
        exit;
    }}
    if (has_totag()) {{
        if (loose_route()) {{
            t_relay();
        }} else if (is_method("ACK")) {{
            if (t_check_trans()) t_relay();
        }} else {{
            sl_send_reply("404", "Not here");
        }}
        exit;
    }}
    if (is_method("CANCEL")) {{
        if (t_check_trans()) t_relay();
        exit;
    }}
    t_check_trans();
    remove_hf("Route");{routes}
    if (is_method("INVITE")) record_route();
    t_relay();
}}
"""


class Network:
    """A /24 of the loopback network that nobody else uses at the moment."""

    def __init__(self):
        while True:
            self.prefix = f"127.{random.randrange(60, 250)}.{random.randrange(1, 250)}"
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
                try:
                    probe.bind((f"{self.prefix}.9", 5060))
                    break
                except OSError:
                    continue
        self.network = ipaddress.IPv4Network(f"{self.prefix}.0/24")
        self.proxy = self.address(2)
        self.commander = self.address(9)
        self.callers = {False: self.address(21), True: self.address(22)}
        self.called = {False: self.address(23), True: self.address(24)}
        self.baresip = self.address(40)

    def address(self, number):
        return f"{self.prefix}.{number}"

    def server(self, index):
        return self.address(11 + index)

    @property
    def phones(self):
        return {*self.callers.values(), *self.called.values(), self.baresip}


def make_server(network, directory, index, *, hep, recovery, prefix=None):
    """An Asterisk that is not started yet: a stock one with the recovery module beside it."""
    name = f"ast-{'abc'[index]}"
    direct = ",".join([network.callers[False], network.called[False], network.baresip])
    endpoints = [
        Endpoint("phones", match=direct),
        Endpoint("edge", match=network.proxy,
                 options={"outbound_proxy": f"sip:{network.proxy}:5060\\;lr"}),
    ]
    server = Asterisk(
        name, directory / name, prefix=prefix, sip_address=network.server(index), sip_port=5060,
        endpoints=endpoints, dialplan=DIALPLAN, rtp_ports=(10000, 19998), recovery=recovery,
        hep=Hep(*hep, capture_id=101 + index) if hep else None)
    return server


def install_sounds(server, sound):
    folder = server.directory / "data" / "sounds" / "en"
    folder.mkdir(parents=True, exist_ok=True)
    link = folder / "demo.ulaw"
    if not link.exists():
        link.symlink_to(sound)


class Melody:
    """A rising scale, a note a second, 24 seconds long and again: whoever listens hears whether
    the music goes on where it was. G.711 mu-law, which Asterisk plays as it is, so that a packet
    tells from where in the melody it is."""

    def __init__(self):
        self._loop = b"".join(_note(220.0 * 2 ** (step / 12)) for step in range(24))

    def write(self, path, seconds):
        path.write_bytes((self._loop * (seconds // 24 + 1))[:seconds * 8000])

    def shift(self, last, first):
        """Seconds from the end of packet `last` to the begin of packet `first` in the melody, or
        None when one of them is not from it."""
        twice = self._loop + self._loop[:len(last)]
        a, b = twice.find(last), twice.find(first)
        if a < 0 or b < 0:
            return None
        size = len(self._loop)
        samples = (b - a - len(last) + size // 2) % size - size // 2
        return samples / 8000


def _note(hertz):
    samples = bytearray()
    for n in range(8000):
        edge = min(n, 7999 - n) / 400  # soft ends
        fading = 1.0 - 0.6 * n / 8000  # as of a string; it also makes every packet another one
        value = 12000 * fading * min(1.0, edge) * math.sin(2 * math.pi * hertz * n / 8000)
        samples.append(_mu_law(round(value)))
    return bytes(samples)


def _mu_law(sample):
    sign = 0x80 if sample < 0 else 0
    magnitude = min(abs(sample) + 0x84, 32767)
    exponent = max(magnitude.bit_length() - 8, 0)
    return ~(sign | exponent << 4 | (magnitude >> (exponent + 3)) & 0x0F) & 0xFF


class Kamailio(Program):
    def __init__(self, directory, address, routes=""):
        """`routes` is what it does with the first request of a call before it forwards it."""
        folder = directory / "kamailio"
        folder.mkdir()
        (folder / "kamailio.cfg").write_text(_KAMAILIO.format(address=address, routes=routes))
        # In a process namespace of its own, its workers end with it in every case.
        super().__init__(directory, "kamailio", [
            "unshare", "--fork", "--pid", "--kill-child", "kamailio", "-f", str(folder / "kamailio.cfg"), "-DD", "-E", "-m", "64", "-M", "8",
            "-Y", str(folder), "-P", str(folder / "kamailio.pid")])
        self._wait(address)

    def _wait(self, address):
        """Answers a SIP request (with 483, as its Max-Forwards is used up) when it is up."""
        request = (f"OPTIONS sip:{address} SIP/2.0\r\nVia: SIP/2.0/UDP %s;branch=z9hG4bKup\r\n"
                   f"Max-Forwards: 0\r\nFrom: <sip:up@{address}>;tag=up\r\n"
                   f"To: <sip:{address}>\r\nCall-ID: up\r\nCSeq: 1 OPTIONS\r\n"
                   "Content-Length: 0\r\n\r\n")
        deadline = time.monotonic() + 15
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.bind(("127.0.0.1", 0))
            probe.settimeout(0.1)
            at = "%s:%d" % probe.getsockname()
            while time.monotonic() < deadline and self.process.poll() is None:
                try:
                    probe.sendto((request % at).encode(), (address, 5060))
                    probe.recv(4096)
                    return
                except OSError:
                    continue
        raise RuntimeError(f"Kamailio did not start: {self.log()}")


class Media(Program):
    """The RTP ends of the phones (media.cc)."""

    def __init__(self, directory, program):
        super().__init__(directory, "media", [str(program)], stdin=subprocess.PIPE,
                         stdout=subprocess.PIPE)
        self._lock = threading.Lock()

    def command(self, *words):
        with self._lock:
            self.process.stdin.write((" ".join(map(str, words)) + "\n").encode())
            self.process.stdin.flush()

    def report(self):
        self.command("report")
        return {(p["ip"], p["port"]): p for p in json.loads(self.process.stdout.readline())}


class Tap(Program):
    """The tap of wire.py; it writes what servers want their media to be into Media's input."""

    def __init__(self, directory, network, servers, media):
        self.file = directory / "wire.pcap"
        command = [sys.executable, str(HERE / "wire.py"), "--file", str(self.file),
                   "--network", str(network)]
        for server in servers:
            command += ["--server", server]
        super().__init__(directory, "tap", command, stdout=media.process.stdin)
        self.wait_for_log("tapping", 10)


def raise_file_limit():
    """A thousand calls need some thousand sockets; children inherit the limit."""
    import resource
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 65536 if hard == resource.RLIM_INFINITY else min(65536, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    return wanted


def free_udp_port(address):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind((address, 0))
        return probe.getsockname()[1]


def require_root():
    if os.geteuid() != 0:
        raise RuntimeError("the demo records the loopback traffic, which needs root: run it as "
                           "root, or with sudo")


class Lab:
    """All machines of the demo, and their orderly end."""

    def __init__(self, directory, *, media_program, sound_seconds=900, recovery=True, hep=True):
        self.directory = directory
        self.network = Network()
        self.hep = ("127.0.0.1", 0)
        self.servers, self.flows, self._open = [], {}, []
        self.melody = Melody()
        raise_file_limit()
        self._media_program, self._recovery, self._use_hep = media_program, recovery, hep
        self._sound_seconds = sound_seconds

    def start(self):
        from callflow import Book, CallFlow
        from calls import WireReader
        from phones import Commander

        sound = self.directory / "demo.ulaw"
        self.melody.write(sound, self._sound_seconds)
        self.hep = (self.network.address(3), 9060) if self._use_hep else None
        self.servers = [make_server(self.network, self.directory, index, hep=self.hep,
                                    recovery=self._recovery) for index in range(3)]
        for server in self.servers:
            install_sounds(server, sound)
        for server in self.servers:
            server.start(timeout=60)
        self.proxy = self._keep(Kamailio(self.directory, self.network.proxy))
        self.media = self._keep(Media(self.directory, self._media_program))
        self.tap = self._keep(Tap(self.directory, self.network.network,
                                  [s.sip_address for s in self.servers], self.media))
        self.wire = WireReader(self.tap.file)
        self.commander = self._keep(Commander(self.network.commander))
        self.book = Book()
        for server in self.servers:
            self.flows[server.name] = CallFlow(server, self.book)
        return self

    def restart(self, server):
        """A server starts again, as a new incarnation."""
        from callflow import CallFlow

        self.flows.pop(server.name).close()
        if server.running():
            server.kill()
        server.start(timeout=60)
        self.flows[server.name] = CallFlow(server, self.book)

    def _keep(self, part):
        self._open.append(part)
        return part

    def keep(self, part):
        """Has the lab close this, too, when it ends; the last one first."""
        return self._keep(part)

    def open_media(self, calls):
        for phone in calls.phones:
            if phone.has_media and not phone.real:
                table = (self.network.called if phone.kind == "outbound"
                         else self.network.callers)
                self.media.command("phone", table[phone.through_proxy], phone.media_port)

    def close(self):
        for flow in self.flows.values():
            flow.close()
        for part in reversed(self._open):
            part.close()
        for server in self.servers:
            server.close(keep=True)
