"""The README's pictures: tasks of the simulator, drawn as the command draws them.

They are compared with those in ``tests/pictures``; ``DLFTASK_DRAW=1 pytest tests/test_pictures.py``
draws them again.
"""

import html
import io
import os
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from rich._export_format import CONSOLE_SVG_FORMAT
from rich.console import Console
from rich.text import Text

from dlftask import Client, Snapshot, Task
from dlftask.output.formats import RenderOptions, render
from dlftask.output.live import LiveView
from dlftask.output.summary import summary
from dlftask.output.text import paint, style
from dlftask.output.view import WaitState
from dlftask.simulator import Simulator
from dlftask.streams import Streams

PICTURES = Path(__file__).parent / "pictures"
TASK_ID = "5f1d0c9ae34b47b2a0d6f7e100000000"
BEGAN_S = 1_767_603_600.0  # 2026-01-05 09:00 UTC
ENDED_S = 10.0
WIDTH = 118
# Without the web fonts that rich would load from elsewhere.
SVG = re.sub(r"@font-face \{\{.*?\}\}", "", CONSOLE_SVG_FORMAT, flags=re.DOTALL)


def imported(path: str, *, after_s: float) -> Task:
    """An import as the service would describe it, ``after_s`` seconds after its start."""
    clock = [BEGAN_S]
    with (
        Simulator(token="t", clock=lambda: clock[0]) as simulator,
        Client(endpoint=simulator.endpoint, project_id=simulator.project_id, token="t") as client,
    ):
        started = client.service.call("POST", "jobs/import", body=b'{"path": "%b"}' % path.encode())
        clock[0] += after_s
        task = client.get(re.findall("[0-9a-f]{32}", started.body.decode())[0])
    return replace(task, id=TASK_ID)


def streams() -> tuple[Streams, io.BytesIO]:
    written = io.BytesIO()
    stdout = io.TextIOWrapper(written, encoding="utf-8")
    return Streams(stdout, stdout, color="always", environ={}), written


def tree(task: Task, *, compact: bool = False) -> str:
    options = RenderOptions(utc=True, compact=compact, color=True)
    return "".join(render("tree", [Snapshot(task.id, task)], options))


def live(task: Task, *, after_s: float) -> str:
    """What ``watch`` has on the screen ``after_s`` seconds after it began."""
    out, written = streams()
    state = WaitState([task.id], began_s=0.0, now=lambda: after_s, wall=lambda: BEGAN_S + after_s)
    state.update([Snapshot(task.id, task)])
    LiveView(state, out).tick()
    return re.sub(r"\x1b\[[?0-9]*[A-Zhl]|\r", "", written.getvalue().decode())


def last_line(task: Task) -> str:
    """The line that ``watch`` ends with."""
    text, status = summary([Snapshot(task.id, task)], strict=False)
    return f"{paint(f'dlftask: {text}', style(status))}\n"


def picture(name: str, command: str, text: str) -> str:
    """The text as a terminal would show it."""
    console = Console(
        file=io.StringIO(), record=True, width=WIDTH, force_terminal=True, _environ={}
    )
    console.print(Text.from_ansi(f"$ {command}\n{text.rstrip()}"))
    svg = console.export_svg(title="dlftask", code_format=SVG, unique_id=name)
    # Without this, some renderers drop leading and repeated spaces.
    return svg.replace("<text ", '<text xml:space="preserve" ')


def drawn() -> Sequence[tuple[str, str, str]]:
    finished = imported("obs://bucket/jobs.zip", after_s=ENDED_S)
    failed = imported("obs://bucket/jobs-that-fail.zip", after_s=ENDED_S)
    running = imported("obs://bucket/jobs.zip", after_s=5.0)
    big = imported("obs://bucket/big-and-fails.zip", after_s=ENDED_S)
    watch = "curl … /jobs/import | dlftask watch -"
    return [
        ("finished", watch, tree(finished) + last_line(finished)),
        ("failed", watch, tree(failed) + last_line(failed)),
        ("running", watch, live(running, after_s=5.0)),
        ("compact", f"dlftask get --compact {TASK_ID}", tree(big, compact=True)),
    ]


def words(svg: str) -> list[str]:
    """The text of a picture, with its colours: the same for every release of rich."""
    colors = dict(re.findall(r"\.[\w-]+?-(r\d+) \{ fill: (#\w+)", svg))
    return [
        f"{colors.get(look, look)} {html.unescape(text)}"
        for look, text in re.findall(r'<text [^>]*class="[\w-]+?-(\w+)"[^>]*>(.*?)</text>', svg)
    ]


@pytest.fixture(scope="module")
def pictures() -> dict[str, str]:
    return {name: picture(name, command, text) for name, command, text in drawn()}


@pytest.mark.parametrize("name", ["finished", "failed", "running", "compact"])
def test_a_picture_shows_what_the_command_shows_today(name: str, pictures: dict[str, str]) -> None:
    path = PICTURES / f"{name}.svg"
    if os.environ.get("DLFTASK_DRAW"):
        path.write_text(pictures[name], encoding="utf-8")
    assert words(path.read_text(encoding="utf-8")) == words(pictures[name])
    assert any("Import the job" in word.replace("\xa0", " ") for word in words(pictures[name]))


def test_no_picture_loads_anything_from_elsewhere() -> None:
    for path in PICTURES.glob("*.svg"):
        hosts = set(re.findall(r"https?://([\w.-]+)", path.read_text(encoding="utf-8")))
        assert hosts <= {"www.w3.org", "www.textualize.io"}, path  # a name space and a comment
