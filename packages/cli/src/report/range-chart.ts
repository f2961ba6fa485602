/** Many distributions side by side as inline SVG: a thin line from least to most, a bar over mean ± deviation, a dot. */
import { formatFigure } from "../progress-printer.ts";
import { padded, ticks } from "./chart.ts";
import { escapeHtml } from "./html.ts";

export interface ReportRanges {
  readonly title: string;
  readonly caption?: string;
  /** What the horizontal axis counts: `channel`. */
  readonly axis: string;
  /** From the left. */
  readonly ranges: readonly {
    readonly mean: number;
    readonly std: number;
    readonly min: number;
    readonly max: number;
  }[];
}

const [width, height] = [920, 260];
const margin = { top: 12, right: 10, bottom: 34, left: 44 };

/** A figure as wide as the page; nothing for no range. */
export function renderRanges(chart: ReportRanges): string {
  const { ranges, axis } = chart;
  if (ranges.length === 0) return "";
  const low = ranges.reduce((least, { min }) => Math.min(least, min), Number.POSITIVE_INFINITY);
  const high = ranges.reduce((most, { max }) => Math.max(most, max), Number.NEGATIVE_INFINITY);
  const values = ticks(...padded([low, high]), 5);
  const [bottom, top] = [values[0]!, values.at(-1)!];
  const y = (value: number) =>
    height -
    margin.bottom -
    ((value - bottom) / (top - bottom)) * (height - margin.top - margin.bottom);
  const slot = (width - margin.left - margin.right) / ranges.length;
  const x = (i: number) => margin.left + (i + 0.5) * slot;
  const thick = Math.max(1, Math.min(14, slot * 0.6));

  const grid = values.map(
    (value) =>
      `<path class="grid" d="M${margin.left} ${Math.round(y(value))}H${width - margin.right}"/>` +
      `<text x="${margin.left - 8}" y="${(y(value) + 4).toFixed(1)}" text-anchor="end">${formatFigure(value)}</text>`,
  );
  const every = Math.ceil(ranges.length / 16);
  const names = ranges.flatMap((_, i) =>
    i % every === 0
      ? `<text x="${x(i).toFixed(1)}" y="${height - margin.bottom + 18}" text-anchor="middle">${i}</text>`
      : [],
  );
  const bars = ranges.map(({ mean, std, min, max }, i) => {
    const at = x(i).toFixed(1);
    const said = `${axis} ${i}: mean ${formatFigure(mean)}, deviation ${formatFigure(std)}, ${formatFigure(min)} to ${formatFigure(max)}`;
    const upper = y(Math.min(max, mean + std));
    const lower = y(Math.max(min, mean - std));
    return `<g><title>${escapeHtml(said)}</title>
<path class="span" d="M${at} ${y(min).toFixed(1)}V${y(max).toFixed(1)}"/>
<rect class="bar" x="${(x(i) - thick / 2).toFixed(1)}" y="${upper.toFixed(1)}" width="${thick.toFixed(1)}" height="${Math.max(1, lower - upper).toFixed(1)}" rx="${Math.min(3, thick / 4).toFixed(1)}"/>
<path class="mean" d="M${(x(i) - thick / 2).toFixed(1)} ${y(mean).toFixed(1)}h${thick.toFixed(1)}"/></g>`;
  });
  return `<figure><h3>${escapeHtml(chart.title)}</h3>
<div class="scroll"><svg class="chart ranges" viewBox="0 0 ${width} ${height}" role="img" aria-label="${escapeHtml(chart.title)}">
${grid.join("")}${names.join("")}
${bars.join("\n")}
<text x="${width - margin.right}" y="${height - 1}" text-anchor="end">${escapeHtml(axis)}</text>
</svg></div>${chart.caption ? `<figcaption>${escapeHtml(chart.caption)}</figcaption>` : ""}</figure>`;
}
