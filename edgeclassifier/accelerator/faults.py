"""What is known about an accelerator: how it does, why it fails, and what it takes and gives."""

from edgeclassifier.contract.status import AcceleratorFault


class Failure(Exception):  # noqa: N818 - named for what it reports
    """A fault, on its way to the status."""

    def __init__(self, fault: AcceleratorFault, reason: str) -> None:
        super().__init__(f"{fault}: {reason}")
        self.fault = fault
        self.reason = reason

    def on_its_own(self) -> "Failure":
        """Return the same without its traceback, which keeps a model and a frame in memory."""
        return Failure(self.fault, self.reason)
