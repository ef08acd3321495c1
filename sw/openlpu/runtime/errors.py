# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""What can go wrong with a device, and with what it is given."""

from __future__ import annotations

from openlpu.arch.status import Fault


class DeviceError(ValueError):
    """A device that cannot be opened, does not fit the program, or did not do what the program says."""


class DeviceFault(DeviceError):
    """The hardware raised a schedule fault; `fault` says where and when."""

    def __init__(self, program: str, fault: Fault) -> None:
        self.fault = fault
        super().__init__(f"{program}: schedule fault: {fault}")


class LinkError(DeviceError):
    """Links of a system are dead, crossed or slow, or spoilt a run; the message names them."""


class RequestRefusedError(DeviceError):
    """A chip answered a request, and did not do it."""


class ConnectionLostError(DeviceError):
    """It is not known any more what the chip does or holds: open the device again and load the program again."""


class InputError(ValueError):
    """An input that does not fit its port; the message names it, and says what was expected."""


class ProgramFileError(ValueError):
    """A file that cannot be read or written as a program; the message says why, and names it where it is known."""
