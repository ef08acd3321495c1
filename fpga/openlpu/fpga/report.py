# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""What a build comes to: area by unit, the clock that it reaches, and the paths that limit it; as JSON and as a table.

The same build gives the same bytes: there is no time and no place in a report.
"""

import dataclasses
import io
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

from rich.console import Console
from rich.table import Table

from .device import Area

__all__ = ["JSON", "TEXT", "Path", "Report", "Timing", "timing_of"]

JSON, TEXT = "report.json", "report.txt"
"""Names of the two files."""

_CELL_SUFFIX = re.compile(
    r"(_(TRELLIS_FF|LUT4|PFUMX|L6MUX21|CCU2C|DP16KD|MULT18X18D|TRELLIS_DPR16X4)(_[A-Z]+\d*)+(_\d+)*)+.*$"
)
"""What synthesis appends to the name of a net, for a cell beside it."""
_RECEIVED = re.compile(r"c2c\d+_clk")
"""The clock that comes with a link, as nextpnr names it."""
_WIDTH = 140


@dataclass(frozen=True, kw_only=True)
class Path:
    """The slowest way between registers of two clocks, or a pin; `source` and `sink` are names of the RTL."""

    clocks: str
    source: str
    sink: str
    ns: float
    logic_ns: float
    """Of `ns`, what is spent in cells; the rest is wires."""
    levels: int
    """Cells between the two registers."""


@dataclass(frozen=True, kw_only=True)
class Timing:
    """What nextpnr found after routing."""

    fmax_mhz: float
    used: Area
    """Of the device, after packing."""
    paths: tuple[Path, ...]
    """The slowest first."""


@dataclass(frozen=True, kw_only=True)
class Report:
    """A build: what it is of, and what came of it."""

    board: str
    device: str
    config: str
    digest: str
    baud: int
    seed: int
    target_mhz: float
    """The clock that the PLL makes, which routing was to reach."""
    fmax_mhz: float
    met: bool
    units: Mapping[str, Area]
    """After mapping, before the units were optimised together."""
    used: Area
    available: Area
    paths: tuple[Path, ...]
    tools: Mapping[str, str]
    bitstream_sha256: str

    @classmethod
    def from_json(cls, text: str) -> Self:
        """The report that `json` printed. Raises ValueError for any other text."""
        try:
            values = json.loads(text)
            areas = {name: Area(**values[name]) for name in ("used", "available")}
            units = {unit: Area(**area) for unit, area in values["units"].items()}
            paths = tuple(Path(**path) for path in values["paths"])
            return cls(**{**values, **areas, "units": units, "paths": paths})
        except (KeyError, TypeError, AttributeError, json.JSONDecodeError) as error:
            raise ValueError(f"no report of a build: {error}") from None

    @property
    def json(self) -> str:
        """Every field, one line each where that is readable."""
        return json.dumps(dataclasses.asdict(self), indent=2) + "\n"

    @property
    def verdict(self) -> str:
        """Whether the clock is met, and by how much."""
        margin = self.fmax_mhz / self.target_mhz - 1
        word, by = ("met", "above") if self.met else ("NOT met", "below")
        return f"timing {word}: {self.fmax_mhz:.2f} MHz, {abs(margin):.1%} {by} the target of {self.target_mhz:g} MHz"

    @property
    def text(self) -> str:
        """The report for people."""
        facts = [
            ("board", f"{self.board} ({self.device})"),
            ("config", f"{self.config} ({self.digest})"),
            ("serial line", f"{self.baud:,} baud"),
            ("seed", self.seed),
            *((tool, version) for tool, version in self.tools.items()),
            ("bitstream", f"sha256 {self.bitstream_sha256}"),
        ]
        kinds = [field.name for field in dataclasses.fields(Area)]
        rows = [(unit, *(getattr(area, kind) for kind in kinds)) for unit, area in self.units.items()]
        rows.append(("sum of the units", *(sum(getattr(area, kind) for area in self.units.values()) for kind in kinds)))
        rows.append(("placed", *(getattr(self.used, kind) for kind in kinds)))
        rows.append(("of the device", *(getattr(self.available, kind) for kind in kinds)))
        rows.append(("", *(f"{getattr(self.used, kind) / getattr(self.available, kind):.0%}" for kind in kinds)))
        paths = [
            (path.clocks, f"{path.ns:.2f}", f"{path.logic_ns:.2f}", path.levels, path.source, path.sink)
            for path in self.paths
        ]
        return "\n".join(
            [
                self.verdict,
                "",
                as_table(None, facts),
                as_table(("unit", "LUT", "FF", "DSP", "BRAM"), rows),
                as_table(("slowest path", "ns", "in cells", "cells", "from", "to"), paths),
            ]
        )


def timing_of(nextpnr: Mapping[str, Any]) -> Timing:
    """What nextpnr's JSON report says of a design.

    A chip with links has several clocks, all as fast: of these the slowest counts. Its own two, the wire clock and what
    the gate leaves of it, have their edges together, so paths between them count, too. What comes with a link's clock
    stands still for a flit before anybody else looks at it.
    """
    limits = [clock["achieved"] for clock in nextpnr["fmax"].values()]
    for path in nextpnr["critical_paths"]:
        ends = {_clock(path[end]) for end in ("from", "to")}
        if len(ends) == 2 and not any(end == "async" or _RECEIVED.fullmatch(end) for end in ends):
            limits.append(1000 / sum(step["delay"] for step in path["path"]))
    used = {kind: figures["used"] for kind, figures in nextpnr["utilization"].items()}
    paths = sorted((_path(path) for path in nextpnr["critical_paths"]), key=lambda path: (-path.ns, path.sink))
    return Timing(
        fmax_mhz=round(min(limits), 2),
        used=Area(lut=used["TRELLIS_COMB"], ff=used["TRELLIS_FF"], dsp=used["MULT18X18D"], bram=used["DP16KD"]),
        paths=tuple(paths),
    )


def _path(path: Mapping[str, Any]) -> Path:
    steps = path["path"]
    wires = [step for step in steps if step["type"] == "routing"]
    return Path(
        clocks=f"{_clock(path['from'])} to {_clock(path['to'])}",
        source=_rtl_name(wires[0]["net"] if wires else steps[0]["from"]["cell"]),
        sink=_rtl_name(steps[-1]["to"]["cell"]),
        ns=round(sum(step["delay"] for step in steps), 2),
        logic_ns=round(sum(step["delay"] for step in steps if step["type"] != "routing"), 2),
        levels=sum(step["type"] == "logic" for step in steps),
    )


def _clock(name: str) -> str:
    return name.removeprefix("posedge ").removeprefix("$glbnet$").strip("<>")


def _rtl_name(name: str) -> str:
    """The net of the RTL beside which synthesis made a cell or a net."""
    return _CELL_SUFFIX.sub("", name)


def as_table(header: Sequence[str] | None, rows: Iterable[Sequence[object]]) -> str:
    """Rows under a header, or without one, as text; columns of numbers stand to the right."""
    cells = [[str(cell) for cell in row] for row in rows]
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), show_header=header is not None)
    for i, name in enumerate(header or cells[0]):
        numeric = header is not None and all(row[i][:1].isdigit() for row in cells)
        table.add_column(name, justify="right" if numeric else "left", overflow="fold")
    for row in cells:
        table.add_row(*row)
    printed = io.StringIO()
    Console(file=printed, width=_WIDTH, highlight=False, markup=False, color_system=None).print(table)
    return "\n".join(line.rstrip() for line in printed.getvalue().splitlines()) + "\n"
