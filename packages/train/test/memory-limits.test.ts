import { createRandom, ndarray } from "@aligntok/core";
import { afterEach, beforeEach, expect, it, vi } from "vitest";

/** The part of WebAssembly that limits of the address space make fail. */
const wasm = (globalThis as never as { WebAssembly: { Memory: new (o: never) => object } })
  .WebAssembly;
const { Memory } = wasm;

/** Refuses memories of as many pages and more, as an operating system does that has no addresses left. */
function refuse(pages: number): void {
  wasm.Memory = class extends Memory {
    constructor(options: { readonly initial: number }) {
      if (options.initial >= pages) throw new RangeError("could not allocate memory");
      super(options as never);
    }
  };
}
beforeEach(() => {
  vi.resetModules(); // a window that is there already stays
});
afterEach(() => {
  wasm.Memory = Memory;
});

/** Parameters and the norm of the last gradient after three updates. */
async function train() {
  const { computeGradientNorm, createAdamW, createEma, flattenParameters, zerosLike } =
    await import("../src/index.ts");
  const random = createRandom(0, "limits");
  const parameters = flattenParameters({ x: ndarray(random.normals(70_000), [70_000]) });
  const gradients = zerosLike(parameters);
  const ema = createEma(parameters, { decay: 0.5 });
  const optimizer = createAdamW(parameters, { ema });
  for (let step = 0; step < 3; step++) {
    gradients.flat.set(random.normals(70_000));
    optimizer.update(gradients.flat, { lr: 0.1 });
  }
  return {
    result: [parameters.flat, ema.parameters.flat, computeGradientNorm(gradients.flat)],
    shared: parameters.flat.buffer === gradients.flat.buffer,
  };
}

it("trains with the same bits through the window where a memory of its own is refused", async () => {
  const usual = await train();
  expect(usual.shared).toBe(true);
  vi.resetModules();
  refuse(10);
  const limited = await train();
  expect(limited.shared).toBe(false);
  const [parameters, average] = limited.result;
  expect(parameters).toEqual(usual.result[0]);
  expect(average).toEqual(usual.result[1]);
  expect(limited.result[2]).toBeCloseTo(usual.result[2] as number, 9);
});

it("names the limit where not even the window is granted", async () => {
  refuse(0);
  await expect(train()).rejects.toMatchObject({
    code: "out-of-memory",
    message: expect.stringMatching(/addresses.*could not allocate memory.*ulimit -v/),
  });
});
