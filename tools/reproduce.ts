/**
 * The paper's comparisons in the small: trains every row of `reproduce/rows.ts` for each seed, measures it, and writes the
 * tables of docs/reproduction.md to `tables.md` in the run folder and, with `--page`, to the page, with all numbers in a
 * file beside it. A killed run continues where it was; rows that are done are not trained again. Several processes may
 * work on different seeds.
 *
 *     node --import tsx --conditions=@aligntok/source tools/reproduce.ts --images flower_photos --judge inception-fid \
 *       [--out runs/reproduction] [--seeds 1,2,3] [--rows stage-1,semantic-0] [--threads 2] [--page docs/reproduction.md]
 */
import { mkdir, readFile } from "node:fs/promises";
import { basename, join } from "node:path";
import { parseArgs } from "node:util";
import { writeFileAtomic } from "@aligntok/checkpoint";
import { check } from "@aligntok/core";
import { loadEncoder } from "@aligntok/encoders";
import { sampleEncoderPath } from "@aligntok/samples";
import { createJudge, type Judge } from "./reproduce/judge.ts";
import { type Measures, measureSamples, measureTokenizer } from "./reproduce/measure-row.ts";
import { readPhotographs } from "./reproduce/photographs.ts";
import * as recipe from "./reproduce/recipe.ts";
import { type RowId, rowOf, rows } from "./reproduce/rows.ts";
import { formatTables, readResults } from "./reproduce/tables.ts";
import { type Setting, trainRow } from "./reproduce/train-row.ts";

const { values } = parseArgs({
  options: {
    images: { type: "string" },
    judge: { type: "string" },
    out: { type: "string", default: "runs/reproduction" },
    seeds: { type: "string", default: "1,2,3" },
    rows: { type: "string", default: rows.map(({ id }) => id).join() },
    threads: { type: "string" },
    page: { type: "string" },
  },
});
check(values.images && values.judge, "expected --images and --judge. see docs/reproduction.md");
const chosen = values.rows.split(",");
for (const id of chosen) {
  const known = rows.map((row) => row.id);
  check(known.includes(id as RowId), `--rows: expected some of ${known}, got ${id}. correct it`);
}
const engine = values.threads ? { threads: Number(values.threads) } : {};
const photographs = await readPhotographs(values.images);
const encoder = await loadEncoder(sampleEncoderPath(), engine);
await openFolder({ recipe, photographs: photographs.fingerprint, judge: basename(values.judge) });
const judge = await createJudge(values.judge, { photographs, engine });

for (const seed of values.seeds.split(",").map(Number)) {
  const folder = join(values.out, `seed-${seed}`);
  await mkdir(folder, { recursive: true });
  const setting: Setting = { photographs, encoder, seed, folder, engine, report };
  for (const id of chosen as RowId[]) {
    const path = join(folder, `${id}.json`);
    if (await exists(path)) continue;
    const result = JSON.stringify({ id, seed, ...(await measureRow(id, setting, judge)) });
    await writeFileAtomic(path, `${result}\n`);
    console.log(result);
    await writeTables();
  }
}
await writeTables();

/** Refuses a folder whose rows were made of other settings. */
async function openFolder(settings: object): Promise<void> {
  const path = join(values.out, "settings.json");
  const text = `${JSON.stringify(settings, null, 2)}\n`;
  await mkdir(values.out, { recursive: true });
  const found = await readFile(path, "utf8").catch(() => undefined);
  check(
    found === undefined || found === text,
    `${path}: expected the recipe, photographs and judge of now, got others. choose another --out`,
  );
  await writeFileAtomic(path, text);
}

async function writeTables(): Promise<void> {
  const results = await readResults(values.out);
  const tables = formatTables(results);
  await writeFileAtomic(join(values.out, "tables.md"), `${tables}\n`);
  if (!values.page) return;
  const text = await readFile(values.page, "utf8");
  const between = /(?<=<!-- tables -->\n).*(?=<!-- end of tables -->)/s;
  await writeFileAtomic(values.page, text.replace(between, `\n${tables}\n\n`));
  const lines = results.map((result) => `${JSON.stringify(result)}\n`);
  await writeFileAtomic(values.page.replace(/\.md$/, ".jsonl"), lines.join(""));
}

async function measureRow(id: RowId, setting: Setting, judge: Judge): Promise<Measures> {
  const trained = await trainRow(id, setting);
  const { training, diffusion } = rowOf(id);
  const latentsOf = "stage" in training && training.stage === "refine" ? training.from! : id;
  const measured = await measureTokenizer(trained, setting, judge);
  const samples = diffusion && (await measureSamples(latentsOf, trained, { setting, judge }));
  trained.tokenizer.dispose();
  return { ...measured, ...samples };
}

/** A line every tenth of a task. */
function report(task: string, done: number, total: number): void {
  if (done % Math.ceil(total / 10) === 0) console.error(`${task}: ${done} of ${total}`);
}

function exists(path: string): Promise<boolean> {
  return readFile(path).then(
    () => true,
    () => false,
  );
}
