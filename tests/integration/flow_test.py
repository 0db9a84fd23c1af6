# SPDX-License-Identifier: Apache-2.0
"""The tracker and the flow resumer on real Asterisks: what a call was doing, it does again.

The part of the engine is played here: the first server is killed, the channel that recovers each
session is posted on the second, and the resumer is asked to put its flow back.
"""

import json
import math
import os
import pathlib
import subprocess
import sys
import time
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "support" / "python"))

import sipheal_lab.phone  # noqa: E402
from sipheal_lab.asterisk import Asterisk, Endpoint, write_tone  # noqa: E402
from sipheal_lab.media import Media  # noqa: E402
from sipheal_lab.phone import Phone  # noqa: E402
from sipheal_lab.required import require_asterisk  # noqa: E402
from sipheal_lab.waiting import wait_for  # noqa: E402

USERS = ("alice", "bob", "carol")
ENDPOINTS = tuple(Endpoint(user) for user in (*USERS, "dave"))
DIALPLAN = ("[default]\n"
            "exten => conf,1,Answer()\n same => n,ConfBridge(room)\n"
            "exten => _X.,1,Answer()\n same => n,Stasis(lab,one,two words)\n")
LOWEST, SLOPE, LENGTH = 300.0, 200.0, 15.0  # of the sweep: Hz, Hz a second, seconds


def write_sweep(path):
    """A tone that rises by SLOPE Hz a second: its pitch tells the position."""
    samples = bytearray()
    for n in range(int(LENGTH * 8000)):
        t = n / 8000
        phase = 2 * math.pi * (LOWEST * t + SLOPE * t * t / 2)
        samples += round(9000 * math.sin(phase)).to_bytes(2, "little", signed=True)
    pathlib.Path(path).write_bytes(samples)


def from_ulaw(byte):
    byte = ~byte & 0xFF
    magnitude = (((byte & 0x0F) << 3) + 0x84) << ((byte & 0x70) >> 4)
    return 0x84 - magnitude if byte & 0x80 else magnitude - 0x84


LINEAR = [from_ulaw(byte) for byte in range(256)]


class ListeningMedia(Media):
    """Keeps what it hears: (time, source, samples)."""

    def __init__(self, address="127.0.0.1"):
        self.heard = []
        super().__init__(address)

    def _receive(self):
        while not self._closed:
            try:
                data, source = self._socket.recvfrom(4096)
            except OSError:
                return
            if len(data) > 12 and data[0] >> 6 == 2 and data[1] & 0x7F == 0:
                with self._changed:
                    self.arrivals.append((time.monotonic(), source))
                    self.heard.append((time.time(), source, [LINEAR[b] for b in data[12:]]))
                    self._changed.notify_all()

    def wait_sound(self, seconds, since, timeout=5.0):
        """The first samples, of that length, that came after a moment and are not silence."""
        def collect():
            samples = []
            for at, _, part in list(self.heard):
                if at > since and (samples or max(map(abs, part)) > 3000):
                    samples += part
            return samples if len(samples) >= seconds * 8000 else None

        with self._changed:
            if not self._changed.wait_for(lambda: collect() is not None, timeout):
                raise AssertionError("the sound was not heard")
            return collect()[:int(seconds * 8000)]

    def last_sound(self, seconds, before):
        samples = [s for at, _, part in list(self.heard) if at <= before for s in part]
        return samples[-int(seconds * 8000):]


def position(samples):
    """Where in the sweep these samples begin, in seconds."""
    crossings = [n for n in range(1, len(samples)) if samples[n - 1] < 0 <= samples[n]]
    hertz = (len(crossings) - 1) / ((crossings[-1] - crossings[0]) / 8000)
    middle = (crossings[0] + crossings[-1]) / 2 / 8000
    return (hertz - LOWEST) / SLOPE - middle


class Lab:
    """The library, in the process flow_lab."""

    def __init__(self, *servers, **options):
        program = os.environ.get("FLOW_LAB")
        self.process = subprocess.Popen([program], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        text=True)
        self.do("connect", instances=[
            {"name": s.name, "url": f"http://127.0.0.1:{s.ari_port}", "user": s.ari_user,
             "password": s.ari_password} for s in servers], **options)

    def ask(self, what, **arguments):
        self.process.stdin.write(json.dumps({"do": what, **arguments}) + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())

    def do(self, what, **arguments):
        answer = self.ask(what, **arguments)
        if not answer.get("ok"):
            raise AssertionError(f"{what}: {answer}")
        return answer

    def sessions(self, server):
        self.do("flush")
        return {s["call_id"]: s for s in self.do("sessions", instance=server.name)["sessions"]}

    def close(self):
        self.process.stdin.close()
        self.process.wait(10)
        self.process.stdout.close()


class Flow(unittest.TestCase):

    @classmethod
    def setUpClass(cls):
        require_asterisk("FLOW_LAB")
        sipheal_lab.phone.Media = ListeningMedia

    @classmethod
    def server(cls, name):
        server = Asterisk(name, endpoints=ENDPOINTS, dialplan=DIALPLAN)
        sounds = server.directory / "data" / "sounds" / "en"
        sounds.mkdir(parents=True, exist_ok=True)
        (server.directory / "spool" / "recording").mkdir(parents=True, exist_ok=True)
        write_sweep(sounds / "sweep.sln")
        write_tone(sounds / "short.sln", 0.5)
        return server.start()

    def setUp(self):
        # Fresh servers for each test: Asterisk 22 locks up its ARI for good when a socket that is
        # subscribed to everything closes while a device changes its state (the closing session holds
        # its lock and waits for the delivery of that state, which wants the lock).
        self.a, self.b = self.server("a"), self.server("b")
        self.addCleanup(self.a.close)
        self.addCleanup(self.b.close)
        self.a_events = self.a.ari.events("lab")
        self.b_events = self.b.ari.events("lab", subscribe_all=True)
        self.lab = Lab(self.a, self.b, continue_in_dialplan=True)
        self.phones = []
        self.calls = {}  # user -> dialog

    def tearDown(self):
        broken = [v for phone in self.phones for v in phone.violations]
        ladders = "\n".join(phone.ladder() for phone in self.phones)
        self.lab.close()
        for phone in self.phones:
            phone.close()
        self.assertEqual(broken, [], ladders)
        self.assertTrue(self.b.running(), self.b.log())

    # -- steps ----------------------------------------------------------------------------------

    def call(self, user, server=None, extension="100"):
        """A phone calls; its channel in the application lab."""
        server = server or self.a
        phone = Phone(user, media=True)
        self.phones.append(phone)
        self.calls[user] = phone.call(server.sip_uri(extension))
        return self.channel_of(user, server)

    def channel_of(self, user, server):
        call_id = self.calls[user].call_id
        for _ in range(200):
            for channel in server.ari("GET", "/channels"):
                if (channel["protocol_id"] == call_id
                        and channel["dialplan"]["app_name"] in ("Stasis", "ConfBridge")):
                    return channel["id"]
            time.sleep(0.01)
        raise AssertionError(f"no channel of {user}")

    def bridge(self, bridge_id, *channels, server=None, **options):
        """Bridges channels; returns when they are tracked so: what is on its way to the tracker
        when a server is killed dies with it."""
        server = server or self.a
        server.ari("POST", f"/bridges/{bridge_id}", body={"type": "mixing", **options})
        server.ari("POST", f"/bridges/{bridge_id}/addChannel",
                   query={"channel": ",".join(channels)})

        def tracked():
            return {s["channel_id"] for s in self.lab.sessions(server).values()
                    if s.get("bridge", {}).get("id") == bridge_id}

        wait_for(lambda: tracked() >= set(channels), 5,
                 lambda: f"{channels} in {bridge_id}: tracked are {tracked()}")

    def kill(self):
        """Kills a; returns its sessions by user."""
        self.a.kill()
        self.died_at = time.time()
        by_call = self.lab.sessions(self.a)
        return {user: by_call[dialog.call_id] for user, dialog in self.calls.items()
                if dialog.call_id in by_call}

    def answer(self, user, session):
        """Recovers the dialog on b; its channel there."""
        dialog = self.calls[user]
        channel = f"sipheal-{session['id']}-{session['epoch']}-1"
        sent = len(dialog.phone.requests("INVITE"))
        self.b.ari("POST", f"/channels/{channel}", query={
            "endpoint": f"PJSIP/{user}/{dialog.phone.contact_uri}", "app": "sipheal",
            "timeout": "10"}, body={"variables": dialog.recovery_variables()})
        invite = dialog.phone.wait_request("INVITE", sent + 1)
        dialog.phone.wait(lambda m: m.received and m.method == "ACK" and m.cseq == invite.cseq,
                          what="ACK")
        return channel

    def resume(self, session, channel, partners=(), *, lived_there=False):
        """Asks the resumer, again while it says Unavailable, as the engine does."""
        end = time.monotonic() + 5
        while True:
            answer = self.lab.ask(
                "resume", session=session["id"], epoch=session["epoch"], instance="b",
                channel_id=channel, died_at_us=int(self.died_at * 1e6),
                partners=[{"session": s["id"], "channel_id": c, "lived_there": lived_there}
                          for s, c in partners])
            if answer.get("ok") or answer.get("code") != "UNAVAILABLE" or time.monotonic() > end:
                return answer
            time.sleep(0.01)

    def resume_all(self, sessions):
        """Answers all, then resumes each; channels by user."""
        channels = {user: self.answer(user, session) for user, session in sessions.items()}
        for user, session in sessions.items():
            partners = [(sessions[other], channels[other]) for other in sessions
                        if other != user and session["group"]
                        and sessions[other]["group"] == session["group"]]
            answer = self.resume(session, channels[user], partners)
            self.assertTrue(answer.get("ok"), answer)
        return channels

    def members(self, bridge_id):
        status, bridge = self.b.ari.request("GET", f"/bridges/{bridge_id}")
        return set(bridge["channels"]) if status == 200 else None

    def assert_members(self, bridge_id, expected):
        """ARI shows a new member a moment after it has answered that it is one."""
        end = time.monotonic() + 5
        while self.members(bridge_id) != expected and time.monotonic() < end:
            time.sleep(0.02)
        self.assertEqual(self.members(bridge_id), expected)

    def assert_hears(self, listener, talker):
        """Speech of one phone arrives at the other, through b."""
        source, target = self.calls[talker], self.calls[listener]
        source.media.send(*source.rtp_target)
        target.media.wait_received(10)

    # -- tests ----------------------------------------------------------------------------------

    def test_a_playback_goes_on_within_250_ms_and_the_host_gets_the_channel(self):
        channel = self.call("alice")
        self.a.ari("POST", f"/channels/{channel}/play/p1", body={"media": "sound:sweep"})
        media = self.calls["alice"].media
        media.wait_sound(1.2, 0)
        sessions = self.kill()
        heard = position(media.last_sound(0.3, time.time())) + 0.3
        self.resume_all(sessions)
        again = position(media.wait_sound(0.3, self.died_at + 0.02))
        print(f"playback: heard until {heard:.3f} s, goes on at {again:.3f} s", file=sys.stderr)
        self.assertLess(abs(again - heard), 0.25)
        self.assertLessEqual(again, heard + 0.02, "not a word is lost")
        start = self.b_events.wait("StasisStart")
        self.assertEqual((start["application"], start["args"]), ("lab", ["one", "two words"]))

    def test_a_list_goes_on_at_its_item_and_twice(self):
        channel = self.call("alice")
        media = self.calls["alice"].media
        self.a.ari("POST", f"/channels/{channel}/play/p2", body={
            "media": ["sound:short", "sound:sweep", "sound:short"], "offsetms": 100})
        self.a_events.wait(lambda e: e["type"] == "PlaybackStarted"
                           and e["playback"]["media_uri"] == "sound:sweep")
        since = time.time()
        media.wait_sound(0.8, since + 0.1)
        sessions = self.kill()
        self.assertEqual(sessions["alice"]["playback"]["item"], 1)
        heard = position(media.last_sound(0.3, time.time())) + 0.3
        channels = self.resume_all(sessions)
        again = position(media.wait_sound(0.3, self.died_at + 0.02))
        self.assertLess(abs(again - heard), 0.25, (again, heard))
        # As the engine would: the successor. The tracker then knows what no event of b told.
        self.lab.do("succeed", session=sessions["alice"]["id"], epoch=0, instance="b",
                    channel_id=channels["alice"])
        successor = self.wait_successor(
            "alice", lambda s: s["playback"]["skipped_ms"] > 500)
        self.assertEqual(successor["playback"]["media"],
                         ["sound:short", "sound:sweep", "sound:short"])
        self.assertEqual(successor["playback"]["item"], 1)
        self.assertEqual(successor["stasis_app"], "lab")

    def wait_successor(self, user, condition):
        end = time.monotonic() + 5
        while time.monotonic() < end:
            session = self.lab.sessions(self.b).get(self.calls[user].call_id)
            if session and session["epoch"] == 1 and condition(session):
                return session
            time.sleep(0.05)
        raise AssertionError(f"no successor of {user} as wanted: {session}")

    def test_a_paused_playback_stays_paused_where_it_was(self):
        channel = self.call("alice")
        self.a.ari("POST", f"/channels/{channel}/play/p3", body={"media": "sound:sweep"})
        self.calls["alice"].media.wait_sound(1.0, 0)
        self.a.ari("POST", "/playbacks/p3/control", query={"operation": "pause"})
        self.wait_tracked("alice", lambda s: s.get("playback", {}).get("paused"))
        heard = position(self.calls["alice"].media.last_sound(0.3, time.time())) + 0.3
        self.resume_all(self.kill())
        self.assertEqual(self.b.ari("GET", "/playbacks/p3")["state"], "paused")
        resumed = time.time()
        self.b.ari("POST", "/playbacks/p3/control", query={"operation": "unpause"})
        again = position(self.calls["alice"].media.wait_sound(0.3, resumed))
        self.assertLess(abs(again - heard), 0.25, (again, heard))

    def wait_tracked(self, user, condition, server=None):
        def session():
            return self.lab.sessions(server or self.a).get(self.calls[user].call_id)

        def wanted():
            found = session()
            return found if found and condition(found) else None

        return wait_for(wanted, 5, lambda: f"{user} as wanted: tracked is {session()}")

    def test_a_bridge_of_two_and_its_playback_come_back_once(self):
        first, second = self.call("alice"), self.call("bob")
        self.bridge("pair-1", first, second, name="Pair")
        self.a.ari("POST", "/bridges/pair-1/play/p4", body={"media": "sound:sweep"})
        self.calls["alice"].media.wait_sound(0.5, 0)
        sessions = self.kill()
        channels = self.resume_all(sessions)
        self.assert_members("pair-1", set(channels.values()))
        self.assertEqual(self.b.ari("GET", "/bridges/pair-1")["name"], "Pair")
        self.calls["bob"].media.wait_sound(0.3, self.died_at + 0.02)
        started = {e["timestamp"] for e in self.b_events.matching(
            lambda e: e["type"] == "PlaybackStarted")}
        self.assertEqual(len(started), 1, "one playback for both (its event comes twice)")
        self.assert_hears("bob", "alice")
        # Again, as a second controller would: nothing changes.
        entered = len(self.b_events.matching(lambda e: e["type"] == "ChannelEnteredBridge"))
        for user, session in sessions.items():
            self.assertTrue(self.resume(session, channels[user]).get("ok"))
        self.assertEqual(
            len(self.b_events.matching(lambda e: e["type"] == "ChannelEnteredBridge")), entered)

    def test_F57_each_of_two_pairs_gets_its_own_partner(self):
        self.bridge("pair-1", self.call("alice"), self.call("bob"))
        self.bridge("pair-2", self.call("carol"), self.call("dave"))
        channels = self.resume_all(self.kill())
        self.assert_members("pair-1", {channels["alice"], channels["bob"]})
        self.assert_members("pair-2", {channels["carol"], channels["dave"]})

    def test_F58_F59_a_conference_of_three_meets_again_without_announcements(self):
        channels = [self.call(user) for user in USERS]
        self.bridge("conference-1", *channels)
        sessions = self.kill()
        channels = self.resume_all(sessions)
        self.assert_members("conference-1", set(channels.values()))
        for channel in channels.values():
            self.b_events.wait(lambda e, channel=channel: e["type"] == "ChannelEnteredBridge"
                               and e["channel"]["id"] == channel)
        kinds = [e["type"] for e in self.b_events.matching(lambda e: True)]
        self.assertEqual(kinds.count("ChannelEnteredBridge"), 3)
        self.assertEqual(kinds.count("PlaybackStarted"), 0)
        self.assertEqual(kinds.count("BridgeCreated"), 1)
        self.assert_hears("carol", "alice")

    def test_F60_the_last_conference_counts_when_the_server_dies_right_after_the_transfer(self):
        channel, other = self.call("alice"), self.call("bob")
        self.bridge("old", channel, other)
        self.a.ari("POST", "/bridges/new", body={"type": "mixing"})
        self.a.ari("POST", "/bridges/new/addChannel", query={"channel": channel})
        begun = time.monotonic()
        self.a_events.wait(lambda e: e["type"] == "ChannelEnteredBridge"
                           and e["bridge"]["id"] == "new")
        # Each event socket hears of it by itself: this is the tracker's.
        self.wait_tracked("alice", lambda s: s["group"] == "new")
        sessions = self.kill()
        self.assertLess(time.monotonic() - begun, 1.0)
        self.assertEqual(sessions["alice"]["group"], "new")
        channels = self.resume_all(sessions)
        self.assert_members("new", {channels["alice"]})
        self.assert_members("old", {channels["bob"]})

    def test_F55_a_partner_on_a_healthy_server_draws_the_recovered_leg_into_its_bridge(self):
        here, there = self.call("alice"), self.call("bob", self.b)
        self.bridge("bridge-of-b", there, server=self.b)
        for server, channel in ((self.a, here), (self.b, there)):
            server.ari("POST", f"/channels/{channel}/variable",
                       query={"variable": "SIPHEAL_GROUP", "value": "call-7"})
        partner = self.wait_tracked("bob", lambda s: s["group"] == "call-7", self.b)
        self.wait_tracked("alice", lambda s: s["group"] == "call-7")
        sessions = self.kill()
        self.assertEqual(sessions["alice"]["group"], "call-7")
        channel = self.answer("alice", sessions["alice"])
        answer = self.resume(sessions["alice"], channel, [(partner, there)], lived_there=True)
        self.assertTrue(answer.get("ok"), answer)
        self.assert_members("bridge-of-b", {there, channel})
        self.assertFalse(self.calls["bob"].ended)
        self.assert_hears("bob", "alice")

    def test_a_hold_of_ours_is_seen_and_put_back(self):
        channel = self.call("alice")
        self.wait_tracked("alice", lambda s: not s["held_by_us"])
        self.a.ari("POST", f"/channels/{channel}/hold")
        self.wait_tracked("alice", lambda s: s["held_by_us"])
        channels = self.resume_all(self.kill())
        held = self.b.ari("GET", f"/channels/{channels['alice']}/variable",
                          query={"variable": "CHANNEL(onhold)"})
        self.assertEqual(held["value"], "1")

    def test_hold_by_the_phone_is_left_to_the_phone(self):
        self.call("alice")
        self.calls["alice"].reinvite("sendonly")
        self.wait_tracked("alice", lambda s: s["held_by_peer"])
        sessions = self.kill()
        channel = self.answer("alice", sessions["alice"])
        before = len(self.calls["alice"].phone.requests("INVITE"))
        self.assertTrue(self.resume(sessions["alice"], channel).get("ok"))
        self.assertEqual(len(self.calls["alice"].phone.requests("INVITE")), before)

    def test_a_recording_goes_on_as_a_linked_part(self):
        channel = self.call("alice")
        self.a.ari("POST", f"/channels/{channel}/record", body={"name": "talk", "format": "wav"})
        self.wait_tracked("alice", lambda s: s.get("recordings"))
        sessions = self.kill()
        channels = self.resume_all(sessions)
        self.b_events.wait("RecordingStarted")
        self.assertEqual(self.b.ari("GET", "/recordings/live/talk-part2")["state"], "recording")
        self.lab.do("succeed", session=sessions["alice"]["id"], epoch=0, instance="b",
                    channel_id=channels["alice"])
        linked = {"name": "talk-part2", "earlier_parts": ["talk"], "on_bridge": False}
        self.wait_successor("alice", lambda s: s.get("recordings") == [linked])

    def test_a_call_outside_stasis_goes_on_at_its_place_in_the_dialplan(self):
        self.call("alice", extension="conf")
        self.wait_tracked("alice", lambda s: "bridge" in s)
        sessions = self.kill()
        self.assertTrue(sessions["alice"]["bridge"]["conference"])
        self.assertEqual(sessions["alice"]["application"], "ConfBridge")
        channels = self.resume_all(sessions)
        self.b_events.wait(lambda e: e["type"] == "ChannelEnteredBridge"
                           and e["channel"]["id"] == channels["alice"]
                           and e["bridge"]["name"] == "room")

    def test_F65_a_channel_that_is_gone_is_an_answer_not_an_action(self):
        channel = self.call("alice")
        self.bridge("one", channel)
        sessions = self.kill()
        answer = self.resume(sessions["alice"], f"sipheal-{sessions['alice']['id']}-0-1")
        self.assertEqual(answer.get("code"), "FAILED_PRECONDITION", answer)
        self.assertIsNone(self.members("one"), "nothing was made for it")


if __name__ == "__main__":
    unittest.main(verbosity=2)
