/** The parts of a report that tell of the stages of a tokenizer: curves, reconstructions, maps of the latents. */
import { type Images, type NdArray, rows, type Tokenizer } from "@aligntok/core";
import { computePcaMaps } from "@aligntok/encoders";
import { contactSheet, encodePng, type Image, resize } from "@aligntok/image";
import { readRunLog } from "@aligntok/train";
import type { ReportGallery } from "./blocks.ts";
import type { ReportChart, ReportSeries } from "./chart.ts";

/** What a stage made of the photographs that the report shows. */
export interface StageView {
  /** `stage 1` */
  readonly name: string;
  /** Holds the stage's log. */
  readonly folder: string;
  /** `(N, h, w, d)` */
  readonly latents: NdArray<"float32">;
  /** `(N, H, W, 3)` */
  readonly decoded: Images;
}

/** Puts the photographs of a report through the tokenizer of a stage. */
export async function viewStage(
  tokenizer: Tokenizer,
  photographs: Images,
  stage: Pick<StageView, "name" | "folder">,
): Promise<StageView> {
  const latents = await tokenizer.encode(photographs);
  return { ...stage, latents, decoded: await tokenizer.decode(latents) };
}

/** A chart for each of the main losses that stages logged, and of PSNR. */
export async function chartStages(stages: readonly StageView[]): Promise<ReportChart[]> {
  const logs = await Promise.all(stages.map(({ folder }) => readRunLog(folder)));
  const series = (key: string): ReportSeries[] =>
    logs.flatMap((lines, i) => {
      const points = lines.flatMap((line) =>
        line[key] === undefined ? [] : [[line.step, line[key]] as const],
      );
      return points.length > 0 ? [{ name: stages[i]!.name, points }] : [];
    });
  return [
    { title: "PSNR on held-out photographs", unit: "dB", series: series("psnr") },
    { title: "L1 loss", series: series("absolute") },
    { title: "Perceptual loss", series: series("perceptual") },
    { title: "Discriminator loss", series: series("discriminator") },
    { title: "Semantic preservation loss", series: series("semantic") },
  ].filter((chart) => chart.series.length > 0);
}

/** Photographs beside what each stage makes of them. */
export async function showReconstructions(
  photographs: Images,
  stages: readonly StageView[],
): Promise<ReportGallery> {
  const columns = [photographs, ...stages.map(({ decoded }) => decoded)];
  return {
    columns: ["photograph", ...stages.map(({ name }) => name)],
    groups: await eachPhotograph(photographs, (i) =>
      columns.map((images) => encodePng(imageAt(images, i))),
    ),
  };
}

/** The same as one picture: a row of photographs, then a row for each stage. */
export function drawReconstructions(
  photographs: Images,
  stages: readonly Pick<StageView, "decoded">[],
  most: number,
): Image {
  const across = Math.min(most, photographs.shape[0]!);
  const sheets = [photographs, ...stages.map(({ decoded }) => decoded)].flatMap((images) =>
    Array.from({ length: across }, (_, i) => imageAt(images, i)),
  );
  return contactSheet(sheets, { columns: across });
}

/**
 * Photographs beside the main components of maps `(N, h, w, d)`: of the encoder's tokens and of latents.
 *
 * @param most photographs to show
 */
export async function showLatentMaps(
  photographs: Images,
  maps: readonly { readonly name: string; readonly map: NdArray<"float32"> }[],
  most: number,
): Promise<ReportGallery> {
  const colours = maps.map(({ map }) => computePcaMaps(map));
  const groups = await eachPhotograph(photographs, (i) => [
    encodePng(imageAt(photographs, i)),
    ...colours.map((map) => {
      const [, h = 0, w = 0] = map.shape;
      const height = Math.round((64 * h) / w);
      return encodePng(resize(imageAt(map, i), { width: 64, height, filter: "nearest" }));
    }),
  ]);
  return {
    columns: ["photograph", ...maps.map(({ name }) => name)],
    pixels: true,
    groups: groups.slice(0, most),
  };
}

async function eachPhotograph(
  photographs: Images,
  cells: (index: number) => readonly Promise<Uint8Array>[],
): Promise<ReportGallery["groups"]> {
  const indices = Array.from({ length: photographs.shape[0]! }, (_, i) => i);
  return Promise.all(indices.map(async (i) => ({ rows: [{ pngs: await Promise.all(cells(i)) }] })));
}

/** One image of a batch. */
export function imageAt(images: Images, index: number): Image {
  const { data } = rows(images, index, index + 1);
  return { dtype: "uint8", shape: images.shape.slice(1), data };
}

/** At most `count` indices below `length`, at equal distances. */
export function pickEvenly(length: number, count: number): number[] {
  const most = Math.min(length, count);
  return Array.from({ length: most }, (_, i) => Math.floor((i * length) / most));
}
