/** One self-contained HTML page about a run: no file beside it, no script, no request. */
import {
  type ReportFigure,
  type ReportGallery,
  type ReportTable,
  renderPictures,
  renderSettings,
  renderTable,
} from "./blocks.ts";
import { type ReportChart, renderChart } from "./chart.ts";
import { type ReportSection, type ReportSummary, renderPage, wrap } from "./page.ts";

export interface ReportData {
  readonly title: string;
  /** One line below the title: what, when, how long. */
  readonly subtitle?: string;
  readonly summary: ReportSummary;
  /** Loss and PSNR, per stage; the diffusion loss. */
  readonly curves: readonly ReportChart[];
  /** Held-out photographs beside their reconstructions after each stage. */
  readonly reconstructions: readonly (ReportFigure | ReportGallery)[];
  /** Principal components of encoder tokens and latents, as colours. */
  readonly latentMaps: readonly (ReportFigure | ReportGallery)[];
  /** One row a stage; `paperStages` fits as its context. */
  readonly metrics: readonly ReportTable[];
  /** Generated images per class and guidance scale. */
  readonly samples: readonly (ReportFigure | ReportGallery)[];
  readonly run: {
    /** Steps and seconds of each part of the run. */
    readonly timings: ReportTable;
    readonly seed: number;
    readonly versions: Readonly<Record<string, string>>;
    readonly config: Readonly<Record<string, unknown>>;
    /** The command that repeats the run. */
    readonly command?: string;
  };
}

/** The page as one string of HTML, UTF-8. Images are inlined as PNG; empty sections are left out. */
export function renderReport(data: ReportData): string {
  const { title, subtitle, summary } = data;
  const sections: readonly ReportSection[] = [
    {
      title: "Training curves",
      note: "Each stage starts from the weights that the one before it left. Faint lines are single steps, strong ones their running mean; dots are measurements on held-out photographs.",
      body: wrap("charts", data.curves.map(renderChart).join("\n")),
    },
    {
      title: "Reconstructions",
      note: "Photographs that no stage was trained on, through the tokenizer and back.",
      body: data.reconstructions.map(renderPictures).join("\n"),
    },
    {
      title: "What the latents hold",
      note: "The three strongest principal components of each map as red, green and blue. Where a map keeps the outlines of the encoder's, the latents kept its meaning.",
      body: data.latentMaps.map(renderPictures).join("\n"),
    },
    {
      title: "Measurements",
      note: "",
      body: data.metrics.map(renderTable).join("\n"),
    },
    {
      title: "Generated images",
      note: "Made from noise by a diffusion transformer in the tokenizer's latent space; nothing here is a photograph. A higher guidance scale follows the class more closely and varies less.",
      body: data.samples.map(renderPictures).join("\n"),
    },
    {
      title: "The run",
      note: "",
      body: renderRun(data.run),
    },
  ];
  return renderPage({ title, summary, sections, ...(subtitle && { subtitle }) });
}

function renderRun({ timings, seed, versions, config, command }: ReportData["run"]): string {
  return [
    command ? renderSettings({ command, seed }) : renderSettings({ seed }),
    renderTable(timings),
    `<details><summary>Configuration</summary>${renderSettings(config)}</details>`,
    `<details><summary>Versions</summary>${renderSettings(versions)}</details>`,
  ].join("\n");
}
