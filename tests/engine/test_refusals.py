"""Why a model is refused: each reason is true, from a real runtime."""

from pathlib import Path

import pytest
from support.tiny_models import Operation, Tensor, classifier, model

from edgeclassifier.engine.refusals import refusal
from edgeclassifier.engine.runtime import load_model
from edgeclassifier.errors import ModelError
from edgeclassifier.models.store import ModelStore

WHOLE = classifier()


def ending_in(name: str, version: int = 1) -> bytes:
    picture = Tensor(shape=(1, 2, 2, 3), dtype="float32")
    row = Tensor(shape=(1, 12), dtype="float32")
    return model(
        [picture, row, row],
        [
            Operation(name="RESHAPE", input=0, output=1),
            Operation(name=name, input=1, output=2, version=version),
        ],
    )


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (ending_in("FlexErf"), r"needs TensorFlow's Flex operations \(FlexErf\), which no"),
        (ending_in("MyNorm"), "needs the custom operation MyNorm, which the runtime does not have"),
        (
            ending_in("SOFTMAX", version=99),
            "was made for a newer runtime, it needs version 99 of the operation SOFTMAX: update",
        ),
        (
            ending_in("FROM_THE_FUTURE"),
            "was made for a newer runtime, it needs an operation that is unknown here, number 4000",
        ),
        (WHOLE[: len(WHOLE) // 2], "truncated, damaged or not a TFLite model, copy or fetch"),
        (classifier(output_shape=(1, 13)), "cannot be loaded and run"),
    ],
    ids=["flex", "custom", "version", "operation", "truncated", "sizes"],
)
def test_the_daemon_and_the_store_give_the_same_true_reason(
    tmp_path: Path, content: bytes, said: str
) -> None:
    path = tmp_path / "model.tflite"
    path.write_bytes(content)
    with pytest.raises(ModelError, match=rf"model\.tflite: {said}") as loading:
        load_model(path).interpreter.invoke()
    with pytest.raises(ModelError) as adding:
        ModelStore(root=tmp_path / "store").add(path)
    assert str(adding.value) == str(loading.value)
    assert str(adding.value).isprintable()


@pytest.mark.parametrize(
    ("message", "said"),
    [
        # Words of tflite-runtime 2.14 and of older ones.
        (
            "Regular TensorFlow ops are not supported by this interpreter. Make sure you "
            "apply/link the Flex delegate before inference.Node number 3 (FlexConv2D) failed",
            "needs TensorFlow's Flex operations (FlexConv2D)",
        ),
        ("Encountered unresolved custom op: FlexErf.\nSee instructions: x", "(FlexErf)"),
        (
            "Model provided is schema version 4 not equal to supported version 3.",
            "was made for a newer runtime, it needs version 4 of the file format",
        ),
        (
            "Encountered unresolved custom op: edgetpu-custom-op.\nSee instructions: x",
            "compiled for the Edge TPU",
        ),
    ],
)
def test_older_runtimes_are_understood(message: str, said: str) -> None:
    assert said in refusal(message)
