"""`legato talk`: speak to a voice server with recordings or a microphone, and see, hear or keep the answers.

Owns the flags and what they mean; the conversation itself is in `talking/`.
"""

import base64
import os
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from legato.cli._loop import run
from legato.core.errors import SettingsError

if TYPE_CHECKING:
    from legato.cli.talking.conversation import Plan
    from legato.cli.talking.turns import TurnLog
    from legato.cli.talking.view import View
    from legato.client.session import RealtimeSession
    from legato.client.settings import ClientSettings
    from legato.core.audio import AudioFormat


@dataclass(frozen=True, kw_only=True)
class Wish:
    """What the command line asks for, validated."""

    url: str
    settings: "ClientSettings"
    plan: "Plan"
    microphone: bool
    loudspeaker: bool
    save: Path | None


def command(  # noqa: PLR0913 - one parameter per flag
    files: Annotated[
        list[Path] | None,
        typer.Argument(help="WAV files, said one after the other; none means the microphone."),
    ] = None,
    url: Annotated[str, typer.Option(help="The server.")] = "https://localhost:4433",
    key: Annotated[
        str | None, typer.Option(envvar="LEGATO_API_KEY", help="API key or client secret to show.")
    ] = None,
    microphone: Annotated[
        bool, typer.Option("--microphone", help="Speak yourself, after the FILES.")
    ] = False,
    play: Annotated[
        bool, typer.Option("--play", help="Play the answers to FILES on the loudspeaker.")
    ] = False,
    save: Annotated[
        Path | None, typer.Option(help="Write the answers, as they were heard, to a WAV file.")
    ] = None,
    barge_in_after: Annotated[
        tuple[float, Path] | None,
        typer.Option(
            help="Say a file when this many seconds of the last answer were played.", metavar="S FILE"
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object per line.")] = False,
    cert_hash: Annotated[
        list[str] | None, typer.Option(help="Trust only this SHA-256 certificate hash (hex or base64).")
    ] = None,
    input_format: Annotated[str | None, typer.Option(help="How speech is sent, such as opus/16000.")] = None,
    output_format: Annotated[
        str | None, typer.Option(help="How answers are sent, such as pcm16/24000.")
    ] = None,
    transport: Annotated[str, typer.Option(help="auto, webtransport or websocket (over TCP).")] = "auto",
    connect_timeout: Annotated[
        float, typer.Option(help="Seconds to wait for the server to take the call.", min=0.1)
    ] = 10.0,
    patience: Annotated[float, typer.Option(help="Seconds to wait for an answer.", min=0.1)] = 20.0,
) -> int:
    """Talk to a voice server.

    Files are said in real time. The answer to each is played to its end before the next is said.
    """
    settings = replace(
        client_settings(cert_hash or [], input_format, output_format),
        connect_timeout_s=connect_timeout,
        token=key or None,
        transport=transport,  # type: ignore[arg-type]  # judged there
    )
    if save is not None and (why := _unwritable(save)):
        raise SettingsError(f"--save {save} cannot be written: {why}")
    plan = _plan(files or [], barge_in_after, settings.input.rate, patience)
    own_voice = microphone or not plan.lines
    loud = play or own_voice
    wish = Wish(url=url, settings=settings, plan=plan, microphone=own_voice, loudspeaker=loud, save=save)
    return run(_talk(wish, _view(as_json)))


def _unwritable(path: Path) -> str | None:
    """Why a file cannot be written, as far as that shows before there is something to write."""
    if not path.parent.is_dir():
        return f"there is no directory {path.parent}"
    if path.is_dir():
        return "it is a directory"
    if not os.access(path if path.exists() else path.parent, os.W_OK):
        return "permission denied"
    return None


def _plan(files: list[Path], barge_in: tuple[float, Path] | None, rate: int, patience: float) -> "Plan":
    from legato.cli.talking.conversation import Line, Plan
    from legato.cli.talking.speech import load_recording

    lines = [Line(load_recording(path, rate)) for path in files]
    if barge_in is not None:
        seconds, path = barge_in
        if not lines:
            raise SettingsError("--barge-in-after needs a FILE whose answer it barges into")
        lines.append(Line(load_recording(path, rate), barge_in_s=seconds))
    return Plan(tuple(lines), patience)


def client_settings(
    hashes: list[str], input_format: str | None, output_format: str | None
) -> "ClientSettings":
    """The client's settings for these flags. Raises `SettingsError`."""
    from legato.client.settings import ClientSettings

    chosen: dict[str, Any] = {}
    if hashes:
        chosen["certificate_hashes"] = tuple(_hash(text) for text in hashes)
    if input_format is not None:
        chosen["input"] = _format("--input-format", input_format)
    if output_format is not None:
        chosen["output"] = (_format("--output-format", output_format),)
    return ClientSettings(**chosen)


async def _talk(wish: Wish, view: "View") -> int:
    from legato.cli.talking.saving import Recorder
    from legato.cli.talking.turns import TurnLog
    from legato.cli.talking.view import Closed, Connected
    from legato.client.devices import VirtualSpeaker
    from legato.client.session import connect
    from legato.client.soundcard import Loudspeaker

    recorder = Recorder(Loudspeaker() if wish.loudspeaker else VirtualSpeaker())
    session = connect(wish.url, wish.settings, recorder)
    log = TurnLog(view, wish.settings.output[0].rate)
    started_us = session.now_us()
    try:
        welcome = await session.ready()
        connect_ms = (session.now_us() - started_us) / 1000
        formats = (named(wish.settings.input), named(welcome.output))
        view.show(Connected(wish.url, welcome.session_id, *formats, connect_ms, session.transport))
        await _converse(session, log, wish)
    finally:
        await session.close()
        try:
            log.finish()
            saved = wish.save is not None and recorder.save(wish.save)
            if session.welcome is not None and session.ended is not None:
                ended = session.ended
                view.show(Closed(ended.by, ended.code, ended.reason, str(wish.save) if saved else None))
        finally:
            view.stop()
    return 0


async def _converse(session: "RealtimeSession", log: "TurnLog", wish: Wish) -> None:
    from legato.cli.talking.conversation import Conversation
    from legato.client.soundcard import Microphone

    conversation = Conversation(session, log)
    if wish.plan.lines:
        await conversation.hold(wish.plan)
    if wish.microphone:
        log.automatic = True
        log.stream_start_us = (
            session.now_us() - session.captured_samples * 1_000_000 // wish.settings.input.rate
        )
        microphone = Microphone(wish.settings.input.rate, session.send_audio)
        try:
            await conversation.listen()
        finally:
            microphone.stop()


def _view(as_json: bool) -> "View":
    from legato.cli.talking.view import JsonView, PlainView

    def write(text: str) -> None:
        sys.stdout.write(text)
        sys.stdout.flush()

    if as_json:
        return JsonView(write)
    if not sys.stdout.isatty():
        return PlainView(write)
    from rich.console import Console

    from legato.cli.talking.live_view import LiveView

    return LiveView(Console())


def named(audio_format: "AudioFormat") -> str:
    """A format as it is written on the command line: `opus/24000`."""
    return f"{audio_format.codec}/{audio_format.rate}"


def _format(flag: str, text: str) -> "AudioFormat":
    from legato.core.audio import RATES, AudioFormat

    known = {f"{codec}/{rate}": (codec, rate) for codec, rates in RATES.items() for rate in rates}
    if text not in known:
        raise SettingsError(f"{flag} {text!r} is no format: use one of {', '.join(known)}")
    codec, rate = known[text]
    return AudioFormat(codec, rate)  # type: ignore[arg-type]


def _hash(text: str) -> bytes:
    """32 bytes written as hex, with or without colons, or as base64."""
    for decode in (_from_hex, _from_base64):
        try:
            digest = decode(text)
        except ValueError:
            continue
        if len(digest) == 32:
            return digest
    raise SettingsError(f"--cert-hash {text!r} is no SHA-256 hash: 64 hexadecimal digits, or base64")


def _from_hex(text: str) -> bytes:
    return bytes.fromhex(text.replace(":", ""))


def _from_base64(text: str) -> bytes:
    return base64.b64decode(text, validate=True)
