"""What a run prints, and what goes to the log file alone."""

import pytest
from mmengine.config import Config
from tiny_run import make_runner

from mmseg_ovs.composition import ConfigError
from mmseg_ovs.engine.quiet_runner import build_runner

DUMPS = ('System environment:', 'Config:', 'Hooks will be executed')
OPTIONS = {
    'log_level': 'INFO',
    'default_hooks.logger.interval': 4,
    'custom_hooks': [dict(type='RunSummaryHook')],
}


def new_runner(config, folder, **options):
    """A runner with a logger of its own: mmengine keeps one a name and second."""
    options = {**OPTIONS, 'experiment_name': folder.name, **options}
    return make_runner(config, folder, 'none', options)


def run(config, folder, capsys, what):
    """The lines on the console and the text of the log file."""
    runner = new_runner(config, folder)
    getattr(runner, what)()
    return capsys.readouterr().out.splitlines(), _log(folder)


def _log(folder):
    (path,) = folder.glob('*/*.log')
    return path.read_text()


def number_of(lines, text):
    return next(i for i, line in enumerate(lines) if text in line)


def test_a_training_says_what_it_does(tiny_config, tmp_path, capsys):
    lines, log = run(tiny_config, tmp_path, capsys, 'train')
    before = lines[: number_of(lines, 'loss:')]
    text = '\n'.join(before)
    assert len(before) <= 30
    assert f'10 images of BaseSegDataset in {tiny_config.parent}, 4 a batch' in text
    assert 'until iteration 4' in text
    assert f'Checkpoints go to {tmp_path}' in text
    assert f'hooks are in {tmp_path}' in text
    assert any('4 iterations may take 0:00:' in line for line in lines)
    for dump in DUMPS:
        assert dump in log and dump not in text
    assert 'paramwise_options' in log and 'paramwise_options' not in text


def test_a_test_says_what_it_does(tiny_config, tmp_path, capsys):
    lines, log = run(tiny_config, tmp_path, capsys, 'test')
    before = lines[: number_of(lines, 'per class results')]
    text = '\n'.join(before)
    assert len(before) <= 20
    assert f'Tests on 5 images of BaseSegDataset in {tiny_config.parent}' in text
    assert '5 batches may take 0:00:' in text
    assert 'Trains' not in text and 'Checkpoints go' not in text
    for dump in DUMPS:
        assert dump in log and dump not in text


def test_results_and_warnings_are_no_dumps(tiny_config, tmp_path, capsys):
    runner = new_runner(tiny_config, tmp_path)
    capsys.readouterr()
    messages = ['per class results:\n+---+', 'My Config: is wrong']
    for message in messages:
        runner.logger.warning(message)
    out = capsys.readouterr().out
    assert all(message in out for message in messages)


def test_all_of_it_on_request(tiny_config, tmp_path, capsys):
    new_runner(tiny_config, tmp_path, log_level='DEBUG')
    out = capsys.readouterr().out
    assert all(dump in out for dump in DUMPS)


def test_a_runner_that_does_not_exist(tiny_config):
    cfg = Config.fromfile(tiny_config)
    cfg.runner_type = 'Foo'
    with pytest.raises(ConfigError, match="runner_type 'Foo'"):
        build_runner(cfg)
