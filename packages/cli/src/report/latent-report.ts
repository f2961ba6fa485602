/** Latents as a page: how each channel is spread, how many directions count, which frequencies, what maps look like. */
import type { LatentAnalysis } from "@aligntok/eval-fid";
import { formatFigure } from "../progress-printer.ts";
import {
  type ReportGallery,
  type ReportTable,
  renderPictures,
  renderSettings,
  renderTable,
} from "./blocks.ts";
import { type ReportChart, renderChart } from "./chart.ts";
import { type ReportFact, renderPage, wrap } from "./page.ts";
import { type ReportRanges, renderRanges } from "./range-chart.ts";

export interface LatentReportData {
  /** File or folder of the latents. */
  readonly path: string;
  readonly analysis: LatentAnalysis;
  /** Principal components as colours. */
  readonly maps?: ReportGallery;
  /** Accuracy of a linear probe. */
  readonly probe?: {
    /** Top-1 of held-out images, 0 to 1. */
    readonly top1: number;
    readonly classes: number;
    readonly train: number;
    readonly test: number;
  };
  readonly cknna?: {
    readonly value: number;
    readonly k: number;
    /** What the latents are compared with. */
    readonly reference: string;
  };
}

/** One self-contained page; sections without content are left out. */
export function renderLatentReport(data: LatentReportData): string {
  const { analysis, maps, path } = data;
  const { count, shape } = analysis;
  const [h, w, d] = shape;
  return renderPage({
    title: "Latents",
    subtitle: `${path}: ${count} images, ${h} x ${w} positions, ${d} channels`,
    summary: { paragraphs: [summaryOf(analysis)], facts: factsOf(data) },
    sections: [
      {
        title: "Maps",
        note: "The three strongest principal components of the latents as red, green and blue, the same in every map. Outlines of objects mean that neighbours of one kind have like latents.",
        body: maps ? renderPictures(maps) : "",
      },
      {
        title: "Channels",
        note: "Over all images and positions.",
        body: [
          renderRanges(rangesOf(analysis)),
          `<details><summary>All channels in numbers</summary>${renderTable(tableOf(analysis))}</details>`,
        ].join("\n"),
      },
      {
        title: "Directions and frequencies",
        note: "How the variance spreads over the directions of the latent space, and over coarse and fine structure within a map.",
        body: wrap(
          "charts",
          [renderChart(componentsOf(analysis)), renderChart(spectrumOf(analysis))].join("\n"),
        ),
      },
      {
        title: "What the latents mean",
        note: "Of the latents of each image, averaged over its positions.",
        body: meaningOf(data),
      },
    ],
  });
}

function summaryOf({ channels, effectiveRank, shape, spectrum }: LatentAnalysis): string {
  const { std } = channels;
  const [least, most] = [Math.min(...std), Math.max(...std)];
  const spread =
    least > 0 && most / least < 3
      ? "the channels are spread alike"
      : `the widest channel is ${least > 0 ? `${Number((most / least).toPrecision(2))} times` : "infinitely"} as wide as the narrowest, so normalising them matters`;
  const power = meanPower({ channels, spectrum });
  const [first, last] = [power[1], power.at(-1)];
  const slope =
    first && last && power.length > 2
      ? ` The lowest spatial frequency holds ${Number((first / last).toPrecision(2))} times the power of the highest: ${first / last > 10 ? "latents are smooth, like images" : "much of them is fine detail"}.`
      : "";
  return `Of ${shape[2]} directions the latents use about ${effectiveRank.toFixed(1)}; ${spread}.${slope}`;
}

function factsOf({ analysis, probe, cknna }: LatentReportData): ReportFact[] {
  const { shape, effectiveRank, channels } = analysis;
  const std = Math.sqrt(mean(channels.std.map((value) => value ** 2)));
  return [
    {
      label: "Effective rank",
      value: effectiveRank.toFixed(1),
      note: `of ${shape[2]} channels`,
    },
    {
      label: "Deviation",
      value: formatFigure(Number(std.toPrecision(3))),
      note: "root mean square of channels",
    },
    ...(probe
      ? [
          {
            label: "Linear probe",
            value: `${(100 * probe.top1).toFixed(1)} %`,
            note: `${probe.classes} classes, held out`,
          },
        ]
      : []),
    ...(cknna
      ? [{ label: "CKNNA", value: cknna.value.toFixed(3), note: `to ${cknna.reference}` }]
      : []),
  ];
}

function rangesOf({ channels, shape }: LatentAnalysis): ReportRanges {
  return {
    title: "Spread of each channel",
    caption:
      "Bars span the mean ± one standard deviation, thin lines the least to the greatest value. A diffusion model learns best where all bars are alike, which dividing by the deviation makes them; long lines beyond short bars are heavy tails.",
    axis: "channel",
    ranges: Array.from({ length: shape[2] }, (_, c) => ({
      mean: channels.mean[c]!,
      std: channels.std[c]!,
      min: channels.min[c]!,
      max: channels.max[c]!,
    })),
  };
}

function tableOf({ channels, shape }: LatentAnalysis): ReportTable {
  const { mean, std, min, max, skewness, kurtosis } = channels;
  return {
    columns: [
      "channel",
      "mean",
      "deviation",
      "least",
      "most",
      "skewness",
      ["kurtosis", "normal: 0"],
    ],
    rows: Array.from({ length: shape[2] }, (_, c) => [
      String(c),
      ...[mean, std, min, max, skewness, kurtosis].map((values) => values[c]),
    ]),
  };
}

function componentsOf({ eigenvalues }: LatentAnalysis): ReportChart {
  const d = eigenvalues.length;
  const mean = eigenvalues.reduce((sum, value) => sum + value, 0) / d;
  return {
    title: "Principal components",
    unit: "dB",
    axis: "component",
    caption:
      "Variance of each component over the mean of all: at 0 dB every direction would count alike. What lies 20 dB below holds a hundredth of that.",
    series: [
      {
        name: "latents",
        points: [...eigenvalues].map((value, i) => [i + 1, 10 * Math.log10(value / mean)] as const),
      },
      {
        name: "all alike",
        points: [
          [1, 0],
          [d, 0],
        ],
      },
    ],
  };
}

function spectrumOf(analysis: LatentAnalysis): ReportChart {
  const { frequencies } = analysis.spectrum;
  const points = meanPower(analysis).map(
    (power, i) => [frequencies[i]!, 10 * Math.log10(power)] as const,
  );
  return {
    title: "Spatial spectrum",
    unit: "dB",
    axis: "cycles per position",
    caption:
      "Mean over channels, each divided by its variance, so that white noise lies at 0 dB. A steep fall is the spectrum of images; a flat line at high frequencies is noise that a diffusion model has to learn.",
    series: [
      { name: "latents", points },
      {
        name: "white noise",
        points: [
          [0, 0],
          [frequencies.at(-1)!, 0],
        ],
      },
    ],
  };
}

/** Power of each ring over the variance of its channel, averaged over the channels that vary. */
export function meanPower({
  channels,
  spectrum,
}: Pick<LatentAnalysis, "channels" | "spectrum">): number[] {
  const { power, frequencies } = spectrum;
  const varying = [...channels.std.keys()].filter((c) => channels.std[c]! > 0);
  return Array.from(frequencies, (_, ring) =>
    mean(
      Float64Array.from(
        varying,
        (c) => power.data[c * frequencies.length + ring]! / channels.std[c]! ** 2,
      ),
    ),
  );
}

function meaningOf({ probe, cknna }: LatentReportData): string {
  if (!probe && !cknna) return "";
  return renderSettings({
    ...(probe && {
      "Linear probe": `${(100 * probe.top1).toFixed(1)} % of ${probe.test} held-out images are given their class, one of ${probe.classes}, after a fit to ${probe.train} others. Guessing would give about ${(100 / probe.classes).toFixed(1)} %.`,
    }),
    ...(cknna && {
      CKNNA: `${cknna.value.toFixed(3)} to ${cknna.reference}, with ${cknna.k} neighbours of each image. Strangers have 0, equals 1.`,
    }),
  });
}

function mean(values: Float64Array): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}
