import { writeFileAtomic } from "@aligntok/checkpoint";
import { check, type NdArray, reshape } from "@aligntok/core";
import type { LatentAnalysis } from "@aligntok/eval-fid";
import { Command, Option } from "commander";
import { galleryOf, keepRows, renderSheet, showLatents } from "../eval/latent-maps.ts";
import { readPooledRows } from "../eval/pooled-rows.ts";
import { formatPercent, holdOut, type ProbeResult, runProbe } from "../eval/probe.ts";
import { formatFigure } from "../progress-printer.ts";
import { type LatentReportData, meanPower, renderLatentReport } from "../report/latent-report.ts";
import { pickEvenly } from "../report/stage-sections.ts";
import { openRowFile, type RowFile } from "../row-file.ts";
import { defineAction, type Session, wholeNumber } from "../session.ts";
import { formatColumns } from "../text-table.ts";
import { checkSameImages } from "./eval-cknna.ts";

interface EvalLatentsOptions {
  readonly latents: string;
  readonly images?: readonly string[];
  readonly probe?: true;
  readonly features?: string;
  readonly k: number;
  readonly pca?: string;
  readonly report?: string;
  readonly batch: number;
}

/** Images whose maps are shown. */
const shown = 8;

export function evalLatentsCommand(): Command {
  const command = new Command("latents")
    .summary("statistics, spectrum and maps of latents")
    .description(
      "Tells what a diffusion model has to learn of latents: mean, deviation and tails of each channel, how many directions count, spatial frequencies.",
    )
    .requiredOption("--latents <path>", "file of encode, or a folder of LightningDiT's shards")
    .option("--pca <file.png>", "also a picture: maps of principal components as colours")
    .option("--report <file.html>", "also a page with charts, maps and all numbers")
    .option("--images <paths...>", "the images that were encoded, to be shown beside their maps")
    .option("--probe", "also the accuracy of a linear probe, where the latents have labels")
    .option("--features <path>", "also the CKNNA to features of the same images")
    .addOption(
      new Option("--k <n>", "neighbours of each image in CKNNA")
        .argParser(wholeNumber(2))
        .default(10),
    )
    .addOption(new Option("--batch <n>", "images at a time").argParser(wholeNumber(1)).default(64))
    .addHelpText(
      "after",
      `
Probe: the default of aligntok eval probe, on a fifth of the images held out by the seed.

Examples:
  aligntok eval latents --latents latents.safetensors
  aligntok eval latents --latents latents.safetensors --pca maps.png --images photos
  aligntok eval latents --latents latents.safetensors --images photos --probe \\
      --features dinov2.safetensors --report latents.html --json`,
    );
  return defineAction(command, evalLatents);
}

async function evalLatents(options: EvalLatentsOptions, session: Session): Promise<void> {
  const { signal, onProgress, answer } = session;
  const { computeLatentAnalysis } = await import("@aligntok/eval-fid");
  const file = await openRowFile(options.latents);
  const [total = 0, h = 1] = file.shape;
  const picks = pickEvenly(total, shown);
  const kept: NdArray<"float32">[] = [];
  const batches = keepRows(asMaps(file, options.batch), picks, kept);
  const analysis = await computeLatentAnalysis(batches, {
    signal,
    onProgress: (progress) => onProgress({ ...progress, total }),
  });
  const mapped = file.shape.length === 4 && h > 1 && analysis.shape[2] >= 3;
  check(
    mapped || !options.pca,
    () =>
      `--pca: expected latents [N,d,h,w] of 3 channels or more, got rows of [${file.shape.slice(1)}]. leave --pca out`,
  );
  const pictures =
    mapped && (options.pca || options.report)
      ? await showLatents(
          kept,
          options.images && (await imagesOf(options.images, file, picks, signal)),
        )
      : undefined;
  const meaning = await measureMeaning(options, session);
  if (options.pca && pictures) await writeFileAtomic(options.pca, await renderSheet(pictures));
  if (options.report) {
    const page = renderLatentReport({
      ...{ path: options.latents, analysis },
      ...(pictures && { maps: await galleryOf(pictures) }),
      ...(meaning.probe && { probe: { ...meaning.probe, top1: meaning.probe.best.top1 } }),
      ...(meaning.cknna && { cknna: meaning.cknna }),
    });
    await writeFileAtomic(options.report, page);
  }
  const written = [options.pca, options.report].filter((path) => path !== undefined);
  answer(
    [...describe(options.latents, analysis, meaning), ...written.map((path) => `wrote ${path}`)],
    summarise(options.latents, analysis, meaning),
  );
}

/** Latents as they are; vectors and tokens as maps of one row. */
async function* asMaps(file: RowFile, size: number): AsyncGenerator<NdArray<"float32">> {
  for await (const batch of file.batches(size)) {
    const [n = 0, ...row] = batch.shape;
    const d = row.at(-1)!;
    yield row.length === 3 ? batch : reshape(batch, [n, 1, row.length === 2 ? row[0]! : 1, d]);
  }
}

async function imagesOf(
  paths: readonly string[],
  file: RowFile,
  picks: readonly number[],
  signal: AbortSignal,
) {
  const { openImages } = await import("@aligntok/data-laion");
  const { keys } = file;
  check(
    keys,
    () => `${file.path}: expected the names of the images in it, got none. leave --images out`,
  );
  return { dataset: await openImages(paths), keys: picks.map((pick) => keys[pick]!), signal };
}

interface Meaning {
  readonly probe?: ProbeResult;
  readonly cknna?: NonNullable<LatentReportData["cknna"]>;
}

async function measureMeaning(options: EvalLatentsOptions, session: Session): Promise<Meaning> {
  const { probe: wanted, features: reference, k } = options;
  if (!wanted && reference === undefined) return {};
  const pooled = await readPooledRows(options.latents, session);
  const { features, labels } = pooled;
  check(
    !wanted || labels,
    () =>
      `${options.latents}: expected the class of each image for --probe, got none. encode a folder whose sub-folders are classes`,
  );
  let probe: ProbeResult | undefined;
  if (wanted && labels) {
    const { train, test } = holdOut({ features, labels }, { share: 0.2, seed: session.seed });
    probe = await runProbe(train, test, { settings: { solver: "lbfgs", l2: 1e-3 }, session });
  }
  let cknna: Meaning["cknna"];
  if (reference !== undefined) {
    const { computeCknna } = await import("@aligntok/eval-fid");
    const other = await readPooledRows(reference, session);
    checkSameImages(pooled, other);
    cknna = { value: computeCknna(features, other.features, { k }), k, reference };
  }
  return { ...(probe && { probe }), ...(cknna && { cknna }) };
}

function describe(path: string, analysis: LatentAnalysis, meaning: Meaning): string[] {
  const { channels, count, shape, effectiveRank, eigenvalues, spectrum } = analysis;
  const { mean, std, min, max, skewness, kurtosis } = channels;
  const figures = [mean, std, min, max, skewness, kurtosis];
  const [h, w, d] = shape;
  const total = eigenvalues.reduce((sum, value) => sum + value, 0);
  const { probe, cknna } = meaning;
  const short = (value: number) => formatFigure(Number(value.toPrecision(3)));
  return [
    `${path}: ${count} images, ${h} x ${w} positions, ${d} channels`,
    "",
    ...formatColumns(
      ["channel", "mean", "deviation", "least", "most", "skewness", "kurtosis"],
      Array.from({ length: d }, (_, c) => [
        String(c),
        ...figures.map((values) => short(values[c]!)),
      ]),
    ),
    "",
    `effective rank  ${short(effectiveRank)} of ${d}`,
    `components      ${[...eigenvalues.subarray(0, 8)].map((value) => (total > 0 ? formatPercent(value / total) : "0 %")).join(", ")}${d > 8 ? ", ..." : ""}`,
    ...(spectrum.frequencies.length > 1
      ? [
          "spectrum        cycles per position: power over variance",
          ...meanPower(analysis).map(
            (power, i) => `  ${spectrum.frequencies[i]!.toFixed(3)}  ${short(power)}`,
          ),
        ]
      : []),
    ...(probe
      ? [
          `linear probe    ${formatPercent(probe.best.top1)} of ${probe.test} held-out images, ${probe.classes} classes`,
        ]
      : []),
    ...(cknna
      ? [`CKNNA           ${formatFigure(cknna.value)} to ${cknna.reference}, k ${cknna.k}`]
      : []),
  ];
}

function summarise(path: string, analysis: LatentAnalysis, { probe, cknna }: Meaning): object {
  const { channels, count, shape, effectiveRank, eigenvalues, spectrum } = analysis;
  return {
    path,
    count,
    shape,
    channels: Object.fromEntries(
      Object.entries(channels).map(([name, values]) => [name, [...values]]),
    ),
    effectiveRank,
    eigenvalues: [...eigenvalues],
    spectrum: { frequencies: [...spectrum.frequencies], power: meanPower(analysis) },
    ...(probe && { probe }),
    ...(cknna && { cknna }),
  };
}
