"""Real federations: keys and certificates, bundles for devices, a server, its nodes."""

from __future__ import annotations

from fedtiny.command_line import CommandLine
from sims.deploy import operation, paperwork

app = CommandLine(no_args_is_help=True, help=__doc__)
for _command in (
    paperwork.init,
    paperwork.request,
    paperwork.approve,
    paperwork.add_node,
    paperwork.revoke,
    paperwork.renew,
    paperwork.wheels,
    operation.up,
    operation.run,
    operation.status,
    operation.logs,
    operation.down,
):
    app.command()(_command)


def main() -> None:
    """Entry point."""
    app()
