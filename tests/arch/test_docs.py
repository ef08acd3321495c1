# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""The generated documentation is current, complete, and made by the same function each time."""

import re
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from openlpu.arch import docs, pages
from openlpu.arch.config import ChipConfig
from openlpu.arch.floorplan import floorplan
from openlpu.arch.geometry import geometry
from openlpu.arch.isa import INSTRUCTIONS
from openlpu.arch.presets import PRESETS

ROOT = Path(__file__).resolve().parents[2]
LINK = re.compile(r"\[[^\]]*\]\(([^)#\s]+)(#[^)\s]*)?\)")


def test_the_committed_pages_are_current() -> None:
    assert pages.stale(docs.PAGES, ROOT / "docs") == []


def test_check_names_what_is_stale(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pages.write(docs.PAGES, tmp_path)
    assert pages.main(docs.PAGES, ["--check", str(tmp_path)]) == 0
    (tmp_path / "isa.md").write_text((tmp_path / "isa.md").read_text().replace("implemented", "planned", 1))
    (tmp_path / "floorplan.svg").unlink()
    assert pages.main(docs.PAGES, ["--check", str(tmp_path)]) == 1
    complaints = capsys.readouterr().err.splitlines()
    assert [line.split(":")[1].split("/")[-1] for line in complaints] == ["isa.md", "floorplan.svg"]


def test_pages_do_not_depend_on_the_hash_seed() -> None:
    script = "from openlpu.arch import docs; print(*(make() for make in docs.PAGES.values()))"
    pages = [
        subprocess.run(
            [sys.executable, "-c", script], env={"PYTHONHASHSEED": seed}, capture_output=True, text=True, check=True
        ).stdout
        for seed in ("1", "2")
    ]
    assert len(pages[0]) > 10_000
    assert pages[0] == pages[1]


def test_every_instruction_is_documented() -> None:
    page = docs.isa_page()
    for spec in INSTRUCTIONS:
        rows = [line for line in page.splitlines() if line.startswith(f"| `{spec.mnemonic}` | {spec.opcode} |")]
        assert len(rows) == 1, spec.mnemonic
        assert rows[0].endswith("| implemented |" if spec.implemented else "| *specified* |")
        assert spec.effect.replace("|", "\\|") in rows[0]


def test_the_rows_of_a_table_are_as_wide_as_its_head() -> None:
    for name in ("isa.md", "configs.md", "timing.md"):
        for table in re.findall(r"(?:^\|.*\n)+", docs.PAGES[name](), re.MULTILINE):
            assert len({len(re.split(r"(?<!\\)\|", line)) for line in table.splitlines()}) == 1, table


def test_known_cells() -> None:
    # By hand: 16 slices x ... of the paper's chip, and the widths of a word address.
    page = docs.configs_page()
    assert "| MACs a cycle | 16 | 256 | 64 | 256 | 4,096 | 409,600 |" in page
    assert "| SRAM, KiB | 1 | 256 | 256 | 256 | 22,528 | 225,280 |" in page
    assert "| word_address | address of a word in the MEM slice | 6 | 11 | 13 | 12 | 13 | 13 |" in docs.isa_page()


@pytest.mark.parametrize("config", [PRESETS["nano"], PRESETS["ulx3s"], PRESETS["lab32"]], ids=lambda c: str(c.name))
def test_a_floor_plan_shows_every_unit_and_hop(config: ChipConfig) -> None:
    texts = [element.text for element in ET.fromstring(floorplan(config)).iter("{http://www.w3.org/2000/svg}text")]
    places = geometry(config)
    for unit in {queue.unit for queue in places.queues}:
        assert texts.count(unit) == 1
    assert [text for text in texts if text and text.startswith("hop ")] == [f"hop {h}" for h in range(places.hops)]
    for role in {queue.name.split(".")[1] for queue in places.queues}:
        assert texts.count(role) == sum(queue.name.endswith(f".{role}") for queue in places.queues)


def test_links_between_pages_lead_somewhere() -> None:
    pages = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
    broken = [
        f"{page.relative_to(ROOT)}: {target}"
        for page in pages
        for target, _ in LINK.findall(page.read_text(encoding="utf-8"))
        if "://" not in target and not (page.parent / target).exists()
    ]
    assert broken == []


def test_every_page_is_reached_from_the_readme() -> None:
    reached: set[Path] = set()
    waiting = [ROOT / "README.md"]
    while waiting:
        page = waiting.pop()
        for target, _ in LINK.findall(page.read_text(encoding="utf-8")):
            path = (page.parent / target).resolve()
            if path.suffix == ".md" and path.exists() and path not in reached:
                reached.add(path)
                waiting.append(path)
    assert set((ROOT / "docs").resolve().rglob("*.md")) - reached == set()
