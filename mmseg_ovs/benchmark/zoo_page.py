"""``docs/model_zoo.md``, written from the metafiles."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from .markdown import markdown_table
from .zoo import DATASETS, Model, Zoo, split_name

_HEAD = """# Model zoo

Written by `tools/generate_model_zoo.py` from the metafiles of the configs; do not edit.

mIoU in percent. Figures are **published** by the named source, *not measured here*,
unless they are set in bold (with the published one in brackets). Figures of methods of
different classes do not compare, nor do those of different protocols (size, window,
names, background rule, refinement). What a measured figure depends on stands in the
protocol that `tools/test.py` and `tools/benchmark.py` write beside it.

Classes of methods: *mask-supervised* methods learn from label maps,
*caption-supervised* ones from images with texts, *training-free* ones combine
networks as they are. Under *weights* stands their licence; *gated* ones have to be
asked for.
"""


def zoo_page(zoo: Zoo) -> str:
    """The page as Markdown."""
    parts = [_HEAD]
    for name in sorted(zoo.collections, key=str.lower):
        parts.append('\n'.join(_section(zoo, name)))
    return '\n'.join(parts)


def _section(zoo: Zoo, name: str) -> Iterator[str]:
    item = zoo.collections[name]
    paper, models = item['Paper'], zoo.of_collection(name)
    kind = models[0].method_class if models else None
    yield f'## {name}\n'
    code = (item.get('Code') or {}).get('URL')
    yield f'[{paper["Title"]}]({paper["URL"]}){f", [code]({code})" if code else ""}.'
    yield f'[Configs and protocol](../{item["README"]}). Class: {kind}.\n'
    yield from _figures(models)
    yield from _configs(models)


def _figures(models: Iterable[Model]) -> Iterator[str]:
    with_results = [model for model in models if model.results]
    if not with_results:
        yield 'No published figures.\n'
        return
    found = {item['Dataset'] for model in with_results for item in model.results}
    titles = [title for title in DATASETS.values() if title in found]
    rows = []
    sources: list[str] = []
    for model in with_results:
        cells = [_figure(model, title) for title in titles]
        marks = []
        for result in model.results:
            if result['Source'] not in sources:
                sources.append(result['Source'])
            mark = str(1 + sources.index(result['Source']))
            if mark not in marks:
                marks.append(mark)
        rows.append([f'`{model.name}`', model.weights, *cells, ', '.join(marks)])
    heads = ['model', 'weights', *titles, 'source']
    yield markdown_table(heads, rows) + '\n'
    listed = [f'{number}. {source}' for number, source in enumerate(sources, 1)]
    yield '\n'.join(['Sources:', '', *listed]) + '\n'


def _figure(model: Model, title: str) -> str:
    published = model.figure(title, 'published')
    measured = model.figure(title, 'measured')
    if measured is None:
        return '–' if published is None else str(published)
    return f'**{measured}**' + ('' if published is None else f' ({published})')


def _configs(models: Sequence[Model]) -> Iterator[str]:
    """All configs; those for the data sets of one model share a line."""
    names = {model.name for model in models}
    grouped: dict[str, list[str]] = {}
    for model in models:
        stem, data = split_name(model.name)
        if data and stem in names:
            grouped[stem].append(data)
        else:
            grouped[model.name] = []
    rows = []
    for model in models:
        if model.name in grouped:
            config = f'[{model.name}](../{model.entry["Config"]})'
            data = ', '.join(grouped[model.name]) or '–'
            rows.append([config, model.weights, data])
    heads = ['config', 'weights', 'also for the data sets']
    yield markdown_table(heads, rows) + '\n'
