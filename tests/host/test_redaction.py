"""What of a camera's URL is shown: no password in any form that a maker has thought of."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeclassifier.host.redaction import redact

FORMS = {
    "Hikvision": "rtsp://{user}:{password}@{host}:554/Streaming/Channels/101",
    "Dahua, Amcrest": "rtsp://{user}:{password}@{host}/cam/realmonitor?channel=1&subtype=0",
    "Axis": "http://{user}:{password}@{host}/axis-cgi/mjpg/video.cgi?resolution=640x480",
    "XMEye": "rtsp://{host}:554/user={user}&password={password}&channel=1&stream=0.sdp",
    "XMEye, older": "rtsp://{host}/user={user}_password={password}_channel=1_stream=0.sdp?real_stream",
    "Foscam": "http://{host}:88/cgi-bin/CGIStream.cgi?cmd=GetMJStream&usr={user}&pwd={password}",
    "Foscam, older": "http://{host}/videostream.cgi?loginuse={user}&loginpas={password}",
    "Reolink": "http://{host}/cgi-bin/api.cgi?cmd=Snap&channel=0&user={user}&password={password}",
    "Reolink, FLV": "http://{host}/flv?port=1935&app=bcs&stream=channel0.bcs&user={user}&password={password}",
    "Vivotek": "http://{host}/cgi-bin/viewer/video.jpg?user={user};pwd={password}",
    "Ubiquiti": "rtsps://{host}:7441/{password}?enableSrtp",
    "Ubiquiti, older": "rtsp://{host}:7447/{password}",
    "Blue Iris": "http://{host}:81/mjpg/front/video.mjpg?session={password}",
    "TP-Link": "rtsp://{user}:{password}@{host}:554/stream1",
    "Wyze": "rtsp://{user}:{password}@{host}/live",
    "Eufy": "rtsp://{host}/live0#{password}",
    "token in the path": "http://{host}/t/{password}/video.mjpg",
    "user and password in the path": "rtsp://{host}:554/11/{user}/{password}",
    "SRT": "srt://{host}:9000?passphrase={password}&mode=caller",
    "matrix": "http://{host}/video;user={user};pwd={password}",
    "no scheme": "{user}:{password}@{host}/live",
    "one slash": "rtsp:/{user}:{password}@{host}/live",
    "behind another protocol": "cache:http://{user}:{password}@{host}/live",
}
HOSTS = st.sampled_from(["192.168.1.20", "[fe80::1]", "cam.example.org"])
# A secret is long enough to be told from what is there anyway.
SECRETS = st.text(
    st.characters(codec="utf-8", exclude_categories=("Cs", "Cc")), min_size=1, max_size=20
).map(lambda text: f"hun{text}ter2")
RAW = st.sampled_from(["hunter2", "hun/ter2", "hun@ter2", "hun?ter#2", "hun:ter/12@2", "hun ter2"])


def check(maker: str, host: str, secret: str) -> None:
    url = FORMS[maker].format(host=host, user="adminuser", password=secret)
    shown = redact(url)
    for piece in ("adminuser", "hun", "ter2", "ter"):
        assert piece not in shown, url
    known = ("://", host, "***")
    for piece in known:
        shown = shown.replace(piece, " ", 1)
    assert set(shown.split()) <= {"rtsp", "rtsps", "http", "srt"} | {
        f":{port}/" for port in (554, 88, 7441, 7447, 81, 9000)
    } | {":9000", "/"}, url


@pytest.mark.parametrize("maker", FORMS)
@given(host=HOSTS, secret=SECRETS | RAW)
def test_nothing_of_a_password_is_shown(maker: str, host: str, secret: str) -> None:
    check(maker, host, secret)


@pytest.mark.parametrize("maker", FORMS)
def test_the_host_is_shown_if_it_is_sure_which_it_is(maker: str) -> None:
    url = FORMS[maker].format(host="cam.example.org", user="adminuser", password="hunter2")
    if "://" in url:
        assert "cam.example.org" in redact(url)


@given(st.text() | st.from_regex(r"[a-z]{1,5}:/{0,3}[^ ]*", fullmatch=True))
def test_any_text_can_be_asked_about_twice(text: str) -> None:
    assert redact(redact(text)) == redact(text)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("rtsp://u:p@host:554/a", "rtsp://host:554/***"),
        ("rtsp://host", "rtsp://host"),
        ("rtsp://host/", "rtsp://host"),
        ("rtsp://u:p/a#s?s@host/a", "rtsp://***"),
        ("rtsp://u:12/34@host/a", "rtsp://***"),
        ("rtsp://10.0.0.5:554/user=a&password=b@c", "rtsp://10.0.0.5:554/***"),
        ("udp://@239.0.0.1:1234", "udp://239.0.0.1:1234"),
        ("/dev/video0", "/dev/video0"),
        ("clips/a@b.mp4", "clips/a@b.mp4"),
        ("file:///clips/a.mp4", "file:///clips/a.mp4"),
        ("a:b@http://host", "***"),
    ],
)
def test_what_is_shown(url: str, shown: str) -> None:
    assert redact(url) == shown
