# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""ONNX Runtime as the reference that nobody here wrote."""

import onnxruntime
from onnxruntime.capi.onnxruntime_pybind11_state import NotImplemented as MissingKernel

EXACT_PRODUCTS = "session.x64quantprecision"
"""On x86-64 without VNNI instructions, ONNX Runtime adds products of uint8 and int8 in int16 and saturates, unless this
is set; with it, or with VNNI, its integer products are exact."""


def onnxruntime_session(model: str | bytes, **config: str) -> onnxruntime.InferenceSession:
    """A single-threaded session on the CPU, for the path of a model or its bytes; integer products are exact.

    `config` entries have _ for the dots of their keys.
    """
    entries = {key.replace("_", "."): value for key, value in config.items()}
    try:
        return _session(model, {**entries, EXACT_PRODUCTS: "1"})
    except MissingKernel:
        # The option spoils products of int8 and int8. Those are exact without it.
        return _session(model, entries)


def _session(model: str | bytes, entries: dict[str, str]) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    for key, value in entries.items():
        options.add_session_config_entry(key, value)
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
