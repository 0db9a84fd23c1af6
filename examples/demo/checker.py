# SPDX-License-Identifier: Apache-2.0
"""Judges from the wire what every phone saw: each INVITE that a server sends must be the one call
that was asked for, or a right re-INVITE of the dialog that the phone has.

The checker keeps each phone's dialog by RFC 3261 section 12, from the messages that passed at the
servers' side, and shares nothing with sipheal.
"""

import dataclasses
import re

from wire import sdp_origin

# So much higher may a successor's o= version be, since nobody can know all offers of the dead.
UNSEEN_OFFERS = 1000


@dataclasses.dataclass
class Fault:
    time: float
    call_id: str
    what: str


@dataclasses.dataclass
class Recovery:
    """A re-INVITE by which a dialog came to another server."""
    old: str
    new: str
    invited: float
    answered: float = 0.0
    acknowledged: float = 0.0
    cseq: int = 0


@dataclasses.dataclass(eq=False)
class Dialog:
    """One phone's dialog. `owner` is the server that holds it, by address."""
    call_id: str
    user: str
    phone: tuple
    phone_calls: bool
    owner: str = ""
    server_uri: str = ""
    phone_uri: str = ""
    server_tag: str = ""
    phone_tag: str = ""
    server_cseq: int = 0
    target: str = ""  # the phone's Contact
    routes: list = dataclasses.field(default_factory=list)  # the server's route set
    origin: tuple = None  # of the server's last SDP
    began: float = 0.0
    answered: float = 0.0
    ended: float = 0.0
    ended_by: str = ""  # "phone" or "server"
    bye_status: int = 0  # the final answer to the phone's BYE
    recoveries: list = dataclasses.field(default_factory=list)
    faults: list = dataclasses.field(default_factory=list)
    warnings: list = dataclasses.field(default_factory=list)


class Checker:
    """servers, phones: sets of addresses. outbound: the users that servers were told to call, each
    once. kill(), restart() and messages come in the order of time."""

    def __init__(self, servers, phones, outbound=()):
        self.servers, self.phones = set(servers), set(phones)
        self.expected = set(outbound)
        self.dialogs = {}
        self.faults = []
        self._dead = {}  # server: when it died
        self._seen = set()  # transactions of servers
        self._byes = {}  # Call-ID and CSeq of phones' BYEs

    def kill(self, server, time):
        self._dead[server] = time

    def restart(self, server):
        self._dead.pop(server, None)

    def feed(self, message):
        source, destination = message.source[0], message.destination[0]
        if message.method == "BYE":
            self._bye(message, source, destination)
        elif message.method == "INVITE":
            if message.is_request and source in self.servers:
                self._invite_by_server(message, source)
            elif message.is_request and destination in self.servers:
                self._invite_by_phone(message)
            elif not message.is_request and 200 <= message.status < 300:
                if source in self.servers:
                    self._answer_by_server(message, source)
                elif destination in self.servers:
                    self._answer_by_phone(message, destination)
        elif message.method == "ACK" and source in self.servers:
            self._ack_by_server(message, source)

    # -- what phones do -----------------------------------------------------------------------

    def _invite_by_phone(self, message):
        dialog = self.dialogs.get(message.call_id)
        if dialog is None and not message.tag("to"):
            user = message.request_uri.partition(":")[2].partition("@")[0]
            self.dialogs[message.call_id] = Dialog(
                message.call_id, user, message.source, True, began=message.time,
                phone_uri=message.uri("from"), server_uri=message.uri("to"),
                phone_tag=message.tag("from"), target=message.uri("contact"),
                routes=message.list("record-route"))
        elif dialog is not None:
            dialog.target = message.uri("contact") or dialog.target

    def _answer_by_server(self, message, server):
        dialog = self.dialogs.get(message.call_id)
        if dialog is None:
            return
        if not dialog.answered:
            dialog.server_tag, dialog.owner = message.tag("to"), server
            dialog.answered = message.time
        dialog.origin = sdp_origin(message.body) or dialog.origin

    def _answer_by_phone(self, message, server):
        """A 2xx to a server's INVITE, as it comes back to that server."""
        dialog = self.dialogs.get(message.call_id)
        if dialog is None:
            return
        if not dialog.answered:
            dialog.phone_tag, dialog.answered = message.tag("to"), message.time
            dialog.target = message.uri("contact")
            dialog.routes = message.list("record-route")[::-1]
            return
        for recovery in dialog.recoveries:
            if recovery.new == server and recovery.cseq == message.cseq[0]:
                if not recovery.answered:
                    recovery.answered = message.time
                    dialog.owner = server
        dialog.target = message.uri("contact") or dialog.target

    def _bye(self, message, source, destination):
        dialog = self.dialogs.get(message.call_id)
        if dialog is None:
            return
        key = (message.call_id, message.cseq[0])
        if message.is_request:
            if not dialog.ended:
                dialog.ended = message.time
                dialog.ended_by = "server" if source in self.servers else "phone"
            if source in self.phones:
                self._byes[key] = True
        elif destination in self.phones and key in self._byes and message.status >= 200:
            dialog.bye_status = dialog.bye_status or message.status

    # -- what servers do ----------------------------------------------------------------------

    def _invite_by_server(self, message, server):
        transaction = (server, message.call_id, message.branch, message.cseq[0])
        if transaction in self._seen:
            return  # retransmission
        self._seen.add(transaction)
        if not message.tag("to"):
            self._call_by_server(message, server)
            return
        dialog = self.dialogs.get(message.call_id)
        if dialog is None:
            self._fault(message, None, "a re-INVITE with a Call-ID that no phone has")
            return
        self._check_in_dialog(message, dialog, server)
        if message.cseq[0] > dialog.server_cseq:
            dialog.server_cseq = message.cseq[0]
        if server != dialog.owner:
            dialog.recoveries.append(
                Recovery(dialog.owner, server, message.time, cseq=message.cseq[0]))

    def _call_by_server(self, message, server):
        user = message.request_uri.partition(":")[2].partition("@")[0]
        if user not in self.expected:
            self._fault(message, self.dialogs.get(message.call_id),
                        "an INVITE without the phone's To tag: a new call rings")
            return
        self.expected.discard(user)
        self.dialogs[message.call_id] = Dialog(
            message.call_id, user, (), False, owner=server, began=message.time,
            server_uri=message.uri("from"), phone_uri=message.uri("to"),
            server_tag=message.tag("from"), server_cseq=message.cseq[0],
            origin=sdp_origin(message.body))

    def _check_in_dialog(self, message, dialog, server):
        def expect(what, seen, wanted):
            if seen != wanted:
                self._fault(message, dialog, f"wrong {what}: {seen!r} instead of {wanted!r}")

        if message.cseq[0] <= dialog.server_cseq:
            self._fault(message, dialog,
                        f"CSeq {message.cseq[0]} is not above {dialog.server_cseq}")
        expect("From tag", message.tag("from"), dialog.server_tag)
        expect("To tag", message.tag("to"), dialog.phone_tag)
        expect("From URI", _in_from_to(message.uri("from")), _in_from_to(dialog.server_uri))
        expect("To URI", _in_from_to(message.uri("to")), _in_from_to(dialog.phone_uri))
        expect("Request-URI", message.request_uri, dialog.target)
        expect("Route", message.list("route"), dialog.routes)
        hop = dialog.routes[0] if dialog.routes else dialog.target
        expect("destination", message.destination, _address(hop))
        expect("Contact", _address(message.uri("contact"))[0], server)
        if message.headers.get("record-route"):
            self._fault(message, dialog, "a Record-Route that a server put there")
        if dialog.ended:
            self._fault(message, dialog, "a re-INVITE after BYE")
        if not dialog.answered:
            self._fault(message, dialog, "a re-INVITE before the call was answered")
        if server != dialog.owner and dialog.owner not in self._dead:
            self._fault(message, dialog, f"moved while its server {dialog.owner} was alive")
        origin = sdp_origin(message.body)
        if origin and dialog.origin and not (
                origin[:2] == dialog.origin[:2] and
                dialog.origin[2] <= origin[2] <= dialog.origin[2] + 1 + UNSEEN_OFFERS):
            dialog.warnings.append(f"o= went from {dialog.origin} to {origin}")
        dialog.origin = origin or dialog.origin

    def _ack_by_server(self, message, server):
        dialog = self.dialogs.get(message.call_id)
        if dialog is None:
            return
        for recovery in dialog.recoveries:
            if recovery.new == server and recovery.cseq == message.cseq[0]:
                recovery.acknowledged = recovery.acknowledged or message.time

    def _fault(self, message, dialog, what):
        fault = Fault(message.time, message.call_id, what)
        self.faults.append(fault)
        if dialog is not None:
            dialog.faults.append(fault)


def _in_from_to(uri):
    """A URI as From and To hold it: without a port, which RFC 3261 table 1 does not allow there. A
    stock Asterisk drops one that a phone put there from all its requests, recovered or not."""
    return re.sub(r"^(sips?:(?:[^@]*@)?[^:;?]*):[0-9]+", r"\1", uri)


def _address(uri):
    """(address, port) of a SIP URI whose host is an IPv4 address."""
    host = uri.partition(":")[2].rpartition("@")[2].partition(";")[0].partition("?")[0]
    address, _, port = host.partition(":")
    return address, int(port) if port.isdigit() else 5060
