/** Rows as a markdown table, which fits a terminal, too. */
import type { Row } from "./race.ts";

interface Column {
  readonly title: string;
  readonly cell: (row: Row) => string;
  /** Whether it is of transformers.js, and left out where no row has it. @default false */
  readonly second?: boolean;
}

const columns: readonly Column[] = [
  { title: "case", cell: (row) => row.case },
  { title: "ms", cell: ({ ms }) => figure(ms) },
  { title: "peer ms", cell: ({ peerMs }) => figure(peerMs) },
  { title: "ratio", cell: ({ ratio }) => ratio?.toFixed(2) ?? "" },
  { title: "bar", cell: ({ bar }) => bar?.toString() ?? "" },
  { title: "t.js ms", cell: ({ transformersJs }) => figure(transformersJs?.peerMs), second: true },
  {
    title: "ratio",
    cell: ({ transformersJs }) => transformersJs?.ratio?.toFixed(2) ?? "",
    second: true,
  },
  {
    title: "bar",
    cell: ({ transformersJs }) => transformersJs?.bar?.toString() ?? "",
    second: true,
  },
  { title: "GFLOP/s", cell: ({ gflops }) => gflops?.toFixed(0) ?? "" },
  {
    title: "of matmul",
    cell: ({ matmulShare }) => (matmulShare ? `${(100 * matmulShare).toFixed(0)} %` : ""),
  },
  { title: "MB", cell: ({ rssMb }) => figure(rssMb) },
  { title: "peer MB", cell: ({ peerRssMb }) => figure(peerRssMb) },
  {
    title: "t.js MB",
    cell: ({ transformersJs }) => figure(transformersJs?.peerRssMb),
    second: true,
  },
  { title: "compile ms", cell: ({ compileMs }) => figure(compileMs) },
];

/** One line a row, the first column to the left, figures to the right. */
export function formatTable(rows: readonly Row[]): string[] {
  const hasSecond = rows.some(({ transformersJs }) => transformersJs);
  const shown = columns.filter(({ second }) => hasSecond || !second);
  const cells = rows.map((row) => shown.map(({ cell }) => cell(row)));
  const widths = shown.map(({ title }, i) =>
    Math.max(title.length, ...cells.map((line) => line[i]!.length)),
  );
  const line = (texts: readonly string[]) =>
    `| ${texts.map((text, i) => (i === 0 ? text.padEnd(widths[i]!) : text.padStart(widths[i]!))).join(" | ")} |`;
  const rule = widths.map((width, i) =>
    i === 0 ? "-".repeat(width) : `${"-".repeat(width - 1)}:`,
  );
  return [line(shown.map(({ title }) => title)), line(rule), ...cells.map(line)];
}

/** Three digits where there are fewer. */
function figure(value: number | undefined): string {
  if (value === undefined) return "";
  return value >= 100 ? value.toFixed(0) : value.toPrecision(3);
}
