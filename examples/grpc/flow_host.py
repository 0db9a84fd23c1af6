#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A host in Python that puts its flows back when sipheal has recovered a call.

    protoc --proto_path=/usr/share/sipheal/proto --python_out=. --grpc_out=. \\
           --plugin=protoc-gen-grpc=/usr/bin/grpc_python_plugin sipheal/v1/session.proto sipheal/v1/flow_resumer.proto
    ./flow_host.py unix:/run/flows.sock

and in sipheal's configuration `flow: {grpc: {target: "unix:/run/flows.sock", plain_text: true}}`. On another machine use
grpc.ssl_server_credentials and leave `plain_text` out.
"""

import concurrent.futures
import signal
import sys
import threading

import grpc

from sipheal.v1 import flow_resumer_pb2 as pb
from sipheal.v1 import flow_resumer_pb2_grpc as services


class FlowHost(services.FlowResumerServiceServicer):
    """Remembers what is bridged and what is played; a real host tells its media server."""

    def __init__(self):
        self.lock = threading.Lock()
        self.bridges = {}  # (instance, bridge): channels
        self.playbacks = {}  # channel: (media, position)

    def Resume(self, request, context):
        session = request.session
        if session.flow.stasis_app == "refused":
            # Final: sipheal ends the call with BYE, and this is the reason that it records.
            context.abort(grpc.StatusCode.FAILED_PRECONDITION, "this application is not served any more")
        with self.lock:
            # Said twice, it is done once: a set of channels, one playback for each channel.
            if session.flow.HasField("bridge"):
                bridge = session.flow.bridge.name if session.flow.bridge.conference else session.flow.bridge.id
                self.join(request, bridge)
            elif any(partner.lived_there for partner in request.partners):
                self.join(request, session.group)
            if session.flow.HasField("playback"):
                playback = session.flow.playback
                played = request.died_at.ToMicroseconds() - playback.item_started.ToMicroseconds()
                self.playbacks.setdefault(request.channel_id, (list(playback.media), max(played, 0) / 1e6))
        return pb.ResumeResponse(result=pb.ResumeResponse.RESULT_RESUMED)

    def join(self, request, bridge):
        members = self.bridges.setdefault((request.instance, bridge), set())
        members.add(request.channel_id)
        members.update(partner.channel_id for partner in request.partners if partner.lived_there)


def serve(host, address, *more):
    """A server for `host` that listens on `address`; `more` are generic handlers."""
    server = grpc.server(concurrent.futures.ThreadPoolExecutor(max_workers=16), options=[("grpc.so_reuseport", 0)])
    services.add_FlowResumerServiceServicer_to_server(host, server)
    server.add_generic_rpc_handlers(more)
    server.add_insecure_port(address)
    server.start()
    return server


def main():
    if len(sys.argv) != 2:
        print(__doc__)
        return 2
    server = serve(FlowHost(), sys.argv[1])
    print("ready", flush=True)
    signal.sigwait({signal.SIGTERM, signal.SIGINT})
    server.stop(grace=1).wait()
    return 0


if __name__ == "__main__":
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGINT})
    sys.exit(main())
