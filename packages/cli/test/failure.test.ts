import { readdir, readFile } from "node:fs/promises";
import { AlignTokError } from "@aligntok/core";
import { expect, test } from "vitest";
import { continuedBy, describeFailure } from "../src/failure.ts";

test.each([
  ["bad-input", 2],
  ["bad-format", 2],
  ["not-found", 2],
  ["unsupported", 2],
  ["unavailable", 1],
  ["io", 1],
  ["diverged", 1],
  ["aborted", 130],
] as const)("%s ends with %d", (code, exitCode) => {
  expect(describeFailure(new AlignTokError(code, "what: expected a.\n  do b"))).toEqual({
    exitCode,
    message: "what: expected a. do b",
  });
});

test("what was interrupted ends in the command's own next step, anything else is left alone", () => {
  const fail = continuedBy("add --resume");
  const saved = "saved in runs/a. call it again with the same folder to continue";
  expect(() => fail(new AlignTokError("aborted", saved))).toThrow(
    /^saved in runs\/a\. add --resume$/,
  );
  expect(() => fail(new AlignTokError("aborted", "interrupted"))).toThrow(/^interrupted\. add/);
  expect(() => fail(new AlignTokError("diverged", saved))).toThrow(saved);
});

test("a full disk says so and what to do", () => {
  const error = Object.assign(new Error("ENOSPC: write"), { code: "ENOSPC" });
  expect(describeFailure(error)).toEqual({
    exitCode: 1,
    message: "the disk is full. free some space and run the same command again",
  });
});

test("a missing file is named and counts as bad input", () => {
  const error = Object.assign(new Error("ENOENT"), { code: "ENOENT", path: "a/b.npy" });
  const { exitCode, message } = describeFailure(error);
  expect(exitCode).toBe(2);
  expect(message).toMatch(/^a\/b\.npy: no such file/);
});

test("an unexpected error fails with 1, on one line", () => {
  const { exitCode, message } = describeFailure(new TypeError("x is\nnot a function"));
  expect(exitCode).toBe(1);
  expect(message).toContain("x is not a function");
  expect(message).toContain("--log-level debug");
});

test("every message that says what was expected and what came goes on to the next step", async () => {
  const source = new URL("../src/", import.meta.url);
  const names = (await readdir(source, { recursive: true })).filter((name) => name.endsWith(".ts"));
  const without: string[] = [];
  let count = 0;
  for (const name of names) {
    const text = await readFile(new URL(name.replaceAll("\\", "/"), source), "utf8");
    for (const [message] of text.matchAll(/: expected [^\n]*, got [\s\S]{0,160}/g)) {
      count++;
      if (!/, got [\s\S]*\. [a-z$]/.test(message)) without.push(`${name}${message.split("\n")[0]}`);
    }
  }
  expect(without).toEqual([]);
  expect(count).toBeGreaterThan(25);
});
