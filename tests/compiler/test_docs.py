# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""The page of operators is current and complete."""

from pathlib import Path

from openlpu.arch import pages
from openlpu.compiler import docs
from openlpu.compiler.frontend.float_bounds import FLOAT_BOUNDS
from openlpu.compiler.onnx_import import SUPPORTED_OPERATORS

ROOT = Path(__file__).resolve().parents[2]


def test_the_committed_page_is_current() -> None:
    assert pages.stale(docs.PAGES, ROOT / "docs") == []


def test_every_operator_and_every_bound_is_there() -> None:
    page = docs.operators_page()
    assert all(f"`{name}`" in page for name in SUPPORTED_OPERATORS)
    rows = [line for line in page.splitlines() if line.startswith("| `")]
    assert len(rows) == len(FLOAT_BOUNDS)
