# SPDX-License-Identifier: Apache-2.0
"""Real Asterisk instances for tests and demos.

Each instance lives in a folder of its own with a minimal, clean configuration, on free loopback
ports. From Python, use the class Asterisk; from a shell or another language:

    python3 -m sipheal_lab.asterisk --name ast-1 --dir DIR --endpoint alice

starts one, writes DIR/instance.json when it is ready, and runs until SIGTERM (or, with --detach,
leaves the server running and returns).
"""

import argparse
import ctypes
import dataclasses
import json
import math
import os
import pathlib
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

from sipheal_lab.ari import Ari

REPOSITORY = pathlib.Path(__file__).resolve().parents[4]
SCRIPTS = REPOSITORY / "patches" / "asterisk"

# What a server of these tests loads, and nothing else: autoload would log many errors for modules
# that have no configuration here.
MODULES = """
bridge_builtin_features bridge_builtin_interval_features bridge_holding bridge_native_rtp
bridge_simple bridge_softmix chan_bridge_media chan_pjsip
codec_alaw codec_gsm codec_resample codec_ulaw
format_gsm format_pcm format_sln format_wav format_wav_gsm
func_callerid func_channel func_global func_logic func_math func_pjsip_endpoint func_strings
func_timeout
app_bridgewait app_confbridge app_controlplayback app_dial app_echo app_exec app_milliwatt
app_mixmonitor app_playback app_queue app_read app_record app_senddtmf app_stack app_stasis
app_verbose app_while
pbx_config
res_ari res_ari_applications res_ari_asterisk res_ari_bridges res_ari_channels
res_ari_device_states res_ari_endpoints res_ari_events res_ari_model res_ari_playbacks
res_ari_recordings res_ari_sounds
res_crypto res_http_websocket res_musiconhold res_mutestream res_websocket_client
res_pjproject res_pjsip res_pjsip_authenticator_digest res_pjsip_caller_id
res_pjsip_dtmf_info res_pjsip_empty_info res_pjsip_endpoint_identifier_ip
res_pjsip_endpoint_identifier_user res_pjsip_header_funcs res_pjsip_logger res_pjsip_nat
res_pjsip_outbound_authenticator_digest res_pjsip_path res_pjsip_registrar res_pjsip_rfc3326
res_pjsip_pubsub res_pjsip_refer res_pjsip_sdp_rtp res_pjsip_session
res_rtp_asterisk res_sorcery_astdb res_sorcery_config res_sorcery_memory res_srtp
res_stasis res_stasis_answer res_stasis_device_state res_stasis_playback res_stasis_recording
res_stasis_snoop res_timing_timerfd
""".split()


def asterisk_prefix():
    """The install prefix of the cached Asterisk, or None when there is none."""
    script = SCRIPTS / "get-asterisk.sh"
    done = subprocess.run([script, "--print-prefix", "--cached-only"], capture_output=True,
                          text=True, check=False)
    return done.stdout.strip().splitlines()[-1] if done.returncode == 0 else None


def recovery_module(prefix=None, *options):
    """Builds (or finds in the cache) res_pjsip_recovery.so for the Asterisk at prefix."""
    command = [SCRIPTS / "build-module.sh", *options]
    if prefix:
        command += ["--asterisk", prefix]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError("building res_pjsip_recovery failed:\n" + done.stderr)
    return done.stdout.strip().splitlines()[-1]


def free_port(address="127.0.0.1", kind=socket.SOCK_STREAM):
    """A port that was free a moment ago; for SIP, free for both UDP and TCP."""
    for _ in range(100):
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as tcp:
            tcp.bind((address, 0))
            port = tcp.getsockname()[1]
            if kind == socket.SOCK_STREAM:
                return port
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
                try:
                    udp.bind((address, port))
                except OSError:
                    continue
                return port
    raise RuntimeError(f"no port free for UDP and TCP on {address}")


def write_tone(path, seconds, hertz=440.0, amplitude=8000):
    """Writes a sine tone as 8 kHz signed linear (.sln), a format that Asterisk plays as it is."""
    step = 2 * math.pi * hertz / 8000
    samples = (round(amplitude * math.sin(step * n)) for n in range(int(seconds * 8000)))
    pathlib.Path(path).write_bytes(b"".join(s.to_bytes(2, "little", signed=True) for s in samples))


@dataclasses.dataclass
class Endpoint:
    """One PJSIP endpoint.

    kind: 'udp' and 'tcp' are phones without authentication, named by the user part of their From;
    'trunk' answers challenges to its outbound requests with username and password.
    contact: a fixed contact of its AOR, for calls dialled as PJSIP/<name>; a phone may also
    register, and a call may name its target itself: PJSIP/<name>/sip:...
    match: an address whose requests belong to this endpoint whatever their From.
    options: further lines of the endpoint's section, by name.
    """

    name: str
    kind: str = "udp"
    contact: str = ""
    username: str = ""
    password: str = ""
    match: str = ""
    codecs: str = "ulaw,alaw"
    context: str = "default"
    options: dict = dataclasses.field(default_factory=dict)

    def sections(self, media_address):
        """The sections of pjsip.conf that make this endpoint."""
        lines = [f"[{self.name}]", "type=endpoint", f"context={self.context}", "disallow=all",
                 f"allow={self.codecs}", f"aors={self.name}", f"transport={self.transport()}",
                 f"media_address={media_address}", "bind_rtp_to_media_address=yes",
                 "direct_media=no", "rtp_symmetric=no", "rewrite_contact=no"]
        if self.kind == "trunk":
            lines.append(f"outbound_auth={self.name}-auth")
        lines += [f"{key}={value}" for key, value in self.options.items()]
        lines += ["", f"[{self.name}]", "type=aor", "max_contacts=5", "remove_existing=yes"]
        if self.contact:
            lines.append(f"contact={self.contact}")
        if self.kind == "trunk":
            lines += ["", f"[{self.name}-auth]", "type=auth", "auth_type=userpass",
                      f"username={self.username or self.name}", f"password={self.password}"]
        if self.match:
            lines += ["", f"[{self.name}-match]", "type=identify", f"endpoint={self.name}",
                      f"match={self.match}"]
        return "\n".join(lines) + "\n\n"

    def transport(self):
        return "transport-tcp" if self.kind == "tcp" else "transport-udp"


@dataclasses.dataclass
class Hep:
    """Where res_hep sends what the server sees on the wire, and as whom."""

    address: str
    port: int
    capture_id: int = 1
    capture_name: str = ""
    password: str = ""


def _die_with_parent():
    """In the child: have the kernel kill it when the process that started it ends."""
    pr_set_pdeathsig = 1
    ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGKILL)


class Asterisk:
    """One server. start() returns when it is fully booted; a context manager stops it.

    name: also the capture name in HEP and the system name in unique ids.
    directory: its folder; made when missing. None makes a temporary one.
    sip_address: address of its SIP and RTP; several instances may use several of 127.0.0.0/8 and
    then look like several hosts. sip_port 0 takes a free one.
    dialplan: text of extensions.conf. The default answers every extension into Stasis(lab), but
    lets 'ring' ring; its context 'outside' has an extension s outside Stasis.
    recovery: load res_pjsip_recovery (True), or not (False), or this file (a path).
    sip_timers: (T1, B) in milliseconds, to make time-outs short; Asterisk's least are 100 and 6400.
    transports: sections of pjsip.conf beside those of UDP and TCP.
    wrapper: a command to run the server under, such as valgrind; start_timeout: seconds that it may
    take to boot.
    """

    DEFAULT_DIALPLAN = ("[default]\nexten => _.,1,Answer()\n same => n,Stasis(lab)\n"
                        " same => n,Hangup()\n"
                        "exten => ring,1,Ringing()\n same => n,Stasis(lab)\n"
                        "[outside]\nexten => s,1,Echo()\n")

    def __init__(self, name="ast", directory=None, *, prefix=None, sip_address="127.0.0.1",
                 sip_port=0, ari_port=0, endpoints=(), dialplan=None, hep=None, ami=False,
                 rtp_ports=None, recovery=True, extra_modules=(), without_modules=(),
                 sip_timers=None, debug=0, wrapper=(), environment=None, config=None,
                 detach=False, start_timeout=30.0, transports=""):
        self.name = name
        self.prefix = prefix or asterisk_prefix()
        if not self.prefix:
            raise RuntimeError("no Asterisk in the cache: run patches/asterisk/get-asterisk.sh")
        self._own_directory = directory is None
        self.directory = pathlib.Path(directory or tempfile.mkdtemp(prefix=f"{name}-"))
        self.sip_address = sip_address
        self._wanted_ports = (sip_port, ari_port, ami)
        self._choose_ports()
        self.ari_user, self.ari_password = "sipheal", "sipheal-lab"
        self.endpoints = list(endpoints)
        self.dialplan = self.DEFAULT_DIALPLAN if dialplan is None else dialplan
        self.hep = hep
        if rtp_ports is None:
            start = random.randrange(10000, 30000, 1000)
            rtp_ports = (start, start + 998)
        self.rtp_ports = rtp_ports
        self.recovery = recovery
        self.modules = [m for m in MODULES + list(extra_modules) if m not in without_modules]
        if hep:
            self.modules += ["res_hep", "res_hep_pjsip"]
        self.sip_timers = sip_timers
        self.transports = transports
        self.debug = debug
        self.wrapper = list(wrapper)
        self.environment = environment or {}
        self.extra_config = config or {}
        self.detach = detach
        self.start_timeout = start_timeout
        self.process = None
        self.start_seconds = None
        self.ari = Ari("127.0.0.1", self.ari_port, self.ari_user, self.ari_password)
        self._run_directory = None
        self._log_start = 0

    # -- life ---------------------------------------------------------------------------------

    def start(self, timeout=None):
        """Writes the configuration, starts the server, returns self when it is fully booted.

        A port that was free when it was chosen may be taken when the server binds it: then, at
        its first start, it is started again with others. A restart keeps its ports.
        """
        first = self.process is None
        for attempt in range(3):
            if attempt:
                self._choose_ports()
                self.ari.close()
                self.ari.port = self.ari_port
            self._launch(timeout)
            if self._has_its_ports():
                return self
            log = self.log()
            self.kill()
            if not first:
                break
        raise RuntimeError(f"asterisk could not bind its ports:\n{log}")

    def _choose_ports(self):
        sip_port, ari_port, ami = self._wanted_ports
        self.sip_port = sip_port or free_port(self.sip_address, socket.SOCK_DGRAM)
        self.ari_port = ari_port or free_port()
        self.ami_port = free_port() if ami else 0

    def _has_its_ports(self):
        with open(self.directory / "log" / "messages", encoding="utf-8", errors="replace") as log:
            log.seek(self._log_start)
            if "could not be started" in log.read():
                return False
        try:
            status, info = self.ari.request("GET", "/asterisk/info", timeout=3.0)
        except OSError:
            return False
        return status == 200 and info["config"]["name"] == self.name

    def _launch(self, timeout):
        self._write_configuration()
        log = self.directory / "log" / "messages"
        self._log_start = log.stat().st_size if log.exists() else 0
        begun = time.monotonic()
        output = open(self.directory / "console.log", "wb")
        command = [*self.wrapper, f"{self.prefix}/sbin/asterisk", "-f", "-n", "-C",
                   str(self.directory / "etc" / "asterisk.conf")]
        self.process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT,
            cwd=self.directory, start_new_session=True, env={**os.environ, **self.environment},
            preexec_fn=None if self.detach else _die_with_parent)
        output.close()
        self._wait_until_booted(begun + (timeout or self.start_timeout))
        self.start_seconds = time.monotonic() - begun

    def _wait_until_booted(self, deadline):
        control = self.run_directory / "asterisk.ctl"
        while True:
            if self.process.poll() is not None:
                raise RuntimeError(f"asterisk ended with {self.process.returncode}:\n{self.log()}")
            if time.monotonic() > deadline:
                raise RuntimeError(f"asterisk did not start in time:\n{self.log()}")
            if control.exists():
                # Blocks in the server until the last module is loaded.
                if "fully booted" in self.cli("core waitfullybooted", check=False):
                    return
            time.sleep(0.01)

    def __enter__(self):
        return self if self.process else self.start()

    def __exit__(self, kind, value, trace):
        if kind is not None:
            sys.stderr.write(f"--- log of {self.name}\n{self.log()}\n")
        self.close()

    @property
    def pid(self):
        return self.process.pid

    @property
    def pid_file(self):
        """Where the server writes its process id."""
        return self.run_directory / "asterisk.pid"

    @property
    def run_directory(self):
        """Its folder for sockets and the process id file, the same for all its incarnations; in
        /tmp, since the path of the control socket must fit into sockaddr_un."""
        if self._run_directory is None:
            self._run_directory = pathlib.Path(tempfile.mkdtemp(prefix="ast-", dir="/tmp"))
        return self._run_directory

    def running(self):
        return self.process is not None and self.process.poll() is None

    def kill(self):
        """SIGKILL: the death that the library is about."""
        self.process.kill()
        self.process.wait()

    def pause(self):
        """SIGSTOP: the server hangs."""
        self.process.send_signal(signal.SIGSTOP)

    def resume(self):
        self.process.send_signal(signal.SIGCONT)

    def stop(self, timeout=10.0):
        """Stops the server in order; kills it when it does not obey."""
        if not self.running():
            return
        self.resume()
        self.cli("core stop now", check=False)
        try:
            self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            self.kill()

    def close(self, keep=False):
        """Ends the server and removes a folder that it made itself."""
        self.ari.close()
        if self.running():
            self.kill()
        if self._run_directory:
            shutil.rmtree(self._run_directory, ignore_errors=True)
        if self._own_directory and not keep:
            shutil.rmtree(self.directory, ignore_errors=True)

    # -- talk ---------------------------------------------------------------------------------

    def cli(self, command, *, check=True, timeout=10.0):
        """Runs a CLI command and returns what it printed."""
        done = subprocess.run(
            [f"{self.prefix}/sbin/asterisk", "-n", "-C",
             str(self.directory / "etc" / "asterisk.conf"), "-rx", command],
            capture_output=True, text=True, timeout=max(timeout, self.start_timeout), check=False)
        if check and done.returncode != 0:
            raise RuntimeError(f"CLI '{command}' failed: {done.stdout}{done.stderr}")
        return done.stdout

    def log(self, limit=20000):
        """The end of what the server logged."""
        text = ""
        for path in ("console.log", "log/messages"):
            file = self.directory / path
            if file.exists():
                text += file.read_text(errors="replace")
        return text[-limit:]

    def sip_uri(self, user="", *, transport=""):
        """A SIP URI at which this server listens."""
        at = f"{user}@" if user else ""
        return f"sip:{at}{self.sip_address}:{self.sip_port}" + (
            f";transport={transport}" if transport else "")

    def describe(self):
        """What another process needs to know of this instance, as JSON data."""
        return {
            "name": self.name, "pid": self.pid, "pid_file": str(self.pid_file),
            "prefix": self.prefix,
            "directory": str(self.directory), "config": str(self.directory / "etc/asterisk.conf"),
            "sip_address": self.sip_address, "sip_port": self.sip_port,
            "ari_url": f"http://127.0.0.1:{self.ari_port}/ari", "ari_port": self.ari_port,
            "ari_user": self.ari_user, "ari_password": self.ari_password,
            "ami_port": self.ami_port, "rtp_ports": list(self.rtp_ports),
            "capture_id": self.hep.capture_id if self.hep else 0,
            "control_socket": str(self._run_directory / "asterisk.ctl"),
            "log": str(self.directory / "log" / "messages"),
            "recovery_module": bool(self.recovery), "start_seconds": self.start_seconds,
        }

    # -- configuration ------------------------------------------------------------------------

    def _write_configuration(self):
        for part in ("etc", "log", "var", "spool", "data/sounds", "data/moh", "modules", "keys/keys"):
            (self.directory / part).mkdir(parents=True, exist_ok=True)
        self._link_modules()
        write_tone(self.directory / "data" / "moh" / "tone.sln", seconds=2.0)
        files = {
            "asterisk.conf": self._asterisk_conf(), "modules.conf": self._modules_conf(),
            "logger.conf": self._logger_conf(), "http.conf": self._http_conf(),
            "ari.conf": self._ari_conf(), "pjsip.conf": self._pjsip_conf(),
            "extensions.conf": self.dialplan, "manager.conf": self._manager_conf(),
            # Asterisk prepares ICE for each call of a server that may have it: no phone here asks.
            "rtp.conf": (f"[general]\nrtpstart={self.rtp_ports[0]}\nrtpend={self.rtp_ports[1]}\n"
                         "icesupport=no\n"),
            "hep.conf": self._hep_conf(), "queues.conf": "[general]\n",
            "confbridge.conf": ("[general]\n[default_bridge]\ntype=bridge\n[default_user]\n"
                                "type=user\nquiet=yes\n"),
            "musiconhold.conf": (f"[general]\n[default]\nmode=files\n"
                                 f"directory={self.directory}/data/moh\n"),
            "queuerules.conf": "[general]\n", "features.conf": "[general]\n[featuremap]\n",
            "indications.conf": ("[general]\ncountry=us\n[us]\ndescription=US\nringcadence=2000\n"
                                 "dial=350+440\nbusy=480+620/500,0/500\nring=440+480/2000,0/4000\n"
                                 "congestion=480+620/250,0/250\n"),
            "cdr.conf": "[general]\nenable=no\n", "cel.conf": "[general]\nenable=no\n",
            "ccss.conf": "[general]\n", "udptl.conf": "[general]\n", "acl.conf": "",
            "stasis.conf": "[threadpool]\n", "codecs.conf": "", "sorcery.conf": "",
            "pjproject.conf": "", "cli_aliases.conf": "", "cli_permissions.conf": "[general]\n",
            "cli.conf": "", "dnsmgr.conf": "[general]\n", "enum.conf": "[general]\n",
            "pjsip_wizard.conf": "", "pjsip_notify.conf": "", "websocket_client.conf": "",
        }
        files.update(self.extra_config)
        for name, text in files.items():
            (self.directory / "etc" / name).write_text(text)

    def _link_modules(self):
        folder = self.directory / "modules"
        for old in folder.iterdir():
            old.unlink()
        stock = pathlib.Path(self.prefix, "lib", "asterisk", "modules")
        # Asterisk refuses to start without the documentation of its configuration options.
        documentation = self.directory / "data" / "documentation"
        if not documentation.is_symlink():
            documentation.symlink_to(
                pathlib.Path(self.prefix, "var", "lib", "asterisk", "documentation"))
        for module in self.modules:
            (folder / f"{module}.so").symlink_to(stock / f"{module}.so")
        if self.recovery:
            path = recovery_module(self.prefix) if self.recovery is True else self.recovery
            (folder / "res_pjsip_recovery.so").symlink_to(path)

    def _asterisk_conf(self):
        folder = self.directory
        return f"""[directories]
astetcdir => {folder}/etc
astmoddir => {folder}/modules
astvarlibdir => {folder}/var
astdbdir => {folder}/var
astkeydir => {folder}/keys
astdatadir => {folder}/data
astagidir => {folder}/data
astspooldir => {folder}/spool
astrundir => {self.run_directory}
astlogdir => {folder}/log
astsbindir => {self.prefix}/sbin
astcachedir => {folder}/var
[options]
systemname = {self.name}
verbose = 0
debug = {self.debug}
nocolor = yes
dontwarn = yes
documentation_language = en
"""

    def _modules_conf(self):
        loads = [f"load = {module}.so" for module in self.modules]
        if self.recovery:
            loads.append("load = res_pjsip_recovery.so")
        return "[modules]\nautoload = no\n" + "\n".join(loads) + "\n"

    def _logger_conf(self):
        levels = "notice,warning,error"
        if self.debug:
            levels += ",debug,verbose"
        return f"[general]\nqueue_log = no\n[logfiles]\nmessages => {levels}\n"

    def _http_conf(self):
        return ("[general]\nservername=lab\nenabled=yes\nbindaddr=127.0.0.1\n"
                f"bindport={self.ari_port}\nsessionlimit=1000\nsession_keep_alive=60000\n")

    def _ari_conf(self):
        return (f"[general]\nenabled=yes\npretty=no\n[{self.ari_user}]\ntype=user\n"
                f"read_only=no\npassword={self.ari_password}\n")

    def _pjsip_conf(self):
        text = "[global]\ntype=global\nuser_agent=Asterisk lab\n\n"
        if self.sip_timers:
            t1, timer_b = self.sip_timers
            text += f"[system]\ntype=system\ntimer_t1={t1}\ntimer_b={timer_b}\n\n"
        for protocol in ("udp", "tcp"):
            text += (f"[transport-{protocol}]\ntype=transport\nprotocol={protocol}\n"
                     f"bind={self.sip_address}:{self.sip_port}\n\n")
        return text + self.transports + "".join(e.sections(self.sip_address)
                                                for e in self.endpoints)

    def _manager_conf(self):
        if not self.ami_port:
            return "[general]\nenabled=no\n"
        return (f"[general]\nenabled=yes\nbindaddr=127.0.0.1\nport={self.ami_port}\n"
                f"[{self.ari_user}]\nsecret={self.ari_password}\nread=all\nwrite=all\n")

    def _hep_conf(self):
        if not self.hep:
            return "[general]\nenabled=no\n"
        hep = self.hep
        return (f"[general]\nenabled=yes\ncapture_address={hep.address}:{hep.port}\n"
                f"capture_id={hep.capture_id}\ncapture_name={hep.capture_name or self.name}\n"
                + (f"capture_password={hep.password}\n" if hep.password else "")
                + "uuid_type=call-id\n")


def _endpoint_argument(text):
    """NAME[,key=value...]: keys are the fields of Endpoint; any other is an endpoint option."""
    name, *pairs = text.split(",")
    endpoint = Endpoint(name)
    fields = {field.name for field in dataclasses.fields(Endpoint)}
    for pair in pairs:
        key, _, value = pair.partition("=")
        if key in fields:
            setattr(endpoint, key, value)
        else:
            endpoint.options[key] = value
    return endpoint


def _arguments():
    parser = argparse.ArgumentParser(
        prog="python3 -m sipheal_lab.asterisk", formatter_class=argparse.RawTextHelpFormatter,
        description="Starts one Asterisk and writes DIR/instance.json when it is fully booted.")
    parser.add_argument("--name", required=True, help="instance name (also HEP capture name)")
    parser.add_argument("--dir", required=True, help="folder of the instance")
    parser.add_argument("--prefix", help="Asterisk install prefix (default: the cached one)")
    parser.add_argument("--sip-address", default="127.0.0.1")
    parser.add_argument("--sip-port", type=int, default=0, help="default: a free one")
    parser.add_argument("--ari-port", type=int, default=0, help="default: a free one")
    parser.add_argument("--ami", action="store_true", help="enable AMI on a free port")
    parser.add_argument("--hep", help="ADDRESS:PORT of a HEP receiver")
    parser.add_argument("--capture-id", type=int, default=1, help="HEP capture agent id")
    parser.add_argument("--hep-password", default="")
    parser.add_argument("--rtp-ports", help="FIRST-LAST")
    parser.add_argument("--endpoint", action="append", default=[], type=_endpoint_argument,
                        metavar="NAME[,kind=udp|tcp|trunk][,contact=URI][,username=U]...",
                        help="a PJSIP endpoint; may be given many times; keys that are not\n"
                             "fields of Endpoint are options of its section")
    parser.add_argument("--endpoints", help="JSON file: a list of objects with those fields")
    parser.add_argument("--dialplan", help="file used as extensions.conf")
    parser.add_argument("--without-recovery", action="store_true",
                        help="do not load res_pjsip_recovery")
    parser.add_argument("--debug", type=int, default=0, help="debug level of the log")
    parser.add_argument("--detach", action="store_true",
                        help="leave the server running and return")
    return parser.parse_args()


def main():
    arguments = _arguments()
    endpoints = list(arguments.endpoint)
    if arguments.endpoints:
        endpoints += [Endpoint(**item)
                      for item in json.loads(pathlib.Path(arguments.endpoints).read_text())]
    hep = None
    if arguments.hep:
        address, _, port = arguments.hep.rpartition(":")
        hep = Hep(address, int(port), arguments.capture_id, password=arguments.hep_password)
    rtp_ports = None
    if arguments.rtp_ports:
        rtp_ports = tuple(int(part) for part in arguments.rtp_ports.split("-"))
    instance = Asterisk(
        arguments.name, pathlib.Path(arguments.dir).absolute(), prefix=arguments.prefix,
        sip_address=arguments.sip_address, sip_port=arguments.sip_port,
        ari_port=arguments.ari_port, ami=arguments.ami, hep=hep, rtp_ports=rtp_ports,
        endpoints=endpoints, recovery=not arguments.without_recovery, debug=arguments.debug,
        dialplan=pathlib.Path(arguments.dialplan).read_text() if arguments.dialplan else None,
        detach=arguments.detach)
    stopped = []
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopped.append(True))
    instance.start()
    description = instance.directory / "instance.json"
    scratch = description.with_suffix(".new")
    scratch.write_text(json.dumps(instance.describe(), indent=2) + "\n")
    scratch.rename(description)
    if arguments.detach:
        return 0
    while instance.running() and not stopped:
        time.sleep(0.05)
    ended_by_itself = not stopped
    instance.stop()
    instance.close()
    return 1 if ended_by_itself else 0


if __name__ == "__main__":
    sys.exit(main())
