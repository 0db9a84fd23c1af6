# SPDX-License-Identifier: Apache-2.0
"""What was on the wire: the tap that records the SIP of the demo's network, and SIP messages.

Run as a program, this file is the tap: it writes a pcap file until it is told to end, and tells the
phones' media where each server wants their RTP.
"""

import argparse
import collections
import ctypes
import dataclasses
import ipaddress
import pathlib
import re
import signal
import socket
import struct
import sys

# Also for the tap, which is started without the paths of the demo.
_ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(_ROOT / "tests" / "support" / "python"))

from sipheal_lab.sip_message import split_list  # noqa: E402

_COMPACT = {"v": "via", "f": "from", "t": "to", "i": "call-id", "m": "contact",
            "c": "content-type", "l": "content-length", "k": "supported"}
_AUDIO_PORT = re.compile(rb"\nm=audio (\d+)")
_AUDIO_ADDRESS = re.compile(rb"\nc=IN IP4 ([0-9.]+)")
_CALL_ID = re.compile(rb"\r\n(?:Call-ID|i)[ \t]*:[ \t]*([^\r\n]+)", re.IGNORECASE)
_PCAP_MAGIC_NS = 0xA1B23C4D
_ETHERNET = 1


class Message:
    """One SIP message with its time (wall clock, seconds), source and destination."""

    __slots__ = ("time", "source", "destination", "start", "headers", "body")

    def __init__(self, time, source, destination, data):
        self.time, self.source, self.destination = time, source, destination
        text = data.decode("utf-8", "replace") if isinstance(data, bytes) else data
        head, _, self.body = text.partition("\r\n\r\n")
        head = re.sub(r"\r\n[ \t]+", " ", head)
        lines = head.split("\r\n")
        self.start = lines[0]
        self.headers = collections.defaultdict(list)
        for line in lines[1:]:
            name, colon, value = line.partition(":")
            if colon:
                name = name.strip().lower()
                self.headers[_COMPACT.get(name, name)].append(value.strip())

    def first(self, name):
        values = self.headers.get(name)
        return values[0] if values else ""

    @property
    def is_request(self):
        return not self.start.startswith("SIP/2.0")

    @property
    def method(self):
        """Of a request its method, of a response the method that it answers."""
        return self.start.split(" ", 1)[0] if self.is_request else self.cseq[1]

    @property
    def status(self):
        return 0 if self.is_request else int(self.start.split(" ")[1])

    @property
    def request_uri(self):
        return self.start.split(" ")[1]

    @property
    def call_id(self):
        return self.first("call-id")

    @property
    def cseq(self):
        number, _, method = self.first("cseq").partition(" ")
        return (int(number) if number.isdigit() else -1), method.strip()

    @property
    def branch(self):
        return parameter(self.first("via"), "branch")

    def tag(self, header):
        return parameter(self.first(header), "tag")

    def uri(self, header):
        return name_addr_uri(self.first(header))

    def list(self, header):
        """The URIs of a header that is a list (Route, Record-Route), in order."""
        values = []
        for value in self.headers.get(header, ()):
            values += split_list(value)
        return [name_addr_uri(value) for value in values]

    def __repr__(self):
        return f"{self.start!r} {self.source} > {self.destination}"


def parameter(value, name):
    """A header parameter (after the closing bracket of the address, if it has one)."""
    tail = value.rpartition(">")[2]
    found = re.search(r";\s*" + name + r"\s*=\s*([^;,\s]+)", tail, re.IGNORECASE)
    return found.group(1) if found else ""


def name_addr_uri(value):
    found = re.search(r"<([^>]*)>", value)
    return found.group(1) if found else value.split(";")[0].strip()


def sdp_origin(body):
    """(user, session id, version) of an SDP body's o= line, or None."""
    found = re.search(r"^o=(\S+) (\d+) (\d+) ", body, re.MULTILINE)
    return (found.group(1), int(found.group(2)), int(found.group(3))) if found else None


@dataclasses.dataclass
class Post:
    """An ARI request seen on the wire."""
    time: float
    port: int
    path: str


def message_of_frame(time, frame):
    """The SIP message, or the ARI request, in an Ethernet frame that the tap took."""
    transport = 14 + (frame[14] & 0x0F) * 4
    source_port, destination_port = struct.unpack_from("!HH", frame, transport)
    if frame[23] == socket.IPPROTO_TCP:
        text = frame[transport + (frame[transport + 12] >> 4) * 4:]
        return Post(time, destination_port, text.split(b" ", 2)[1].decode("ascii", "replace"))
    source, destination = (socket.inet_ntoa(frame[26:30]), socket.inet_ntoa(frame[30:34]))
    return Message(time, (source, source_port), (destination, destination_port),
                   frame[transport + 8:])


def _filter(network):
    """Classic BPF: UDP within the network whose payload begins with a capital letter, as SIP does
    and RTP does not ('H' is HEP, and the demo's commands to its phones); and TCP to 127.0.0.1
    whose payload begins with POST, which is ARI."""
    load_half, load_byte, load_word = 0x28, 0x30, 0x20
    load_byte_indexed, load_word_indexed, index_from_ip, to_index = 0x50, 0x40, 0xB1, 0x07
    equal, at_least, above, mask, shift_right, add_index, give = (
        0x15, 0x35, 0x25, 0x54, 0x74, 0x0C, 0x06)
    tcp, drop = 13, 24
    program = [
        (load_half, 0, 0, 12), (equal, 0, "drop", 0x0800),
        (load_byte, 0, 0, 23), (equal, 0, "tcp", socket.IPPROTO_UDP),
        (load_word, 0, 0, 30), (mask, 0, 0, int(network.netmask)),
        (equal, 0, "drop", int(network.network_address)),
        (index_from_ip, 0, 0, 14), (load_byte_indexed, 0, 0, 14 + 8),
        (at_least, 0, "drop", ord("A")), (above, "drop", 0, ord("Z")),
        (equal, "drop", 0, ord("H")),
        (give, 0, 0, 65535),
        (equal, 0, "drop", socket.IPPROTO_TCP),
        (load_word, 0, 0, 30), (equal, 0, "drop", 0x7F000001),
        (index_from_ip, 0, 0, 14), (load_byte_indexed, 0, 0, 14 + 12),
        (mask, 0, 0, 0xF0), (shift_right, 0, 0, 2), (add_index, 0, 0, 0), (to_index, 0, 0, 0),
        (load_word_indexed, 0, 0, 14), (equal, 1, 0, int.from_bytes(b"POST", "big")),
        (give, 0, 0, 0), (give, 0, 0, 65535),
    ]
    places = {"tcp": tcp, "drop": drop}

    def distance(at, place):
        return places[place] - at - 1 if isinstance(place, str) else place

    return b"".join(struct.pack("HBBI", code, distance(at, true), distance(at, false), value)
                    for at, (code, true, false, value) in enumerate(program))


class Tap:
    """Records the SIP of a network on the loopback interface. Needs root (a packet socket)."""

    def __init__(self, path, network, servers, media):
        self._file = open(path, "wb", buffering=0)
        self._file.write(struct.pack("<IHHiIII", _PCAP_MAGIC_NS, 2, 4, 0, 0, 65535, _ETHERNET))
        self._servers, self._media = set(servers), media
        self._phones, self._wanted = {}, {}  # by Call-ID: the phone's RTP address, the server's
        steps = _filter(network)
        buffer = ctypes.create_string_buffer(steps, len(steps))
        so_attach_filter, so_rcvbufforce, so_timestampns = 26, 33, 35
        sol_packet, packet_ignore_outgoing = 263, 23
        self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x0800))
        self._socket.setsockopt(socket.SOL_SOCKET, so_attach_filter,
                                struct.pack("HL", len(steps) // 8, ctypes.addressof(buffer)))
        self._socket.setsockopt(sol_packet, packet_ignore_outgoing, 1)
        self._socket.setsockopt(socket.SOL_SOCKET, so_rcvbufforce, 64 << 20)
        self._socket.setsockopt(socket.SOL_SOCKET, so_timestampns, 1)
        self._socket.bind(("lo", 0))

    def run(self):
        while True:
            frame, controls, _, _ = self._socket.recvmsg(65536, 256)
            seconds, nanoseconds = struct.unpack("qq", controls[0][2][:16])
            size = len(frame)
            self._file.write(struct.pack("<IIII", seconds, nanoseconds, size, size) + frame)
            if b"\nm=audio " in frame:
                self._learn(frame)

    def _learn(self, frame):
        """Cheaper than taking the message apart: this runs while calls are being recovered."""
        port = _AUDIO_PORT.search(frame)
        address = _AUDIO_ADDRESS.search(frame)
        call = _CALL_ID.search(frame)
        if not port or not address or not call:
            return
        audio, call = (address.group(1).decode(), int(port.group(1))), call.group(1)
        source = socket.inet_ntoa(frame[26:30])
        if source in self._servers:
            self._wanted[call] = audio
        elif audio[0] == source:
            self._phones[call] = audio
        phone, server = self._phones.get(call), self._wanted.get(call)
        if phone and server:
            print("target", *phone, *server, file=self._media, flush=True)


def main():
    parser = argparse.ArgumentParser(description="Records the SIP of a loopback network.")
    parser.add_argument("--file", required=True)
    parser.add_argument("--network", required=True, type=ipaddress.IPv4Network)
    parser.add_argument("--server", action="append", default=[], help="address of a media server")
    arguments = parser.parse_args()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: sys.exit(0))
    tap = Tap(arguments.file, arguments.network, arguments.server, sys.stdout)
    print("tapping", file=sys.stderr, flush=True)
    try:
        tap.run()
    except BrokenPipeError:
        pass  # the phones' media ended first


if __name__ == "__main__":
    main()
