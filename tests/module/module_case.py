# SPDX-License-Identifier: Apache-2.0
"""What the tests of res_pjsip_recovery share: two real servers and the steps of a recovery."""

import pathlib
import sys
import unittest
import uuid

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "support" / "python"))

from sipheal_lab.asterisk import Asterisk, Endpoint  # noqa: E402
from sipheal_lab.phone import Phone  # noqa: E402
from sipheal_lab.required import require_asterisk  # noqa: E402

ENDPOINTS = (
    Endpoint("alice"), Endpoint("bob"), Endpoint("carol", kind="tcp"),
    Endpoint("trunk", kind="trunk", username="sipheal", password="geheim"),
    Endpoint("multi", codecs="ulaw,vp8", options={"max_audio_streams": "1",
                                                  "max_video_streams": "1"}),
)


def result_fields(text):
    """PJSIP_RECOVERY_RESULT as a dict; reason is the rest of the text."""
    head, _, reason = text.partition(";reason=")
    fields = dict(part.split("=", 1) for part in head.split(";"))
    return {**fields, "reason": reason}


class ModuleCase(unittest.TestCase):
    """Server a carries the first dialog; server b, with the module, takes it over.

    Both live as long as the test class. To the phone and to b, a is dead when b takes over: a
    hears nothing from then on, and its side is released at the end of each test.
    """

    server_options = {}

    @classmethod
    def setUpClass(cls):
        require_asterisk()
        cls.a = Asterisk("a", endpoints=ENDPOINTS).start()
        cls.addClassCleanup(cls.a.close)
        cls.b = Asterisk("b", endpoints=ENDPOINTS, **cls.server_options).start()
        cls.addClassCleanup(cls.b.close)
        cls.a_events = cls.a.ari.events("lab")
        cls.b_events = cls.b.ari.events("lab")

    def run(self, result=None):
        """As always, and shows what server b logged when the test has failed."""
        def count():
            return len(result.failures) + len(result.errors) if result else 0
        before = count()
        super().run(result)
        if count() > before:
            sys.stderr.write(f"--- end of the log of b\n{self.b.log(3000)}\n")

    def setUp(self):
        self.phones = []
        self.channels = []

    def tearDown(self):
        broken = [v for phone in self.phones for v in phone.violations]
        ladders = "\n".join(phone.ladder() for phone in self.phones)
        try:
            for server in (self.a, self.b):
                for channel in server.ari("GET", "/channels") if server.running() else []:
                    self.release(server, channel["id"])
            for phone in self.phones:
                phone.close()
        finally:
            self.assertEqual(broken, [], ladders)
            for server in (self.a, self.b):
                self.assertTrue(server.running(), server.log())

    # -- steps ----------------------------------------------------------------------------------

    def phone(self, user="alice", **options):
        phone = Phone(user, **options)
        self.phones.append(phone)
        return phone

    def call_in(self, phone, server=None, **options):
        """The phone calls the server (the server is UAS): the dialog."""
        server = server or self.a
        transport = "tcp" if phone.transport == "tcp" else ""
        return phone.call(server.sip_uri("100", transport=transport), **options)

    def call_out(self, phone, server=None, endpoint=None):
        """The server calls the phone (the server is UAC): the dialog."""
        server = server or self.a
        events = self.a_events if server is self.a else self.b_events
        channel = f"out-{uuid.uuid4()}"
        server.ari("POST", f"/channels/{channel}", query={
            "endpoint": f"PJSIP/{endpoint or phone.user}/{phone.contact_uri}", "app": "lab",
            "timeout": "10"})
        events.wait(lambda e: e["type"] == "StasisStart" and e["channel"]["id"] == channel, 5,
                    "StasisStart")
        invite = phone.wait_request("INVITE")
        dialog = phone.dialogs[invite.call_id]
        phone.wait_until(lambda: dialog.confirmed, what="ACK")
        return dialog

    def post(self, dialog, variables=None, *, server=None, endpoint=None, timeout="10", app="lab",
             query=None):
        """Posts the channel that recovers a dialog; its id."""
        server = server or self.b
        phone = dialog.phone
        channel = f"rec-{uuid.uuid4()}"
        if variables is None:
            variables = dialog.recovery_variables()
        server.ari("POST", f"/channels/{channel}", query={
            "endpoint": f"PJSIP/{endpoint or phone.user}/{phone.contact_uri}", "app": app,
            "timeout": timeout, **(query or {})}, body={"variables": variables})
        return channel

    def post_flow(self, dialog, flow):
        """As post(), but the channel is told its flow (or none), and waits in the module's context for the
        application "lab" when it cannot be put back; its id."""
        variables = {f"PJSIP_RECOVERY({name.removeprefix('PJSIP_RECOVERY_')})": value
                     for name, value in dialog.recovery_variables().items()}
        if flow is not None:
            variables["PJSIP_RECOVERY(FLOW)"] = flow
        channel = f"rec-{uuid.uuid4()}"
        self.b.ari("POST", "/channels", body={
            "endpoint": f"PJSIP/{dialog.phone.user}/{dialog.phone.contact_uri}",
            "channelId": channel, "context": "pjsip-recovery", "extension": "app-lab",
            "priority": 1, "timeout": 10, "variables": variables})
        return channel

    def recover(self, dialog, variables=None, **options):
        """Posts the channel and waits until it is answered; its id."""
        channel = self.post(dialog, variables, **options)
        self.wait_start(channel)
        invite = dialog.phone.requests("INVITE")[-1]
        dialog.phone.wait(lambda m: m.received and m.method == "ACK" and m.cseq == invite.cseq,
                          what="ACK")
        return channel

    def wait_start(self, channel, events=None):
        return (events or self.b_events).wait(
            lambda e: e["type"] == "StasisStart" and e["channel"]["id"] == channel, 6,
            f"StasisStart of {channel}")

    def wait_gone(self, channel, events=None, timeout=6):
        return (events or self.b_events).wait(
            lambda e: e["type"] == "ChannelDestroyed" and e["channel"]["id"] == channel, timeout,
            f"ChannelDestroyed of {channel}")

    def result(self, channel, events=None, timeout=6):
        """The last PJSIP_RECOVERY_RESULT of a channel, as a dict; waits for the first one."""
        def is_result(event):
            return (event["type"] == "ChannelVarset" and event["channel"]["id"] == channel
                    and event["variable"] == "PJSIP_RECOVERY_RESULT")
        events = events or self.b_events
        events.wait(is_result, timeout, f"result of {channel}")
        return result_fields(events.matching(is_result)[-1]["value"])

    @staticmethod
    def is_variable(event, channel, name=None):
        """Whether it tells of a variable of the channel; that of a global has no channel."""
        return (event["type"] == "ChannelVarset" and event.get("channel", {}).get("id") == channel
                and name in (None, event["variable"]))

    def flow_result(self, channel, events=None):
        return (events or self.b_events).wait(
            lambda e: self.is_variable(e, channel, "PJSIP_RECOVERY_FLOW_RESULT"), 6,
            "result of the flow")["value"]

    def assert_not_started(self, channel):
        started = self.b_events.matching(
            lambda e: e["type"] == "StasisStart" and e["channel"]["id"] == channel)
        self.assertEqual(started, [])

    @staticmethod
    def release(server, channel):
        """Gives a channel up without a packet; it may be gone already."""
        server.ari("POST", "/asterisk/variable", query={
            "variable": f"PJSIP_RECOVERY_RELEASE({channel})", "value": "1"})
