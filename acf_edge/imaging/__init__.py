"""Pictures: resampling, quality figures, files."""

from __future__ import annotations

from acf_edge.imaging.files import IMAGE_SUFFIXES, list_images, read_image, write_image
from acf_edge.imaging.metrics import Quality, luma, psnr, quality, ssim
from acf_edge.imaging.resize import resize_bicubic, upscale_bicubic

__all__ = [
    "IMAGE_SUFFIXES",
    "Quality",
    "list_images",
    "luma",
    "psnr",
    "quality",
    "read_image",
    "resize_bicubic",
    "ssim",
    "upscale_bicubic",
    "write_image",
]
