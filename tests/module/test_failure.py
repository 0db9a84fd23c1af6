# SPDX-License-Identifier: Apache-2.0
"""What happens when a recovery fails, is refused, or is not wanted: M5, M6, M12, M19 to M21."""

import threading
import time
import unittest

from module_case import ModuleCase

from sipheal_lab.phone import Answer


class FailedRecovery(ModuleCase):

    server_options = {"sip_timers": (100, 6400)}

    # -- M5 -------------------------------------------------------------------------------------

    def test_M05_a_refused_re_invite_is_ended_with_bye_when_the_controller_wants_that(self):
        for status in (302, 403, 408, 480, 488, 500, 503, 603):
            with self.subTest(status=status):
                phone = self.phone()
                dialog = self.call_in(phone)
                phone.answers.append(Answer(status, headers=(
                    ("Retry-After", "7"), ("Contact", "<sip:elsewhere@127.0.0.1:9>"))))
                channel = self.post(dialog, dialog.recovery_variables(ON_FAILURE="bye"))
                ended = self.result(channel)
                self.assertEqual(
                    (ended["outcome"], ended["status"], ended["origin"], ended["retry_after"]),
                    ("ended", str(status), "received", "7"))
                phone.wait_request("BYE")
                self.wait_gone(channel)
                self.assert_not_started(channel)
                self.assertEqual(len(phone.requests("BYE")), 1)
                self.assertEqual(len(phone.requests("INVITE")), 1)

    def test_M05_without_a_choice_it_is_ended_with_bye(self):
        phone = self.phone()
        dialog = self.call_in(phone)
        phone.answers.append(Answer(488))
        channel = self.post(dialog)
        self.assertEqual(self.result(channel)["outcome"], "ended")
        phone.wait_request("BYE")

    def test_M05_a_kept_dialog_hears_nothing_more_and_can_be_recovered_again(self):
        for status in (302, 403, 408, 480, 488, 500, 503, 603):
            with self.subTest(status=status):
                phone = self.phone()
                dialog = self.call_in(phone)
                phone.answers.append(Answer(status, headers=(
                    ("Contact", "<sip:elsewhere@127.0.0.1:9>"),)))
                channel = self.post(dialog, dialog.recovery_variables(ON_FAILURE="keep"))
                ended = self.result(channel)
                self.assertEqual((ended["outcome"], ended["status"]), ("kept", str(status)))
                self.wait_gone(channel)
                again = self.recover(dialog)
                self.assertEqual(self.result(again)["outcome"], "answered")
                self.assertEqual(phone.requests("BYE"), [])
                self.assertEqual(len(phone.requests("INVITE")), 2)
                self.assertEqual(dialog.bye(), 200)

    def test_M05_after_481_nothing_is_sent_whatever_the_choice(self):
        for choice in ("keep", "bye"):
            with self.subTest(choice=choice):
                phone = self.phone()
                dialog = self.call_in(phone)
                phone.answers.append(Answer(481))
                channel = self.post(dialog, dialog.recovery_variables(ON_FAILURE=choice))
                self.assertEqual(self.result(channel)["outcome"], "gone")
                self.wait_gone(channel)
                # A later exchange shows that nothing else was on its way.
                self.recover(dialog)
                self.assertEqual(phone.requests("BYE"), [])

    def test_M05_a_491_is_tried_again_after_the_timer_of_the_rfc(self):
        phone = self.phone()
        dialog = self.call_in(phone)
        phone.answers.append(Answer(491))
        channel = self.recover(dialog)
        self.assertEqual(self.result(channel)["outcome"], "answered")
        self.assertEqual(len(phone.requests("INVITE")), 2)
        # The SDP of the second try and of what follows goes on as well (M16).
        self.assertEqual(dialog.reinvite("sendonly").status, 200)
        self.assertEqual(dialog.reinvite("sendrecv").status, 200)
        self.assertEqual(dialog.bye(), 200)

    def test_M05_a_422_is_tried_again_with_the_longer_interval(self):
        phone = self.phone()
        dialog = self.call_in(phone)
        phone.answers.append(Answer(422, headers=(("Min-SE", "3600"),)))
        channel = self.recover(dialog)
        self.assertEqual(self.result(channel)["outcome"], "answered")
        self.assertEqual(phone.requests("INVITE")[1].get("Min-SE"), "3600")
        self.assertEqual(dialog.bye(), 200)

    def test_M05_a_challenge_without_credentials_fails_at_once(self):
        for choice, outcome in (("keep", "kept"), ("bye", "ended")):
            with self.subTest(choice=choice):
                phone = self.phone()
                dialog = self.call_in(phone)
                phone.answers += [Answer(407, challenge=("nobody", "nothing"))]
                channel = self.post(dialog, dialog.recovery_variables(ON_FAILURE=choice))
                ended = self.result(channel)
                self.assertEqual((ended["outcome"], ended["status"]), (outcome, "407"))
                self.wait_gone(channel)

    def test_M05_wrong_credentials_do_not_leave_the_channel_ringing(self):
        phone = self.phone("trunk")
        dialog = self.call_in(phone)
        phone.answers += [Answer(401, challenge=("sipheal", "another"))]
        channel = self.post(dialog, dialog.recovery_variables(ON_FAILURE="keep"))
        ended = self.result(channel)
        self.assertEqual((ended["outcome"], ended["status"]), ("kept", "401"))
        self.wait_gone(channel)

    def test_M05_no_answer_at_all_is_a_timeout(self):
        for choice, outcome in (("keep", "kept"), ("bye", "ended")):
            with self.subTest(choice=choice):
                phone = self.phone()
                dialog = self.call_in(phone)
                phone.answers.append(Answer(0))
                channel = self.post(dialog, dialog.recovery_variables(ON_FAILURE=choice),
                                    timeout="30")
                ended = self.result(channel, timeout=12)
                self.assertEqual((ended["outcome"], ended["status"], ended["origin"]),
                                 (outcome, "408", "timeout"))
                self.wait_gone(channel, timeout=12)
                self.assertEqual(len(phone.requests("BYE")), 0 if choice == "keep" else 1)

    def test_M05_hanging_up_before_any_answer_sends_bye_at_once(self):
        phone = self.phone()
        dialog = self.call_in(phone)
        phone.answers.append(Answer(0))
        channel = self.post(dialog)
        phone.wait_request("INVITE")
        self.b.ari("DELETE", f"/channels/{channel}")
        bye = phone.wait_request("BYE", timeout=2)
        self.assertEqual(phone.requests("CANCEL"), [])
        repeats = phone.repeats("INVITE")
        time.sleep(0.5)  # several times T1: the INVITE would be repeated meanwhile
        self.assertEqual(phone.repeats("INVITE"), repeats)
        self.assertGreater(bye.cseq, phone.requests("INVITE")[0].cseq)
        self.wait_gone(channel)

    def test_M05_hanging_up_while_it_rings_sends_cancel_and_bye_at_once(self):
        phone = self.phone()
        dialog = self.call_in(phone)
        phone.answers.append(Answer(provisional=(180,), hold=True))
        channel = self.post(dialog)
        self.b_events.wait(lambda e: e["type"] == "ChannelStateChange"
                           and e["channel"]["id"] == channel
                           and e["channel"]["state"] == "Ringing", 5, "Ringing")
        self.b.ari("DELETE", f"/channels/{channel}")
        phone.wait_request("CANCEL", timeout=2)
        phone.wait_request("BYE", timeout=2)
        self.wait_gone(channel)
        self.assertEqual(len(phone.requests("BYE")), 1)

    def test_M05_a_bye_of_the_phone_before_its_answer_ends_the_channel(self):
        phone = self.phone()
        dialog = self.call_in(phone)
        phone.answers.append(Answer(provisional=(180,), hold=True))
        channel = self.post(dialog)
        invite = phone.wait_request("INVITE")
        dialog.remote_target = f"sip:{self.b.sip_address}:{self.b.sip_port}"
        self.assertEqual(dialog.bye(), 200)
        phone.respond(invite, 487, to_tag=dialog.local_tag)
        ended = self.result(channel)
        self.assertEqual((ended["outcome"], ended["reason"]), ("gone", "BYE received"))
        self.wait_gone(channel)

    # -- M6, M12 --------------------------------------------------------------------------------

    BAD = (
        ("FROM_URI", None), ("FROM_URI", ""), ("FROM_URI", "not a uri"),
        ("FROM_URI", "<sip:a@127.0.0.1>"), ("FROM_URI", "mailto:a@127.0.0.1"),
        ("FROM_TAG", None), ("FROM_TAG", ""), ("FROM_TAG", "a;b"), ("FROM_TAG", "a b"),
        ("TO_URI", None), ("TO_URI", "sip:"), ("TO_TAG", None), ("TO_TAG", ""),
        ("TO_URI", "sip:a@127.0.0.1\r\nX: y"), ("TO_DISPLAY", "a\r\nX: y"),
        ("CALL-ID", None), ("CALL-ID", ""), ("CALL-ID", "a b"), ("CALL-ID", "a\nb"),
        ("CSEQ", None), ("CSEQ", ""), ("CSEQ", "0"), ("CSEQ", "-1"), ("CSEQ", "1x"),
        ("CSEQ", "2147482624"), ("CSEQ", "4294967297"), ("CSEQ", "+5"),
        ("REQUEST_URI", None), ("REQUEST_URI", ""), ("REQUEST_URI", "http://127.0.0.1/"),
        ("REQUEST_URI", "tel:+49301"),
        ("ROUTES", None), ("ROUTES", "junk"), ("ROUTES", "<sip:a@127.0.0.1;lr>;;,"),
        ("ROUTES", "<tel:+1>"), ("ROUTES", "<sip:127.0.0.1;lr>,\r\nX: y"),
        ("ROUTES", ",".join(["<sip:127.0.0.1:9;lr>"] * 71)),
        ("REMOTE_CSEQ", "x"), ("REMOTE_CSEQ", "2147483648"),
        ("SDP_ORIGIN", "- 1 2 IN IP4"), ("SDP_ORIGIN", "- 1 4294967295 IN IP4 127.0.0.1"),
        ("SDP_MEDIA", "audio"), ("METHOD", "UPDATE"), ("ON_FAILURE", "perhaps"),
        ("RECORD-ROUTES", "a\nb"),
    )

    def test_M06_a_bad_variable_sends_nothing_and_says_why(self):
        phone = self.phone()
        dialog = self.call_in(phone)
        good = dialog.recovery_variables()
        seen = len(phone.messages)
        for name, value in self.BAD:
            with self.subTest(name=name, value=value):
                variables = dict(good)
                if value is None:
                    del variables[f"PJSIP_RECOVERY_{name}"]
                else:
                    variables[f"PJSIP_RECOVERY_{name}"] = value
                channel = self.post(dialog, variables)
                ended = self.result(channel)
                self.assertEqual(ended["outcome"], "refused")
                self.assertTrue(ended["reason"].startswith(f"PJSIP_RECOVERY_{name} "), ended)
                gone = self.wait_gone(channel)
                self.assertNotIn(gone["cause"], (0, 16))
                self.assertEqual(len(phone.messages), seen, phone.ladder())
        channel = self.recover(dialog, {**good, "PJSIP_RECOVERY_CSEQ": "2147482623"})
        self.assertEqual(phone.requests("INVITE")[0].cseq, 2147482623)
        self.assertEqual(self.result(channel)["outcome"], "answered")

    def test_M06_a_tel_target_with_a_route_works(self):
        phone = self.phone()
        dialog = self.call_in(phone)
        own = phone.contact_uri
        phone.contact_uri = "tel:+49301"
        variables = dialog.recovery_variables(ROUTES=f"<{own};lr>")
        phone.contact_uri = own
        channel = self.post(dialog, variables)
        invite = phone.wait_request("INVITE")
        self.assertEqual(invite.request_uri, "tel:+49301")
        self.wait_start(channel)
        self.release(self.b, channel)
        self.wait_gone(channel)
        phone.violations.clear()  # the phone's own Contact is no tel: URI

    def test_M12_a_global_variable_has_no_say(self):
        phone = self.phone()
        dialog = self.call_in(phone)
        variables = dialog.recovery_variables()
        left_out = variables.pop("PJSIP_RECOVERY_TO_TAG")
        names = {"PJSIP_RECOVERY_TO_TAG": left_out}
        for name, value in names.items():
            self.b.ari("POST", "/asterisk/variable", query={"variable": name, "value": value})
        try:
            channel = self.post(dialog, variables)
            self.assertEqual(self.result(channel)["outcome"], "refused")
            self.wait_gone(channel)
            # A call without variables of its own is an ordinary one.
            other = self.phone("bob")
            plain = self.call_out(other, self.b)
            self.assertEqual(other.requests("INVITE")[0].to_tag, "")
            self.assertEqual(plain.bye(), 200)
        finally:
            for name in names:
                self.b.ari("POST", "/asterisk/variable", query={"variable": name, "value": ""})

    # -- M19, M20, M21 --------------------------------------------------------------------------

    def test_M19_values_are_not_logged(self):
        dialog = self.call_in(self.phone())
        channel = self.recover(dialog, dialog.recovery_variables(TO_DISPLAY="Secret Name"))
        self.result(channel)
        self.post(dialog, dialog.recovery_variables(CSEQ="secret"))
        self.assertEqual(dialog.bye(), 200)
        log = self.b.log(10**7)
        for value in (dialog.call_id, dialog.local_tag, "Secret Name", "secret", "sip:alice@"):
            self.assertNotIn(value, log)

    def test_M20_a_released_channel_ends_without_a_packet(self):
        for stasis in (True, False):
            for make in (self.call_in, self.call_out):
                with self.subTest(stasis=stasis, role=make.__name__):
                    phone = self.phone()
                    dialog = make(phone, self.b)
                    channel = next(c["id"] for c in self.b.ari("GET", "/channels")
                                   if c["protocol_id"] == dialog.call_id)
                    self.wait_start(channel)
                    if not stasis:
                        self.b.ari("POST", f"/channels/{channel}/continue",
                                   query={"context": "outside", "extension": "s"})
                        self.b_events.wait(lambda e: e["type"] == "StasisEnd"
                                           and e["channel"]["id"] == channel, 5, "StasisEnd")
                    before = len(phone.messages)
                    self.release(self.b, channel)
                    self._wait_no_channel(channel)
                    # The dialog lives on elsewhere, and b answers as one that never had it.
                    self.assertEqual(dialog.request("INFO").status, 481)
                    fresh = [m for m in phone.messages[before:] if m.received and m.is_request]
                    self.assertEqual(fresh, [], phone.ladder())

    def _wait_no_channel(self, channel, server=None):
        deadline = time.monotonic() + 5
        while (server or self.b).ari.request("GET", f"/channels/{channel}")[0] != 404:
            self.assertLess(time.monotonic(), deadline, "channel still there")
            time.sleep(0.01)

    def test_M20_a_server_that_hung_and_woke_up_gives_its_lost_call_up_in_silence(self):
        phone = self.phone()
        dialog = self.call_in(phone)
        lost = next(c["id"] for c in self.a.ari("GET", "/channels")
                    if c["protocol_id"] == dialog.call_id)
        self.a.pause()
        try:
            channel = self.recover(dialog)
        finally:
            self.a.resume()
        self.release(self.a, lost)
        self._wait_no_channel(lost, self.a)
        self.assertEqual(phone.requests("BYE"), [])
        self.assertEqual(dialog.request("INFO").status, 200)
        self.assertEqual(dialog.bye(), 200)
        self.wait_gone(channel)

    def test_M20_a_ringing_recovery_can_be_released_too(self):
        phone = self.phone()
        dialog = self.call_in(phone)
        phone.answers.append(Answer(provisional=(180,), hold=True))
        channel = self.post(dialog)
        phone.wait_request("INVITE")
        self.release(self.b, channel)
        self.wait_gone(channel)
        self.assertEqual(phone.requests("BYE") + phone.requests("CANCEL"), [])

    def test_M20_a_call_that_rings_in_can_be_released_too(self):
        phone = self.phone()
        thread = threading.Thread(target=self._call_that_is_never_answered, args=(phone,))
        thread.start()
        phone.wait(lambda m: m.status == 180, what="180")
        channel = self.b.ari("GET", "/channels")[0]["id"]
        self.release(self.b, channel)
        self._wait_no_channel(channel)
        thread.join()
        self.assertEqual([m for m in phone.messages if m.status >= 200], [], phone.ladder())

    def _call_that_is_never_answered(self, phone):
        with self.assertRaises(AssertionError):
            phone.call(self.b.sip_uri("ring"), timeout=1.5)

    def test_M20_a_wrong_name_does_no_harm(self):
        dialog = self.call_in(self.phone(), self.b)
        self.release(self.b, "nobody,,no-one-either")
        self.assertIn("No PJSIP channel", self.b.cli("pjsip release channel nobody"))
        self.assertEqual(dialog.bye(), 200)

    def test_M21_method_bye_sends_one_bye_and_no_invite(self):
        for status in (200, 481):
            with self.subTest(answer=status):
                phone = self.phone()
                dialog = self.call_in(phone)
                if status == 481:
                    dialog.ended = True
                channel = self.post(dialog, dialog.recovery_variables(METHOD="BYE"))
                ended = self.result(channel)
                self.assertEqual((ended["outcome"], ended["status"], ended["origin"]),
                                 ("ended", str(status), "received"))
                self.wait_gone(channel)
                self.assertEqual(phone.requests("INVITE"), [])
                self.assertEqual(len(phone.requests("BYE")), 1)
                self.assertTrue(dialog.ended)

    def test_M21_a_challenged_bye_is_sent_again_with_credentials(self):
        phone = self.phone("trunk")
        dialog = self.call_in(phone)
        accept = phone._on_bye

        def challenge(dialog, request):
            if request.get("Authorization"):
                accept(dialog, request)
            else:
                phone.respond(request, 401, headers=[
                    ("WWW-Authenticate", 'Digest realm="lab", nonce="1", algorithm=MD5')])

        phone._on_bye = challenge
        self.post(dialog, dialog.recovery_variables(METHOD="BYE"))
        phone.wait_request("BYE", count=2)
        phone.wait_until(lambda: dialog.ended, what="end")
        self.assertEqual(phone.requests("INVITE"), [])

    def test_M21_an_unanswered_bye_is_a_timeout(self):
        phone = self.phone()
        dialog = self.call_in(phone)
        phone._on_bye = lambda dialog, request: None  # hears it, and says nothing
        channel = self.post(dialog, dialog.recovery_variables(METHOD="BYE"), timeout="30")
        ended = self.result(channel, timeout=12)
        self.assertEqual((ended["outcome"], ended["status"], ended["origin"]),
                         ("ended", "408", "timeout"))
        self.wait_gone(channel, timeout=12)


if __name__ == "__main__":
    unittest.main()
