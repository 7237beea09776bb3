"""Spatial frequencies in each layer of a backbone (OVS-DINO, Figure 2).

    python tools/analysis/feature_spectrum.py configs/_base_/backbones/dinov2-b14.py \\
        photos/ --out out/spectrum

CONFIG is any config with ``model.backbone`` and ``data_preprocessor``, or the name of
a shipped one. Writes ``spectrum.csv`` (power by layer and radius), ``log_ratio.csv``
(energies and log-ratio by layer) and ``spectrum.png``. See docs/analysis.md.
"""

import argparse
import csv
import sys
from pathlib import Path

import mmseg_ovs  # noqa: F401  before mmseg: mmcv-lite needs its stand-in

# isort: split

from mmseg_ovs.analysis import ImageStream, LayerFeatures, RadialSpectrum, plot_spectrum
from mmseg_ovs.analysis.command_line import add_backbone_arguments, read_layers
from mmseg_ovs.composition import MODEL_KEYS, read_config
from mmseg_ovs.utils import exit_with_message, replacing


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add_backbone_arguments(parser)
    parser.add_argument(
        '--cutoff',
        type=float,
        default=0.5,
        help='upper radius of low frequencies (1: half a cycle per token)',
    )
    parser.add_argument('--rings', type=int, default=16, help='rings up to radius 1')
    args = parser.parse_args(argv)
    read_layers(parser, args)
    try:
        RadialSpectrum(args.cutoff, args.rings)
    except ValueError as error:
        parser.error(str(error))
    return args


def analyse(
    network: LayerFeatures, images: ImageStream, cutoff: float, rings: int
) -> dict[str, RadialSpectrum]:
    """Spectrum of every layer over all images, by the layer's name."""
    spectra: list[RadialSpectrum] = []
    for image in images:
        maps = network(image)
        spectra = spectra or [RadialSpectrum(cutoff, rings) for _ in maps]
        for spectrum, features in zip(spectra, maps, strict=True):
            spectrum.update(features)
    return dict(zip(network.names, spectra, strict=True))


def write_tables(out: Path, spectra: dict[str, RadialSpectrum]) -> None:
    """``spectrum.csv`` and ``log_ratio.csv``."""
    with replacing(out / 'spectrum.csv') as path, path.open('w', newline='') as file:
        table = csv.writer(file)
        table.writerow(['layer', 'radius', 'power', 'relative_power'])
        for name, spectrum in spectra.items():
            columns = (spectrum.radius, spectrum.profile, spectrum.relative_profile)
            for *row, count in zip(*columns, spectrum.frequencies, strict=True):
                if count:
                    table.writerow([name, *(f'{float(x):.6g}' for x in row)])
    with replacing(out / 'log_ratio.csv') as path, path.open('w', newline='') as file:
        table = csv.writer(file)
        energies = ['mean_energy', 'low_energy', 'high_energy']
        table.writerow(['layer', *energies, 'log_ratio', 'log_ratio_with_mean'])
        for name, spectrum in spectra.items():
            row = [getattr(spectrum, energy) for energy in energies]
            row += [spectrum.log_ratio(), spectrum.log_ratio(with_mean=True)]
            table.writerow([name, *(f'{x:.6g}' for x in row)])


@exit_with_message()
def main(argv: list[str] | None = None) -> int:
    """Analyse, write, report; returns the exit code."""
    args = parse_args(argv)
    images = ImageStream(args.images, args.out)
    cfg = read_config(args, read=MODEL_KEYS)
    network = LayerFeatures(cfg, args.layers, args.weights, args.size, args.device)
    spectra = analyse(network, images, args.cutoff, args.rings)
    write_tables(args.out, spectra)
    title = (
        f'{Path(cfg.filename).stem} ({network.kind}), '
        f'{network.size} x {network.size} pixels, '
        f'{images.read} images'
    )
    plot_spectrum(args.out / 'spectrum.png', spectra, title)
    print(f'{title}: {args.out}')
    for name, spectrum in spectra.items():
        print(f'  layer {name:>6}  log-ratio {spectrum.log_ratio():7.3f}')
    return images.report_failures()


if __name__ == '__main__':
    sys.exit(main())
