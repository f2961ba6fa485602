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

/** `round(x / 255)` for 0 <= x <= 65025, in whole numbers. */
function divide255(x: number): number {
  const biased = x + 128;
  return (biased + (biased >> 8)) >> 8;
}
