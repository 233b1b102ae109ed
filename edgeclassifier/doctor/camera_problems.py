"""What can be wrong with a camera."""

from edgeclassifier.doctor.findings import REINSTALL, Level, Problem
from edgeclassifier.errors import EXIT_CONFIG

NO_PICAMERA2 = Problem(
    id="camera.no_picamera2",
    level=Level.FAILURE,
    title="picamera2 is not installed",
    meaning='`camera.source` is "picamera2", as it is by default. It comes from Raspberry Pi OS.',
    remedy="`sudo apt install python3-picamera2`; for a USB or network camera set `camera.source` "
    "to `stream`, for files to `replay`",
)
HIDDEN_PICAMERA2 = Problem(
    id="camera.hidden_picamera2",
    level=Level.FAILURE,
    title="The environment does not see picamera2",
    meaning="It is installed for the system's Python, but the daemon runs in a virtual "
    "environment that does not look there, or in another Python.",
    remedy="`/usr/bin/python3 -m venv --upgrade --system-site-packages {prefix}`",
    remedy_of_release="`sudo deploy/install.sh --reinstall`, in a clone and without "
    "`--no-picamera2`",
)
NUMPY = Problem(
    id="camera.numpy",
    level=Level.FAILURE,
    title="picamera2 was built for another NumPy",
    meaning="The environment has a separate NumPy in front of the system's.",
    remedy="`{python} -m pip uninstall --yes numpy`, so that the system's is used",
    remedy_of_release=REINSTALL,
)
LEGACY = Problem(
    id="camera.legacy",
    level=Level.FAILURE,
    title="The old camera system is switched on",
    meaning="`start_x=1` hides the camera from libcamera, which picamera2 needs.",
    remedy="`sudo sed -i 's/^ *start_x *= *1/#&/' {file}` and `sudo reboot`",
)
NOT_DETECTED = Problem(
    id="camera.detection_off",
    level=Level.FAILURE,
    title="The search for cameras is switched off",
    meaning="`camera_auto_detect=0` without a `dtoverlay` for the sensor: no camera can be found.",
    remedy="`sudo sed -i 's/^ *camera_auto_detect *= *0/camera_auto_detect=1/' {file}` and `sudo "
    "reboot`",
)
NONE = Problem(
    id="camera.none",
    level=Level.FAILURE,
    title="No camera is found",
    meaning="The cable is loose or the wrong way round, or the camera is broken or not supported.",
    remedy="switch the device off, press the cable in at both ends (contacts towards the "
    "contacts), switch it on; then `rpicam-hello --list-cameras`. For a third-party sensor add its "
    "`dtoverlay=` to /boot/firmware/config.txt",
)
NO_SUCH = Problem(
    id="camera.no_such",
    level=Level.FAILURE,
    title="There is no camera of this number or name",
    meaning="`camera.picamera2.index` or `camera.stream.url` names one that is not there.",
    remedy="`rpicam-hello --list-cameras` or, for `/dev/video…`, `v4l2-ctl --list-devices` (`sudo "
    "apt install v4l-utils`) shows what is there",
)
PERMISSION = Problem(
    id="camera.permission",
    level=Level.FAILURE,
    title="The camera is not open to the daemon's user",
    meaning="Devices belong to a group, of which the user that runs the daemon is no member.",
    remedy="`sudo usermod -aG {group} {user}`, then log out and in again, or `sudo systemctl "
    "restart edgeclassifier`",
)
NO_BUFFERS = Problem(
    id="camera.buffers",
    level=Level.FAILURE,
    title="The memory for frames is not open to the daemon's user",
    meaning="libcamera takes it from /dev/dma_heap. Raspberry Pi OS opens that to the group "
    "video, Debian does not.",
    remedy='`echo \'SUBSYSTEM=="dma_heap", GROUP="video", MODE="0660"\' | sudo tee '
    "/etc/udev/rules.d/71-dma-heap.rules`, `sudo udevadm control --reload`, `sudo udevadm "
    "trigger`, `sudo usermod -aG video {user}`",
)
BUSY = Problem(
    id="camera.busy",
    level=Level.FAILURE,
    title="Another program uses the camera",
    meaning="Only one can at a time.",
    remedy="`sudo fuser -v /dev/video* /dev/media*` shows it; end it with `sudo kill {pids}`, or "
    "`sudo systemctl stop NAME` if it is a service",
)
NO_PYAV = Problem(
    id="camera.no_pyav",
    level=Level.FAILURE,
    exit_code=EXIT_CONFIG,
    title="PyAV is not installed, or too old",
    meaning='`camera.source` is "stream", which reads with FFmpeg. The daemon ends with '
    "exit code 78.",
    remedy="`{python} -m pip install 'av>=14'`; in an environment on the system's packages `sudo "
    "apt install python3-av`",
    remedy_of_release="`sudo deploy/install.sh --reinstall --no-picamera2`, in a clone; it brings "
    "its own",
)
SILENT = Problem(
    id="camera.silent",
    level=Level.FAILURE,
    title="The camera gives no picture",
    meaning="It is found and opened, but no frame comes: a loose cable, too little power, a "
    "driver that hangs.",
    remedy="`sudo dmesg | grep -iE 'camera|unicam|rp1-cfe|uvc|imx|ov'`, check cable and power "
    "supply, then `sudo reboot`",
)
DEVICE_SILENT = Problem(
    id="camera.device_silent",
    level=Level.FAILURE,
    title="The USB camera gives no picture",
    meaning="It is found and opened, but no frame comes: a loose plug, too little power, too much "
    "for one USB port, a driver that hangs.",
    remedy="`v4l2-ctl -d {url} --stream-mmap --stream-count=1 --stream-to=/dev/null` tries it "
    "without the daemon; unplug it and plug it in again, at a port of its own or a powered hub; "
    "`sudo dmesg | grep -iE 'uvc|usb'` has the kernel's words; a smaller picture with "
    "`video_size` in `[camera.stream.options]`",
)
UNREACHABLE = Problem(
    id="camera.unreachable",
    level=Level.FAILURE,
    title="The network camera cannot be reached",
    meaning="No connection comes about: the camera is off or on another network, its address has "
    "changed, or the port is another one.",
    remedy="`ping -c 3 {host}`; if it answers, compare port and path of `camera.stream.url` with "
    "the camera's own settings; if not, look its address up in the router, and give it a fixed one",
)
STREAM_SILENT = Problem(
    id="camera.stream_silent",
    level=Level.FAILURE,
    title="The network camera sends no picture",
    meaning="It is there, but no frame comes: the path is wrong, too many others watch it, or the "
    "network loses what it sends.",
    remedy="`ping -c 3 {host}` shows whether it is reachable, `ffprobe {url}` (`sudo apt install "
    "ffmpeg`; with `USER:PASSWORD@` before the host, if it wants them) whether it sends; compare "
    "the path with the camera's manual, end other viewers of it, restart the camera",
)
LOGIN = Problem(
    id="camera.login",
    level=Level.FAILURE,
    title="The network camera does not accept the user or password",
    meaning="They are wrong, absent, or this user may not see the stream. Some cameras have a user "
    "for streams besides that of their page, and lock out after several wrong passwords.",
    remedy="correct `camera.stream.username` and the file that `camera.stream.password_file` "
    "names; try them in a browser or with `ffprobe {url}`, with `USER:PASSWORD@` before the host",
)
WRONG_PATH = Problem(
    id="camera.wrong_path",
    level=Level.FAILURE,
    title="There is no stream at this address",
    meaning="The camera answers, but what it has there is no video: mostly its page instead of its "
    "stream.",
    remedy="find the address of the stream in the camera's manual or its settings (RTSP, ONVIF, "
    "MJPEG), set it as `camera.stream.url`; `ffprobe {url}` shows what is there",
)
NO_VIDEO = Problem(
    id="camera.no_video",
    level=Level.FAILURE,
    title="The video file cannot be read",
    meaning="It is not where `camera.stream.url` says, is closed to the daemon's user, or is no "
    "video. A relative path counts from the folder of the configuration file.",
    remedy="`ls -l {url}` and `ffprobe {url}` (`sudo apt install ffmpeg`); for a file that is "
    "closed: `sudo chmod a+r {url}`, and its folders open to the user",
)
NO_PICTURES = Problem(
    id="camera.no_pictures",
    level=Level.FAILURE,
    title="There are no pictures to replay",
    meaning="`camera.replay.path` names a file, a folder or a glob without a picture that can be "
    "read. A relative path counts from the folder of the configuration file.",
    remedy="`ls -l {path}`; correct `camera.replay.path`, or put pictures there that the "
    "daemon's user may read",
)
CRASHES = Problem(
    id="camera.crashes",
    level=Level.FAILURE,
    title="The camera's driver ends its process",
    meaning="libcamera crashes with this camera: versions that do not belong together, mostly.",
    remedy="`sudo apt update` and `sudo apt full-upgrade`, then `sudo reboot`",
)
STREAM_CRASHES = Problem(
    id="camera.stream_crashes",
    level=Level.FAILURE,
    title="FFmpeg ends its process",
    meaning="What reads the stream crashes with it: a fault of this version of FFmpeg, mostly with "
    "data that is damaged.",
    remedy="`{python} -m pip install --upgrade av`; another stream of the camera, such as its "
    "substream, or another codec in its settings",
    remedy_of_release="`sudo deploy/install.sh --reinstall`, in a newer clone; another stream of "
    "the camera, such as its substream, or another codec in its settings",
)
SETTINGS = Problem(
    id="camera.settings",
    level=Level.FAILURE,
    exit_code=EXIT_CONFIG,
    title="The camera does not have what is set",
    meaning="A key of `[camera.picamera2]` or `[camera.picamera2.controls]` names a control that "
    "this camera lacks, or a value that it does not take. The daemon ends with exit code 78.",
    remedy="correct the key that the finding names; it has what the camera offers",
)
SECRETS = Problem(
    id="camera.secrets",
    level=Level.FAILURE,
    exit_code=EXIT_CONFIG,
    title="The user name or password of the stream cannot be used",
    meaning="The file that `camera.stream.password_file` names is absent, empty or open to others, "
    "or the URL takes no user name. The daemon ends with exit code 78.",
    remedy="correct what the finding names; for a password: `sudo chmod 600 {file}`",
)
FAILS = Problem(
    id="camera.fails",
    level=Level.FAILURE,
    title="The camera cannot be used",
    meaning="The finding has the reason in the words of the driver, the network or the file.",
    remedy="fix what the finding names; `edgeclassifier check` tries it again",
)
