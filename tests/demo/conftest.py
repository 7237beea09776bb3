"""The page as people start it, in a process of its own, and who looks at it."""

import os
import queue
import re
import shutil
import subprocess
import sys
import threading
from dataclasses import dataclass
from pathlib import Path

import pytest
from colour_model import stripes, write_config
from PIL import Image

HERE = Path(__file__).parent
# Python runs it before anything else: what the server connects to.
AUDIT = """
import sys
log = open({path!r}, 'a', buffering=1)
def hook(event, args):
    if event == 'socket.connect':
        print(args[1], file=log)
sys.addaudithook(hook)
"""


@dataclass
class Server:
    """A running page: its process, its address, what it connected to."""

    process: subprocess.Popen
    output: queue.Queue
    connections: Path
    answered: str = ''

    @property
    def url(self) -> str:
        """Waits until the command tells it."""
        while not self.answered:
            line = self.output.get(timeout=300)
            assert line is not None, 'the page has ended'
            told = re.match(r'The page is at (\S+)', line)
            self.answered = told[1] if told else ''
        return self.answered


@pytest.fixture(scope='session', autouse=True)
def server(tmp_path_factory):
    """Started with the first test of the folder: it boots while others run."""
    folder = tmp_path_factory.mktemp('page')
    connections = folder / 'connections.txt'
    connections.touch()
    uploads = folder / 'uploads'
    (folder / 'sitecustomize.py').write_text(AUDIT.format(path=str(connections)))
    plain = write_config(folder)
    refining = write_config(
        folder,
        "hooks = dict(vocabulary=dict(background=dict(type='threshold', value=0.4)))\n"
        "data_overrides = {'voc21': dict(default_hooks=hooks)}",
        postprocessors=[dict(type='PAMR', stage='image')],
    )
    head = dict(type='TextSimilarityHead', in_channels=3, text_channels=3, channels=4)
    untrained = write_config(folder, decode_head=head)
    command = [sys.executable, '-m', 'mmseg_ovs.demo', '--device', 'cpu']
    command += ['--model', 'colours', str(plain)]
    command += ['--model', 'refined colours', str(refining)]
    command += ['--model', 'untrained', str(untrained), '--allow-random']
    command += ['--max-megabytes', '0.1', '--max-megapixels', '0.1']
    process = subprocess.Popen(
        command,
        cwd=HERE.parents[1],
        env=os.environ
        | dict(PYTHONPATH=f'{folder}{os.pathsep}{HERE}', GRADIO_TEMP_DIR=str(uploads)),
        stdout=subprocess.PIPE,
        text=True,
    )
    lines: queue.Queue = queue.Queue()
    threading.Thread(target=_read, args=(process.stdout, lines), daemon=True).start()
    server = Server(process, lines, connections)
    yield server
    if server.answered:
        process.terminate()  # Ctrl-C is ignored by what runs in the background
        code = process.wait(timeout=120)
        assert code == 0, f'SIGTERM ended the page with exit code {code}'
        left = {path.name for path in uploads.rglob('*') if path.is_file()}
        assert left <= {'lion.jpg', 'cheetah.jpg', 'tower.jpg', 'shapes.png'}
    process.kill()


def _read(stream, lines: queue.Queue) -> None:
    for line in stream:
        lines.put(line)
    lines.put(None)


@pytest.fixture(scope='session')
def image(tmp_path_factory) -> Path:
    """Stripes red, blue, green, each 24 wide and 32 high."""
    path = tmp_path_factory.mktemp('image') / 'stripes.png'
    Image.fromarray(stripes('red', 'blue', 'green')).save(path)
    return path


@pytest.fixture(scope='module')
def browser():
    """The system's Chromium, without a window."""
    chromium = next(
        filter(None, map(shutil.which, ('chromium', 'chromium-browser'))), None
    )
    if chromium is None:
        pytest.skip('no Chromium on this machine: apt-get install chromium')
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        # Chromium's own sandbox refuses to run as root.
        arguments = ['--no-sandbox'] if os.geteuid() == 0 else []
        browser = playwright.chromium.launch(executable_path=chromium, args=arguments)
        yield browser
        browser.close()
