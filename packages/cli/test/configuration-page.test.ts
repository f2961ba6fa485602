/** docs/tokenizer-configuration.md has the keys of the schema, and the defaults that it gives them. */
import { readFile } from "node:fs/promises";
import { expect, test } from "vitest";
import { parse } from "yaml";
import { z } from "zod";
import { tokenizerConfigSchema } from "../src/train/tokenizer-config.ts";

interface Json {
  readonly properties?: Readonly<Record<string, Json>>;
  readonly additionalProperties?: Json | false;
  readonly anyOf?: readonly Json[];
  readonly oneOf?: readonly Json[];
  readonly default?: unknown;
}

/** Dotted names with the schemas' defaults; those of a stage without `stages` and its name. */
function keysOf(schema: Json, above = ""): (readonly [string, unknown])[] {
  const { properties = {}, additionalProperties, anyOf = [], oneOf = [] } = schema;
  const inner = Object.entries({
    ...properties,
    ...(additionalProperties && { "*": additionalProperties }),
  });
  return [
    ...inner.flatMap(([key, value]) => [
      [above + key, value.default] as const,
      ...keysOf(value, above === "stages." ? "" : `${above}${key}.`),
    ]),
    ...[...anyOf, ...oneOf].flatMap((form) => keysOf(form, above)),
  ];
}

test("the page of the configuration lists the keys of the schema and their defaults", async () => {
  const page = await readFile(
    new URL("../../../docs/tokenizer-configuration.md", import.meta.url),
    "utf8",
  );
  const rows = [...page.matchAll(/^\| `([^`]+)` \| (.*?) \|/gm)].map(
    ([, key, value]) => [key!, value!] as const,
  );
  const keys = keysOf(z.toJSONSchema(tokenizerConfigSchema, { io: "input" }) as Json);
  const defaults = new Map<string, unknown>();
  for (const [key, value] of keys) defaults.set(key, defaults.get(key) ?? value); // of any kind
  expect(rows.map(([key]) => key).sort()).toEqual([...defaults.keys()].sort());
  for (const [key, value] of rows) {
    const wanted = defaults.get(key);
    if (wanted !== undefined)
      expect([key, parse(value.replaceAll("`", ""))]).toEqual([key, wanted]);
  }
});
