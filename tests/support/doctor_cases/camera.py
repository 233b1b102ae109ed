"""The camera."""

import signal

from edgeclassifier.host.children import Outcome
from support.doctor_cases.registry import case, fine
from support.doctor_device import LATE, Device, lines

APT = "/usr/lib/python3/dist-packages"
KILLED = signal.SIGSEGV
BOOT_FILE = "/boot/firmware/config.txt"


@case("camera.no_picamera2")
def no_picamera2(device: Device) -> None:
    device.trials["camera"] = lines({"missing": "No module named 'picamera2'"})


@case("camera.no_picamera2")
def no_picamera2_but_a_camera(device: Device) -> None:
    device.trials["camera"] = lines({"missing": "No module named 'libcamera'"})
    listed = "Available cameras\n-----------------\n0 : imx708 [4608x2592] (/base/soc/i2c0mux)\n"
    device.commands["rpicam-hello"] = Outcome(end="answered", output=listed)


@case("camera.hidden_picamera2")
def an_environment_that_does_not_see_picamera2(device: Device) -> None:
    device.trials["camera"] = lines({"missing": "No module named 'picamera2'"})
    device.write(f"{APT}/picamera2/__init__.py", "")


@case("camera.numpy")
def picamera2_for_another_numpy(device: Device) -> None:
    device.trials["camera"] = lines({"numpy_clash": "numpy.dtype size changed"})


@case("camera.none")
def a_loose_cable(device: Device) -> None:
    device.trials["camera"] = lines({"cameras": []}, {"error": "libcamera finds no camera"})


@case("camera.legacy")
def the_old_camera_system(device: Device) -> None:
    a_loose_cable(device)
    device.write(BOOT_FILE, "camera_auto_detect=1\nstart_x=1\n")


@case("camera.detection_off")
def no_search_for_cameras(device: Device) -> None:
    a_loose_cable(device)
    device.write(BOOT_FILE, "camera_auto_detect=0\n")


@case("camera.none")
def a_sensor_that_is_named_and_not_there(device: Device) -> None:
    a_loose_cable(device)
    device.write(BOOT_FILE, "camera_auto_detect=0\ndtoverlay=imx477\n")


@case("camera.no_such")
def a_second_camera_that_is_not_there(device: Device) -> None:
    error = "cam0: no camera 1, there is 0: imx708"
    device.trials["camera"] = lines({"cameras": ["imx708"]}, {"error": error})


@case("camera.permission")
def a_user_outside_the_group_video(device: Device) -> None:
    device.groups = [device.gid + 1000]
    device.write("/dev/dma_heap/system", "", mode=0o666)


@case("camera.buffers")
def frames_have_no_memory(device: Device) -> None:
    device.write("/dev/dma_heap/linux,cma", "", mode=0o600)


@case("camera.permission")
def a_service_user_outside_the_group_video(device: Device) -> None:
    device.install()
    device.write("/etc/group", f"root:x:0:\nvideo:x:{device.gid}:pi\n")
    device.write("/dev/dma_heap/system", "", mode=0o666)


@case("camera.busy")
def another_program_has_the_camera(device: Device) -> None:
    error = "cam0: camera 0 cannot be used: Camera in use (another program uses the camera)"
    device.trials["camera"] = lines({"cameras": ["imx708"]}, {"error": error})
    device.start(700, "/usr/bin/rpicam-vid", "-t", "0", holds=["/dev/media0", "/dev/null"])


@case("camera.busy")
def another_user_s_program_has_the_camera(device: Device) -> None:
    device.trials["camera"] = lines({"cameras": ["imx708"]}, {"error": "Device or resource busy"})


@fine
def our_daemon_has_the_camera(device: Device) -> None:
    device.install(ActiveState="active")
    command = "/opt/edgeclassifier/current/bin/edgeclassifier"
    device.start(812, "/opt/x/bin/python", command, "run", holds=["/dev/video0"])
    device.trials["camera"] = lines({"error": "must not be tried: the daemon has it"})


@fine
def our_daemon_runs_as_another_user(device: Device) -> None:
    device.start(812, "python3", "-m", "edgeclassifier", "run")
    device.trials["camera"] = lines({"error": "must not be tried: the daemon may have it"})


@case("camera.silent")
def a_camera_without_frames(device: Device) -> None:
    device.trials["camera"] = lines(
        {"cameras": ["x"]}, {"opened": True}, {"error": "no frame for 10 s"}
    )


@case("camera.silent")
def a_camera_that_hangs(device: Device) -> None:
    device.trials["camera"] = LATE


@case("camera.crashes")
def a_camera_that_crashes_libcamera(device: Device) -> None:
    device.trials["camera"] = lines({"cameras": ["x"]}, crash=KILLED, errors="FATAL assertion\n")


@case("camera.fails")
def a_camera_that_fails_otherwise(device: Device) -> None:
    device.trials["camera"] = lines({"error": "camera.example: user name or password not accepted"})


@case("camera.secrets")
def a_stream_whose_password_everybody_may_read(device: Device) -> None:
    stream(device, "password file /x can be read by others", exit_code=78)


def stream(device: Device, error: str, *, exit_code: int = 1) -> None:
    device.settings |= {"camera.source": "stream", "camera.stream.url": "/dev/video0"}
    device.trials["camera"] = lines({"error": error, "exit_code": exit_code})


@case("camera.no_such")
def a_usb_camera_that_is_not_plugged_in(device: Device) -> None:
    stream(device, "/dev/video7: no such file or device")
    device.settings["camera.stream.url"] = "/dev/video7"


@case("camera.permission")
def a_usb_camera_of_another_group(device: Device) -> None:
    stream(device, "must not be tried")
    device.write("/dev/video0", "", mode=0o600)


@case("camera.permission")
def a_usb_camera_that_the_driver_denies(device: Device) -> None:
    stream(device, "/dev/video0: permission denied")


@case("camera.no_pyav")
def a_stream_without_pyav(device: Device) -> None:
    device.settings |= {"camera.source": "stream", "camera.stream.url": "rtsp://camera/"}
    device.trials["camera"] = lines({"no_package": "No module named 'av'"})


def network(device: Device, error: str) -> None:
    device.settings |= {
        "camera.source": "stream",
        "camera.stream.url": "rtsp://porch.example:8554/live?token=hunter2",
        "camera.stream.username": "me",
    }
    device.trials["camera"] = lines({"error": f"rtsp://porch.example:8554/live?token=***: {error}"})


@case("camera.unreachable")
def a_network_camera_that_is_off(device: Device) -> None:
    network(device, "cannot be read: check the host name and that it sends video (Input/output)")


@case("camera.unreachable")
def a_network_camera_at_another_port(device: Device) -> None:
    network(device, "connection refused: is the camera on and its port right?")


@case("camera.stream_silent")
def a_network_camera_that_does_not_answer(device: Device) -> None:
    network(device, "does not answer within 20 s")
    device.settings["camera.stream.url"] = "rtsp://porch.example:8401/?password=hunter2"
    error = "rtsp://porch.example:8401/?password=***: does not answer within 20 s"
    device.trials["camera"] = lines({"error": error})


@case("camera.stream_silent")
def a_network_camera_that_sends_no_picture(device: Device) -> None:
    network(device, "no frame for 10 s")


@case("camera.stream_silent")
def a_network_camera_that_hangs(device: Device) -> None:
    network(device, "")
    device.trials["camera"] = LATE


@case("camera.login")
def a_network_camera_that_refuses_the_password(device: Device) -> None:
    network(device, "user name or password not accepted (HTTP 401)")


@case("camera.login")
def a_network_camera_that_lets_this_user_see_nothing(device: Device) -> None:
    network(device, "access denied (HTTP 403)")


@case("camera.wrong_path")
def a_network_camera_without_this_page(device: Device) -> None:
    network(device, "no such page on this server (HTTP 404)")


@case("camera.wrong_path")
def the_page_of_a_network_camera_in_place_of_its_stream(device: Device) -> None:
    network(device, "not a video that FFmpeg can read")


@case("camera.stream_crashes")
def a_network_camera_that_crashes_ffmpeg(device: Device) -> None:
    network(device, "")
    device.trials["camera"] = lines({}, crash=KILLED, errors="FATAL assertion\n")


@case("camera.device_silent")
def a_usb_camera_without_frames(device: Device) -> None:
    stream(device, "/dev/video0: no frame for 10.0 s")


@case("camera.no_video")
def a_video_file_that_is_not_there(device: Device) -> None:
    stream(device, "/srv/clip.mp4: no such file or device")
    device.settings["camera.stream.url"] = "/srv/clip.mp4"


@case("camera.no_video")
def a_video_file_that_is_closed(device: Device) -> None:
    stream(device, "/srv/clip.mp4: permission denied (who runs this must be able to read it)")
    device.settings["camera.stream.url"] = "file:///srv/clip.mp4"


@case("camera.no_pictures")
def a_folder_of_pictures_that_is_not_there(device: Device) -> None:
    device.settings |= {"camera.source": "replay", "camera.replay.path": "/srv/pictures"}
    device.trials["camera"] = lines({"error": "cam0: /srv/pictures: no such file or folder"})


@case("camera.settings")
def a_control_that_the_camera_lacks(device: Device) -> None:
    error = "cam0: camera.picamera2.controls.AwbMod: did you mean AwbMode? imx708 offers AwbMode"
    device.trials["camera"] = lines({"cameras": ["imx708"]}, {"error": error, "exit_code": 78})
