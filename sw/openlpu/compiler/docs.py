# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""The generated page of `docs/` about ONNX operators.

python -m openlpu.compiler.docs            write it
python -m openlpu.compiler.docs --check    exit 1 when it differs from what would be written
"""

from __future__ import annotations

import sys

from openlpu.arch.pages import Pages, banner, main, page, prose, table
from openlpu.compiler.frontend.float_bounds import FLOAT_BOUNDS, FloatBound
from openlpu.compiler.onnx_import import SUPPORTED_OPERATORS

_CODES = """What `lpu compile` reads. On quantised tensors (between QuantizeLinear and DequantizeLinear, and in the
QLinear forms) results equal ONNX Runtime's, code for code. Groups that ONNX Runtime itself computes in float32 may
differ from it by one code next to a rounding tie; `lpu compile` prints a note of each. What only moves elements is
exact in every type."""
_FLOATS = """Float operators compute in fp32 with the operations of the vector unit. They are within these bounds of
the exact result of the floats that they read, in units in the last place (ulp) of the magnitude named. The tests hold
every operator to its bound, and to ONNX Runtime, over shapes that are no multiples of the lanes."""


def operators_page() -> str:
    """Every operator that the importer reads, and how far a float result may be off."""
    bounds = [[f"`{name}`", *_cells(bound)] for name, bound in sorted(FLOAT_BOUNDS.items())]
    return page(
        [
            "# ONNX operators",
            banner("sw/openlpu/compiler/"),
            prose(_CODES),
            f"Supported: {', '.join(f'`{name}`' for name in SUPPORTED_OPERATORS)}.",
            "## Floats",
            prose(_FLOATS),
            table(["operator", "ulp", "of the", "and for each"], bounds),
        ]
    )


def _cells(bound: FloatBound) -> list[str]:
    return [f"{bound.ulp:g}", bound.of, f"{bound.terms}: {bound.per_term:g}" if bound.terms else "\N{EN DASH}"]


PAGES: Pages = {"operators.md": operators_page}
"""Generated files of the documentation by name."""


if __name__ == "__main__":
    sys.exit(main(PAGES))
