import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, relative } from "node:path";
import { expandBraces, expandPaths } from "@aligntok/data-laion";
import { afterAll, beforeAll, describe, expect, it } from "vitest";

describe("expandBraces", () => {
  // what bash prints for `echo PATTERN`
  it.each([
    ["{000..003}.tar", "000.tar 001.tar 002.tar 003.tar"],
    ["a{b,c}{1..2}", "ab1 ab2 ac1 ac2"],
    ["{8..11}", "8 9 10 11"],
    ["{08..11}", "08 09 10 11"],
    ["{3..1}", "3 2 1"],
    ["{-1..1}", "-1 0 1"],
    ["{-01..1}", "-01 000 001"],
    ["a{b,c{d,e},}f", "abf acdf acef af"],
    ["a{{1..2},x}", "a1 a2 ax"],
    ["{1..2}{3..4}{5,6}", "135 136 145 146 235 236 245 246"],
    ["{a{1..2}", "{a1 {a2"],
    ["a{b}c", "a{b}c"],
    ["a{}c", "a{}c"],
    ["{b{c,d}}", "{bc} {bd}"],
    ["plain", "plain"],
    ["}x{", "}x{"],
  ])("%s", (pattern, wanted) => {
    expect(expandBraces(pattern)).toEqual(wanted.split(" "));
  });

  it("refuses to fill the memory", () => {
    expect(() => expandBraces("{0..99999999}")).toThrow(/at most 1000000 paths, got 100000000/);
    expect(() => expandBraces("{0..9999}{0..9999}")).toThrow(/got 100000000/);
  });
});

describe("expandPaths", () => {
  let folder: string;
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), "aligntok-paths-"));
    const files =
      "b.tar a.tar 0.TAR c+(d).tar .hidden.tar x/1.jpg x/y/2.jpg x/y/3.png z/4.jpg {1..2}.tar";
    for (const file of files.split(" ")) {
      await mkdir(join(folder, file, ".."), { recursive: true });
      await writeFile(join(folder, file), "");
    }
  });
  afterAll(() => rm(folder, { recursive: true }));

  it.each([
    ["*.tar", "a.tar b.tar c+(d).tar {1..2}.tar"],
    ["[ab].tar", "a.tar b.tar"],
    ["[!a].tar", "b.tar"],
    ["?.TAR", "0.TAR"],
    [".*.tar", ".hidden.tar"],
    ["c+(d)*", "c+(d).tar"],
    ["x/*.jpg", "x/1.jpg"],
    ["*/*.jpg", "x/1.jpg z/4.jpg"],
    ["**/*.jpg", "x/1.jpg x/y/2.jpg z/4.jpg"],
    ["x/**", "x/1.jpg x/y/2.jpg x/y/3.png"],
    ["{b,a}.tar", "b.tar a.tar"],
    ["{x,z}/*.jpg", "x/1.jpg z/4.jpg"],
    ["{1..2}.tar", "{1..2}.tar"],
  ])("%s", async (pattern, wanted) => {
    const found = await expandPaths(join(folder, pattern));
    expect(found.map((path) => relative(folder, path))).toEqual(wanted.split(" "));
  });

  it("takes several patterns in their order", async () => {
    const found = await expandPaths([join(folder, "b.tar"), join(folder, "a*")]);
    expect(found.map((path) => relative(folder, path))).toEqual(["b.tar", "a.tar"]);
  });

  it("names what is not there", async () => {
    await expect(expandPaths(join(folder, "{a,n}.tar"))).rejects.toMatchObject({
      code: "not-found",
      message: expect.stringContaining("n.tar: no such file"),
    });
    await expect(expandPaths(join(folder, "*.zip"))).rejects.toThrow(
      /\*\.zip: expected matching files, got none/,
    );
  });
});
