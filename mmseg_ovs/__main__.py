"""Commands: mmseg-ovs COMMAND ..., or python -m mmseg_ovs COMMAND ...

models   the shipped models, and which can be used on this machine
fetch    download the weights of a model
predict  segment images and videos
page     serve a web page for trying models

mmseg-ovs COMMAND --help lists the options of one.
"""

from __future__ import annotations

import sys
from importlib import import_module

_COMMANDS = {
    'models': ('mmseg_ovs.weights.commands', 'list_models'),
    'fetch': ('mmseg_ovs.weights.commands', 'fetch'),
    'predict': ('mmseg_ovs.predict', 'main'),
    'page': ('mmseg_ovs.demo.__main__', 'main'),
}


def main(argv: list[str] | None = None) -> int:
    """Run a command; returns its exit code."""
    words = sys.argv[1:] if argv is None else argv
    if not words or words[0] not in _COMMANDS:
        asked = words[:1] in (['-h'], ['--help'])
        if words and not asked:
            print(f'error: there is no command {words[0]}', file=sys.stderr)
        print(__doc__.strip(), file=sys.stdout if asked else sys.stderr)
        return 0 if asked else 2
    module, function = _COMMANDS[words[0]]
    return getattr(import_module(module), function)(words[1:])


if __name__ == '__main__':
    sys.exit(main())
