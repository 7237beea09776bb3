"""Without a network, CLIP's weights are one clear error at once."""

import os
import subprocess
import sys

CODE = """
from mmseg_ovs.models.utils import CheckpointError, pretrained_clip
try:
    pretrained_clip('ViT-B-16-quickgelu', 'openai')
except CheckpointError as error:
    print(error)
"""


def test_a_hub_that_cannot_be_reached_is_one_line_that_says_what_to_do(tmp_path):
    env = dict(os.environ, HF_ENDPOINT='http://127.0.0.1:9', HF_HOME=str(tmp_path))
    done = subprocess.run(
        [sys.executable, '-c', CODE], env=env, capture_output=True, text=True
    )
    lines = done.stdout.splitlines()
    assert len(lines) == 1, done.stdout + done.stderr
    assert 'open_clip_model.safetensors cannot be downloaded' in lines[0]
    assert 'model.text_encoder.pretrained=FILE' in lines[0]
    assert 'mmseg-ovs fetch' in lines[0]
    assert 'Retry' not in done.stderr and 'thrown while' not in done.stderr


HUB_CODE = """
from mmseg_ovs.weights import DownloadError, local_file
try:
    local_file('hf://owner/name/model.safetensors')
except DownloadError as error:
    print(error)
"""


def test_so_is_any_file_of_the_hub(tmp_path):
    env = dict(os.environ, HF_ENDPOINT='http://127.0.0.1:9', HF_HOME=str(tmp_path))
    done = subprocess.run(
        [sys.executable, '-c', HUB_CODE], env=env, capture_output=True, text=True
    )
    assert 'hf://owner/name/model.safetensors cannot be downloaded' in done.stdout
    assert 'give its path instead' in done.stdout
    assert 'Retry' not in done.stderr and 'thrown while' not in done.stderr
