/** One self-contained HTML page: no file beside it, no script, no request. */
import { type ReportFigure, renderFigure } from "./blocks.ts";
import { anchor, escapeHtml } from "./html.ts";
import { style } from "./style.ts";

/** A figure to remember from a run: `PSNR after stage 3`, `16.0 dB`, `held-out photographs`. */
export interface ReportFact {
  readonly label: string;
  readonly value: string;
  readonly note?: string;
}

export interface ReportSummary {
  /** What happened, in plain words. */
  readonly paragraphs: readonly string[];
  readonly facts: readonly ReportFact[];
  /** The one picture to look at. */
  readonly figure?: ReportFigure;
}

export interface ReportSection {
  readonly title: string;
  readonly note: string;
  /** HTML; a section without any is left out, with its link. */
  readonly body: string;
}

export interface ReportPage {
  readonly title: string;
  /** One line below the title: what, when, how long. */
  readonly subtitle?: string;
  readonly summary: ReportSummary;
  readonly sections: readonly ReportSection[];
}

/** The page as one string of HTML, UTF-8. */
export function renderPage(page: ReportPage): string {
  const sections = page.sections.filter(({ body }) => body.length > 0);
  const links = sections.map(({ title }) => `<a href="#${anchor(title)}">${title}</a>`);
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="generator" content="aligntok">
<title>${escapeHtml(page.title)}</title>
<link rel="icon" href="data:,">
<style>${style}</style>
</head>
<body>
<main>
<header>
<h1>${escapeHtml(page.title)}</h1>
${page.subtitle ? `<p class="subtitle">${escapeHtml(page.subtitle)}</p>` : ""}
<nav>${links.join("")}</nav>
</header>
${renderSummary(page.summary)}
${sections.map(renderSection).join("\n")}
</main>
</body>
</html>
`;
}

function renderSummary({ paragraphs, facts, figure }: ReportSummary): string {
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

function renderSection({ title, note, body }: ReportSection): string {
  return `<section id="${anchor(title)}">
<h2>${title}</h2>
${note ? `<p class="note">${note}</p>` : ""}
${body}
</section>`;
}

/** In a `<div>` of a class of the style; nothing around nothing. */
export function wrap(name: string, body: string): string {
  return body ? `<div class="${name}">${body}</div>` : "";
}
