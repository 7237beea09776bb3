"""Files by address: once, resumed, checked; what is wrong is said in one line."""

import hashlib

import pytest
import torch
from mmengine.runner.checkpoint import CheckpointLoader
from safetensors.torch import save

from mmseg_ovs.models.utils import CheckpointError, read_state_dict
from mmseg_ovs.weights import DownloadError, local_file, local_path
from mmseg_ovs.weights.address import AddressError, HubFile, published_digest

CONTENT = bytes(range(256)) * 5000
SHA = hashlib.sha256(CONTENT).hexdigest()
HUB = 'hf://owner/name/folder/model.safetensors'
ON_SERVER = '/owner/name/resolve/main/folder/model.safetensors'


def test_a_download_goes_on_where_it_stopped(server):
    server.files['/a.pth'] = CONTENT
    server.cut['/a.pth'] = 700_000
    address = f'{server.url}/a.pth'
    with pytest.raises(DownloadError, match='cannot be downloaded.*repeat the command'):
        local_file(address)
    assert not local_path(address).exists()
    path = local_file(address)
    assert path.read_bytes() == CONTENT
    assert server.ranges == [f'bytes={700_000}-']
    local_file(address)
    assert server.asked['GET', '/a.pth'] == 2
    names = {file.suffix for file in path.parent.iterdir()}
    assert names <= {'.pth', '.lock'}


def test_a_file_that_changed_in_between_is_downloaded_whole(server):
    server.files['/a.pth'] = CONTENT
    server.cut['/a.pth'] = 700_000
    with pytest.raises(DownloadError):
        local_file(f'{server.url}/a.pth')
    server.files['/a.pth'] = CONTENT[::-1]
    assert local_file(f'{server.url}/a.pth').read_bytes() == CONTENT[::-1]


def test_what_was_whole_already_and_more(server):
    address = f'{server.url}/a.pth'
    server.files['/a.pth'] = CONTENT
    server.cut['/a.pth'] = 700_000
    with pytest.raises(DownloadError):
        local_file(address)
    part = local_path(address).with_name(f'{local_path(address).name}.part')
    part.write_bytes(CONTENT)
    assert local_file(address).read_bytes() == CONTENT


@pytest.mark.parametrize(
    'name', ['a.pth#sha256={}', 'a-{:.8}.pth', 'a_20230906-{:.8}.pth']
)
def test_published_digests_are_verified(server, name):
    right, wrong = (f'{server.url}/{name.format(sha)}' for sha in (SHA, 'ab' * 32))
    for address in (right, wrong):
        server.files[address.removeprefix(server.url).split('#')[0]] = CONTENT
    with pytest.raises(DownloadError, match='SHA-256 .* instead of the published abab'):
        local_file(wrong)
    assert not local_path(wrong).exists()
    assert local_file(right).read_bytes() == CONTENT
    assert published_digest(f'{server.url}/model.pth') is None


@pytest.mark.parametrize(
    ('address', 'message'),
    [
        ('{}/none.pth', 'there is no such file .HTTP 404'),
        ('http://127.0.0.1:9/a.pth', 'download it elsewhere and put it at .*a.pth'),
        ('hf://owner/name/none.pth', 'owner/name has no file none.pth'),
        ('hf://owner/no/x.pth', 'there is no repository owner/no, or it is private'),
        ('hf://gated/name/x.pth', 'needs access: ask for it at .*gated/name, then'),
    ],
)
def test_what_cannot_be_downloaded_is_said(server, address, message):
    server.files.update({ON_SERVER: b'', '/gated/name/resolve/main/x.pth': b''})
    server.gated.add('gated/name')
    with pytest.raises(CheckpointError, match=message):
        read_state_dict(address.format(server.url))


def test_without_a_network_the_hub_says_what_to_do(server):
    server.shutdown()
    server.server_close()
    with pytest.raises(CheckpointError, match='cannot be downloaded.*give its path'):
        read_state_dict(HUB)


def test_the_hub_is_an_address_like_others(server, tmp_path):
    state = dict(weight=torch.arange(4.0))
    server.files[ON_SERVER] = save(state)
    read = read_state_dict(HUB)
    assert torch.equal(read['weight'], state['weight'])
    assert (tmp_path / 'hub').is_dir()
    server.files.clear()  # it is in the cache
    read = CheckpointLoader.load_checkpoint(HUB, map_location='cpu')
    assert torch.equal(read['weight'], state['weight'])


def test_forms_of_hub_addresses():
    assert HubFile.parse('hf://a/b@v2/c/d.pth') == HubFile('a/b', 'c/d.pth', 'v2')
    assert HubFile.parse('hf://a/b/c.pth') == HubFile('a/b', 'c.pth')
    with pytest.raises(AddressError, match='no hf://owner/name/file'):
        HubFile.parse('hf://a/b')
    with pytest.raises(AddressError, match='no hf://owner/name/file'):
        read_state_dict('hf://a/b')


def test_a_file_that_is_cut_is_named(server, tmp_path):
    address = f'{server.url}/a.pth'
    torch.save(dict(weight=torch.ones(1000)), path := tmp_path / 'a.pth')
    server.files['/a.pth'] = path.read_bytes()[:2000]
    with pytest.raises(CheckpointError, match=f'{local_path(address)} is truncated'):
        read_state_dict(address)


@pytest.mark.parametrize('fragment', ['sha256=', 'sha256=zz', 'md5=0123456789abcdef'])
def test_a_digest_that_nothing_would_compare_is_an_error(server, fragment):
    with pytest.raises(AddressError, match=f'#{fragment} is no #sha256='):
        local_file(f'{server.url}/model.pth#{fragment}')
