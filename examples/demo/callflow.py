# SPDX-License-Identifier: Apache-2.0
"""The host's application: an ARI program that answers calls, plays, bridges, holds and calls out.
It knows nothing of recovery; that a call moved to another server it does not even notice."""

import concurrent.futures
import json
import threading

from sipheal_lab.ari import AriEvents

APPLICATION = "pbx"


class _Events(AriEvents):
    """Calls that come in, given to a function. Of others it is not even told: the demo shares the
    processors with what it measures."""

    def __init__(self, ari, application, handle):
        self._handle = handle
        super().__init__(ari, application, False)
        ari("PUT", f"/applications/{application}/eventFilter",
            body={"allowed": [{"type": "StasisStart"}]})

    def _take(self, message):
        self._handle(json.loads(message))


class Book:
    """What the host's application knows of its calls, whatever server they are on."""

    def __init__(self):
        self._lock = threading.Lock()
        self._known, self._quiet = set(), set()

    def begin(self, phones):
        """Forgets the calls of before; of the new ones, some stay without media."""
        with self._lock:
            self._known = set()
            self._quiet = {phone.user for phone in phones if not phone.has_media}

    def is_new(self, user):
        """Whether this call was not heard of before; asking makes it known. A call that comes
        again was recovered: it has all it needs."""
        with self._lock:
            new = user not in self._known
            self._known.add(user)
            return new

    def is_quiet(self, user):
        return user in self._quiet


class CallFlow:
    """Serves the calls of one server. `problems` collects what went wrong, as sentences."""

    def __init__(self, server, book):
        self._server, self._ari, self._book = server, server.ari, book
        self._bridging = threading.Lock()
        self._bridges = set()
        self.problems = []
        self._workers = concurrent.futures.ThreadPoolExecutor(4)
        self._events = _Events(self._ari, APPLICATION, self._on_event)

    def call_out(self, phone, uri):
        endpoint = "edge" if phone.through_proxy else "phones"
        return self._workers.submit(self._try, self._ari, "POST", "/channels", body={
            "endpoint": f"PJSIP/{endpoint}/{uri}", "app": APPLICATION, "appArgs": phone.user,
            "callerId": '"The demo" <1000>', "timeout": 30})

    def _try(self, request, method, path, **arguments):
        try:
            return request(method, path, **arguments)
        except Exception as error:  # a worker has nobody to raise to
            self.problems.append(f"{self._server.name}: {error}")
            return None

    def _on_event(self, event):
        if event["type"] != "StasisStart" or not event["args"]:
            return  # from before the filter, or a call that nobody asked for
        user, channel = event["args"][0], event["channel"]
        if self._book.is_new(user):
            self._workers.submit(self._serve, user, channel["id"], channel["state"])

    def _serve(self, user, channel, state):
        def post(path, **arguments):
            return self._try(self._ari, "POST", path, **arguments)

        if state != "Up":
            post(f"/channels/{channel}/answer")
        if user.startswith(("pair", "conf")):
            bridge = user[:-1]
            with self._bridging:
                if bridge not in self._bridges:
                    post("/bridges", body={"bridgeId": bridge, "name": bridge, "type": "mixing"})
                    self._bridges.add(bridge)
            post(f"/bridges/{bridge}/addChannel", query={"channel": channel})
        elif self._book.is_quiet(user):
            return
        else:
            post(f"/channels/{channel}/play", body={"media": "sound:demo"})

    def hold(self, channel):
        """The server puts a phone on hold: it hears music."""
        self._try(self._ari, "POST", f"/channels/{channel}/hold")

    def channels(self):
        return self._try(self._ari, "GET", "/channels") or []

    def close(self):
        self._events.close()
        self._workers.shutdown(wait=True, cancel_futures=True)
