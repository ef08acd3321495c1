# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""Chips that run one network, as if they were one chip: arrays go to all that need them, and outputs are put together.

with JoinedDevice(open_device("golden", program.system)) as chips:
    chips.load(program)
    result = chips.run({"token": token, "position": position}, 32)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from openlpu.arch.config import ChipConfig
from openlpu.arch.system_program import SystemProgram
from openlpu.runtime.closing import Closing
from openlpu.runtime.driver import RunResult
from openlpu.runtime.errors import DeviceError, InputError
from openlpu.runtime.system import SystemDevice


class JoinedDevice(Closing):
    """The chips of a system, and the programs that a compiler has dealt one network out to.

    A context manager: leaving it closes the chips.
    """

    def __init__(self, device: SystemDevice) -> None:
        self.device = device
        self.program: SystemProgram | None = None

    @property
    def config(self) -> ChipConfig:
        """What each of the chips is."""
        return self.device.system.chip

    def close(self) -> None:
        """Release the chips."""
        self.device.close()

    def load(self, program: SystemProgram) -> None:
        """`SystemDevice.load`; the program may then run any number of times.

        Raises:
            DeviceError: when it was made for another system.
        """
        if program.system != self.device.system:
            raise DeviceError(
                f"{program.name} was compiled for the system '{program.system.name}', but this is "
                f"'{self.device.system.name}', and not the same: compile it again for this one"
            )
        self.device.load(program.programs)
        self.program = program

    def run(self, inputs: Mapping[str, NDArray[Any]], count: int = 1) -> RunResult:
        """Run the loaded program, `count` times in a row with no host in between; outputs are those of the last run.

        Raises:
            InputError, DeviceFault, LinkError, DeviceError: as `SystemDevice.run`.
        """
        program = self._required()
        known = [port.name for port in program.inputs]
        for name in inputs:
            if name not in known:
                raise InputError(f"{program.name} has no input '{name}'; its inputs are: {', '.join(known) or 'none'}")
        own = [{port.name for port in each.inputs} for each in program.programs]
        given = [{name: values for name, values in inputs.items() if name in names} for names in own]
        result = self.device.run(given, count)
        return RunResult(_joined(program, result.outputs), result.cycles[0])

    def write_state(self, name: str, rows: NDArray[Any]) -> int:
        """Put rows into a state on every chip that has it; how many words of SRAM were written.

        Raises:
            InputError: when none has it, or the rows are of another type or width or too many.
            DeviceError: when no program is loaded.
        """
        program = self._required()
        having = [chip for chip, each in enumerate(program.programs) if name in {port.name for port in each.states}]
        if not having:
            raise InputError(f"{program.name} has no state '{name}' on any chip")
        return sum(self.device.write_state(chip, name, rows) for chip in having)

    def _required(self) -> SystemProgram:
        if self.program is None:
            raise DeviceError("no program is loaded")
        return self.program


def _joined(program: SystemProgram, arrays: Sequence[Mapping[str, NDArray[Any]]]) -> dict[str, NDArray[Any]]:
    """Outputs from those of the chips."""
    outputs = {}
    for port in program.outputs:
        known = program.parts[port.name]
        if len(known) == 1:
            outputs[port.name] = arrays[known[0].chip][known[0].port]
            continue
        whole = np.zeros((port.rows, port.cols), np.dtype(port.dtype))
        for part in known:
            own = arrays[part.chip][part.port].reshape(len(part.rows), len(part.columns))
            whole[np.ix_(part.rows, part.columns)] = own
        outputs[port.name] = whole.reshape(port.shape)
    return outputs
