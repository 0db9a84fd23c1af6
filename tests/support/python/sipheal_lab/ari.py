# SPDX-License-Identifier: Apache-2.0
"""A small ARI client: requests over HTTP, events over a WebSocket, kept in the order they came."""

import base64
import http.client
import json
import os
import socket
import struct
import threading
import time
import urllib.parse


class AriError(Exception):
    """An ARI request that was answered with something other than 2xx."""

    def __init__(self, method, path, status, body):
        super().__init__(f"{method} {path}: {status}: {body}")
        self.status = status
        self.body = body


class Ari:
    """Requests to one Asterisk. One object may be used from several threads."""

    def __init__(self, host, port, user, password):
        self.host, self.port, self.user, self.password = host, port, user, password
        self._local = threading.local()
        self._open = []  # connections and event sockets, for close()

    def request(self, method, path, *, query=None, body=None, timeout=10.0):
        """Sends a request below /ari and returns (status, decoded body)."""
        url = "/ari" + path
        if query:
            url += "?" + urllib.parse.urlencode(query)
        token = base64.b64encode(f"{self.user}:{self.password}".encode()).decode()
        headers = {"Authorization": "Basic " + token}
        payload = None
        if body is not None:
            payload = json.dumps(body).encode()
            headers["Content-Type"] = "application/json"
        for attempt in (1, 2):
            connection = getattr(self._local, "connection", None)
            fresh = connection is None
            if fresh:
                connection = http.client.HTTPConnection(self.host, self.port, timeout=timeout)
                connection.connect()
                connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self._local.connection = connection
                self._open.append(connection)
            try:
                connection.request(method, url, payload, headers)
                response = connection.getresponse()
                data = response.read()
                break
            except (ConnectionError, http.client.HTTPException, OSError):
                connection.close()
                self._local.connection = None
                # A kept connection may have been closed by the server between two requests.
                if fresh or attempt == 2:
                    raise
        if not data:
            return response.status, None
        try:
            return response.status, json.loads(data)
        except ValueError:
            return response.status, data.decode(errors="replace")

    def __call__(self, method, path, **kwargs):
        """Like request, but returns the body alone and raises AriError unless answered 2xx."""
        status, body = self.request(method, path, **kwargs)
        if not 200 <= status < 300:
            raise AriError(method, path, status, body)
        return body

    def events(self, app, *, subscribe_all=False):
        """Opens the event WebSocket of a Stasis application, which registers it."""
        events = AriEvents(self, app, subscribe_all)
        self._open.append(events)
        return events

    def close(self):
        """Closes all connections and event sockets that this object has opened."""
        for item in self._open:
            item.close()
        self._open = []


class AriEvents:
    """The events of one application, collected by a thread until close()."""

    def __init__(self, ari, app, subscribe_all):
        query = {"app": app, "api_key": f"{ari.user}:{ari.password}"}
        if subscribe_all:
            query["subscribeAll"] = "true"
        self._socket = socket.create_connection((ari.host, ari.port), timeout=10)
        key = base64.b64encode(os.urandom(16)).decode()
        self._socket.sendall((
            f"GET /ari/events?{urllib.parse.urlencode(query)} HTTP/1.1\r\nHost: {ari.host}\r\n"
            "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
            f"Sec-WebSocket-Key: {key}\r\n\r\n").encode())
        self._buffer = b""
        head = self._read_until(b"\r\n\r\n")
        if b" 101 " not in head.split(b"\r\n")[0]:
            raise ConnectionError("event socket refused: " + head.decode(errors="replace"))
        self._socket.settimeout(None)
        self._changed = threading.Condition()
        self.all = []  # (monotonic time, event)
        self.closed = False
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _read_until(self, mark):
        while mark not in self._buffer:
            chunk = self._socket.recv(65536)
            if not chunk:
                raise ConnectionError("event socket closed")
            self._buffer += chunk
        head, self._buffer = self._buffer.split(mark, 1)
        return head

    def _read(self, count):
        while len(self._buffer) < count:
            chunk = self._socket.recv(65536)
            if not chunk:
                raise ConnectionError("event socket closed")
            self._buffer += chunk
        data, self._buffer = self._buffer[:count], self._buffer[count:]
        return data

    def _send_frame(self, opcode, payload):
        mask = os.urandom(4)
        masked = bytes(b ^ mask[i % 4] for i, b in enumerate(payload))
        self._socket.sendall(bytes([0x80 | opcode, 0x80 | len(payload)]) + mask + masked)

    def _run(self):
        message = b""
        try:
            while True:
                first, second = self._read(2)
                length = second & 0x7F
                if length == 126:
                    length = struct.unpack("!H", self._read(2))[0]
                elif length == 127:
                    length = struct.unpack("!Q", self._read(8))[0]
                payload = self._read(length)
                opcode = first & 0x0F
                if opcode == 9:
                    self._send_frame(10, payload)
                elif opcode == 8:
                    break
                elif opcode in (0, 1):
                    message += payload
                    if first & 0x80:
                        self._take(message)
                        message = b""
        except (OSError, ValueError):
            pass
        with self._changed:
            self.closed = True
            self._changed.notify_all()

    def _take(self, message):
        """One event as it came, JSON in bytes."""
        self._add(json.loads(message))

    def _add(self, event):
        with self._changed:
            self.all.append((time.monotonic(), event))
            self._changed.notify_all()

    def wait(self, predicate, timeout=10.0, what="event"):
        """The first event, past or to come, for which predicate(event) holds."""
        if isinstance(predicate, str):
            wanted, what = predicate, predicate
            predicate = lambda event: event["type"] == wanted  # noqa: E731
        deadline = time.monotonic() + timeout
        seen = 0
        with self._changed:
            while True:
                for _, event in self.all[seen:]:
                    if predicate(event):
                        return event
                seen = len(self.all)
                left = deadline - time.monotonic()
                if left <= 0 or self.closed:
                    kinds = [event["type"] for _, event in self.all]
                    state = "socket closed" if self.closed else f"not within {timeout} s"
                    raise AssertionError(f"no {what}: {state}; last events: {kinds[-15:]}")
                self._changed.wait(left)

    def matching(self, predicate):
        """All events so far for which predicate(event) holds."""
        with self._changed:
            return [event for _, event in self.all if predicate(event)]

    def forget(self):
        """Drops the events so far, of which a long test would keep millions."""
        with self._changed:
            self.all.clear()

    def close(self):
        try:
            self._socket.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self._thread.join(2)
        self._socket.close()
