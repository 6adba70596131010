"""systemd units: a node on its device, the SuperLink on its server."""

from __future__ import annotations

from fedtiny.node.bundle import NodeSettings
from fedtiny.node.places import BUNDLE, KEY, PROGRAMS, STATE, USER

_HARDENING = """\
NoNewPrivileges=yes
ProtectSystem=strict
ProtectHome=yes
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
