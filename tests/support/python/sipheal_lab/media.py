# SPDX-License-Identifier: Apache-2.0
"""RTP at a phone: counts what arrives, and sends on request."""

import random
import socket
import struct
import threading
import time


class Media:
    """One RTP port. received and arrivals tell what came; send() starts a PCMU stream."""

    def __init__(self, address="127.0.0.1"):
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        while True:
            self._socket.bind((address, 0))
            if self._socket.getsockname()[1] % 2 == 0:
                break
            self._socket.close()
            self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.address, self.port = self._socket.getsockname()
        self.arrivals = []  # (monotonic time, source)
        self._changed = threading.Condition()
        self._target = None
        self._closed = False
        self._sender = None
        self._receiver = threading.Thread(target=self._receive, daemon=True)
        self._receiver.start()

    @property
    def received(self):
        return len(self.arrivals)

    def _receive(self):
        while not self._closed:
            try:
                data, source = self._socket.recvfrom(4096)
            except OSError:
                return
            if len(data) >= 12 and data[0] >> 6 == 2:
                with self._changed:
                    self.arrivals.append((time.monotonic(), source))
                    self._changed.notify_all()

    def wait_received(self, count, timeout=5.0, source=None):
        """Waits until count packets have come (from source, if given) from now on."""
        start = len(self.arrivals)

        def enough():
            fresh = self.arrivals[start:]
            return sum(1 for _, origin in fresh if source in (None, origin)) >= count

        with self._changed:
            if not self._changed.wait_for(enough, timeout):
                raise AssertionError(
                    f"{len(self.arrivals) - start} RTP packets came at {self.port}, not {count}"
                    + (f" from {source}" if source else ""))

    def send(self, host, port):
        """Streams silence to an address every 20 ms; a new address replaces the old."""
        self._target = (host, port)
        if not self._sender:
            self._sender = threading.Thread(target=self._send, daemon=True)
            self._sender.start()

    def _send(self):
        sequence, stamp, ssrc = random.getrandbits(15), random.getrandbits(31), random.getrandbits(32)
        due = time.monotonic()
        while not self._closed:
            header = struct.pack("!BBHII", 0x80, 0, sequence & 0xFFFF, stamp & 0xFFFFFFFF, ssrc)
            try:
                self._socket.sendto(header + b"\xff" * 160, self._target)
            except OSError:
                pass
            sequence, stamp, due = sequence + 1, stamp + 160, due + 0.02
            time.sleep(max(0.0, due - time.monotonic()))

    def close(self):
        self._closed = True
        try:
            self._socket.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self._socket.close()
