#!/usr/bin/env bash
# Run the fast tests with other versions of Python and of the dependencies.
#
#     bash tools/test_versions.sh [WORK_FOLDER [PYTHON/SET ...]]
#
# SET is `oldest` (the lower bounds of setup.py) or `newest` (what pip takes today). Each
# environment takes about 6 GB and some minutes; it is made once in the work folder. The
# last lines are the table of docs/install.md. Needs python3.10 ... on the PATH.
set -euo pipefail

root=$(cd "$(dirname "$0")/.." && pwd)
work=${1:-$root/work_dirs/versions}
shift || true
[ $# -gt 0 ] || set -- 3.10/oldest 3.10/newest 3.11/newest 3.12/newest 3.13/newest
# An hour for the whole suite; these take minutes and touch every dependency.
tests=${TESTS:-tests/structures tests/configs tests/datasets tests/models/backbones
    tests/models/text_encoders tests/evaluation tests/visualization tests/parity}

lower_bounds() { # of the requirements in setup.py, each as NAME==BOUND.*
    python3 - "$root/setup.py" <<'PYTHON'
import re
import sys

text = open(sys.argv[1]).read()
for name, bound in re.findall(r"'([\w-]+)>=([\d.]+)", text):
    if name not in ('setuptools', 'gradio', 'mkdocs', 'onnx', 'onnxruntime'):
        print(f'{name}=={bound if "." in bound else bound + ".0"}.*')
PYTHON
}

mkdir -p "$work"
table=()
for entry in "$@"; do
    version=${entry%/*} set=${entry#*/}
    venv=$work/$version-$set
    echo "==> Python $version, $set"
    if [ ! -e "$venv/.made" ]; then
        rm -rf "$venv"
        "python$version" -m venv "$venv"
        limits=()
        if [ "$set" = oldest ]; then
            lower_bounds > "$work/oldest.txt"
            limits=(-c "$work/oldest.txt")
        fi
        "$venv/bin/pip" install -q "$root[openmmlab,groupvit,pseudo_masks]" \
            'pytest>=8,<10' 'hypothesis>=6.100,<7' ${limits[@]+"${limits[@]}"}
        "$venv/bin/pip" uninstall -q -y mmseg_ovs # the tests take the checkout
        touch "$venv/.made"
    fi
    log=$work/$version-$set.log
    (cd "$root" && "$venv/bin/python" -m pytest -q -p no:cacheprovider $tests) \
        > "$log" 2>&1 || true
    stack=$("$venv/bin/python" -c '
from importlib.metadata import version
print(", ".join(f"{n} {version(n)}" for n in (
    "torch", "numpy", "pillow", "open_clip_torch", "timm", "transformers")))')
    table+=("| $version | $set: $stack | $(tail -1 "$log" | tr -d '=') |")
done
echo '| Python | versions | fast tests |'
echo '|---|---|---|'
printf '%s\n' "${table[@]}"
