# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""The Lattice ECP5 devices that boards have: what is on them, and their clocks."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

__all__ = ["DEVICES", "Area", "Device", "Pll", "find_pll"]


@dataclass(frozen=True, kw_only=True)
class Area:
    """What a design takes, or a device has."""

    lut: int = 0
    """Places of 4-input tables: a cell of a carry chain takes two, 16 x 4 bits of distributed RAM six."""
    ff: int = 0
    dsp: int = 0
    """MULT18X18D."""
    bram: int = 0
    """DP16KD, 2 KiB each."""

    def __add__(self, other: "Area") -> "Area":
        return Area(
            lut=self.lut + other.lut, ff=self.ff + other.ff, dsp=self.dsp + other.dsp, bram=self.bram + other.bram
        )

    def __mul__(self, times: int) -> "Area":
        return Area(lut=self.lut * times, ff=self.ff * times, dsp=self.dsp * times, bram=self.bram * times)


@dataclass(frozen=True, kw_only=True)
class Device:
    """A device, as Amaranth's platforms name it, and what nextpnr calls it."""

    nextpnr_option: str
    area: Area
    dsp_sites: Sequence[str]
    """The places of its multipliers, as nextpnr names them, on a path from one to the next."""
    ram_sites: Sequence[str]
    """Places of block RAMs: for each of `dsp_sites` the one beside it."""
    spare_ram_sites: Sequence[str]
    """The other places of block RAMs, on a path as well."""


_DSP_GROUP = {0: "MULT18_0", 1: "MULT18_1", 4: "MULT18_4", 5: "MULT18_5"}
_RAM_GROUP = {0: "EBR0", 2: "EBR1", 4: "EBR2", 6: "EBR3"}
"""Sites stand in groups, each so many columns from the first one."""


def _path(rows: Iterable[int], columns: Sequence[int], group: Mapping[int, str]) -> Sequence[str]:
    """The sites of the groups that begin in these columns, row by row, there and back again."""
    row = [(first + offset, site) for first in columns for offset, site in group.items()]
    path = [(y, row if number % 2 == 0 else row[::-1]) for number, y in enumerate(rows)]
    return tuple(f"X{x}/Y{y}/{site}" for y, sites in path for x, site in sites)


_LARGE = Area(lut=83640, ff=83640, dsp=156, bram=208)
# Two columns in the middle belong to the clocks.
_LARGE_COLUMNS = [*range(4, 67, 9), *range(69, 123, 9)]
_LARGE_DSP = _path((10, 34, 58), _LARGE_COLUMNS, _DSP_GROUP)
_LARGE_RAM = _path((22, 46, 70), _LARGE_COLUMNS, _RAM_GROUP)
_LARGE_SPARE_RAM = _path((82,), _LARGE_COLUMNS, _RAM_GROUP)


def _large(nextpnr_option: str) -> Device:
    return Device(
        nextpnr_option=nextpnr_option,
        area=_LARGE,
        dsp_sites=_LARGE_DSP,
        ram_sites=_LARGE_RAM,
        spare_ram_sites=_LARGE_SPARE_RAM,
    )


DEVICES = {"LFE5U-85F": _large("--85k"), "LFE5UM5G-85F": _large("--um5g-85k")}
"""By the name that Amaranth's platforms use. A board with another device needs a line here."""

# The limits of EHXPLLL, from Lattice's ECP5 data sheet (FPGA-DS-02012) and clock guide (FPGA-TN-02200).
_INPUT_HZ = (8e6, 400e6)
_DETECTOR_HZ = (3.125e6, 400e6)
_VCO_HZ = (400e6, 800e6)
_OUTPUT_HZ = (3.125e6, 400e6)
_INPUT_DIV, _FEEDBACK_DIV, _OUTPUT_DIV = range(1, 129), range(1, 81), range(1, 129)
_CALM_VCO_HZ = sum(_VCO_HZ) / 2


@dataclass(frozen=True, kw_only=True)
class Pll:
    """Settings of an EHXPLLL whose output is fed back: output = input / input_div * feedback_div."""

    input_hz: float
    input_div: int
    feedback_div: int
    output_div: int

    @property
    def detector_hz(self) -> float:
        """The rate at which input and feedback are compared."""
        return self.input_hz / self.input_div

    @property
    def output_hz(self) -> float:
        """The clock it makes."""
        return self.input_hz * self.feedback_div / self.input_div

    @property
    def vco_hz(self) -> float:
        """The oscillator inside."""
        return self.output_hz * self.output_div


def find_pll(input_hz: float, output_hz: float) -> Pll:
    """The PLL whose output is nearest to `output_hz`, and not above it.

    Among equals the one that compares most often, which means least jitter, with its oscillator nearest to the middle
    of its range. Raises ValueError when there is none.
    """
    if not _INPUT_HZ[0] <= input_hz <= _INPUT_HZ[1]:
        raise ValueError(f"a PLL takes {_mhz(_INPUT_HZ)}, not {input_hz / 1e6:g} MHz")
    if not _OUTPUT_HZ[0] <= output_hz <= _OUTPUT_HZ[1]:
        raise ValueError(f"a PLL makes {_mhz(_OUTPUT_HZ)}, not {output_hz / 1e6:g} MHz")

    def merit(pll: Pll) -> tuple[float, float, float]:
        return pll.output_hz, pll.detector_hz, -abs(pll.vco_hz - _CALM_VCO_HZ)

    best = max(_plls(input_hz, output_hz), key=merit, default=None)
    if best is None:
        raise ValueError(f"no PLL makes {output_hz / 1e6:g} MHz or less from {input_hz / 1e6:g} MHz")
    return best


def _plls(input_hz: float, output_hz: float) -> Iterator[Pll]:
    """Every PLL within the limits that makes at most `output_hz`."""
    for input_div in _INPUT_DIV:
        if not _DETECTOR_HZ[0] <= input_hz / input_div <= _DETECTOR_HZ[1]:
            continue
        for feedback_div in _FEEDBACK_DIV:
            made = input_hz * feedback_div / input_div
            if made > output_hz or made < _OUTPUT_HZ[0]:
                continue
            for output_div in _OUTPUT_DIV:
                if _VCO_HZ[0] <= made * output_div <= _VCO_HZ[1]:
                    yield Pll(input_hz=input_hz, input_div=input_div, feedback_div=feedback_div, output_div=output_div)


def _mhz(limits: tuple[float, float]) -> str:
    return f"{limits[0] / 1e6:g} to {limits[1] / 1e6:g} MHz"
