# SPDX-License-Identifier: Apache-2.0
"""The demo's wire checker finds every kind of wrong re-INVITE, and no fault in right ones."""

import pathlib
import sys
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "examples" / "demo"))

from checker import Checker  # noqa: E402
from wire import Message, parameter  # noqa: E402

A, B, C = ("10.0.0.11", 5060), ("10.0.0.12", 5060), ("10.0.0.13", 5060)
PROXY, PHONE = ("10.0.0.2", 5060), ("10.0.0.21", 5060)
EDGE = "<sip:10.0.0.2;lr;ftag=ph>"


def sip(time, source, destination, start, **headers):
    """A message; header names have '_' for '-', `body` is an SDP origin version."""
    version = headers.pop("body", None)
    lines = [start]
    for name, value in headers.items():
        for one in value if isinstance(value, list) else [value]:
            lines.append(f"{name.replace('_', '-')}: {one}")
    body = ""
    if version is not None:
        body = f"v=0\r\no=- 77 {version} IN IP4 {source[0]}\r\nm=audio 4000 RTP/AVP 0\r\n"
    return Message(time, source, destination, "\r\n".join(lines) + "\r\n\r\n" + body)


class Scene:
    """An inbound call of one phone to A, direct or through the proxy, then whatever a test adds."""

    def __init__(self, routed=False):
        self.routed = routed
        self.checker = Checker({A[0], B[0], C[0]}, {PHONE[0]}, {"out1"})
        via_server = PROXY if routed else PHONE
        record = {"Record_Route": EDGE} if routed else {}
        self.feed(sip(1, via_server, A, "INVITE sip:play1@10.0.0.11:5060 SIP/2.0",
                      From='"P, one" <sip:p@10.0.0.21>;tag=ph', To="<sip:play1@10.0.0.11>",
                      Call_ID="c1", CSeq="1 INVITE", Contact="<sip:phone@10.0.0.21:5060>",
                      Via="SIP/2.0/UDP 10.0.0.21;branch=z1", **record))
        self.feed(sip(2, A, via_server, "SIP/2.0 200 OK",
                      From='"P, one" <sip:p@10.0.0.21>;tag=ph', To="<sip:play1@10.0.0.11>;tag=as",
                      Call_ID="c1", CSeq="1 INVITE", Contact="<sip:10.0.0.11:5060>", body=5,
                      Via="SIP/2.0/UDP 10.0.0.21;branch=z1"))

    def feed(self, message):
        self.checker.feed(message)

    def die(self, server=A, time=3):
        self.checker.kill(server[0], time)

    def reinvite(self, server=B, time=4, answer=True, **changes):
        hop = PROXY if self.routed else PHONE
        uri = changes.pop("request_uri", "sip:phone@10.0.0.21:5060")
        values = {
            "Via": f"SIP/2.0/UDP {server[0]};branch=z{time}{server[0]}",
            "From": "<sip:play1@10.0.0.11>;tag=as", "To": "<sip:p@10.0.0.21>;tag=ph",
            "Call_ID": "c1", "CSeq": f"{1000 + time} INVITE",
            "Contact": f"<sip:asterisk@{server[0]}:5060>", "body": 6,
            **({"Route": EDGE} if self.routed else {}),
        }
        destination = changes.pop("destination", hop)
        values.update(changes)
        values = {name: value for name, value in values.items() if value is not None}
        self.feed(sip(time, server, destination, f"INVITE {uri} SIP/2.0", **values))
        if answer:
            self.feed(sip(time + 0.1, hop, server, "SIP/2.0 200 OK",
                          **{n: values[n] for n in ("Via", "From", "To", "Call_ID", "CSeq")},
                          Contact="<sip:phone@10.0.0.21:5060>", body=1))

    def bye(self, source, destination, time, sequence=2001, status=200):
        common = {"From": "<sip:p@10.0.0.21>;tag=ph", "To": "<sip:play1@10.0.0.11>;tag=as",
                  "Call_ID": "c1", "CSeq": f"{sequence} BYE",
                  "Via": "SIP/2.0/UDP 10.0.0.21;branch=zb"}
        self.feed(sip(time, source, destination, "BYE sip:10.0.0.12:5060 SIP/2.0", **common))
        self.feed(sip(time + 0.1, destination, source, f"SIP/2.0 {status} X", **common))

    def faults(self):
        return [fault.what for fault in self.checker.faults]

    @property
    def dialog(self):
        return self.checker.dialogs["c1"]


class RightMessages(unittest.TestCase):
    def test_a_right_direct_recovery_has_no_fault_and_is_counted(self):
        scene = Scene()
        scene.die()
        scene.reinvite()
        self.assertEqual(scene.faults(), [])
        self.assertEqual(scene.dialog.warnings, [])
        self.assertEqual([(r.old, r.new) for r in scene.dialog.recoveries], [(A[0], B[0])])
        self.assertAlmostEqual(scene.dialog.recoveries[0].answered, 4.1)

    def test_a_right_recovery_through_the_proxy_has_no_fault(self):
        scene = Scene(routed=True)
        scene.die()
        scene.reinvite()
        self.assertEqual(scene.faults(), [])

    def test_a_port_in_to_that_a_server_drops_as_table_1_has_it_is_no_fault(self):
        scene = Scene()
        scene.dialog.phone_uri = "sip:p@10.0.0.21:5060"
        scene.die()
        scene.reinvite()
        self.assertEqual(scene.faults(), [])

    def test_two_recoveries_one_after_another_have_no_fault(self):
        scene = Scene()
        scene.die()
        scene.reinvite()
        scene.die(B, 5)
        scene.reinvite(C, 6, body=7)
        self.assertEqual(scene.faults(), [])
        self.assertEqual(len(scene.dialog.recoveries), 2)

    def test_a_retransmission_is_not_a_second_invite(self):
        scene = Scene()
        scene.die()
        scene.reinvite(answer=False)
        scene.reinvite()
        self.assertEqual(scene.faults(), [])
        self.assertEqual(len(scene.dialog.recoveries), 1)

    def test_the_bye_of_a_phone_and_its_answer_are_found(self):
        scene = Scene()
        scene.bye(PHONE, A, 5)
        self.assertEqual((scene.dialog.ended_by, scene.dialog.bye_status), ("phone", 200))

    def test_a_481_to_the_phones_bye_is_no_200(self):
        scene = Scene()
        scene.bye(PHONE, A, 5, status=481)
        self.assertEqual(scene.dialog.bye_status, 481)

    def test_a_bye_that_a_server_sent_is_the_servers(self):
        scene = Scene()
        scene.bye(A, PHONE, 5)
        self.assertEqual((scene.dialog.ended_by, scene.dialog.bye_status), ("server", 0))


class WrongMessages(unittest.TestCase):
    def expect(self, scene, words):
        self.assertTrue(any(words in fault for fault in scene.faults()), scene.faults())

    def after_death(self, routed=False, **changes):
        scene = Scene(routed)
        scene.die()
        scene.reinvite(**changes)
        return scene

    def test_no_to_tag_is_a_new_call(self):
        self.expect(self.after_death(To="<sip:p@10.0.0.21>"), "a new call rings")

    def test_another_to_tag(self):
        self.expect(self.after_death(To="<sip:p@10.0.0.21>;tag=xx"), "wrong To tag")

    def test_another_from_tag(self):
        self.expect(self.after_death(From="<sip:play1@10.0.0.11>;tag=xx"), "wrong From tag")

    def test_another_call_id(self):
        self.expect(self.after_death(Call_ID="c2"), "Call-ID that no phone has")

    def test_a_cseq_that_is_not_above_the_last_one(self):
        scene = Scene()
        scene.die()
        scene.reinvite()
        scene.die(B, 5)
        scene.reinvite(C, 6, CSeq="1004 INVITE")
        self.expect(scene, "CSeq 1004 is not above 1004")

    def test_another_request_uri(self):
        self.expect(self.after_death(request_uri="sip:p@10.0.0.21"), "wrong Request-URI")

    def test_another_from_or_to_uri(self):
        self.expect(self.after_death(From="<sip:other@10.0.0.11>;tag=as"), "wrong From URI")
        self.expect(self.after_death(To="<sip:other@10.0.0.21>;tag=ph"), "wrong To URI")

    def test_a_missing_route(self):
        scene = self.after_death(routed=True, Route=None, destination=PHONE)
        self.expect(scene, "wrong Route")
        self.expect(scene, "wrong destination")

    def test_a_route_where_there_is_none(self):
        self.expect(self.after_death(Route=EDGE), "wrong Route")

    def test_a_route_without_its_parameters(self):
        self.expect(self.after_death(routed=True, Route="<sip:10.0.0.2;lr>"), "wrong Route")

    def test_a_wrong_way(self):
        self.expect(self.after_death(routed=True, destination=PHONE), "wrong destination")

    def test_a_contact_of_the_dead_server(self):
        self.expect(self.after_death(Contact="<sip:10.0.0.11:5060>"), "wrong Contact")

    def test_a_record_route_put_there(self):
        self.expect(self.after_death(Record_Route=EDGE), "Record-Route")

    def test_a_call_moved_while_its_server_lives(self):
        scene = Scene()
        scene.reinvite()
        self.expect(scene, "was alive")

    def test_a_call_recovered_twice(self):
        scene = self.after_death()
        scene.reinvite(C, 5)
        self.expect(scene, "was alive")

    def test_a_call_raised_from_the_dead(self):
        scene = Scene()
        scene.bye(PHONE, A, 2.5)
        scene.die()
        scene.reinvite()
        self.expect(scene, "after BYE")

    def test_an_expected_call_that_rings_twice(self):
        scene = Scene()
        for time in (5, 6):
            scene.feed(sip(time, A, PHONE, "INVITE sip:out1@10.0.0.21:5060 SIP/2.0",
                           From="<sip:a@10.0.0.11>;tag=x", To="<sip:out1@10.0.0.21>",
                           Call_ID=f"o{time}", CSeq="1 INVITE", Contact="<sip:10.0.0.11:5060>",
                           Via=f"SIP/2.0/UDP 10.0.0.11;branch=z{time}"))
        self.assertEqual(len(scene.faults()), 1)
        self.expect(scene, "a new call rings")

    def test_an_sdp_origin_that_is_not_continued_is_a_warning(self):
        scene = self.after_death(body=5000)
        self.assertEqual(len(scene.dialog.warnings), 1)


class RouteSetOfACaller(unittest.TestCase):
    def test_a_server_that_called_reverses_the_record_route_of_the_answer(self):
        checker = Checker({A[0], B[0]}, {PHONE[0]}, {"out1"})
        common = {"From": "<sip:a@10.0.0.11>;tag=as", "Call_ID": "o1", "CSeq": "7 INVITE",
                  "Via": "SIP/2.0/UDP 10.0.0.11;branch=z1"}
        checker.feed(sip(1, A, PROXY, "INVITE sip:out1@10.0.0.21:5060 SIP/2.0",
                         To="<sip:out1@10.0.0.21>", Contact="<sip:10.0.0.11:5060>", **common))
        checker.feed(sip(2, PROXY, A, "SIP/2.0 200 OK", To="<sip:out1@10.0.0.21>;tag=ph",
                         Contact="<sip:phone@10.0.0.21:5060>",
                         Record_Route="<sip:p2;lr>, <sip:10.0.0.2;lr>", **common))
        self.assertEqual(checker.dialogs["o1"].routes, ["sip:10.0.0.2;lr", "sip:p2;lr"])


class Grammar(unittest.TestCase):
    def test_a_list_is_not_split_inside_quotes_or_brackets(self):
        message = sip(1, A, B, "INVITE sip:x SIP/2.0",
                      Route=['"a, \\", b" <sip:x;p=1,2>, <sip:y>', "<sip:z>"])
        self.assertEqual(message.list("route"), ["sip:x;p=1,2", "sip:y", "sip:z"])

    def test_a_parameter_of_the_uri_is_not_one_of_the_header(self):
        self.assertEqual(parameter("<sip:a;tag=uri>;tag=header", "tag"), "header")


if __name__ == "__main__":
    unittest.main()
