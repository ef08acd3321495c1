# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""A picture of a chip: every slice, queue, stream and hop register that `geometry(config)` knows, as SVG.

Drawn to be read at the width of a page: slices are columns, instructions come from above, streams run below.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from html import escape

from openlpu.arch.config import ChipConfig
from openlpu.arch.geometry import Direction, Geometry, Queue, geometry

_FILL = {"vxm": "#fde3c8", "mem": "#d6e6f7", "sxm": "#e3daf4", "mxm": "#d5eedb"}
_EDGE = {"vxm": "#c76b12", "mem": "#2b6cb0", "sxm": "#6b46c1", "mxm": "#2f855a"}
_ROLE = {"vxm": "vector ALUs", "mem": "memory", "sxm": "lane switch", "mxm": "matrix"}
_STREAM = {Direction.EAST: "#c05621", Direction.WEST: "#2c7a7b"}
_INK, _FAINT, _PAPER = "#1f2933", "#7b8794", "#ffffff"

_MARGIN, _GAP, _BETWEEN_HOPS = 36, 6, 26
_NARROW, _WIDE = 40, 112
_QUEUE_TOP, _QUEUE_STEP, _QUEUE_HEIGHT = 78, 20, 16
_SLICE_HEIGHT = 132
_STREAM_STEP = 9
_BAND_GAP = 26
_TIMES = "\N{MULTIPLICATION SIGN}"


@dataclass(frozen=True)
class _Slice:
    """A functional slice: its queues, and where it is drawn."""

    unit: str
    queues: tuple[Queue, ...]
    x: int
    width: int

    @property
    def family(self) -> str:
        return self.unit[:3]


def floorplan(config: ChipConfig) -> str:
    """The floor plan of a chip, an SVG document. Equal configs give equal bytes."""
    return "\n".join(_Drawing(config).document()) + "\n"


class _Drawing:
    """One drawing; coordinates are whole pixels, measured from the top left."""

    def __init__(self, config: ChipConfig) -> None:
        self.config = config
        self.places: Geometry = geometry(config)
        units = {queue.unit: queue.hop for queue in self.places.queues}
        self.columns: list[tuple[int, list[_Slice]]] = []
        x = _MARGIN
        for hop in range(self.places.hops):
            column = []
            for unit in [unit for unit, at in units.items() if at == hop]:
                queues = tuple(queue for queue in self.places.queues if queue.unit == unit)
                width = _NARROW if unit.startswith("mem") else _WIDE
                column.append(_Slice(unit, queues, x, width))
                x += width + _GAP
            self.columns.append((hop, column))
            x += _BETWEEN_HOPS
        self.width = x - _GAP - _BETWEEN_HOPS + _MARGIN
        most = max(len(s.queues) for _, column in self.columns for s in column)
        self.slice_top = _QUEUE_TOP + most * _QUEUE_STEP + 8
        self.slice_bottom = self.slice_top + _SLICE_HEIGHT
        self.band = (config.streams - 1) * _STREAM_STEP
        self.east_top = self.slice_bottom + 34
        self.west_top = self.east_top + self.band + _BAND_GAP
        self.bottom = self.west_top + self.band

    def document(self) -> Iterator[str]:
        height = self.bottom + 48
        yield (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {self.width} {height}" width="{self.width}" '
            f'height="{height}" font-family="Helvetica, Arial, sans-serif" role="img">'
        )
        yield f"<title>{escape(self._title())}</title>"
        yield from self._definitions()
        yield f'<rect width="{self.width}" height="{height}" rx="12" fill="{_PAPER}"/>'
        yield _text(_MARGIN, 34, self.config.name, size=19, weight="bold", anchor="start")
        yield _text(_MARGIN, 54, self._facts(), size=12, fill=_FAINT, anchor="start")
        yield from self._streams()
        for hop, column in self.columns:
            yield from self._register(hop, column)
            for s in column:
                yield from self._slice(s)
        yield "</svg>"

    def _title(self) -> str:
        return f"Floor plan of {self.config.name}: {self._facts()}"

    def _facts(self) -> str:
        config = self.config
        sram = config.hemispheres * config.mem_slices * config.mem_words * config.lanes // 1024
        macs = config.hemispheres * config.mxm_planes * config.lanes**2
        return (
            f"{config.lanes} lanes · {config.streams} streams each way · {sram:,} KiB of SRAM · {macs:,} int8 "
            f"multiply-accumulates a cycle · {len(self.places.queues)} instruction queues"
        )

    def _definitions(self) -> Iterator[str]:
        yield "<defs>"
        for direction, colour in _STREAM.items():
            yield (
                f'<marker id="{direction.letter}" viewBox="0 0 8 8" refX="6" refY="4" markerWidth="5" '
                f'markerHeight="5" orient="auto"><path d="M0 0L8 4L0 8z" fill="{colour}"/></marker>'
            )
        yield (
            f'<marker id="tap" viewBox="0 0 8 8" refX="4" refY="4" markerWidth="5" markerHeight="5" '
            f'orient="auto-start-reverse"><path d="M0 0L8 4L0 8z" fill="{_FAINT}"/></marker>'
        )
        yield "</defs>"

    def _streams(self) -> Iterator[str]:
        left, right = _MARGIN - 18, self.width - _MARGIN + 18
        for direction, top in ((Direction.EAST, self.east_top), (Direction.WEST, self.west_top)):
            start, end = (left, right) if direction is Direction.EAST else (right, left)
            for i in range(self.config.streams):
                y = top + i * _STREAM_STEP
                yield (
                    f'<path d="M{start} {y}H{end}" stroke="{_STREAM[direction]}" stroke-width="1.6" '
                    f'stroke-opacity="0.75" marker-end="url(#{direction.letter})"/>'
                )
        last = self.config.streams - 1
        column = self.columns[0][1]
        first = (column[0].x + column[-1].x + column[-1].width) // 2 + 16
        words = f"eastward streams e0 to e{last}", f"westward streams w0 to w{last}"
        for text, top, direction in zip(
            words, (self.east_top, self.west_top), (Direction.EAST, Direction.WEST), strict=True
        ):
            yield _text(first, top - 8, text, size=10.5, fill=_STREAM[direction], anchor="start")

    def _register(self, hop: int, column: list[_Slice]) -> Iterator[str]:
        """The stream registers of a hop, and the ties between them and the slices above."""
        left, right = column[0].x, column[-1].x + column[-1].width
        middle = (left + right) // 2
        top, height = self.east_top - 6, self.bottom - self.east_top + 12
        yield (
            f'<rect x="{middle - 8}" y="{top}" width="16" height="{height}" rx="4" fill="{_PAPER}" '
            f'stroke="{_INK}" stroke-width="1.4"/>'
        )
        for direction, first in ((Direction.EAST, self.east_top), (Direction.WEST, self.west_top)):
            for i in range(self.config.streams):
                y = first + i * _STREAM_STEP - 3
                yield f'<rect x="{middle - 5}" y="{y}" width="10" height="6" rx="1.5" fill="{_STREAM[direction]}"/>'
        yield (
            f'<path d="M{left + 3} {self.slice_bottom + 6}v5H{right - 3}v-5M{middle} {self.slice_bottom + 11}'
            f'V{top - 2}" fill="none" stroke="{_FAINT}" stroke-width="1.2" marker-end="url(#tap)"/>'
        )
        yield _text(middle, self.bottom + 24, f"hop {hop}", size=12, weight="bold")

    def _slice(self, s: _Slice) -> Iterator[str]:
        edge, fill, middle = _EDGE[s.family], _FILL[s.family], s.x + s.width // 2
        for y, queue in zip(self._queue_rows(s), s.queues, strict=True):
            yield (
                f'<rect x="{s.x}" y="{y}" width="{s.width}" height="{_QUEUE_HEIGHT}" rx="3" fill="{_PAPER}" '
                f'stroke="{edge}"/>'
            )
            yield _text(middle, y + 12, queue.name.split(".")[1], size=10, fill=edge)
        yield f'<path d="M{middle} {self.slice_top - 12}v12" stroke="{edge}" stroke-width="1.4"/>'
        yield (
            f'<rect x="{s.x}" y="{self.slice_top}" width="{s.width}" height="{_SLICE_HEIGHT}" rx="6" fill="{fill}" '
            f'stroke="{edge}" stroke-width="1.4"/>'
        )
        centre = self.slice_top + _SLICE_HEIGHT // 2
        if s.width == _NARROW:
            yield _text(middle, centre, s.unit, size=13, weight="bold", turn=True)
        else:
            yield _text(middle, centre - 10, s.unit, size=15, weight="bold")
            yield _text(middle, centre + 8, _ROLE[s.family], size=11, fill=edge)
            yield _text(middle, centre + 25, self._size(s), size=11, fill=edge)

    def _queue_rows(self, s: _Slice) -> range:
        """Tops of the queues of a slice, stacked upon it."""
        foot = self.slice_top - 12 - _QUEUE_HEIGHT + _QUEUE_STEP
        return range(foot - len(s.queues) * _QUEUE_STEP, foot, _QUEUE_STEP)

    def _size(self, s: _Slice) -> str:
        config = self.config
        match s.family:
            case "vxm":
                return f"{len(config.alus)} {_TIMES} {config.lanes} lanes"
            case "mxm":
                return f"{config.lanes} {_TIMES} {config.lanes} int8"
            case _:
                return f"{config.lanes} lanes"


def _text(
    x: float,
    y: float,
    text: str,
    *,
    size: float,
    fill: str = _INK,
    weight: str = "normal",
    anchor: str = "middle",
    turn: bool = False,
) -> str:
    place = f'transform="translate({x} {y}) rotate(-90)" dy="0.35em"' if turn else f'x="{x}" y="{y}"'
    return (
        f'<text {place} font-size="{size}" font-weight="{weight}" fill="{fill}" text-anchor="{anchor}">'
        f"{escape(text)}</text>"
    )
