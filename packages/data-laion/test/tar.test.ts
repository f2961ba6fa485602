import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { AlignTokError } from "@aligntok/core";
import {
  readSamples,
  readTar,
  sampleKey,
  type TarInput,
  type TarMember,
} from "@aligntok/data-laion";
import { sharedData } from "@aligntok/testing";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { packTar } from "./pack.ts";

const fixture = (name: string) => join(import.meta.dirname, "fixtures/tar", name);
const expected = JSON.parse(readFileSync(fixture("expected.json"), "utf8"));
const sha = (data: Uint8Array | string) =>
  createHash("sha256").update(data).digest("hex").slice(0, 16);

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "aligntok-tar-"));
});
afterAll(() => rm(folder, { recursive: true }));

async function all<T>(items: AsyncIterable<T>): Promise<T[]> {
  const list: T[] = [];
  for await (const item of items) list.push(item);
  return list;
}

/** The members that could be read, and the error that ended it. */
async function attempt(input: TarInput): Promise<{ members: TarMember[]; error: unknown }> {
  const members: TarMember[] = [];
  try {
    for await (const member of readTar(input)) members.push(member);
    return { members, error: undefined };
  } catch (error) {
    return { members, error };
  }
}

async function* chunks(bytes: Uint8Array, size: number): AsyncGenerator<Uint8Array, void> {
  for (let i = 0; i < bytes.length; i += size) yield bytes.subarray(i, i + size);
}

async function describeTar(input: TarInput): Promise<unknown> {
  const members = await all(readTar(input));
  return members.map(({ name, kind, offset, data }) => [
    name,
    kind,
    kind === "file" ? offset : 0,
    data.length,
    sha(data),
  ]);
}

async function describeSamples(input: TarInput): Promise<unknown> {
  const samples = await all(readSamples(input));
  return samples.map(({ key, files }) => ({
    key,
    files: Object.fromEntries(Object.entries(files).map(([name, data]) => [name, sha(data)])),
  }));
}

describe.each(["gnu", "pax", "ustar"])("an archive of the %s dialect", (dialect) => {
  const golden = expected.archives[dialect];
  const bytes = readFileSync(fixture(`${dialect}.tar`));

  it("has the members that tarfile finds, from a path, bytes, chunks and gzip", async () => {
    expect(await describeTar(fixture(`${dialect}.tar`))).toEqual(golden.members);
    expect(await describeTar(bytes)).toEqual(golden.members);
    for (const size of [1, 700, 100_000]) {
      expect(await describeTar(chunks(bytes, size))).toEqual(golden.members);
      expect(await describeTar(chunks(gzipSync(bytes), size))).toEqual(golden.members);
    }
    const gz = join(folder, `${dialect}.anything`);
    await writeFile(gz, gzipSync(bytes));
    expect(await describeTar(gz)).toEqual(golden.members);
  });

  it("has the samples of webdataset's grouping", async () => {
    expect(await describeSamples(bytes)).toEqual(golden.samples);
  });
});

describe("real shards", () => {
  for (const [path, golden] of Object.entries<Record<string, unknown>>(expected.shards)) {
    const shard = sharedData(path);
    it.skipIf(!shard)(`${path} has the members and samples that Python reads`, async () => {
      const members = await all(readTar(shard!));
      expect(members).toHaveLength(golden.members as number);
      const listed = members.map(({ name, kind, data }) => [name, kind, data.length, sha(data)]);
      expect(sha(JSON.stringify(listed))).toBe(golden.membersHash);
      const samples = (await describeSamples(shard!)) as { key: string; files: object }[];
      expect(samples).toHaveLength(golden.samples as number);
      const grouped = samples.map(({ key, files }) => [key, Object.entries(files).sort()]);
      expect(sha(JSON.stringify(grouped))).toBe(golden.samplesHash);
    });
  }
});

const anyName = fc
  .array(fc.stringMatching(/^[a-zA-Zäß日][a-zA-Z0-9._ äß日-]{0,60}$/), {
    minLength: 1,
    maxLength: 6,
  })
  .map((parts) => parts.join("/"));
const anyFiles = fc.array(fc.tuple(anyName, fc.uint8Array({ maxLength: 1500 })), { maxLength: 6 });

describe("readTar", () => {
  it("reads what tar-stream writes", async () => {
    await fc.assert(
      fc.asyncProperty(anyFiles, fc.integer({ min: 1, max: 3000 }), async (files, size) => {
        const members = await all(readTar(chunks(await packTar(files), size)));
        expect(members.map(({ name, data }) => [name, data])).toEqual(files);
      }),
      { numRuns: 60 },
    );
  });

  it("gives the members ahead of a cut, then says that the archive is cut short", async () => {
    const whole = readFileSync(fixture("gnu.tar"));
    const { members } = await attempt(whole);
    for (const input of ["bytes", "file", "gzip"] as const) {
      await fc.assert(
        fc.asyncProperty(fc.integer({ min: 1, max: whole.length - 1 }), async (cut) => {
          const part = whole.subarray(0, cut);
          const path = join(folder, "cut.tar");
          if (input !== "bytes") await writeFile(path, input === "gzip" ? gzipSync(part) : part);
          const { members: found, error } = await attempt(input === "bytes" ? part : path);
          expect(found).toEqual(members.slice(0, found.length));
          // a member is given exactly when its data is there
          const there = members.filter(({ offset, data }) => offset + data.length <= cut);
          expect(found.length).toBe(there.length);
          if (cut % 512 !== 0 && found.length < members.length) expect(error).toBeDefined();
          if (error !== undefined) {
            expect(AlignTokError.isInstance(error) && error.code).toBe("bad-format");
            expect((error as Error).message).toMatch(/cut short/);
          }
        }),
        { numRuns: 25 },
      );
    }
  });

  it("says so when the gzip data is cut", async () => {
    const path = join(folder, "cut.tar.gz");
    await writeFile(path, gzipSync(readFileSync(fixture("gnu.tar"))).subarray(0, 3000));
    const { members, error } = await attempt(path);
    expect(members.length).toBeGreaterThan(0);
    expect(AlignTokError.isInstance(error) && error.code).toBe("bad-format");
    expect((error as Error).message).toMatch(/cut\.tar\.gz: expected whole gzip data/);
  });

  it("never fails on damaged bytes but with bad-format or unsupported", async () => {
    const whole = readFileSync(fixture("pax.tar"));
    const anyDamage = fc.array(
      fc.tuple(fc.nat(whole.length - 1), fc.integer({ min: 0, max: 255 })),
      {
        minLength: 1,
        maxLength: 4,
      },
    );
    await fc.assert(
      fc.asyncProperty(anyDamage, fc.boolean(), async (damage, mend) => {
        const bytes = Uint8Array.from(whole);
        for (const [at, value] of damage) bytes[at] = value;
        if (mend) for (const [at] of damage) mendChecksum(bytes, at - (at % 512));
        const { error } = await attempt(bytes);
        if (error === undefined) return;
        if (!AlignTokError.isInstance(error)) throw error;
        expect(["bad-format", "unsupported"]).toContain(error.code);
      }),
      { numRuns: 300 },
    );
    await fc.assert(
      fc.asyncProperty(fc.uint8Array({ minLength: 1, maxLength: 2000 }), async (bytes) => {
        const { error } = await attempt(bytes);
        const zeros = bytes.length >= 512 && bytes.subarray(0, 512).every((byte) => byte === 0);
        if (!zeros) expect(AlignTokError.isInstance(error) && error.code).toBe("bad-format");
      }),
    );
  });

  it("does not believe a size that the file cannot hold", async () => {
    const [bytes] = [await packTar([["a.jpg", new Uint8Array(5)]])];
    bytes.set(new TextEncoder().encode("77777777777\0"), 124); // 8 GiB
    mendChecksum(bytes, 0);
    const path = join(folder, "huge.tar");
    await writeFile(path, bytes);
    expect((await attempt(path)).error).toMatchObject({ code: "unsupported" });
    bytes.set(new TextEncoder().encode("17000000000\0"), 124); // 1.9 GiB
    mendChecksum(bytes, 0);
    await writeFile(path, bytes);
    const { error } = await attempt(path);
    expect(error).toMatchObject({ code: "bad-format" });
    expect((error as Error).message).toMatch(
      /a\.jpg: expected 2013265920 bytes of its data, got 1536/,
    );
  });

  it("reads V7 headers, where a slash at the end makes a directory", async () => {
    const bytes = await packTar([
      ["folder/", new Uint8Array(0)],
      ["a.jpg", Uint8Array.of(1, 2)],
    ]);
    for (const at of [0, 512]) {
      bytes.fill(0, at + 156, at + 157).fill(0, at + 257, at + 512);
      mendChecksum(bytes, at);
    }
    expect((await all(readTar(bytes))).map(({ name, kind }) => [name, kind])).toEqual([
      ["folder", "directory"],
      ["a.jpg", "file"],
    ]);
  });

  it("stops at an abort", async () => {
    const controller = new AbortController();
    const reading = readTar(fixture("gnu.tar"), { signal: controller.signal });
    await reading.next();
    controller.abort();
    await expect(reading.next()).rejects.toMatchObject({ code: "aborted" });
  });

  it("names a file that is not there, or is no tar", async () => {
    await expect(all(readTar(join(folder, "none.tar")))).rejects.toMatchObject({
      code: "not-found",
    });
    await expect(all(readTar(import.meta.filename))).rejects.toThrow(
      /tar\.test\.ts at byte 0: expected a tar header.*not a tar/,
    );
    await expect(all(readTar(folder))).rejects.toMatchObject({ code: "io" });
  });
});

describe("readSamples", () => {
  it("refuses an extension that comes twice in a sample", async () => {
    const bytes = await packTar([
      ["a.jpg", Uint8Array.of(1)],
      ["a.JPG", Uint8Array.of(2)],
    ]);
    await expect(all(readSamples(bytes))).rejects.toThrow(/a\.JPG: expected one \.jpg in sample a/);
  });

  it("takes keys as webdataset's pattern does", () => {
    const part = fc.constantFrom("a", "bc", ".", "/", "__", "_", "x.y", "//", "Z");
    fc.assert(
      fc.property(fc.array(part, { maxLength: 9 }), (parts) => {
        const name = parts.join("");
        const match = /^((?:.*\/|)[^.]+)[.]([^/]*)$/.exec(name);
        const wanted = match && !/^__[^/]*__($|\/)/.test(name);
        expect(sampleKey(name)).toEqual(wanted ? [match[1], match[2]!.toLowerCase()] : undefined);
      }),
      { numRuns: 3000 },
    );
  });
});

/** Writes the checksum that the header at `start` now has. */
function mendChecksum(bytes: Uint8Array, start: number): void {
  bytes.fill(32, start + 148, start + 156);
  const sum = bytes.subarray(start, start + 512).reduce((total, byte) => total + byte, 0);
  bytes.set(new TextEncoder().encode(`${sum.toString(8).padStart(6, "0")}\0 `), start + 148);
}
