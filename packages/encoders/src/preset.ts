/**
 * How images are prepared for a model: as its `preprocessor_config.json` or timm's `pretrained_cfg` says; without them,
 * as `vitModels` says of the model with these sizes; for sizes of no known model, as its family does, at its own size.
 */
import { AlignTokError, check, heightAndWidth, type PixelSize } from "@aligntok/core";
import type { ImageSize, ImageTransform } from "@aligntok/image";
import { count, isRecord, type Json, number, oneOf, pixels } from "./config-json.ts";
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

/** With the one first that holds where a file is silent. */
const pillowFilters = ["bicubic", "nearest", "lanczos", "bilinear", "box", "hamming"] as const;

/** What transformers' image processors do, as a transform. */
export function parsePreprocessor(json: Json, preset: ImageTransform): ImageTransform {
  if (!("size" in json)) return preset;
  const resample = json.resample ?? filters.indexOf(preset.filter as "bicubic");
  const filter = filters[number({ resample }, "resample")];
  check(filter, () => `config resample: expected 0 to 5, got ${resample}`);
  const crops = json.do_center_crop ?? isRecord(json.crop_size);
  const size = parseSize(json.size, "size");
  // a bare number is the short side to the processors that crop, and both sides to those that do not
  const resize =
    crops || typeof json.size !== "number" ? size : { height: json.size, width: json.size };
  return {
    ...(json.do_resize !== false && { resize }),
    filter,
    ...(crops && {
      crop: asSquare(parseSize(json.crop_size ?? 224, "crop_size")),
      cropRounding: "floor",
    }),
  };
}

/** timm's evaluation transform: what `pretrained_cfg` of its models on the Hub says, with timm's own defaults. */
export function parsePretrained(json: Json, preset: ImageTransform): ImageTransform {
  const size = inputSizeOf(json);
  if (!size) return preset;
  const fraction = number(json, "crop_pct", 0.875) || 0.875;
  const filter = oneOf(json, "interpolation", pillowFilters);
  const [height, width] = heightAndWidth(size);
  const scaled = (side: number) => Math.floor(side / fraction);
  if (oneOf(json, "crop_mode", ["center", "squash"]) === "squash") {
    const resize = { height: scaled(height), width: scaled(width) };
    return { resize, filter, crop: asSquare({ height, width }) };
  }
  if (height === width) return { resize: scaled(height), filter, crop: height };
  throw new AlignTokError(
    "unsupported",
    `config input_size: expected a square for crop_mode center, got ${height}x${width}. set crop_mode to squash`,
  );
}

/** `input_size` of timm, which lists colours, height and width; undefined where it says nothing. */
export function inputSizeOf(json: Json): PixelSize | undefined {
  const { input_size } = json;
  if (input_size === undefined || input_size === null) return undefined;
  check(
    Array.isArray(input_size) && input_size.length === 3,
    () =>
      `config input_size: expected colours, height and width, got ${JSON.stringify(input_size)}`,
  );
  return pixels({ input_size: input_size.slice(1) }, "input_size");
}

/** The field `transform` that `formatConfig` writes. */
export function parseTransform(value: unknown, preset: ImageTransform): ImageTransform {
  if (!isRecord(value)) return preset;
  return {
    ...("resize" in value && { resize: parseSize(value.resize, "resize") }),
    filter: oneOf(value, "filter", pillowFilters),
    ...("crop" in value && { crop: parseSize(value.crop, "crop") }),
    ...("cropRounding" in value && {
      cropRounding: oneOf(value, "cropRounding", ["half-even", "floor"]),
    }),
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
