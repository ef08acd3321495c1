# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""Lowering to assembly: programs that pass the independent checker and compute what the graph says, bit for bit."""

import dataclasses
import subprocess
import sys

import numpy as np
import pytest

from openlpu.arch.config import AluConfig, ChipConfig, OpClass
from openlpu.arch.geometry import QueueKind, geometry
from openlpu.arch.presets import LAB32, NANO, PRESETS, ULX3S
from openlpu.compiler import reference
from openlpu.compiler.assemble import assemble
from openlpu.compiler.bounds import lower_bounds
from openlpu.compiler.chain import map_chain, split_chain
from openlpu.compiler.errors import CompileError, InternalCompilerError
from openlpu.compiler.graph import Add, Graph, MatMul, Mul, Op, Port, Requantise, Reshape, Tensor, Unary
from openlpu.compiler.kernels import Immediate, Step
from openlpu.compiler.lower import lower
from openlpu.compiler.meetings import verify_meetings, verify_words
from openlpu.compiler.pipeline import compile_graph
from openlpu.compiler.place import Placement
from openlpu.compiler.schedule import schedule
from openlpu.compiler.workloads import gemm
from openlpu.model.expand import expand
from openlpu.model.link import link
from openlpu.runtime.driver import open_device

ROOMY_NANO = dataclasses.replace(NANO, mem_words=2048, imem_words=4096)
CONFIGS = (ROOMY_NANO, ULX3S, LAB32)
THREE_GROUPS = dataclasses.replace(ROOMY_NANO, name="three_groups", lanes=6, weight_streams=2, act_depth=16)


def random_requantise(rng: np.random.Generator, lanes: int, scale: float) -> Requantise:
    per_lane = rng.random() < 0.5
    multiplier = np.float32(scale) * rng.uniform(0.5, 2.0, lanes if per_lane else ()).astype(np.float32)
    lo, hi = sorted(int(v) for v in rng.integers(-128, 128, 2)) if rng.random() < 0.3 else (-128, 127)
    return Requantise((np.asarray(multiplier, np.float32),), int(rng.integers(-128, 128)), None, lo, hi)


def random_graph(seed: int, rows: int) -> Graph:
    """A few layers of every operation on the same rows, each reading any tensor that fits."""
    rng = np.random.default_rng(seed)
    lanes = int(rng.integers(1, 40))
    tensors = [Tensor("x", (rows, lanes), "int8", "int8", np.float32(1), 0)]
    ops: list[Op] = []
    for number in range(int(rng.integers(1, 5))):
        source = tensors[int(rng.integers(len(tensors)))]
        name, width = f"t{number}", source.lanes
        peers = [t for t in tensors if t.shape == source.shape]
        other = peers[int(rng.integers(len(peers)))]
        a, b = (int(z) for z in rng.integers(-20, 21, 2)) if rng.random() < 0.7 else (0, 0)
        match int(rng.integers(5)):
            case 0:
                width = int(rng.integers(1, 40))
                count = 2 if rng.random() < 0.2 else 1
                weights = tuple(rng.integers(-128, 128, (source.lanes, width), dtype=np.int8) for _ in range(count))
                bias = rng.integers(-3000, 3001, width, dtype=np.int32) if rng.random() < 0.7 else None
                ops.append(MatMul(name, source.name, weights, bias, random_requantise(rng, width, 1 / 1500)))
            case 1:
                ops.append(Unary(name, source.name, a, random_requantise(rng, width, 0.8)))
            case 2:
                offset = np.float32(0.375) if rng.random() < 0.5 else None
                tail = Requantise((), int(rng.integers(-20, 21)))
                factors = rng.uniform(0.2, 0.9, 2).astype(np.float32)
                ops.append(Add(name, source.name, other.name, a, b, factors[0], factors[1], offset, tail))
            case 3:
                ops.append(Mul(name, source.name, other.name, a, b, random_requantise(rng, width, 1 / 100)))
            case 4:
                ops.append(Reshape(name, source.name))
        tensors.append(Tensor(name, (rows, width), "int8", "int8", np.float32(1), 0))
    inputs = (Port("x", "x", "int8", (rows, lanes)),)
    outputs = tuple(Port(t.name, t.name, "int8", t.shape) for t in tensors[1:])
    graph = Graph(f"random{seed}", tuple(tensors), tuple(ops), inputs, outputs)
    graph.verify()
    return graph


def run_and_compare(graph: Graph, config: ChipConfig, seed: int) -> None:
    program = compile_graph(graph, config)
    rng = np.random.default_rng(seed)
    values = {port.name: rng.integers(-128, 128, port.shape, dtype=np.int8) for port in graph.inputs}
    with open_device("golden", config) as device:
        device.load(program)
        result = device.run(values)
    assert result.cycles == program.cycles
    for name, want in reference.evaluate(graph, values).items():
        np.testing.assert_array_equal(result.outputs[name], want, err_msg=f"seed {seed}, output {name}")


@pytest.mark.parametrize("config", CONFIGS, ids=lambda config: config.name)
@pytest.mark.parametrize("rows", [1, 3])
def test_random_graphs_compute_what_they_say(config: ChipConfig, rows: int) -> None:
    for seed in range(12):
        run_and_compare(random_graph(seed, rows), config, seed)


@pytest.mark.parametrize("shape", [(1, 1, 1), (9, 4, 4), (17, 5, 21), (70, 33, 18)])
@pytest.mark.parametrize("config", CONFIGS, ids=lambda config: config.name)
def test_matrix_products_of_any_shape(config: ChipConfig, shape: tuple[int, int, int]) -> None:
    run_and_compare(gemm(*shape, seed=5), config, seed=5)


def test_raw_sums_are_int32() -> None:
    rng = np.random.default_rng(3)
    weights = rng.integers(-128, 128, (21, 19), dtype=np.int8)
    tensors = (
        Tensor("x", (5, 21), "int8", "int8", np.float32(1), 0),
        Tensor("y", (5, 19), "int32", "int32"),
    )
    op = MatMul("y", "x", (weights,), None, None)
    graph = Graph("raw", tensors, (op,), (Port("x", "x", "int8", (5, 21)),), (Port("y", "y", "int32", (5, 19)),))
    values = rng.integers(-128, 128, (5, 21), dtype=np.int8)
    for config in CONFIGS:
        with open_device("golden", config) as device:
            device.load(compile_graph(graph, config))
            found = device.run({"x": values}).outputs["y"]
        np.testing.assert_array_equal(found, values.astype(np.int64) @ weights.astype(np.int64))


@pytest.mark.parametrize("rows", [1, 12])
@pytest.mark.parametrize("config", [*CONFIGS, THREE_GROUPS], ids=lambda config: config.name)
def test_text_unrolls_to_the_schedule(config: ChipConfig, rows: int) -> None:
    kernels = lower(gemm(rows, 20, 10, seed=1), config)
    scheduled = schedule(kernels, Placement(kernels, config), config)
    text = assemble(scheduled.dispatches, scheduled.cycles, config)
    unrolled = {}
    for name in text:
        expansion = expand(config, geometry(config).by_name[name], text[name])
        unrolled[name] = [(dispatch.cycle, dispatch.instruction) for dispatch in expansion.dispatches]
    scheduled_pairs = {
        name: sorted((pair for run in runs for pair in run.unrolled()), key=lambda pair: pair[0])
        for name, runs in scheduled.dispatches.items()
    }
    assert unrolled == scheduled_pairs


@pytest.mark.parametrize(
    ("config", "size"), [(ULX3S, 64), (LAB32, 320), (THREE_GROUPS, 64)], ids=lambda value: getattr(value, "name", None)
)
def test_tiles_that_flow_without_a_gap_share_a_word_of_text(config: ChipConfig, size: int) -> None:
    """A product of one row does nothing but load weights, most of the time without a stop."""
    program = compile_graph(gemm(1, size, size, seed=1), config)
    for queue in geometry(config).of_kind(QueueKind.MXM_WEIGHTS):
        text = program.text[queue.name]
        groups = [d.instruction.number("g") for d in expand(config, queue, text).dispatches]
        assert groups == [*range(config.row_groups)] * (len(groups) // config.row_groups)
        assert 2 * len(text) < len(groups), text


def test_no_word_is_given_to_two_things() -> None:
    kernels = lower(gemm(3, 40, 20, 0), ULX3S)
    placement = Placement(kernels, ULX3S)
    scheduled = schedule(kernels, placement, ULX3S)
    verify_words(scheduled.dispatches, placement.image, set(), ULX3S)
    queue, run = next(
        (q, r) for q in geometry(ULX3S).of_kind(QueueKind.MEM_WRITE) for r in scheduled.dispatches.get(q.name, ())
    )
    for dispatches, image in (
        ({queue.name: [run, run]}, {}),
        ({queue.name: [run]}, {(queue.index, run.instruction.number("a")): np.zeros(16, np.int8)}),
    ):
        with pytest.raises(InternalCompilerError, match=f"of {queue.unit} is given to two things"):
            verify_words(dispatches, image, set(), ULX3S)


def test_a_vector_in_the_wrong_place_is_noticed() -> None:
    kernels = lower(gemm(2, 8, 8, seed=1), NANO)
    scheduled = schedule(kernels, Placement(kernels, NANO), NANO)
    program = compile_graph(gemm(2, 8, 8, seed=1), NANO)
    linked = link(program)
    verify_meetings(linked, scheduled.rides)
    for ride, count, gap in scheduled.rides[:: len(scheduled.rides) // 20]:
        others = [queue for queue in geometry(NANO).queues if queue != ride.producer]
        with pytest.raises(InternalCompilerError, match=f"the vector of {others[0].name} on {ride.stream}"):
            verify_meetings(linked, [(dataclasses.replace(ride, producer=others[0]), count, gap)])


def test_no_schedule_beats_its_lower_bounds() -> None:
    for config in CONFIGS:
        for seed in range(12):
            graph = random_graph(seed, rows=4)
            assert compile_graph(graph, config).cycles >= lower_bounds(graph, config).cycles, (config.name, seed)


def test_rows_beyond_the_accumulators_go_in_blocks() -> None:
    config = dataclasses.replace(NANO, acc_depth=3)
    run_and_compare(gemm(8, 6, 5, seed=2), config, seed=2)


def test_deeper_pipelines_move_the_whole_schedule() -> None:
    pipeline = dataclasses.replace(
        ROOMY_NANO.pipeline, dispatch=3, sram=2, multiply=2, tree_levels=1, alu_fmul=7, alu_int=1
    )
    config = dataclasses.replace(ROOMY_NANO, pipeline=pipeline)
    for seed in range(4):
        run_and_compare(random_graph(seed, rows=2), config, seed)


def test_a_chain_that_does_not_fit_goes_in_parts() -> None:
    steps = [Step("fmul", Immediate(7)), Step("fadd", Immediate(3)), Step("f2i", Immediate(0))]
    assert map_chain(steps, ULX3S) is None
    parts = split_chain(steps, ULX3S)
    assert parts is not None
    assert [step for part in parts for step in part] == steps
    assert all(map_chain(part, ULX3S) for part in parts)


def test_a_missing_operation_class_is_named() -> None:
    config = dataclasses.replace(NANO, alus=(AluConfig(classes=(OpClass.INT,), chain=(0,)),))
    with pytest.raises(CompileError, match="'y': the VXM of config 'nano' cannot execute f2i, fmul, i2f"):
        compile_graph(gemm(1, 4, 4, seed=0), config)


def test_too_large_for_sram_is_said_with_figures() -> None:
    with pytest.raises(CompileError, match=r"no room in SRAM for the weights of 'y': .*64 words a slice"):
        compile_graph(gemm(1, 64, 64, seed=0), NANO)


def test_too_long_for_instruction_memory_is_said_with_figures() -> None:
    config = dataclasses.replace(NANO, imem_words=8)
    with pytest.raises(CompileError, match=r"instructions, config 'nano' has room for 8"):
        compile_graph(gemm(2, 12, 9, seed=0), config)


def test_every_pass_shows_its_ir_the_same_under_any_hash_seed() -> None:
    script = (
        "from openlpu.arch.presets import ULX3S\n"
        "from openlpu.compiler.pipeline import compile_graph\n"
        "from openlpu.compiler.workloads import gemm\n"
        "compile_graph(gemm(3, 40, 20, 0), ULX3S, dump=lambda name, text_of: print(name, text_of()))\n"
    )
    texts = [
        subprocess.run(
            [sys.executable, "-c", script], env={"PYTHONHASHSEED": seed}, capture_output=True, check=True
        ).stdout
        for seed in ("1", "2")
    ]
    assert texts[0] == texts[1]
    assert all(f"{name} " in texts[0].decode() for name in ("graph", "kernels", "placement", "program"))


def test_every_preset_compiles() -> None:
    for config in PRESETS.values():
        compile_graph(gemm(2, 8, 8, seed=0), config)
