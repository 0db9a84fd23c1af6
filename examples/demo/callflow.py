# SPDX-License-Identifier: Apache-2.0
"""The host's application: an ARI program that answers calls, plays, bridges, holds and calls out.
It knows nothing of recovery; that a call moved to another server it does not even notice."""

import concurrent.futures
import json
import threading

from sipheal_lab.ari import AriEvents

APPLICATION = "pbx"


class _Events(AriEvents):
    """Calls that come in, given to a function. Other events are not even decoded: the demo shares
    the processors with what it measures."""

    def __init__(self, ari, application, handle):
        self._handle = handle
        super().__init__(ari, application, False)

    def _take(self, message):
        if b'"StasisStart"' in message:
            self._handle(json.loads(message))


class CallFlow:
    """Serves the calls of one server. `problems` collects what went wrong, as sentences."""

    def __init__(self, server):
        self._server, self._ari = server, server.ari
        self._lock = threading.Lock()
        self._bridging = threading.Lock()
        self._served, self._bridges, self._quiet = set(), set(), set()
        self.problems = []
        self._workers = concurrent.futures.ThreadPoolExecutor(4)
        self._events = _Events(self._ari, APPLICATION, self._on_event)

    def begin(self, phones):
        """Forgets the calls of before; of the new ones, some stay without media."""
        with self._lock:
            self._served.clear()
            self._bridges.clear()
            self._quiet = {phone.user for phone in phones if not phone.has_media}

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
            return  # the name of another event's field, or a call that nobody asked for
        user, channel = event["args"][0], event["channel"]
        with self._lock:
            if user in self._served:
                return
            self._served.add(user)
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
        elif user in self._quiet:
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
