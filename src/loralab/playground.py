"""A local page on which a text is put to the arms side by side."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import gradio

from loralab import use
from loralab.data.rows import Text
from loralab.errors import UserError
from loralab.folder import ResultsFolder
from loralab.prediction import Continuation, Prediction
from loralab.progress import Watcher
from loralab.tasks import Classification

LOOPBACK = "127.0.0.1"  # nobody else's machine can ask
LABELS_SHOWN = 5


def build(folder: Path, seed: int | None, watcher: Watcher) -> gradio.Blocks:
    """Return the page for the results folder `folder`. A model is loaded when it is first asked.

    Raises UserError where no arm has a model.
    """
    models = use.open_models(folder, seed, watcher=watcher)
    task = ResultsFolder(folder).experiment().conditions.task
    classifies, texts = isinstance(task, Classification), task.data.columns.texts
    with gradio.Blocks(title="loralab playground", analytics_enabled=False) as page:
        gradio.Markdown(f"# {folder.resolve().name}: the arms side by side")
        asked: list[Any] = [gradio.Textbox(label=name, lines=4) for name in texts]
        if not classifies:
            asked.append(gradio.Slider(1, 200, value=40, step=1, label="tokens to add, at most"))
        button = gradio.Button("Ask", variant="primary")
        with gradio.Row():
            shown = [
                gradio.Label(label=name, num_top_classes=LABELS_SHOWN) if classifies else gradio.Textbox(label=name)
                for name in (f"{arm}, seed {of_seed}" for arm, of_seed in models)
            ]

        def ask(*given: Any) -> Any:
            tokens = 1 if classifies else int(given[-1])
            text: Text = (given[0], given[1]) if len(texts) == 2 else given[0]
            try:
                found = [_as_shown(*model.ask([text], tokens)) for model in models.values()]
            except UserError as error:  # Gradio shows the message of no other kind of error
                raise gradio.Error(str(error)) from None
            return found if len(found) > 1 else found[0]  # of a single output Gradio (6) takes the list for its value

        gradio.on([button.click, *(box.submit for box in asked[: len(texts)])], ask, asked, shown, api_name="ask")
    return page


def _as_shown(found: Prediction) -> Any:
    return found.continuation if isinstance(found, Continuation) else dict(found.probabilities)


def launch(
    folder: Path,
    seed: int | None,
    port: int | None,
    watcher: Watcher,
    tell: Callable[[str], None],
    *,
    opens_browser: bool,
) -> None:
    """Serve the page to this machine alone until it is stopped. Raises UserError, also where the port is taken."""
    page = build(folder, seed, watcher)
    try:
        _, url, _ = page.launch(
            server_name=LOOPBACK,
            server_port=port,
            share=False,
            inbrowser=opens_browser,
            quiet=True,  # Gradio's own words are about settings that nobody has here
            prevent_thread_lock=True,
        )
    except OSError:
        told = "no free port was found" if port is None else "it is taken"
        raise UserError(f"--port {port or 'N'}: {told}; choose another") from None
    tell(f"Running on {url}, until Ctrl-C")
    page.block_thread()
