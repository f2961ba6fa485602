import { fileURLToPath } from "node:url";
import { type Images, zeros } from "@aligntok/core";
import { expect } from "vitest";

export function fixture(name: string): string {
  return fileURLToPath(new URL(`./fixtures/${name}`, import.meta.url));
}

/** The images of tools/golden/encoders-vit.py. */
export function formulaImages(n: number, height: number, width: number): Images {
  const images = zeros([n, height, width, 3], "uint8");
  let at = 0;
  for (let i = 0; i < n; i++) {
    for (let y = 0; y < height; y++) {
      for (let x = 0; x < width; x++) {
        for (let c = 0; c < 3; c++) {
          images.data[at++] = (y * 37 + x * 91 + c * 13 + i * 57 + y * x * 5) % 256;
        }
      }
    }
  }
  return images;
}

/** The largest absolute difference; infinite where a NaN is among them. */
export function largestDifference(a: ArrayLike<number>, b: ArrayLike<number>): number {
  expect(a.length).toBe(b.length);
  let largest = 0;
  for (let i = 0; i < a.length; i++) {
    const difference = Math.abs(a[i]! - b[i]!);
    largest = difference <= largest ? largest : Number.isNaN(difference) ? Infinity : difference;
  }
  return largest;
}
