# SPDX-License-Identifier: Apache-2.0
"""The recovered dialog is the old dialog: M1 to M4, M7 to M11, M13, M15, M18."""

import re
import threading
import time
import unittest

from module_case import ENDPOINTS, ModuleCase

from sipheal_lab.asterisk import Asterisk
from sipheal_lab.phone import Answer
from sipheal_lab.proxy import Proxy
from sipheal_lab.sip_message import same_uri


class RecoveredDialog(ModuleCase):

    # F71: the phone's BYE arrives.
    def test_M01_call_of_a_killed_server_lives_on_and_the_phones_bye_gets_200(self):
        first = Asterisk("first", endpoints=ENDPOINTS).start()
        self.addCleanup(first.close)
        events = first.ari.events("lab")
        phone = self.phone(media=True)
        dialog = self.call_in(phone, first)
        events.wait("StasisStart")
        first.kill()
        channel = self.recover(dialog)
        self.assertEqual(self.result(channel)["outcome"], "answered")
        self.assertEqual(dialog.bye(), 200)
        self.wait_gone(channel)

    @staticmethod
    def quiet(variables):
        """The same variables, set through the function."""
        return {re.sub(r"^PJSIP_RECOVERY_(.*)$", r"PJSIP_RECOVERY(\1)", name): value
                for name, value in variables.items()}

    def test_M01_the_function_sets_the_variables_without_an_event_for_each(self):
        dialog = self.call_in(self.phone())
        channel = self.recover(dialog, self.quiet(dialog.recovery_variables()))
        told = {event["variable"] for event in self.b_events.matching(
            lambda e: e["type"] == "ChannelVarset" and e["channel"]["id"] == channel)}
        self.assertEqual({name for name in told if name.startswith("PJSIP_RECOVERY")},
                         {"PJSIP_RECOVERY_RESULT"})
        self.assertEqual(dialog.bye(), 200)
        self.wait_gone(channel)

    def test_M06_a_name_that_the_function_does_not_know_sets_nothing(self):
        dialog = self.call_in(self.phone())
        variables = self.quiet(dialog.recovery_variables())
        variables["PJSIP_RECOVERY(CALL_ID)"] = variables.pop("PJSIP_RECOVERY(CALL-ID)")
        before = len(dialog.phone.messages)
        channel = self.post(dialog, variables)
        self.wait_gone(channel)
        self.assertEqual(self.result(channel)["outcome"], "refused")
        self.assertEqual(len(dialog.phone.messages), before)

    def test_M01_every_request_of_the_phone_finds_the_recovered_dialog(self):
        for make in (self.call_in, self.call_out):
            with self.subTest(role=make.__name__):
                dialog = make(self.phone())
                channel = self.recover(dialog)
                self.assertEqual(dialog.reinvite("sendonly").status, 200)
                self.assertEqual(dialog.reinvite("sendrecv").status, 200)
                self.assertEqual(dialog.request("UPDATE").status, 200)
                self.assertEqual(dialog.request("INFO").status, 200)
                self.assertEqual(dialog.bye(), 200)
                self.wait_gone(channel)

    # F71: and the server's, into calls of either direction.
    def test_M01_the_servers_own_hang_up_is_a_bye_in_the_dialog(self):
        for make in (self.call_in, self.call_out):
            with self.subTest(role=make.__name__):
                dialog = make(self.phone())
                channel = self.recover(dialog)
                self.b.ari("DELETE", f"/channels/{channel}")
                dialog.phone.wait_request("BYE")
                self.wait_gone(channel)
                self.assertTrue(dialog.ended)

    def test_M01_rtp_flows_to_the_phone_and_is_heard_from_it(self):
        phone = self.phone(media=True)
        dialog = self.call_in(phone)
        channel = self.recover(dialog)
        dialog.media.send(*dialog.rtp_target)
        self.b.ari("POST", f"/channels/{channel}/moh")
        dialog.media.wait_received(10, source=dialog.rtp_target)

    def test_M02_a_lost_first_ack_is_sent_again_for_each_repeated_200(self):
        phone = self.phone()
        dialog = self.call_in(phone)
        phone.answers.append(Answer(lose_acks=2))
        channel = self.post(dialog)
        phone.wait_until(
            lambda: len([m for m in phone.messages if m.received and m.method == "ACK"]) == 3,
            what="third ACK")
        self.wait_start(channel)
        self.assertEqual(dialog.bye(), 200)

    def test_M03_no_answer_changes_the_route_set(self):
        other = "<sip:127.0.0.1:1;lr>"
        for name, routes in (("none", []), ("same", None), ("another", [other])):
            with self.subTest(record_route_of_the_2xx=name):
                proxy = Proxy()
                self.addCleanup(proxy.close)
                phone = self.phone()
                dialog = self.call_in(phone, next_hop=proxy.next_hop)
                self.assertEqual(dialog.route_set, [f"<{proxy.uri};lr>"])
                proxy.wait_visit("ACK")
                proxy.visits.clear()
                phone.public = (phone.address, phone.port)  # a Record-Route is no breach here
                phone.answers.append(Answer(record_route=routes))
                channel = self.recover(dialog)
                self.b.ari("DELETE", f"/channels/{channel}")
                phone.wait_request("BYE")
                for method in ("INVITE", "ACK", "BYE"):
                    self.assertEqual(proxy.wait_visit(method)[1:],
                                     (phone.contact_uri, [f"<{proxy.uri};lr>"]), method)

    def test_M03_a_200_with_another_to_tag_is_no_answer(self):
        phone = self.phone()
        dialog = self.call_in(phone)
        phone.answers.append(Answer(to_tag="stranger"))
        channel = self.post(dialog)
        ended = self.result(channel)
        self.assertEqual((ended["outcome"], ended["status"]), ("gone", "481"))
        self.assertEqual(ended["reason"], "answered with another To tag")
        self.wait_gone(channel)
        self.assert_not_started(channel)
        for method in ("ACK", "BYE"):
            request = phone.wait(lambda m: m.received and m.method == method, what=method)
            self.assertEqual(request.to_tag, "stranger", phone.ladder())
        self.assertFalse(dialog.ended)

    def test_M03_ringing_with_another_to_tag_is_taken_back_by_cancel(self):
        phone = self.phone()
        dialog = self.call_in(phone)
        phone.answers.append(Answer(provisional=(180,), to_tag="stranger", hold=True))
        channel = self.post(dialog)
        phone.wait_request("CANCEL")
        ended = self.result(channel)
        self.assertEqual(ended["outcome"], "gone")
        self.wait_gone(channel)
        self.assert_not_started(channel)
        self.assertEqual(phone.requests("BYE"), [])

    def test_M04_the_request_has_no_record_route(self):
        dialog = self.call_in(self.phone())
        self.recover(dialog, {
            **dialog.recovery_variables(),
            "PJSIP_RECOVERY_RECORD-ROUTES": "<sip:127.0.0.1:1;lr>,<sip:127.0.0.1:2;lr>"})
        invite = dialog.phone.wait_request("INVITE")
        self.assertEqual(invite.all("Record-Route"), [])
        self.assertEqual(invite.all("Route"), [])

    def test_M07_from_and_to_stay_as_they_were(self):
        cases = (
            ('Müller, "der" \\ Große', "sip:m%c3%bcller@127.0.0.1;user=phone",
             "Zoë", "sip:100@127.0.0.1"),
            ("", "tel:+49-30-1234567;phone-context=example.com", "a,b;c", "tel:+4930"),
        )
        for to_display, to_uri, from_display, from_uri in cases:
            with self.subTest(to_uri=to_uri):
                phone = self.phone()
                dialog = self.call_in(phone)
                dialog.local_party = f"<{to_uri}>"
                dialog.remote_party = f"<{from_uri}>"
                channel = self.recover(dialog, dialog.recovery_variables(
                    TO_DISPLAY=to_display, FROM_DISPLAY=from_display))
                invite = phone.requests("INVITE")[-1]
                escaped = to_display.replace("\\", "\\\\").replace('"', '\\"')
                self.assertEqual(
                    invite.get("To").encode("utf-8", "surrogateescape").decode(),
                    (f'"{escaped}" ' if escaped else "") + f"<{to_uri}>;tag={dialog.local_tag}")
                self.assertEqual(
                    invite.get("From").encode("utf-8", "surrogateescape").decode(),
                    f'"{from_display}" <{from_uri}>;tag={dialog.remote_tag}')
                self.b.ari("DELETE", f"/channels/{channel}")
                bye = phone.wait_request("BYE")
                self.assertEqual(bye.get("To"), invite.get("To"))
                self.assertEqual(bye.get("From"), invite.get("From"))

    def test_M08_ack_and_bye_go_to_the_remote_target_with_all_its_parameters(self):
        phone = self.phone(contact_parameters=";ob;x-line=7;user=phone")
        dialog = self.call_in(phone)
        channel = self.recover(dialog)
        self.b.ari("DELETE", f"/channels/{channel}")
        phone.wait_request("BYE")
        for method in ("INVITE", "ACK", "BYE"):
            uri = phone.requests(method)[-1].request_uri
            self.assertTrue(same_uri(uri, phone.contact_uri), f"{method} {uri}")

    def test_M09_seventy_routes_with_commas_in_quotes_and_brackets(self):
        phone = self.phone()
        dialog = self.call_in(phone)
        first = f"<sip:{phone.address}:{phone.port};lr>"
        routes = [first, '"a, b" <sip:p2,x@127.0.0.1;lr>', "<sip:p3@127.0.0.1;lr;x=1>;y=2"]
        routes += [f"<sip:hop{n}.example.org;lr>" for n in range(67)]
        phone.answers.append(Answer())
        self.recover(dialog, dialog.recovery_variables(ROUTES=" , ".join(routes)))
        self.assertEqual(phone.requests("INVITE")[-1].listed("Route"), routes)
        self.assertEqual(phone.requests("ACK")[-1].listed("Route"), routes)

    def test_M09_a_strict_router_gets_the_request_uri_and_the_target_as_last_route(self):
        phone = self.phone()
        dialog = self.call_in(phone)
        proxy = Proxy(record_route=None)
        self.addCleanup(proxy.close)
        channel = self.recover(dialog, dialog.recovery_variables(ROUTES=f"<{proxy.uri}>"))
        self.b.ari("DELETE", f"/channels/{channel}")
        phone.wait_request("BYE")
        for method in ("INVITE", "ACK", "BYE"):
            self.assertEqual(proxy.wait_visit(method)[1:],
                             (proxy.uri, [f"<{phone.contact_uri}>"]), method)

    def test_M10_an_old_request_of_the_phone_gets_500_and_a_new_one_200(self):
        dialog = self.call_in(self.phone())
        dialog.request("INFO")
        self.recover(dialog)
        self.assertEqual(dialog.request("INFO", cseq=dialog.local_seq).status, 500)
        self.assertEqual(dialog.request("INFO").status, 200)

    def test_M11_a_dialog_that_lives_on_this_server_is_refused(self):
        dialog = self.call_in(self.phone(), self.b)
        before = len(dialog.phone.messages)
        channel = self.post(dialog)
        ended = self.result(channel)
        self.assertEqual((ended["outcome"], ended["reason"]),
                         ("refused", "dialog lives on this server"))
        self.wait_gone(channel)
        self.assertEqual(dialog.bye(), 200)
        self.assertEqual(len(dialog.phone.requests("INVITE")), 0)
        self.assertGreater(len(dialog.phone.messages), before)

    def test_M11_of_two_posts_at_once_one_wins(self):
        for _ in range(10):
            phone = self.phone()
            dialog = self.call_in(phone)
            variables = dialog.recovery_variables()
            channels = []
            threads = [threading.Thread(target=lambda: channels.append(
                self.post(dialog, variables))) for _ in range(2)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            outcomes = sorted(self.result(channel)["outcome"] for channel in channels)
            self.assertEqual(outcomes, ["answered", "refused"])
            self.assertEqual(dialog.bye(), 200)
            self.assertEqual(len(phone.requests("INVITE")), 1, phone.ladder())

    def test_M11_the_mirrored_dialog_is_allowed(self):
        phone = self.phone()
        dialog = self.call_in(phone)
        self.recover(dialog)
        # The other end of the same dialog, as when both ends are calls of this server
        variables = dialog.recovery_variables()
        mirrored = dict(variables)
        for first, second in (("FROM", "TO"), ("TO", "FROM")):
            for part in ("URI", "TAG", "DISPLAY"):
                mirrored[f"PJSIP_RECOVERY_{first}_{part}"] = variables[
                    f"PJSIP_RECOVERY_{second}_{part}"]
        mirrored["PJSIP_RECOVERY_METHOD"] = "BYE"
        phone.strict_sdp = False
        channel = self.post(dialog, mirrored)
        self.assertEqual(self.result(channel)["outcome"], "ended")
        phone.violations.clear()  # the phone is not the other end, and says so

    def test_M13_an_unrelated_call_is_the_same_with_and_without_the_module(self):
        plain = Asterisk("b", endpoints=ENDPOINTS, recovery=False).start()
        self.addCleanup(plain.close)
        events = plain.ari.events("lab")
        texts = []
        for server, watch in ((self.b, self.b_events), (plain, events)):
            phone = self.phone()
            channel = "unrelated"
            server.ari("POST", f"/channels/{channel}", query={
                "endpoint": f"PJSIP/alice/{phone.contact_uri}", "app": "lab"},
                body={"variables": {"OTHER": "1"}})
            self.wait_start(channel, watch)
            server.ari("DELETE", f"/channels/{channel}")
            phone.wait_request("BYE")
            self.wait_gone(channel, watch)
            texts.append([self._neutral(m, phone, server) for m in phone.messages if m.received])
        self.assertEqual(texts[0], texts[1])

    @staticmethod
    def _neutral(message, phone, server):
        text = message.text()
        for own in (str(phone.port), str(server.sip_port)):
            text = text.replace(own, "PORT")
        for pattern in (r"branch=[^;\r]+", r"tag=[^;\r]+", r"Call-ID: .+", r"CSeq: \d+",
                        r"o=- \d+ \d+", r"m=audio \d+", r"Content-Length: \d+"):
            text = re.sub(pattern, lambda _: pattern, text)  # noqa: B023
        return text

    def test_M15_a_challenged_re_invite_is_sent_again_with_credentials(self):
        for status in (401, 407):
            with self.subTest(status=status):
                phone = self.phone("trunk")
                dialog = self.call_out(phone)
                phone.answers.append(Answer(status, challenge=("sipheal", "geheim")))
                channel = self.recover(dialog)
                self.assertEqual(self.result(channel)["outcome"], "answered")
                self.assertEqual(dialog.bye(), 200)

    def test_M15_over_tcp_the_new_server_connects_to_the_phones_contact(self):
        phone = self.phone("carol", transport="tcp")
        dialog = self.call_in(phone)
        channel = self.recover(dialog)
        self.assertEqual(dialog.request("INFO").status, 200)
        self.b.ari("DELETE", f"/channels/{channel}")
        phone.wait_request("BYE")

    def test_M15_over_tcp_a_refused_connection_ends_the_channel_at_once(self):
        phone = self.phone("carol", transport="tcp")
        dialog = self.call_in(phone)
        variables = dialog.recovery_variables(ON_FAILURE="keep")
        phone.go_deaf()
        channel = self.post(dialog, variables)
        ended = self.result(channel, timeout=3)
        self.assertEqual(ended["outcome"], "kept")
        # A refusal that comes while the message is still being sent is told to Asterisk, not to the transport's user.
        self.assertIn(ended["origin"], ("transport", "local"))
        self.wait_gone(channel)

    def test_M18_a_recovered_call_is_recovered_again_as_the_same_dialog(self):
        phone = self.phone()
        dialog = self.call_in(phone)
        channel = self.recover(dialog)
        self.release(self.b, channel)
        self.wait_gone(channel)
        third = Asterisk("third", endpoints=ENDPOINTS).start()
        self.addCleanup(third.close)
        events = third.ari.events("lab")
        again = self.post(dialog, server=third)
        self.wait_start(again, events)
        first, second = phone.requests("INVITE")
        for name in ("From", "To", "Call-ID"):
            self.assertEqual(first.get(name), second.get(name))
        self.assertEqual(second.cseq, first.cseq + 1)
        self.assertEqual(dialog.bye(), 200)
        self.wait_gone(again, events)

    def test_the_protocol_id_of_the_recovered_channel_is_the_old_call_id(self):
        dialog = self.call_in(self.phone())
        channel = self.recover(dialog)
        self.assertEqual(self.b.ari("GET", f"/channels/{channel}")["protocol_id"], dialog.call_id)

    def test_the_channel_may_also_be_created_first_and_dialled_later(self):
        phone = self.phone()
        dialog = self.call_in(phone)
        self.b.ari("POST", "/channels/create", query={
            "endpoint": f"PJSIP/alice/{phone.contact_uri}", "app": "lab", "channelId": "created"})
        self.wait_start("created")  # ARI takes commands for it from then on
        for name, value in dialog.recovery_variables().items():
            self.b.ari("POST", "/channels/created/variable",
                       query={"variable": name, "value": value})
        self.b.ari("POST", "/channels/created/dial")
        self.assertEqual(self.result("created")["outcome"], "answered")
        self.assertEqual(dialog.bye(), 200)

    def waiting(self, dialog, application):
        """Posts the channel into the context that waits for the application; its id, when the phone
        has answered and it waits."""
        channel = f"rec-{application}"
        self.b.ari("POST", f"/channels/{channel}", query={
            "endpoint": f"PJSIP/alice/{dialog.phone.contact_uri}", "context": "pjsip-recovery",
            "extension": f"app-{application}", "priority": "1", "timeout": "10"},
            body={"variables": dialog.recovery_variables()})
        self.wait_shown(channel, lambda shown: shown
                        and shown["dialplan"]["app_name"] == "PJSIPRecovered")
        return channel

    def wait_shown(self, channel, condition):
        """Waits until what ARI shows of a channel, or None when it is gone, is as wanted."""
        end = time.monotonic() + 5
        while True:
            status, shown = self.b.ari.request("GET", f"/channels/{channel}")
            if condition(shown if status == 200 else None):
                return
            self.assertLess(time.monotonic(), end, shown)
            time.sleep(0.01)

    def test_a_recovered_call_waits_for_a_controller_that_is_not_there(self):
        dialog = self.call_in(self.phone())
        channel = self.waiting(dialog, "late-one")
        events = self.b.ari.events("late-one")
        self.wait_start(channel, events)
        self.assertEqual(dialog.bye(), 200)
        self.wait_shown(channel, lambda shown: shown is None)

    def test_a_recovered_call_that_waits_for_its_controller_can_be_hung_up(self):
        dialog = self.call_in(self.phone())
        channel = self.waiting(dialog, "nobody")
        self.assertEqual(dialog.bye(), 200)
        self.wait_shown(channel, lambda shown: shown is None)

    def test_a_recovered_call_that_waits_can_be_given_up(self):
        dialog = self.call_in(self.phone())
        channel = self.waiting(dialog, "nobody-too")
        self.release(self.b, channel)
        self.wait_shown(channel, lambda shown: shown is None)
        self.assertEqual(dialog.phone.requests("BYE"), [])


if __name__ == "__main__":
    unittest.main()
