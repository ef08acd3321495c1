# SPDX-License-Identifier: Apache-2.0
# Copyright 2026 The OpenLPU authors
"""Train, quantise and save the digits network: `digits.onnx` and `digits_test.npz`, the same bytes each time.

A perceptron with one hidden layer reads the 8x8 digits that come with scikit-learn. It is trained in floating point,
written as two Gemm nodes with a Relu between, and quantised by ONNX Runtime to int8 activations and symmetric int8
weights (QDQ format). Half of the training images calibrate the activation ranges. The held-out images are never seen
by training or calibration; their accuracy, in int8, is what the script prints.
"""

import logging
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process
from sklearn.datasets import load_digits
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier

from openlpu.verif.onnx_reference import onnxruntime_session

HERE = Path(__file__).parent
SEED = 2026
HIDDEN = 48
HELD_OUT = 397
FloatArray = NDArray[np.float32]


class Images(CalibrationDataReader):  # type: ignore[misc]  # onnxruntime ships no types
    """Hands images to the quantiser one by one."""

    def __init__(self, images: FloatArray) -> None:
        self._batches: Iterator[FloatArray] = iter(images[:, None, :])

    # None is how the quantiser is told that there is no more, though its base class is annotated otherwise.
    def get_next(self) -> dict[str, FloatArray] | None:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Return the next image as a batch of one, or None at the end."""
        batch = next(self._batches, None)
        return None if batch is None else {"image": batch}


def float_model(classifier: MLPClassifier) -> onnx.ModelProto:
    """The trained classifier as ONNX, up to its logits, with a symbolic batch."""
    first, second = classifier.coefs_
    first_bias, second_bias = classifier.intercepts_
    constants = {"w1": first, "b1": first_bias, "w2": second, "b2": second_bias}
    nodes = [
        helper.make_node("Gemm", ["image", "w1", "b1"], ["sum"], name="hidden"),
        helper.make_node("Relu", ["sum"], ["active"], name="relu"),
        helper.make_node("Gemm", ["active", "w2", "b2"], ["logits"], name="output"),
    ]
    graph = helper.make_graph(
        nodes,
        "digits",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["batch", first.shape[0]])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", second.shape[1]])],
        [numpy_helper.from_array(array.astype(np.float32), name) for name, array in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)


def quantise(model: onnx.ModelProto, calibration: FloatArray, target: Path) -> None:
    """Write `model`, quantised, to `target`."""
    with tempfile.TemporaryDirectory() as folder:
        plain, prepared = Path(folder) / "float.onnx", Path(folder) / "prepared.onnx"
        onnx.save(model, plain)
        quant_pre_process(plain, prepared, skip_symbolic_shape=True)
        quantize_static(
            prepared,
            target,
            Images(calibration),
            quant_format=QuantFormat.QDQ,
            activation_type=QuantType.QInt8,
            weight_type=QuantType.QInt8,
            extra_options={"WeightSymmetric": True, "ActivationSymmetric": False},
        )


def accuracy(model: Path, images: FloatArray, labels: NDArray[np.int64]) -> float:
    """Share of `images` that ONNX Runtime, running `model`, assigns to their label."""
    session = onnxruntime_session(str(model))
    logits = np.asarray(session.run(None, {"image": images})[0])
    return float((logits.argmax(axis=1) == labels).mean())


def main() -> None:
    """Build both files beside this script."""
    images, labels = load_digits(return_X_y=True)
    scaled = (images / 16).astype(np.float32)
    parts = train_test_split(scaled, labels, test_size=HELD_OUT, random_state=SEED, stratify=labels)
    seen, held_out, seen_labels, held_out_labels = (np.asarray(part) for part in parts)
    classifier = MLPClassifier((HIDDEN,), alpha=1e-3, max_iter=400, random_state=SEED)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        classifier.fit(seen, seen_labels)
    target = HERE / "digits.onnx"
    logging.getLogger().setLevel(logging.ERROR)  # the quantiser's advice on pre-processing, which has been done
    quantise(float_model(classifier), seen[::2], target)
    np.savez_compressed(HERE / "digits_test.npz", images=held_out, labels=held_out_labels.astype(np.uint8))
    share, float_share = accuracy(target, held_out, held_out_labels), classifier.score(held_out, held_out_labels)
    print(f"{target.name}: 64-{HIDDEN}-10, {share:.1%} of {HELD_OUT} held-out images (in float {float_share:.1%})")


if __name__ == "__main__":
    main()
