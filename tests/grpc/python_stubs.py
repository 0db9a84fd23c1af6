# SPDX-License-Identifier: Apache-2.0
"""What protoc makes of sipheal.v1 for Python, made for one test run."""

import pathlib
import subprocess
import sys

PROTO = pathlib.Path(__file__).resolve().parent.parent.parent / "src" / "grpc" / "proto"


def make(folder):
    """Writes the stubs into `folder`, from where they can then be imported."""
    names = [str(path.relative_to(PROTO)) for path in sorted(PROTO.rglob("*.proto"))]
    subprocess.run(["protoc", f"--proto_path={PROTO}", f"--python_out={folder}", f"--grpc_out={folder}",
                    "--plugin=protoc-gen-grpc=/usr/bin/grpc_python_plugin", *names], check=True)
    sys.path.insert(0, str(folder))
