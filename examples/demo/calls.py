# SPDX-License-Identifier: Apache-2.0
"""A set of calls placed on one server, and what the wire says of them."""

import os
import struct
import time

from checker import Checker
from phones import Baresip, SippPhones
from wire import Post, message_of_frame


class WireReader:
    """Reads the tap's file as it grows."""

    def __init__(self, path):
        self.path, self._at = path, 24

    def size(self):
        return os.stat(self.path).st_size

    def skip(self):
        """Forgets what is there already."""
        self.messages()

    def messages(self):
        with open(self.path, "rb") as file:
            file.seek(self._at)
            data = file.read()
        found, at = [], 0
        while at + 16 <= len(data):
            seconds, nanoseconds, size, _ = struct.unpack_from("<IIII", data, at)
            if at + 16 + size > len(data):
                break
            frame = data[at + 16:at + 16 + size]
            found.append(message_of_frame(seconds + nanoseconds * 1e-9, frame))
            at += 16 + size
        self._at += at
        return found


class Calls:
    """Phones with their calls. The wire is the only source of what happened to them."""

    def __init__(self, lab, phones, server, *, directory, rate=50, listener=True):
        self.lab, self.phones, self.server = lab, phones, server
        self.kills = []  # (time, server)
        self._directory, self._rate = directory, rate
        self._sipp, self._baresip, self._listener = [], None, None
        self._use_listener = listener
        network = lab.network
        self.checker = Checker([s.sip_address for s in lab.servers], network.phones,
                               [p.user for p in phones if p.kind == "outbound"])
        self._pending_events = []
        self.transcript, self.posts = [], []
        lab.wire.skip()

    # -- placing ------------------------------------------------------------------------------

    def place(self):
        """Starts the phones and has the server call those that are to be called."""
        network, server = self.lab.network, self.server
        self.lab.book.begin(self.phones)
        self._directory.mkdir(parents=True, exist_ok=True)
        sip = f"{server.sip_address}:5060"
        for calling in (False, True):
            for through_proxy in (False, True):
                group = [p for p in self.phones
                         if (p.kind != "outbound") == calling and p.through_proxy == through_proxy
                         and not (p.real and self._use_listener)]
                if not group:
                    continue
                addresses = network.callers if calling else network.called
                name = ("calling-" if calling else "called-") + (
                    "proxy" if through_proxy else "direct")
                self._sipp.append(SippPhones(
                    self._directory, name, addresses[through_proxy], group, calling=calling,
                    through_proxy=through_proxy, server=sip, proxy=f"{network.proxy}:5060",
                    rate=self._rate))
        flow = self.lab.flows[server.name]
        time.sleep(0.3)  # SIPp opens its port
        for phone in self.phones:
            if phone.kind == "outbound":
                address = network.called[phone.through_proxy]
                flow.call_out(phone, f"sip:{phone.user}@{address}:5060")
                time.sleep(1.0 / self._rate)
        if self._use_listener:
            listener = next(p for p in self.phones if p.real)
            self._baresip = self._listener = Baresip(self._directory, network.baresip, listener.user, sip)
            self._baresip.call()

    @property
    def heard_file(self):
        """What the phone that a person can listen to heard, or None."""
        return self._listener.heard if self._listener else None

    # -- the wire -----------------------------------------------------------------------------

    def died(self, server, at):
        self.kills.append((at, server))
        self._pending_events.append((at, lambda: self.checker.kill(server.sip_address, at)))

    def read(self):
        """Takes in what was seen on the wire since the last time."""
        for message in self.lab.wire.messages():
            if isinstance(message, Post):
                self.posts.append(message)
                continue
            while self._pending_events and self._pending_events[0][0] <= message.time:
                self._pending_events.pop(0)[1]()
            self.transcript.append(message)
            self.checker.feed(message)
        if self._pending_events and self._pending_events[0][0] < time.time() - 0.5:
            self._pending_events.pop(0)[1]()

    def dialogs(self):
        return {dialog.user: dialog for dialog in self.checker.dialogs.values()}

    def answered(self):
        return [d for d in self.checker.dialogs.values() if d.answered]

    def wait(self, done, timeout, quiet=0.25):
        """Reads the wire whenever it has been quiet for a moment, until done() or timeout. Reading
        only then keeps the processors free for what is being measured."""
        deadline, size, since = time.monotonic() + timeout, -1, time.monotonic()
        while True:
            now, current = time.monotonic(), self.lab.wire.size()
            if current != size:
                size, since = current, now
            if now - since >= quiet or now > deadline:
                self.read()
                if done():
                    return True
                if now > deadline:
                    return False
                since = now
            time.sleep(0.05)

    def wait_answered(self, timeout):
        return self.wait(lambda: len(self.answered()) == len(self.phones), timeout)

    def moved_from(self, server, since):
        """The recoveries of this death, by dialog: (dialog, recovery)."""
        return [(d, r) for d in self.checker.dialogs.values() for r in d.recoveries
                if r.old == server.sip_address and r.invited >= since]

    # -- commands -----------------------------------------------------------------------------

    def address(self, phone):
        network = self.lab.network
        if phone.real and self._use_listener:
            return network.baresip
        table = network.called if phone.kind == "outbound" else network.callers
        return table[phone.through_proxy]

    def hold(self):
        """Of the calls on hold, the phone holds every second; the server holds the others."""
        dialogs = self.dialogs()
        flow = self.lab.flows[self.server.name]
        by_call = {c.get("protocol_id"): c["id"] for c in flow.channels()}
        for index, phone in enumerate(p for p in self.phones if p.kind == "hold"):
            dialog = dialogs.get(phone.user)
            if dialog is None:
                continue
            if index % 4 < 2:
                self.lab.commander.send("HOLD", self.address(phone), dialog.call_id)
            elif dialog.call_id in by_call:
                flow.hold(by_call[dialog.call_id])

    def hang_up(self, timeout):
        """Every phone that still talks hangs up; returns when all BYEs have their answer."""
        dialogs = self.dialogs()
        for phone in self.phones:
            dialog = dialogs.get(phone.user)
            if dialog is None or dialog.ended:
                continue
            if phone.real and self._use_listener:
                self._baresip.hang_up()
            else:
                self.lab.commander.send("HANGUP", self.address(phone), dialog.call_id)
            time.sleep(0.5 / self._rate)
        self.wait(lambda: all(d.ended_by == "server" or d.bye_status
                              for d in self.checker.dialogs.values()), timeout)

    def close(self):
        deadline = time.monotonic() + 2
        for phones in self._sipp:
            phones.wait(max(0, deadline - time.monotonic()))
            phones.close()
        if self._baresip:
            self._baresip.close()
        self._sipp, self._baresip = [], None
