# SPDX-License-Identifier: Apache-2.0
"""A strict SIP phone for tests.

It keeps its own view of each dialog (Call-ID, tags, both CSeq spaces, route set, remote target,
the other side's o= line and m-lines) by RFC 3261 and RFC 3264, and notes each breach of it in
violations. What it does with an INVITE is scripted by a queue of Answer objects; without one it
answers 200 at once. Every message is kept with its time.
"""

import copy
import dataclasses
import hashlib
import random
import re
import socket
import threading
import time

from sipheal_lab.media import Media
from sipheal_lab.sip_message import (Message, display_of, host_port, same_uri, uri_of,
                                     without_tag)

REASONS = {100: "Trying", 180: "Ringing", 183: "Session Progress", 200: "OK",
           302: "Moved Temporarily", 401: "Unauthorized", 403: "Forbidden",
           407: "Proxy Authentication Required", 408: "Request Timeout",
           422: "Session Interval Too Small", 481: "Call/Transaction Does Not Exist",
           486: "Busy Here", 487: "Request Terminated", 488: "Not Acceptable Here",
           491: "Request Pending", 500: "Server Internal Error", 503: "Service Unavailable",
           603: "Decline"}


@dataclasses.dataclass
class Answer:
    """How the phone answers one INVITE.

    status: the final answer, or 0 for none at all. provisional: statuses sent before it.
    to_tag: another tag than the dialog's, as of a phone that took the INVITE for a new call.
    record_route: values of Record-Route in the 2xx (None: those of the request).
    lose_acks: this many ACKs are ignored, as if lost, so that the 2xx is repeated.
    challenge: for 401 and 407, (username, password): the retry must carry the right digest.
    headers: more headers of the final answer. hold: wait for release() before the final answer.
    """

    status: int = 200
    provisional: tuple = ()
    to_tag: str = ""
    record_route: list = None
    lose_acks: int = 0
    challenge: tuple = None
    headers: tuple = ()
    hold: bool = False


def _token(bits=64):
    return f"{random.getrandbits(bits):x}"


class Dialog:
    """The phone's side of one dialog."""

    def __init__(self, phone, call_id, *, initiator):
        self.phone = phone
        self.call_id = call_id
        self.initiator = initiator
        self.local_tag = _token()
        self.remote_tag = ""
        self.local_seq = random.randrange(1, 5000)
        self.remote_seq = None
        self.local_party = ""  # From or To value of this side, without tag
        self.remote_party = ""
        self.remote_target = ""
        self.route_set = []
        self.remote_origin = ""
        self.remote_media = []
        self.sdp_version = random.randrange(1, 10**9)
        self.sdp_id = self.sdp_version
        self.direction = "sendrecv"
        self.rtp_target = None
        self.confirmed = False
        self.ended = False
        self.invite_cseq = None  # of the remote's INVITE that waits for its ACK
        self.acks_to_lose = 0
        self.retransmit = None
        self.media = Media(phone.address) if phone.with_media else None

    # -- what the other side's recovery needs --------------------------------------------------

    def recovery_variables(self, *, gap=1, **changes):
        """The PJSIP_RECOVERY_* variables of this dialog, from the phone's own knowledge.

        gap: how far above the server's last CSeq the next one is. changes: variables to replace,
        by name without prefix ('CALL_ID' for CALL-ID); None leaves one out.
        """
        values = {
            "FROM_DISPLAY": display_of(self.remote_party), "FROM_URI": uri_of(self.remote_party),
            "FROM_TAG": self.remote_tag, "TO_DISPLAY": display_of(self.local_party),
            "TO_URI": uri_of(self.local_party), "TO_TAG": self.local_tag,
            "CALL-ID": self.call_id, "CSEQ": str((self.remote_seq or 100) + gap),
            "REQUEST_URI": self.phone.contact_uri,
            "ROUTES": ",".join(reversed(self.route_set)), "REMOTE_CSEQ": str(self.local_seq),
            "SDP_ORIGIN": self.remote_origin, "SDP_MEDIA": ",".join(self.remote_media),
        }
        for name, value in changes.items():
            values["CALL-ID" if name == "CALL_ID" else name] = value
        return {f"PJSIP_RECOVERY_{name}": value for name, value in values.items()
                if value is not None}

    # -- requests ------------------------------------------------------------------------------

    def request(self, method, *, body="", content_type="", headers=(), cseq=None, to=None):
        """Sends a request in the dialog and returns its final response."""
        if cseq is None:
            self.local_seq += 1
            cseq = self.local_seq
        message = self._make(method, cseq, body, content_type, headers)
        return self.phone.transact(message, to or self.next_hop())

    def _make(self, method, cseq, body="", content_type="", headers=()):
        fields = [("Via", self.phone.via()), ("Max-Forwards", "70")]
        fields += [("Route", route) for route in self.route_set]
        fields += [("From", f"{self.local_party};tag={self.local_tag}"),
                   ("To", f"{self.remote_party};tag={self.remote_tag}"),
                   ("Call-ID", self.call_id), ("CSeq", f"{cseq} {method}"),
                   ("Contact", f"<{self.phone.contact_uri}>"), *headers]
        if body:
            fields.append(("Content-Type", content_type))
        return Message(f"{method} {self.remote_target} SIP/2.0", fields, body)

    def next_hop(self):
        return host_port(uri_of(self.route_set[0]) if self.route_set else self.remote_target)

    def bye(self):
        """Hangs up; returns the status of the answer."""
        self.ended = True
        self.retransmit = None
        return self.request("BYE").status

    def reinvite(self, direction="sendrecv"):
        """Sends an offer with this direction, acknowledges its 2xx, returns the response."""
        self.direction = direction
        self.sdp_version += 1
        response = self.request("INVITE", body=self.sdp(self.remote_media),
                                content_type="application/sdp")
        if 200 <= response.status < 300:
            self.phone.check_sdp(self, response)
            self.send_ack(response.cseq)
        return response

    def send_ack(self, cseq):
        self.phone.send(self._make("ACK", cseq), self.next_hop())

    def sdp(self, lines=None):
        """This side's SDP; with an offer's m-lines, an answer to it (audio only)."""
        port = self.media.port if self.media else 40000
        address = self.phone.address
        text = (f"v=0\r\no=phone {self.sdp_id} {self.sdp_version} IN IP4 {address}\r\ns=-\r\n"
                f"c=IN IP4 {address}\r\nt=0 0\r\n")
        audio = (f"m=audio {port} RTP/AVP 0 101\r\na=rtpmap:0 PCMU/8000\r\n"
                 f"a=rtpmap:101 telephone-event/8000\r\na={self.direction}\r\n")
        used = False
        for line in lines or ["audio 1 RTP/AVP 0"]:
            kind, offered, rest = line.split(" ", 2)
            if kind == "audio" and offered != "0" and not used:
                text, used = text + audio, True
            else:
                text += f"m={kind} 0 {rest}\r\n"
        return text


class Phone:
    """One phone on a UDP or TCP port of its own. Close it, or use it as a context manager."""

    def __init__(self, user="alice", *, address="127.0.0.1", transport="udp", media=False,
                 display="", strict_sdp=True, contact_parameters="", public=None):
        self.user, self.address, self.transport = user, address, transport
        self.display = display
        self.with_media = media
        self.strict_sdp = strict_sdp
        self.public = public  # (host, port) in the Contact, when not this socket
        self.messages = []
        self.violations = []
        self.dialogs = {}
        self.answers = []
        self._used = []
        self._changed = threading.Condition()
        self._connections = {}
        self._answered = {}  # (branch, method) -> response, for repeated requests
        self._held = []
        self._nonces = {}
        self._closed = False
        self._timers = []
        kind = socket.SOCK_STREAM if transport == "tcp" else socket.SOCK_DGRAM
        self._socket = socket.socket(socket.AF_INET, kind)
        self._socket.bind((address, 0))
        self.port = self._socket.getsockname()[1]
        suffix = ";transport=tcp" if transport == "tcp" else ""
        host, port = public or (address, self.port)
        self.contact_uri = f"sip:{user}@{host}:{port}{suffix}{contact_parameters}"
        if transport == "tcp":
            self._socket.listen(50)
        target = self._accept if transport == "tcp" else self._receive_udp
        threading.Thread(target=target, daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, kind, value, trace):
        self.close()

    def close(self):
        self._closed = True
        for timer in self._timers:
            timer.cancel()
        for dialog in self.dialogs.values():
            if dialog.media:
                dialog.media.close()
        for sock in [self._socket, *self._connections.values()]:
            try:
                sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
            sock.close()

    def go_deaf(self):
        """Closes the socket: from now on nothing is answered, as of a phone that lost power."""
        self.close()

    # -- transport -----------------------------------------------------------------------------

    def _receive_udp(self):
        while not self._closed:
            try:
                data, source = self._socket.recvfrom(65536)
            except OSError:
                return
            self._handle(data, source)

    def _accept(self):
        while not self._closed:
            try:
                connection, source = self._socket.accept()
            except OSError:
                return
            self._connections[source] = connection
            threading.Thread(target=self._receive_tcp, args=(connection, source),
                             daemon=True).start()

    def _receive_tcp(self, connection, source):
        buffer = b""
        while not self._closed:
            try:
                chunk = connection.recv(65536)
            except OSError:
                return
            if not chunk:
                return
            buffer += chunk
            while True:
                buffer = buffer.lstrip(b"\r\n")
                head, mark, rest = buffer.partition(b"\r\n\r\n")
                if not mark:
                    break
                length = re.search(rb"(?im)^(?:content-length|l)\s*:\s*(\d+)", head)
                size = int(length.group(1)) if length else 0
                if len(rest) < size:
                    break
                data, buffer = head + mark + rest[:size], rest[size:]
                self._handle(data, source)

    def send(self, message, to):
        """Sends a message to (host, port) and keeps it."""
        message = copy.copy(message)  # each repeat is kept with its own time
        message.time = time.monotonic()
        with self._changed:
            self.messages.append(message)
            self._changed.notify_all()
        data = message.encode()
        if self.transport == "udp":
            self._socket.sendto(data, to)
            return
        connection = self._connections.get(to)
        if connection is None:
            connection = socket.create_connection(to, timeout=5)
            connection.settimeout(None)
            self._connections[to] = connection
            threading.Thread(target=self._receive_tcp, args=(connection, to),
                             daemon=True).start()
        connection.sendall(data)

    def via(self):
        return (f"SIP/2.0/{self.transport.upper()} {self.address}:{self.port}"
                f";branch=z9hG4bK{_token()};rport")

    # -- waiting -------------------------------------------------------------------------------

    def wait(self, predicate, timeout=5.0, what="message"):
        """The first message, past or to come, for which predicate(message) holds."""
        deadline = time.monotonic() + timeout
        with self._changed:
            seen = 0
            while True:
                for message in self.messages[seen:]:
                    if predicate(message):
                        return message
                seen = len(self.messages)
                left = deadline - time.monotonic()
                if left <= 0:
                    raise AssertionError(f"no {what} within {timeout} s; {self.ladder()}")
                self._changed.wait(left)

    def wait_request(self, method, count=1, timeout=5.0):
        """The count-th received request of a method, repeats not counted."""
        deadline = time.monotonic() + timeout
        with self._changed:
            while True:
                found = self.requests(method)
                if len(found) >= count:
                    return found[count - 1]
                left = deadline - time.monotonic()
                if left <= 0:
                    raise AssertionError(
                        f"{len(found)} {method} within {timeout} s, not {count}; {self.ladder()}")
                self._changed.wait(left)

    def wait_until(self, condition, timeout=5.0, what="condition"):
        """Waits until condition() holds, looked at after each message."""
        with self._changed:
            if not self._changed.wait_for(condition, timeout):
                raise AssertionError(f"no {what} within {timeout} s; {self.ladder()}")

    def requests(self, method):
        """Received requests of a method, without repeats."""
        seen, found = set(), []
        for message in list(self.messages):
            if message.received and message.is_request and message.method == method:
                key = (message.branch, message.cseq)
                if key not in seen:
                    seen.add(key)
                    found.append(message)
        return found

    def repeats(self, method):
        """How many received requests of a method were repeats of an earlier one."""
        every = [m for m in list(self.messages)
                 if m.received and m.is_request and m.method == method]
        return len(every) - len(self.requests(method))

    def ladder(self):
        """All messages so far, one a line."""
        with self._changed:
            messages = list(self.messages)
        start = messages[0].time if messages else 0.0
        return f"{self.user} saw:\n" + "\n".join(
            f"  {m.time - start:7.3f} {m!r}" for m in messages) + "".join(
                f"\n  VIOLATION {v}" for v in self.violations)

    def violate(self, text):
        with self._changed:
            self.violations.append(text)

    # -- client side ---------------------------------------------------------------------------

    def transact(self, message, to, timeout=5.0):
        """Sends a request and returns its final response."""
        self.send(message, to)
        branch, method = message.branch, message.method
        return self.wait(
            lambda m: m.received and not m.is_request and m.status >= 200
            and m.branch == branch and m.method == method, timeout, f"answer to {method}")

    def call(self, target, *, to_display="", headers=(), next_hop=None, timeout=5.0):
        """Calls a URI, acknowledges its 200, returns the dialog."""
        dialog = Dialog(self, f"{_token()}@{self.address}", initiator=True)
        own = f"sip:{self.user}@{self.address}"
        dialog.local_party = (f'"{self.display}" ' if self.display else "") + f"<{own}>"
        dialog.remote_party = (f'"{to_display}" ' if to_display else "") + f"<{target}>"
        dialog.remote_target = target
        self.dialogs[dialog.call_id] = dialog
        message = dialog._make("INVITE", dialog.local_seq, dialog.sdp(), "application/sdp",
                               headers)
        message.set("To", dialog.remote_party)
        response = self.transact(message, next_hop or host_port(target), timeout)
        if response.status != 200:
            raise AssertionError(f"call was answered {response.status}; {self.ladder()}")
        dialog.remote_tag = response.to_tag
        dialog.remote_party = without_tag(response.get("To"))
        dialog.remote_target = uri_of(response.get("Contact"))
        dialog.route_set = list(reversed(response.listed("Record-Route")))
        self.check_sdp(dialog, response)
        dialog.confirmed = True
        dialog.send_ack(response.cseq)
        return dialog

    # -- server side ---------------------------------------------------------------------------

    def _handle(self, data, source):
        if not data.strip():
            return
        message = Message.parse(data, source)
        if message.is_request:
            key = (message.branch, message.method)
            with self._changed:
                self.messages.append(message)
                repeated = key in self._answered
                answer = self._answered.get(key)
                if not repeated:
                    self._answered[key] = None
                self._changed.notify_all()
            if repeated and message.method != "ACK":
                if answer is not None:
                    self.send(answer, source)
                return
            self._on_request(message, source)
        with self._changed:
            if not message.is_request:
                self.messages.append(message)
            self._changed.notify_all()

    def respond(self, request, status, *, to_tag="", headers=(), body="", record_route=None,
                repeatable=True):
        """Sends a response to a request; it is repeated when the request is."""
        fields = [("Via", value) for value in request.all("Via")]
        if 100 < status < 300:
            routes = request.all("Record-Route") if record_route is None else record_route
            fields += [("Record-Route", value) for value in routes]
        to = request.get("To")
        if status > 100 and not request.to_tag and to_tag:
            to += f";tag={to_tag}"
        elif to_tag and request.to_tag != to_tag:
            to = f"{without_tag(to)};tag={to_tag}"
        fields += [("From", request.get("From")), ("To", to), ("Call-ID", request.call_id),
                   ("CSeq", request.get("CSeq"))]
        if 100 < status < 300 and request.method == "INVITE":
            fields.append(("Contact", f"<{self.contact_uri}>"))
        fields += headers
        if body:
            fields.append(("Content-Type", "application/sdp"))
        response = Message(f"SIP/2.0 {status} {REASONS.get(status, 'Answer')}", fields, body)
        if repeatable:
            self._answered[(request.branch, request.method)] = response
        self.send(response, request.source)
        return response

    def _on_request(self, request, source):
        dialog = self.dialogs.get(request.call_id)
        if request.to_tag in self._foreign_tags():
            # The call that this phone believes to have under its new tag
            if request.method != "ACK":
                self.respond(request, 200)
            return
        if request.to_tag:
            if dialog is None or dialog.ended or not self._in_dialog(dialog, request):
                if request.method != "ACK":
                    self.respond(request, 481)
                return
            if request.method not in ("ACK", "CANCEL"):
                self._check_request(dialog, request)
        elif request.method not in ("INVITE", "CANCEL"):
            if request.method != "ACK":
                self.respond(request, 200 if request.method == "OPTIONS" else 405)
            return
        handler = getattr(self, "_on_" + request.method.lower(), None)
        if handler:
            handler(dialog, request)
        else:
            self.respond(request, 200)

    def _in_dialog(self, dialog, request):
        if (request.to_tag, request.from_tag) == (dialog.local_tag, dialog.remote_tag):
            return True
        self.violate(f"{request.method} for tags {request.to_tag}/{request.from_tag}, the dialog "
                     f"has {dialog.local_tag}/{dialog.remote_tag}")
        return False

    def _foreign_tags(self):
        return {answer.to_tag for answer in self._used if answer.to_tag}

    def _check_request(self, dialog, request):
        if dialog.remote_seq is not None and request.cseq <= dialog.remote_seq:
            self.violate(f"{request.method} with CSeq {request.cseq} after {dialog.remote_seq}")
        dialog.remote_seq = max(request.cseq, dialog.remote_seq or 0)
        self._check_target(dialog, request)
        for name, ours in (("From", dialog.remote_party), ("To", dialog.local_party)):
            theirs = without_tag(request.get(name))
            if not same_uri(uri_of(theirs), uri_of(ours)):
                self.violate(f"{request.method} with {name} {theirs}, the dialog has {ours}")
        if request.listed("Record-Route") and request.method == "INVITE" and not self.public:
            self.violate(f"{request.method} with a Record-Route that no proxy added")

    def _check_target(self, dialog, request):
        if not same_uri(request.request_uri, self.contact_uri):
            self.violate(f"{request.method} to {request.request_uri}, not {self.contact_uri}")

    def check_sdp(self, dialog, message):
        """RFC 3264, section 8: the same origin with the version as before or one higher, and
        the same kinds of m-lines in the same order."""
        if not message.body:
            return
        origin, media = message.origin, message.sdp_lines("m")
        if self.strict_sdp and dialog.remote_origin:
            old, new = dialog.remote_origin.split(), origin.split()
            if old[:2] + old[3:] != new[:2] + new[3:]:
                self.violate(f"o={origin} after o={dialog.remote_origin}")
            elif int(new[2]) - int(old[2]) not in (0, 1):
                self.violate(f"o= version {new[2]} after {old[2]}")
            kinds = [line.split()[0] for line in dialog.remote_media]
            if [line.split()[0] for line in media][:len(kinds)] != kinds:
                self.violate(f"m-lines {media} after {dialog.remote_media}")
        dialog.remote_origin, dialog.remote_media = origin, media
        for line in media:
            kind, port = line.split()[:2]
            connection = (message.sdp_lines("c") or ["IN IP4 0.0.0.0"])[0].split()[-1]
            if kind == "audio" and port != "0":
                dialog.rtp_target = (connection, int(port))

    # -- INVITE --------------------------------------------------------------------------------

    def _on_invite(self, dialog, request):
        answer = self.answers.pop(0) if self.answers else Answer()
        self._used.append(answer)
        if dialog is None:
            dialog = Dialog(self, request.call_id, initiator=False)
            dialog.remote_tag = request.from_tag
            dialog.remote_party = without_tag(request.get("From"))
            dialog.local_party = request.get("To")
            dialog.remote_target = uri_of(request.get("Contact"))
            dialog.route_set = request.listed("Record-Route")
            dialog.remote_seq = request.cseq
            self.dialogs[dialog.call_id] = dialog
            if request.request_uri.split(";")[0] != self.contact_uri.split(";")[0]:
                self._check_target(dialog, request)
        if answer.status == 0 and not answer.provisional:
            return
        for status in answer.provisional:
            self.respond(request, status, to_tag=answer.to_tag or dialog.local_tag)
        if answer.hold:
            self._held.append((dialog, request, answer))
        elif answer.status:
            self._finish_invite(dialog, request, answer)

    def release(self, status=None):
        """Sends the final answer of the INVITE that was held longest."""
        dialog, request, answer = self._held.pop(0)
        if status:
            answer = dataclasses.replace(answer, status=status)
        self._finish_invite(dialog, request, answer)

    def _finish_invite(self, dialog, request, answer):
        tag = answer.to_tag or dialog.local_tag
        if answer.status in (401, 407) and answer.challenge:
            self._challenge(dialog, request, answer)
            return
        if answer.status >= 300:
            self.respond(request, answer.status, to_tag=tag, headers=answer.headers)
            return
        foreign = bool(answer.to_tag)
        if not foreign:
            self.check_sdp(dialog, request)
            dialog.remote_target = uri_of(request.get("Contact"))
            dialog.invite_cseq = request.cseq
            dialog.acks_to_lose = answer.lose_acks
        offer = request.sdp_lines("m")
        dialog.sdp_version += 1
        response = self.respond(request, answer.status, to_tag=tag, headers=answer.headers,
                                body=dialog.sdp(offer), record_route=answer.record_route)
        if not foreign:
            dialog.retransmit = (response, request.source)
            self._schedule_repeat(dialog, 0.5)

    def _schedule_repeat(self, dialog, delay):
        def repeat():
            if dialog.retransmit and not self._closed:
                self.send(*dialog.retransmit)
                self._schedule_repeat(dialog, min(delay * 2, 4.0))
        timer = threading.Timer(delay, repeat)
        timer.daemon = True
        self._timers.append(timer)
        timer.start()

    def _challenge(self, dialog, request, answer):
        header = "WWW-Authenticate" if answer.status == 401 else "Proxy-Authenticate"
        given = request.get("Authorization" if answer.status == 401 else "Proxy-Authorization")
        fields = dict(re.findall(r'(\w+)="?([^",]+)"?', given))
        user, password = answer.challenge
        if fields.get("nonce") in self._nonces and self._digest_fits(fields, user, password,
                                                                     request.method):
            self._finish_invite(dialog, request, Answer())
            return
        nonce = _token()
        self._nonces[nonce] = True
        self.answers.insert(0, answer)  # the retry is checked by the same script
        self.respond(request, answer.status, to_tag=dialog.local_tag, headers=[
            (header, f'Digest realm="lab", nonce="{nonce}", algorithm=MD5')])

    @staticmethod
    def _digest_fits(fields, user, password, method):
        def md5(text):
            return hashlib.md5(text.encode()).hexdigest()
        first = md5(f"{user}:lab:{password}")
        second = md5(f"{method}:{fields.get('uri', '')}")
        return fields.get("username") == user and fields.get("response") == md5(
            f"{first}:{fields['nonce']}:{second}")

    def _on_ack(self, dialog, request):
        if dialog is None or request.cseq != dialog.invite_cseq:
            return  # of a failed INVITE, or of a foreign tag
        self._check_target(dialog, request)
        if dialog.acks_to_lose > 0:
            dialog.acks_to_lose -= 1
            return
        dialog.retransmit = None
        dialog.confirmed = True

    def _on_cancel(self, dialog, request):
        self.respond(request, 200)
        for held in list(self._held):
            if held[1].branch == request.branch:
                self._held.remove(held)
                self.respond(held[1], 487, to_tag=held[2].to_tag or held[0].local_tag)

    def _on_bye(self, dialog, request):
        dialog.ended = True
        dialog.retransmit = None
        for held in list(self._held):
            if held[0] is dialog:
                self._held.remove(held)
                self.respond(held[1], 487, to_tag=dialog.local_tag)
        self.respond(request, 200)
