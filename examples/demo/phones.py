# SPDX-License-Identifier: Apache-2.0
"""The phones of the demo: SIPp for the many, baresip for one that a person can listen to."""

import dataclasses
import pathlib
import socket
import struct
import time

from processes import Program
from scenario import scenario


@dataclasses.dataclass
class Phone:
    """One phone's call: its user part tells the application what to do with it."""
    user: str
    kind: str  # playback, outbound, pair, conference, hold
    through_proxy: bool = False
    media_port: int = 0
    has_media: bool = True
    real: bool = False  # baresip instead of SIPp

    @property
    def group(self):
        """Phones that share a bridge have the same group; others have none."""
        return self.user[:-1] if self.kind in ("pair", "conference") else ""


FEWEST = 14  # each kind, direct and through the proxy


def make_phones(count, media_phones, first_media_port=20000):
    """A mix of all kinds of calls, half of them through the proxy; FEWEST or more. At most
    media_phones have RTP; the others are pairs and outbound calls that stay silent."""
    with_media = min(count, media_phones)
    shares = {"hold": 0.08, "conference": 0.18, "playback": 0.30, "outbound": 0.20}
    numbers = {"hold": max(2, round(with_media * shares["hold"])),
               "conference": 3 * max(1, round(with_media * shares["conference"] / 3)),
               "playback": max(3, round(with_media * shares["playback"])),
               "outbound": max(2, round(with_media * shares["outbound"]))}
    rest = with_media - sum(numbers.values())
    if rest % 2:
        numbers["playback"] += 1
    numbers["pair"] = max(2, rest - rest % 2)
    phones = []
    for kind, number in numbers.items():
        size = {"pair": 2, "conference": 3}.get(kind, 1)
        phones += _phones_of(kind, number, size, 0, True)
    silent = count - len(phones)
    phones += _phones_of("pair", (silent // 4) * 2, 2, 5000, False)
    phones += _phones_of("outbound", count - len(phones), 1, 5000, False)
    for index, phone in enumerate(phones):
        phone.media_port = first_media_port + 2 * index
        phone.through_proxy = index % 2 == 1
    first_direct = next(p for p in phones if p.kind == "playback" and not p.through_proxy)
    first_direct.real = True
    return phones


_WORDS = {"hold": "hold", "conference": "conf", "playback": "play", "outbound": "out",
          "pair": "pair"}


def _phones_of(kind, number, size, offset, has_media):
    phones = []
    for index in range(number):
        letter = "abc"[index % size] if size > 1 else ""
        user = f"{_WORDS[kind]}{offset + index // size + 1:04d}{letter}"
        phones.append(Phone(user, kind, has_media=has_media))
    return phones


class SippPhones(Program):
    """One SIPp process: phones that call (callers) or are called, all direct or all behind the
    proxy."""

    def __init__(self, directory, name, address, phones, *, calling, through_proxy, server, proxy,
                 rate):
        self.address, self.phones = address, phones
        directory = pathlib.Path(directory)
        text = scenario(calling=calling, through_proxy=through_proxy)
        (directory / f"{name}.xml").write_text(text)
        lines = ["SEQUENTIAL"] + [f"{p.user};{p.media_port};" for p in phones]
        (directory / f"{name}.csv").write_text("\n".join(lines) + "\n")
        command = ["sipp"]
        if calling:
            command += [proxy if through_proxy else server, "-r", str(rate), "-l", str(len(phones))]
        command += ["-sf", f"{name}.xml", "-inf", f"{name}.csv", "-key", "server", server,
                    "-key", "domain", server.partition(":")[0],
                    "-i", address, "-p", "5060", "-m", str(len(phones)), "-nostdin",
                    "-trace_err", "-error_file", f"{name}-errors.log", "-buff_size", "8000000",
                    "-default_behaviors", "all,-bye"]
        super().__init__(directory, name, command)

    def close(self, timeout=0.0):
        if self.running():
            self.process.kill()  # SIPp's orderly end waits for its calls
        super().close(timeout)


class Commander:
    """Sends HOLD and HANGUP to SIPp's phones."""

    def __init__(self, address):
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind((address, 0))
        self._number = 0

    def send(self, command, phone_address, call_id):
        self._number += 1
        host, port = self._socket.getsockname()
        text = (f"{command} sip:phone@{phone_address} SIP/2.0\r\n"
                f"Via: SIP/2.0/UDP {host}:{port};branch=z9hG4bKcommand{self._number}\r\n"
                f"From: <sip:demo@{host}>;tag={self._number}\r\nTo: <sip:phone@{phone_address}>\r\n"
                f"Call-ID: {call_id}\r\nCSeq: {self._number} {command}\r\n"
                "Content-Length: 0\r\n\r\n")
        self._socket.sendto(text.encode(), (phone_address, 5060))

    def close(self):
        self._socket.close()


_BARESIP = """module_path /usr/lib/baresip/modules
sip_listen {address}:5060
audio_player aubridge,heard
snd_path {folder}
audio_source aufile,{says}
audio_alert aufile,/dev/null
audio_channels 1
ausrc_channels 1
auplay_channels 1
ausrc_srate 8000
auplay_srate 8000
rtp_ports 30000-30100
net_interface {address}
ctrl_tcp_listen {address}:4444
module g711.so
module aubridge.so
module sndfile.so
module aufile.so
module_app account.so
module_app menu.so
module_app ctrl_tcp.so
"""


def _write_silence(path, seconds):
    """A WAV file, sparse on disk; baresip speaks it, since a microphone is not to be expected."""
    size = seconds * 16000
    with open(path, "wb") as file:
        file.write(b"RIFF" + struct.pack("<I", 36 + size) + b"WAVEfmt "
                   + struct.pack("<IHHIIHH", 16, 1, 1, 8000, 16000, 2, 16)
                   + b"data" + struct.pack("<I", size))
        file.truncate(44 + size)


class Baresip(Program):
    """A real softphone; what it hears is kept as a WAV file that a person can listen to."""

    def __init__(self, directory, address, user, server, certificate=""):
        self.address, self.user = address, user
        folder = pathlib.Path(directory) / "baresip"
        folder.mkdir()
        self._folder = folder
        says = folder / "says.wav"
        _write_silence(says, 1800)
        (folder / "config").write_text(
            _BARESIP.format(address=address, folder=folder, says=says)
            + (f"sip_certificate {certificate}\n" if certificate else ""))
        (folder / "accounts").write_text(
            f"<sip:listener@{address}>;regint=0;audio_codecs=pcmu\n")
        (folder / "contacts").write_text("")
        super().__init__(folder, "baresip", ["baresip", "-f", str(folder)])
        self._control = self._connect()
        self._server = server

    def _connect(self):
        deadline = time.monotonic() + 10
        while True:
            try:
                return socket.create_connection((self.address, 4444), timeout=1)
            except OSError:
                if time.monotonic() > deadline or not self.running():
                    raise RuntimeError("baresip did not start: see baresip/baresip.log") from None
                time.sleep(0.05)

    def command(self, name, parameters=""):
        """A command of its menu, by its long name."""
        text = f'{{"command":"{name}","params":"{parameters}"}}'
        self._control.sendall(f"{len(text)}:{text},".encode())

    @property
    def heard(self):
        """The WAV file of what it heard, or None."""
        return next(iter(sorted(self._folder.glob("dump-*-dec.wav"))), None)

    def call(self):
        self.command("dial", f"sip:{self.user}@{self._server}")

    def hang_up(self):
        self.command("hangup")

    def close(self, timeout=3.0):
        try:
            self.command("quit")
            self.wait(timeout)
        except OSError:
            pass  # it ended already
        self._control.close()
        super().close(timeout)
