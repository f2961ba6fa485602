/**
 * Type-checks every ```ts block of the READMEs and guides, and runs those marked ```ts run: `npm run snippets`.
 *
 * A block must stand alone. Each becomes a file of `.snippets/` in which it keeps the line numbers of its page,
 * so that an error points at the page. Blocks run with the root of the repository as working directory.
 */
import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { listFiles, listPackages, root } from "./workspace.ts";

interface Snippet {
  readonly page: string;
  readonly line: number;
  /** Path of the extracted file, from the root. */
  readonly file: string;
  readonly run: boolean;
}

const folder = ".snippets";
const readmes = ["README.md", ...listPackages().map(({ path }) => `${path}/README.md`)];
const pages = [
  ...readmes.filter((page) => existsSync(join(root, page))),
  ...listFiles("docs/guides", ".md"),
];

rmSync(join(root, folder), { recursive: true, force: true });
mkdirSync(join(root, folder));
const snippets = pages.flatMap(extract);
writeFileSync(
  join(root, folder, "tsconfig.json"),
  JSON.stringify({ extends: "../tsconfig.base.json", include: ["*.ts"] }),
);

let failed = !typeCheck();
for (const snippet of failed ? [] : snippets.filter(({ run }) => run)) {
  failed = !run(snippet) || failed;
}
if (failed) {
  process.exitCode = 1;
} else {
  const count = snippets.filter(({ run }) => run).length;
  console.log(
    `snippets: ${snippets.length} type-checked, ${count} run, from ${pages.length} pages`,
  );
  rmSync(join(root, folder), { recursive: true });
}

function extract(page: string): Snippet[] {
  const lines = readFileSync(join(root, page), "utf8").split("\n");
  const found: Snippet[] = [];
  for (let start = 0; start < lines.length; start++) {
    const info = /^```ts( run)?\s*$/.exec(lines[start]!);
    if (!info) continue;
    const end = lines.indexOf("```", start);
    if (end < 0) throw new Error(`${page}:${start + 1}: this block has no end`);
    const file = `${folder}/${page.replaceAll(/[/.]/g, "-")}-${start + 1}.ts`;
    const padding = "\n".repeat(start + 1);
    writeFileSync(join(root, file), `${padding}${lines.slice(start + 1, end).join("\n")}\n`);
    found.push({ page, line: start + 1, file, run: info[1] !== undefined });
    start = end;
  }
  return found;
}

function typeCheck(): boolean {
  if (snippets.length === 0) return true;
  const compiler = join(root, "node_modules/typescript/bin/tsc");
  const { status, stdout } = spawnSync(process.execPath, [compiler, "-p", folder], {
    cwd: root,
    encoding: "utf8",
  });
  let report = stdout;
  for (const { file, page } of snippets) report = report.replaceAll(file, page);
  if (status !== 0) console.error(report.trim());
  return status === 0;
}

function run({ page, line, file }: Snippet): boolean {
  const started = performance.now();
  const { status, stdout, stderr } = spawnSync(
    process.execPath,
    ["--import", "tsx", "--conditions=@aligntok/source", file],
    { cwd: root, encoding: "utf8", timeout: 120_000 },
  );
  if (status === 0) {
    const seconds = (performance.now() - started) / 1000;
    console.log(`${page}:${line} ran in ${seconds.toFixed(1)} s`);
  } else {
    console.error(`${page}:${line} failed:\n${stdout}${stderr}`);
  }
  return status === 0;
}
