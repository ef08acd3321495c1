# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""The shape of the repository: what no single module can promise."""

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SOURCE_ROOTS = ("sw", "hdl", "verif", "fpga")
HEADER = "# SPDX-License-Identifier: Apache-2.0\n# Copyright 2026 The OpenLPU authors\n"


def tracked_files() -> list[Path]:
    listing = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False)
    if listing.returncode != 0:
        pytest.skip("not a git checkout")
    return [ROOT / name for name in listing.stdout.split("\0") if name and (ROOT / name).is_file()]


@pytest.mark.parametrize("root", SOURCE_ROOTS)
def test_the_namespace_stays_open(root: str) -> None:
    # An openlpu/__init__.py in one root would hide the packages of the other three.
    assert not (ROOT / root / "openlpu" / "__init__.py").exists()


def test_every_package_is_typed() -> None:
    packages = [path for root in SOURCE_ROOTS for path in (ROOT / root / "openlpu").iterdir() if path.is_dir()]
    untyped = [str(path.relative_to(ROOT)) for path in packages if not (path / "py.typed").is_file()]
    assert len(packages) >= len(SOURCE_ROOTS)
    assert untyped == []


def test_every_source_carries_the_licence_header() -> None:
    sources = [path for path in tracked_files() if path.suffix == ".py" or path.name in ("Makefile", "run")]
    bare = []
    for path in sources:
        text = path.read_text()
        if text.startswith(("#!", "# amaranth:")):  # both count on the first line only
            text = text.partition("\n")[2]
        if not text.startswith(HEADER):
            bare.append(str(path.relative_to(ROOT)))
    assert sources
    assert bare == []


def test_every_folder_of_sources_is_type_checked() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]
    folders = {path.relative_to(ROOT).parts[0] for path in tracked_files() if path.suffix == ".py"}
    assert folders - set(settings["mypy"]["files"]) == set()
    assert folders - set(settings["pyright"]["include"]) == set()


def test_imports_go_one_way() -> None:
    linter = Path(sys.executable).parent / "lint-imports"
    result = subprocess.run([linter, "--no-logo", "--no-cache"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
