import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import {
  createConstantSchedule,
  createCosineSchedule,
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
});
