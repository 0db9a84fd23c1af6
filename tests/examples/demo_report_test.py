# SPDX-License-Identifier: Apache-2.0
"""The demo's figures: percentiles, the ladder, the melody's clock, the mix of calls, the variables of
the bare loop."""

import pathlib
import sys
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "examples" / "demo"), str(ROOT / "tests" / "support" / "python")]

from baseline import recovery_variables  # noqa: E402
from checker import Dialog  # noqa: E402
from lab import Melody  # noqa: E402
from phones import FEWEST, make_phones  # noqa: E402
from report import ladder, percentile, table  # noqa: E402
from wire import Message  # noqa: E402


class Percentile(unittest.TestCase):
    def test_it_is_the_nearest_rank(self):
        values = list(range(100, 0, -1))
        self.assertEqual((percentile(values, 0.5), percentile(values, 0.99)), (50, 99))

    def test_of_one_value_it_is_that_value_and_of_none_there_is_none(self):
        self.assertEqual(percentile([7], 0.99), 7)
        self.assertIsNone(percentile([], 0.5))


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
