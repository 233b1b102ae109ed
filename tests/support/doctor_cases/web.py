"""The page and the metrics, and what the service's user may not read."""

from support.doctor_cases.registry import case, fine, warns
from support.doctor_device import Device

SECRET = "/etc/edgeclassifier/web-password"


def show_page(device: Device, password: str | None, *, mode: int = 0o600) -> None:
    device.settings |= {"web.enabled": True, "web.password_file": SECRET}
    if password is not None:
        device.write(SECRET, password, mode=mode)


@fine
def a_page_for_this_machine_alone(device: Device) -> None:
    device.settings["web.enabled"] = True


@fine
def a_page_with_a_password(device: Device) -> None:
    show_page(device, "open sesame\n")


@case("web.password")
def a_page_whose_password_is_not_there(device: Device) -> None:
    show_page(device, None)


@case("web.password")
def a_page_whose_password_everybody_may_read(device: Device) -> None:
    show_page(device, "open sesame\n", mode=0o644)


@case("service.closed_secret", level=warns)
def a_page_whose_password_is_not_the_service_s(device: Device) -> None:
    device.install()
    show_page(device, "open sesame\n")


@case("web.port")
def a_page_at_a_port_of_root_s(device: Device) -> None:
    device.install()
    device.settings |= {"web.enabled": True, "web.port": 80}


@fine
def a_page_at_a_low_port_that_the_system_opens(device: Device) -> None:
    device.install()
    device.settings |= {"web.enabled": True, "web.port": 80}
    device.write("/proc/sys/net/ipv4/ip_unprivileged_port_start", "80\n")


@case("web.no_package")
def a_page_without_its_server(device: Device) -> None:
    device.settings["web.enabled"] = True
    device.missing = {"uvicorn.server"}


@case("web.no_package")
def a_page_whose_server_is_too_old(device: Device) -> None:
    device.settings["web.enabled"] = True
    device.missing = {"edgeclassifier.web.server"}


@case("web.no_package")
def a_page_without_its_metrics(device: Device) -> None:
    device.settings["web.enabled"] = True
    device.missing = {"prometheus_client.core"}


@case("web.no_package", "web.password")
def a_page_without_its_server_or_its_password(device: Device) -> None:
    show_page(device, None)
    device.missing = {"starlette.applications", "uvicorn.server"}


@case("metrics.no_package", "metrics.name")
def metrics_without_their_package_or_their_name(device: Device) -> None:
    write_metrics(device, "/var/lib/metrics/edgeclassifier.txt")
    device.missing = {"prometheus_client.core"}


@case("metrics.no_package")
def metrics_without_their_package(device: Device) -> None:
    write_metrics(device, "/var/lib/metrics/edgeclassifier.prom")
    device.missing = {"prometheus_client.core"}


def write_metrics(device: Device, file: str, *, mode: int = 0o777) -> None:
    device.settings["metrics.textfile"] = file
    device.write("/var/lib/metrics/x", "")
    (device.root / "var/lib/metrics").chmod(mode)


@fine
def metrics_that_the_service_may_write(device: Device) -> None:
    device.install()
    write_metrics(device, "/var/lib/metrics/edgeclassifier.prom")


@case("metrics.folder", level=warns)
def metrics_that_the_service_may_not_write(device: Device) -> None:
    device.install()
    write_metrics(device, "/var/lib/metrics/edgeclassifier.prom", mode=0o755)


@case("metrics.folder", level=warns)
def metrics_without_a_folder(device: Device) -> None:
    write_metrics(device, "/var/lib/other/edgeclassifier.prom")


@case("metrics.name")
def metrics_that_nobody_reads(device: Device) -> None:
    write_metrics(device, "/var/lib/metrics/edgeclassifier.txt")
