import { describe, expect, it } from "vitest";
import { createRateMeter } from "../src/index.ts";

describe("createRateMeter", () => {
  it("gives rate and remaining time over its window", () => {
    const meter = createRateMeter({ total: 100, window: 2 });
    expect(meter.update(40, 5)).toEqual({ rate: undefined, eta: undefined });
    expect(meter.update(41, 7)).toEqual({ rate: 0.5, eta: 118 });
    expect(meter.update(46, 8)).toEqual({ rate: 2, eta: 27 });
    expect(meter.update(51, 9)).toEqual({ rate: 5, eta: 9.8 }); // the slow first step is forgotten
  });

  it("has no remaining time without a total or without progress", () => {
    const meter = createRateMeter();
    meter.update(0, 0);
    expect(meter.update(3, 2)).toEqual({ rate: 1.5, eta: undefined });
    const stuck = createRateMeter({ total: 9 });
    stuck.update(1, 0);
    expect(stuck.update(1, 5)).toEqual({ rate: 0, eta: undefined });
  });
});
