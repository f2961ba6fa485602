import { appendFile, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import {
  crc32c,
  formatScalarRecord,
  formatVersionRecord,
  lengthUntilStep,
} from "../src/event-file.ts";
import { createRunLog, readRunLog } from "../src/index.ts";

const fixture = (name: string) => readFile(new URL(`fixtures/${name}`, import.meta.url));

describe("event files", () => {
  it("computes CRC-32C as RFC 3720 B.4 gives it", () => {
    expect(crc32c(new Uint8Array(32))).toBe(0x8a9136aa);
    expect(crc32c(new Uint8Array(32).fill(0xff))).toBe(0x62a8ab43);
    expect(crc32c(Uint8Array.from({ length: 32 }, (_, i) => i))).toBe(0x46dd794e);
    expect(crc32c(Buffer.from("123456789"))).toBe(0xe3069283);
  });

  it("equal TensorBoard's own byte for byte", async () => {
    const { wallTime, lines } = JSON.parse((await fixture("scalars.json")).toString()) as {
      wallTime: number;
      lines: ({ step: number } & Record<string, number>)[];
    };
    const ours = Buffer.concat([
      formatVersionRecord(wallTime),
      ...lines.map(({ step, ...metrics }) => formatScalarRecord(wallTime, step, metrics)),
    ]);
    expect(ours.equals(await fixture("scalars.tfevents"))).toBe(true);
  });

  it("are cut after a step, before a damaged or unfinished record", async () => {
    const bytes = await fixture("scalars.tfevents");
    const first = formatVersionRecord(0).length;
    const cuts = [0, 1, 299, 300, 2 ** 40 + 7].map((step) => lengthUntilStep(bytes, step));
    expect(cuts[0]).toBe(first);
    expect(cuts[1]).toBe(cuts[2]);
    expect(cuts[3]).toBeGreaterThan(cuts[2]!);
    expect(cuts[4]).toBe(bytes.length);
    expect(lengthUntilStep(bytes.subarray(0, -1), 2 ** 41)).toBe(cuts[3]);
    for (let i = 0; i < cuts[1]!; i++) {
      const damaged = Uint8Array.from(bytes);
      damaged[i]! ^= 0x10;
      expect(lengthUntilStep(damaged, 2 ** 41)).toBe(i < first ? 0 : first);
    }
  });
});

describe("createRunLog", () => {
  let folder: string;
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), "aligntok-log-"));
  });
  afterEach(() => rm(folder, { recursive: true, force: true }));

  it("appends, survives reopening, and forgets what comes after a step", async () => {
    const log = createRunLog(folder);
    log.write(10, { loss: 1.5, psnr: 20 });
    log.write(20, { loss: 1.25 });
    log.close();
    await appendFile(join(folder, "log.jsonl"), '{"step":30,"lo'); // killed while writing
    expect(await readRunLog(folder)).toEqual([
      { step: 10, loss: 1.5, psnr: 20 },
      { step: 20, loss: 1.25 },
    ]);

    const again = createRunLog(folder);
    again.rewind(10);
    again.write(20, { loss: 1 });
    again.close();
    expect(await readFile(join(folder, "log.jsonl"), "utf8")).toBe(
      '{"step":10,"loss":1.5,"psnr":20}\n{"step":20,"loss":1}\n',
    );
    const events = (await readdir(folder)).filter((name) => name.startsWith("events."));
    expect(events).toHaveLength(1);
    const bytes = await readFile(join(folder, events[0]!));
    expect(lengthUntilStep(bytes, 20)).toBe(bytes.length);
    const size = (record: Uint8Array) => record.length;
    expect(bytes.length).toBe(
      size(formatVersionRecord(0)) +
        size(formatScalarRecord(0, 10, { loss: 1, psnr: 1 })) +
        size(formatScalarRecord(0, 20, { loss: 1 })),
    );
  });

  it("reads no log as no lines", async () => {
    expect(await readRunLog(join(folder, "none"))).toEqual([]);
  });

  it("says in one line why it cannot be written", async () => {
    await writeFile(join(folder, "file"), "");
    expect(() => createRunLog(join(folder, "file"))).toThrow(
      /^log in .*file: a part of the path is a file/,
    );
  });
});
