import { expect, test } from "vitest";
import { createProgressPrinter, formatSeconds } from "../src/progress-printer.ts";

function record(isTTY: boolean) {
  let [text, time] = ["", 0];
  const stream = {
    isTTY,
    columns: 120,
    write(part: string) {
      text += part;
    },
  };
  const printer = createProgressPrinter(stream, { now: () => time });
  return {
    printer,
    text: () => text,
    wait(milliseconds: number) {
      time += milliseconds;
    },
  };
}

test("without a terminal, a line every five seconds and a last one at the end", () => {
  const { printer, text, wait } = record(false);
  for (let done = 0; done <= 120; done++) {
    printer.onProgress({ task: "stage 1", done, total: 120 });
    wait(100);
  }
  const lines = text().trimEnd().split("\n");
  expect(lines).toHaveLength(4); // at 1, 6, 11 and 12 seconds
  expect(text()).not.toContain("\r");
  expect(lines[1]).toBe("stage 1  60/120  50%  10.0/s  eta 0:06");
  expect(lines.at(-1)).toBe("stage 1  120/120  100%  10.0/s");
});

test("on a terminal, the bar repaints its line and ends it once", () => {
  const { printer, text, wait } = record(true);
  for (let done = 0; done <= 8; done++) {
    printer.onProgress({ task: "decoding", done, total: 8, metrics: { loss: 0.123456 } });
    wait(500);
  }
  printer.settle();
  const paints = text().split("\r\x1b[2K");
  expect(paints.at(-1)).toBe(`decoding  [${"#".repeat(24)}]  8/8  100%  2.00/s  loss 0.1235\n`);
  expect(paints[5]).toContain(`[${"#".repeat(12)}${"-".repeat(12)}]  4/8  50%`);
  expect(text().match(/\n/g)).toHaveLength(1);
});

test("a resumed task counts only the work of this process", () => {
  const { printer, text, wait } = record(false);
  printer.onProgress({ task: "stage 2", done: 900, total: 1000 });
  wait(10_000);
  printer.onProgress({ task: "stage 2", done: 910, total: 1000 });
  expect(text()).toContain("910/1000  91%  1.00/s  eta 1:30");
});

test("a new task settles the one before, whose last state is shown", () => {
  const { printer, text } = record(false);
  printer.onProgress({ task: "reading", done: 3 });
  printer.onProgress({ task: "writing", done: 1, total: 2 });
  printer.settle();
  expect(text()).toBe("reading  3\nwriting  1/2  50%\n");
});

test("bytes read as megabytes", () => {
  const { printer, text, wait } = record(false);
  printer.onProgress({ task: "model.safetensors", done: 0, total: 88_200_000, unit: "bytes" });
  wait(10_000);
  printer.onProgress({
    task: "model.safetensors",
    done: 44_100_000,
    total: 88_200_000,
    unit: "bytes",
  });
  expect(text()).toContain("44.10 MB/88.20 MB  50%  4.41 MB/s  eta 0:10");
});

test("seconds read as a clock", () => {
  expect([7, 754, 3723].map(formatSeconds)).toEqual(["0:07", "12:34", "1:02:03"]);
});
