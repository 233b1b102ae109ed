"""Embeddings and style vectors have the form of a classifier, and are none."""

from pathlib import Path

import numpy as np
import pytest
from support.shared_data import FOLDER, needs_shared_data
from support.tiny_models import Operation, Tensor, classifier, model

from edgeclassifier.engine.classifier import check_image_classifier
from edgeclassifier.engine.runtime import load_model
from edgeclassifier.errors import ModelError


def check(path: Path, content: bytes, *, output: str = "auto") -> None:
    path.write_bytes(content)
    check_image_classifier(path, load_model(path, threads=1).interpreter, output=output)


def unit_vectors() -> bytes:
    """Divide each row by its length, in single operations as converters write them."""
    picture = Tensor(shape=(1, 2, 2, 3), dtype="float32")
    row, number = Tensor(shape=(1, 12), dtype="float32"), Tensor(shape=(1, 1), dtype="float32")
    operations = [
        Operation(name="RESHAPE", input=0, output=1),
        Operation(name="FULLY_CONNECTED", input=1, constants=(1,), output=2),
        Operation(name="RSQRT", input=2, output=3),
        Operation(name="MUL", input=1, constants=(3,), output=4),
    ]
    return model([picture, row, number, number, row], operations)


@pytest.mark.parametrize("last", ["L2_NORMALIZATION", "RELU", "TANH"])
def test_what_ends_like_an_embedding_is_refused(tmp_path: Path, last: str) -> None:
    path = tmp_path / "model.tflite"
    with pytest.raises(ModelError, match=rf"gives features .*: its last operation is {last};"):
        check(path, classifier(last=last))
    for output in ("logits", "probabilities"):
        check(path, classifier(last=last), output=output)


def test_what_gives_unit_vectors_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="its output has the length 1 whatever the picture"):
        check(tmp_path / "model.tflite", unit_vectors())


@pytest.mark.parametrize("last", [None, "SOFTMAX", "LOGISTIC", "LOG_SOFTMAX"])
def test_what_ends_like_a_classifier_is_taken(tmp_path: Path, last: str | None) -> None:
    check(tmp_path / "model.tflite", classifier(last=last))


def feature_extractors() -> list[Path]:
    return sorted((FOLDER / "models").glob("*quant.tflite"))


@needs_shared_data
@pytest.mark.parametrize("path", feature_extractors(), ids=lambda path: path.name)
def test_a_classifier_is_taken_and_its_features_are_not(tmp_path: Path, path: Path) -> None:
    schema = pytest.importorskip(
        "ai_edge_litert.schema_py_generated", reason="only ai-edge-litert brings the schema"
    )
    flatbuffers = pytest.importorskip("flatbuffers", reason="it writes the model")
    content = path.read_bytes()
    check(tmp_path / "whole.tflite", content)
    network = schema.ModelT.InitFromObj(schema.Model.GetRootAs(content, 0))
    graph = network.subgraphs[0]
    pooling = {schema.BuiltinOperator.MEAN, schema.BuiltinOperator.AVERAGE_POOL_2D}
    kinds = [network.operatorCodes[each.opcodeIndex] for each in graph.operators]
    codes = [max(each.builtinCode, each.deprecatedBuiltinCode) for each in kinds]
    last = max(n for n, code in enumerate(codes) if code in pooling)
    graph.operators = graph.operators[: last + 1]
    graph.outputs = np.array(graph.operators[-1].outputs[:1], np.int32)
    network.signatureDefs = []
    builder = flatbuffers.Builder(1 << 20)
    builder.Finish(network.Pack(builder), file_identifier=b"TFL3")
    with pytest.raises(ModelError, match=r"gives features .*(MEAN|AVERAGE_POOL_2D)"):
        check(tmp_path / "features.tflite", bytes(builder.Output()))
