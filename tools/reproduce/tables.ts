/** Results as the tables of docs/reproduction.md: means and spread over the seeds, and which of the paper's orderings hold. */
import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import type { Measures } from "./measure-row.ts";
import { type Row, type RowId, rowOf, rows } from "./rows.ts";

export interface Result extends Measures {
  readonly id: RowId;
  readonly seed: number;
}

export async function readResults(folder: string): Promise<Result[]> {
  const files = (await readdir(folder, { recursive: true })).filter((name) =>
    /seed-\d+\/[\w-]+\.json$/.test(name),
  );
  return Promise.all(
    files.sort().map(async (name) => JSON.parse(await readFile(join(folder, name), "utf8"))),
  );
}

type Metric = keyof Measures;

interface Column {
  readonly metric: Metric;
  readonly title: string;
  readonly show: (value: number) => string;
  readonly paper?: keyof Row["paper"];
}

const hundredths = (value: number) => value.toFixed(2);
const percent = (value: number) => (100 * value).toFixed(1);
const columns: readonly Column[] = [
  { metric: "psnr", title: "PSNR, dB", show: hundredths },
  { metric: "rfd", title: "rFD", show: hundredths, paper: "rfid" },
  { metric: "probe", title: "probe, %", show: percent, paper: "probe" },
  { metric: "cknna", title: "CKNNA", show: (value) => value.toFixed(3), paper: "cknna" },
  { metric: "gfd", title: "gFD", show: hundredths },
  { metric: "gfdGuided", title: "gFD, guided", show: hundredths, paper: "gfid" },
  { metric: "gfdReconstructed", title: "to reconstructions", show: hundredths },
];

const tables: readonly (readonly [title: string, ids: readonly RowId[]])[] = [
  [
    "Table 1: what the stages and their losses do",
    rows.map(({ id }) => id).filter((id) => !id.includes("vae")),
  ],
  [
    "Table 3: against autoencoders of the same decoder and steps",
    ["vanilla-vae", "va-vae", "va-vae-margins", "all-stages"],
  ],
];

/** What the paper's numbers say: the first is the better of the two. */
const claims: readonly (readonly [metric: Metric, better: RowId, worse: RowId])[] = [
  ["rfd", "semantic-0", "stage-1"],
  ["rfd", "semantic-1", "stage-1"],
  ["rfd", "semantic-0", "semantic-1"],
  ["rfd", "semantic-1", "semantic-5"],
  ["rfd", "semantic-1", "lora"],
  ["rfd", "before-adapter", "semantic-1"],
  ["rfd", "all-stages", "semantic-1"],
  ["rfd", "all-stages", "va-vae"],
  ["probe", "stage-1", "semantic-5"],
  ["probe", "semantic-5", "semantic-1"],
  ["probe", "semantic-1", "semantic-0"],
  ["probe", "semantic-1", "before-adapter"],
  ["probe", "cosine", "semantic-1"],
  ["probe", "semantic-1", "lora"],
  ["probe", "all-stages", "va-vae"],
  ["probe", "va-vae", "vanilla-vae"],
  ["cknna", "all-stages", "va-vae"],
  ["cknna", "va-vae", "vanilla-vae"],
  ["gfdReconstructed", "semantic-1", "semantic-0"],
  ["gfdReconstructed", "all-stages", "va-vae"],
  ["gfdReconstructed", "va-vae", "vanilla-vae"],
  ["gfdGuided", "semantic-1", "stage-1"],
  ["gfdGuided", "semantic-1", "semantic-0"],
  ["gfdGuided", "all-stages", "semantic-1"],
  ["gfdGuided", "all-stages", "va-vae"],
  ["gfdGuided", "va-vae", "vanilla-vae"],
];
const higherIsBetter: ReadonlySet<Metric> = new Set(["psnr", "ssim", "probe", "cknna"]);

export function formatTables(results: readonly Result[]): string {
  return [
    ...tables.map(([title, ids]) => `### ${title}\n\n${formatTable(ids, results)}`),
    `### Orderings\n\n${formatClaims(results)}`,
  ].join("\n\n");
}

function formatTable(ids: readonly RowId[], results: readonly Result[]): string {
  const head = columns.flatMap(({ title, paper }) => (paper ? [title, "paper"] : [title]));
  const body = ids.map((id) => {
    const own = results.filter((result) => result.id === id);
    const { name } = rowOf(id);
    const cells = columns.flatMap((column) => {
      const measured = describe(valuesOf(own, column.metric), column.show);
      return column.paper ? [measured, paperValue(id, column.paper)] : [measured];
    });
    return [name, ...cells, String(own.length)];
  });
  return markdown(["", ...head, "seeds"], body);
}

function paperValue(id: RowId, key: keyof Row["paper"]): string {
  return rowOf(id).paper[key]?.toFixed(key === "cknna" ? 3 : 2) ?? "";
}

/** `15.20 ± 0.03`: mean and standard deviation. */
function describe(values: readonly number[], show: (value: number) => string): string {
  if (values.length === 0) return "";
  const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
  if (values.length === 1) return show(mean);
  const squares = values.reduce((sum, value) => sum + (value - mean) ** 2, 0);
  return `${show(mean)} ± ${show(Math.sqrt(squares / (values.length - 1)))}`;
}

function formatClaims(results: readonly Result[]): string {
  const body = claims.flatMap(([metric, better, worse]) => {
    const seeds = results.filter(({ id }) => id === better).map(({ seed }) => seed);
    const pairs = seeds.flatMap((seed) => {
      const of = (id: RowId) => results.find((one) => one.id === id && one.seed === seed)?.[metric];
      const [a, b] = [of(better), of(worse)];
      return a === undefined || b === undefined ? [] : [[a, b] as const];
    });
    if (pairs.length === 0) return [];
    const holds = pairs.filter(([a, b]) => (higherIsBetter.has(metric) ? a > b : a < b)).length;
    const { title, show, paper } = columns.find((column) => column.metric === metric)!;
    const difference = describe(
      pairs.map(([a, b]) => a - b),
      show,
    );
    const papers = [better, worse].map((id) => paperValue(id, paper ?? "gfid"));
    return [
      [
        title,
        `${rowOf(better).name} better than ${rowOf(worse).name}`,
        papers.join(" : "),
        difference,
        `${holds} of ${pairs.length}`,
      ],
    ];
  });
  const head = ["", "the paper's ordering", "paper", "difference here", "holds in seeds"];
  return markdown(head, body, 2);
}

function valuesOf(results: readonly Result[], metric: Metric): number[] {
  return results.flatMap((result) => result[metric] ?? []);
}

/** @param names columns of words, which come first */
function markdown(
  head: readonly string[],
  body: readonly (readonly string[])[],
  names = 1,
): string {
  const line = (cells: readonly string[]) => `| ${cells.join(" | ")} |`;
  return [
    line(head),
    line(head.map((_, i) => (i < names ? "---" : "---:"))),
    ...body.map(line),
  ].join("\n");
}
