# SPDX-License-Identifier: Apache-2.0
"""`sipheal dialogs` as a process: what stands on which stream, and that others can read what it prints.

SIPHEAL_COMMAND names the program.
"""

import json
import os
import pathlib
import struct
import subprocess
import tempfile
import unittest
import xml.etree.ElementTree as xml

COMMAND = os.environ.get("SIPHEAL_COMMAND", "build/bin/sipheal")
SERVER, PHONE = b"\xc0\x00\x02\x0a", b"\xc0\x00\x02\x14"  # 192.0.2.10, 192.0.2.20
CALL_ID = b"<![CDATA[</text>&#1;\xff\"'"
SDP = b"v=0\r\no=- 1 1 IN IP4 192.0.2.10\r\ns=-\r\nc=IN IP4 192.0.2.10\r\nt=0 0\r\nm=audio 4000 RTP/AVP 0\r\n"


def message(first_line, method, answered, contact, body=b""):
    lines = [first_line, b"Via: SIP/2.0/UDP 192.0.2.10:5060;branch=z9hG4bK1" + method,
             b'From: "<&\xc3\xa9" <sip:1000@pbx.example.com>;tag=as1',
             b"To: <sip:2000@pbx.example.com>" + (b";tag=ph1" if answered else b""),
             b"Call-ID: " + CALL_ID, b"CSeq: 100 " + method, b"Contact: <" + contact + b">"]
    if body:
        lines.append(b"Content-Type: application/sdp")
    return b"\r\n".join(lines) + b"\r\nContent-Length: %d\r\n\r\n" % len(body) + body


def capture(messages):
    """A pcap of raw IPv4; frame i is captured at second 1790000000 + i."""
    data = struct.pack("<IHHiIII", 0xa1b2c3d4, 2, 4, 0, 0, 65535, 101)
    for number, (sent, text) in enumerate(messages, 1):
        udp = struct.pack(">HHHH", 5060, 5060, len(text) + 8, 0) + text
        source, target = (SERVER, PHONE) if sent else (PHONE, SERVER)
        packet = struct.pack(">BBHHHBBH", 0x45, 0, len(udp) + 20, number, 0, 64, 17, 0) + source + target + udp
        data += struct.pack("<IIII", 1790000000 + number, 0, len(packet), len(packet)) + packet
    return data


SERVER_URI, PHONE_URI = b"sip:192.0.2.10:5060", b"sip:phone@192.0.2.20:5060"
CALL = [
    (True, message(b"INVITE sip:2000@pbx.example.com SIP/2.0", b"INVITE", False, SERVER_URI, SDP)),
    (False, message(b"SIP/2.0 200 </svg>;#\x9b", b"INVITE", True, PHONE_URI, SDP)),
    (True, message(b"ACK sip:phone@192.0.2.20:5060 SIP/2.0", b"ACK", True, SERVER_URI)),
]


class DialogsCase(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.file = pathlib.Path(folder.name) / "call.pcap"
        self.file.write_bytes(capture(CALL))

    def run_command(self, *arguments, status=0):
        done = subprocess.run([COMMAND, *map(str, arguments)], capture_output=True, timeout=60)
        self.assertEqual(done.returncode, status, done.stderr)
        return done.stdout, done.stderr.decode()

    def dialogs(self, *arguments, status=0):
        return self.run_command("dialogs", self.file, "--server", "192.0.2.10", *arguments, status=status)

    def test_json_is_json_in_utf8(self):
        out, err = self.dialogs("--format", "json")
        dialog, = json.loads(out.decode("utf-8"))["dialogs"]
        self.assertEqual(dialog["call_id"], CALL_ID.decode("latin-1"))  # the byte 0xff as U+00FF
        self.assertTrue(dialog["not_utf8"])
        self.assertEqual(dialog["local"]["display"], '"<&\u00e9"')
        self.assertEqual(dialog["request_uri"], PHONE_URI.decode())
        self.assertEqual(err, "")

    def test_svg_is_xml_of_text_and_lines(self):
        for arguments in ([], ["--at", "0"]):
            out, _ = self.dialogs("--format", "svg", *arguments)
            root = xml.fromstring(out)
            self.assertEqual(root.tag, "{http://www.w3.org/2000/svg}svg")
            tags = {element.tag.rpartition("}")[2] for element in root.iter()}
            self.assertLessEqual(tags, {"svg", "style", "defs", "marker", "path", "rect", "text", "line"})
        texts = [element.text for element in xml.fromstring(self.dialogs("--format", "svg")[0]).iter()]
        self.assertTrue(any("Call-ID <![CDATA[</text>&#1;\\xff\"'" in (text or "") for text in texts))

    def test_the_format_may_stand_before_the_subcommand(self):
        out, _ = self.run_command("--format", "json", "dialogs", self.file, "--server", "192.0.2.10")
        self.assertEqual(len(json.loads(out)["dialogs"]), 1)
        out, _ = self.dialogs("--format", "mermaid")
        self.assertTrue(out.startswith(b"sequenceDiagram\n"))

    def test_no_dialog_is_no_error(self):
        out, err = self.run_command("dialogs", self.file, "--server", "203.0.113.1", "--format", "json")
        self.assertEqual(json.loads(out), {"dialogs": []})
        self.assertIn("203.0.113.1", err)

    def test_what_is_wrong_is_said_on_the_error_stream(self):
        out, err = self.dialogs("--at", "tomorrow", status=2)
        self.assertEqual(out, b"")
        self.assertIn("--at tomorrow", err)
        self.dialogs("--format", "xml", status=2)
        data = self.file.read_bytes()
        self.file.write_bytes(data[:-7])
        out, err = self.dialogs("--format", "json", status=1)
        self.assertEqual(len(json.loads(out)["dialogs"]), 1)
        self.assertIn("frame 3", err)
        self.assertIn("byte", err)
        self.file.write_text("no capture")
        out, err = self.dialogs("--format", "json", status=1)
        self.assertEqual(json.loads(out), {"dialogs": []})
        self.assertIn("editcap", err)

    def test_output_that_cannot_be_written_is_no_success(self):
        command = [COMMAND, "dialogs", self.file, "--server", "192.0.2.10", "--format", "json"]
        with open("/dev/full", "wb") as full:
            done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, timeout=60)
        self.assertEqual(done.returncode, 1)
        self.assertIn(b"standard output", done.stderr)
        # Closed: nothing that the command opens may stand in for it.
        done = subprocess.run(["sh", "-c", 'exec "$@" >&-', "sh", *command], capture_output=True, timeout=60)
        self.assertEqual(done.returncode, 1)
        self.assertIn(b"standard output", done.stderr)

    def test_files_and_options_may_stand_in_any_order(self):
        server = ["--server", "192.0.2.10"]
        for arguments in ([*server, self.file, self.file], [self.file, *server, self.file],
                          ["--allow", "10.0.0.0/8", self.file, *server],
                          ["--server-name", "pbx.example.com", *server, self.file]):
            out, _ = self.run_command("dialogs", "--format", "json", *arguments)
            self.assertEqual(len(json.loads(out)["dialogs"]), 1, arguments)

    def test_an_option_without_a_value_is_not_taken_for_none(self):
        # As from a script whose variable is not set.
        for option in ("--at", "--call-id", "--server-name", "--agent", "--server", "--allow"):
            out, err = self.dialogs(option, "", status=2)
            self.assertEqual(out, b"")
            self.assertIn(option, err)


if __name__ == "__main__":
    unittest.main(verbosity=2)
