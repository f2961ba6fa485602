/** Colours of files to RGB, by Pillow's formulas. */

/** Alpha compositing over white, rounded to nearest: equal to Pillow's `alpha_composite`. */
export function overWhite(rgba: Uint8Array): Uint8Array {
  const rgb = new Uint8Array((rgba.length / 4) * 3);
  for (let from = 0, to = 0; from < rgba.length; from += 4) {
    const alpha = rgba[from + 3]!;
    const white = (255 - alpha) * 255;
    rgb[to++] = divide255(rgba[from]! * alpha + white);
    rgb[to++] = divide255(rgba[from + 1]! * alpha + white);
    rgb[to++] = divide255(rgba[from + 2]! * alpha + white);
  }
  return rgb;
}

/** Inks as fractions that multiply, without a profile: Pillow's `convert("RGB")`. Channels beyond the fourth are alpha. */
export function cmykToRgb(inks: Uint8Array, channels: number): Uint8Array {
  const rgb = new Uint8Array((inks.length / channels) * 3);
  for (let from = 0, to = 0; from < inks.length; from += channels) {
    const light = 255 - inks[from + 3]!;
    rgb[to++] = light - divide255(inks[from]! * light);
    rgb[to++] = light - divide255(inks[from + 1]! * light);
    rgb[to++] = light - divide255(inks[from + 2]! * light);
  }
  return rgb;
}

interface Row {
  readonly from: number;
  readonly length: number;
  /** The last one is alpha. */
  readonly channels: number;
}

/** Multiplies the colours of a row by its alpha, in place: Pillow's modes `RGBa` and `La`. */
export function premultiply(
  pixels: Uint8Array | Float64Array,
  { from, length, channels }: Row,
): void {
  for (let at = from; at < from + length; at += channels) {
    const last = at + channels - 1;
    const alpha = pixels[last]!;
    if (alpha === 255) continue;
    for (let i = at; i < last; i++) pixels[i] = divide255(pixels[i]! * alpha);
  }
}

/** The inverse of `premultiply`, rounded down as in Pillow. */
export function unpremultiply(
  pixels: Uint8Array | Float64Array,
  { from, length, channels }: Row,
): void {
  for (let at = from; at < from + length; at += channels) {
    const last = at + channels - 1;
    const alpha = pixels[last]!;
    if (alpha === 0 || alpha === 255) continue;
    for (let i = at; i < last; i++) pixels[i] = Math.min(255, ((255 * pixels[i]!) / alpha) | 0);
  }
}

/** `round(x / 255)` for 0 <= x <= 65025, in whole numbers. */
function divide255(x: number): number {
  const biased = x + 128;
  return (biased + (biased >> 8)) >> 8;
}
