/** Configuration files: YAML, changed by `--set`, checked against a schema. */
import { readFile } from "node:fs/promises";
import { AlignTokError, check } from "@aligntok/core";
import { parse } from "yaml";
import type { z } from "zod";

/**
 * Reads a configuration and fills in its defaults.
 *
 * @param settings `--set` of the command line: `stages.0.steps=100`, `encoder=dinov2-small`; values are YAML
 * @throws AlignTokError `not-found`, `io`, `bad-format` for what is not YAML, `bad-input` naming the keys that do not fit
 */
export async function readConfig<Schema extends z.ZodType>(
  path: string,
  schema: Schema,
  settings: readonly string[] = [],
): Promise<z.output<Schema>> {
  const raw = parseYaml(path, await readText(path)) ?? {};
  for (const setting of settings) applySetting(raw, setting);
  const result = schema.safeParse(raw, { reportInput: true });
  if (result.success) return result.data;
  const problems = result.error.issues.map((issue) => {
    const where = issue.path.join(".") || "file";
    const { received } = issue as { readonly received?: unknown };
    const given = issue.code === "invalid_type" ? typeName(issue.input ?? received) : "";
    return `${where}: ${issue.message.replace(/^Invalid input: /, "").replace(/^[A-Z]/, (c) => c.toLowerCase())}${given && !issue.message.includes("received") ? `, got ${given}` : ""}`;
  });
  throw new AlignTokError(
    "bad-input",
    `config ${path}: ${problems.slice(0, 5).join("; ")}${problems.length > 5 ? ` and ${problems.length - 5} more` : ""}. correct the file or the --set`,
  );
}

async function readText(path: string): Promise<string> {
  try {
    return await readFile(path, "utf8");
  } catch (cause) {
    const { code } = cause as NodeJS.ErrnoException;
    throw new AlignTokError(
      code === "ENOENT" ? "not-found" : "io",
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
    throw new AlignTokError("bad-format", `config ${path}: ${line}`, { cause });
  }
}

/** Sets what a dotted path names; records on the way are made where absent. */
function applySetting(root: unknown, setting: string): void {
  const [, path = "", text = ""] = /^([^=]+)=(.*)$/s.exec(setting) ?? [];
  check(path, () => `--set: expected key=value, got ${JSON.stringify(setting)}`);
  const keys = path.split(".");
  let place = root as Record<string, unknown>;
  for (const key of keys.slice(0, -1)) {
    place[key] ??= {};
    check(
      typeof place[key] === "object",
      () => `--set ${path}: expected ${key} to hold other keys, got ${String(place[key])}`,
    );
    place = place[key] as Record<string, unknown>;
  }
  place[keys.at(-1)!] = parseYaml(`--set ${path}`, text);
}

function typeName(value: unknown): string {
  return Array.isArray(value) ? "a list" : value === undefined ? "nothing" : typeof value;
}
