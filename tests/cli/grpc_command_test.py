# SPDX-License-Identifier: Apache-2.0
"""`sipheal run` with gRPC: what an operator and an agent see of it, health and reflection, mutual TLS.

SIPHEAL_COMMAND names the program; PYTHONPATH has tests/grpc.
"""

import subprocess
import tempfile
import unittest

import grpc

import command_test
import python_stubs

HEALTH = "/grpc.health.v1.Health/Check"
REFLECTION = "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"


class GrpcCase(command_test.CommandCase):
    @classmethod
    def setUpClass(cls):
        stubs = tempfile.TemporaryDirectory()
        cls.addClassCleanup(stubs.cleanup)
        python_stubs.make(stubs.name)

    def openssl(self, *arguments):
        subprocess.run(["openssl", *arguments], check=True, capture_output=True, cwd=self.folder)

    def authority(self, name):
        self.openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
                     "-subj", f"/CN={name}", "-keyout", f"{name}.key", "-out", f"{name}.pem")

    def certificate(self, name, authority):
        self.openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", f"/CN={name}",
                     "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1", "-keyout", f"{name}.key",
                     "-out", f"{name}.csr")
        self.openssl("x509", "-req", "-in", f"{name}.csr", "-CA", f"{authority}.pem", "-CAkey", f"{authority}.key",
                     "-CAcreateserial", "-days", "2", "-copy_extensions", "copy", "-out", f"{name}.pem")

    def bytes_of(self, name):
        return (self.folder / name).read_bytes()


class GrpcCommandTest(GrpcCase):
    def test_an_operator_lists_pauses_and_watches_and_an_agent_reports(self):
        from sipheal.v1 import crash_detector_pb2, crash_detector_pb2_grpc, recovery_pb2, recovery_pb2_grpc
        self.write(grpc={"listen": "127.0.0.1:0", "plain_text": True, "crash_reports": True})
        with command_test.Daemon(self.config) as daemon:
            address = daemon.event("ready")["grpc"]
            self.assertEqual(self.ask("status")["grpc"]["listen"], address)
            with grpc.insecure_channel(address) as channel:
                recovery = recovery_pb2_grpc.RecoveryServiceStub(channel)
                self.assertEqual(len(recovery.ListSessions(recovery_pb2.ListSessionsRequest(), timeout=20).sessions), 0)
                self.assertEqual(list(recovery.GetStatus(recovery_pb2.GetStatusRequest(), timeout=20).instances),
                                 ["pbx1"])
                recovery.PauseRecovery(recovery_pb2.PauseRecoveryRequest(), timeout=20)
                self.assertIs(self.ask("status")["paused"], True)
                recovery.ResumeRecovery(recovery_pb2.ResumeRecoveryRequest(), timeout=20)
                self.assertIs(self.ask("status")["paused"], False)
                with self.assertRaises(grpc.RpcError) as unknown:
                    recovery.RecoverInstance(recovery_pb2.RecoverInstanceRequest(instance="pbx1"), timeout=20)
                self.assertEqual(unknown.exception.code(), grpc.StatusCode.NOT_FOUND)

                events = recovery.WatchEvents(recovery_pb2.WatchEventsRequest(), timeout=30)
                self.assertEqual(next(events).WhichOneof("event"), "started")
                agent = crash_detector_pb2_grpc.CrashDetectorServiceStub(channel)
                report = crash_detector_pb2.ReportRequest(reporter="agent")
                report.reports.add(instance="pbx1", life="1", state=crash_detector_pb2.LIFE_STATE_GONE)
                report.reports.add(instance="pbx9", life="1", state=crash_detector_pb2.LIFE_STATE_GONE)
                problems = agent.Report(report, timeout=20).problems
                self.assertEqual([problem.index for problem in problems], [1])
                crash = next(events)
                self.assertEqual(crash.crash.incarnation.instance, "pbx1")
                self.assertEqual(crash.crash.detector, "grpc")

                health = channel.unary_unary(HEALTH)
                self.assertEqual(health(b"", timeout=20), b"\x08\x01")
                name = b"sipheal.v1.RecoveryService"
                self.assertEqual(health(b"\x0a" + bytes([len(name)]) + name, timeout=20), b"\x08\x01")
                reflected = next(channel.stream_stream(REFLECTION)(iter([b"\x3a\x00"]), timeout=20))
                self.assertIn(name, reflected)
                self.assertIn(b"sipheal.v1.CrashDetectorService", reflected)
            daemon.process.terminate()
            self.assertEqual(daemon.process.wait(20), 0, daemon.log())

    def test_only_clients_with_a_certificate_of_ours_are_answered(self):
        from sipheal.v1 import recovery_pb2, recovery_pb2_grpc
        for authority in ("ours", "theirs"):
            self.authority(authority)
        self.certificate("server", "ours")
        self.certificate("operator", "ours")
        self.certificate("stranger", "theirs")
        self.write(grpc={"listen": "127.0.0.1:0", "certificate_file": str(self.folder / "server.pem"),
                         "key_file": str(self.folder / "server.key"),
                         "client_ca_file": str(self.folder / "ours.pem")})

        def ask(address, credentials):
            with grpc.secure_channel(address, credentials) as channel:
                stub = recovery_pb2_grpc.RecoveryServiceStub(channel)
                return stub.GetStatus(recovery_pb2.GetStatusRequest(), timeout=20)

        with command_test.Daemon(self.config) as daemon:
            address = daemon.event("ready")["grpc"]
            good = grpc.ssl_channel_credentials(self.bytes_of("ours.pem"), self.bytes_of("operator.key"),
                                                self.bytes_of("operator.pem"))
            self.assertEqual(list(ask(address, good).instances), ["pbx1"])
            strangers = {
                "no certificate": grpc.ssl_channel_credentials(self.bytes_of("ours.pem")),
                "signed by others": grpc.ssl_channel_credentials(
                    self.bytes_of("ours.pem"), self.bytes_of("stranger.key"), self.bytes_of("stranger.pem")),
                "trusts others only": grpc.ssl_channel_credentials(
                    self.bytes_of("theirs.pem"), self.bytes_of("operator.key"), self.bytes_of("operator.pem"))}
            for what, credentials in strangers.items():
                with self.subTest(what), self.assertRaises(grpc.RpcError) as refused:
                    ask(address, credentials)
                self.assertEqual(refused.exception.code(), grpc.StatusCode.UNAVAILABLE, what)
            with grpc.insecure_channel(address) as channel, self.assertRaises(grpc.RpcError):
                recovery_pb2_grpc.RecoveryServiceStub(channel).GetStatus(recovery_pb2.GetStatusRequest(), timeout=20)

    def test_what_is_wrong_in_the_configuration_is_named(self):
        self.write(grpc={"listen": "0.0.0.0:0", "plain_text": True})
        done = self.sipheal("run", "--config", str(self.config))
        self.assertEqual(done.returncode, 1)
        self.assertIn("grpc.listen: plain_text on 0.0.0.0:0", done.stderr)
        self.write(grpc={"crash_reports": True})
        done = self.sipheal("run", "--config", str(self.config))
        self.assertEqual(done.returncode, 2)
        self.assertIn("set grpc.listen", done.stderr)
        self.write(flow={"grpc": {"target": "192.0.2.1:7443", "plain_text": True}})
        done = self.sipheal("run", "--config", str(self.config))
        self.assertEqual(done.returncode, 1, done.stderr)
        self.assertIn("flow.grpc.target: plain_text with target 192.0.2.1:7443", done.stderr)


if __name__ == "__main__":
    unittest.main()
