# SPDX-License-Identifier: Apache-2.0
"""The show: live calls survive `kill -9` of the Asterisk that holds them, twice. demo.sh starts it."""

import argparse
import json
import os
import pathlib
import shutil
import signal
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parents[1] / "tests" / "support" / "python")]

from baseline import channel_request, run_loop  # noqa: E402
from calls import Calls  # noqa: E402
from controller import Controller  # noqa: E402
from lab import Lab, require_root  # noqa: E402
from phones import FEWEST, make_phones  # noqa: E402
from production import Production, double_reinvites  # noqa: E402
from report import ladder, percentile, rounded, table  # noqa: E402

MEDIA_PHONES = 200  # that many phones have RTP; a machine of two cores feeds no thousand
SETTLED = 5  # media.cc tells the position by the packet of this number after a silence
BEGAN = time.monotonic()


def say(text=""):
    print(f"[{time.monotonic() - BEGAN:6.1f} s] {text}" if text else "", flush=True)


class Death:
    """One kill, and what became of the calls that the server held."""

    def __init__(self, calls, server, silences_before):
        self.calls, self.server = calls, server
        self.held = [d for d in calls.checker.dialogs.values()
                     if d.owner == server.sip_address and not d.ended]
        self.users = {d.user for d in self.held}
        self.before = silences_before
        self.pid = server.pid
        self.at = time.time()
        server.kill()
        calls.died(server, self.at)
        self.detected = None
        self.media_gaps = {}  # user: seconds, None when the media never came back
        self.shifts = {}  # user: seconds by which a playback went on early (-) or late

    def recoveries(self):
        """By user: the re-INVITE that brought the call to its new server."""
        return {d.user: r for d, r in self.calls.moved_from(self.server, self.at)
                if d.user in self.users}

    def answered(self):
        return {user: r for user, r in self.recoveries().items() if r.answered}

    def settled(self):
        """Every call was answered at its new server, or got its BYE."""
        answered = self.answered()
        return all(d.user in answered or d.ended for d in self.held)

    def first_reinvite(self):
        return min((r.invited for r in self.recoveries().values()), default=None)

    def last_answer(self):
        return max((r.answered for r in self.answered().values()), default=None)

    def first_post(self):
        """When the first channel was asked for at another server."""
        ports = {s.ari_port for s in self.calls.lab.servers if s is not self.server}
        for post in self.calls.posts:
            path = post.path.partition("?")[0].split("/")
            if post.time >= self.at and post.port in ports and path[2] == "channels" and (
                    len(path) <= 4):
                return post.time
        return None

    def measure_media(self, report):
        """Of the phones that heard something when the server died: how long they heard nothing."""
        for phone in self.calls.phones:
            heard = report.get((self.calls.address(phone), phone.media_port))
            before = self.before.get((self.calls.address(phone), phone.media_port))
            if not heard or not before or phone.kind == "hold":
                continue
            if phone.user not in self.users or self.at - before["last"] > 0.2:
                continue
            if heard["last"] < self.at + 0.02:
                self.media_gaps[phone.user] = None
                continue
            spans = [s for s in heard["silences"]
                     if s["from"] <= self.at + 0.1 and s["to"] > self.at]
            self.media_gaps[phone.user] = max((s["to"] - s["from"] for s in spans), default=0.0)
            if phone.kind in ("playback", "outbound") and spans:
                shift = self.calls.lab.melody.shift(
                    bytes.fromhex(spans[0]["before"]), bytes.fromhex(spans[-1]["after"]))
                if shift is not None:
                    shift -= (SETTLED - 1) * 0.02
                self.shifts[phone.user] = shift

    def summary(self):
        def after(moment):
            return None if moment is None else (moment - self.at) * 1000

        gaps = [g * 1000 for g in self.media_gaps.values() if g is not None]
        return {"held": len(self.held), "answered": len(self.answered()),
                "detect_ms": after(self.detected), "first_reinvite_ms": after(self.first_reinvite()),
                "all_answered_ms": after(self.last_answer()),
                "p50": percentile(gaps, 0.5), "p99": percentile(gaps, 0.99),
                "silent": sum(1 for g in self.media_gaps.values() if g is None)}


class Show:
    def __init__(self, options, directory):
        self.options, self.directory = options, directory
        self.lab = Lab(directory, media_program=options.programs / "sipheal-demo-media",
                       hep=not options.without_sipheal)
        self.controller, self.calls, self.deaths = None, None, []
        self.production, self.homer_messages = None, 0
        self.equal_calls = None
        self.ratio = None
        self.patience = 20 + options.calls / 20

    # -- the acts -----------------------------------------------------------------------------

    def run(self):
        self.start()
        self.place()
        if not self.options.without_sipheal:
            self.kill(self.lab.servers[0])
            self.talk(2)
            self.kill(self.busiest())
            self.talk(2)
        self.hang_up()
        self.measure_baseline()
        return self.result()

    def start(self):
        say("starting three stock Asterisks with res_pjsip_recovery, and Kamailio at the edge")
        self.lab.start()
        for server in self.lab.servers:
            say(f"  {server.name}: pid {server.pid}, SIP {server.sip_address}:{server.sip_port}, "
                f"ARI 127.0.0.1:{server.ari_port}, up in {server.start_seconds:.1f} s")
        say(f"  kamailio: {self.lab.network.proxy}:5060, record-routing")
        if self.options.production:
            self.start_controllers()
        elif not self.options.without_sipheal:
            self.start_controller()

    def start_controllers(self):
        self.production = self.controller = Production(self.lab, self.options.programs / "sipheal")
        self.controller.wait_ready(30)
        pids = ", ".join(str(c.process.pid) for c in self.controller.controllers)
        say(f"  PostgreSQL: 127.0.0.1:{self.production.server.port}, a real one")
        say(f"  three controllers, sipheal run: pids {pids}; HEP at %s:%d, copied to each"
            % self.lab.hep)
        say("  HOMER itself is not run here: its own tables are, in that PostgreSQL, filled from "
            "HEP by demo/hep_relay.py")

    def start_controller(self):
        self.controller = self.lab.keep(
            Controller(self.lab, self.options.programs / "sipheal"))
        self.controller.wait_ready(30)
        say(f"  sipheal run: pid {self.controller.process.pid}, HEP at %s:%d" % self.lab.hep)

    def place(self):
        server = self.lab.servers[0]
        phones = make_phones(self.options.calls, MEDIA_PHONES)
        say(f"placing {len(phones)} calls on {server.name}, half of them through kamailio: "
            + kinds_of(phones))
        self.calls = Calls(self.lab, phones, server, directory=self.directory / "calls",
                           rate=self.options.rate)
        self.lab.open_media(self.calls)
        self.calls.place()
        if not self.calls.wait_answered(self.patience + len(phones) / self.options.rate):
            raise RuntimeError(f"only {len(self.calls.answered())} of {len(phones)} calls came up "
                               f"(see {self.directory}/calls)" + self.problems())
        time.sleep(0.5)
        self.calls.hold()
        self.talk(3)
        self.calls.read()
        heard = sum(1 for p in self.lab.media.report().values() if p["received"])
        say(f"all {len(phones)} talk; {heard} phones hear something; one of them is baresip")

    def talk(self, seconds):
        time.sleep(seconds)

    def busiest(self):
        """The living server that holds most calls."""
        self.calls.read()
        owners = [d.owner for d in self.calls.checker.dialogs.values() if not d.ended]
        return max((s for s in self.lab.servers if s.running()),
                   key=lambda s: owners.count(s.sip_address))

    def kill(self, server):
        self.calls.read()
        before = self.lab.media.report()
        death = Death(self.calls, server, before)
        self.deaths.append(death)
        say(f"kill -9 {death.pid}: {server.name} is dead, with {len(death.held)} calls on it")
        if self.production and not self.production.killed:
            self.kill_controller()
        self.calls.wait(death.settled, self.patience)
        time.sleep(1.5)  # the media of the last ones
        self.calls.read()
        death.detected = self.controller.detected(server.name, death.at)
        death.measure_media(self.lab.media.report())
        self.tell(death)

    def kill_controller(self):
        caught = self.production.kill_one_at_work(10)
        if caught is None:
            raise RuntimeError("no controller was seen at work, so none was killed")
        controller, unfinished = caught
        say(f"kill -9 {controller.process.pid}: {controller.name} is dead, in the middle of "
            f"{unfinished} recoveries")

    def tell(self, death):
        s = death.summary()
        if s["detect_ms"] is not None:
            say(f"  +{s['detect_ms']:6.0f} ms  sipheal says that {death.server.name} is dead")
        if s["first_reinvite_ms"] is not None:
            say(f"  +{s['first_reinvite_ms']:6.0f} ms  first re-INVITE")
        if s["all_answered_ms"] is not None:
            say(f"  +{s['all_answered_ms']:6.0f} ms  last answer: {s['answered']} of {s['held']} "
                f"calls live on at {self.where(death)}")
        if s["p50"] is not None:
            say(f"  media gap at the phones: p50 {s['p50']:.0f} ms, p99 {s['p99']:.0f} ms")
        shifts = [shift * 1000 for shift in death.shifts.values() if shift is not None]
        if shifts:
            say(f"  {len(shifts)} of {len(death.shifts)} playbacks go on where they were: "
                f"{min(shifts):+.0f} to {max(shifts):+.0f} ms from there")
        if s["silent"]:
            say(f"  {s['silent']} phones heard something before and hear nothing now")
        for user, gap in death.media_gaps.items():
            if gap is None:
                say(f"    silent: {user}")

    def where(self, death):
        names = {s.sip_address: s.name for s in self.lab.servers}
        homes = [names[r.new] for r in death.answered().values()]
        return ", ".join(f"{name} ({homes.count(name)})" for name in sorted(set(homes)))

    def hang_up(self):
        say("every phone hangs up; its BYE goes to the server that has the call now")
        self.calls.hang_up(self.patience)
        statuses = [d.bye_status for d in self.calls.checker.dialogs.values()]
        say(f"  {statuses.count(200)} of {len(self.calls.phones)} BYEs were answered with 200")

    def measure_baseline(self):
        """A further death, of which sipheal knows nothing: the bare loop brings the calls back."""
        if self.production:
            self.homer_messages = self.production.homer_rows()
        if self.controller:
            self.controller.close()
        self.calls.close()
        for server in self.lab.servers:
            self.lab.restart(server)  # all as fresh as they were for sipheal
        server = self.lab.servers[0]
        say(f"for comparison: {self.options.calls} equal calls on {server.name}, killed, and "
            "brought back by a bare loop of ARI requests")
        calls = self.equal_calls = Calls(
            self.lab, make_phones(self.options.calls, MEDIA_PHONES), server,
            directory=self.directory / "equal-calls", rate=self.options.rate, listener=False)
        self.lab.open_media(calls)
        calls.place()
        if not calls.wait_answered(self.patience + self.options.calls / self.options.rate):
            raise RuntimeError("the calls for the comparison did not come up" + self.problems())
        time.sleep(0.5)
        calls.hold()
        self.talk(2)
        calls.read()
        proxied = {p.user: p.through_proxy for p in calls.phones}
        targets = [s for s in self.lab.servers if s is not server]
        death = Death(calls, server, {})
        work = [(targets[index % len(targets)],
                 channel_request(d, "edge" if proxied[d.user] else "phones"))
                for index, d in enumerate(death.held)]
        loop = run_loop(self.options.programs / "sipheal-bare-loop", work)
        calls.wait(death.settled, self.patience)
        calls.read()
        if not death.last_answer():
            raise RuntimeError("the bare loop recovered nothing: " + loop["errors"][:500])
        bare = death.last_answer() - loop["first_post"]
        answered = len(death.answered())
        say(f"  the bare loop: {answered} of {len(death.held)} answered, first POST to last "
            f"answer {bare * 1000:.0f} ms")
        calls.hang_up(self.patience)
        good = sum(1 for d in calls.checker.dialogs.values() if d.bye_status == 200)
        say(f"  {len(calls.checker.faults)} of its re-INVITEs were wrong, {good} BYEs got their 200"
            + "".join(f"; {fault.what}" for fault in calls.checker.faults[:3]))
        if self.deaths and answered == len(death.held):
            first, last = self.deaths[0].first_post(), self.deaths[0].last_answer()
            if first and last:
                say(f"  sipheal:       {len(self.deaths[0].answered())} of "
                    f"{len(self.deaths[0].held)} answered, first POST to last answer "
                    f"{(last - first) * 1000:.0f} ms")
                self.ratio = bare / (last - first)
        calls.close()

    def problems(self):
        texts = [text for flow in self.lab.flows.values() for text in flow.problems]
        return "".join("\n  " + text for text in texts[:10])

    # -- what came of it ----------------------------------------------------------------------

    def fate(self, dialog):
        """recovered, ended or lost."""
        if dialog.ended_by == "server":
            return "ended"
        for death in self.deaths:
            if dialog.user in death.users and (
                    not self.recovery(death, dialog)
                    or death.media_gaps.get(dialog.user, 0.0) is None):
                return "lost"
        return "recovered"

    @staticmethod
    def recovery(death, dialog):
        """The answered re-INVITE that brought this call to life after that death, or None."""
        return next((r for r in dialog.recoveries
                     if r.old == death.server.sip_address and r.invited >= death.at and r.answered),
                    None)

    def result(self):
        dialogs = list(self.calls.checker.dialogs.values())
        fates = [self.fate(d) for d in dialogs]
        summaries = [death.summary() for death in self.deaths]

        def worst(key):
            values = [s[key] for s in summaries]
            return None if not values or None in values else rounded(max(values))

        figures = {
            "calls": len(self.calls.phones),
            "recovered": fates.count("recovered"), "ended": fates.count("ended"),
            "lost": len(self.calls.phones) - fates.count("recovered") - fates.count("ended"),
            "wrong_reinvites": len(self.calls.checker.faults),
            "bye_ok": sum(1 for d in dialogs
                          if d.ended_by == "phone" and d.bye_status == 200),
            "detect_ms": worst("detect_ms"), "first_reinvite_ms": worst("first_reinvite_ms"),
            "all_answered_ms": worst("all_answered_ms"),
            "media_gap_ms": {"p50": worst("p50"), "p99": worst("p99")},
            "baseline_ratio": rounded(self.ratio, 2),
        }
        if self.production:
            figures["controllers"] = len(self.production.controllers)
            figures["controllers_killed"] = len(self.production.killed)
            figures["double_reinvites"] = double_reinvites(dialogs, [d.at for d in self.deaths])
            figures["homer"] = "tables"
            figures["homer_messages"] = self.homer_messages
            figures["flow_host"] = "ari"
        return figures

    def print_report(self):
        names = {server.sip_address: server.name for server in self.lab.servers}
        rows, dialogs = [], self.calls.dialogs()
        for phone in self.calls.phones:
            dialog = dialogs.get(phone.user)
            if dialog is None:
                rows.append([phone.user, phone.kind, "", "never came up"] + [""] * 4)
                continue
            homes = [r for r in dialog.recoveries if r.answered]
            chain = [names.get(homes[0].old if homes else dialog.owner, "?")]
            chain += [names.get(r.new, "?") for r in homes]
            gaps = [d.media_gaps.get(phone.user, "") for d in self.deaths]
            rows.append([phone.user, phone.kind, "kamailio" if phone.through_proxy else "direct",
                         chain[0], " > ".join(chain[1:]) or "-",
                         " ".join(self.signalling_gap(dialog)) or "-",
                         " ".join("-" if g == "" else "none" if g is None else f"{g * 1000:.0f}"
                                  for g in gaps) or "-",
                         f"{dialog.ended_by} {dialog.bye_status or ''}".strip() or "none",
                         self.fate(dialog)])
        print()
        columns = ["call", "kind", "path", "before", "after", "answered ms", "media gap ms", "BYE",
                   "outcome"]
        print("\n".join(table(rows, columns, 60)))
        self.print_ladder(names)
        for fault in self.calls.checker.faults[:20]:
            print(f"  WRONG: {fault.call_id}: {fault.what}")
        warnings = [w for d in self.calls.checker.dialogs.values() for w in d.warnings]
        if warnings:
            print(f"  note: {len(warnings)} SDP origins were not continued, such as: {warnings[0]}")
        print()

    def signalling_gap(self, dialog):
        for death in self.deaths:
            recovery = self.recovery(death, dialog)
            if recovery:
                yield f"{(recovery.answered - death.at) * 1000:.0f}"

    def print_ladder(self, names):
        """One call through the proxy that lived through both deaths, if there is one."""
        dialogs = [d for d in self.calls.checker.dialogs.values() if d.routes]
        if not dialogs:
            return
        chosen = max(dialogs, key=lambda d: (len(d.recoveries), not d.phone_calls))
        network = self.lab.network
        lanes = {network.callers[True]: "phone", network.called[True]: "phone",
                 network.proxy: "kamailio", **names}
        messages = [m for m in self.calls.transcript
                    if m.call_id == chosen.call_id and m.source[0] in lanes
                    and m.destination[0] in lanes]
        print(f"\n  The call of {chosen.user}, Call-ID {chosen.call_id}:\n")
        print("\n".join("  " + line for line in ladder(messages, lanes)))

    def close(self):
        for calls in (self.calls, self.equal_calls):
            if calls:
                calls.close()
        self.lab.close()


def kinds_of(phones):
    counts = {}
    for phone in phones:
        word = phone.kind + ("" if phone.has_media else " (silent)")
        counts[word] = counts.get(word, 0) + 1
    return ", ".join(f"{count} {kind}" for kind, count in counts.items())


def stop_on_signal(number, _frame):
    raise KeyboardInterrupt(signal.Signals(number).name)


def main():
    parser = argparse.ArgumentParser(prog="demo.sh", description=__doc__)
    parser.add_argument("--calls", type=int, default=50, help="how many calls (default 50)")
    parser.add_argument("--programs", type=pathlib.Path, required=True, help=argparse.SUPPRESS)
    parser.add_argument("--keep-logs", action="store_true",
                        help="keep the folder with all logs and the capture")
    parser.add_argument("--production", action="store_true",
                        help="PostgreSQL, three controllers of which one is killed, HOMER's tables")
    parser.add_argument("--rate", type=float, default=100, help="calls placed a second")
    parser.add_argument("--without-sipheal", action="store_true",
                        help="nobody is killed but for the comparison: shows that the lab works")
    options = parser.parse_args()
    if not FEWEST <= options.calls <= 5000:
        parser.error(f"--calls {options.calls}: {FEWEST} to 5000, so that there is one of each kind")
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, stop_on_signal)
    directory = pathlib.Path(tempfile.mkdtemp(prefix="sipheal-demo-"))
    show, result, good = None, None, False
    try:
        require_root()
        show = Show(options, directory)
        result = show.run()
        show.print_report()
        listener = show.calls.heard_file
        good = (result["lost"] == 0 and result["wrong_reinvites"] == 0
                and result["bye_ok"] == result["calls"] - result["ended"]
                and not result.get("double_reinvites"))
        if listener and options.keep_logs:
            say(f"what baresip heard: {listener}")
    except KeyboardInterrupt as interrupt:
        print(f"demo: stopped ({str(interrupt) or 'Ctrl-C'})", file=sys.stderr)
    except Exception as error:  # every failure of a part ends as one plain sentence
        print(f"demo: {error}", file=sys.stderr)
        if os.environ.get("SIPHEAL_DEMO_TRACE"):
            raise
    finally:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        if show:
            show.close()
        if good and not options.keep_logs:
            shutil.rmtree(directory, ignore_errors=True)
        else:
            print(f"demo: logs and capture (wire.pcap) are in {directory}", file=sys.stderr)
    if result:
        print(json.dumps(result))
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
