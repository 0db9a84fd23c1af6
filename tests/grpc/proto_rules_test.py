#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""sipheal.v1 keeps its promises: names as buf's standard rules have them, and every number means the same for ever.

    proto_rules_test.py             the tests
    proto_rules_test.py --write     writes field_numbers.golden anew, after a field was added
"""

import pathlib
import re
import subprocess
import sys
import tempfile
import unittest

from google.protobuf import descriptor_pb2

HERE = pathlib.Path(__file__).resolve().parent
PROTO = HERE.parent.parent / "src" / "grpc" / "proto"
GOLDEN = HERE / "field_numbers.golden"
WELL_KNOWN = "google/protobuf/"


def compile_protos(root, files):
    with tempfile.TemporaryDirectory() as folder:
        out = pathlib.Path(folder) / "set"
        subprocess.run(["protoc", f"--proto_path={root}", f"--descriptor_set_out={out}", "--include_imports",
                        *files], check=True)
        return descriptor_pb2.FileDescriptorSet.FromString(out.read_bytes())


def sources(root):
    return [str(path.relative_to(root)) for path in sorted(root.rglob("*.proto"))]


def messages_of(file):
    def walk(prefix, messages):
        for message in messages:
            name = f"{prefix}.{message.name}"
            yield name, message
            yield from walk(name, message.nested_type)
    yield from walk(file.package, file.message_type)


def enums_of(file):
    for enum in file.enum_type:
        yield f"{file.package}.{enum.name}", enum
    for name, message in messages_of(file):
        for enum in message.enum_type:
            yield f"{name}.{enum.name}", enum


def numbers(files):
    lines = []
    for file in files:
        for name, message in messages_of(file):
            for field in message.field:
                kind = descriptor_pb2.FieldDescriptorProto.Type.Name(field.type)[5:].lower()
                many = "repeated " if field.label == field.LABEL_REPEATED else ""
                lines.append(f"{name}.{field.name} = {field.number} {many}{field.type_name or kind}")
        for name, enum in enums_of(file):
            lines += [f"{name}.{value.name} = {value.number}" for value in enum.value]
        for service in file.service:
            for method in service.method:
                stream = "stream " if method.server_streaming else ""
                lines.append(f"{file.package}.{service.name}.{method.name}({method.input_type}) -> "
                             f"{stream}{method.output_type}")
    return sorted(lines)


def upper_snake(name):
    return re.sub(r"(?<!^)(?=[A-Z])", "_", name).upper()


def complaints(files):
    found = []
    used = {}
    for file in files:
        if not file.name.startswith(file.package.replace(".", "/") + "/"):
            found.append(f"{file.name}: does not lie where its package says")
        for name, message in messages_of(file):
            if not re.fullmatch(r"[A-Z][A-Za-z0-9]*", message.name):
                found.append(f"{name}: is not in PascalCase")
            found += [f"{name}.{field.name}: is not in lower_snake_case" for field in message.field
                      if not re.fullmatch(r"[a-z][a-z0-9_]*", field.name)]
        for name, enum in enums_of(file):
            prefix = upper_snake(enum.name) + "_"
            if enum.value[0].number != 0 or enum.value[0].name != prefix + "UNSPECIFIED":
                found.append(f"{name}: its zero is not {prefix}UNSPECIFIED")
            found += [f"{name}.{value.name}: does not begin with {prefix}" for value in enum.value
                      if not value.name.startswith(prefix)]
        for service in file.service:
            if not service.name.endswith("Service"):
                found.append(f"{service.name}: does not end with Service")
            for method in service.method:
                for type_name, end in ((method.input_type, "Request"), (method.output_type, "Response")):
                    if type_name.split(".")[-1] != method.name + end:
                        found.append(f"{service.name}.{method.name}: {type_name} is not {method.name}{end}")
                    if used.setdefault(type_name, method) is not method:
                        found.append(f"{service.name}.{method.name}: {type_name} is that of another method, too")
    return found


def own(descriptors):
    return [file for file in descriptors.file if not file.name.startswith(WELL_KNOWN)]


BAD = """syntax = "proto3";
package other.v1;
enum Kind { FIRST = 0; }
message lower { int32 badName = 1; }
service Thing { rpc Do(lower) returns (lower); rpc Go(lower) returns (lower); }
"""


class ProtoRules(unittest.TestCase):
    def test_every_number_is_what_it_was(self):
        now = numbers(own(compile_protos(PROTO, sources(PROTO))))
        before = GOLDEN.read_text(encoding="utf-8").splitlines()
        self.assertEqual([line for line in before if line not in now], [], "changed, or taken out")
        self.assertEqual([line for line in now if line not in before], [], "new: run with --write")

    def test_names_follow_the_rules(self):
        self.assertEqual(complaints(own(compile_protos(PROTO, sources(PROTO)))), [])

    def test_bad_names_are_found(self):
        with tempfile.TemporaryDirectory() as folder:
            (pathlib.Path(folder) / "bad.proto").write_text(BAD)
            found = "\n".join(complaints(own(compile_protos(folder, ["bad.proto"]))))
        for sentence in ("does not lie where", "lower: is not in PascalCase", "badName: is not in lower_snake_case",
                         "its zero is not KIND_UNSPECIFIED", "FIRST: does not begin with KIND_",
                         "Thing: does not end with Service", "is not DoRequest", "is that of another method, too"):
            self.assertIn(sentence, found)


if __name__ == "__main__":
    if sys.argv[1:] == ["--write"]:
        GOLDEN.write_text("\n".join(numbers(own(compile_protos(PROTO, sources(PROTO))))) + "\n", encoding="utf-8")
    else:
        unittest.main()
