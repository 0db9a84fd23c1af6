# SPDX-License-Identifier: Apache-2.0
"""The demo's figures: percentiles, the ladder, the melody's clock, the mix of calls, the variables of
the bare loop."""

import pathlib
import struct
import sys
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "examples" / "demo"), str(ROOT / "tests" / "support" / "python")]

from baseline import recovery_variables  # noqa: E402
from checker import Dialog, Recovery  # noqa: E402
from hep_relay import insert_of, row_of  # noqa: E402
from lab import Melody  # noqa: E402
from phones import FEWEST, make_phones  # noqa: E402
from production import double_reinvites  # noqa: E402
from report import ladder, percentile, table  # noqa: E402
from wire import Message  # noqa: E402


class Percentile(unittest.TestCase):
    def test_it_is_the_nearest_rank(self):
        values = list(range(100, 0, -1))
        self.assertEqual((percentile(values, 0.5), percentile(values, 0.99)), (50, 99))

    def test_of_one_value_it_is_that_value_and_of_none_there_is_none(self):
        self.assertEqual(percentile([7], 0.99), 7)
        self.assertIsNone(percentile([], 0.5))


class DoubleReinvites(unittest.TestCase):
    @staticmethod
    def dialog(*invited):
        dialog = Dialog("c", "u", (), True)
        dialog.recoveries = [Recovery("127.0.0.1", "127.0.0.2", at) for at in invited]
        return dialog

    def test_one_for_each_death_is_none_too_many(self):
        self.assertEqual(double_reinvites([self.dialog(11, 21), self.dialog(25)], [10, 20]), 0)

    def test_a_second_one_after_the_same_death_is(self):
        self.assertEqual(double_reinvites([self.dialog(11, 12, 21), self.dialog(11)], [10, 20]), 1)
        self.assertEqual(double_reinvites([self.dialog(21, 22, 23)], [10, 20]), 2)


class HepRelay(unittest.TestCase):
    """What is written into HOMER's tables of a packet of the wire."""

    @staticmethod
    def packet(payload, kind=b"\x01"):
        chunks = [(0x01, b"\x02"), (0x02, b"\x11"), (0x03, bytes([127, 0, 0, 1])),
                  (0x04, bytes([127, 0, 0, 2])), (0x07, struct.pack("!H", 5060)),
                  (0x08, struct.pack("!H", 5062)), (0x09, struct.pack("!I", 1700000000)),
                  (0x0A, struct.pack("!I", 7)), (0x0B, kind), (0x0C, struct.pack("!I", 101)),
                  (0x0F, payload)]
        body = b"".join(struct.pack("!HHH", 0, number, len(value) + 6) + value
                        for number, value in chunks)
        return b"HEP3" + struct.pack("!H", len(body) + 6) + body

    def test_a_message_is_filed_as_heplify_server_does(self):
        payload = b"INVITE sip:x SIP/2.0\r\ni: it's@me\r\nCSeq: 1 INVITE\r\n\r\n"
        table, call_id, micros, fields, raw = row_of(self.packet(payload))
        self.assertEqual((table, call_id, micros), ("hep_proto_1_call", "it's@me",
                                                    1700000000_000007))
        self.assertEqual(raw, payload.decode())
        self.assertEqual((fields["srcIp"], fields["dstPort"], fields["captureId"]),
                         ("127.0.0.1", 5062, "101"))
        statement = insert_of(table, call_id, micros, fields, raw)
        self.assertNotIn("it's", statement)

    def test_what_is_no_sip_or_damaged_is_left_out(self):
        good = self.packet(b"BYE sip:x SIP/2.0\r\nCall-ID: c\r\nCSeq: 2 BYE\r\n\r\n")
        self.assertIsNotNone(row_of(good))
        self.assertIsNone(row_of(self.packet(b"{}", kind=b"\x05")))
        self.assertIsNone(row_of(self.packet(b"no SIP")))
        for cut in range(len(good)):
            self.assertIsNone(row_of(good[:cut]))


class Mix(unittest.TestCase):
    def test_there_are_as_many_phones_as_asked_for_and_all_kinds(self):
        for count in (FEWEST, 15, 23, 50, 200, 999, 1000):
            phones = make_phones(count, 200)
            self.assertEqual(len(phones), count)
            self.assertEqual({p.kind for p in phones},
                             {"hold", "conference", "playback", "outbound", "pair"})
            self.assertLessEqual(abs(2 * sum(p.through_proxy for p in phones) - count), 1)
            self.assertEqual(len({p.user for p in phones}), count)
            self.assertEqual(sum(p.real for p in phones), 1)

    def test_every_pair_has_two_phones_and_every_conference_three(self):
        for count in (FEWEST, 50, 1000):
            phones = make_phones(count, 200)
            for phone in phones:
                if phone.group:
                    size = sum(p.group == phone.group for p in phones)
                    self.assertEqual(size, {"pair": 2, "conference": 3}[phone.kind], phone)

    def test_no_more_phones_than_asked_for_have_rtp(self):
        self.assertEqual(sum(p.has_media for p in make_phones(1000, 200)), 200)


class Clock(unittest.TestCase):
    def test_the_melody_tells_how_far_apart_two_packets_are(self):
        melody = Melody()
        sound = pathlib.Path(self.id() + ".ulaw")
        try:
            melody.write(sound, 60)
            data = sound.read_bytes()
        finally:
            sound.unlink()
        self.assertEqual(len(data), 60 * 8000)

        def packet(second):
            return data[int(second * 8000):int(second * 8000) + 160]

        self.assertAlmostEqual(melody.shift(packet(3.0), packet(3.02)), 0)
        self.assertAlmostEqual(melody.shift(packet(30.5), packet(30.42)), -0.1)
        self.assertAlmostEqual(melody.shift(packet(23.9), packet(24.52)), 0.6)
        for second in range(24):  # within each note, every packet is another one
            self.assertAlmostEqual(melody.shift(packet(second + 0.1), packet(second + 0.8)), 0.68)
        self.assertIsNone(melody.shift(packet(3.0), b"\x00" * 160))


class Ladder(unittest.TestCase):
    def test_an_arrow_goes_from_source_to_destination(self):
        def message(time, source, destination, start):
            return Message(time, (source, 5060), (destination, 5060),
                           f"{start}\r\nCSeq: 7 INVITE\r\nTo: <sip:a>;tag=1\r\n\r\n")

        lines = ladder([message(1.0, "b", "a", "INVITE sip:a SIP/2.0"),
                        message(1.5, "a", "b", "SIP/2.0 200 OK")], {"a": "phone", "b": "server"})
        self.assertIn("phone", lines[0])
        self.assertRegex(lines[1], r"0\.000 +\|<-.* re-INVITE 7 .*-\|")
        self.assertRegex(lines[2], r"0\.500 +\|-.* 200 INVITE .*->\|")


class Table(unittest.TestCase):
    def test_rows_above_the_limit_are_counted(self):
        lines = table([["a", 1], ["b", 2], ["c", 3]], ["call", "n"], 2)
        self.assertEqual(len(lines), 5)
        self.assertIn("1 more", lines[-1])


class BareLoop(unittest.TestCase):
    def test_from_is_the_servers_side_and_the_cseq_is_the_next(self):
        dialog = Dialog("c1", "play1", ("10.0.0.1", 5060), True, owner="10.0.0.2",
                        server_uri="sip:s", phone_uri="sip:p", server_tag="st", phone_tag="pt",
                        server_cseq=41, target="sip:phone@10.0.0.1", routes=["sip:x;lr", "sip:y"],
                        origin=("-", 5, 6))
        variables = recovery_variables(dialog)
        self.assertEqual(variables["PJSIP_RECOVERY(FROM_TAG)"], "st")
        self.assertEqual(variables["PJSIP_RECOVERY(TO_URI)"], "sip:p")
        self.assertEqual(variables["PJSIP_RECOVERY(CSEQ)"], "42")
        self.assertEqual(variables["PJSIP_RECOVERY(ROUTES)"], "<sip:x;lr>,<sip:y>")
        self.assertEqual(variables["PJSIP_RECOVERY(SDP_ORIGIN)"], "- 5 6 IN IP4 10.0.0.2")


if __name__ == "__main__":
    unittest.main()
