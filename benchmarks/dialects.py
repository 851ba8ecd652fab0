"""What TensorRT's models cost in quality: each form under ONNX Runtime, against the sharp picture.

The arithmetic is the engine's (types, scales, rounding); the order of its sums is not. It needs
no GPU. Ranges come from the bundle's scale store, the DLA's means from other pictures.

    python -m benchmarks.dialects --truth B100/ --means train/ --out results.json
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx

from acf_edge.compress.scales import load_scales
from acf_edge.degrade import degrade_image, load_recipe, mod_crop
from acf_edge.engine.ort import OrtEngine
from acf_edge.export.trt.judged import for_onnxruntime
from acf_edge.export.trt.write import measure_means, write_tensorrt
from acf_edge.files import write_text
from acf_edge.imaging.files import list_images, read_image
from acf_edge.imaging.metrics import quality
from acf_edge.imaging.resize import upscale_bicubic
from acf_edge.profile.machine import describe_machine
from acf_edge.resources import default_bundle

Uint8Image = npt.NDArray[np.uint8]
RECIPES = ("acf-std", "camera", "clean")
PICTURE_ENDS = ("anchor/Conv", "reconstruction.tail/Conv")
"""The two convolutions whose results add up to the picture."""
LARGEST = 512
"""Pixels a side of the pictures for the means."""


@dataclass(frozen=True)
class Form:
    """One way to write the network; see :func:`acf_edge.export.trt.write.write_tensorrt`."""

    name: str
    precision: str
    plugins: bool = False
    int8_plugins: bool = False
    dla: bool = False
    keep: tuple[str, ...] = ()


FORMS = (
    Form("fp32", "fp32"),
    Form("fp16", "fp16"),
    Form("fp8", "fp8"),
    Form("int8", "int8"),
    Form("int8, both ends in fp16", "int8", keep=PICTURE_ENDS),
    Form("int8, int8 plugins", "int8", plugins=True, int8_plugins=True),
    Form("fp16 for a DLA", "fp16", dla=True),
    Form("int8 for a DLA", "int8", dla=True),
)


def models(bundle: Path, pictures: list[Uint8Image]) -> Iterator[tuple[str, onnx.ModelProto]]:
    """Name and model, the bundle's own first."""
    plain = onnx.load(bundle / "network.onnx")
    yield "float32 network", plain
    yield "int8 for the CPU", onnx.load(bundle / "model.onnx")
    store = load_scales(bundle / "scales.json")
    means = measure_means(plain, pictures)
    for form in FORMS:
        model = write_tensorrt(
            plain,
            precision=form.precision,
            store=store,
            plugins=form.plugins,
            int8_plugins=form.int8_plugins,
            dla=form.dla,
            means=means if form.dla else None,
            keep=form.keep,
        )
        yield form.name, for_onnxruntime(model)


def measure(bundle: Path, truth: Path, means: Path, recipe: str, scale: int) -> dict[str, float]:
    """Form -> mean PSNR-Y in dB over the pictures of ``truth``, degraded by ``recipe``."""
    drawn = load_recipe(recipe)
    sharp = [mod_crop(read_image(path), scale) for path in list_images(truth)]
    low = [degrade_image(picture, drawn, scale, seed) for seed, picture in enumerate(sharp)]
    others = [read_image(path)[:LARGEST, :LARGEST] for path in list_images(means)[:24]]
    seen = [
        degrade_image(mod_crop(picture, scale), drawn, scale, 1000 + seed)
        for seed, picture in enumerate(others)
    ]

    def mean(results: list[Uint8Image]) -> float:
        pairs = zip(results, sharp, strict=True)
        return float(np.mean([quality(a, b, scale).psnr_y for a, b in pairs]))

    found = {"bicubic": mean([upscale_bicubic(picture, scale) for picture in low])}
    for name, model in models(bundle, seen):
        engine = OrtEngine(model.SerializeToString(), name=name, scale=scale, threads=1)
        found[name] = mean([engine.run(picture) for picture in low])
        engine.close()
    return found


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--truth", type=Path, required=True, help="folder of sharp pictures")
    parser.add_argument("--means", type=Path, required=True, help="other sharp pictures")
    parser.add_argument("--bundle", type=Path, default=default_bundle())
    parser.add_argument("--out", type=Path, help="JSON")
    args = parser.parse_args()
    scale = int(json.loads((args.bundle / "passport.json").read_text())["scale"])
    tables = {r: measure(args.bundle, args.truth, args.means, r, scale) for r in RECIPES}
    print(f"| PSNR-Y, dB | {' | '.join(RECIPES)} |\n|---|{'---|' * len(RECIPES)}")
    for name in tables[RECIPES[0]]:
        print(f"| {name} | {' | '.join(f'{tables[r][name]:.3f}' for r in RECIPES)} |")
    if args.out:
        result = {
            "command": " ".join(["python -m benchmarks.dialects", *sys.argv[1:]]),
            "date": date.today().isoformat(),
            "bundle": args.bundle.name,
            "pictures": len(list_images(args.truth)),
            "psnr_y": tables,
            "machine": describe_machine().to_json(),
        }
        write_text(args.out, json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
