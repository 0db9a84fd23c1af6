# SPDX-License-Identifier: Apache-2.0
"""SIP messages as tests need them: every header kept as it came, in order, and small readers."""

import re
import time

_COMPACT = {"v": "via", "f": "from", "t": "to", "i": "call-id", "m": "contact",
            "l": "content-length", "c": "content-type", "k": "supported", "s": "subject"}


def split_list(value):
    """Splits a header value at its commas, but not at those in quotes or angle brackets."""
    parts, current, quoted, angle, escape = [], "", False, False, False
    for char in value:
        if escape:
            escape = False
        elif quoted and char == "\\":
            escape = True
        elif char == '"':
            quoted = not quoted
        elif not quoted and char in "<>":
            angle = char == "<"
        if char == "," and not quoted and not angle:
            parts.append(current.strip())
            current = ""
        else:
            current += char
    if current.strip():
        parts.append(current.strip())
    return parts


def without_tag(value):
    """A From or To value without its tag parameter."""
    return re.sub(r";\s*tag=[^;>\s]*(?=$|;)", "", value)


def uri_of(value):
    """The URI of a name-addr or addr-spec header value."""
    value = re.sub(r'^\s*"(?:[^"\\]|\\.)*"\s*', "", value)
    found = re.search(r"<([^>]*)>", value)
    return found.group(1) if found else value.split(";")[0].strip()


def display_of(value):
    """The display name of a header value, unescaped, or ''."""
    quoted = re.match(r'\s*"((?:[^"\\]|\\.)*)"\s*<', value)
    if quoted:
        return re.sub(r"\\(.)", r"\1", quoted.group(1))
    plain = re.match(r"\s*([^<\"]*?)\s*<", value)
    return plain.group(1) if plain else ""


def same_uri(first, second):
    """Whether two URIs are the same by RFC 3261, section 19.1.4, as far as tests need it: the
    order of parameters and the case of escapes do not count."""
    def normal(uri):
        uri = re.sub(r"%[0-9A-Fa-f]{2}", lambda found: found.group(0).lower(), uri)
        address, *parameters = uri.split(";")
        return address, sorted(parameters)
    return normal(first) == normal(second)


def host_port(uri, default=5060):
    """(host, port) that a SIP URI names."""
    rest = re.sub(r"^sips?:", "", uri).split(";")[0].split("?")[0].split("@")[-1]
    host, _, port = rest.partition(":")
    return host, int(port or default)


class Message:
    """One message, sent or received."""

    def __init__(self, start, headers=(), body="", *, source=None, received=False):
        self.start = start
        self.headers = list(headers)
        self.body = body
        self.source = source
        self.received = received
        self.time = time.monotonic()

    @classmethod
    def parse(cls, data, source=None):
        head, _, body = data.partition(b"\r\n\r\n")
        lines = re.sub(r"\r\n[ \t]+", " ", head.decode("utf-8", "surrogateescape")).split("\r\n")
        headers = []
        for line in lines[1:]:
            name, _, value = line.partition(":")
            headers.append((name.strip(), value.strip()))
        return cls(lines[0], headers, body.decode("utf-8", "surrogateescape"), source=source,
                   received=True)

    def encode(self):
        body = self.body.encode("utf-8", "surrogateescape")
        lines = [self.start] + [f"{name}: {value}" for name, value in self.headers
                                if name.lower() != "content-length"]
        lines.append(f"Content-Length: {len(body)}")
        return "\r\n".join(lines).encode("utf-8", "surrogateescape") + b"\r\n\r\n" + body

    def __repr__(self):
        arrow = "<-" if self.received else "->"
        return f"{arrow} {self.start} [{self.get('CSeq')}]"

    def text(self):
        return self.encode().decode("utf-8", "replace")

    def all(self, name):
        """All values of a header, one string per header line."""
        name = name.lower()
        return [value for key, value in self.headers
                if _COMPACT.get(key.lower(), key.lower()) == name]

    def get(self, name, default=""):
        values = self.all(name)
        return values[0] if values else default

    def listed(self, name):
        """All values of a header, with comma lists split."""
        return [item for value in self.all(name) for item in split_list(value)]

    def set(self, name, value):
        """Replaces the first header of that name, in its place, or adds one."""
        for index, (key, _) in enumerate(self.headers):
            if _COMPACT.get(key.lower(), key.lower()) == name.lower():
                self.headers[index] = (key, value)
                return
        self.headers.append((name, value))

    def remove(self, name):
        self.headers = [(key, value) for key, value in self.headers
                        if _COMPACT.get(key.lower(), key.lower()) != name.lower()]

    @property
    def is_request(self):
        return not self.start.startswith("SIP/2.0 ")

    @property
    def method(self):
        return self.start.split(" ")[0] if self.is_request else self.get("CSeq").split()[-1]

    @property
    def request_uri(self):
        return self.start.split(" ")[1]

    @property
    def status(self):
        return 0 if self.is_request else int(self.start.split(" ")[1])

    @property
    def cseq(self):
        return int(self.get("CSeq").split()[0])

    @property
    def call_id(self):
        return self.get("Call-ID")

    def _tag(self, name):
        found = re.search(r";\s*tag=([^;>\s]+)", self.get(name).rpartition(">")[2]
                          or self.get(name))
        return found.group(1) if found else ""

    @property
    def from_tag(self):
        return self._tag("From")

    @property
    def to_tag(self):
        return self._tag("To")

    @property
    def branch(self):
        found = re.search(r";\s*branch=([^;,\s]+)", self.get("Via"))
        return found.group(1) if found else ""

    # -- SDP ----------------------------------------------------------------------------------

    def sdp_lines(self, kind):
        """The values of all lines of one kind: 'o', 'c', 'm', 'a'."""
        return [line[2:] for line in self.body.replace("\r\n", "\n").split("\n")
                if line.startswith(kind + "=")]

    @property
    def origin(self):
        lines = self.sdp_lines("o")
        return lines[0] if lines else ""
