"""``edgecnn watch``: what a camera sees, and what is in a video or comes into a folder."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from edgecnn.cli.classify import document
from edgecnn.cli.options import Number, only_json_lines, signature_option, threads_option
from edgecnn.errors import UsageError

if TYPE_CHECKING:
    from edgecnn.runtime.classify import Answer
    from edgecnn.runtime.picture import BadPictureError
    from edgecnn.watch.frames import Frame, Frames
    from edgecnn.watch.loop import Summary


@click.command(name="watch")
@click.argument("bundle", metavar="BUNDLE_OR_FILE", type=click.Path(path_type=Path))
@click.option(
    "--camera", metavar="DEVICE",
    help="A USB camera: N for /dev/videoN, or a path. One in /dev/v4l/by-id stays the same in any socket.",
)  # fmt: skip
@click.option("--picamera", is_flag=True, help="The Raspberry Pi's own camera, by the system's Picamera2.")
@click.option("--video", metavar="FILE", type=click.Path(path_type=Path), help="Every frame of a video file.")
@click.option("--folder", metavar="DIR", type=click.Path(path_type=Path), help="The images of a folder, and new ones.")
@click.option(
    "--fps", metavar="RATE", type=Number(0, 1000, min_open=True),
    help="Frames a second to answer at most; of a video, a second of its own. Default: as many as come.",
)  # fmt: skip
@click.option("--top", type=click.IntRange(1), default=3, show_default=True, help="Classes to name for each frame.")
@threads_option
@signature_option
def command(
    bundle: Path,
    camera: str | None,
    picamera: bool,
    video: Path | None,
    folder: Path | None,
    fps: float | None,
    top: int,
    threads: int,
    public_key: Path | None,
) -> None:
    """Tell what a camera sees: a JSON line on standard output for each frame.

    Give one of --camera, --picamera, --video and --folder. Of a camera the newest frame is answered and the others are
    skipped, so that nothing falls behind; one that is unplugged is waited for. A video is no camera: each of its
    frames is answered, or RATE for each second of it, as fast as the machine can, so that the answers depend on
    nothing else. In a folder each finished image is answered, the oldest first, and again when it is written anew;
    those whose name begins with a dot are left alone.

    A line has the frame's number, the time, how many were skipped before it, the top classes, and the milliseconds to
    decode, preprocess and run; of a video also the seconds from its start, of a folder the path. A file that cannot be
    read has a line with its error. It goes on until the video ends or SIGINT or SIGTERM comes, which is exit code 0,
    with a summary on standard error.

    --camera and --video need OpenCV: pip install 'edgecnn[camera]', or the system's python3-opencv in a venv with
    system site packages.
    """
    from edgecnn.runtime.bundle import find_artifact
    from edgecnn.runtime.classify import classify_picture
    from edgecnn.runtime.picture import TRANSPARENT
    from edgecnn.watch.loop import stop_on_signals, watch
    from edgecnn.watch.schedule import Schedule

    given = [camera is not None, picamera, video is not None, folder is not None]
    if sum(given) != 1:
        what = "none of them" if not any(given) else f"{sum(given)} of them"
        raise UsageError(f"watch needs one of --camera, --picamera, --video and --folder, and got {what}")
    found, artifact = find_artifact(bundle, public_key)
    write = only_json_lines()

    def answer(frame: Frame) -> Answer:
        return classify_picture(runner, found.labels, frame.picture, top, frame.decode)

    def tell(frame: Frame, skipped: int, answer: Answer) -> None:
        write({"frame": frame.number, "time": _iso(frame.time), "skipped": skipped, **frame.where} | document(answer))

    def refuse(error: BadPictureError) -> None:
        write({"image": str(error.path), "error": error.reason})

    with (
        found.open(artifact, threads) as runner,
        _source(camera, video, folder, fps, runner.input.channels in TRANSPARENT) as frames,
        stop_on_signals() as stopped,
    ):
        schedule = None if fps is None or video is not None else Schedule(fps)
        summary = watch(frames, schedule, answer, tell, refuse, stopped)
    _say(_text(summary))


def _source(
    camera: str | None, video: Path | None, folder: Path | None, fps: float | None, transparent: bool
) -> Frames:
    """The one that was asked for. Raises what it raises when it is not to be had."""
    if video is not None:
        from edgecnn.watch.video import Video

        return Video(video, fps, _say)
    if folder is not None:
        from edgecnn.watch.folder import Folder

        return Folder(folder, transparent, _say)
    from edgecnn.watch.newest import Newest

    if camera is not None:
        from edgecnn.watch.camera import OpenCVCamera

        return Newest(OpenCVCamera(camera), _say)
    from edgecnn.watch.picamera import PiCamera

    return Newest(PiCamera(), _say)


def _say(line: str) -> None:
    click.echo(f"edgecnn: {line}", err=True)


def _iso(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _text(summary: Summary) -> str:
    rate = summary.answered / summary.seconds if summary.seconds else 0.0
    frames = _count(summary.answered, "frame")
    text = f"{frames} in {summary.seconds:.1f} s, {rate:.1f} a second, {summary.skipped:,} skipped"
    return f"{text}, {_count(summary.bad, 'file')} could not be read" if summary.bad else text


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}" if number == 1 else f"{number:,} {what}s"
