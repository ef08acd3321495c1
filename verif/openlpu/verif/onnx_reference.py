# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""ONNX Runtime as the reference that nobody here wrote."""

import onnxruntime

EXACT_PRODUCTS = "session.x64quantprecision"
"""On x86-64 without VNNI instructions, ONNX Runtime adds products of uint8 and int8 in int16 and saturates, unless this
is set; with it, or with VNNI, its integer products are exact."""


def onnxruntime_session(model: str | bytes, **config: str) -> onnxruntime.InferenceSession:
    """A single-threaded session on the CPU, for the path of a model or its bytes; integer products are exact.

    `config` entries have _ for the dots of their keys.
    """
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = 1
    options.add_session_config_entry(EXACT_PRODUCTS, "1")
    for key, value in config.items():
        options.add_session_config_entry(key.replace("_", "."), value)
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
