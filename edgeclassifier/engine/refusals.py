"""Why a runtime does not take a model, in words that say what to do."""

import re

_FLEX = re.compile(r"\((Flex\w+)\)|unresolved custom op: (Flex\w+)")
_CUSTOM = re.compile(r"unresolved custom op: (.*?)\.? See instructions")
_VERSION = re.compile(r"Didn't find op for builtin opcode '(\w+)' version '(\d+)'")
_CODE = re.compile(r"builtin_code out of range: (\d+)")
_SCHEMA = re.compile(r"schema version (\d+) not equal to supported version")
_EDGE_TPU = "edgetpu-custom-op"
_NO_MODEL = ("not a valid Flatbuffer", "model identifier", "Could not open", "mmap")

_UPDATE = "update ai-edge-litert, or convert the model with an older converter"


def is_for_edge_tpu(message: str) -> bool:
    """Tell from a runtime's error that the model is compiled for an Edge TPU."""
    return _EDGE_TPU in message


def refusal(message: str) -> str:
    """Say, behind the name of a model, why the runtime refuses it with `message`."""
    text = " ".join(message.split())
    if is_for_edge_tpu(text):
        return (
            "compiled for the Edge TPU, it does not run on the CPU: "
            "use the model of the same name without _edgetpu"
        )
    if "Flex delegate" in text or _FLEX.search(text):
        found = _FLEX.search(text)
        which = f" ({found[1] or found[2]})" if found else ""
        return (
            f"needs TensorFlow's Flex operations{which}, which no TFLite runtime here has: "
            "convert it without SELECT_TF_OPS"
        )
    if found := _CUSTOM.search(text):
        return (
            f"needs the custom operation {found[1]}, which the runtime does not have: "
            "convert it with TFLite's own operations"
        )
    newer = None
    if found := _VERSION.search(text):
        newer = f"version {found[2]} of the operation {found[1]}"
    elif found := _CODE.search(text):
        newer = f"an operation that is unknown here, number {found[1]}"
    elif found := _SCHEMA.search(text):
        newer = f"version {found[1]} of the file format"
    if newer:
        return f"was made for a newer runtime, it needs {newer}: {_UPDATE}"
    if any(words in text for words in _NO_MODEL):
        return f"truncated, damaged or not a TFLite model, copy or fetch it again: {text}"
    return f"cannot be loaded and run, it may be damaged or badly converted: {text}"
