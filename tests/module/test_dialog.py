# SPDX-License-Identifier: Apache-2.0
"""The recovered dialog is the old dialog: M1 to M4, M7 to M11, M13, M15, M18."""

import unittest

from module_case import ENDPOINTS, ModuleCase

from sipheal_lab.asterisk import Asterisk


class RecoveredDialog(ModuleCase):

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


if __name__ == "__main__":
    unittest.main()
