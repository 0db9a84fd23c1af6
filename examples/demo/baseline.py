# SPDX-License-Identifier: Apache-2.0
"""The bare loop: posts the channels of a dead server's calls and does nothing else. It is told what
to post; the dialogs are those that the wire checker kept."""

import base64
import json
import subprocess

APPLICATION = "pbx"


def recovery_variables(dialog):
    """The variables of res_pjsip_recovery for one dialog."""
    variables = {
        "FROM_URI": dialog.server_uri, "FROM_TAG": dialog.server_tag,
        "TO_URI": dialog.phone_uri, "TO_TAG": dialog.phone_tag,
        "CALL-ID": dialog.call_id, "CSEQ": str(dialog.server_cseq + 1),
        "REQUEST_URI": dialog.target,
        "ROUTES": ",".join(f"<{route}>" for route in dialog.routes),
        "SDP_ORIGIN": "%s %d %d IN IP4 " % dialog.origin + dialog.owner,
    }
    return {f"PJSIP_RECOVERY({name})": value for name, value in variables.items()}


def channel_request(dialog, endpoint, application=APPLICATION):
    """The body of POST /channels that recovers one dialog."""
    return {"endpoint": f"PJSIP/{endpoint}/{dialog.target}", "app": application,
            "appArgs": "recovered", "variables": recovery_variables(dialog)}


def run_loop(program, work):
    """work: (server, body) in order. Returns what the program printed."""
    lines = []
    for server, body in work:
        token = base64.b64encode(f"{server.ari_user}:{server.ari_password}".encode()).decode()
        lines.append(f"127.0.0.1 {server.ari_port} {token} /ari/channels {json.dumps(body)}")
    done = subprocess.run([str(program)], input="\n".join(lines) + "\n", capture_output=True,
                          text=True, timeout=120, check=False)
    if not done.stdout:
        raise RuntimeError("the bare loop failed: " + done.stderr)
    return {**json.loads(done.stdout), "errors": done.stderr}
