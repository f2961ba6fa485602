import { ndarray, zeros } from "@aligntok/core";
import { describe, expect, test } from "vitest";
import { contactSheet, type Image, stackImages } from "../src/index.ts";

function filled(height: number, width: number, value: number): Image {
  return ndarray(new Uint8Array(height * width * 3).fill(value), [height, width, 3], "uint8");
}

/** The red channel of an image as rows of numbers. */
function red({ shape, data }: Image): number[][] {
  const [height = 0, width = 0] = shape;
  return Array.from({ length: height }, (_, y) =>
    Array.from({ length: width }, (_, x) => data[(y * width + x) * 3]!),
  );
}

describe("stackImages", () => {
  test("copies images in order", () => {
    const images = [filled(2, 3, 1), filled(2, 3, 2)];
    const batch = stackImages(images);
    expect(batch.shape).toEqual([2, 2, 3, 3]);
    expect([...batch.data]).toEqual([...Array(18).fill(1), ...Array(18).fill(2)]);
    batch.data.fill(0);
    expect(images[0]!.data[0]).toBe(1);
  });

  test("refuses none, and other sizes", () => {
    expect(() => stackImages([])).toThrow("at least one image");
    expect(() => stackImages([filled(2, 3, 1), filled(3, 2, 1)])).toThrow(
      "expected image 1 of 2 x 3 as the first, got 3 x 2",
    );
  });
});

describe("contactSheet", () => {
  test("lays a batch out row by row", () => {
    const batch = stackImages([filled(1, 2, 1), filled(1, 2, 2), filled(1, 2, 3)]);
    expect(red(contactSheet(batch, { columns: 2, gap: 1, background: [9, 8, 7] }))).toEqual([
      [9, 9, 9, 9, 9, 9, 9],
      [9, 1, 1, 9, 2, 2, 9],
      [9, 9, 9, 9, 9, 9, 9],
      [9, 3, 3, 9, 9, 9, 9],
      [9, 9, 9, 9, 9, 9, 9],
    ]);
  });

  test("puts the background's channels in order", () => {
    const { data } = contactSheet([filled(1, 1, 0)], { columns: 1, background: [9, 8, 7] });
    expect([...data.subarray(0, 6)]).toEqual([9, 8, 7, 9, 8, 7]);
  });

  test("centres smaller images", () => {
    const sheet = contactSheet([filled(3, 3, 5), filled(1, 1, 6)], { columns: 2, gap: 0 });
    expect(red(sheet)).toEqual([
      [5, 5, 5, 255, 255, 255],
      [5, 5, 5, 255, 6, 255],
      [5, 5, 5, 255, 255, 255],
    ]);
  });

  test("is no wider than its images", () => {
    expect(contactSheet([filled(4, 4, 0)], { columns: 8 }).shape).toEqual([8, 8, 3]);
  });

  test("refuses sheets that are too large, before it makes any", () => {
    const long = [filled(1, 20_000, 0), filled(20_000, 1, 0)];
    expect(() => contactSheet(long, { columns: 2, gap: 0 })).toThrow(
      "contactSheet: expected at most 178956970 pixels, got 40000 x 20000",
    );
    const small = [filled(2, 2, 0)];
    expect(() => contactSheet(small, { columns: 1, gap: 1, maxPixels: 15 })).toThrow("4 x 4");
    contactSheet(small, { columns: 1, gap: 1, maxPixels: 16 });
  });

  test("refuses none, and bad options", () => {
    expect(() => contactSheet([], { columns: 2 })).toThrow("at least one image");
    expect(() => contactSheet(zeros([0, 4, 4, 3], "uint8"), { columns: 2 })).toThrow(
      "at least one",
    );
    expect(() => contactSheet([filled(1, 1, 0)], { columns: 0 })).toThrow("columns: expected");
    expect(() => contactSheet([filled(1, 1, 0)], { columns: 1, gap: -1 })).toThrow("gap: expected");
  });
});
