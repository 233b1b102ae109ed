"""The model and its labels."""

import json
import signal
from dataclasses import replace

from support.doctor_cases.registry import case, fine, warns
from support.doctor_device import LATE, Device, lines
from support.tiny_models import LABELS, classifier

MODEL_RUNS = {"loaded": True}
KILLED = signal.SIGSEGV


@case("model.absent")
def a_model_that_is_not_installed(device: Device) -> None:
    device.settings["model.store"] = str(device.folder / "models")
    device.settings["model.name"] = "birds"


@case("model.absent")
def a_model_file_that_is_not_there(device: Device) -> None:
    device.settings["model.name"] = str(device.folder / "birds.tflite")


def install_model(device: Device, record: str | None, *, name: str = "birds") -> None:
    store = device.folder / "models"
    store.mkdir()
    (store / f"{name}.tflite").write_bytes(classifier("uint8", scale=1 / 256))
    if record is not None:
        (store / f"{name}.json").write_text(record)
    device.settings |= {"model.store": str(store), "model.name": name}


@case("model.changed")
def a_model_that_was_damaged(device: Device) -> None:
    install_model(device, json.dumps({"sha256": "0" * 64}))


@case("model.changed")
def a_model_of_the_catalogue_that_is_another(device: Device) -> None:
    install_model(device, None, name="inception_v3_299_quant")


@case("model.unreadable")
def a_model_whose_record_is_damaged(device: Device) -> None:
    install_model(device, "{")


@case("model.unrecorded", level=warns)
def a_model_that_was_put_there_by_hand(device: Device) -> None:
    install_model(device, None)


@case("model.unrecorded", level=warns)
def a_model_that_was_put_there_by_hand_with_its_labels(device: Device) -> None:
    install_model(device, None)
    (device.folder / "models/birds.labels.txt").write_text("\n".join(LABELS))


@fine
def a_model_file_of_one_s_own(device: Device) -> None:
    file = device.folder / "birds.tflite"
    file.write_bytes(classifier("uint8", scale=1 / 256))
    device.settings["model.name"] = str(file)


@case("model.bundled_changed")
def a_bundled_model_that_was_damaged(device: Device) -> None:
    from edgeclassifier.compose.model import BUNDLED_MODEL
    from edgeclassifier.models import catalogue
    from edgeclassifier.models.catalogue import CATALOGUE, Digest

    known = CATALOGUE[BUNDLED_MODEL]
    # The file is the package's and stays as it is: another one is expected.
    other = replace(known, digest=Digest("sha256", "0" * 64))
    device.monkeypatch.setattr(catalogue, "CATALOGUE", {**CATALOGUE, BUNDLED_MODEL: other})


@case("model.unusable", "doctor.not_tried")
def a_model_that_does_not_load(device: Device) -> None:
    device.trials["model"] = lines({"error": "birds.tflite: damaged"})


@case("model.crashes", "doctor.not_tried")
def a_model_that_crashes_the_runtime(device: Device) -> None:
    device.trials["model"] = lines(crash=KILLED)


@case("model.crashes", "doctor.not_tried")
def a_model_that_hangs(device: Device) -> None:
    device.trials["model"] = LATE


@case("model.crashes")
def a_model_that_crashes_with_a_picture(device: Device) -> None:
    device.trials["model"] = lines(MODEL_RUNS, {"labels": 12, "first_names": []}, crash=KILLED)


@case("labels.unfit")
def too_few_labels(device: Device) -> None:
    device.trials["model"] = lines(MODEL_RUNS, {"error": "labels.txt: 12 labels, but …"})


@case("model.pixels_unclear", "doctor.not_tried")
def pixels_that_nothing_is_known_of(device: Device) -> None:
    device.trials["model"] = lines(MODEL_RUNS, {"pixels_error": "unclear"}, {"error": "unclear"})


@case("model.pixels_guessed", level=warns)
def pixels_that_are_guessed(device: Device) -> None:
    device.trials["model"] = lines(
        MODEL_RUNS,
        {"pixels_doubt": "taken for 0 to 1"},
        {"labels": 12, "first_names": ["a"]},
        {"classified": True},
    )


@case("labels.class_unknown")
def a_class_that_the_model_does_not_have(device: Device) -> None:
    problem = 'state.exclude: the model has no class "web sit": did you mean "web site"?'
    device.trials["model"] = lines(
        MODEL_RUNS,
        {"labels": 1000, "first_names": ["tench"], "name_problems": [problem]},
        {"classified": True},
    )


@case("labels.doubtful", level=warns)
def labels_in_another_order(device: Device) -> None:
    device.trials["model"] = lines(
        MODEL_RUNS, {"labels": 1000, "first_names": 7}, {"classified": True}, {"doubt": "neither"}
    )
