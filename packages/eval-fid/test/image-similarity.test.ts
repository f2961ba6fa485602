import { type Images, ndarray, zeros } from "@aligntok/core";
import { computePsnr, computeSsim } from "@aligntok/eval-fid";
import { describe, expect, it } from "vitest";
import golden from "./fixtures/similarity.json" with { type: "json" };
import { generateImagePair, relativeError } from "./generated.ts";

describe.each(golden)("on images $shape with noise $noise", ({ shape, noise, psnr, ssim }) => {
  const [a, b] = generateImagePair(shape[1]! + shape[2]!, shape, noise);

  it("psnr equals numpy, in either order", () => {
    const { values, mean } = computePsnr(a, b);
    expect(relativeError(values, psnr)).toBeLessThan(1e-14);
    expect(mean).toBeCloseTo(psnr.reduce((sum, x) => sum + x, 0) / psnr.length, 12);
    expect(computePsnr(b, a).values).toEqual(values);
  });

  it("ssim equals torchmetrics' definition in pytorch, in either order", () => {
    const { values, mean } = computeSsim(a, b);
    expect(relativeError(values, ssim)).toBeLessThan(1e-12);
    expect(mean).toBeCloseTo(ssim.reduce((sum, x) => sum + x, 0) / ssim.length, 12);
    expect(relativeError(computeSsim(b, a).values, values)).toBeLessThan(1e-15);
  });

  it("identical images score infinity and 1", () => {
    expect([...computePsnr(a, a).values]).toEqual(psnr.map(() => Number.POSITIVE_INFINITY));
    expect(computePsnr(a, a).mean).toBe(Number.POSITIVE_INFINITY);
    for (const value of computeSsim(a, a).values) expect(Math.abs(value - 1)).toBeLessThan(1e-12);
  });
});

describe("psnr and ssim", () => {
  it("black against white is 0 dB, without wrapping around", () => {
    const black = zeros([1, 11, 11, 3], "uint8");
    const white: Images = { ...black, data: new Uint8Array(black.data.length).fill(255) };
    expect(computePsnr(black, white).mean).toBe(0);
    expect(computePsnr(white, black).mean).toBe(0);
    expect(computeSsim(black, white).mean).toBeCloseTo(1e-4, 6); // c1 / (255^2 + c1)
  });

  it("refuse pairs that do not match", () => {
    const image = zeros([1, 11, 11, 3], "uint8");
    const other = zeros([1, 11, 12, 3], "uint8");
    expect(() => computePsnr(image, other)).toThrow("got [1,11,11,3] and [1,11,12,3]");
    expect(() => computeSsim(image, other)).toThrow("got [1,11,11,3] and [1,11,12,3]");
    const small = zeros([1, 10, 64, 3], "uint8");
    expect(() => computeSsim(small, small)).toThrow("at least 11x11, got 64x10");
    const none = zeros([0, 16, 16, 3], "uint8");
    expect(() => computePsnr(none, none)).toThrow("at least 1 image");
    const floats = ndarray(new Float32Array(363), [1, 11, 11, 3]) as unknown as Images;
    expect(() => computePsnr(floats, floats)).toThrow("expected uint8 images, got float32");
  });
});
