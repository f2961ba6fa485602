/** Values of JSON of the types that we expect. */
import { check } from "@aligntok/core";

export type Json = Readonly<Record<string, unknown>>;

export function asRecord(value: unknown, what: string): Json {
  check(
    typeof value === "object" && value !== null && !Array.isArray(value),
    () =>
      `${what}: expected a JSON object, got ${JSON.stringify(value)?.slice(0, 40)}. correct config.json`,
  );
  return value as Json;
}

/** Bounded, so that no file makes us allocate without end. */
export function asCount(value: unknown, what: string, least: 0 | 1 = 1): number {
  check(
    typeof value === "number" && Number.isInteger(value) && value >= least && value <= 16_384,
    () =>
      `config ${what}: expected a whole number from ${least} to 16384, got ${JSON.stringify(value)}. correct config.json`,
  );
  return value;
}

export function asBoolean(value: unknown, what: string): boolean {
  check(
    typeof value === "boolean",
    () =>
      `config ${what}: expected true or false, got ${JSON.stringify(value)}. correct config.json`,
  );
  return value;
}

export function asNumber(value: unknown, what: string): number {
  check(
    typeof value === "number" && Number.isFinite(value),
    () => `config ${what}: expected a number, got ${JSON.stringify(value)}. correct config.json`,
  );
  return value;
}
