"""Numbers that describe a picture, by which the errors of a model are divided."""

import cv2
import numpy as np

LONGEST = 512  # pixels: sharpness depends on the scale


def measure(image: np.ndarray) -> dict[str, float]:
    """Measures an image, uint8 (H, W, 3), RGB.

    Returns:
        `brightness`, the mean gray level, 0..255; `contrast`, the standard deviation of the gray levels; `sharpness`,
        the variance of the Laplacian at a longest side of 512 pixels at most (Pech-Pacheco et al. 2000), low where an
        image is blurred; `pixels`, the number of pixels; `aspect`, the width divided by the height.
    """
    height, width = image.shape[:2]
    scale = min(1.0, LONGEST / max(height, width))
    size = max(1, round(width * scale)), max(1, round(height * scale))
    small = cv2.resize(image, size, interpolation=cv2.INTER_AREA) if scale < 1 else image
    gray = cv2.cvtColor(small, cv2.COLOR_RGB2GRAY)
    mean, spread = (float(part[0, 0]) for part in cv2.meanStdDev(gray))
    sharpness = float(cv2.Laplacian(gray, cv2.CV_64F).var())
    return {
        "brightness": mean,
        "contrast": spread,
        "sharpness": sharpness,
        "pixels": float(height * width),
        "aspect": width / height,
    }
