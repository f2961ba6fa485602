import { ndarray } from "@aligntok/core";
import * as tf from "@tensorflow/tfjs-core";
import { describe, expect, it } from "vitest";
import { compile, type DeviceName, engines, linear, spec } from "../src/index.ts";

const reports = (await engines())[0]!.devices!;
const report = (name: DeviceName) => reports.find((device) => device.name === name)!;

const x = ndarray(Float32Array.of(1, 2, 3, 4, 5, 6), [2, 3]);
const compileFor = (device: DeviceName) =>
  compile((x: tf.Tensor) => tf.softmax(linear(x, tf.tanh(x))), spec([2, 3]), {
    device,
  });

describe("devices of onnxruntime", () => {
  it("are reported, the processor as working", () => {
    expect(reports.map(({ name }) => name)).toEqual(["cpu", "webgpu", "cuda"]);
    expect(report("cpu")).toEqual({ name: "cpu", available: true, detail: "works" });
    for (const { available, detail } of reports) {
      expect(detail).toMatch(available ? /^works$/ : /^.{10,}\. .{10,}/); // the reason and the remedy
      expect(detail).not.toMatch(/onnxruntime_src|undefined/);
    }
  });

  for (const device of ["webgpu", "cuda"] as const) {
    it.skipIf(report(device).available)(
      `say why ${device} does not work, when asked for it`,
      async () => {
        await expect(compileFor(device)).rejects.toMatchObject({
          code: "unavailable",
          message: `device ${device}: ${report(device).detail}`,
        });
      },
    );

    it.runIf(report(device).available)(
      `give the numbers of the processor on ${device}`,
      async () => {
        const [here, there] = [await compileFor("cpu"), await compileFor(device)];
        const [expected, actual] = [await here.run(x), await there.run(x)];
        expected.data.forEach((value, i) => {
          expect(actual.data[i]).toBeCloseTo(value, 5);
        });
        const into = ndarray(new Float32Array(4), [2, 2]);
        await there.run(x, { into });
        expect(into.data).toEqual(actual.data);
      },
    );
  }

  it("are refused where they do not exist, and by other engines", async () => {
    await expect(compileFor("tpu" as "cpu")).rejects.toMatchObject({
      code: "bad-input",
      message: "device: expected one of cpu, webgpu, cuda, got tpu",
    });
    await import("@tensorflow/tfjs-backend-cpu");
    const options = { engine: "reference", device: "cpu" } as const;
    await expect(compile((x: tf.Tensor) => x, spec([1]), options)).rejects.toMatchObject({
      code: "unsupported",
      message: expect.stringMatching(/^device: expected engine onnxruntime, got reference/),
    });
  });
});
