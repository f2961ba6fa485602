import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { createRandom } from "@aligntok/core";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import {
  createRunLog,
  readRunLog,
  runTraining,
  saveCheckpoint,
  type TrainingOptions,
  type TrainingProgress,
} from "../src/index.ts";
import { createRegression } from "./regression.ts";

let root: string;
beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), "aligntok-training-"));
});
afterEach(() => rm(root, { recursive: true, force: true }));

async function runThrough(folder: string, steps: number): Promise<void> {
  const log = createRunLog(folder);
  await runTraining({ ...createRegression(folder, steps).options, log });
  log.close();
}

/** Everything that a run leaves except the event file, whose records hold times. */
async function readRun(folder: string): Promise<Record<string, string>> {
  const names = (await readdir(folder, { recursive: true })).sort();
  const files = names.filter((name) => /\.(safetensors|json|jsonl)$/.test(name));
  const contents = await Promise.all(files.map((name) => readFile(join(folder, name), "base64")));
  return Object.fromEntries(files.map((name, i) => [name, contents[i]!]));
}

/** Runs the regression in a process of its own and kills it after a delay; true where it came to its end. */
async function runAndKill(folder: string, steps: number, delay?: number): Promise<boolean> {
  const script = fileURLToPath(new URL("regression.ts", import.meta.url));
  const child = spawn(
    process.execPath,
    ["--import", "tsx", "--conditions=@aligntok/source", script, folder, String(steps)],
    { stdio: ["ignore", "pipe", "inherit"] },
  );
  const exit = once(child, "exit");
  const first = once(child.stdout, "data");
  if (delay !== undefined) {
    await Promise.race([first, exit]);
    await setTimeout(delay);
    child.kill("SIGKILL");
  }
  child.stdout.resume();
  const [code] = await exit;
  return code === 0;
}

describe("evaluate", () => {
  it("measures each checkpoint once, also when the run was interrupted in between", async () => {
    const measure = async (name: string, until: readonly number[]) => {
      const folder = join(root, name);
      const evaluated: number[] = [];
      for (const stop of until) {
        const { options } = createRegression(folder, 10);
        const log = createRunLog(folder);
        const controller = new AbortController();
        await runTraining({
          ...options,
          log,
          logEvery: 3,
          checkpointEvery: 4,
          signal: controller.signal,
          evaluate(done) {
            evaluated.push(done);
            return { score: done * 10 };
          },
          onProgress: ({ done }) => done === stop && controller.abort(),
        }).catch(() => {});
        log.close();
      }
      const lines = await readRunLog(folder);
      return { evaluated, scores: lines.map(({ step, score }) => [step, score]) };
    };
    const whole = await measure("whole", [Number.POSITIVE_INFINITY]);
    expect(whole.evaluated).toEqual([4, 8, 10]);
    expect(whole.scores).toEqual([
      [3, undefined],
      [6, 40],
      [9, 80],
      [10, 100],
    ]);
    expect(await measure("parts", [5, Number.POSITIVE_INFINITY])).toEqual(whole);
  });
});

describe("kill and resume", () => {
  it("ends bit for bit like an uninterrupted run, killed at random moments", async () => {
    const steps = 400;
    await runThrough(join(root, "whole"), steps);
    const folder = join(root, "killed");
    const random = createRandom(Date.now(), "kills");
    let killed = 0;
    for (let i = 0; i < 5; i++) {
      if (!(await runAndKill(folder, steps, random.uniform() * 60))) killed++;
    }
    expect(killed).toBeGreaterThan(0);
    expect(await runAndKill(folder, steps)).toBe(true);
    expect(await readRun(folder)).toEqual(await readRun(join(root, "whole")));
    expect(Object.keys(await readRun(folder))).toEqual([
      "checkpoints/step-000399/ema.safetensors",
      "checkpoints/step-000399/model.safetensors",
      "checkpoints/step-000399/optimizer.safetensors",
      "checkpoints/step-000399/state.json",
      "checkpoints/step-000400/ema.safetensors",
      "checkpoints/step-000400/model.safetensors",
      "checkpoints/step-000400/optimizer.safetensors",
      "checkpoints/step-000400/state.json",
      "log.jsonl",
    ]);
  });
});

describe("runTraining", () => {
  it("learns, and logs the mean of each interval", async () => {
    await runThrough(root, 95);
    const lines = await readRunLog(root);
    expect(lines.map(({ step }) => step)).toEqual([10, 20, 30, 40, 50, 60, 70, 80, 90, 95]);
    expect(lines.at(-1)!.loss).toBeLessThan(lines[0]!.loss! / 5);
    const losses: number[] = [];
    const { options } = createRegression(join(root, "again"), 95);
    const step = (index: number) => {
      const metrics = options.step(index);
      losses.push(metrics.loss);
      return metrics;
    };
    await runTraining({ ...options, step });
    expect(lines[0]!.loss).toBeCloseTo(losses.slice(0, 10).reduce((a, b) => a + b) / 10, 12);
  });

  it("finishes the step, saves and says so when aborted, then continues bit for bit", async () => {
    const whole = createRegression(join(root, "whole"), 60);
    await runTraining(whole.options);
    const folder = join(root, "aborted");
    const abort = new AbortController();
    const before = createRegression(folder, 60);
    const log = createRunLog(folder);
    const interrupted = runTraining({
      ...before.options,
      log,
      signal: abort.signal,
      step: (index) => {
        if (index === 32) abort.abort();
        return before.options.step(index);
      },
    });
    await expect(interrupted).rejects.toMatchObject({
      code: "aborted",
      message: expect.stringMatching(/interrupted after step 33 of 60, everything is saved/),
    });
    expect(await readdir(join(folder, "checkpoints"))).toContain("step-000033");

    const after = createRegression(folder, 60);
    const seen: TrainingProgress[] = [];
    const result = await runTraining({
      ...after.options,
      log,
      task: "stage 1",
      onProgress: (progress) => seen.push(progress),
    });
    log.close();
    expect(result.resumedFrom).toBe(33);
    expect(after.parameters.flat).toEqual(whole.parameters.flat);
    expect(after.ema.parameters.flat).toEqual(whole.ema.parameters.flat);
    await runThrough(join(root, "logged"), 60);
    expect(await readRunLog(folder)).toEqual(await readRunLog(join(root, "logged")));

    expect(seen[0]).toEqual({
      task: "stage 1",
      done: 33,
      total: 60,
      rate: undefined,
      eta: undefined,
    });
    expect(seen.at(-1)).toMatchObject({ done: 60, eta: 0, metrics: { loss: expect.any(Number) } });
    expect(seen.at(-1)!.rate).toBeGreaterThan(0);
  });

  it("saves the state before a step that gives up because of the signal", async () => {
    const { options } = createRegression(root, 60);
    const abort = new AbortController();
    const interrupted = runTraining({
      ...options,
      signal: abort.signal,
      async step(index) {
        if (index < 32) return options.step(index);
        await setTimeout(5);
        abort.abort(new Error("enough"));
        throw abort.signal.reason;
      },
    });
    await expect(interrupted).rejects.toMatchObject({
      code: "aborted",
      message: expect.stringMatching(/interrupted after step 32 of 60, everything is saved/),
    });
    expect(await readdir(join(root, "checkpoints"))).toContain("step-000032");
    const failing = runTraining({
      ...options,
      signal: abort.signal,
      step: () => Promise.reject(new Error("something else")),
    });
    await expect(failing).rejects.toMatchObject({ code: "aborted" }); // it does not come to that step
  });

  it("notices an abort that comes between two steps by a timer", async () => {
    const { options } = createRegression(root, 20_000);
    const run = runTraining({
      ...options,
      checkpointEvery: 20_000,
      signal: AbortSignal.timeout(50),
    });
    await expect(run).rejects.toMatchObject({ code: "aborted" });
    expect(await readdir(join(root, "checkpoints"))).toHaveLength(1);
  });

  it("does nothing in a finished run but restore it", async () => {
    await runTraining(createRegression(root, 20).options);
    const { options, parameters } = createRegression(root, 20);
    const initial = parameters.flat.slice();
    const refuse = () => {
      throw new Error("no step was left");
    };
    expect(await runTraining({ ...options, step: refuse })).toMatchObject({ resumedFrom: 20 });
    expect(parameters.flat).not.toEqual(initial);
    await expect(runTraining(createRegression(root, 10).options)).rejects.toThrow(
      /steps: expected at least the 20 already done/,
    );
  });

  it("continues from a checkpoint that was saved by hand", async () => {
    const { tensors } = createRegression(root, 20).options.save();
    await saveCheckpoint(root, 5, { tensors });
    const result = await runTraining(createRegression(root, 20).options);
    expect(result.resumedFrom).toBe(5);
  });

  it("stops at a loss that is not finite, names it and keeps the checkpoint before", async () => {
    const { options } = createRegression(root, 60);
    const step = (index: number) => ({
      ...options.step(index),
      gan: index === 16 ? Number.NaN : 1,
    });
    await expect(runTraining({ ...options, step })).rejects.toMatchObject({
      code: "diverged",
      message: expect.stringMatching(
        /training: step 17 of 60: expected a finite gan, got NaN. the last good checkpoint is .*step-000014/,
      ),
    });
    expect((await readdir(join(root, "checkpoints"))).sort()).toEqual([
      "step-000007",
      "step-000014",
    ]);
  });

  it("stops at a metric beyond its limit", async () => {
    const run = runTraining({
      ...createRegression(root, 60).options,
      step: (index) => ({ loss: index === 3 ? -2e4 : 1 }),
      limits: { loss: 1e4, other: 1 },
    });
    await expect(run).rejects.toThrow(
      /step 4 of 60: expected loss within 10000, got -20000. no checkpoint yet/,
    );
  });

  /** A run that counts what it applied; the metrics of `bad` steps are not finite. */
  function counting(steps: number, bad: (index: number) => boolean) {
    const applied: number[] = [];
    const count = { steps: 0 };
    const options: TrainingOptions = {
      folder: root,
      steps,
      step: (index) => ({
        metrics: { loss: bad(index) ? Number.POSITIVE_INFINITY : index },
        apply() {
          applied.push(index);
          count.steps++;
        },
      }),
      save: () => ({ tensors: {}, state: count }),
      restore({ state }) {
        Object.assign(count, state);
      },
      checkpointEvery: 2,
      onNaN: "skip",
    };
    return { options, applied, count };
  }

  it("skips steps that are not finite: counts them, changes nothing, goes on", async () => {
    const log = createRunLog(root);
    const isBad = (index: number) => index === 1 || index === 4;
    const first = counting(3, isBad);
    expect((await runTraining({ ...first.options, log })).skipped).toBe(1);
    expect(first.applied).toEqual([0, 2]);
    const second = counting(6, isBad);
    const result = await runTraining({ ...second.options, log });
    log.close();
    expect(second.applied).toEqual([3, 5]);
    expect(second.count.steps).toBe(4);
    expect(result).toMatchObject({ resumedFrom: 3, skipped: 2 });
    const lines = await readRunLog(root);
    expect(lines.at(-1)).toMatchObject({ step: 6, loss: 4, skipped: 1 / 3 });
  });

  it("saves nothing while it skips, and names the checkpoint before", async () => {
    const { options } = counting(30, (index) => index >= 5);
    const folders = () => readdir(join(root, "checkpoints")).then((names) => names.sort());
    const stops = /step 15 of 30: expected a finite loss.* checkpoint is .*step-000004;/;
    for (let attempt = 0; attempt < 2; attempt++) {
      await expect(runTraining(options)).rejects.toThrow(stops); // resumed, it skips the same steps
      expect(await folders()).toEqual(["step-000002", "step-000004"]);
    }
    const fromStart = counting(30, () => true).options;
    await expect(runTraining({ ...fromStart, folder: join(root, "x") })).rejects.toThrow(
      /step 10 of 30: .* no checkpoint yet/,
    );
  });

  it("makes up for a checkpoint that fell into skipped steps", async () => {
    const saved: number[] = [];
    const { options } = counting(12, (index) => index >= 3 && index < 6);
    await runTraining({
      ...options,
      checkpointEvery: 4,
      evaluate: (done) => {
        saved.push(done);
        return {};
      },
    });
    expect(saved).toEqual([7, 8, 12]); // not 4
  });

  it("goes back to the last checkpoint when aborted while it skips, and ends like an uninterrupted run", async () => {
    const isBad = (index: number) => index === 5 || index === 6 || index === 11;
    const run = async (folder: string, signal?: AbortSignal, abort?: () => void) => {
      const { options } = counting(12, isBad);
      const log = createRunLog(folder);
      await runTraining({
        ...options,
        folder,
        log,
        logEvery: 3,
        checkpointEvery: 4,
        ...(signal && { signal }),
        onProgress: ({ done }) => done === 7 && abort?.(),
      }).finally(() => log.close());
    };
    const controller = new AbortController();
    const folder = join(root, "aborted");
    await expect(run(folder, controller.signal, () => controller.abort())).rejects.toThrow(
      /interrupted after step 7 of 12, while skipping steps: the first 4 are saved in .*aborted\. call/,
    );
    expect(await readdir(join(folder, "checkpoints"))).toEqual(["step-000004"]);
    await run(folder);
    await run(join(root, "whole"));
    expect(await readRun(folder)).toEqual(await readRun(join(root, "whole")));
    // the last step was skipped: its checkpoint takes no place of another
    expect((await readdir(join(folder, "checkpoints"))).sort()).toEqual([
      "step-000004",
      "step-000008",
      "step-000012",
    ]);
  });

  it("stops all the same after ten skipped in a row, or without a change to leave out", async () => {
    const { options, applied } = counting(30, (index) => index >= 3);
    await expect(runTraining(options)).rejects.toThrow(
      /step 13 of 30: expected a finite loss, got Infinity; 10 steps in a row were skipped\. /,
    );
    expect(applied).toEqual([0, 1, 2]);
    const applying = { ...options, folder: join(root, "x"), step: () => ({ loss: Number.NaN }) };
    await expect(runTraining(applying)).rejects.toThrow(
      /step 1 of 30: expected a finite loss, got NaN\. /,
    );
  });
});
