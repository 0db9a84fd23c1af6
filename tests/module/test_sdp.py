# SPDX-License-Identifier: Apache-2.0
"""The SDP goes on where the dead server's ended: M16."""

import unittest

from module_case import ModuleCase


class ContinuedSdp(ModuleCase):

    def test_M16_the_origin_goes_on_with_the_next_version(self):
        phone = self.phone()
        dialog = self.call_in(phone)
        origin = "- 1234567890 41 IN IP4 127.0.0.77"
        dialog.remote_origin = origin
        channel = self.recover(dialog)
        self.assertEqual(phone.requests("INVITE")[0].origin, "- 1234567890 42 IN IP4 127.0.0.77")
        # Offers and answers that follow: the phone notes a breach when one does not go on.
        self.assertEqual(dialog.reinvite("sendonly").status, 200)
        self.assertEqual(dialog.reinvite("sendrecv").status, 200)
        self.assertGreater(int(dialog.remote_origin.split()[2]), 42)
        self.assertEqual(dialog.remote_origin.split()[:2], ["-", "1234567890"])
        self.assertEqual(self.result(channel)["outcome"], "answered")

    def test_M16_without_the_variable_the_session_is_a_new_one(self):
        phone = self.phone(strict_sdp=False)
        dialog = self.call_in(phone)
        old = dialog.remote_origin
        self.recover(dialog, dialog.recovery_variables(SDP_ORIGIN=None, SDP_MEDIA=None))
        self.assertNotEqual(phone.requests("INVITE")[0].origin.split()[1], old.split()[1])

    def test_M16_dead_media_lines_keep_their_place(self):
        cases = (
            ("audio 4000 RTP/AVP 0,video 0 RTP/AVP 99",
             [("audio", True), ("video", False)]),
            ("video 0 RTP/AVP 99,audio 4000 RTP/AVP 0",
             [("video", False), ("audio", True)]),
            ("audio 0 RTP/AVP 8,application 0 UDP/BFCP *,audio 4000 RTP/AVP 0",
             [("audio", False), ("application", False), ("audio", True)]),
        )
        for media, expected in cases:
            with self.subTest(media=media):
                phone = self.phone(media=True)
                dialog = self.call_in(phone)
                dialog.remote_media = media.split(",")
                channel = self.recover(dialog)
                lines = phone.requests("INVITE")[-1].sdp_lines("m")
                self.assertEqual([(line.split()[0], line.split()[1] != "0") for line in lines],
                                 expected)
                dialog.media.send(*dialog.rtp_target)
                self.b.ari("POST", f"/channels/{channel}/moh")
                dialog.media.wait_received(5)
                self.assertEqual(dialog.reinvite("sendonly").status, 200)
                self.assertEqual(len(dialog.remote_media), len(expected))
                self.assertEqual(dialog.bye(), 200)

    def test_M16_a_media_line_that_the_call_never_had_is_not_offered(self):
        # The endpoint has video, but this call was audio alone.
        phone = self.phone("multi")
        dialog = self.call_in(phone)
        dialog.remote_media = ["audio 4000 RTP/AVP 0"]
        self.recover(dialog, query={"formats": "ulaw,vp8"})
        lines = phone.requests("INVITE")[0].sdp_lines("m")
        self.assertEqual([line.split()[0] for line in lines], ["audio"])
        self.assertEqual(dialog.reinvite().status, 200)

    def test_M16_audio_and_video_both_go_on(self):
        phone = self.phone("multi")
        dialog = self.call_in(phone)
        dialog.remote_media = ["audio 4000 RTP/AVP 0", "video 4002 RTP/AVP 99"]
        self.recover(dialog, query={"formats": "ulaw,vp8"})
        lines = phone.requests("INVITE")[0].sdp_lines("m")
        self.assertEqual([(line.split()[0], line.split()[1] != "0") for line in lines],
                         [("audio", True), ("video", True)])
        self.assertEqual(dialog.bye(), 200)


if __name__ == "__main__":
    unittest.main()
