#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What `sipheal run` costs while nothing happens: its processor time over calls that just are.

SIPp holds calls open on one Asterisk, without media; the daemon tracks them by ARI and HEP. Prints one
JSON line. Needs build/bin/sipheal (or --sipheal), a cached Asterisk and sipp:

    /usr/bin/python3 bench/idle.py [--calls 1000] [--seconds 20]
"""

import argparse
import json
import os
import pathlib
import random
import resource
import socket
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests" / "support" / "python"))

from sipheal_lab.asterisk import Asterisk, Endpoint, Hep, free_port  # noqa: E402
from sipheal_lab.daemon import Daemon  # noqa: E402

LIMIT_PERCENT = 1.0

SECTIONS = """hep:
  udp: {hep}
targets:
  allow: ["127.0.0.0/8"]
log:
  format: json
"""

CALLER = """<?xml version="1.0" encoding="UTF-8"?>
<scenario name="a call that is held open">
  <send retrans="500"><![CDATA[

      INVITE sip:100@[remote_ip]:[remote_port] SIP/2.0
      Via: SIP/2.0/[transport] [local_ip]:[local_port];branch=[branch]
      Max-Forwards: 70
      From: <sip:phone@[local_ip]>;tag=[pid]phone[call_number]
      To: <sip:100@[remote_ip]:[remote_port]>
      Call-ID: [call_id]
      CSeq: 1 INVITE
      Contact: <sip:phone@[local_ip]:[local_port]>
      Content-Type: application/sdp
      Content-Length: [len]

      v=0
      o=phone 1 1 IN IP4 [local_ip]
      s=-
      c=IN IP4 [local_ip]
      t=0 0
      m=audio 40000 RTP/AVP 0
      a=rtpmap:0 PCMU/8000

  ]]></send>
  <recv response="100" optional="true"/>
  <recv response="180" optional="true"/>
  <recv response="200" rrs="true"/>
  <send><![CDATA[

      ACK [next_url] SIP/2.0
      Via: SIP/2.0/[transport] [local_ip]:[local_port];branch=[branch]
      Max-Forwards: 70
      From: <sip:phone@[local_ip]>;tag=[pid]phone[call_number]
      [last_To:]
      Call-ID: [call_id]
      CSeq: 1 ACK
      Content-Length: 0

  ]]></send>
  <recv request="BYE"/>
</scenario>
"""


def cpu_seconds(pid):
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def resident_bytes(pid):
    return int(pathlib.Path(f"/proc/{pid}/statm").read_text().split()[1]) * resource.getpagesize()


def tracked(daemon):
    status = daemon.ask("status")["instances"]["a"]
    return status.get("calls_tracked", 0), sum(
        1 for sessions in daemon.sessions(10_000).values() for s in sessions if s["state"] == "up")


def measure(arguments, folder):
    network = f"127.{random.randrange(10, 60)}.{random.randrange(1, 250)}"
    hep = free_port(f"{network}.3", socket.SOCK_DGRAM)
    server = Asterisk("a", folder / "a", sip_address=f"{network}.11",
                      endpoints=[Endpoint("phones", match=f"{network}.21")],
                      rtp_ports=(10000, 10000 + 4 * arguments.calls + 100),
                      hep=Hep(f"{network}.3", hep, capture_id=101))
    daemon = phones = None
    try:
        server.start(timeout=60)
        application = server.ari.events("lab")
        daemon = Daemon(arguments.sipheal, folder / "sipheal", [server],
                        SECTIONS.format(hep=f"{network}.3:{hep}")).start()
        (folder / "caller.xml").write_text(CALLER)
        with open(folder / "sipp.log", "wb") as log:
            phones = subprocess.Popen(
                ["sipp", f"{network}.11:{server.sip_port}", "-sf", "caller.xml", "-i",
                 f"{network}.21", "-p", str(free_port(f"{network}.21", socket.SOCK_DGRAM)),
                 "-m", str(arguments.calls), "-l", str(arguments.calls), "-r", str(arguments.rate),
                 "-nostdin", "-buff_size", "8000000"],
                cwd=folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        deadline = time.monotonic() + 60 + arguments.calls / arguments.rate
        while tracked(daemon) != (arguments.calls, arguments.calls):
            if time.monotonic() > deadline or phones.poll() is not None:
                raise RuntimeError(f"tracked {tracked(daemon)} of {arguments.calls} calls:\n"
                                   f"{(folder / 'sipp.log').read_text(errors='replace')[-2000:]}")
            application.forget()
            time.sleep(0.5)
        time.sleep(arguments.settle)  # what is written behind, and the last sign of each call
        before, began = cpu_seconds(daemon.process.pid), time.monotonic()
        time.sleep(arguments.seconds)
        used, seconds = cpu_seconds(daemon.process.pid) - before, time.monotonic() - began
        memory = resident_bytes(daemon.process.pid)
        if tracked(daemon) != (arguments.calls, arguments.calls):
            raise RuntimeError(f"calls went away meanwhile: {tracked(daemon)}")
        percent = 100 * used / seconds
        return {"bench": "idle", "sessions": arguments.calls, "seconds": round(seconds, 2),
                "cpu_seconds": round(used, 3), "percent_of_core": round(percent, 3),
                "limit_percent": LIMIT_PERCENT, "resident_bytes": memory,
                "ok": percent <= LIMIT_PERCENT}
    finally:
        if phones and phones.poll() is None:
            phones.kill()
            phones.wait()
        if daemon:
            daemon.close()
        server.close()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--calls", type=int, default=1000)
    parser.add_argument("--rate", type=float, default=50, help="calls a second while they come")
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--settle", type=float, default=5)
    parser.add_argument("--sipheal", default=str(ROOT / "build" / "bin" / "sipheal"))
    arguments = parser.parse_args()
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE,
                       (65536 if hard == resource.RLIM_INFINITY else min(65536, hard), hard))
    with tempfile.TemporaryDirectory(prefix="sipheal-idle-") as folder:
        result = measure(arguments, pathlib.Path(folder))
    print(json.dumps(result))
    return 0 if result["ok"] else 1


if __name__ == "__main__":
    sys.exit(main())
