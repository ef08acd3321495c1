# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""What `--config` and `--chips` name: a chip, or a system of chips."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from openlpu.arch.config import ChipConfig, read_fields
from openlpu.arch.presets import find_config
from openlpu.arch.system import SystemConfig
from openlpu.cli.errors import UserError

_Command = TypeVar("_Command", bound=Callable[..., Any])

target_option = click.option(
    "--config", required=True, help="A chip, a preset or a .toml or .json file, or such a file of a system."
)


def chips_option(command: _Command) -> _Command:
    """The `--chips` option, the same on every command."""
    return click.option(
        "--chips",
        type=click.IntRange(min=2),
        help="How many chips, each linked with each, where the config is that of one.",
    )(command)


def find_target(name: str, chips: int | None) -> ChipConfig | SystemConfig:
    """The chip that a config stands for, or the system, where it is one or `chips` says how many there are.

    Raises:
        ConfigError: when there is no such config, or it is invalid.
        UserError: when both say how many chips there are.
    """
    return find_config(name) if chips is None and not names_system(name) else find_system(name, chips)


def find_system(name: str, chips: int | None) -> SystemConfig:
    """The system that a config and a number of chips stand for: a config of a system, or a chip and how many.

    Raises:
        ConfigError: when there is no such config, or it is invalid.
        UserError: when both say how many chips there are, or none does.
    """
    if names_system(name):
        if chips is not None:
            raise UserError(f"{name}: a config of a system says how many chips it has: leave out --chips")
        return SystemConfig.from_file(Path(name))
    if chips is None:
        raise UserError(f"{name}: one chip: say how many with --chips, or give a config of a system")
    return SystemConfig.of(find_config(name), chips)


def names_system(name: str) -> bool:
    """Whether a config is one of a system, and not of a chip. Raises ConfigError for a file that cannot be read."""
    path = Path(name)
    return path.suffix in (".toml", ".json") and "chips" in read_fields(path)
