/** The building blocks of a report besides charts: pictures, tables and lists of settings. */
import { isRecord } from "../is-record.ts";
import { formatFigure } from "../progress-printer.ts";
import { escapeHtml, pngAddress } from "./html.ts";

/** One picture, shown as wide as the page allows. */
export interface ReportFigure {
  readonly title?: string;
  readonly caption?: string;
  readonly png: Uint8Array;
  /** Size of the PNG in pixels. */
  readonly width: number;
  readonly height: number;
}

/** Pictures to compare: groups stand side by side where the page is wide and below one another on a phone. */
export interface ReportGallery {
  readonly title?: string;
  readonly caption?: string;
  /** What stands above the pictures of every row: `photograph`, `stage 1`, ... */
  readonly columns?: readonly string[];
  readonly groups: readonly {
    readonly title?: string;
    readonly rows: readonly { readonly label?: string; readonly pngs: readonly Uint8Array[] }[];
  }[];
  /** Enlarge without smoothing, for maps with few pixels. @default false */
  readonly pixels?: boolean;
}

export type ReportCell = string | number | undefined;

export interface ReportTable {
  readonly title?: string;
  readonly caption?: string;
  /** Column headings with an optional second line, such as the unit; the first heads the row names. */
  readonly columns: readonly (string | readonly [heading: string, note: string])[];
  /** Row name first. Numbers are shown with four significant digits, missing cells as a dash. */
  readonly rows: readonly (readonly ReportCell[])[];
  /** Rows of other work, set apart and muted. */
  readonly context?: { readonly heading: string; readonly rows: ReportTable["rows"] };
}

export function renderPictures(pictures: ReportFigure | ReportGallery): string {
  return "png" in pictures ? renderFigure(pictures) : renderGallery(pictures);
}

export function renderFigure(figure: ReportFigure): string {
  const alt = figure.title ?? figure.caption ?? "";
  return `<figure>${heading(figure.title)}<img src="${pngAddress(figure.png)}" width="${figure.width}" height="${figure.height}" alt="${escapeHtml(alt)}">${caption(figure.caption)}</figure>`;
}

function renderGallery(gallery: ReportGallery): string {
  const { columns = [], groups, pixels = false } = gallery;
  const across = groups.reduce(
    (most, { rows }) => rows.reduce((m, { pngs }) => Math.max(m, pngs.length), most),
    Math.max(1, columns.length),
  );
  const strip = (cells: readonly string[]) =>
    `<div class="strip" style="grid-template-columns:repeat(${across},1fr)">${cells.join("")}</div>`;
  const body = groups.map(({ title, rows }) => {
    const strips = rows.map(({ label, pngs }) => {
      const images = pngs.map((png, i) => {
        const alt = [title, label, columns[i]].filter(Boolean).join(", ");
        return `<img${pixels ? ' class="pixels"' : ""} src="${pngAddress(png)}" alt="${escapeHtml(alt)}" loading="lazy">`;
      });
      return `${label ? `<div class="row-label">${escapeHtml(label)}</div>` : ""}${strip(images)}`;
    });
    const names = columns.map((column) => `<span>${escapeHtml(column)}</span>`);
    return `<div class="group">${heading(title)}${names.length > 0 ? strip(names) : ""}${strips.join("")}</div>`;
  });
  return `<figure>${heading(gallery.title)}<div class="groups${across > 6 ? " wide" : ""}">${body.join("\n")}</div>${caption(gallery.caption)}</figure>`;
}

export function renderTable(table: ReportTable): string {
  const head = table.columns.map((column) => {
    const [name, note] = typeof column === "string" ? [column] : column;
    return `<th scope="col">${escapeHtml(name)}${note ? `<small>${escapeHtml(note)}</small>` : ""}</th>`;
  });
  const row = (cells: readonly ReportCell[], kind = "") => {
    const rendered = table.columns.map((_, i) =>
      i === 0 ? `<th scope="row">${formatCell(cells[i])}</th>` : `<td>${formatCell(cells[i])}</td>`,
    );
    return `<tr${kind}>${rendered.join("")}</tr>`;
  };
  const context = table.context
    ? `<tr class="heading"><td colspan="${table.columns.length}"><div>${escapeHtml(table.context.heading)}</div></td></tr>${table.context.rows.map((cells) => row(cells, ' class="context"')).join("\n")}`
    : "";
  return `${heading(table.title)}<div class="scroll"><table><thead><tr>${head.join("")}</tr></thead><tbody>
${table.rows.map((cells) => row(cells)).join("\n")}${context}</tbody></table></div>${table.caption ? `<p class="note">${escapeHtml(table.caption)}</p>` : ""}`;
}

/** Names and values, two columns; nested records become dotted names. */
export function renderSettings(settings: Readonly<Record<string, unknown>>): string {
  const items = flatten(settings).map(
    ([name, value]) => `<dt>${escapeHtml(name)}</dt><dd>${escapeHtml(value)}</dd>`,
  );
  return `<dl class="settings">${items.join("\n")}</dl>`;
}

function flatten(value: unknown, prefix = ""): [string, string][] {
  if (isRecord(value)) {
    return Object.entries(value).flatMap(([key, inner]) =>
      flatten(inner, prefix ? `${prefix}.${key}` : key),
    );
  }
  if (value === undefined) return [];
  return [[prefix, Array.isArray(value) ? value.join(", ") : String(value)]];
}

function formatCell(cell: ReportCell): string {
  if (cell === undefined) return "–";
  return escapeHtml(typeof cell === "number" ? formatFigure(cell) : cell);
}

function heading(title: string | undefined): string {
  return title ? `<h3>${escapeHtml(title)}</h3>` : "";
}

function caption(text: string | undefined): string {
  return text ? `<figcaption>${escapeHtml(text)}</figcaption>` : "";
}
