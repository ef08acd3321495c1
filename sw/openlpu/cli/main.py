# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""The `lpu` command, and the one place where exceptions become messages and exit statuses.

0: done. 1: it ran, and the result is wrong (bytes, cycles, or a fault). 2: the request cannot be met, and one line on
standard error says why. Anything else is a bug and shows as a traceback.
"""

from __future__ import annotations

import importlib.metadata
import sys
from typing import Any, NoReturn

import click

from openlpu.arch.config import ConfigError
from openlpu.arch.encoding import EncodingError
from openlpu.cli.benching import bench
from openlpu.cli.board import board
from openlpu.cli.boards import status, vboard
from openlpu.cli.chips import configs, generate
from openlpu.cli.compiling import compile_command
from openlpu.cli.errors import RunFailure, UserError
from openlpu.cli.llm import llm
from openlpu.cli.planning import plan_command
from openlpu.cli.programs import check, disasm, report
from openlpu.cli.running import run
from openlpu.cli.systems import system
from openlpu.compiler.errors import CompileError
from openlpu.model.violation import CheckError
from openlpu.runtime.driver import DeviceError, InputError
from openlpu.runtime.errors import ProgramFileError

EXPECTED = (
    UserError,
    ConfigError,
    EncodingError,
    CompileError,
    CheckError,
    ProgramFileError,
    DeviceError,
    InputError,
    OSError,
)
"""What a user can bring about: the root error of each area."""


class _CommandLine(click.Group):
    """A group that reports every failure the same way, its own usage errors included."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The commands in the order of work, not of the alphabet."""
        return list(self.commands)

    def main(self, *args: Any, **kwargs: Any) -> Any:
        """Run a command and exit; click's own handling of errors stays off."""
        try:
            status = super().main(*args, **{**kwargs, "standalone_mode": False})
        except click.ClickException as error:
            _fail(error.format_message(), 2)
        except click.Abort:
            _fail("interrupted", 130)
        except RunFailure as error:
            _fail(str(error), 1)
        except EXPECTED as error:
            _fail(_message(error), 2)
        sys.exit(status if isinstance(status, int) else 0)


@click.group(cls=_CommandLine, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(importlib.metadata.version("openlpu"), prog_name="lpu")
def main() -> None:
    """OpenLPU: generate chips, compile models, run programs. Every cycle is known beforehand."""


for command in (
    configs,
    generate,
    compile_command,
    check,
    disasm,
    report,
    run,
    llm,
    system,
    plan_command,
    bench,
    status,
    board,
    vboard,
):
    main.add_command(command)


def _message(error: Exception) -> str:
    if isinstance(error, OSError) and error.filename is not None:
        return f"{error.filename}: {error.strerror}"
    return str(error)


def _fail(message: str, status: int) -> NoReturn:
    lines = [line.strip() for line in message.splitlines() if line.strip()]
    click.echo(f"lpu: error: {' '.join(lines)}", err=True)
    sys.exit(status)
