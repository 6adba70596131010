"""``install.sh`` of a bundle: puts an approved node into place, as often as it is called."""

from __future__ import annotations

from fedtiny.node.bundle import NodeSettings
from fedtiny.node.places import BUNDLE, KEY, PROGRAMS, STATE, UNIT, USER

_SCRIPT = """\
#!/bin/sh
# Install node {node} of {federation} on this device.
#   sudo sh install.sh KEY FINGERPRINT
# KEY is the private key that `python -m sims.deploy request` made here, FINGERPRINT the one of the
# federation, as its operator tells it. Nothing is downloaded. Calling it again does no harm.
set -eu

fail() {{
  printf 'install.sh: %s\\n' "$1" >&2
  exit 2
}}

[ $# -eq 2 ] || fail 'usage: sudo sh install.sh KEY FINGERPRINT'
key=$1
fingerprint=$2
here=$(cd "$(dirname "$0")" && pwd)

[ "$(id -u)" -eq 0 ] || fail 'only root can install: sudo sh install.sh KEY FINGERPRINT'
[ -x {programs}/fedtiny ] ||
  fail '{programs}/fedtiny is not there: install FedTiny into /opt/fedtiny first'
command -v systemctl >/dev/null ||
  fail 'this device has no systemd: start the node with {programs}/fedtiny node'
{programs}/fedtiny doctor --node "$here" --key "$key" --authority "$fingerprint" ||
  fail 'the check above found what to mend; nothing was changed'

id {user} >/dev/null 2>&1 ||
  useradd --system --home-dir {state} --shell /usr/sbin/nologin {user}
install -d -m 0755 -o root -g root "$(dirname {bundle})"
install -d -m 0700 -o {user} -g {user} {state}
if [ "$here" != {bundle} ]; then
  rm -rf {bundle}.new
  install -d -m 0755 -o root -g root {bundle}.new
  for file in "$here"/*; do
    install -m 0644 -o root -g root "$file" {bundle}.new/
  done
  rm -rf {bundle}
  mv {bundle}.new {bundle}
fi
if [ "$key" != {key} ]; then
  install -m 0600 -o {user} -g {user} "$key" {key}
fi
chown -R {user}:{user} {state}
install -m 0644 -o root -g root {bundle}/{unit} /etc/systemd/system/{unit}
systemctl daemon-reload
systemctl enable {unit}
systemctl restart --no-block {unit}
echo 'Installed. Watch it: journalctl -fu {unit}'
"""


def install_script(settings: NodeSettings) -> str:
    """POSIX shell; names of nodes and federations are of harmless characters."""
    return _SCRIPT.format(
        node=settings.node,
        federation=settings.federation,
        programs=PROGRAMS,
        user=USER,
        state=STATE,
        bundle=BUNDLE,
        key=KEY,
        unit=UNIT,
    )
