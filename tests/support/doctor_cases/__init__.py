"""What happens to a healthy device, and which problems `edgeclassifier doctor` is to find then."""

from support.doctor_cases import (
    accelerator,
    broker,
    camera,
    hardware,
    model,
    service,
    software,
    web,
)
from support.doctor_cases.registry import CASES

__all__ = [
    "CASES",
    "accelerator",
    "broker",
    "camera",
    "hardware",
    "model",
    "service",
    "software",
    "web",
]
