/**
 * How images are prepared for a model: as its `preprocessor_config.json` says; without one, as `vitModels` says of the
 * model with these sizes; for sizes of no known model, as its family does, at its own size.
 */
import { check, heightAndWidth } from "@aligntok/core";
import type { ImageSize, ImageTransform } from "@aligntok/image";
import { count, isRecord, type Json, number, oneOf } from "./config-json.ts";
import { vitModels } from "./models.ts";
import type { ViTConfig } from "./vit.ts";

type Unprepared = Omit<ViTConfig, "transform">;

/** What tells one known model from another. Heads are not: what a file leaves out (classifier, pooling) changes no image. */
const sizes = [
  ...["patchSize", "imageSize", "width", "depth", "heads", "hiddenWidth", "feedForward"],
  ...["registers", "classToken", "layerScale", "preNorm", "positions", "mean", "std"],
] as readonly (keyof Unprepared)[];

/** @param family its own transform at another size: short side and crop, or both sides, and the filter */
export function presetOf(config: Unprepared, family: ImageTransform = {}): ImageTransform {
  const { filter = "bicubic" } = family;
  const known = Object.values<ViTConfig>(vitModels).find(
    (model) =>
      model.transform.filter === filter &&
      sizes.every((size) => String(model[size]) === String(config[size])),
  );
  if (known) return known.transform;
  const [height, width] = heightAndWidth(config.imageSize);
  return typeof family.resize === "object" || height !== width
    ? { resize: { height, width }, filter }
    : { resize: height, filter, crop: height };
}

/** Pillow's numbers. */
const filters = ["nearest", "lanczos", "bilinear", "bicubic", "box", "hamming"] as const;

/**
 * What transformers' image processors do, as a transform. Where they leave a part of a patch at the edges
 * (`siglip-so400m-patch14-384`: 384 = 27 * 14 + 6), images are made of whole patches instead.
 */
export function parsePreprocessor(
  json: Json,
  { patchSize, preset }: { readonly patchSize: number; readonly preset: ImageTransform },
): ImageTransform {
  if (!("size" in json)) return preset;
  const resample = json.resample ?? filters.indexOf(preset.filter as "bicubic");
  const filter = filters[number({ resample }, "resample")];
  check(filter, () => `config resample: expected 0 to 5, got ${resample}`);
  const whole = (pixels: number) => Math.max(Math.floor(pixels / patchSize), 1) * patchSize;
  const wholePatches = (size: number | ImageSize) =>
    typeof size === "number"
      ? whole(size)
      : { height: whole(size.height), width: whole(size.width) };
  const crops = json.do_center_crop === true;
  const size = parseSize(json.size, "size");
  return {
    ...(json.do_resize !== false && {
      resize: crops || typeof size === "number" ? size : wholePatches(size),
    }),
    filter,
    ...(crops && { crop: asSquare(wholePatches(parseSize(json.crop_size ?? 224, "crop_size"))) }),
  };
}

/** The field `transform` that `formatConfig` writes. */
export function parseTransform(value: unknown, preset: ImageTransform): ImageTransform {
  if (!isRecord(value)) return preset;
  return {
    ...("resize" in value && { resize: parseSize(value.resize, "resize") }),
    filter: oneOf(value, "filter", ["bicubic", "nearest", "lanczos", "bilinear", "box", "hamming"]),
    ...("crop" in value && { crop: parseSize(value.crop, "crop") }),
  };
}

function parseSize(value: unknown, key: string): number | ImageSize {
  if (!isRecord(value)) return count({ [key]: value }, key);
  if ("shortest_edge" in value) return count(value, "shortest_edge");
  return { height: count(value, "height"), width: count(value, "width") };
}

function asSquare(size: number | ImageSize): number | ImageSize {
  return typeof size !== "number" && size.height === size.width ? size.height : size;
}
