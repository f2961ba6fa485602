import { existsSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { sharedData } from "../src/index.ts";

const beside = join(import.meta.dirname, "../../../../shared/data");

test("a path that does not exist is undefined, so that a test can skip", () => {
  expect(sharedData("no-such-folder", "file.bin")).toBeUndefined();
});

test.skipIf(!existsSync(beside))(
  "the folder beside the checkout is found, with or without parts",
  () => {
    expect(sharedData()).toBeDefined();
    expect(existsSync(sharedData()!)).toBe(true);
  },
);
