# SPDX-License-Identifier: Apache-2.0
"""Takes the HEP of the demo's servers and gives each controller a copy, and one to HOMER's tables.

A server sends its HEP to one place; in production that is heplify-server or a proxy that passes it on. Run as a program,
this file is that place:

    hep_relay.py --listen ADDR:PORT --to ADDR:PORT ... [--dsn DSN]

With --dsn it writes the SIP messages into HOMER 7's tables there, as heplify-server does, in batches.
"""

import argparse
import base64
import json
import signal
import socket
import struct
import subprocess
import sys
import threading

TABLES = """
CREATE TABLE {table} (id bigserial NOT NULL, sid varchar NOT NULL,
  create_date timestamptz NOT NULL DEFAULT now(), protocol_header jsonb NOT NULL,
  data_header jsonb NOT NULL, raw varchar NOT NULL);
CREATE INDEX ON {table} (create_date);
CREATE INDEX ON {table} (sid);
CREATE INDEX ON {table} ((protocol_header->>'correlation_id'));
"""
_CALL_METHODS = {"INVITE", "ACK", "BYE", "CANCEL", "UPDATE", "PRACK", "REFER", "INFO", "NOTIFY"}
_BATCH_SECONDS = 0.2


def chunks_of(packet):
    """The chunks of a HEP3 packet by type (vendor 0), or None when it is none."""
    if packet[:4] != b"HEP3" or len(packet) < 6:
        return None
    end, at, found = struct.unpack_from("!H", packet, 4)[0], 6, {}
    if end > len(packet):
        return None
    while at + 6 <= end:
        vendor, kind, length = struct.unpack_from("!HHH", packet, at)
        if length < 6 or at + length > end:
            return None
        if vendor == 0:
            found[kind] = packet[at + 6:at + length]
        at += length
    return found


def header(text, *names):
    """The value of the first header with one of these names (lower case)."""
    for line in text.split("\r\n")[1:]:
        if not line:
            break
        name, _, value = line.partition(":")
        if name.strip().lower() in names:
            return value.strip()
    return ""


def row_of(packet):
    """(table, Call-ID, microseconds, protocol_header, message) of a packet with SIP, or None."""
    try:
        return _row_of(chunks_of(packet))
    except (KeyError, IndexError, ValueError, struct.error):
        return None  # a chunk is missing, or of the wrong size


def _row_of(chunks):
    if not chunks or chunks.get(0x0B) != b"\x01" or 0x0F not in chunks:
        return None
    raw = chunks[0x0F].replace(b"\0", b"").decode("utf-8", "ignore")
    call_id, cseq = header(raw, "call-id", "i"), header(raw, "cseq")
    if not call_id or not cseq:
        return None
    seconds, fraction = (struct.unpack("!I", chunks[kind])[0] for kind in (0x09, 0x0A))
    v4 = 0x03 in chunks
    family = socket.AF_INET if v4 else socket.AF_INET6
    source, destination = (socket.inet_ntop(family, chunks[kind])
                           for kind in ((0x03, 0x04) if v4 else (0x05, 0x06)))
    name = chunks.get(0x13, b"").decode("utf-8", "ignore")
    fields = {"protocolFamily": 2 if v4 else 10, "protocol": chunks[0x02][0],
              "srcIp": source, "srcPort": struct.unpack("!H", chunks[0x07])[0],
              "dstIp": destination, "dstPort": struct.unpack("!H", chunks[0x08])[0],
              "timeSeconds": seconds, "timeUseconds": fraction, "payloadType": 1,
              "captureId": name or str(struct.unpack("!I", chunks[0x0C])[0]),
              "correlation_id": chunks.get(0x11, call_id.encode()).decode("utf-8", "ignore")}
    table = "hep_proto_1_call" if cseq.split()[-1] in _CALL_METHODS else "hep_proto_1_default"
    return table, call_id, seconds * 1_000_000 + fraction, fields, raw


def insert_of(table, call_id, micros, fields, raw):
    """The statement, with every value of the wire as base64: none of it is SQL."""
    def text(value):
        return ("convert_from(decode('" + base64.b64encode(value.encode()).decode()
                + "', 'base64'), 'UTF8')")
    return (f"INSERT INTO {table} (sid, create_date, protocol_header, data_header, raw) VALUES ("
            f"{text(call_id)}, timestamptz 'epoch' + {micros} * interval '1 microsecond', "
            f"{text(json.dumps(fields))}::jsonb, '{{}}', {text(raw)});\n")


class Tables:
    """Writes rows behind, in batches, by a psql of its own."""

    def __init__(self, dsn):
        self._psql = subprocess.Popen(["psql", "-X", "-q", "-d", dsn], stdin=subprocess.PIPE,
                                      stdout=subprocess.DEVNULL)
        self._lock, self._rows, self._over = threading.Lock(), [], threading.Event()
        self._send("".join(TABLES.format(table=t)
                           for t in ("hep_proto_1_call", "hep_proto_1_default")))
        self._thread = threading.Thread(target=self._write)
        self._thread.start()

    def _send(self, text):
        self._psql.stdin.write(text.encode())
        self._psql.stdin.flush()

    def add(self, row):
        with self._lock:
            self._rows.append(row)

    def _write(self):
        over = False
        while not over:
            over = self._over.wait(_BATCH_SECONDS)
            with self._lock:
                rows, self._rows = self._rows, []
            if rows:
                self._send("BEGIN;\n" + "".join(insert_of(*row) for row in rows) + "COMMIT;\n")

    def close(self):
        self._over.set()
        self._thread.join()
        self._psql.stdin.close()
        self._psql.wait(10)


def endpoint(text):
    address, _, port = text.rpartition(":")
    return address, int(port)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--listen", type=endpoint, required=True)
    parser.add_argument("--to", type=endpoint, action="append", required=True)
    parser.add_argument("--dsn")
    options = parser.parse_args()
    receiver = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    receiver.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 32 << 20)
    receiver.bind(options.listen)
    receiver.settimeout(0.2)
    sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    tables = Tables(options.dsn) if options.dsn else None
    over = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: over.set())
    print("relaying", file=sys.stderr, flush=True)
    while not over.is_set():
        try:
            packet = receiver.recv(65536)
        except socket.timeout:
            continue
        for target in options.to:
            try:
                sender.sendto(packet, target)
            except OSError:
                pass  # a controller that is dead
        if tables:
            row = row_of(packet)
            if row:
                tables.add(row)
    if tables:
        tables.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
