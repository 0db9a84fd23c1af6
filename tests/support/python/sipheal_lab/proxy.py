# SPDX-License-Identifier: Apache-2.0
"""A record-routing UDP proxy that keeps what it saw: by which routes it was visited."""

import random
import re
import socket
import threading

from sipheal_lab.sip_message import Message, host_port, uri_of


class Proxy:
    """Forwards requests by Route, else by Request-URI, and responses by Via.

    record_route: parameters of the Record-Route that it adds to INVITEs; None adds none.
    strict: it is a strict router of RFC 2543 (no ;lr): the Request-URI names it, and the last
    Route the target. visits keeps (method, Request-URI, Route values) of each request.
    """

    def __init__(self, address="127.0.0.1", record_route=";lr", strict=False):
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind((address, 0))
        self.address, self.port = self._socket.getsockname()
        self.record_route = record_route
        self.strict = strict
        self.visits = []
        self._changed = threading.Condition()
        threading.Thread(target=self._run, daemon=True).start()

    @property
    def uri(self):
        return f"sip:{self.address}:{self.port}"

    @property
    def next_hop(self):
        return (self.address, self.port)

    def close(self):
        try:
            self._socket.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self._socket.close()

    def wait_visit(self, method, count=1, timeout=5.0):
        """The count-th visit of a method."""
        def found():
            return [visit for visit in self.visits if visit[0] == method]
        with self._changed:
            if not self._changed.wait_for(lambda: len(found()) >= count, timeout):
                raise AssertionError(f"proxy saw {self.visits}, not {count} {method}")
            return found()[count - 1]

    def _run(self):
        while True:
            try:
                data, source = self._socket.recvfrom(65536)
            except OSError:
                return
            if data.strip():
                message = Message.parse(data, source)
                (self._request if message.is_request else self._response)(message, source)

    def _is_own(self, uri):
        return host_port(uri) == (self.address, self.port)

    def _request(self, message, source):
        routes = message.listed("Route")
        with self._changed:
            self.visits.append((message.method, message.request_uri, list(routes)))
            self._changed.notify_all()
        if self._is_own(message.request_uri) and routes:
            # A strict router pops the last Route into the Request-URI.
            target = uri_of(routes.pop() if not self.strict else routes.pop(0))
            words = message.start.split(" ")
            message.start = f"{words[0]} {target} {words[2]}"
        elif routes and self._is_own(uri_of(routes[0])):
            routes.pop(0)
        message.remove("Route")
        message.headers += [("Route", route) for route in routes]
        if self.record_route is not None and message.method == "INVITE":
            message.headers.insert(
                0, ("Record-Route", f"<{self.uri}{self.record_route}>"))
        # The answer finds its way back by what is noted here, as rport and received would do.
        branch = (f"z9hG4bK{random.getrandbits(48):x}" if message.method != "ACK"
                  else "z9hG4bKack")
        message.headers.insert(0, ("Via", f"SIP/2.0/UDP {self.address}:{self.port};branch={branch}"
                                          f";from={source[0]}-{source[1]}"))
        to = host_port(uri_of(routes[0]) if routes else message.request_uri)
        self._socket.sendto(message.encode(), to)

    def _response(self, message, source):
        via = message.get("Via")
        back = re.search(r";from=([\d.]+)-(\d+)", via)
        for index, (name, _) in enumerate(message.headers):
            if name.lower() == "via":
                del message.headers[index]
                break
        if back:
            self._socket.sendto(message.encode(), (back.group(1), int(back.group(2))))
