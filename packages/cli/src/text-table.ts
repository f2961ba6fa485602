/** Columns for a terminal: the first to the left, figures to the right, two spaces between. */
export function formatColumns(
  titles: readonly string[],
  rows: readonly (readonly string[])[],
): string[] {
  const lines = [titles, ...rows];
  const widths = titles.map((_, i) => Math.max(...lines.map((line) => (line[i] ?? "").length)));
  return lines.map((line) =>
    widths
      .map((width, i) =>
        i === 0 ? (line[i] ?? "").padEnd(width) : (line[i] ?? "").padStart(width),
      )
      .join("  ")
      .trimEnd(),
  );
}
