/** One self-contained HTML page about a run: no file beside it, no script, no request. */
import {
  type ReportFigure,
  type ReportGallery,
  type ReportTable,
  renderFigure,
  renderGallery,
  renderSettings,
  renderTable,
} from "./blocks.ts";
import { type ReportChart, renderChart } from "./chart.ts";
import { anchor, escapeHtml } from "./html.ts";
import { style } from "./style.ts";

/** A figure to remember from a run: `PSNR after stage 3`, `16.0 dB`, `held-out photographs`. */
export interface ReportFact {
  readonly label: string;
  readonly value: string;
  readonly note?: string;
}

export interface ReportData {
  readonly title: string;
  /** One line below the title: what, when, how long. */
  readonly subtitle?: string;
  readonly summary: {
    /** What happened, in plain words. */
    readonly paragraphs: readonly string[];
    readonly facts: readonly ReportFact[];
    /** The one picture to look at. */
    readonly figure?: ReportFigure;
  };
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

interface Section {
  readonly title: string;
  readonly note: string;
  readonly body: string;
}

/** The page as one string of HTML, UTF-8. Images are inlined as PNG; empty sections are left out. */
export function renderReport(data: ReportData): string {
  const sections: readonly Section[] = [
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
  ].filter(({ body }) => body.length > 0);

  const links = sections.map(({ title }) => `<a href="#${anchor(title)}">${title}</a>`);
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="generator" content="aligntok">
<title>${escapeHtml(data.title)}</title>
<link rel="icon" href="data:,">
<style>${style}</style>
</head>
<body>
<main>
<header>
<h1>${escapeHtml(data.title)}</h1>
${data.subtitle ? `<p class="subtitle">${escapeHtml(data.subtitle)}</p>` : ""}
<nav>${links.join("")}</nav>
</header>
${renderSummary(data.summary)}
${sections.map(renderSection).join("\n")}
</main>
</body>
</html>
`;
}

function renderSummary({ paragraphs, facts, figure }: ReportData["summary"]): string {
  const tiles = facts.map(
    ({ label, value, note }) =>
      `<div><dt>${escapeHtml(label)}</dt><dd>${escapeHtml(value)}${note ? `<small>${escapeHtml(note)}</small>` : ""}</dd></div>`,
  );
  return `<section class="summary">
${paragraphs.map((text) => `<p>${escapeHtml(text)}</p>`).join("\n")}
${figure ? wrap("hero", renderFigure(figure)) : ""}
${tiles.length > 0 ? `<dl class="facts">${tiles.join("\n")}</dl>` : ""}
</section>`;
}

function renderSection({ title, note, body }: Section): string {
  return `<section id="${anchor(title)}">
<h2>${title}</h2>
${note ? `<p class="note">${note}</p>` : ""}
${body}
</section>`;
}

function renderPictures(pictures: ReportFigure | ReportGallery): string {
  return "png" in pictures ? renderFigure(pictures) : renderGallery(pictures);
}

function renderRun({ timings, seed, versions, config, command }: ReportData["run"]): string {
  return [
    command ? renderSettings({ command, seed }) : renderSettings({ seed }),
    renderTable(timings),
    `<details><summary>Configuration</summary>${renderSettings(config)}</details>`,
    `<details><summary>Versions</summary>${renderSettings(versions)}</details>`,
  ].join("\n");
}

function wrap(name: string, body: string): string {
  return body ? `<div class="${name}">${body}</div>` : "";
}
