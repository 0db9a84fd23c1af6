# SPDX-License-Identifier: Apache-2.0
"""PJSIP_RECOVERY_FLOW: an answered channel goes back to its application, bridge and playback."""

import json
import unittest
import uuid

from module_case import ModuleCase

# Commas, quotes and brackets mean something in the dialplan, and nothing here.
ARGUMENTS = ["one, two", "\"three\"", "(four]", "back\\slash", "", "é"]


class Flow(ModuleCase):

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        # Of the host's application, and of a controller that hears all channels.
        cls.host = cls.b.ari.events("host")
        cls.all = cls.b.ari.events("all", subscribe_all=True)

    def recover_with(self, dialog, flow):
        return self.post_flow(dialog, json.dumps(flow))

    def flow_result(self, channel):
        return super().flow_result(channel, self.all)

    def started_in_host(self, channel):
        return self.wait_start(channel, self.host)

    def members(self, bridge):
        return sorted(self.b.ari("GET", f"/bridges/{bridge}")["channels"])

    def test_enters_the_application_with_its_arguments(self):
        dialog = self.call_in(self.phone())
        channel = self.recover_with(dialog, {"stasis": {"app": "host", "args": ARGUMENTS}})
        self.assertEqual(self.flow_result(channel), "done")
        self.assertEqual(self.started_in_host(channel)["args"], ARGUMENTS)
        self.assert_not_started(channel)
        shown = self.b.ari("GET", f"/channels/{channel}")
        self.assertEqual(shown["state"], "Up")
        self.assertEqual(shown["dialplan"]["app_name"], "Stasis")
        self.assertEqual(shown["dialplan"]["app_data"], ",".join(["host"] + ARGUMENTS))
        self.assertEqual(dialog.bye(), 200)
        self.wait_gone(channel, self.all)

    def test_tells_nobody_of_the_variable_itself(self):
        dialog = self.call_in(self.phone())
        channel = self.recover_with(dialog, {"stasis": {"app": "host"}})
        self.flow_result(channel)
        told = {e["variable"] for e in self.all.matching(lambda e: self.is_variable(e, channel))}
        self.assertEqual(told, {"PJSIP_RECOVERY_RESULT", "PJSIP_RECOVERY_FLOW_RESULT"})

    def test_makes_the_bridge_once_and_joins_all_its_legs(self):
        bridge = f"bridge-{uuid.uuid4()}"
        dialogs = [self.call_in(self.phone()) for _ in range(3)]
        flow = {"stasis": {"app": "host"},
                "bridge": {"id": bridge, "type": "mixing", "name": "support"}}
        channels = [self.recover_with(dialog, flow) for dialog in dialogs]
        self.assertEqual([self.flow_result(channel) for channel in channels], ["done"] * 3)
        self.assertEqual(self.members(bridge), sorted(channels))
        self.assertEqual(self.b.ari("GET", f"/bridges/{bridge}")["name"], "support")
        made = self.all.matching(
            lambda e: e["type"] == "BridgeCreated" and e["bridge"]["id"] == bridge)
        self.assertEqual(len(made), 1)
        self.assertEqual([dialog.bye() for dialog in dialogs], [200] * 3)

    def test_joins_a_bridge_that_is_there(self):
        bridge = f"bridge-{uuid.uuid4()}"
        self.b.ari("POST", f"/bridges/{bridge}", body={"type": "mixing", "name": "before"})
        channel = self.recover_with(self.call_in(self.phone()), {
            "stasis": {"app": "host"}, "bridge": {"id": bridge, "type": "mixing"}})
        self.assertEqual(self.flow_result(channel), "done")
        self.assertEqual(self.members(bridge), [channel])
        self.assertEqual(self.b.ari("GET", f"/bridges/{bridge}")["name"], "before")

    def test_plays_on_under_the_old_id(self):
        playback = f"play-{uuid.uuid4()}"
        channel = self.recover_with(self.call_in(self.phone()), {
            "stasis": {"app": "host"},
            "playback": {"id": playback, "media": ["tone:ring", "tone:busy"], "offset_ms": 0,
                         "language": "de"}})
        self.assertEqual(self.flow_result(channel), "done")
        started = self.host.wait(
            lambda e: e["type"] == "PlaybackStarted" and e["playback"]["id"] == playback, 5,
            "PlaybackStarted")["playback"]
        self.assertEqual(started["target_uri"], f"channel:{channel}")
        self.assertEqual(started["media_uri"], "tone:ring")
        self.assertEqual(started["next_media_uri"], "tone:busy")
        self.assertEqual(started["language"], "de")

    def test_waits_for_the_controller_when_the_application_is_not_there(self):
        channel = self.recover_with(self.call_in(self.phone()), {"stasis": {"app": "nobody"}})
        self.wait_start(channel)
        self.assertTrue(self.flow_result(channel).startswith("none;"))

    def test_waits_for_the_controller_when_the_flow_cannot_be_read(self):
        texts = ["{", "[]", "1", "{}", '{"stasis":{}}', '{"stasis":{"app":1}}',
                 '{"stasis":{"app":"host","args":{}}}', '{"stasis":{"app":"host","args":[1]}}',
                 '{"stasis":{"app":"host"},"bridge":{}}', '{"stasis":{"app":"host"},"bridge":[]}',
                 '{"stasis":{"app":"host"},"playback":{"id":"p","media":[]}}',
                 '{"stasis":{"app":"host"},"playback":{"id":"p","media":[7]}}',
                 '{"stasis":{"app":"host"},"playback":{"id":"p"}}']
        for text in texts:
            with self.subTest(text):
                dialog = self.call_in(self.phone())
                channel = self.post_flow(dialog, text)
                self.wait_start(channel)
                self.assertTrue(self.flow_result(channel).startswith("none;"))
                self.assertEqual(dialog.bye(), 200)

    def test_leaves_to_the_controller_what_it_could_not_do(self):
        channel = self.recover_with(self.call_in(self.phone()), {
            "stasis": {"app": "host"},
            "playback": {"id": "p", "media": ["tone:ring"], "offset_ms": -1}})
        self.assertEqual(self.flow_result(channel),
                         "failed;reason=the playback did not begin")
        self.started_in_host(channel)

    def test_takes_no_global_variable_for_the_flow(self):
        self.b.ari("POST", "/asterisk/variable", query={
            "variable": "PJSIP_RECOVERY_FLOW", "value": '{"stasis":{"app":"host"}}'})
        self.addCleanup(self.b.ari, "POST", "/asterisk/variable", query={
            "variable": "PJSIP_RECOVERY_FLOW", "value": ""})
        channel = self.post_flow(self.call_in(self.phone()), None)
        self.wait_start(channel)

    def test_a_phone_that_hangs_up_at_once_leaves_nothing_behind(self):
        # Not both: a channel that leaves its bridge just when it is to play there waits for that
        # for ten minutes, in Asterisk itself (docs/flow.md).
        flows = ({"bridge": {"id": "left-at-once", "type": "mixing"}},
                 {"playback": {"id": "left-at-once", "media": ["tone:ring"]}})
        for number in range(20):
            dialog = self.call_in(self.phone())
            channel = self.recover_with(dialog, {
                "stasis": {"app": "host"}, **flows[number % len(flows)]})
            dialog.phone.wait(lambda m, d=dialog: m.received and m.method == "ACK"
                              and m.call_id == d.call_id, what="ACK")
            self.assertEqual(dialog.bye(), 200)
            self.wait_gone(channel, self.all)
        self.assertEqual(self.members("left-at-once"), [])

    def test_reports_also_when_the_application_sends_it_on_at_once(self):
        reports = set()
        for _ in range(20):
            dialog = self.call_in(self.phone())
            channel = self.recover_with(dialog, {
                "stasis": {"app": "host"}, "bridge": {"id": "sent-on", "type": "mixing"}})
            self.started_in_host(channel)
            # 404 and 409: the bridge has it at this moment
            self.b.ari.request("POST", f"/channels/{channel}/continue", query={
                "context": "pjsip-recovery", "extension": "app-lab", "priority": 1})
            reports.add(self.flow_result(channel).partition(";")[0])
            self.assertEqual(dialog.bye(), 200)
        self.assertLessEqual(reports, {"done", "left"})

    def test_the_application_may_send_it_on_into_the_dialplan(self):
        dialog = self.call_in(self.phone())
        channel = self.recover_with(dialog, {"stasis": {"app": "host"}})
        self.flow_result(channel)
        self.b.ari("POST", f"/channels/{channel}/continue", query={
            "context": "pjsip-recovery", "extension": "app-lab", "priority": 1})
        self.wait_start(channel)


if __name__ == "__main__":
    unittest.main()
