/** PSNR and SSIM of pairs of uint8 images: how well a reconstruction keeps the original. */
import { check, type Images } from "@aligntok/core";

/** One score for each pair of images and their mean. */
export interface SimilarityScores {
  /** `(N)`, in the order of the images. */
  readonly values: Float64Array;
  readonly mean: number;
}

/**
 * Peak signal-to-noise ratio in decibel, 20 log10(255 / sqrt(mse)), over all pixels and channels of each image.
 *
 * The mean is that of the images' decibels, as LightningDiT reports, not the decibel of the mean error.
 * Identical images give Infinity, and so does a mean in which one takes part.
 *
 * @param first `(N, H, W, C)` uint8
 * @param second the same shape; the order of the two does not matter
 * @throws AlignTokError `bad-input` for other dtypes, different shapes or no image.
 */
export function computePsnr(first: Images, second: Images): SimilarityScores {
  const [count, height, width, channels] = checkPair("psnr", first, second);
  const size = height * width * channels;
  const values = new Float64Array(count);
  for (let n = 0; n < count; n++) {
    let sum = 0; // of integers below 2^53: exact
    for (let i = n * size; i < (n + 1) * size; i++) sum += (first.data[i]! - second.data[i]!) ** 2;
    values[n] = 10 * Math.log10(255 ** 2 / (sum / size));
  }
  return summarise(values);
}

const radius = 5; // 11x11 window
const sigma = 1.5;
const c1 = (0.01 * 255) ** 2;
const c2 = (0.03 * 255) ** 2;

/**
 * Structural similarity (Wang et al., 2004) as torchmetrics defines it: Gaussian window 11x11 with sigma 1.5,
 * k1 0.01, k2 0.03, data range 255, population variances, each channel by itself, then the mean over pixels and channels.
 *
 * torchmetrics pads by reflection and then crops the padded border away, which leaves the windows that lie
 * inside the image; those alone are computed here. scikit-image's default (uniform 7x7) gives other numbers.
 *
 * @param first `(N, H, W, C)` uint8, at least 11x11
 * @param second the same shape; the order of the two does not matter
 * @returns scores in [-1, 1], 1 for identical images
 * @throws AlignTokError `bad-input` for other dtypes, different shapes, no image, or a side below 11.
 */
export function computeSsim(first: Images, second: Images): SimilarityScores {
  const [count, height, width, channels] = checkPair("ssim", first, second);
  const side = 2 * radius + 1;
  check(
    height >= side && width >= side,
    () =>
      `ssim: expected images of at least ${side}x${side}, got ${width}x${height}. compare larger ones`,
  );
  const window = gaussianWindow();
  const size = height * width;
  const x = new Float64Array(size);
  const y = new Float64Array(size);
  const values = new Float64Array(count);
  for (let n = 0; n < count; n++) {
    let sum = 0;
    for (let c = 0; c < channels; c++) {
      for (let i = 0, at = n * size * channels + c; i < size; i++, at += channels) {
        x[i] = first.data[at]!;
        y[i] = second.data[at]!;
      }
      sum += ssimOfPlane(x, y, height, width, window);
    }
    values[n] = sum / channels;
  }
  return summarise(values);
}

function ssimOfPlane(
  x: Float64Array,
  y: Float64Array,
  height: number,
  width: number,
  window: Float64Array,
): number {
  const meanX = blur(x, height, width, window);
  const meanY = blur(y, height, width, window);
  const meanXX = blur(multiply(x, x), height, width, window);
  const meanYY = blur(multiply(y, y), height, width, window);
  const meanXY = blur(multiply(x, y), height, width, window);
  let sum = 0;
  for (let i = 0; i < meanX.length; i++) {
    const mx = meanX[i]!;
    const my = meanY[i]!;
    const varianceX = Math.max(0, meanXX[i]! - mx * mx); // below 0 only by rounding
    const varianceY = Math.max(0, meanYY[i]! - my * my);
    const covariance = meanXY[i]! - mx * my;
    const luminance = (2 * mx * my + c1) / (mx * mx + my * my + c1);
    sum += (luminance * (2 * covariance + c2)) / (varianceX + varianceY + c2);
  }
  return sum / meanX.length;
}

function multiply(x: Float64Array, y: Float64Array): Float64Array {
  return x.map((v, i) => v * y[i]!);
}

/** Windowed mean at the positions whose window lies inside: `(H, W)` to `(H - 10, W - 10)`, rows first, then columns. */
function blur(
  plane: Float64Array,
  height: number,
  width: number,
  window: Float64Array,
): Float64Array {
  const outWidth = width - 2 * radius;
  const outHeight = height - 2 * radius;
  const blurredRows = new Float64Array(height * outWidth);
  for (let i = 0; i < height; i++) {
    for (let j = 0; j < outWidth; j++) {
      let sum = 0;
      for (let k = 0; k < window.length; k++) sum += window[k]! * plane[i * width + j + k]!;
      blurredRows[i * outWidth + j] = sum;
    }
  }
  const out = new Float64Array(outHeight * outWidth);
  for (let i = 0; i < outHeight; i++) {
    for (let k = 0; k < window.length; k++) {
      for (let j = 0; j < outWidth; j++) {
        out[i * outWidth + j]! += window[k]! * blurredRows[(i + k) * outWidth + j]!;
      }
    }
  }
  return out;
}

function gaussianWindow(): Float64Array {
  const window = Float64Array.from({ length: 2 * radius + 1 }, (_, i) =>
    Math.exp(-((i - radius) ** 2) / (2 * sigma ** 2)),
  );
  const total = window.reduce((sum, w) => sum + w, 0);
  return window.map((w) => w / total);
}

function checkPair(what: string, first: Images, second: Images): [number, number, number, number] {
  check(
    first.dtype === "uint8" && second.dtype === "uint8",
    () => `${what}: expected uint8 images, got ${first.dtype} and ${second.dtype}`,
  );
  check(
    first.shape.length === 4 && first.shape.join() === second.shape.join(),
    () =>
      `${what}: expected two [N,H,W,C] of one shape, got [${first.shape}] and [${second.shape}]. pair each image with its reconstruction`,
  );
  check(
    first.data.length > 0,
    () => `${what}: expected at least 1 image, got [${first.shape}]. give some`,
  );
  return first.shape as [number, number, number, number];
}

function summarise(values: Float64Array): SimilarityScores {
  return { values, mean: values.reduce((sum, v) => sum + v, 0) / values.length };
}
