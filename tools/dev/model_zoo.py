"""Write ``docs/model_zoo.md`` from the metafiles of the configs.

python tools/dev/model_zoo.py
python tools/dev/model_zoo.py --check   # only say whether it is up to date
"""

import argparse
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from mmseg_ovs.benchmark.markdown import markdown_table
from mmseg_ovs.benchmark.zoo import DATASETS, Model, Zoo, missing_facts
from mmseg_ovs.utils import write_whole

ROOT = Path(__file__).resolve().parents[2]

_HEAD = """# Model zoo

Which models exist, what they score, and the licence of their weights.
`tools/dev/model_zoo.py` writes this page from the metafiles of the configs; do not edit
it.

Scores are mIoU in percent. They are **published** by the named source and *not measured
here*, unless they are bold (with the published score in brackets). Scores are
comparable only for the same protocol (size, windows, class names, background rule,
refinement) and the same class of method. `tools/test.py` and `tools/benchmark.py` write
the [protocol](benchmarks.md#protocol) of each measured score.

Classes of methods: *mask-supervised* methods learn from label maps, *caption-
supervised* ones from images with text, *image-supervised* ones from images alone;
*training-free* ones combine existing networks.
The column *weights* gives the licence; *gated* weights must be requested
([how](weights.md)).
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
    if item['Metadata'].get('Benchmarks'):
        yield f'Benchmarks (`--data`): {", ".join(item["Metadata"]["Benchmarks"])}.\n'
    yield from _figures(models)
    yield from _configs(models)


def _figures(models: Iterable[Model]) -> Iterator[str]:
    with_results = [model for model in models if model.results]
    if not with_results:
        yield 'No published scores.\n'
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
    rows = [
        [f'[{model.name}](../{model.entry["Config"]})', model.weights]
        for model in models
    ]
    yield markdown_table(['config', 'weights'], rows) + '\n'


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('--configs', type=Path, default=ROOT / 'configs')
    parser.add_argument('--out', type=Path, default=ROOT / 'docs' / 'model_zoo.md')
    parser.add_argument(
        '--check', action='store_true', help='write nothing; exit code 1 if outdated'
    )
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    """Write the page, or compare it."""
    args = parse_args(argv)
    zoo = Zoo.read(args.configs)
    missing = [line for name in zoo.collections for line in missing_facts(zoo, name)]
    if missing:
        raise SystemExit('Metafiles lack facts:\n' + '\n'.join(missing))
    page = zoo_page(zoo)
    if args.check:
        if not args.out.is_file() or args.out.read_text(encoding='utf-8') != page:
            raise SystemExit(f'{args.out} is outdated: run {Path(__file__).name}')
        return
    write_whole(args.out, page)
    print(f'{args.out}: {len(zoo.collections)} methods, {len(zoo.models)} configs')


if __name__ == '__main__':
    main()
