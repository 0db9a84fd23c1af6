#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The example hosts as programs: they are called as sipheal calls them. SIPHEAL_EXAMPLE_FLOW_HOST names the one in C++."""

import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import unittest

import grpc

import python_stubs

EXAMPLES = pathlib.Path(__file__).resolve().parent.parent.parent / "examples" / "grpc"


class ExampleFlowHostTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.stubs = tempfile.TemporaryDirectory()
        cls.addClassCleanup(cls.stubs.cleanup)
        python_stubs.make(cls.stubs.name)

    def call_host(self, *command):
        from sipheal.v1 import flow_resumer_pb2 as pb
        from sipheal.v1 import flow_resumer_pb2_grpc as services
        with tempfile.TemporaryDirectory() as folder:
            address = f"unix:{folder}/host.sock"
            path = f"{self.stubs.name}:{EXAMPLES}"
            host = subprocess.Popen([*command, address], stdout=subprocess.PIPE, text=True,
                                    env={**os.environ, "PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1"})
            self.addCleanup(host.kill)
            self.assertEqual(host.stdout.readline(), "ready\n")
            with grpc.insecure_channel(address) as channel:
                stub = services.FlowResumerServiceStub(channel)
                request = pb.ResumeRequest(instance="b", channel_id="c")
                request.session.id = "one"
                request.session.flow.bridge.id = "bridge"
                request.session.flow.playback.media.append("sound:a")
                answer = stub.Resume(request, timeout=20)
                self.assertEqual(answer.result, pb.ResumeResponse.RESULT_RESUMED)
                # FR-4: without a bridge, only a partner that lived elsewhere draws a session into one.
                for session, lived_there in ("two", True), ("three", False):
                    alone = pb.ResumeRequest(instance="b", channel_id=f"c-{session}")
                    alone.session.id = session
                    alone.session.group = f"group-{session}"
                    alone.partners.add(channel_id=f"p-{session}", lived_there=lived_there)
                    answer = stub.Resume(alone, timeout=20)
                    self.assertEqual(answer.result, pb.ResumeResponse.RESULT_RESUMED)
                request.session.flow.stasis_app = "refused"
                with self.assertRaises(grpc.RpcError) as refused:
                    stub.Resume(request, timeout=20)
                self.assertEqual(refused.exception.code(), grpc.StatusCode.FAILED_PRECONDITION)
            host.send_signal(signal.SIGTERM)
            said, _ = host.communicate(timeout=20)
            self.assertEqual(host.returncode, 0)
            return said

    def test_the_host_in_cpp_resumes_refuses_and_ends(self):
        said = self.call_host(os.environ["SIPHEAL_EXAMPLE_FLOW_HOST"])
        self.assertEqual(said.splitlines(), [
            "resumed one on b, bridged with 0",
            "resumed two on b, bridged with 1",
            "resumed three on b, bridged with 0",
        ])

    def test_the_host_in_python_resumes_refuses_and_ends(self):
        self.call_host(sys.executable, str(EXAMPLES / "flow_host.py"))


if __name__ == "__main__":
    unittest.main()
