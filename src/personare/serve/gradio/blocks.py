"""A page in Gradio that calls a service: a text or a sound, a face, a style -> a clip.

import personare
from personare.serve.gradio.blocks import blocks
blocks(personare.Client("http://127.0.0.1:8765")).launch()
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import gradio as gr

from personare.client import Client
from personare.errors import PersonareError
from personare.serve.gradio.examples import EXAMPLES, LANGUAGES

PHOTO, MESH = "your photo, or the example", "the 3-D head"
_PICTURES = ["image", "video"]
_Result = TypeVar("_Result")


def blocks(client: Client, example: Path | None = None) -> gr.Blocks:
    """The page. example: the portrait of who gives none; None: the bundled one."""
    example = example or Path(__file__).parents[2] / "assets" / "portrait.jpg"
    with gr.Blocks(title="personare", analytics_enabled=False, delete_cache=(3600, 86400)) as page:
        gr.Markdown("# personare\nA portrait and a voice become a talking person.")
        with gr.Row():
            with gr.Column():
                text = gr.Textbox(label="Text", lines=3, max_length=5000, value=EXAMPLES[0][0])
                language = gr.Radio(list(LANGUAGES), value="English", label="Language of the text")
                gr.Examples(EXAMPLES, [text, language], label="Examples", cache_examples=False)
                sound = gr.Audio(label="or a voice", type="filepath", sources=["upload", "microphone"])
                # of any value: what there is, the service says when the page is opened
                who = gr.Dropdown([PHOTO, MESH], value=PHOTO, label="Appearance", allow_custom_value=True)
                photo = gr.File(label="Photo or template video", file_types=_PICTURES, height=120)
                advice = gr.Markdown()
                style = gr.Dropdown([], label="Style", allow_custom_value=True)
            with gr.Column():
                button = gr.Button("Make the clip", variant="primary")
                clip = gr.Video(label="Clip", interactive=False, autoplay=True)
                report = gr.Markdown()
                motion = gr.File(label="Motion")

        def check(photo: str | None) -> str:
            return "" if photo is None else _advice(client, Path(photo))

        def choose(who: str) -> Any:
            styles = _styles(client, _appearances(client).get(who) or "puppet")
            return gr.Dropdown(styles, value=next(iter(styles), None), visible=bool(styles))

        def look() -> tuple[Any, Any]:
            return gr.Dropdown(list(_appearances(client)), value=PHOTO), choose(PHOTO)

        def make(
            text: str,
            language: str,
            sound: str | None,
            who: str,
            photo: str | None,
            style: str | None,
            progress: gr.Progress = gr.Progress(),  # noqa: B008  # it is how Gradio hands one over
        ) -> tuple[str, str | None, str]:
            wanted = _wanted(client, who, style, Path(photo) if photo else example)
            wanted |= {"speech": Path(sound)} if sound else _spoken(text, language)
            return _made(client, wanted, _motion(client, who), progress)

        # of these other programs need to know nothing: the service has an API of its own
        photo.change(check, photo, advice, api_visibility="private")
        who.change(choose, who, style, api_visibility="private")
        page.load(look, None, [who, style], api_visibility="private")
        inputs = [text, language, sound, who, photo, style]
        button.click(make, inputs, [clip, motion, report], api_name="make", concurrency_limit=4)
    return page


def _appearances(client: Client) -> dict[str, str | None]:
    """What can be seen -> the engine that an avatar is for."""
    found: dict[str, str | None] = {PHOTO: "puppet", MESH: "puppet"}
    avatars = told(client.avatars)
    return found | {one["name"]: one["engine"] for one in avatars if one["status"] == "ready"}


def _styles(client: Client, engine: str) -> list[str]:
    """Those of an engine: puppet's emotions, or what others bring."""
    option = _style_option(client, engine)
    if option is None:
        return []
    name, schema = option
    named = [one["name"] for one in told(client.styles) if one["engine"] == engine]
    return list(schema.get("enum") or named) if name == "emotion" else named


def _engine(client: Client, name: str) -> dict[str, Any]:
    return next((one for one in told(client.engines) if one["engine"] == name), {})


def _motion(client: Client, who: str) -> dict[str, str]:
    """How an engine's motion is asked for: as curves where they are ARKit's, else as its own;
    not at all, where it has none.
    """
    moves = _engine(client, _appearances(client).get(who) or "puppet").get("moves")
    if moves is None:
        return {}
    return {"curves": "json"} if moves.startswith("arkit") else {"motion_out": "npz"}


def _style_option(client: Client, engine: str) -> tuple[str, Mapping[str, Any]] | None:
    """The option of an engine that a style is."""
    options: dict[str, Any] = _engine(client, engine).get("options", {})
    return next(((name, options[name]) for name in ("style", "emotion") if name in options), None)


def _wanted(client: Client, who: str, style: str | None, portrait: Path) -> dict[str, Any]:
    """Who, and in which style, as fields of a job."""
    engine = _appearances(client).get(who)
    option = _style_option(client, engine or "puppet")
    options: dict[str, Any] = {option[0]: style} if option and style else {}
    if who == MESH:
        return {"options": {**options, "look": "mesh"}}
    return {"options": options, **({"portrait": portrait} if who == PHOTO else {"avatar": who})}


def _spoken(text: str, language: str) -> dict[str, Any]:
    if not text.strip():
        raise gr.Error("Write something to be said, or give a voice.", print_exception=False)
    return {"text": text, "voice": LANGUAGES[language]}


def _made(
    client: Client,
    wanted: Mapping[str, Any],
    motion: Mapping[str, str],
    progress: gr.Progress,
) -> tuple[str, str | None, str]:
    """The clip, its motion, and what is to be said about it."""
    job = told(lambda: client.start(**wanted, **motion))
    try:
        done = told(lambda: client.wait(job["id"], lambda now: _tell(progress, now)))
        folder = Path(tempfile.mkdtemp(dir=os.environ.get("GRADIO_TEMP_DIR"), prefix="clip-"))
        with _shown():
            clip = client.download(job["id"], folder / "clip.mp4")
            for asked, suffix in motion.items():
                variant = asked.removesuffix("_out")
                moved = client.download(job["id"], folder / f"{variant}.{suffix}", variant)
    finally:
        told(lambda: client.delete(job["id"]))
    return str(clip), str(moved) if motion else None, _sentence(done["report"])


def _tell(progress: gr.Progress, job: Mapping[str, Any]) -> None:
    waits = f"{job['ahead']} before it" if job["ahead"] else "waiting"
    progress(job["progress"] / 100, desc=waits if job["status"] == "queued" else job["doing"])


def _sentence(report: Mapping[str, Any]) -> str:
    words = f"{report['audio_seconds']:.1f} s of speech, {report['frames']} frames"
    return "\n- ".join([words, *report.get("warnings", ())])


def _advice(client: Client, photo: Path) -> str:
    report = told(lambda: client.check_photo(photo))
    return "\n".join(f"- {line}" for line in report["advice"]) or "This photo is good."


def told(call: Callable[[], _Result]) -> _Result:
    """A call of the service; what it refuses is shown in its own words."""
    with _shown():
        return call()


@contextmanager
def _shown() -> Iterator[None]:
    """What the service refuses is shown in its own words."""
    try:
        yield
    except PersonareError as error:
        words = f"{error.message} ({error.hint})" if error.hint else error.message
        raise gr.Error(words, print_exception=False) from None
