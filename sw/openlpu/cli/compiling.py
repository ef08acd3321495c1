# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""`lpu compile`: from an ONNX model to a program."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import click

from openlpu.arch.config import ChipConfig
from openlpu.arch.program import Program
from openlpu.arch.system import SystemConfig
from openlpu.arch.system_program import SystemProgram
from openlpu.cli.errors import UserError
from openlpu.cli.figures import summary
from openlpu.cli.files import replacing
from openlpu.cli.programs import print_summary
from openlpu.cli.targets import chips_option, find_target, target_option
from openlpu.cli.terminal import json_option, print_json, working
from openlpu.compiler.graph import Graph
from openlpu.compiler.onnx_import import import_onnx
from openlpu.compiler.pipeline import Dump, compile_graph
from openlpu.compiler.system_pipeline import compile_graph_system
from openlpu.runtime import program_file, system_file


@click.command("compile")
@click.argument("model", type=click.Path(path_type=Path))
@target_option
@chips_option
@click.option("-o", "--output", required=True, type=click.Path(path_type=Path), help="The program, by habit *.lpu.")
@click.option("--batch", type=click.IntRange(min=1), help="Size of a dynamic first dimension.")
@click.option("--dump-ir", metavar="DIR", help="Write the IR after each pass to this folder; - prints it.")
@json_option
def compile_command(
    model: Path, config: str, chips: int | None, output: Path, batch: int | None, dump_ir: str | None, as_json: bool
) -> None:
    """Compile MODEL, an ONNX file, for a chip or a system of chips. The cycles it prints are the cycles it takes."""
    target = find_target(config, chips)
    dump = _dumper(dump_ir, as_json)
    start = time.perf_counter()
    with replacing(output) as draft:
        with working(f"compiling {model.name} for {target.name}", as_json=as_json):
            graph = import_onnx(model, batch=batch)
            program, content = _compiled(graph, target, dump)
        draft.write_bytes(content)
    seconds = round(time.perf_counter() - start, 3)
    if as_json:
        print_json({**summary(program), "output": str(output), "wall_seconds": seconds, "notes": graph.notes})
    else:
        print_summary(program, [("wrote", output)])
        for note in graph.notes:
            click.echo(f"lpu: note: {note}", err=True)


def _compiled(
    graph: Graph, target: ChipConfig | SystemConfig, dump: Dump | None
) -> tuple[Program | SystemProgram, bytes]:
    """A program, and the content of its file."""
    if isinstance(target, SystemConfig):
        several = compile_graph_system(graph, target, dump=dump).program
        return several, system_file.to_bytes(several)
    program = compile_graph(graph, target, dump=dump)
    return program, program_file.to_bytes(program)


def _dumper(destination: str | None, as_json: bool) -> Dump | None:
    """What to do with the IR after each pass. What passed before a failure stays: it is there to find the failure."""
    if destination is None:
        return None
    if destination == "-":
        if as_json:
            raise UserError("--dump-ir - and --json both print to standard output: dump to a folder")
        return lambda name, text_of: click.echo(f"// {name}\n{text_of()}")
    directory = Path(destination)
    try:
        directory.mkdir(exist_ok=True)
    except OSError as error:
        raise UserError(f"{directory}: cannot be written: {error.strerror}") from None
    written: list[Path] = []

    def dump(name: str, text_of: Callable[[], str]) -> None:
        written.append(directory / f"{len(written) + 1:02d}-{name}.txt")
        written[-1].write_text(text_of(), encoding="utf-8")

    return dump
