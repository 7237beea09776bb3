"""Build script: the package, its vocabularies, and ``.mim`` for openmim."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

from setuptools import find_packages, setup
from setuptools.command.build_py import build_py

ROOT = Path(__file__).resolve().parent
MIM_PARTS = ('configs', 'tools', 'model-index.yml')


class BuildWithMim(build_py):
    """Also copy configs, tools and the model index to ``mmseg_ovs/.mim``.

    openmim looks for them there. They go straight into the build folder, so nothing
    is left in the checkout. An editable install gets none: openmim looks beside the
    distribution in site-packages, where an editable package is not.
    ``tools/dev`` is left out: it serves this repository only.
    """

    def run(self):
        super().run()
        if not self.editable_mode:
            self._copy_mim()

    def _copy_mim(self):
        target = Path(self.build_lib) / 'mmseg_ovs' / '.mim'
        shutil.rmtree(target, ignore_errors=True)  # files of an earlier build
        target.mkdir(parents=True)
        ignore = shutil.ignore_patterns('__pycache__', '*.pyc', '.*', 'dev')
        for part in MIM_PARTS:
            source = ROOT / part
            if source.is_dir():
                shutil.copytree(source, target / part, ignore=ignore)
            else:
                shutil.copy2(source, target / part)


def version() -> str:
    """The version, read without importing the package."""
    text = (ROOT / 'mmseg_ovs' / 'version.py').read_text(encoding='utf-8')
    return re.search(r"__version__ = '([^']+)'", text).group(1)


setup(
    name='mmseg_ovs',
    version=version(),
    description='Open-vocabulary segmentation as a plugin of MMSegmentation',
    long_description=(ROOT / 'README.md').read_text(encoding='utf-8'),
    long_description_content_type='text/markdown',
    license='Apache-2.0',
    license_files=['LICENSE', 'THIRD_PARTY_NOTICES.md'],
    python_requires='>=3.10',
    packages=find_packages(include=['mmseg_ovs', 'mmseg_ovs.*']),
    include_package_data=False,
    package_data={'mmseg_ovs': ['structures/vocabularies/*.*']},
    cmdclass={'build_py': BuildWithMim},
    # Wider than requirements.txt, which is one tested set: both ends of the torch
    # range were run. What may come from more than one distribution is in an extra.
    install_requires=[
        'torch>=2.4,<2.16',
        'torchvision>=0.19,<0.31',
        'open_clip_torch>=3.0,<4',
        'timm>=1.0.17,<2',
        'segment-anything>=1.0,<2',
        'pycocotools>=2.0.7,<3',
        'safetensors>=0.4,<1',
        'ftfy>=6.1,<7',
        'regex>=2023.10.3',
        'numpy>=1.26,<3',
        'pillow>=10,<14',
        'matplotlib>=3.5,<4',
        'prettytable>=3,<4',
        'filelock>=3.12,<5',
        'scipy>=1.11,<2',
        'pyyaml>=6,<7',
    ],
    extras_require={
        # Not in install_requires: a full mmcv instead of mmcv-lite, or the onedl-*
        # forks, own the same import names, and two owners break each other's files.
        'openmmlab': [
            'mmengine>=0.10.7,<0.11',
            'mmcv-lite>=2.1.0,<2.2.0',
            'mmsegmentation==1.2.2',
            'mmpretrain==1.2.0',
            'opencv-python>=4.8,<6',
        ],
        # tools/pseudo_masks alone needs these; without them the rest works.
        'pseudo_masks': ['nltk>=3.9.1,<4', 'transformers>=4.56,<6'],
        # tools/export.py to ONNX alone needs these; other formats are torch's own.
        'export': ['onnx>=1.18,<2', 'onnxruntime>=1.22,<2', 'onnxscript>=0.7,<1'],
        # The site of docs/ alone. MkDocs 2 has no plugins, and so no API reference.
        'docs': ['mkdocs>=1.6,<2', 'mkdocstrings[python]>=1.0,<2'],
        # mmseg_ovs/demo alone needs it. 6.31, the oldest release tried, asks no other
        # host for anything and can be told to keep no history. It takes Pillow < 13.
        'page': ['gradio>=6.31,<7'],
        'mim': ['openmim==0.3.9', 'openxlab<0.0.12', 'setuptools>=70.1,<82'],
    },
    zip_safe=False,
)
