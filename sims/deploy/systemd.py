"""systemd units: a node on its device, the SuperLink on its server."""

from __future__ import annotations

import getpass
import sys

from fedtiny.node.bundle import NodeSettings
from fedtiny.node.places import BUNDLE, KEY, PROGRAMS, STATE, USER
from sims.deploy.home import Home
from sims.flower_run import APP

_HARDENING = """\
NoNewPrivileges=yes
ProtectSystem=strict
PrivateTmp=yes
ProtectKernelTunables=yes
ProtectKernelModules=yes
ProtectControlGroups=yes
RestrictSUIDSGID=yes
RestrictRealtime=yes
LockPersonality=yes
CapabilityBoundingSet=
UMask=0077
"""

_NODE = """\
# Written by `python -m sims.deploy`, signed with its bundle: do not edit, use a drop-in
# (systemctl edit fedtiny-node).
[Unit]
Description=FedTiny node {node} of {federation}
After=network-online.target time-sync.target
Wants=network-online.target time-sync.target
StartLimitIntervalSec=0

[Service]
# The node tells systemd that it is up, and feeds the watchdog while its process answers: a node
# that hangs or is stopped is killed and started again. A connection that hangs is not noticed.
Type=notify
NotifyAccess=main
WatchdogSec=120
TimeoutStartSec=infinity
User={user}
Group={user}
ExecStart={programs}/fedtiny node {bundle} --key {key} --state {state}
Environment=FLWR_TELEMETRY_ENABLED=0 FLWR_DISABLE_UPDATE_CHECK=1
Environment=OMP_NUM_THREADS=1 MALLOC_ARENA_MAX=2
StateDirectory=fedtiny
StateDirectoryMode=0700
ReadOnlyPaths=-{data}
Restart=always
# Flower's server takes a killed node for connected for about a minute, and refuses its key.
RestartSec=65
TimeoutStopSec=20
OOMPolicy=continue
MemoryMax={memory}
ProtectHome=yes
PrivateDevices=yes
ProtectClock=yes
ProtectHostname=yes
ProtectKernelLogs=yes
RestrictNamespaces=yes
RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX AF_NETLINK
SystemCallArchitectures=native
SystemCallFilter=@system-service
RemoveIPC=yes
{hardening}
[Install]
WantedBy=multi-user.target
"""


def node_unit(settings: NodeSettings) -> str:
    """The unit of one node; its memory limit is the node's."""
    return _NODE.format(
        node=settings.node,
        federation=settings.federation,
        user=USER,
        programs=PROGRAMS,
        bundle=BUNDLE,
        key=KEY,
        state=STATE,
        data=settings.data,
        memory=settings.memory_max_bytes,
        hardening=_HARDENING,
    )


_SUPERLINK = """\
# Written by `python -m sims.deploy init`: the federation's server as a service of this machine.
#   sudo systemctl enable --now {unit}
[Unit]
Description=FedTiny SuperLink of {federation}
After=network-online.target time-sync.target
Wants=network-online.target time-sync.target
StartLimitIntervalSec=0

[Service]
# `up` comes back once the server answers and knows every approved node.
Type=forking
PIDFile={pid}
User={user}
WorkingDirectory={app}
ExecStart=:"{python}" -m sims.deploy up "{home}"
ExecStop=:"{python}" -m sims.deploy down "{home}"
TimeoutStartSec=180
# A run that was under way goes on with `python -m sims.deploy run DIR --resume`.
Restart=always
RestartSec=5
ReadWritePaths="{home}"
ProtectHome=read-only
{hardening}
[Install]
WantedBy=multi-user.target
"""


def superlink_unit(home: Home) -> str:
    """The unit of the server: ``up`` as this user, from this checkout."""
    return _SUPERLINK.format(
        unit=_literal(str(home.superlink_unit.resolve())),
        federation=home.settings().name,
        pid=_literal(str(home.pid_file("superlink").resolve())),
        user=getpass.getuser(),
        app=_literal(str(APP)),
        python=_literal(sys.executable),
        home=_literal(str(home.path.resolve())),
        hardening=_HARDENING,
    )


def _literal(path: str) -> str:
    """Without meaning to systemd: % begins a specifier, and a quoted text may have escapes."""
    return path.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%")
