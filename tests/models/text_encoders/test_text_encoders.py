"""What holds for every text encoder with a tower: answers, training, cache."""

import pytest
import torch
import torch.nn.functional as F
from torch.testing import assert_close

from mmseg_ovs.models.text_encoders import (
    PrecomputedTextEncoder,
    get_templates,
    load_embeddings,
)
from mmseg_ovs.models.text_encoders.templates import fill_templates
from mmseg_ovs.models.text_encoders.tower import batch_sizes
from mmseg_ovs.structures import Vocabulary
from tests.models.module_tester import BOTH, PretrainedModuleTester, check_gradients
from tests.tiny import TEXT_ENCODERS, TEXTS, WIDTH, make


def tiny(cfg, *vocabulary, **changes):
    if vocabulary:
        changes['vocabulary'] = list(vocabulary)
    return make(cfg, **changes)


def count_calls(encoder):
    """A list that grows with every call of the tower."""
    calls = []
    embed = encoder.tower.embed
    encoder.tower.embed = lambda tokens: calls.append(len(tokens)) or embed(tokens)
    return calls


def cache_files(folder):
    return list(folder.glob('*.safetensors'))


class TestTextEncoders(PretrainedModuleTester):
    CONFIGS = TEXT_ENCODERS

    def run(self, module, batch=BOTH):
        return [module.encode(['a photo of a cat.', 'wall'][batch])]

    # ------------------------------------------------- the same answer any way
    @torch.no_grad()
    def test_neither_padding_nor_chunks_change_a_text(self, cfg):
        encoder = tiny(cfg)
        tokens = encoder.tokenizer(TEXTS)
        assert tokens.shape == (5, 77) and tokens[3, -1] == tokens.max()
        assert encoder.tower.used_lengths(tokens).tolist() == [8, 2, 3, 77, 16]
        expected = encoder.tower(tokens)
        assert_close(encoder.tower(tokens.masked_fill(tokens == 0, 7)), expected)
        for encoder.chunk_size in (1, 2, 64):
            assert_close(encoder.encode(TEXTS), expected, rtol=0, atol=1e-5)

    def test_averages_by_their_definition(self, cfg):
        names = ['cat', 'traffic light']
        raw, normalized, apart = (
            tiny(cfg, *names, template_average=average)()
            for average in ('raw', 'normalized', 'none')
        )
        for i, name in enumerate(names):
            prompts = [t.format(name) for t in get_templates('imagenet_7')]
            each = tiny(cfg).encode(prompts)
            assert_close(apart[i], each)
            assert_close(raw[i], each.mean(0))
            mean = (each / each.norm(dim=-1, keepdim=True)).mean(0)
            assert_close(normalized[i], mean / mean.norm())
        assert apart.shape == (2, 7, WIDTH)
        # The orders differ, or the test would prove nothing.
        assert (F.normalize(raw, dim=-1) - normalized).abs().max() > 1e-4

    @torch.no_grad()
    def test_synonyms_are_averaged_inside_a_template(self, cfg):
        classes = ['b, a', 'c', ['e', 'b', 'x y']]
        encoder = tiny(cfg, *classes, template_average='synonyms')
        rows = encoder()
        assert rows.shape == (6, WIDTH)
        for places, names in (
            ([0, 1], 'ba'),
            ([2], 'c'),
            ([3, 4, 5], ['e', 'b', 'x y']),
        ):
            templates = []
            for template in get_templates('imagenet_7'):
                each = tiny(cfg).encode([template.format(name) for name in names])
                templates.append(F.normalize(F.normalize(each, dim=-1).mean(0), dim=-1))
            expected = F.normalize(torch.stack(templates).mean(0), dim=-1)
            for place in places:
                assert_close(rows[place], expected, rtol=1e-4, atol=1e-5)
        plain = tiny(cfg, *classes)()
        assert_close(rows[2], plain[2], rtol=1e-4, atol=1e-5)  # a single name
        assert (rows[0] - plain[0]).abs().max() > 1e-3
        turned = encoder(Vocabulary.build([classes[2][::-1], *classes[:2]]))
        assert_close(turned, rows[[3, 4, 5, 0, 1, 2]], rtol=1e-4, atol=1e-5)

    def test_rows_follow_the_vocabulary(self, cfg):
        """With synonyms and repeated names, in groups of prompts or together."""
        encoder = tiny(cfg, 'b, a', 'c', ['e', 'b'])
        rows = encoder()
        assert encoder.vocabulary.rows == ('b', 'a', 'c', 'e', 'b')
        single = [encoder.encode_names([n]) for n in encoder.vocabulary.rows]
        assert_close(rows, torch.cat(single), rtol=0, atol=1e-5)
        assert rows[0].equal(rows[4])

    def test_groups_give_the_same(self, cfg, monkeypatch):
        names = [f'thing {i}' for i in range(7)]
        expected = tiny(cfg, *names)()
        tower = 'mmseg_ovs.models.text_encoders.tower'
        monkeypatch.setattr(f'{tower}._GROUP_PROMPTS', 15)
        assert_close(tiny(cfg, *names)(), expected, rtol=0, atol=1e-5)

    @torch.no_grad()
    def test_many_names_go_template_by_template(self, cfg):
        kinds = ('cat', 'dog', 'x', 'y')
        names = [f'{size} {kind}' for size in range(8) for kind in kinds]
        encoder = tiny(cfg, template_average='none')
        calls = count_calls(encoder)
        vectors = encoder.encode_names(names)
        assert calls == [32] * 7
        few = encoder.encode_names(names[:3])
        single = encoder.encode(fill_templates(encoder.templates, names[:3]))
        assert_close(vectors[:3], few, rtol=1e-4, atol=1e-5)
        assert_close(few, single.unflatten(0, (3, -1)), rtol=1e-4, atol=1e-5)

    # ------------------------------------------------------- frozen, trainable
    def test_frozen_tower_is_computed_once_without_gradient(self, cfg):
        encoder = tiny(cfg, 'a', 'b').train()
        assert not encoder.trainable and not encoder.tower.training
        calls = count_calls(encoder)
        first = encoder()
        assert encoder() is first and calls == [14] and not first.requires_grad
        encoder.train()
        encoder.set_vocabulary(['a', 'b'])
        assert encoder() is first and calls == [14]
        encoder.set_vocabulary(['b', 'c'])
        assert encoder().shape == (2, WIDTH) and calls == [14, 14]
        assert not encoder.encode(['a caption']).requires_grad

    def test_kept_after_inference_mode_and_autocast(self, cfg):
        """Still exact, and something can be trained on top of them."""
        encoder = tiny(cfg, 'a', 'b')
        with torch.inference_mode(), torch.autocast('cpu', torch.bfloat16):
            encoder()
        assert encoder().equal(tiny(cfg, 'a', 'b')())
        weight = torch.ones(WIDTH, requires_grad=True)
        (encoder() * weight).sum().backward()
        assert weight.grad is not None

    def test_trainable_tower_learns(self, cfg):
        encoder = tiny(cfg, 'a', 'b', trainable=True).train()
        assert encoder.trainable and encoder.tower.training
        trained = check_gradients(encoder, [encoder()])
        assert trained == {name for name, _ in encoder.named_parameters()}
        before = encoder.eval()()
        assert encoder() is before and not before.requires_grad
        torch.optim.SGD(encoder.train().parameters(), 1.0).step()
        assert (encoder.eval()() - before).abs().max() > 1e-4

    @pytest.mark.parametrize('frozen', [True, False])
    def test_a_dropped_tower_leaves_its_embeddings(self, cfg, frozen):
        encoder = tiny(cfg, 'cat', 'dog', trainable=not frozen)
        expected = encoder()
        encoder.drop_tower()
        encoder.drop_tower()
        encoder.eval()
        assert not list(encoder.parameters())
        assert torch.equal(encoder(), expected)
        encoder.set_vocabulary(['cat', 'dog'])  # the same
        assert torch.equal(encoder(), expected)
        encoder.set_vocabulary(['cat', 'bird'])
        with pytest.raises(RuntimeError, match='drop_text_tower=False'):
            encoder()
        with pytest.raises(RuntimeError, match='drop_text_tower=False'):
            encoder.encode(['a bird'])

    # ------------------------------------------------------------------- cache
    def test_new_weights_are_seen(self, cfg, tmp_path):
        encoder = tiny(cfg, 'a', cache_dir=tmp_path)
        before = encoder()
        state = {k: 1.1 * v + 0.1 for k, v in encoder.state_dict().items()}
        encoder.load_state_dict(state)
        assert (encoder() - before).abs().max() > 1e-3
        assert len(cache_files(tmp_path)) == 2

    def test_cache_is_used_by_the_next_start(self, cfg, tmp_path):
        first = tiny(cfg, 'a', 'b', cache_dir=tmp_path)()
        again = tiny(cfg, 'b', 'c', 'a', cache_dir=tmp_path)
        calls = count_calls(again)
        embeddings = again()
        assert calls == [7]  # 'c' alone
        assert embeddings[[2, 0]].equal(first)
        last = tiny(cfg, 'a', 'c', cache_dir=tmp_path)
        calls = count_calls(last)
        assert last().equal(embeddings[[2, 1]]) and not calls
        (path,) = cache_files(tmp_path)
        precomputed = PrecomputedTextEncoder(path, vocabulary=['a', 'b'])
        assert precomputed().equal(first)

    @pytest.mark.parametrize(
        'other',
        [
            dict(templates='simple'),
            dict(template_average='raw'),
            dict(template_average='none'),
        ],
    )
    def test_cache_is_keyed_by_what_decides_the_embeddings(self, cfg, tmp_path, other):
        tiny(cfg, 'a', 'b', cache_dir=tmp_path)()
        cached = tiny(cfg, 'a', 'b', cache_dir=tmp_path, **other)()
        assert cached.equal(tiny(cfg, 'a', 'b', **other)())
        assert len(cache_files(tmp_path)) == 2

    def test_damaged_cache_is_computed_again(self, cfg, tmp_path):
        expected = tiny(cfg, 'a', cache_dir=tmp_path)()
        (path,) = cache_files(tmp_path)
        path.write_bytes(path.read_bytes()[:50])
        with pytest.warns(UserWarning, match='damaged'):
            assert tiny(cfg, 'a', cache_dir=tmp_path)().equal(expected)
        assert load_embeddings(path)[1].equal(expected)

    def test_no_cache_without_a_folder_and_none_for_a_changing_tower(
        self, cfg, tmp_path, monkeypatch
    ):
        monkeypatch.chdir(tmp_path)
        tiny(cfg, 'a')()
        tiny(cfg, 'a', trainable=True, cache_dir=tmp_path / 'cache')()
        assert not list(tmp_path.iterdir())

    # --------------------------------------------------------------- arguments
    @pytest.mark.parametrize(
        ('wrong', 'message'),
        [
            (dict(template_average='mean'), "template_average must be one of.*'mean'"),
            (dict(templates='imagenet80'), 'Unknown template set'),
            (dict(chunk_size=0), 'chunk_size must be at least 1'),
            (dict(vocabulary=[]), 'vocabulary is empty'),
        ],
    )
    def test_bad_arguments(self, cfg, wrong, message):
        with pytest.raises(ValueError, match=message):
            tiny(cfg, **wrong)

    def test_no_vocabulary_and_no_text(self, cfg):
        with pytest.raises(RuntimeError, match='has no vocabulary yet'):
            tiny(cfg)()
        with pytest.raises(ValueError, match='no text'):
            tiny(cfg).encode([])

    # --------------------------------------------------- names that cannot work
    @pytest.mark.parametrize(
        ('classes', 'message'),
        [
            (['Crop', 'crop'], "never predicted: 'crop' (as 'Crop')"),
            (['sky', 'caf\u00e9', 'cafe\u0301'], "never predicted: 'cafe\u0301'"),
            ([['car', 'van'], ['bus', 'van']], "'van' of 'bus' and 'car'"),
            (['word ' * 80 + 'a', 'word ' * 80 + 'b'], 'never predicted'),
            (['word ' * 71], '1 name(s) are longer than the 77 tokens'),
        ],
    )
    def test_names_that_cannot_be_told_apart(self, cfg, classes, message, warned):
        encoder = tiny(cfg, *classes, templates=['{}', 'a photo of my own {}.'])
        encoder()
        encoder()
        assert sum(message in text for text in warned) == 1

    def test_names_that_can(self, cfg, warned):
        tiny(cfg, 'cat', 'cats', 'word ' * 60, templates=['{}', 'a {} outside'])()
        assert not warned


@pytest.mark.parametrize(
    ('lengths', 'most_tokens', 'sizes'),
    [
        ([7] * 40 + [8] * 40 + [9] * 3, 10**6, [40, 40, 3]),
        ([7] * 31 + [8] + [9] * 3, 10**6, [32, 3]),
        ([7] * 10, 30, [4, 4, 2]),
        ([2, 90, 90], 80, [1, 1, 1]),
    ],
)
def test_batches_have_hardly_any_padding(lengths, most_tokens, sizes):
    assert batch_sizes(lengths, most_tokens) == sizes
