import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import {
  createConstantSchedule,
  createCosineSchedule,
  createSchedule,
  createWarmup,
  type Schedule,
} from "../src/index.ts";

const golden = JSON.parse(
  readFileSync(new URL("fixtures/schedules.json", import.meta.url), "utf8"),
) as Record<"cosine" | "warmup" | "warmupCosine", number[]>;

function expectRates(schedule: Schedule, rates: readonly number[]): void {
  rates.forEach((rate, step) => {
    expect(Math.abs(schedule(step) - rate)).toBeLessThan(1e-12);
  });
}

describe("schedules against torch.optim.lr_scheduler", () => {
  it("cosine", () => {
    const schedule = createCosineSchedule(0.3, { steps: 12, minimum: 0.01 });
    expectRates(schedule, golden.cosine);
    expect(schedule(1000)).toBe(0.01);
  });

  it("warm-up to a constant", () => {
    expectRates(
      createWarmup(createConstantSchedule(0.3), { steps: 6, startFactor: 0.25 }),
      golden.warmup,
    );
  });

  it("warm-up to a cosine", () => {
    const cosine = createCosineSchedule(0.3, { steps: 10 });
    expectRates(createWarmup(cosine, { steps: 5, startFactor: 0.1 }), golden.warmupCosine);
  });

  it("both from plain settings", () => {
    const settings = { steps: 15, warmup: 5, minimum: 0.01 };
    const cosine = createCosineSchedule(0.3, { steps: 10, minimum: 0.01 });
    const composed = createWarmup(cosine, { steps: 5 });
    const rates = Array.from({ length: 20 }, (_, step) => composed(step));
    expectRates(createSchedule(0.3, { ...settings, shape: "cosine" }), rates);
    expectRates(createSchedule(0.3, settings), [0, 0.06, 0.12, 0.18, 0.24, 0.3, 0.3]);
    expectRates(createSchedule(0.3, { steps: 15 }), [0.3, 0.3]);
    expect(() => createSchedule(0.3, { steps: 5, warmup: 5 })).toThrow(
      /warm-up: expected fewer steps than the 5 in all, got 5/,
    );
  });
});
