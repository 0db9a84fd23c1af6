#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Holds the layers: who may include whom, and what every header begins with.

    check_includes.py ROOT          prints each violation as path:line: what; exit status 1 if there is any
    check_includes.py --self-test   shows that each rule can fail

The layers, from below: base, sip, model (with the five interfaces), engine and memory (the core, which links Abseil
only), adapters (which know neither each other nor the engine), testing and conformance, and the leaves, on which
nothing depends.
"""

import pathlib
import re
import sys
import tempfile

CORE = {"base", "sip", "model", "engine", "memory"}

# Who may include whom, besides itself.
ALLOWED = {
    "base": set(),
    "sip": {"base"},
    "model": {"base", "sip"},
    "engine": {"base", "sip", "model"},
    "memory": {"base", "sip", "model"},
    "http": {"base", "model"},  # what adapters share; no component of its own
    "pq": {"base", "model"},
    "testing": CORE,
    "conformance": {"base", "sip", "model"},
    "umbrella": CORE,
    "grpc_healer": CORE | {"grpc"},  # joins the two; nothing of it is compiled into the adapter
}
ADAPTER_ALLOWED = {"base", "sip", "model", "http", "pq"}
LEAVES = {"cli", "python"}  # may include everything

# The interface headers belong to the model, the engine's face to the engine; these are everybody's.
TOP_HEADERS = {
    "capture_chain.h": "memory",
    "crash_detector.h": "model",
    "flow_resumer.h": "model",
    "kill_switch.h": "model",
    "media_server_driver.h": "model",
    "session_store.h": "model",
    "sip_capture.h": "model",
    "healer.h": "engine",
    "healer_options.h": "engine",
    "sipheal.h": "umbrella",
}
EVERYBODYS = {"export.h", "version.h"}

# Third-party headers, and the units that may see them. What is not listed here is for leaves.
THIRD_PARTY = {
    "sqlite3.h": {"sqlite"},
    "libpq-fe.h": {"pq"},
    "pcap.h": {"pcap"},
    "pcap/": {"pcap"},
    "curl/": {"http", "ari", "homer", "kubernetes"},
    "nlohmann/": {"http", "ari", "homer", "kubernetes", "testing"},
    "simdjson.h": {"homer"},
    "libwebsockets.h": {"ari", "testing"},
    "prometheus/": {"prometheus"},
    "gtest/": {"conformance"},
    "CLI/": set(),
    "yaml-cpp/": set(),
    "httplib.h": set(),
    "grpc": {"grpc"},
    "google/": {"grpc"},
    "pybind11/": set(),
}
SYSTEM_FOLDERS = ("sys/", "netinet/", "arpa/", "linux/", "net/", "bits/")

# Parsing and rebuild neither wait nor talk.
SIP_FORBIDDEN = {"thread", "mutex", "shared_mutex", "condition_variable", "future", "atomic", "fstream", "filesystem",
                 "sys/socket.h", "sys/epoll.h", "poll.h", "unistd.h", "fcntl.h", "stop_token"}
PRINTING = re.compile(r"\bstd::(cout|cerr|clog)\b|(?<![\w:.>])(?:std::)?(?:printf|fprintf|puts|fputs|perror)\s*\(")

INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]')


def unit_of(path):
    """The unit that a file of include/sipheal/ or src/ belongs to; None for what is everybody's."""
    parts = path.parts
    if parts[0] == "src":
        return parts[1] if len(parts) > 2 else None
    rest = parts[2:]  # include/sipheal/...
    if len(rest) == 1:
        return None if rest[0] in EVERYBODYS else TOP_HEADERS.get(rest[0], "unknown")
    if rest[0] == "adapters":
        return pathlib.PurePath(rest[1]).stem
    if rest[0] == "v1":
        return "grpc"  # made of src/grpc/proto
    return rest[0]


def allowed_for(unit):
    if unit in LEAVES:
        return None
    return ALLOWED.get(unit, ADAPTER_ALLOWED)


def check_include(path, unit, kind, target):
    """What is wrong with this include, or None."""
    if kind == "<":
        for prefix, users in THIRD_PARTY.items():
            if target == prefix or (prefix.endswith(("/", "grpc")) and target.startswith(prefix)):
                if unit in LEAVES or unit in users:
                    return None
                return f"{unit} may not use <{target}>"
        if "/" in target and not target.startswith(SYSTEM_FOLDERS):
            return f"<{target}> is not known here: add it to THIRD_PARTY with those who may use it"
        if unit == "sip" and target in SIP_FORBIDDEN:
            return f"sip has no I/O and no threads: <{target}>"
        return None
    if target.startswith("absl/"):
        if unit == "base" or not target.startswith("absl/synchronization"):
            return None
        return "absl::Mutex hides races from ThreadSanitizer: use base/mutex.h"
    public = target.startswith("sipheal/")
    if path.parts[0] == "include" and not public:
        return f'a public header includes the private "{target}"'
    if target.startswith(("tests/", "bench/", "examples/", "bindings/")):
        return f'nothing depends on a leaf: "{target}"'
    place = pathlib.PurePath("include", target) if public else pathlib.PurePath("src", target)
    if not public and "/" not in target:
        return f'"{target}" has no folder: write the path below src/'
    other = unit_of(place)
    if other is None or other == unit:
        return None
    allowed = allowed_for(unit)
    if allowed is None or other in allowed:
        return None
    return f'{unit} may not include {other}: "{target}"'


def check_file(root, path):
    text = (root / path).read_text(encoding="utf-8")
    lines = text.split("\n")
    found = []
    if "SPDX-License-Identifier: Apache-2.0" not in lines[0]:
        found.append((1, "the first line is not the SPDX licence line"))
    if path.suffix == ".h" and not any(line.strip() == "#pragma once" for line in lines):
        found.append((1, "no #pragma once"))
    if path.parts[0] not in ("include", "src"):
        return found
    unit = unit_of(path)
    if unit == "unknown":
        return found + [(1, "a header that lies directly in include/sipheal/: add it to TOP_HEADERS")]
    for number, line in enumerate(lines, 1):
        match = INCLUDE.match(line)
        if match and unit is not None:
            problem = check_include(path, unit, match[1], match[2])
            if problem:
                found.append((number, problem))
        code = re.sub(r'"(?:[^"\\]|\\.)*"', '""', line).split("//")[0]
        if unit == "sip" and re.search(r"\bvirtual\b", code):
            found.append((number, "sip has no virtual functions"))
        if unit not in LEAVES and (PRINTING.search(code) or re.match(r"\s*#\s*include\s*<iostream>", line)):
            found.append((number, "the library prints nothing"))
    return found


def check_tree(root):
    problems = []
    for folder in ("include", "src", "tests", "bench", "examples", "bindings"):
        for path in sorted((root / folder).rglob("*")):
            relative = path.relative_to(root)
            if path.suffix in (".h", ".cc") and path.is_file():
                problems += [(relative, number, what) for number, what in check_file(root, relative)]
    return problems


HEAD = "// SPDX-License-Identifier: Apache-2.0\n"
PUBLIC = HEAD + "#pragma once\n"
# path, text, part of the complaint; None: no complaint.
SAMPLES = [
    ("include/sipheal/base/a.h", PUBLIC + '#include "sipheal/export.h"\n#include <string>\n', None),
    ("include/sipheal/base/b.h", PUBLIC + '#include "sipheal/model/session.h"\n', "base may not include model"),
    ("include/sipheal/sip/c.h", PUBLIC + "#include <mutex>\n", "sip has no I/O"),
    ("include/sipheal/sip/d.h", PUBLIC + "struct D { virtual ~D(); };\n", "no virtual"),
    ("src/sip/e.cc", HEAD + '#include "sipheal/session_store.h"\n', "sip may not include model"),
    ("include/sipheal/model/f.h", PUBLIC + '#include "sipheal/healer.h"\n', "model may not include engine"),
    ("src/engine/g.cc", HEAD + '#include "sipheal/adapters/ari.h"\n', "engine may not include ari"),
    ("src/engine/h.cc", HEAD + "#include <nlohmann/json.hpp>\n", "engine may not use <nlohmann"),
    ("src/ari/i.cc", HEAD + '#include "hep/receiver.h"\n', "ari may not include hep"),
    ("src/ari/j.cc", HEAD + '#include "sipheal/healer.h"\n', "ari may not include engine"),
    ("src/ari/k.cc", HEAD + '#include "http/transfer.h"\n#include <nlohmann/json.hpp>\n', None),
    ("src/sqlite/l.cc", HEAD + "#include <sqlite3.h>\n#include <sys/stat.h>\n", None),
    ("src/hep/m.cc", HEAD + "#include <sqlite3.h>\n", "hep may not use <sqlite3.h>"),
    ("src/hep/n.cc", HEAD + "#include <boost/asio.hpp>\n", "not known here"),
    ("src/model/o.cc", HEAD + '#include "tests/support/x.h"\n', "depends on a leaf"),
    ("src/hep/p.cc", HEAD + '#include "cli/config.h"\n', "hep may not include cli"),
    ("include/sipheal/adapters/hep.h", PUBLIC + '#include "hep/receiver.h"\n', "includes the private"),
    ("src/cli/q.cc", HEAD + '#include "sipheal/healer.h"\n#include <iostream>\n#include <CLI/CLI.hpp>\n', None),
    ("src/grpc/x.cc", HEAD + '#include "sipheal/v1/session.pb.h"\n#include <grpcpp/server.h>\n', None),
    ("src/ari/y.cc", HEAD + '#include "sipheal/v1/session.pb.h"\n', "ari may not include grpc"),
    ("include/sipheal/adapters/grpc_healer.h", PUBLIC + '#include "sipheal/healer.h"\n', None),
    ("src/grpc/z.cc", HEAD + '#include "sipheal/healer.h"\n', "grpc may not include engine"),
    ("src/hep/r.cc", HEAD + "#include <iostream>\n", "prints nothing"),
    ("src/hep/s.cc", HEAD + 'void F() { fprintf(stderr, "x"); }\n', "prints nothing"),
    ("src/hep/t.cc", HEAD + "// fprintf(stderr) would be wrong\n", None),
    ("src/hep/u.cc", HEAD + '#include "absl/synchronization/mutex.h"\n', "absl::Mutex"),
    ("include/sipheal/stray.h", PUBLIC, "add it to TOP_HEADERS"),
    ("include/sipheal/sip/v.h", "#pragma once\n", "SPDX"),
    ("include/sipheal/sip/w.h", HEAD, "no #pragma once"),
    ("tests/sip/x_test.cc", "#include <gtest/gtest.h>\n", "SPDX"),
]


def self_test():
    failures = 0
    for path, text, expected in SAMPLES:
        with tempfile.TemporaryDirectory() as folder:
            root = pathlib.Path(folder)
            (root / path).parent.mkdir(parents=True)
            (root / path).write_text(text, encoding="utf-8")
            said = [what for _, _, what in check_tree(root)]
        right = not said if expected is None else len(said) == 1 and expected in said[0]
        if not right:
            failures += 1
            print(f"{path}: expected {expected!r}, got {said}")
    print(f"{len(SAMPLES)} samples, {failures} wrong")
    return failures


def main():
    if sys.argv[1:] == ["--self-test"]:
        return 1 if self_test() else 0
    if len(sys.argv) != 2:
        print(__doc__)
        return 2
    root = pathlib.Path(sys.argv[1])
    problems = check_tree(root)
    for path, number, what in problems:
        print(f"{path}:{number}: {what}")
    headers = len(list((root / "include").rglob("*.h")))
    print(f"{headers} public headers, {len(problems)} violations")
    return 1 if problems or headers == 0 else 0


if __name__ == "__main__":
    sys.exit(main())
