import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { zeros } from "@aligntok/core";
import { afterAll, beforeAll, expect, test } from "vitest";
import { castFloats, openCheckpoint } from "../src/index.ts";

let folder = "";
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "aligntok-kind-"));
});
afterAll(() => rm(folder, { recursive: true }));

const pointer =
  "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1258daaa5e2ca24d17e2393\nsize 12345\n";

test.each([
  ["model.safetensors", pointer, "a pointer of git-lfs in place of the file. run git lfs pull"],
  ["pytorch_model.bin", "", "an empty file. fetch it again"],
  ["page.pth", "<html>blocked</html>", "a web page. fetch the file itself"],
  ["form.safetensors", "\r\n<!DOCTYPE html>\n<p>sign in</p>", "a web page. fetch the file itself"],
  ["xhtml.pt", '<?xml version="1.0"?>\n<html xmlns="">', "a web page. fetch the file itself"],
  ["error.pt", "<Error>AccessDenied</Error>", "a web page. fetch the file itself"],
])("%s that is no weights says what it is and what to do", async (name, content, message) => {
  const path = join(folder, name);
  await writeFile(path, content);
  await expect(openCheckpoint(path)).rejects.toMatchObject({
    code: "bad-format",
    message: expect.stringContaining(`${name}: expected weights, got ${message}`),
  });
});

test("castFloats refuses what it does not convert to", () => {
  expect(() => castFloats({ w: zeros([1]) }, "float8_e4m3fn" as "float16")).toThrow(
    expect.objectContaining({ code: "bad-input", message: expect.stringContaining("bfloat16") }),
  );
});
