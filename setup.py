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
    """Also copy configs, tools and the model index to ``mmseg_ovs/.mim`` for openmim.

    They are copied into the build folder, so the checkout stays clean. Editable
    installs get no copy, because openmim looks in site-packages, where an editable
    package has no files. ``tools/dev`` is only for this repository and is not copied.
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
    package_data={
        'mmseg_ovs': ['structures/vocabularies/*.*', 'demo/*.js', 'demo/*.css']
    },
    cmdclass={'build_py': BuildWithMim},
    entry_points={'console_scripts': ['mmseg-ovs = mmseg_ovs.__main__:main']},
    # Wider than requirements.txt, which is one tested set; both ends of the torch range
    # were tested. Packages with more than one possible distribution are extras.
    install_requires=[
        'torch>=2.4,<2.16',
        'torchvision>=0.19,<0.31',
        'open_clip_torch>=3.1,<4',
        'timm>=1.0.17,<2',
        'segment-anything>=1.0,<2',
        'pycocotools>=2.0.7,<3',
        'safetensors>=0.4,<1',
        'ftfy>=6.1,<7',
        'regex>=2023.10.3',
        'numpy>=1.26,<3',
        'pillow>=10.3,<14',
        'matplotlib>=3.5,<4',
        'prettytable>=3,<4',
        'filelock>=3.12,<5',
        'huggingface_hub>=0.30,<3',
        'tqdm>=4.60,<5',
        'scipy>=1.11,<2',
        'pyyaml>=6,<7',
    ],
    extras_require={
        # An extra, because a full mmcv or the onedl-* forks use the same import names,
        # and two such packages overwrite each other's files.
        'openmmlab': [
            'mmengine>=0.10.7,<0.11',
            'mmcv-lite>=2.1.0,<2.2.0',
            'mmsegmentation==1.2.2',
            'mmpretrain==1.2.0',
            'opencv-python>=4.8,<6',
        ],
        # Only for tools/pseudo_masks.
        'pseudo_masks': ['nltk>=3.9.1,<4', 'transformers>=4.56,<6'],
        # Only for the towers of GroupViT.
        'groupvit': ['transformers>=4.56,<6'],
        # Only for ONNX files of tools/export.py.
        'export': ['onnx>=1.18,<2', 'onnxruntime>=1.22,<2', 'onnxscript>=0.7,<1'],
        # Only for the documentation site. MkDocs 2 has no plugins, so no API reference.
        'docs': ['mkdocs>=1.6,<2', 'mkdocstrings[python]>=1.0,<2'],
        # Only for mmseg_ovs/demo. 6.31 is the oldest release tested; it contacts no
        # other host and can keep no history. It needs Pillow < 13.
        'page': ['gradio>=6.31,<7'],
        # Only to read HEIC images.
        'heic': ['pillow-heif>=1.0,<2'],
        # Only for Prediction.to_supervision; 0.25 is the oldest release tested.
        'supervision': ['supervision>=0.25,<0.32'],
        # Only for Prediction.to_polygons.
        'polygons': ['shapely>=2.0,<3'],
        # Only to read and write GeoTIFF. 1.4 is the first release for NumPy 2.
        'geotiff': ['rasterio>=1.4,<2'],
        # Only for videos that browsers play. 13 is the oldest release tested.
        'video': ['av>=13,<19'],
        'mim': ['openmim==0.3.9', 'openxlab<0.0.12', 'setuptools>=70.1,<82'],
    },
    zip_safe=False,
)
