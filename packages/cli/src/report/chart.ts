/**
 * Line charts as inline SVG. Colours come from the page's CSS variables, which is what lets one drawing be right
 * in light and in dark.
 */
import { formatFigure } from "../progress-printer.ts";
import { anchor, escapeHtml } from "./html.ts";

/** One line of a chart: `[x, value]` in ascending order of x. */
export interface ReportSeries {
  readonly name: string;
  readonly points: readonly (readonly [number, number])[];
}

export interface ReportChart {
  readonly title: string;
  readonly caption?: string;
  /** Unit of the values, such as `dB`; shown at the top of the axis. */
  readonly unit?: string;
  /** What the horizontal axis counts. @default "step" */
  readonly axis?: string;
  /** At most four, in the order in which colours are given out. */
  readonly series: readonly ReportSeries[];
}

const [width, height] = [440, 250];
const margin = { top: 14, right: 10, bottom: 34, left: 44 };
const noisyFrom = 40; // points from which a series is drawn raw and faint under a smoothed line
const mostPoints = 300; // per drawn line; more would only grow the file

/** A figure: title, legend with last values, axes and one line a series. */
export function renderChart(chart: ReportChart): string {
  const { axis: across = "step" } = chart;
  const series = chart.series
    .map(({ name, points }) => {
      const finite = points.filter(([step, value]) => Number.isFinite(step + value));
      return { name, raw: thin(finite), line: thin(smooth(finite)), noisy: isNoisy(finite) };
    })
    .filter(({ line }) => line.length > 0);
  if (series.length === 0) return "";

  // The scale follows the smoothed lines, so that one spike does not flatten everything else.
  const drawn = series.flatMap(({ line }) => line);
  const steps = ticks(...extent(drawn.map(([step]) => step)), 5);
  const values = ticks(...padded(extent(drawn.map(([, value]) => value))), 5);
  const [left, right] = extent(drawn.map(([step]) => step));
  const [bottom, top] = [values[0]!, values.at(-1)!];
  const x = (step: number) =>
    margin.left + ((step - left) / (right - left || 1)) * (width - margin.left - margin.right);
  const y = (value: number) =>
    height -
    margin.bottom -
    ((value - bottom) / (top - bottom || 1)) * (height - margin.top - margin.bottom);
  const path = (points: ReportSeries["points"]) =>
    points.map(([s, v], i) => `${i ? "L" : "M"}${x(s).toFixed(1)} ${y(v).toFixed(1)}`).join("");

  const grid = values.map(
    (value) =>
      `<path class="grid" d="M${margin.left} ${Math.round(y(value))}H${width - margin.right}"/>` +
      `<text x="${margin.left - 8}" y="${(y(value) + 4).toFixed(1)}" text-anchor="end">${formatFigure(value)}</text>`,
  );
  const axis = steps
    .filter((step) => step >= left && step <= right)
    .map(
      (step) =>
        `<text x="${x(step).toFixed(1)}" y="${height - margin.bottom + 18}" text-anchor="middle">${formatCount(step)}</text>`,
    );
  const clip = `clip-${anchor(chart.title)}`;
  const lines = series.map(({ name, raw, line, noisy }, i) => {
    const color = `var(--series-${i + 1})`;
    const title = `<title>${escapeHtml(name)}</title>`;
    if (line.length === 1 || !noisy) {
      const dots = line.map(
        ([s, v]) =>
          `<circle cx="${x(s).toFixed(1)}" cy="${y(v).toFixed(1)}" r="4" fill="${color}"><title>${escapeHtml(name)}, ${escapeHtml(across)} ${formatFigure(s)}: ${formatFigure(v)}</title></circle>`,
      );
      return `<path class="line" stroke="${color}" d="${path(line)}">${title}</path>${dots.length <= 12 ? dots.join("") : ""}`;
    }
    return (
      `<path class="raw" stroke="${color}" d="${path(raw)}" clip-path="url(#${clip})"/>` +
      `<path class="line" stroke="${color}" d="${path(line)}">${title}</path>`
    );
  });
  const legend = series.map(
    ({ name, line }, i) =>
      `<li><i style="background:var(--series-${i + 1})"></i>${escapeHtml(name)} <b>${formatFigure(line.at(-1)![1])}</b></li>`,
  );
  const unit = chart.unit ? ` <small>${escapeHtml(chart.unit)}</small>` : "";
  return `<figure><h3>${escapeHtml(chart.title)}${unit}</h3>
<ul class="legend">${legend.join("")}</ul>
<svg class="chart" viewBox="0 0 ${width} ${height}" role="img" aria-label="${escapeHtml(chart.title)}">
<clipPath id="${clip}"><rect x="${margin.left}" y="${margin.top}" width="${width - margin.left - margin.right}" height="${height - margin.top - margin.bottom}"/></clipPath>
${grid.join("")}${axis.join("")}${lines.join("\n")}
<text x="${width - margin.right}" y="${height - 1}" text-anchor="end">${escapeHtml(across)}</text>
</svg>${chart.caption ? `<figcaption>${escapeHtml(chart.caption)}</figcaption>` : ""}</figure>`;
}

/** Round numbers that cover `low` to `high` in about `count` steps. */
export function ticks(low: number, high: number, count: number): number[] {
  const span = high - low || Math.abs(high) || 1;
  const rough = span / count;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = power * ([1, 2, 2.5, 5, 10].find((m) => m * power >= rough * 0.999) ?? 10);
  const first = Math.floor(low / step + 1e-9);
  const last = Math.max(first + 1, Math.ceil(high / step - 1e-9));
  return Array.from({ length: last - first + 1 }, (_, i) =>
    Number(((first + i) * step).toPrecision(12)),
  );
}

function isNoisy(points: ReportSeries["points"]): boolean {
  return points.length >= noisyFrom;
}

/** Exponential average over about a thirtieth of the series, corrected for its start as Adam's moments are. */
function smooth(points: ReportSeries["points"]): ReportSeries["points"] {
  if (!isNoisy(points)) return points;
  const keep = 1 - 1 / Math.max(1, points.length / 30);
  let [sum, weight] = [0, 0];
  return points.map(([step, value]) => {
    sum = keep * sum + value;
    weight = keep * weight + 1;
    return [step, sum / weight] as const;
  });
}

/** Means of runs of neighbours, so that at most `mostPoints` are left; the last point always stays. */
function thin(points: ReportSeries["points"]): ReportSeries["points"] {
  const run = Math.ceil(points.length / mostPoints);
  if (run <= 1) return points;
  const kept: (readonly [number, number])[] = [];
  for (let start = 0; start < points.length; start += run) {
    const part = points.slice(start, start + run);
    const mean = part.reduce((sum, [, value]) => sum + value, 0) / part.length;
    kept.push([part[0]![0], mean]);
  }
  kept.push(points.at(-1)!);
  return kept;
}

function extent(values: readonly number[]): [number, number] {
  return [
    values.reduce((a, b) => Math.min(a, b), Number.POSITIVE_INFINITY),
    values.reduce((a, b) => Math.max(a, b), Number.NEGATIVE_INFINITY),
  ];
}

/** A little room around a range; never below zero for values that are not. */
export function padded([low, high]: [number, number]): [number, number] {
  const pad = (high - low || Math.abs(high) || 1) * 0.06;
  return [low >= 0 ? Math.max(0, low - pad) : low - pad, high + pad];
}

/** `1500` to `1.5k`. */
function formatCount(value: number): string {
  return value >= 1000 ? `${formatFigure(value / 1000)}k` : formatFigure(value);
}
