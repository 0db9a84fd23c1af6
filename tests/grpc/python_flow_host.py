#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The host of examples/grpc/flow_host.py, which also tells a test what it did. Argument: the address.

`/sipheal.test.Host/State` answers with lines "bridge CHANNEL ..." and "playback CHANNEL". PYTHONPATH has the example and
what protoc made.
"""

import sys
import threading

import grpc

import flow_host


def main():
    host = flow_host.FlowHost()

    def state(_request, _context):
        with host.lock:
            lines = ["bridge " + " ".join(sorted(members)) for members in host.bridges.values()]
            lines += [f"playback {channel}" for channel in host.playbacks]
        return "\n".join(lines).encode()

    handler = grpc.method_handlers_generic_handler(
        "sipheal.test.Host", {"State": grpc.unary_unary_rpc_method_handler(state)})
    server = flow_host.serve(host, sys.argv[1], handler)
    print("ready", flush=True)
    # Until the test closes our standard input.
    reader = threading.Thread(target=sys.stdin.read)
    reader.start()
    reader.join()
    server.stop(grace=None).wait()


if __name__ == "__main__":
    main()
