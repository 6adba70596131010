"""``python -m fedtiny.engine``: compile the kernels beside the package."""

from fedtiny.command_line import CommandLine
from fedtiny.engine.build import BuildError, build
from fedtiny.errors import FedTinyError

cli = CommandLine()


@cli.command()
def compile_kernels() -> None:
    """Compile the kernels beside the package and print where they are."""
    try:
        print(build())
    except BuildError as error:  # no FedTinyError: the wheel's build hook has nothing but this file
        raise FedTinyError(str(error)) from error


if __name__ == "__main__":
    cli()
