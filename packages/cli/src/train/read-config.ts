/** Configuration files: YAML on top of another one (`base`), changed by `--set`, checked against a schema. */
import { existsSync } from "node:fs";
import { readdir, readFile } from "node:fs/promises";
import { dirname, join, resolve } from "node:path";
import { AlignTokError, check } from "@aligntok/core";
import { parse } from "yaml";
import type { z } from "zod";
import { isRecord } from "../is-record.ts";
import { packageFile } from "../version.ts";

type Fields = Record<string, unknown>;

/**
 * Reads a configuration and fills in its defaults. Its key `base` names the one that it changes, a file from where it lies
 * or a name: records are merged, everything else is replaced.
 *
 * @param path a file, or the name of one of the package's: `small`, `ablations/lora`
 * @param settings `--set` of the command line: `stages.latent.steps=100`, `encoder=dinov2-small`; values are YAML
 * @throws AlignTokError `not-found`, `io`, `bad-format` for what is not YAML, `bad-input` naming the keys that do not fit
 */
export async function readConfig<Schema extends z.ZodType>(
  path: string,
  schema: Schema,
  settings: readonly string[] = [],
): Promise<z.output<Schema>> {
  const raw = await readFields(path);
  for (const setting of settings) applySetting(raw, setting);
  const result = schema.safeParse(raw);
  if (result.success) return result.data;
  const problems = result.error.issues.map((issue) => describeIssue(issue));
  throw new AlignTokError(
    "bad-input",
    `config ${path}: ${problems.slice(0, 5).join("; ")}${problems.length > 5 ? ` and ${problems.length - 5} more` : ""}. correct the file or the --set`,
  );
}

type Issue = z.core.$ZodIssue;

/** `stages.latent.lr: expected number, received string` */
function describeIssue(issue: Issue, above: readonly PropertyKey[] = []): string {
  const path = [...above, ...issue.path];
  if (issue.code === "invalid_union") {
    // of several forms, the one that fits furthest is the one that was meant
    const depth = (issues: readonly Issue[]) => Math.max(...issues.map((one) => one.path.length));
    const [nearest] = [...issue.errors].sort((a, b) => depth(b) - depth(a));
    if (nearest && depth(nearest) > 0) return describeIssue(nearest[0]!, path);
    const forms = issue.errors.flatMap(([first]) => (first ? [plain(first)] : []));
    return `${path.join(".")}: ${forms.join(", or ")}`;
  }
  return `${path.join(".") || "file"}: ${plain(issue)}`;
}

function plain({ message }: Issue): string {
  return message.replace(/^Invalid (input|option): /, "").replace(/^[A-Z]/, (c) => c.toLowerCase());
}

async function readFields(path: string, above: readonly string[] = []): Promise<Fields> {
  const file = await locateFile(path);
  check(
    !above.includes(file),
    () => `config ${path}: expected a base that does not lead back to it. remove base`,
  );
  const { base, ...own } = (parseYaml(path, await readText(file)) ?? {}) as Fields;
  if (base === undefined) return own;
  check(
    typeof base === "string",
    () =>
      `config ${path}: base: expected a file or a name, got ${typeName(base)}. write it as base: small`,
  );
  const beside = resolve(dirname(file), base);
  const found = existsSync(beside) ? beside : base;
  return merge(await readFields(found, [...above, file]), own);
}

/** A file where it is one, otherwise that of the package with this name. */
async function locateFile(path: string): Promise<string> {
  const file = resolve(path);
  if (existsSync(file)) return file;
  const folder = packageFile("configs/tokenizer");
  const named = join(folder, `${path}.yaml`);
  if (existsSync(named)) return named;
  const names = (await readdir(folder, { recursive: true }))
    .filter((name) => name.endsWith(".yaml"))
    .map((name) => name.replaceAll("\\", "/").replace(/\.yaml$/, ""));
  throw new AlignTokError(
    "not-found",
    `config: expected a file or one of ${names.sort().join(", ")}, got ${path}. check the path`,
  );
}

function merge(base: Fields, own: Fields): Fields {
  const merged = { ...base };
  for (const [key, value] of Object.entries(own)) {
    const under = base[key];
    merged[key] = isRecord(under) && isRecord(value) ? merge(under, value) : value;
  }
  return merged;
}

async function readText(path: string): Promise<string> {
  try {
    return await readFile(path, "utf8");
  } catch (cause) {
    const { code } = cause as NodeJS.ErrnoException;
    throw new AlignTokError(
      "io",
      `config: expected a readable file ${path}, got ${code}. check the path`,
      { cause },
    );
  }
}

function parseYaml(path: string, text: string): unknown {
  try {
    return parse(text);
  } catch (cause) {
    const [line] = (cause as Error).message.split("\n");
    throw new AlignTokError("bad-format", `config ${path}: ${line} correct it`, { cause });
  }
}

/** Sets what a dotted path names; records on the way are made where absent. */
function applySetting(root: Fields, setting: string): void {
  const [, path = "", text = ""] = /^([^=]+)=(.*)$/s.exec(setting) ?? [];
  check(
    path,
    () =>
      `--set: expected key=value, got ${JSON.stringify(setting)}. write it as stages.latent.steps=100`,
  );
  const keys = path.split(".");
  let place = root;
  for (const key of keys.slice(0, -1)) {
    place[key] ??= {};
    const inner = place[key];
    check(
      isRecord(inner),
      () =>
        `--set ${path}: expected ${key} to hold other keys, got ${typeName(inner)}. set ${key} as a whole`,
    );
    place = inner;
  }
  place[keys.at(-1)!] = parseYaml(`--set ${path}`, text);
}

function typeName(value: unknown): string {
  return Array.isArray(value) ? "a list" : value === undefined ? "nothing" : typeof value;
}
